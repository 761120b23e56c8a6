//! One handshake with a client: what was learnt in it, and how it ended.
//!
//! The TLS library asks its verifier, and for sessions, in the middle of a poll
//! and tells them nothing of the connection. The record of the handshake under
//! way is therefore a task-local that stands for the time of that poll.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::bundle::Verdict;
use super::diagnosis::{Diagnosis, Objection, Presented};
use super::peers::Connected;
use super::refusal::Refusal;
use super::sessions::Progress;
use super::stream::{Socket, Stream};
use crate::config::Outcome;
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
    /// Why it is not accepted.
    objection: Option<Objection>,
    /// Whether the handshake ends for that.
    ended_by_objection: bool,
    /// How many signatures of certificates were verified in it.
    pub(super) signatures: u32,
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
    /// Why it is anonymous, where it was let in although its certificate is
    /// missing or not accepted.
    pub not_accepted: Option<NotAccepted>,
    /// The name the client asked for, in lower case.
    pub server_name: Option<String>,
    /// Whether it went on with an earlier session.
    pub resumed: bool,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, as OpenSSL calls it.
    pub cipher: &'static str,
}

/// A client that was let in although its certificate is missing or not
/// accepted. It is nobody, and nothing that it has shown is believed.
#[derive(Debug)]
pub struct NotAccepted {
    /// On what terms it was let in.
    pub let_in: LetIn,
    /// What it has shown.
    pub evidence: Evidence,
}

/// On what terms a client was let in that is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LetIn {
    /// Why it is not accepted.
    pub reason: Refusal,
    /// What becomes of it; never [`Outcome::Alert`].
    pub outcome: Outcome,
}

/// What a client has shown that was not accepted, for those who want to say more
/// of it than the reason.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The leaf first.
    chain: Vec<CertificateDer<'static>>,
    objection: Option<Objection>,
}

impl Evidence {
    /// Of a chain, the leaf first, that is not accepted.
    pub(super) fn of(chain: Vec<CertificateDer<'static>>, objection: Objection) -> Self {
        let objection = Some(objection);
        Self { chain, objection }
    }

    pub(super) fn reason(&self) -> Option<Refusal> {
        self.objection.as_ref().map(Objection::reason)
    }

    /// The limit of the listener that it has gone beyond, if that is it.
    pub fn limit(&self) -> Option<&'static str> {
        self.objection.as_ref()?.limit()
    }

    /// What its leaf says of itself; `None`: it has shown none.
    pub fn certificate(&self) -> Option<Presented> {
        self.chain.first().map(|leaf| Presented::read(leaf))
    }

    /// What is wrong with its chain, if that is what is wrong.
    pub fn diagnose(&self) -> Option<Diagnosis> {
        let objection = self.objection.as_ref()?;
        Some(objection.diagnose(&self.chain))
    }
}

/// Who the client of a completed handshake has turned out to be.
#[derive(Debug)]
pub(super) enum Client {
    Anonymous,
    /// It has proved to hold the key of a certificate that is not accepted.
    NotAccepted(Evidence),
    Verified(Box<VerifiedChain>),
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
    /// The cause, in words; what is wrong with a chain is in the evidence.
    pub cause: String,
    /// The name the client asked for, if it came that far.
    pub server_name: Option<String>,
    /// What it had shown by then.
    pub evidence: Box<Evidence>,
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
            server_name: None,
            evidence: Box::default(),
            socket: None,
        }
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

    /// Whether what the peer presented is not accepted.
    pub(super) fn has_objection(&self) -> bool {
        self.objection.is_some()
    }

    /// Who the client is, once the handshake has succeeded as a whole: it has
    /// proved that it holds the key of the chain that it presented, or the
    /// secret of the session in which it did.
    ///
    /// `certificates` is what the library takes the peer's chain to be.
    ///
    /// # Errors
    ///
    /// That chain is another than the one that was judged.
    pub(super) fn into_client(
        self,
        resumed: bool,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Client, Unattested> {
        let client = match (resumed, self.verified, self.objection) {
            (true, _, None) => {
                let claimed = self.sessions.into_claimed_peer().ok_or(Unattested)?;
                claimed.map_or(Client::Anonymous, |peer| Client::Verified(Box::new(peer)))
            }
            (false, Some((names, verdict)), None) => Client::Verified(Box::new(VerifiedChain {
                names,
                verdict,
                chain: self.presented,
            })),
            (false, None, Some(objection)) => Client::NotAccepted(Evidence {
                chain: self.presented,
                objection: Some(objection),
            }),
            (false, None, None) => Client::Anonymous,
            (true, _, Some(_)) | (false, Some(_), Some(_)) => return Err(Unattested),
        };
        let chain = match &client {
            Client::Anonymous => &[][..],
            Client::NotAccepted(evidence) => &evidence.chain,
            Client::Verified(peer) => &peer.chain,
        };
        if chain == certificates {
            Ok(client)
        } else {
            Err(Unattested)
        }
    }

    /// Completes a refusal with what was learnt.
    pub(super) fn complete(self, mut refused: RefusedHandshake) -> RefusedHandshake {
        refused.server_name = self.server_name;
        refused.evidence.chain = self.presented;
        // Else it came further, and failed to prove that it holds the key, or
        // was not asked to.
        if let Some(objection) = self.objection
            && refused.reason == Refusal::BadSignature
            && self.ended_by_objection
        {
            refused.reason = objection.reason();
            refused.evidence.objection = Some(objection);
        }
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

/// How many signatures of certificates were verified in the handshake under way.
pub(super) fn signatures() -> u32 {
    with_record(|record| record.signatures).unwrap_or_default()
}

/// Notes why it is not accepted, and whether the handshake ends for that.
pub(super) fn note_objection(objection: Objection, ends: bool) {
    with_record(|record| {
        record.objection = Some(objection);
        record.ended_by_objection = ends;
    });
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
