//! What countersign offers when it is itself the client, as types.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::Located;
use crate::config::signed::SignedAssertion;
use crate::identity::{Encoding, Identity, Tellers};

/// How much a layer of outbound authentication is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LayerMode {
    /// It is not offered.
    Never,
    /// It is offered where it can be.
    Supported,
    /// Without it no request goes up.
    Required,
}

/// `[upstreams.NAME.outbound]`: what countersign offers when it is itself the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outbound {
    /// The transport layer: countersign's own certificate.
    pub client_certificate: LayerMode,
    /// The message layer: a credential in `Authorization`.
    pub credential: LayerMode,
    /// The attribute layer: the asserted identity.
    pub assertion: LayerMode,
    /// Whose identity the attribute layer asserts.
    pub run_as: RunAs,
    /// What the message layer sends.
    pub source: CredentialSource,
    /// How the attribute layer says who is calling; empty only if `signed` is not.
    pub encodings: Vec<Encoding>,
    /// The signed assertion, if `jwt` stands among the encodings.
    pub signed: Option<SignedAssertion>,
    /// What keeps the service's sessions; `None`: every request is fully authenticated.
    pub sessions: Option<StatefulSessions>,
    /// Whether a request whose session or credential the service does not
    /// accept any more is sent again, with full authentication.
    pub authentication_retry: bool,
    /// The most bytes of a body that are kept for that.
    pub replay_limit: usize,
    /// Who may share a connection to the service.
    pub pool_per: PoolPer,
}

impl Outbound {
    /// Whether the upstream knows by a credential or certificate of
    /// countersign's own who is speaking, in every request.
    pub fn authenticates_countersign(&self) -> bool {
        let own_credential = match self.source {
            CredentialSource::Forward => false,
            CredentialSource::Basic { .. } | CredentialSource::Bearer { .. } => {
                self.credential != LayerMode::Never
            }
            // Else requests of callers that the file does not know go up without one.
            CredentialSource::PerCaller { .. } => self.credential == LayerMode::Required,
        };
        own_credential || self.client_certificate == LayerMode::Required
    }

    /// Why this identity cannot be said in all of the forms that are wanted, if
    /// it cannot. `own`: who countersign itself is to the upstream.
    pub fn inexpressible(&self, identity: &Identity, own: Option<&Identity>) -> Option<String> {
        let mut fields = Vec::new();
        let mut encodings = self.encodings.iter();
        let tellers = Tellers { own, speaker: None };
        let failed = encodings.find_map(|one| one.encode(identity, tellers, &mut fields).err());
        let signed = self.signed.as_ref();
        let nobody = signed.is_some_and(|one| one.subject.render(identity.names(), None).is_none());
        match failed {
            Some(cause) => Some(cause.to_string()),
            None if nobody => {
                Some("it has none of the names in the `subject` of the signed assertion".to_owned())
            }
            None => None,
        }
    }
}

/// Whose identity the attribute layer asserts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunAs {
    /// The caller's.
    Client,
    /// The one in the config, whoever calls.
    Specified(Box<Located<Identity>>),
    /// countersign's own, that of the certificate that it presents.
    System,
}

/// How the sessions that a service opens for those who have authenticated are
/// kept for them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatefulSessions {
    /// The cookies that carry a session; never empty.
    pub cookies: Vec<String>,
    /// What says that a session is known no more; never empty.
    pub lost: Vec<SessionLost>,
    /// How long a session is kept that is not used.
    pub lifetime: Duration,
    /// The most sessions that one worker keeps.
    pub most: NonZeroUsize,
    /// For whom one is kept.
    pub per: SessionPer,
}

/// Whose requests may use the session that a service has opened for one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionPer {
    /// Those of the same certificate, or of the same statement by the same speaker.
    Certificate,
    /// Those of all certificates with the same names below the same trust anchor.
    Name,
}

/// A response by which a service says that it does not know a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionLost {
    /// The status.
    pub status: u16,
    /// The beginning of `Location`, as a path; `None`: whatever it is.
    pub location: Option<String>,
}

/// Who may share a connection to a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PoolPer {
    /// Everybody.
    None,
    /// Requests of one identity.
    Identity,
    /// Requests of one downstream connection.
    Connection,
}

/// What the message layer sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialSource {
    /// The caller's own `Authorization`.
    Forward,
    /// A user and the file that holds the password (RFC 7617).
    Basic {
        /// The user.
        user: String,
        /// The file.
        password_file: Located<PathBuf>,
    },
    /// The file that holds a token (RFC 6750).
    Bearer {
        /// The file.
        token_file: Located<PathBuf>,
    },
    /// A credential for each caller.
    PerCaller {
        /// The file that maps callers to credentials.
        file: Located<PathBuf>,
    },
}
