//! Why a bundle does not accept a chain.

use crate::tls::refusal::Refusal;
use crate::tls::scope::OutOfScope;

/// Why a bundle does not accept a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Objection {
    /// No path leads to an anchor, or none that stands.
    Path(webpki::Error),
    /// One does, but the bundle does not vouch for the leaf.
    Scope(OutOfScope),
}

impl Objection {
    /// The reason for which a handshake is refused.
    pub fn reason(&self) -> Refusal {
        match self {
            Self::Path(cause) => Refusal::of_chain(cause),
            Self::Scope(_) => Refusal::Untrusted,
        }
    }
}

impl From<webpki::Error> for Objection {
    fn from(cause: webpki::Error) -> Self {
        Self::Path(cause)
    }
}

impl From<OutOfScope> for Objection {
    fn from(fault: OutOfScope) -> Self {
        Self::Scope(fault)
    }
}

#[cfg(test)]
impl Objection {
    /// What the bundle does not vouch for, which is what is wrong.
    #[track_caller]
    pub(in crate::tls) fn into_scope(self) -> OutOfScope {
        match self {
            Self::Path(cause) => panic!("{cause}"),
            Self::Scope(fault) => fault,
        }
    }

    /// What is wrong with the path, which is what is wrong.
    #[track_caller]
    pub(in crate::tls) fn into_path(self) -> webpki::Error {
        match self {
            Self::Path(cause) => cause,
            Self::Scope(fault) => panic!("{fault}"),
        }
    }
}
