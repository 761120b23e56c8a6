//! That a chain is good.

use std::sync::Arc;

use crate::identity::AnchorName;
use crate::tls::refusal::Refusal;
use crate::tls::revocation::Note;
use crate::tls::trust_path::TrustPath;

/// That a chain was found good, until when, and what it rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// When it ceases to be valid: the earliest `notAfter` of the path that was
    /// found, the anchor's included, in seconds since 1970.
    pub good_until: i64,
    /// Until when a session may go on with it: `good_until`, or the earliest
    /// `nextUpdate` of the revocation lists that it rests on, in seconds since
    /// 1970. Lists that may be stale do not end a session.
    pub session_until: i64,
    /// The path. Ask a later bundle by [`Bundle::judge`](super::Bundle::judge) whether it still stands.
    pub path: Arc<TrustPath>,
    /// What the anchor at the end of the path is called in this bundle.
    pub anchor: Arc<AnchorName>,
    /// What was let pass although no current revocation list cleared it, where
    /// the bundle says `log`, or acts on no list. The log was told.
    pub notes: Vec<Note>,
}

impl Verdict {
    /// Why the chain would have been refused if revocation lists were acted on.
    pub fn would_refuse(&self) -> Option<Refusal> {
        self.notes.iter().find_map(|note| match note {
            Note::WouldRefuse { reason, .. } => Some(*reason),
            Note::MissingList { .. } | Note::StaleList { .. } => None,
        })
    }
}
