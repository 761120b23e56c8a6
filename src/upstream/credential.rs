//! The message layer: which `Authorization` goes up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::per_caller::{PerCaller, basic, sensitive};
use crate::config::{
    Contents, CredentialSource, FileError, Files, LayerMode, Located, Outbound, Problem,
};
use crate::identity::PeerIdentity;

/// The largest file of a password or token; a JWT with many claims takes a few KiB.
const MAX_SECRET: u64 = 16 * 1024;
/// The largest file of credentials by caller.
const MAX_CALLERS: u64 = 4 * 1024 * 1024;

/// What the message layer does with the `Authorization` of a request.
#[derive(Clone)]
pub enum Credential {
    /// The caller's own goes up.
    Forward,
    /// countersign's own goes up in place of the caller's.
    Own(HeaderValue),
    /// What a file says for this caller goes up in place of the caller's own.
    PerCaller(Arc<PerCaller>),
    /// None goes up.
    Never,
}

impl fmt::Debug for Credential {
    /// Says which kind it is, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "Forward",
            Self::Own(_) => "Own",
            Self::PerCaller(_) => "PerCaller",
            Self::Never => "Never",
        })
    }
}

impl Credential {
    /// What is sent for this caller, in place of its own.
    pub fn for_caller(&self, caller: Option<&PeerIdentity>) -> Option<&HeaderValue> {
        match self {
            Self::Own(value) => Some(value),
            Self::PerCaller(callers) => callers.for_caller(caller?),
            Self::Forward | Self::Never => None,
        }
    }

    /// Reads the file that a credential names.
    pub(super) fn load(
        upstream: &str,
        outbound: &Outbound,
        files: &Files,
    ) -> Result<Self, Problem> {
        if outbound.credential == LayerMode::Never {
            return Ok(Self::Never);
        }
        match &outbound.source {
            CredentialSource::Forward => Ok(Self::Forward),
            CredentialSource::Basic {
                user,
                password_file,
            } => {
                let password = secret(upstream, password_file, files)?;
                own(upstream, password_file, &basic(user, &password))
            }
            CredentialSource::Bearer { token_file } => {
                let token = secret(upstream, token_file, files)?;
                let token = std::str::from_utf8(&token)
                    .map_err(|_| problem(upstream, token_file, "is not UTF-8"))?;
                let value = Zeroizing::new(format!("Bearer {token}"));
                own(upstream, token_file, &value)
            }
            CredentialSource::PerCaller { file } => {
                let callers = callers(upstream, file, files).map_err(|problem| {
                    problem.remedy("write a file of [[callers]] with uri, user and password for each, readable by this user")
                })?;
                Ok(Self::PerCaller(Arc::new(callers)))
            }
        }
    }
}

/// The credentials of a file, by caller.
fn callers(upstream: &str, file: &Located<PathBuf>, files: &Files) -> Result<PerCaller, Problem> {
    let contents = read_file(upstream, file, MAX_CALLERS, files)?;
    let text =
        std::str::from_utf8(&contents).map_err(|_| problem(upstream, file, "is not UTF-8"))?;
    PerCaller::parse(text).map_err(|what| problem(upstream, file, &what))
}

fn own(upstream: &str, file: &Located<PathBuf>, value: &str) -> Result<Credential, Problem> {
    sensitive(value.as_bytes())
        .map(Credential::Own)
        .ok_or_else(|| problem(upstream, file, "holds control characters"))
}

/// The content of a file without its final line end.
fn secret(
    upstream: &str,
    file: &Located<PathBuf>,
    files: &Files,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let contents = read_file(upstream, file, MAX_SECRET, files)?;
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

fn read_file(
    upstream: &str,
    file: &Located<PathBuf>,
    limit: u64,
    files: &Files,
) -> Result<Contents, Problem> {
    files.read(&file.value, limit).map_err(|cause| match cause {
        FileError::TooLarge { limit } => problem(
            upstream,
            file,
            &format!("is larger than {} KiB", limit / 1024),
        ),
        cause => problem(upstream, file, &format!("cannot be read: {cause}")),
    })
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
