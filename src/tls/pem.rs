//! Reads certificates, keys and revocation lists from files and directories.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::{Contents, FileError, Files};

/// The largest file of certificates or keys that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The largest revocation list; a million entries take some 40 MiB.
const MAX_CRL_FILE: u64 = 256 * 1024 * 1024;
/// The largest file of secrets for session tickets.
const MAX_SECRETS_FILE: u64 = 64 * 1024;

/// Why a file could not be used. The text is complete, remedy included.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PemError {
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
        /// Why.
        cause: FileError,
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
pub(super) fn certificates(
    files: &Files,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let contents = read_pem(files, path, "x509")?;
    let text = without_mark(&contents);
    if labels(text).any(|label| label.ends_with(b"PRIVATE KEY")) {
        return Err(PemError::UnexpectedKey { path: path.into() });
    }
    certificates_of(path, text)
}

/// The certificate chain in a PEM file; a key beside it is allowed, since one
/// file for both is common.
pub(super) fn chain(files: &Files, path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let contents = read_pem(files, path, "x509")?;
    certificates_of(path, without_mark(&contents))
}

fn certificates_of(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = Blocks {
        wanted: "PEM certificate",
        several: "certificates",
        // OpenSSL's own kinds (TRUSTED CERTIFICATE) are meant, and not decoded.
        ending: "CERTIFICATE",
        label: "CERTIFICATE",
    };
    certificates.read(path, text)
}

/// One kind of block, and its words.
struct Blocks {
    /// What a file of them is.
    wanted: &'static str,
    several: &'static str,
    /// Whose label ends with this is meant to be one.
    ending: &'static str,
    /// The label that they must have.
    label: &'static str,
}

impl Blocks {
    /// All of them, of which there is at least one.
    fn read<T: PemObject>(&self, path: &Path, text: &[u8]) -> Result<Vec<T>, PemError> {
        let found = T::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| malformed(path, self.wanted, explain(&e)))?;
        let is_one = |label: &[u8]| label.ends_with(self.ending.as_bytes());
        if let Err(cause) = all_are_found(text, (found.len(), self.several), is_one) {
            let label = self.label;
            let cause = format!(
                "{cause}; each must be between lines of their own, -----BEGIN {label}----- and -----END {label}-----"
            );
            return Err(malformed(path, self.wanted, cause));
        }
        if found.is_empty() {
            return Err(PemError::Empty {
                path: path.into(),
                wanted: self.wanted,
            });
        }
        Ok(found)
    }
}

/// Whether the decoder has found every block that is meant: it passes over one
/// that does not begin its line, and over one of which no more is written yet
/// than a part of `-----BEGIN `. Each would be missed.
fn all_are_found(
    text: &[u8],
    (found, of): (usize, &str),
    is_one: impl Fn(&[u8]) -> bool,
) -> Result<(), String> {
    let meant = labels(text).filter(|label| is_one(label)).count();
    if found != meant {
        return Err(format!("of its {meant} {of} {found} can be read"));
    }
    let last = text.rsplit(|byte| is_line_end(*byte)).next();
    if last.is_some_and(|line| !line.is_empty() && BEGIN.starts_with(line)) {
        return Err("it ends within a BEGIN line".to_owned());
    }
    Ok(())
}

/// A private key as it is encoded; wiped when it is dropped.
pub(crate) type PrivateKey = Zeroizing<PrivateKeyDer<'static>>;

/// The first private key in a PEM file: PKCS #8, PKCS #1 or SEC 1, not encrypted.
pub(crate) fn private_key(files: &Files, path: &Path) -> Result<PrivateKey, PemError> {
    const WANTED: &str = "PEM private key";
    let contents = read_pem(files, path, "pkey")?;
    let text = without_mark(&contents);
    let key = PrivateKeyDer::from_pem_slice(text);
    key.map(Zeroizing::new).map_err(|e| match e {
        _ if is_encrypted(text) => PemError::Encrypted { path: path.into() },
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
    let lines = text.split(|byte| is_line_end(*byte));
    lines.filter_map(|line| {
        let at = line.windows(BEGIN.len()).position(|part| part == BEGIN)?;
        let label = line.get(at + BEGIN.len()..)?;
        let end = label.iter().position(|byte| *byte == b'-');
        label
            .get(..end.unwrap_or(label.len()))
            .map(<[u8]>::trim_ascii)
    })
}

/// What begins a block.
const BEGIN: &[u8] = b"-----BEGIN ";

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The revocation lists of one file: PEM with one or several, or one in DER.
pub(super) fn revocation_lists(
    files: &Files,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let bytes = read(files, path, MAX_CRL_FILE)?;
    if is_der(&bytes) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let lists = Blocks {
        wanted: "revocation list",
        several: "lists",
        ending: "CRL",
        label: "X509 CRL",
    };
    lists.read(path, without_mark(&bytes))
}

/// The content of a file of secrets for session tickets, whose form is not PEM.
pub(super) fn secrets(files: &Files, path: &Path) -> Result<Contents, PemError> {
    read(files, path, MAX_SECRETS_FILE)
}

/// The files that a configured path stands for: itself, or every file directly
/// in it, in the order of their names, without the hidden ones.
pub(super) fn files_of(files: &Files, path: &Path) -> Result<Rc<[PathBuf]>, PemError> {
    match files.list(path) {
        Ok(Some(listed)) => Ok(listed),
        Ok(None) => Ok(Rc::new([path.to_owned()])),
        Err(cause) => Err(PemError::Read {
            path: path.into(),
            cause,
        }),
    }
}

/// Reads a PEM file, which may hold a key. `command` is what OpenSSL calls its
/// command for what should be in it.
fn read_pem(files: &Files, path: &Path, command: &'static str) -> Result<Contents, PemError> {
    let contents = read(files, path, MAX_FILE)?;
    if is_der(&contents) {
        return Err(PemError::Der {
            path: path.into(),
            command,
        });
    }
    Ok(contents)
}

/// The text behind a byte order mark.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A SEQUENCE whose length takes several bytes, or which begins with a number,
/// as a short key does. Text that begins with a zero is neither.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..] | [0x30, _, 0x02, 0x01, ..])
}

fn read(files: &Files, path: &Path, limit: u64) -> Result<Contents, PemError> {
    let contents = files.read(path, limit).map_err(|cause| {
        let path = path.into();
        match cause {
            FileError::Directory => PemError::Directory { path },
            FileError::NotAFile => PemError::NotAFile { path },
            FileError::TooLarge { limit } => PemError::TooLarge { path, limit },
            cause => PemError::Read { path, cause },
        }
    })?;
    if contents.is_empty() {
        return Err(PemError::Nothing { path: path.into() });
    }
    Ok(contents)
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
