//! The message layer: which `Authorization` goes up.

use std::fmt;
use std::path::PathBuf;

use data_encoding::BASE64;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config::{CredentialSource, FileError, Files, LayerMode, Located, Outbound, Problem};

/// The largest file of a password or token; a JWT with many claims takes a few KiB.
const MAX_SECRET: u64 = 16 * 1024;

/// What the message layer does with the `Authorization` of a request.
#[derive(Clone)]
pub enum Credential {
    /// The caller's own, if any, goes up.
    Forward {
        /// Whether a request without one is refused.
        required: bool,
    },
    /// countersign's own goes up in place of the caller's.
    Own(HeaderValue),
    /// None goes up.
    Never,
}

impl fmt::Debug for Credential {
    /// Says which kind it is, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward { required: true } => "Forward (required)",
            Self::Forward { required: false } => "Forward",
            Self::Own(_) => "Own",
            Self::Never => "Never",
        })
    }
}

impl Credential {
    /// Loads the file that a credential names.
    pub(super) fn load(
        upstream: &str,
        outbound: &Outbound,
        files: &Files,
    ) -> Result<Self, Problem> {
        if outbound.credential == LayerMode::Never {
            return Ok(Self::Never);
        }
        let required = outbound.credential == LayerMode::Required;
        match &outbound.source {
            CredentialSource::Forward => Ok(Self::Forward { required }),
            CredentialSource::Basic {
                user,
                password_file,
            } => {
                let password = secret(upstream, password_file, files)?;
                // RFC 7617 §2: user and password joined by a colon, in base64.
                let pair = Zeroizing::new([user.as_bytes(), b":", &password].concat());
                let encoded = Zeroizing::new(format!("Basic {}", BASE64.encode(&pair)));
                own(upstream, password_file, encoded.as_bytes())
            }
            CredentialSource::Bearer { token_file } => {
                let token = secret(upstream, token_file, files)?;
                let value = Zeroizing::new([b"Bearer ".as_slice(), &token].concat());
                own(upstream, token_file, &value)
            }
        }
    }
}

/// The content of a file without its final line end.
fn secret(
    upstream: &str,
    file: &Located<PathBuf>,
    files: &Files,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let contents = files
        .read(&file.value, MAX_SECRET)
        .map_err(|cause| match cause {
            FileError::TooLarge { .. } => problem(upstream, file, "is larger than 16 KiB"),
            cause => problem(upstream, file, &format!("cannot be read: {cause}")),
        })?;
    let end = contents
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    match end.and_then(|last| contents.get(..=last)) {
        // RFC 7617 §2; base64 would carry them past the check of the field.
        Some(secret) if secret.iter().any(u8::is_ascii_control) => {
            Err(problem(upstream, file, "holds control characters"))
        }
        Some(secret) => Ok(Zeroizing::new(secret.to_vec())),
        None => Err(problem(upstream, file, "is empty")),
    }
}

fn own(upstream: &str, file: &Located<PathBuf>, value: &[u8]) -> Result<Credential, Problem> {
    let mut value = HeaderValue::from_bytes(value)
        .map_err(|_| problem(upstream, file, "holds control characters"))?;
    value.set_sensitive(true);
    Ok(Credential::Own(value))
}

fn problem(upstream: &str, file: &Located<PathBuf>, what: &str) -> Problem {
    Problem::at(
        file.place,
        format!(
            "upstreams.{upstream}.outbound.credential: {} {what}",
            file.value.display()
        ),
    )
    .causes("requests would go up without a credential")
    .remedy("write the path of a file that holds the secret in one line, readable by this user")
}
