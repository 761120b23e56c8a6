//! The message layer: by what a service knows that a request may be made, and
//! what becomes of one that it does not accept.

use aws_lc_rs::digest::{Context, SHA256};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode, request};
use tokio::time::Instant;

use super::caller::Caller;
use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use super::party::Party;
use super::request_body::RequestBody;
use crate::config::{PoolPer, SessionPer};
use crate::identity::PeerIdentity;
use crate::upstream::{Answer, Credential, Edition, Owner, SessionKey, Sessions, Upstream};

/// By what a request is authenticated in the message layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Means {
    /// The session that the service opened for this caller.
    Session(Edition),
    /// A credential of countersign's own, or one that it has for this caller.
    Own,
    /// What the caller itself sent.
    Caller,
    /// Nothing.
    Nothing,
}

/// What a service has not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The session is known no more.
    Session,
    /// The credential of countersign's own, or that which it has for this caller.
    Credential,
}

impl Refused {
    /// The stable code in metrics.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Session => "session_lost",
            Self::Credential => "credential_refused",
        }
    }
}

/// The message layer of one request to one upstream.
pub(super) struct Authentication<'a> {
    upstream: &'a Upstream<RequestBody>,
    peer: Option<&'a PeerIdentity>,
    /// Where the upstream's sessions are kept.
    stateful: Option<Stateful<'a>>,
    now: Instant,
    /// Whether the session was lost, so that there is none for this request.
    session_lost: bool,
    /// Whether the credential was refused, so that its file has been read again.
    credential_refused: bool,
}

/// What is to be known to use a session and to keep one.
struct Stateful<'a> {
    sessions: &'a Sessions,
    /// Whose; `None`: the caller is anonymous and has none.
    key: Option<SessionKey>,
    /// The path of the request.
    path: String,
}

impl<'a> Authentication<'a> {
    /// For a request of `peer` with this head, as the caller sent it, to `authority`.
    pub(super) fn of(
        peer: Option<&'a PeerIdentity>,
        upstream: &'a Upstream<RequestBody>,
        (head, authority): (&request::Parts, &HeaderValue),
        now: Instant,
    ) -> Self {
        let stateful = upstream.sessions().map(|sessions| Stateful {
            sessions,
            key: peer.map(|peer| {
                let own = (sessions.per(), &head.headers);
                session_key(peer, authority, upstream, own)
            }),
            path: head.uri.path().to_owned(),
        });
        Self {
            upstream,
            peer,
            stateful,
            now,
            session_lost: false,
            credential_refused: false,
        }
    }

    /// Whether the service may refuse what countersign sends for the caller, so
    /// that the request has to be sent again.
    pub(super) fn may_be_refused(&self) -> bool {
        let has_session = || {
            let stateful = self.stateful.as_ref()?;
            Some(stateful.sessions.has(stateful.key.as_ref()?))
        };
        self.upstream.plan().retries_authentication()
            && (self.upstream.credential_for(self.peer).is_some() || has_session() == Some(true))
    }

    /// Adds what authenticates the request: the session, if there is one, else
    /// the credential.
    ///
    /// # Errors
    ///
    /// A credential is required, and there is none for this caller.
    pub(super) fn write(&self, head: &mut request::Parts) -> Result<Means, Fault> {
        let plan = self.upstream.plan();
        let session = self.resume(&mut head.headers);
        if let Credential::Never = plan.credential() {
            // What stands in `Authorization` is the attribute layer's, if anything does.
            return Ok(session.map_or(Means::Nothing, Means::Session));
        }
        if let Some(edition) = session {
            headers::drop_field(&mut head.headers, &AUTHORIZATION);
            return Ok(Means::Session(edition));
        }
        if let Credential::Forward = plan.credential() {
            let present = head.headers.contains_key(AUTHORIZATION);
            return match (present, plan.requires_credential()) {
                (true, _) => Ok(Means::Caller),
                (false, false) => Ok(Means::Nothing),
                (false, true) => Err(self.missing("the request has no Authorization")),
            };
        }
        // What the caller sent is meant for countersign at most.
        headers::drop_field(&mut head.headers, &AUTHORIZATION);
        match self.upstream.credential_for(self.peer) {
            Some(value) => {
                head.headers.insert(AUTHORIZATION, value);
                Ok(Means::Own)
            }
            None if plan.requires_credential() => {
                Err(self.missing("its file has none for this caller"))
            }
            None => Ok(Means::Nothing),
        }
    }

    /// Takes the session cookies that the caller sent out of a head, and puts
    /// in those that are kept for it.
    fn resume(&self, headers: &mut HeaderMap) -> Option<Edition> {
        let Stateful {
            sessions,
            key,
            path,
        } = self.stateful.as_ref()?;
        sessions.strip_request(headers);
        let key = key.as_ref().filter(|_| !self.session_lost)?;
        sessions.resume(key, path, headers, self.now)
    }

    /// What of the request an answer does not accept, so that it is to be sent
    /// again; `None`: the answer goes down. Its session cookies stay here.
    ///
    /// # Errors
    ///
    /// It is not sent again, and the answer does not go down either.
    pub(super) fn judge(
        &mut self,
        means: Means,
        answer: &mut Answer<RequestBody>,
    ) -> Result<Option<Refused>, Fault> {
        let status = answer.response.status();
        let unauthenticated = self.is_unauthenticated(answer);
        self.keep_session(answer, unauthenticated);
        let refused = match means {
            Means::Session(edition) if unauthenticated => {
                self.forget(edition);
                Refused::Session
            }
            Means::Own if unauthenticated => Refused::Credential,
            // It is accepted, or else the caller's own affair.
            Means::Session(_) | Means::Own | Means::Caller | Means::Nothing => return Ok(None),
        };
        let plan = self.upstream.plan();
        if !plan.retries_authentication() {
            return match plan.requires_credential() && status == StatusCode::UNAUTHORIZED {
                true => Err(self.fault(refused, "and is not asked again (authentication_retry)")),
                false => Ok(None),
            };
        }
        let before = match refused {
            Refused::Session => std::mem::replace(&mut self.session_lost, true),
            Refused::Credential => std::mem::replace(&mut self.credential_refused, true),
        };
        if before {
            return Err(self.fault(refused, "nor as its file is now"));
        }
        Ok(Some(refused))
    }

    fn is_unauthenticated(&self, answer: &Answer<RequestBody>) -> bool {
        let (status, headers) = (answer.response.status(), answer.response.headers());
        let lost = |stateful: &Stateful<'_>| stateful.sessions.is_lost(status, headers);
        status == StatusCode::UNAUTHORIZED || self.stateful.as_ref().is_some_and(lost)
    }

    /// Takes the session cookies out of an answer. They are kept where the
    /// caller has been accepted: services open sessions for strangers too.
    fn keep_session(&self, answer: &mut Answer<RequestBody>, unauthenticated: bool) {
        if let Some(stateful) = &self.stateful {
            let key = stateful.key.as_ref().filter(|_| !unauthenticated);
            let headers = answer.response.headers_mut();
            let sessions = stateful.sessions;
            sessions.keep(key, &stateful.path, headers, self.now);
        }
    }

    fn forget(&self, edition: Edition) {
        if let Some(stateful) = &self.stateful
            && let Some(key) = &stateful.key
        {
            stateful.sessions.forget(key, edition);
        }
    }

    fn missing(&self, what: &str) -> Fault {
        let upstream = self.upstream.plan().name();
        Fault::new(
            Side::Proxy,
            Phase::Outbound,
            Kind::CredentialMissing,
            format!(
                "upstreams.{upstream} requires a credential (basic_authentication), and {what}"
            ),
        )
    }

    /// The fault of a request that the service does not accept, and that is not
    /// sent again.
    pub(super) fn fault(&self, refused: Refused, why: &str) -> Fault {
        let upstream = self.upstream.plan().name();
        let (kind, what) = match refused {
            Refused::Session => (Kind::SessionLost, "does not know its session any more"),
            Refused::Credential => (
                Kind::CredentialRefused,
                "does not accept the credential that countersign sends",
            ),
        };
        let cause = format!("upstreams.{upstream} {what}, {why}");
        Fault::new(Side::Upstream, Phase::ResponseHead, kind, cause)
    }
}

/// Whose session a request may use. Another host may be another service, and
/// another credential is another user: the caller's own where it is forwarded,
/// and where certificates share, that which a file has for this one.
fn session_key(
    peer: &PeerIdentity,
    authority: &HeaderValue,
    upstream: &Upstream<RequestBody>,
    (per, headers): (SessionPer, &HeaderMap),
) -> SessionKey {
    // No part of it holds a NUL.
    let mut context = Context::new(&SHA256);
    context.update(&authority.as_bytes().to_ascii_lowercase());
    let mut add = |value: &HeaderValue| {
        context.update(b"\0");
        context.update(value.as_bytes());
    };
    match (upstream.plan().credential(), per) {
        (Credential::Forward, _) => headers.get_all(AUTHORIZATION).iter().for_each(add),
        (Credential::PerCaller(_), SessionPer::Name) => {
            if let Some(value) = upstream.credential_for(Some(peer)) {
                add(&value);
            }
        }
        (Credential::Never | Credential::Own(_) | Credential::PerCaller(_), _) => {}
    }
    let mut purpose = [0; 32];
    purpose.copy_from_slice(context.finish().as_ref());
    SessionKey {
        caller: match per {
            SessionPer::Certificate => *peer.key(),
            SessionPer::Name => peer.key_of_names(),
        },
        purpose,
    }
}

/// Over whose connections a request for `party` may go that came over the
/// connection of `caller`. Nobody knows who the anonymous are: each connection of
/// theirs is taken for somebody else.
///
/// Where a peer speaks for several, each of them has connections of its own.
pub(super) fn owner((caller, party): (&Caller, &Party), pool_per: PoolPer) -> Owner {
    let connection = || Owner::connection(party.token().unwrap_or(caller.downstream().token()));
    match (pool_per, party.peer()) {
        (PoolPer::None, _) => Owner::Shared,
        (PoolPer::Identity, Some(peer)) => Owner::Identity(*peer.key()),
        (PoolPer::Identity, None) | (PoolPer::Connection, _) => connection(),
    }
}
