//! What an assertion says of one caller: all claims but those of the moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use super::{AssertError, Asserter, SigningFailed};
use crate::identity::Names;

/// The claims about one identity, for one upstream.
#[derive(Clone, Debug)]
pub struct Statement {
    /// A JSON object without its closing brace; never empty.
    claims: String,
    digest: [u8; 32],
}

/// Whose identity it is that is asserted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role<'a> {
    /// Somebody else's, for whom countersign speaks.
    OfAnother {
        /// The label of the peer that has told countersign; `None`: it was the
        /// caller itself, or the config.
        speaker: Option<&'a str>,
    },
    /// countersign's own.
    Own,
}

impl<'a> Role<'a> {
    /// The label of the peer that has told countersign, where one has.
    pub fn speaker(self) -> Option<&'a str> {
        match self {
            Self::OfAnother { speaker } => speaker,
            Self::Own => None,
        }
    }
}

impl Statement {
    /// States these names.
    ///
    /// # Errors
    ///
    /// [`AssertError::NoSubject`].
    pub fn of(asserter: &Asserter, names: &Names, role: Role<'_>) -> Result<Self, AssertError> {
        let config = &asserter.config;
        let speaker = role.speaker();
        let subject = config.subject.render(names, speaker);
        let subject = subject.ok_or(AssertError::NoSubject)?;
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("iss", config.issuer.as_str().into());
        claim("sub", subject.into());
        claim("aud", config.audience.as_str().into());
        if let Some(leaf) = names.fingerprint() {
            let thumbprint = BASE64URL_NOPAD.encode(leaf.as_bytes());
            claim("cnf", json!({ "x5t#S256": thumbprint }));
        }
        match role {
            Role::Own => None,
            Role::OfAnother { speaker: None } => claim("act", json!({ "sub": config.issuer })),
            Role::OfAnother {
                speaker: Some(speaker),
            } => claim(
                "act",
                json!({ "sub": config.issuer, "act": { "sub": speaker } }),
            ),
        };
        for (name, values) in [
            ("uri", names.uri()),
            ("dns", names.dns()),
            ("email", names.email()),
        ] {
            if !values.is_empty() {
                claim(name, values.into());
            }
        }
        let mut text = Value::Object(claims).to_string();
        text.pop();
        Ok(Self::new(text))
    }

    fn new(claims: String) -> Self {
        let mut bytes = [0; 32];
        let digest = digest(&SHA256, claims.as_bytes());
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self {
            claims,
            digest: bytes,
        }
    }

    /// The same exactly for statements that say the same.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The whole of the claims, as JSON.
    pub(super) fn payload(
        &self,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, SigningFailed> {
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = issued.saturating_add(lifetime.as_secs());
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| SigningFailed)?;
        let id = BASE64URL_NOPAD.encode(&id);
        let claims = &self.claims;
        // Numbers and base64url need no escaping.
        Ok(format!(
            "{claims},\"iat\":{issued},\"exp\":{expires},\"jti\":\"{id}\"}}"
        ))
    }
}
