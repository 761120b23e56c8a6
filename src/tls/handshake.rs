//! One handshake with a client: what was learnt in it, and how it ended.
//!
//! The TLS library asks its verifier in the middle of a poll and tells it
//! nothing of the connection. The record of the handshake under way is
//! therefore a task-local that stands for the time of that poll.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use rustls_pki_types::CertificateDer;

use super::refusal::Refusal;
use super::stream::{Socket, Stream};
use crate::identity::{CertificateNames, PeerIdentity, VerifiedLeaf};

tokio::task_local! {
    static RECORD: Rc<RefCell<Record>>;
}

/// What the verifier learnt while a handshake was under way. Only claims, until
/// the handshake as a whole has succeeded.
#[derive(Debug, Default)]
pub(super) struct Record {
    presented: Option<CertificateDer<'static>>,
    verdict: Option<String>,
    verified: Option<(CertificateNames, i64)>,
}

/// A handshake that succeeded.
#[derive(Debug)]
pub struct Handshaken {
    /// The connection.
    pub stream: Stream,
    /// Who the client is; `None`: anonymous.
    pub peer: Option<PeerIdentity>,
    /// When the peer's chain ceases to be valid, in seconds since 1970.
    pub good_until: Option<i64>,
    /// The name the client asked for, in lower case.
    pub server_name: Option<String>,
    /// Whether it went on with an earlier session.
    pub resumed: bool,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
}

/// A handshake that was refused or given up.
#[derive(Debug)]
pub struct RefusedHandshake {
    /// Why.
    pub reason: Refusal,
    /// The exact cause, in words.
    pub cause: String,
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
            server_name: None,
            presented: None,
            socket: None,
        }
    }
}

impl Record {
    /// A new record, shared with the handshake that it is about.
    pub(super) fn new() -> Rc<RefCell<Self>> {
        Rc::default()
    }

    /// The peer, once the handshake has succeeded as a whole: the chain was
    /// verified and the peer has proved that it holds the key.
    pub(super) fn into_peer(self) -> (Option<PeerIdentity>, Option<i64>) {
        match self.verified {
            Some((names, good_until)) => {
                let leaf = VerifiedLeaf::attest(names);
                (Some(PeerIdentity::from_leaf(leaf)), Some(good_until))
            }
            None => (None, None),
        }
    }

    /// Completes a refusal with what was learnt.
    pub(super) fn complete(self, mut refused: RefusedHandshake) -> RefusedHandshake {
        if let Some(verdict) = self.verdict {
            refused.cause = verdict;
        }
        refused.presented = self
            .presented
            .and_then(|der| CertificateNames::read(&der).ok())
            .map(Box::new);
        refused
    }
}

/// Runs `future` with `record` as the handshake under way.
pub(super) async fn recorded<F: Future>(record: Rc<RefCell<Record>>, future: F) -> F::Output {
    RECORD.scope(record, future).await
}

/// Notes the leaf that the peer presented.
pub(super) fn note_presented(leaf: &CertificateDer<'_>) {
    with_record(|record| record.presented = Some(leaf.clone().into_owned()));
}

/// Notes why it was refused.
pub(super) fn note_verdict(cause: &dyn Display) {
    with_record(|record| record.verdict = Some(cause.to_string()));
}

/// Notes that its chain was verified, and until when that holds.
pub(super) fn note_verified(names: CertificateNames, good_until: i64) {
    with_record(|record| record.verified = Some((names, good_until)));
}

/// Outside a handshake of ours (there is none such) nothing is noted, and
/// without a note there is no identity: it fails closed.
fn with_record(change: impl FnOnce(&mut Record)) {
    let noted = RECORD.try_with(|record| change(&mut record.borrow_mut()));
    debug_assert!(noted.is_ok(), "the verifier was called outside a handshake");
}
