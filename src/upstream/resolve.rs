//! The addresses of an endpoint's name, resolved again and again.
//!
//! # Rules
//!
//! * The system's resolver says nothing of how long its answer holds, so it is
//!   asked at fixed intervals, once for the whole process.
//! * Until it has answered for the first time whoever connects asks for itself.
//! * While it fails, what it said last holds for [`KEPT`]: a name seldom changes,
//!   and a resolver that is away for a moment must not take the service with it.
//! * One name is one endpoint. Connections are set up to each of its addresses in
//!   turn; one that took none is tried last, until the next answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fault::{SendFault, SendFaultKind};
use super::standing::Standing;

/// For how long the last answer of a resolver holds that fails since: long enough
/// to have it repaired, and short enough that an address which was given to
/// somebody else meanwhile is not used for ever.
const KEPT: Duration = Duration::from_secs(600);
/// The most addresses of one name that are tried for one connection.
const MAX_TRIED: usize = 8;
/// The most addresses of one name that are known.
const MAX_KNOWN: usize = 64;

/// The addresses of one name, as the whole process knows them.
#[derive(Debug)]
pub(super) struct Addresses {
    host: String,
    port: u16,
    /// Another one with every change; 0: nobody has resolved it yet.
    edition: AtomicU64,
    turn: AtomicUsize,
    /// Taken where a connection is set up and where the resolver has answered,
    /// for as long as a few addresses are copied; never for a request.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Sorted, each once.
    all: Vec<SocketAddr>,
    /// Those that took no connection since the last answer.
    failing: Vec<SocketAddr>,
    answered: Option<Instant>,
}

/// What an answer of the resolver has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Learnt {
    /// It is the first one.
    First,
    /// Nothing.
    Same,
    /// The addresses are others.
    Changed,
}

impl Addresses {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            edition: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            known: Mutex::default(),
        }
    }

    /// What the system's resolver says of the name now.
    ///
    /// # Errors
    ///
    /// It fails, or knows no address.
    pub(super) async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let found: Vec<_> = found.take(MAX_KNOWN).collect();
        if found.is_empty() {
            let cause = format!("{} has no address", self.host);
            return Err(io::Error::other(cause));
        }
        Ok(found)
    }

    /// Takes an answer of the resolver for what holds from `now` on.
    pub(super) fn learn(&self, mut found: Vec<SocketAddr>, now: Instant) -> Learnt {
        found.sort_unstable();
        found.dedup();
        let mut known = self.known();
        known.answered = Some(now);
        known.failing.clear();
        if known.all == found {
            return Learnt::Same;
        }
        let first = known.all.is_empty();
        known.all = found;
        self.edition.fetch_add(1, Ordering::Release);
        if first {
            Learnt::First
        } else {
            Learnt::Changed
        }
    }

    /// The addresses to try for a connection, in this order.
    ///
    /// # Errors
    ///
    /// None are known, and the resolver fails.
    pub(super) async fn to_try(&self) -> Result<Vec<SocketAddr>, SendFault> {
        if let Some(known) = self.in_turn(Instant::now()) {
            return Ok(known);
        }
        let found = self.look_up().await;
        let found = found.map_err(|e| SendFault::new(SendFaultKind::Resolve, &e))?;
        let now = Instant::now();
        self.learn(found, now);
        self.in_turn(now).ok_or_else(|| {
            let cause = format!("{} has no address", self.host);
            SendFault::plain(SendFaultKind::Resolve, cause)
        })
    }

    /// Each address in turn, those that failed last; `None`: there is no answer
    /// that still holds.
    fn in_turn(&self, now: Instant) -> Option<Vec<SocketAddr>> {
        let known = self.known();
        if now.saturating_duration_since(known.answered?) >= KEPT {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut all = known.all.clone();
        let start = turn.checked_rem(all.len())?;
        all.rotate_left(start);
        all.sort_by_key(|address| known.failing.contains(address));
        all.truncate(MAX_TRIED);
        Some(all)
    }

    /// This address took no connection.
    pub(super) fn failed(&self, address: SocketAddr) {
        let mut known = self.known();
        if !known.failing.contains(&address) && known.failing.len() < MAX_KNOWN {
            known.failing.push(address);
        }
    }

    /// This address took a connection.
    pub(super) fn served(&self, address: SocketAddr) {
        self.known().failing.retain(|failing| *failing != address);
    }

    /// In words, for the log.
    pub(super) fn in_words(&self) -> String {
        let known = self.known();
        let all: Vec<_> = known.all.iter().map(ToString::to_string).collect();
        all.join(", ")
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses of an endpoint's name, as one worker has seen them last: to
/// judge its connections by, without asking the others.
#[derive(Debug)]
pub(super) struct Seen {
    standing: Arc<Standing>,
    edition: Cell<u64>,
    addresses: RefCell<Vec<SocketAddr>>,
}

impl Seen {
    pub(super) fn new(standing: Arc<Standing>) -> Self {
        Self {
            standing,
            edition: Cell::new(0),
            addresses: RefCell::default(),
        }
    }

    /// Whether the addresses are others than when it was asked last; then
    /// [`Seen::has`] goes by the new ones.
    pub(super) fn has_changed(&self) -> bool {
        let Some(addresses) = self.standing.addresses() else {
            return false;
        };
        let edition = addresses.edition.load(Ordering::Acquire);
        if edition == self.edition.replace(edition) {
            return false;
        }
        self.addresses.replace(addresses.known().all.clone());
        true
    }

    /// Whether a connection to this address is one to the endpoint.
    pub(super) fn has(&self, address: Option<SocketAddr>) -> bool {
        let known = self.addresses.borrow();
        known.is_empty() || address.is_none_or(|address| known.contains(&address))
    }
}

#[cfg(test)]
mod tests;
