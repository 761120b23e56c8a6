//! Reads certificates, keys and revocation lists from files and directories.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The largest file of certificates or keys that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The largest revocation list; a million entries take some 40 MiB.
const MAX_CRL_FILE: u64 = 256 * 1024 * 1024;
/// The most files that one directory may hold.
const MAX_FILES: usize = 10_000;

/// Why a file could not be used. The text is complete but for the path.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    /// No block of the kind wanted is in it.
    #[error("{} holds no {wanted}", path.display())]
    Empty {
        /// The file or directory.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The private key in it takes a password.
    #[error("{} is encrypted, and there is nobody to ask for its password", path.display())]
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
        /// What the decoder says.
        cause: String,
    },
    /// It cannot be opened or read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
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
    #[error("{} holds a private key among its certificates", path.display())]
    UnexpectedKey {
        /// The file.
        path: PathBuf,
    },
}

/// The certificates of one PEM file, in order. Other blocks are passed over,
/// since `openssl` and others write text and parameters beside them; a private
/// key is refused, since nobody means to have one in a bundle.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read(path, MAX_FILE)?;
    if PrivateKeyDer::from_pem_slice(&text).is_ok() {
        return Err(PemError::UnexpectedKey { path: path.into() });
    }
    certificates_of(path, &text)
}

/// The certificate chain in a PEM file; a key beside it is allowed, since one
/// file for both is common.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    certificates_of(path, &read(path, MAX_FILE)?)
}

fn certificates_of(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    const WANTED: &str = "PEM certificate";
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| malformed(path, WANTED, &e))?;
    if found.is_empty() {
        return Err(PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        });
    }
    Ok(found)
}

/// The private key in a PEM file: PKCS #8, PKCS #1 or SEC 1, not encrypted.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    const WANTED: &str = "PEM private key";
    let text = Zeroizing::new(read(path, MAX_FILE)?);
    if is_encrypted(&text) {
        return Err(PemError::Encrypted { path: path.into() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        },
        other => malformed(path, WANTED, &other),
    })
}

/// Whether a key's block says that it is encrypted: PKCS #8 in its label, the
/// older forms in a field behind it (RFC 1421 §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

/// The revocation lists of one file: PEM with one or several, or one in DER.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    const WANTED: &str = "revocation list";
    let bytes = read(path, MAX_CRL_FILE)?;
    // DER begins with a SEQUENCE; PEM is text.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| malformed(path, WANTED, &e))?;
    if found.is_empty() {
        return Err(PemError::Empty {
            path: path.into(),
            wanted: WANTED,
        });
    }
    Ok(found)
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

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PemError> {
    let fault = |cause| PemError::Read {
        path: path.into(),
        cause,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(fault)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if bytes.len() as u64 > limit {
        return Err(PemError::TooLarge {
            path: path.into(),
            limit,
        });
    }
    Ok(bytes)
}

fn malformed(path: &Path, wanted: &'static str, cause: &dyn std::fmt::Display) -> PemError {
    PemError::Malformed {
        path: path.into(),
        wanted,
        cause: cause.to_string(),
    }
}
