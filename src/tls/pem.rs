//! Reads certificates, keys and revocation lists from files and directories.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The largest file of certificates or keys that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The largest revocation list; a million entries take some 40 MiB.
const MAX_CRL_FILE: u64 = 256 * 1024 * 1024;
/// The largest file of secrets for session tickets.
const MAX_SECRETS_FILE: u64 = 64 * 1024;
/// The most files that one directory may hold.
const MAX_FILES: usize = 10_000;

/// Why a file could not be used. The text is complete, remedy included.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    /// It is binary.
    #[error(
        "{path} is DER, not PEM; convert it with `openssl {command} -inform der -in {path} -out FILE.pem` (or, if it is PKCS #12, with `openssl pkcs12 -nodes`)",
        path = path.display()
    )]
    Der {
        /// The file.
        path: PathBuf,
        /// What OpenSSL's command for the kind wanted is called.
        command: &'static str,
    },
    /// It is a directory, where one file is wanted.
    #[error("{} is a directory; write the path of a file", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// No block of the kind wanted is in it.
    #[error("{} holds no {wanted}", path.display())]
    Empty {
        /// The file or directory.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// Its key is encrypted.
    #[error(
        "{path} holds an encrypted private key, and nobody is there to type the password; decrypt it with `openssl pkey -in {path} -out FILE.key`, and let only this user read that file",
        path = path.display()
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A block cannot be decoded.
    #[error("{} is not readable as a {wanted}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// It has no content at all.
    #[error("{} is an empty file", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened or read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is a pipe, a socket or a device.
    #[error("{} is no regular file, and nobody knows when there would be something to read", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than anything sensible.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// It holds a private key where only certificates belong.
    #[error("{} holds a private key among its certificates; take it out", path.display())]
    UnexpectedKey {
        /// The file.
        path: PathBuf,
    },
}

/// The certificates of one PEM file, in order. Other blocks are passed over,
/// since `openssl` and others write text and parameters beside them; a private
/// key of any kind is refused, since nobody means to have one in a bundle.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read_pem(path, "x509")?;
    if labels(&text).any(|label| label.ends_with(b"PRIVATE KEY")) {
        return Err(PemError::UnexpectedKey { path: path.into() });
    }
    certificates_of(path, &text)
}

/// The certificate chain in a PEM file; a key beside it is allowed, since one
/// file for both is common.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    certificates_of(path, &read_pem(path, "x509")?)
}

fn certificates_of(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    const WANTED: &str = "PEM certificate";
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| malformed(path, WANTED, explain(&e)))?;
    // The decoder passes over a block that does not begin its line, and over
    // OpenSSL's own kinds (TRUSTED CERTIFICATE): each would be missed.
    let meant = labels(text)
        .filter(|label| label.ends_with(b"CERTIFICATE"))
        .count();
    if found.len() != meant {
        let cause = format!(
            "of its {meant} certificates {} can be read; each must be between lines of their own, -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
            found.len()
        );
        return Err(malformed(path, WANTED, cause));
    }
    if found.is_empty() {
        return Err(PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        });
    }
    Ok(found)
}

/// The first private key in a PEM file: PKCS #8, PKCS #1 or SEC 1, not encrypted.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    const WANTED: &str = "PEM private key";
    let text = read_pem(path, "pkey")?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        _ if is_encrypted(&text) => PemError::Encrypted { path: path.into() },
        pem::Error::NoItemsFound => PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        },
        other => malformed(path, WANTED, explain(&other)),
    })
}

/// PKCS #8 says it in the label, OpenSSL's older forms in a header (RFC 1421 §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    const HEADER: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    labels(text).any(|label| label == b"ENCRYPTED PRIVATE KEY")
        || text.windows(HEADER.len()).any(|window| window == HEADER)
}

/// The labels of all blocks, wherever in a line they begin (RFC 7468 §2).
fn labels(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter_map(|line| {
        let at = line.windows(BEGIN.len()).position(|part| part == BEGIN)?;
        let label = line.get(at + BEGIN.len()..)?;
        let end = label.iter().position(|byte| *byte == b'-');
        label
            .get(..end.unwrap_or(label.len()))
            .map(<[u8]>::trim_ascii)
    })
}

/// The revocation lists of one file: PEM with one or several, or one in DER.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    const WANTED: &str = "revocation list";
    let bytes = read(path, MAX_CRL_FILE)?;
    if is_der(&bytes) {
        return Ok(vec![bytes.into()]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| malformed(path, WANTED, explain(&e)))?;
    if found.is_empty() {
        return Err(PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        });
    }
    Ok(found)
}

/// The content of a file of secrets for session tickets, whose form is not PEM.
pub(super) fn secrets(path: &Path) -> Result<Zeroizing<Vec<u8>>, PemError> {
    read(path, MAX_SECRETS_FILE).map(Zeroizing::new)
}

/// The files that a configured path stands for: itself, or every file directly
/// in it, in the order of their names.
///
/// Names that begin with a dot are passed over: editors' and Kubernetes' own
/// entries (`..data`) are not the operator's.
pub(super) fn files_of(path: &Path) -> Result<Vec<PathBuf>, PemError> {
    let fault = |cause| PemError::Read {
        path: path.into(),
        cause,
    };
    if !fs::metadata(path).map_err(fault)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // Through the link: Kubernetes' files are links to files.
        if !hidden && fs::metadata(entry.path()).map_err(fault)?.is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(fault(std::io::Error::other("more than 10,000 files")));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a PEM file, which may hold a key, without a byte order mark. `command`
/// is what OpenSSL calls its command for what should be in it.
fn read_pem(path: &Path, command: &'static str) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let mut bytes = Zeroizing::new(read(path, MAX_FILE)?);
    if is_der(&bytes) {
        return Err(PemError::Der {
            path: path.into(),
            command,
        });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// A SEQUENCE whose length takes several bytes, or which begins with a number,
/// as a short key does. Text that begins with a zero is neither.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..] | [0x30, _, 0x02, 0x01, ..])
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PemError> {
    let fault = |cause| PemError::Read {
        path: path.into(),
        cause,
    };
    // Before it is opened: opening a pipe waits for somebody to write to it.
    let metadata = fs::metadata(path).map_err(fault)?;
    if metadata.is_dir() {
        return Err(PemError::Directory { path: path.into() });
    }
    if !metadata.is_file() {
        return Err(PemError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(fault)?;
    // In one piece: what grows leaves copies of a key behind.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if bytes.len() as u64 > limit {
        return Err(PemError::TooLarge {
            path: path.into(),
            limit,
        });
    }
    if bytes.is_empty() {
        return Err(PemError::Nothing { path: path.into() });
    }
    Ok(bytes)
}

/// The decoder's error in words of our own: it quotes the line, which may be a key.
fn explain(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block does not end",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is not complete",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        _ => "it cannot be decoded",
    }
    .to_owned()
}

fn malformed(path: &Path, wanted: &'static str, cause: String) -> PemError {
    PemError::Malformed {
        path: path.into(),
        wanted,
        cause,
    }
}

#[cfg(test)]
mod tests;
