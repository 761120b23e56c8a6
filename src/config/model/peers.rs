//! Who may call, and who may say for whom they call, as types.

use std::fmt;

use super::Located;
use crate::config::signed::AcceptedJwt;
use crate::identity::{Decoding, PeerIdentity, PeerPattern};

/// One entry of `allow`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    /// Whom it matches.
    pub caller: PeerPattern,
    /// Who must speak for the caller; `None`: it makes no difference.
    pub via: Option<Located<PeerPattern>>,
}

impl Allowed {
    /// Whether it matches this caller, for whom `speaker` speaks; `None`: it
    /// came by itself.
    pub fn matches(&self, caller: &PeerIdentity, speaker: Option<&PeerIdentity>) -> bool {
        let through =
            |via: &Located<PeerPattern>| speaker.is_some_and(|speaker| via.value.matches(speaker));
        self.caller.matches(caller) && self.via.as_ref().is_none_or(through)
    }
}

impl fmt::Display for Allowed {
    /// Writes the entry as it stands in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            None => self.caller.fmt(f),
            Some(via) => {
                let caller = self.caller.to_string();
                let caller = caller.strip_suffix(" }").unwrap_or(&caller);
                write!(f, "{caller}, via = {} }}", via.value)
            }
        }
    }
}

/// Whose assertions of others a listener accepts, and in which forms. There is
/// at least one peer and one form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcceptedAssertions {
    /// The peers that may speak for others; one pattern must match.
    pub from: Vec<PeerPattern>,
    /// The forms that are not signed.
    pub forms: Vec<Decoding>,
    /// How a JWT is verified; `None`: it is not read.
    pub jwt: Option<AcceptedJwt>,
}
