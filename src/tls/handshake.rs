//! One handshake with a client: what was learnt in it, and how it ended.
//!
//! The TLS library asks its verifier, and for sessions, in the middle of a poll
//! and tells them nothing of the connection. The record of the handshake under
//! way is therefore a task-local that stands for the time of that poll.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::bundle::{Objection, Verdict};
use super::peers::Connected;
use super::refusal::Refusal;
use super::sessions::Progress;
use super::stream::{Socket, Stream};
use crate::identity::{CertificateNames, Chain, PeerIdentity, VerifiedLeaf};

tokio::task_local! {
    static RECORD: Rc<RefCell<Record>>;
}

/// What was learnt while a handshake was under way. Only claims, until the
/// handshake as a whole has succeeded.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The name the client asked for, in the form in which names are compared.
    server_name: Option<String>,
    /// The chain that the peer presented, its leaf first.
    presented: Vec<CertificateDer<'static>>,
    /// Why it was refused, in words, and what the bundle objects to in the chain.
    objection: Option<(String, Option<Box<Objection>>)>,
    /// What it was found to be.
    verified: Option<(CertificateNames, Verdict)>,
    /// What came of the tickets that it offered, and of those it gets.
    pub(super) sessions: Progress,
}

/// A chain that was found good, and what was found.
#[derive(Debug)]
pub(super) struct VerifiedChain {
    /// The names of its leaf.
    pub(super) names: CertificateNames,
    /// Until when that holds.
    pub(super) verdict: Verdict,
    /// The leaf first; never empty.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// The TLS library knows a peer by a chain that was not verified here.
#[derive(Debug, thiserror::Error)]
#[error(
    "the TLS library completed a handshake for certificates that were not verified in it; nothing is believed of this client"
)]
pub(super) struct Unattested;

/// A handshake that succeeded.
#[derive(Debug)]
pub struct Handshaken {
    /// The connection.
    pub stream: Stream,
    /// Who the client is; `None`: anonymous.
    pub peer: Option<Peer>,
    /// The name the client asked for, in lower case.
    pub server_name: Option<String>,
    /// Whether it went on with an earlier session.
    pub resumed: bool,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
}

/// A client whose chain was found good.
#[derive(Debug)]
pub struct Peer {
    /// What its leaf says of it.
    pub identity: PeerIdentity,
    /// As the process knows it, for as long as its connection is open.
    pub known: Connected,
    /// When its chain ceases to be valid, in seconds since 1970.
    pub good_until: i64,
}

/// A handshake that was refused or given up.
#[derive(Debug)]
pub struct RefusedHandshake {
    /// Why.
    pub reason: Refusal,
    /// The exact cause, in words.
    pub cause: String,
    /// What the trust bundle objects to in the chain that was presented, if
    /// that is why.
    pub objection: Option<Box<Objection>>,
    /// The name the client asked for, if it came that far.
    pub server_name: Option<String>,
    /// What the certificate that was presented says of itself. Not verified.
    pub presented: Option<Box<CertificateNames>>,
    /// The socket, if somebody may still read from it: the alert that was sent,
    /// or an explanation.
    pub socket: Option<Socket>,
}

impl RefusedHandshake {
    /// A refusal before any certificate was seen.
    pub(super) fn early(reason: Refusal, cause: impl Into<String>) -> Self {
        Self {
            reason,
            cause: cause.into(),
            objection: None,
            server_name: None,
            presented: None,
            socket: None,
        }
    }
}

impl RefusedHandshake {
    /// What would make it succeed.
    pub fn remedy(&self) -> &str {
        let objection = self.objection.as_deref().and_then(Objection::remedy);
        objection.unwrap_or(self.reason.remedy())
    }
}

impl Record {
    /// A new record, shared with the handshake that it is about.
    pub(super) fn new() -> Rc<RefCell<Self>> {
        Rc::default()
    }

    /// Notes the name that the client asked for, in the form in which names are compared.
    pub(super) fn note_server_name(&mut self, name: Option<String>) {
        self.server_name = name;
    }

    /// The name that the client asked for.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The same, for good.
    pub(super) fn take_server_name(&mut self) -> Option<String> {
        self.server_name.take()
    }

    /// The chain that was presented and verified in this handshake.
    pub(super) fn verified(&self) -> Option<(&[CertificateDer<'static>], &Verdict)> {
        let (_, verdict) = self.verified.as_ref()?;
        Some((&self.presented, verdict))
    }

    /// Who the peer is, once the handshake has succeeded as a whole: it has
    /// proved that it holds the key of the chain that was verified, or the
    /// secret of the session in which it did. `None`: anonymous.
    ///
    /// `certificates` is what the library takes the peer's chain to be.
    ///
    /// # Errors
    ///
    /// That chain is another than the one that was verified.
    pub(super) fn into_peer(
        self,
        resumed: bool,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Option<VerifiedChain>, Unattested> {
        let peer = if resumed {
            self.sessions.into_claimed_peer().ok_or(Unattested)?
        } else {
            self.verified.map(|(names, verdict)| VerifiedChain {
                names,
                verdict,
                chain: self.presented,
            })
        };
        let chain = peer.as_ref().map_or(&[][..], |peer| &peer.chain);
        if chain == certificates {
            Ok(peer)
        } else {
            Err(Unattested)
        }
    }

    /// Completes a refusal with what was learnt.
    pub(super) fn complete(self, mut refused: RefusedHandshake) -> RefusedHandshake {
        if let Some((cause, objection)) = self.objection
            && refused.reason != Refusal::Timeout
        {
            refused.cause = cause;
            refused.objection = objection;
        }
        refused.server_name = self.server_name;
        refused.presented = self
            .presented
            .first()
            .and_then(|leaf| CertificateNames::read(leaf).ok())
            .map(Box::new);
        refused
    }
}

impl VerifiedChain {
    /// Its parts, as they are told outside of this room.
    pub(super) fn attest(self) -> (PeerIdentity, Verdict, Chain) {
        let chain = Chain::from(self.chain);
        let anchor = *self.verdict.path.anchor();
        let leaf = VerifiedLeaf::attest(self.names, Arc::clone(&chain), anchor);
        (PeerIdentity::from_leaf(leaf), self.verdict, chain)
    }
}

/// Runs `future` with `record` as the handshake under way.
pub(super) async fn recorded<F: Future>(record: Rc<RefCell<Record>>, future: F) -> F::Output {
    RECORD.scope(record, future).await
}

/// Notes the chain that the peer presented.
pub(super) fn note_presented(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
    with_record(|record| {
        let chain = std::iter::once(leaf).chain(intermediates);
        record.presented = chain.map(|der| der.clone().into_owned()).collect();
    });
}

/// Notes why it was refused, and what the bundle objects to, if that is why.
pub(super) fn note_objection(cause: &dyn Display, objection: Option<Objection>) {
    let noted = (cause.to_string(), objection.map(Box::new));
    with_record(|record| record.objection = Some(noted));
}

/// Notes that it was verified.
pub(super) fn note_verified(names: CertificateNames, verdict: Verdict) {
    with_record(|record| record.verified = Some((names, verdict)));
}

/// Looks at the record of the handshake under way.
///
/// Outside a handshake of ours (there is none such) nothing is noted, and
/// without a note there is neither identity nor session: it fails closed.
pub(super) fn with_record<T>(look: impl FnOnce(&mut Record) -> T) -> Option<T> {
    let looked = RECORD.try_with(|record| look(&mut record.borrow_mut()));
    debug_assert!(looked.is_ok(), "asked outside a handshake");
    looked.ok()
}

#[cfg(test)]
mod tests;
