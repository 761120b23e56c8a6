//! Sessions that clients resume, and why a resumed one is never a way around a check.
//!
//! The TLS library keeps a peer's chain in the session, restores it when the
//! session is resumed, and asks no verifier again. But it asks for the session
//! itself, before ServerHello, and takes no for an answer: a full handshake
//! then follows on the same connection. That is where everything is checked.
//!
//! # Rules
//!
//! * A ticket opens only on a listener of the same name, for a client that asks
//!   for the same server name, and only while the policy of that name has the
//!   same `client_auth` and a bundle of the same name. What is in the bundle is not part of that, because:
//! * the chain in it is judged again, by the bundle that is in force now.
//! * A chain counts only if the library's own bytes contain it: those are what
//!   the library restores.
//! * A lineage (a session and all that it is renewed into) ends
//!   `session_lifetime` after its full handshake, or when what a verdict on the
//!   chain rests on ends, whichever is first. Renewal never prolongs it.
//! * What is learnt from a ticket is a claim. The library may find the ticket
//!   unfit after that, and whoever sends it may not hold its secret. It becomes
//!   an identity when the handshake has succeeded, was a resumed one, and the
//!   library has restored the very same chain.
//! * A client that was let in although its certificate is not accepted gets no
//!   ticket: the library would restore that certificate.
//! * There is no early data, and nothing is stored on this side.
//!
//! # Sources
//!
//! RFC 9846 §2.2 and §4.6.1 (TLS 1.3), RFC 5077 (TLS 1.2), RFC 6066 §3 (names).

mod content;
mod keys;
mod secrets;

use std::sync::Arc;

use rustls::server::ProducesTickets;
use rustls_pki_types::{CertificateDer, UnixTime};

use self::content::Content;
use super::bundle::Bundle;
use super::diagnosis::Objection;
use super::handshake::{self, Record, VerifiedChain};
use super::trust::Trust;
use crate::config::{ClientAuth, ListenerTls};

pub(super) use self::content::Lineage;
pub use self::keys::TicketKeys;

/// The longest time that a client is told a ticket can be used, in seconds: as
/// long as any key lives.
const A_DAY: u64 = 24 * 3600;
/// The layout of a ticket's content, and the meaning of its scope.
const FORMAT: u8 = 1;
/// How many chains out of tickets are verified in one handshake. A client may
/// offer many tickets, and each costs signature checks.
const MOST_VERIFICATIONS: u8 = 2;
/// How many tickets a resumed session gets: it takes the place of the one used.
const TICKETS_WHEN_RESUMED: u8 = 1;

/// Seals the sessions of one policy of a listener into tickets, and opens those that may be resumed.
#[derive(Debug)]
pub(super) struct Sessions {
    keys: Arc<TicketKeys>,
    /// What a ticket is good for, apart from the server name.
    scope: Vec<u8>,
    /// `session_lifetime`, in seconds.
    lifetime: u64,
    /// What chains are judged by; `None`: certificates are not asked for.
    trust: Option<Arc<Trust>>,
    /// Whether a client may be anonymous.
    anonymous: bool,
}

/// What the tickets of the handshake under way have come to.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Of the last ticket that could be resumed.
    claim: Option<Claim>,
    verifications: u8,
    issued: u8,
    /// For how many seconds the last ticket issued can be used.
    left: Option<u64>,
}

/// What a ticket says, until it is known whether the session was resumed with it.
#[derive(Debug)]
struct Claim {
    lineage: Lineage,
    /// `None`: anonymous.
    peer: Option<VerifiedChain>,
}

/// Why a ticket is not used. The handshake goes on without it.
#[derive(Debug, thiserror::Error)]
enum Declined {
    #[error("an anonymous session cannot be resumed where a certificate is required")]
    Anonymous,
    #[error("its chain is not accepted any more: {}", .0.reason())]
    Chain(Objection),
    #[error("its session has ended")]
    Ended,
    #[error("it is not a ticket of this listener and server name, or its key is gone")]
    NotOurs,
    #[error("too many tickets were offered at once")]
    TooMany,
}

impl Sessions {
    /// The sessions of the listener of this name under one policy. `trust`: what
    /// clients' certificates are checked against, where they are asked for.
    pub(super) fn new(
        keys: &Arc<TicketKeys>,
        listener: &str,
        tls: &ListenerTls,
        (client_auth, trust): (ClientAuth, Option<Arc<Trust>>),
    ) -> Self {
        keys.keep_for(tls.session_lifetime);
        Self {
            keys: Arc::clone(keys),
            scope: scope(
                listener,
                client_auth,
                trust.as_ref().map(|trust| &*trust.bundle),
            ),
            lifetime: tls.session_lifetime.as_secs(),
            trust,
            anonymous: client_auth != ClientAuth::Require,
        }
    }

    /// The session in a ticket, for the library to go on with. What it says of
    /// the peer is left in the record as a claim.
    fn resume(
        &self,
        record: &mut Record,
        ticket: &[u8],
        now: UnixTime,
    ) -> Result<Vec<u8>, Declined> {
        record.sessions.claim = None;
        let seconds = now.as_secs();
        let scope = self.scope_of(record.server_name());
        let plain = self.keys.open(seconds, &scope, ticket);
        let mut content = plain.and_then(Content::read).ok_or(Declined::NotOurs)?;
        let mut lineage = content.lineage.within(self.lifetime);
        lineage.left(seconds).ok_or(Declined::Ended)?;
        let chain = std::mem::take(&mut content.chain);
        let peer = if chain.is_empty() {
            self.anonymous.then_some(()).ok_or(Declined::Anonymous)?;
            None
        } else {
            record.sessions.begin_verification()?;
            let peer = self.verify(chain, now, &mut record.signatures)?;
            lineage = lineage.not_after(peer.verdict.session_until);
            lineage.left(seconds).ok_or(Declined::Ended)?;
            Some(peer)
        };
        record.sessions.claim = Some(Claim { lineage, peer });
        Ok(content.into_library())
    }

    /// Judges a chain as it would be if it were presented now.
    fn verify(
        &self,
        chain: Vec<CertificateDer<'static>>,
        now: UnixTime,
        spent: &mut u32,
    ) -> Result<VerifiedChain, Declined> {
        // The scope holds that there is a bundle where there is a chain.
        let trust = self.trust.as_ref().ok_or(Declined::NotOurs)?;
        let parts = chain.split_first().ok_or(Declined::NotOurs)?;
        let judged = trust.judge(parts, now, spent);
        let (names, verdict) = judged.map_err(Declined::Chain)?;
        Ok(VerifiedChain {
            names,
            verdict,
            chain,
        })
    }

    /// A ticket for the session of the handshake under way, which the library
    /// has put into bytes. `None`: there shall be none.
    fn issue(&self, record: &mut Record, library: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        // The library's bytes would hold a chain that is not accepted.
        if record.has_objection() {
            return None;
        }
        let now = now.as_secs();
        let begun = Lineage::begin(now, self.lifetime);
        let (chain, lineage) = match (record.verified(), record.sessions.used_claim(library)) {
            (Some((chain, verdict)), _) => (chain, begun.not_after(verdict.session_until)),
            (None, Some(claim)) => {
                if record.sessions.issued >= TICKETS_WHEN_RESUMED {
                    return None;
                }
                (claim.chain(), claim.lineage)
            }
            (None, None) => (&[][..], begun),
        };
        if chain.is_empty() && !self.anonymous {
            return None;
        }
        let left = lineage.left(now)?;
        let trailer = content::trailer(library, chain, lineage)?;
        let scope = self.scope_of(record.server_name());
        let ticket = self.keys.seal(now, &scope, [library, &trailer])?;
        record.sessions.issued = record.sessions.issued.saturating_add(1);
        record.sessions.left = Some(left);
        Some(ticket)
    }

    /// What a ticket is bound to: another value, and it does not open.
    fn scope_of(&self, server_name: Option<&str>) -> Vec<u8> {
        let name = server_name.unwrap_or_default().as_bytes();
        let mut scope = Vec::with_capacity(self.scope.len() + 1 + name.len());
        scope.extend_from_slice(&self.scope);
        scope.push(u8::from(server_name.is_some()));
        scope.extend_from_slice(name);
        scope
    }
}

impl ProducesTickets for Sessions {
    fn enabled(&self) -> bool {
        true
    }

    /// Asked for after each ticket.
    fn lifetime(&self) -> u32 {
        let left = handshake::with_record(|record| record.sessions.left).flatten();
        let seconds = left.unwrap_or(self.lifetime).min(A_DAY);
        u32::try_from(seconds).unwrap_or(0)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        handshake::with_record(|record| self.issue(record, plain, UnixTime::now())).flatten()
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        match handshake::with_record(|record| self.resume(record, cipher, UnixTime::now()))? {
            Ok(session) => Some(session),
            Err(cause) => {
                tracing::debug!(%cause, "a session ticket is not used");
                None
            }
        }
    }
}

impl Progress {
    /// Counts a verification that is about to be made.
    fn begin_verification(&mut self) -> Result<(), Declined> {
        if self.verifications >= MOST_VERIFICATIONS {
            return Err(Declined::TooMany);
        }
        self.verifications += 1;
        Ok(())
    }

    /// The claim, if the library's bytes are of the session that it is about.
    /// Where they are not, the library did not use that ticket.
    ///
    /// Anonymous sessions cannot be told apart in this way: a new one that
    /// follows on an unused ticket is taken for the old one, and ends with it.
    fn used_claim(&self, library: &[u8]) -> Option<&Claim> {
        self.claim
            .as_ref()
            .filter(|claim| content::contains(library, claim.chain()))
    }

    /// What is claimed of the peer (the inner `None`: that it is anonymous).
    /// For a handshake that did resume a session.
    pub(super) fn into_claimed_peer(self) -> Option<Option<VerifiedChain>> {
        self.claim.map(|claim| claim.peer)
    }
}

impl Claim {
    fn chain(&self) -> &[CertificateDer<'static>] {
        self.peer.as_ref().map_or(&[], |peer| &peer.chain)
    }
}

/// Puts a listener's policy into bytes: another policy, other bytes.
fn scope(listener: &str, client_auth: ClientAuth, bundle: Option<&Bundle>) -> Vec<u8> {
    let asked = match client_auth {
        ClientAuth::None => 0,
        ClientAuth::Want => 1,
        ClientAuth::Require => 2,
    };
    let mut scope = vec![FORMAT, asked, u8::from(bundle.is_some())];
    for name in [listener, bundle.map_or("", Bundle::name)] {
        scope.extend_from_slice(&(name.len() as u64).to_be_bytes());
        scope.extend_from_slice(name.as_bytes());
    }
    scope
}

#[cfg(test)]
mod tests;
