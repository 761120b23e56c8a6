//! What is demanded of a client, which depends on the name that it asks for.

use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::config::{ClientPolicy, ListenerTls, Outcome, Outcomes, Protocol, UnknownSni};
use crate::tls::choices;
use crate::tls::handshake::{Client, Evidence, LetIn, NotAccepted, Peer, Unattested};
use crate::tls::peers::{KnownPeer, Withdrawal};
use crate::tls::refusal::Refusal;
use crate::tls::sessions::Sessions;
use crate::tls::sni::{ByName, Certificates};
use crate::tls::trust::Trust;
use crate::tls::verifier::ClientVerifier;

/// The TLS 1.3 tickets after a full handshake. A client that opens several
/// connections at once uses one for each (RFC 9846 §C.4).
const TICKETS: usize = 2;

/// What is demanded of a client: the settings of its handshake, and what its
/// certificate is checked against.
///
/// A listener has one for each that differs from its others, so that two names
/// have the same policy exactly if they have the same one.
#[derive(Debug)]
pub(in crate::tls) struct Policy {
    pub(super) config: Arc<ServerConfig>,
    /// `None`: certificates are not asked for.
    pub(super) trust: Option<Arc<Trust>>,
    outcomes: Outcomes,
}

/// Who a client is, and why it is nobody although it was let in.
type Known = (Option<Peer>, Option<NotAccepted>);

/// What a policy is made of.
pub(in crate::tls) struct Demand {
    /// What client certificates are checked against; `None`: they are not asked for.
    pub(in crate::tls) trust: Option<Arc<Trust>>,
    /// What can be resumed; `None`: nothing.
    pub(in crate::tls) sessions: Option<Sessions>,
}

/// The policies of one listener, and whom each is for.
#[derive(Debug)]
pub(super) struct Policies {
    /// Each differs from all others.
    all: Vec<Policy>,
    /// Of these: the one for names that have none of their own.
    own: usize,
    named: ByName<usize>,
    /// For clients that ask for no name; `None`: they are refused.
    nameless: Option<usize>,
    /// For names that no certificate carries; `None`: they are refused.
    unknown: Option<usize>,
}

impl Policies {
    /// Has `make` make each policy that differs from those before it.
    pub(super) fn new<E>(
        tls: &ListenerTls,
        mut make: impl FnMut(usize, ClientPolicy) -> Result<Policy, E>,
    ) -> Result<Self, E> {
        let (mut known, mut all, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (index, wanted) in tls.policies().enumerate() {
            let place = known.iter().position(|policy| *policy == wanted);
            if place.is_none() {
                known.push(wanted);
                all.push(make(index, wanted)?);
            }
            places.push(place.unwrap_or(all.len().saturating_sub(1)));
        }
        let mut places = places.into_iter();
        let own = places.next().unwrap_or_default();
        let mut named = ByName::default();
        for (entry, place) in tls.names.iter().zip(places) {
            named.insert(&entry.name.value, place);
        }
        let strictest = tls.strictest_policy();
        let strictest = known.iter().position(|policy| Some(*policy) == strictest);
        let unknown = strictest.filter(|_| tls.unknown_sni == UnknownSni::Strictest);
        Ok(Self {
            all,
            own,
            // Where all names have one policy, none is escaped by saying no name.
            nameless: if named.is_empty() { Some(own) } else { unknown },
            named,
            unknown,
        })
    }

    /// Where the policy is for a client that asks for `name`, and `is_covered`:
    /// for which there is a certificate. `None`: it is refused.
    pub(super) fn place(
        &self,
        name: Option<&str>,
        is_covered: impl Fn(&str) -> bool,
    ) -> Option<usize> {
        match name {
            Some(name) if is_covered(name) => Some(*self.named.find(name).unwrap_or(&self.own)),
            Some(_) => self.unknown,
            None => self.nameless,
        }
    }

    /// The one policy, if it is the same for every name.
    pub(super) fn only(&self) -> Option<usize> {
        self.named.is_empty().then_some(self.own)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Policy> {
        self.all.get(place)
    }

    #[cfg(test)]
    pub(super) fn all_mut(&mut self) -> &mut [Policy] {
        &mut self.all
    }
}

impl Policy {
    /// Puts a policy of a listener together, all of whose policies share `certificates`.
    pub(super) fn new(
        tls: &ListenerTls,
        protocols: &[Protocol],
        certificates: &Arc<Certificates>,
        Demand { trust, sessions }: Demand,
    ) -> Result<Self, rustls::Error> {
        let versions: Vec<&'static SupportedProtocolVersion> = choices::versions(tls.versions);
        let builder = ServerConfig::builder_with_provider(Arc::new(choices::provider(tls)))
            .with_protocol_versions(&versions)?;
        let builder = match &trust {
            Some(trust) => {
                let verifier = ClientVerifier::new(Arc::clone(trust), tls.outcomes);
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
            None => builder.with_no_client_auth(),
        };
        let resolver: Arc<Certificates> = Arc::clone(certificates);
        let mut config = builder.with_cert_resolver(resolver);
        // The library's own store asks nobody before it resumes a session.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        if let Some(sessions) = sessions {
            config.ticketer = Arc::new(sessions);
            config.send_tls13_tickets = TICKETS;
            config.max_tls13_tickets = TICKETS;
        }
        config.alpn_protocols = protocols.iter().map(alpn).collect();
        Ok(Self {
            config: Arc::new(config),
            trust,
            outcomes: tls.outcomes,
        })
    }

    /// Judges a client as a handshake would now: see [`ServerTls::judge`](super::ServerTls::judge).
    pub(super) fn judge(
        &self,
        peer: Option<&KnownPeer>,
        let_in: Option<LetIn>,
    ) -> Result<Option<i64>, Withdrawal> {
        let Some(trust) = &self.trust else {
            return match peer {
                None => Ok(None),
                Some(_) => Err(Withdrawal {
                    reason: Refusal::Untrusted,
                    cause: "the listener asks for no certificate any more, and has nothing to check one against".to_owned(),
                    remedy: None,
                }),
            };
        };
        match (peer, let_in) {
            (Some(peer), _) => peer.judge(&trust.bundle).map(Some),
            // Its chain was not kept; it stays for as long as such chains would.
            (None, Some(was)) if self.outcome(was.reason) == was.outcome => Ok(None),
            (None, Some(was)) => Err(Withdrawal {
                reason: was.reason,
                cause: "its certificate was not accepted, and the listener lets such clients in no longer".to_owned(),
                remedy: None,
            }),
            (None, None) if trust.required => Err(Withdrawal {
                reason: Refusal::NoCertificate,
                cause: "the listener demands a certificate now, and none was presented".to_owned(),
                remedy: None,
            }),
            (None, None) => Ok(None),
        }
    }

    /// What becomes of a client that is not accepted for this reason.
    pub(super) fn outcome(&self, reason: Refusal) -> Outcome {
        reason.outcome(&self.outcomes)
    }

    /// Who the client of a completed handshake is, and why it is nobody, if it
    /// was let in although it is not accepted.
    ///
    /// # Errors
    ///
    /// The library has let somebody in whom this policy does not let in.
    pub(super) fn let_in(&self, client: Client, resumed: bool) -> Result<Known, Unattested> {
        match (client, &self.trust) {
            (Client::Verified(chain), Some(trust)) => Ok((Some(trust.admit(*chain)), None)),
            (Client::NotAccepted(evidence), Some(_)) => {
                let reason = evidence.reason().ok_or(Unattested)?;
                Ok((None, Some(self.excused(reason, evidence)?)))
            }
            (Client::Anonymous, Some(trust)) if trust.required => {
                // Such a client has no session that could be resumed.
                if resumed {
                    return Err(Unattested);
                }
                let nothing = Evidence::default();
                Ok((None, Some(self.excused(Refusal::NoCertificate, nothing)?)))
            }
            (Client::Anonymous, _) => Ok((None, None)),
            (Client::Verified(_) | Client::NotAccepted(_), None) => Err(Unattested),
        }
    }

    fn excused(&self, reason: Refusal, evidence: Evidence) -> Result<NotAccepted, Unattested> {
        match self.outcome(reason) {
            Outcome::Alert => Err(Unattested),
            outcome => Ok(NotAccepted {
                let_in: LetIn { reason, outcome },
                evidence,
            }),
        }
    }
}

fn alpn(protocol: &Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }
}
