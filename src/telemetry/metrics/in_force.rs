//! What is in force and since when, and what came of the attempts to change it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::counters::ReasonCounts;

/// When a certificate runs out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateExpiry {
    /// What it is to countersign.
    pub kind: CertificateKind,
    /// The bundle, listener or upstream, from the config.
    pub name: String,
    /// Counts the certificates of one kind and name.
    pub index: usize,
    /// Its `notAfter`, in seconds since 1970.
    pub not_after: i64,
}

/// What a certificate is to countersign.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CertificateKind {
    /// A trust anchor.
    Anchor,
    /// One that countersign presents.
    Own,
}

/// Until when a revocation list holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationListExpiry {
    /// The bundle's name, from the config.
    pub bundle: String,
    /// Counts the lists of one bundle.
    pub index: usize,
    /// Its `nextUpdate`, in seconds since 1970. Leave a list without one out.
    pub next_update: i64,
}

/// A trust anchor, and how often it is rested on.
#[derive(Clone, Debug)]
pub struct AnchorUse {
    /// The bundle's name, from the config.
    pub bundle: String,
    /// Counts the anchors of one bundle.
    pub index: usize,
    /// The fingerprint of its certificate, as logs write it.
    pub fingerprint: String,
    /// The count, which goes on while this is held.
    pub uses: Arc<dyn Uses>,
}

/// Counts the handshakes that rest on one trust anchor. A scrape asks; answers
/// do not wait for anything.
pub trait Uses: Debug + Send + Sync {
    /// How many there were.
    fn handshakes(&self) -> u64;

    /// When the last one was, in seconds since 1970; `None` before the first.
    fn last_handshake(&self) -> Option<i64>;
}

/// Whom a bundle's revocation lists would refuse if they were acted on.
#[derive(Clone, Debug)]
pub struct UnenforcedLists {
    /// The bundle's name, from the config.
    pub bundle: String,
    /// The count by reason, which goes on while this is held.
    pub would_refuse: Arc<ReasonCounts>,
}

/// An endpoint, and what is known of it.
#[derive(Clone, Debug)]
pub struct EndpointHealth {
    /// The upstream's name, from the config.
    pub upstream: String,
    /// The endpoint, as the config writes it.
    pub endpoint: String,
    /// Whether anybody looks how it is, apart from requests.
    pub is_probed: bool,
    /// What was found, which changes while this is held.
    pub health: Arc<dyn Health>,
}

/// Whether something is well. A scrape asks; answers do not wait for anything.
pub trait Health: Debug + Send + Sync {
    /// Whether it is, as far as is known.
    fn is_well(&self) -> bool;

    /// How many workers leave it alone all the same, for what they have met.
    fn left_alone_by(&self) -> usize;
}

/// What came of an attempt to put in force what is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReloadOutcome {
    /// It could not be used, and what was in force still is.
    Failure,
    /// It waits to be confirmed, and what was in force still is.
    HeldBack,
    /// It is in force, whether or not that took a new generation.
    Success,
}

/// What is in force. It changes with generations only, so one lock is enough.
#[derive(Debug, Default)]
pub(super) struct InForce(Mutex<State>);

/// What [`InForce`] holds. Times are in seconds since 1970; 0 is never, as the
/// guidelines of Prometheus have it: a series that is known beforehand is there
/// from the beginning.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) generation: u64,
    pub(super) published: f64,
    /// Each part of what the process has given up, and whether it is in force.
    pub(super) confinement: Vec<(&'static str, bool)>,
    pub(super) reloads: Reloads,
    pub(super) last_success: f64,
    pub(super) last_failure: f64,
    /// What is on the disk is not what is in force.
    pub(super) failing: bool,
    /// Maps, so that no key is served twice, whatever was given.
    pub(super) certificates: BTreeMap<(CertificateKind, String, usize), i64>,
    pub(super) revocation_lists: BTreeMap<(String, usize), i64>,
    pub(super) anchors: BTreeMap<(String, usize, String), Arc<dyn Uses>>,
    pub(super) unenforced: BTreeMap<String, Arc<ReasonCounts>>,
    pub(super) endpoints: BTreeMap<(String, String), (bool, Arc<dyn Health>)>,
}

/// How many attempts there were, by outcome.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) failure: u64,
    pub(super) held_back: u64,
    pub(super) success: u64,
}

impl InForce {
    pub(super) fn certificates(&self, certificates: Vec<CertificateExpiry>) {
        let keyed = certificates
            .into_iter()
            .map(|one| ((one.kind, one.name, one.index), one.not_after));
        self.state().certificates = keyed.collect();
    }

    pub(super) fn revocation_lists(&self, lists: Vec<RevocationListExpiry>) {
        let keyed = lists
            .into_iter()
            .map(|list| ((list.bundle, list.index), list.next_update));
        self.state().revocation_lists = keyed.collect();
    }

    pub(super) fn anchors(&self, anchors: Vec<AnchorUse>) {
        let keyed = anchors.into_iter().map(|anchor| {
            (
                (anchor.bundle, anchor.index, anchor.fingerprint),
                anchor.uses,
            )
        });
        self.state().anchors = keyed.collect();
    }

    pub(super) fn unenforced_lists(&self, lists: Vec<UnenforcedLists>) {
        let keyed = lists
            .into_iter()
            .map(|lists| (lists.bundle, lists.would_refuse));
        self.state().unenforced = keyed.collect();
    }

    pub(super) fn endpoints(&self, endpoints: Vec<EndpointHealth>) {
        let keyed = endpoints
            .into_iter()
            .map(|one| ((one.upstream, one.endpoint), (one.is_probed, one.health)));
        self.state().endpoints = keyed.collect();
    }

    pub(super) fn published(&self, generation: u64, at: SystemTime) {
        let mut state = self.state();
        state.generation = generation;
        state.published = seconds(at);
        state.last_success = seconds(at);
        state.failing = false;
    }

    pub(super) fn reload(&self, outcome: ReloadOutcome, at: SystemTime) {
        let mut state = self.state();
        let count = match outcome {
            ReloadOutcome::Failure => &mut state.reloads.failure,
            ReloadOutcome::HeldBack => &mut state.reloads.held_back,
            ReloadOutcome::Success => &mut state.reloads.success,
        };
        *count = count.wrapping_add(1);
        state.failing = outcome != ReloadOutcome::Success;
        if state.failing {
            state.last_failure = seconds(at);
        } else {
            state.last_success = seconds(at);
        }
    }

    /// Nothing on the path of a request or a handshake takes this lock.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CertificateKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Own => "own",
        }
    }
}

/// Seconds since 1970; a time before that counts as never.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
