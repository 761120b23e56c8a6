//! States who is calling in tokens that every service can verify for itself.
//!
//! An [`Asserter`] signs for one upstream, with keys that its [`Plan`](super::Plan)
//! has loaded. What an assertion says of one caller is a [`Statement`], made once
//! for a connection; the token with it is signed when it is needed, and used
//! again for half of its life out of the worker's own [`Tokens`].
//!
//! # The token
//!
//! A JWS in compact form (RFC 7515 §7.1) whose payload is a JWT (RFC 7519):
//!
//! | claim | value |
//! |---|---|
//! | `iss` | the configured issuer |
//! | `sub` | the configured template, filled in |
//! | `aud` | the configured audience |
//! | `iat`, `exp` | when it was signed, and the lifetime later; Unix time in seconds |
//! | `jti` | 128 random bits in base64url |
//! | `cnf` | `{"x5t#S256": …}`: SHA-256 of the caller's leaf (RFC 8705 §3.1), where it is known |
//! | `act` | `{"sub": issuer}`: who speaks, where it speaks for another (RFC 8693 §4.1); in it the `act` of the peer that told it, where one did |
//! | `uri`, `dns`, `email` | the leaf's alternative names, each a list; left out where there are none |
//!
//! # Rules
//!
//! * There is no `nbf`: it would say what `iat` says, and a service whose clock
//!   is a second slow would refuse every new token.
//! * No subject, no token: a service could take one that names nobody for
//!   anybody's.
//! * A key has one algorithm. Its `kid` is its thumbprint (RFC 7638), so it names
//!   the same key everywhere.
//! * Nothing of a name reaches the field as it is: the payload is JSON in
//!   base64url.

mod jwk;
mod keys;
mod statement;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

use crate::config::{Files, Problem, SignedAssertion};
use crate::identity::EncodeError;

pub use jwk::{Algorithm, JwkError, PublicKey};
pub use keys::{SigningFailed, SigningKeys, key_set};
pub use statement::{Role, Statement};
pub use tokens::Tokens;

/// Signs assertions for one upstream. Immutable; workers share it.
#[derive(Debug)]
pub struct Asserter {
    config: SignedAssertion,
    keys: Arc<SigningKeys>,
}

/// Why a caller cannot be asserted. The request must not go up without it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AssertError {
    /// The template of the subject is empty for this caller.
    #[error(
        "the caller has none of the names in the `subject` of the signed assertion, and an assertion of nobody is not sent"
    )]
    NoSubject,
    /// The library fails.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// It cannot be said in the forms that the upstream reads, or is too large.
    #[error(transparent)]
    Unwritten(#[from] EncodeError),
}

impl Asserter {
    /// Loads the keys.
    ///
    /// # Errors
    ///
    /// A problem at the path of a file that holds no key which can sign.
    pub(super) fn load(
        upstream: &str,
        config: &SignedAssertion,
        files: &Files,
    ) -> Result<Self, Problem> {
        let keys = SigningKeys::load(upstream, &config.keys, files)?;
        Ok(Self {
            config: config.clone(),
            keys: Arc::new(keys),
        })
    }

    /// The field that carries the token.
    pub fn field(&self) -> &HeaderName {
        &self.config.header
    }

    /// What it signs with.
    pub fn keys(&self) -> &Arc<SigningKeys> {
        &self.keys
    }

    /// Signs a statement at `now`, as a value of [`field`](Self::field).
    ///
    /// # Errors
    ///
    /// [`AssertError::Signing`], and [`AssertError::Unwritten`] where the field
    /// alone exceeds [`crate::identity::ENCODING_BUDGET`].
    fn sign(&self, statement: &Statement, now: SystemTime) -> Result<HeaderValue, AssertError> {
        let payload = statement.payload(now, self.config.lifetime)?;
        let token = self.keys.sign(payload.as_bytes())?;
        let value = match &self.config.scheme {
            Some(scheme) => format!("{scheme} {token}"),
            None => token,
        };
        let bytes = self.field().as_str().len() + value.len();
        EncodeError::within_budget(self.field(), bytes)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| EncodeError::NotAFieldValue {
            field: self.field().clone(),
        })?;
        // Whoever reads it can use it.
        value.set_sensitive(true);
        Ok(value)
    }

    /// How long a token is used, from its signature.
    fn reuse(&self) -> Duration {
        self.config.lifetime / 2
    }
}

#[cfg(test)]
mod tests;
