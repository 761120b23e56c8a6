//! The certificate authorities of the machine itself.
//!
//! They stand where OpenSSL, and what is built on it, looks for them: in what the
//! variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name, if either is set, or else
//! where the distribution keeps them. What is read is watched like every other
//! file.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;

use super::pem::{self, PemError};
use crate::config::Files;

/// The names of the variables, as OpenSSL has them.
const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// Each of them once. In a folder, what holds no certificates is passed over:
/// others keep theirs there too.
///
/// # Errors
///
/// A file that cannot be read whole, or a folder that cannot be listed.
pub(super) fn certificates(files: &Files) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let (file, folders) = places(
        env::var_os(FILE).as_deref(),
        env::var_os(FOLDERS).as_deref(),
    );
    let mut found = Vec::new();
    if let Some(file) = file {
        found.extend(pem::chain(files, &file)?);
    }
    for folder in folders {
        for file in &*pem::files_of(files, &folder)? {
            match pem::chain(files, file) {
                Ok(certificates) => found.extend(certificates),
                Err(cause) => tracing::debug!("among the authorities of this machine: {cause}"),
            }
        }
    }
    let mut known = HashSet::new();
    found.retain(|certificate| known.insert(certificate.clone()));
    Ok(found)
}

/// The same as far as they can be read, for a look that nothing in force rests
/// on: they are not watched for it.
pub(super) fn unwatched() -> Vec<CertificateDer<'static>> {
    certificates(&Files::new()).unwrap_or_default()
}

/// The file and the folders to read, given the values of the variables. Where
/// the distribution has a file, its folders hold the same again.
fn places(file: Option<&OsStr>, folders: Option<&OsStr>) -> (Option<PathBuf>, Vec<PathBuf>) {
    if file.is_some() || folders.is_some() {
        let folders = folders.map(env::split_paths).into_iter().flatten();
        return (file.map(PathBuf::from), folders.collect());
    }
    let usual = openssl_probe::probe();
    match usual.cert_file {
        Some(file) => (Some(file), Vec::new()),
        None => (None, usual.cert_dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variables_name_takes_the_place_of_what_is_usual() {
        let file = PathBuf::from("/a/file.pem");
        let folders = ["/b", "/c"].map(PathBuf::from).to_vec();
        let named = |file: &str, folders: &str| {
            let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let (file, folders) = (value(file), value(folders));
            places(
                file.as_deref().map(OsStr::new),
                folders.as_deref().map(OsStr::new),
            )
        };
        assert_eq!(named("/a/file.pem", ""), (Some(file.clone()), Vec::new()));
        assert_eq!(named("", "/b:/c"), (None, folders.clone()));
        assert_eq!(named("/a/file.pem", "/b:/c"), (Some(file), folders));
        let (file, folders) = named("", "");
        assert!(file.is_none() || folders.is_empty());
    }
}
