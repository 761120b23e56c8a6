//! What a connection is doing, and until when it may.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// What one connection is doing. Shared by its byte stream, its requests and
/// its timer, all on one worker; atomics only because the HTTP library wants
/// to be able to send the stream elsewhere.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Requests under way.
    open: AtomicU32,
    /// Requests so far, up to the largest number.
    requests: AtomicU32,
    /// When the last request ended; as all times here in milliseconds after
    /// `start`, plus one, and 0 for "not".
    idle_since: AtomicU64,
    /// When the first byte of a request came whose head is not complete.
    head_since: AtomicU64,
    /// Since when the client has taken no byte of what is ready for it.
    blocked_since: AtomicU64,
    /// Responses that wait for the client to take what is ready: those that
    /// began to wait in even turns, and in odd ones.
    waiting: [AtomicU32; 2],
    /// How many turns there were.
    turns: AtomicU32,
    /// When the turn began.
    turned: AtomicU64,
    /// What makes its requests ambiguous.
    ambiguous: OnceLock<&'static str>,
}

/// What a connection has waited for too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// A request, on a connection that has had none or that has begun one.
    Head,
    /// The next request.
    Idle,
    /// That the client takes what it asked for.
    Blocked,
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    /// Whether it waits for its client, and then since an even turn.
    waits: Option<bool>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            open: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            waiting: Default::default(),
            turns: AtomicU32::new(0),
            turned: AtomicU64::new(1),
            ambiguous: OnceLock::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .unwrap_or(u64::MAX - 1)
            .saturating_add(1)
    }

    /// Bytes came. The first ones of a request start its clock.
    pub(super) fn received(&self) {
        if self.open.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether the client took bytes when some were ready for it.
    pub(super) fn took(&self, bytes: bool) {
        if bytes {
            if self.blocked_since.load(Ordering::Relaxed) != 0 {
                self.blocked_since.store(0, Ordering::Relaxed);
            }
        } else if self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A head is complete: a request is under way until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        OpenRequest {
            activity: Arc::clone(self),
            waits: None,
        }
    }

    /// Begins the next turn, if this one has taken `every`. Whether a response
    /// has waited for its client through all of it: an HTTP/2 client can hold
    /// one back while it takes other bytes.
    pub(super) fn turn(&self, every: Duration) -> bool {
        let now = self.now();
        let began = self.turned.load(Ordering::Relaxed);
        if u128::from(now.saturating_sub(began)) < every.as_millis() {
            return false;
        }
        self.turned.store(now, Ordering::Relaxed);
        let [even, odd] = &self.waiting;
        let earlier = match self.turns.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => odd,
            _ => even,
        };
        earlier.load(Ordering::Relaxed) > 0
    }

    /// What came can be read in two ways; the first reason counts.
    pub(super) fn ambiguous(&self, reason: &'static str) {
        self.ambiguous.get_or_init(|| reason);
    }

    /// Why its requests cannot be trusted to begin and end where they seem to.
    pub(super) fn ambiguity(&self) -> Option<&'static str> {
        self.ambiguous.get().copied()
    }

    /// How many requests are under way.
    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether nothing is under way, not even the beginning of a head.
    pub(super) fn is_idle(&self) -> bool {
        self.open() == 0 && self.head_since.load(Ordering::Relaxed) == 0
    }

    /// Until when it may go on as it is, and what it would then have waited
    /// for too long. `http2`: bytes between requests are not a request's.
    pub(super) fn deadline(&self, limits: &Limits, http2: bool) -> (Instant, Overdue) {
        let at = |millis: u64, timeout: Duration| {
            self.start + Duration::from_millis(millis.saturating_sub(1)) + timeout
        };
        if self.open() > 0 {
            let blocked = match self.blocked_since.load(Ordering::Relaxed) {
                0 => self.now(),
                since => since,
            };
            return (at(blocked, limits.body_timeout), Overdue::Blocked);
        }
        let head = self.head_since.load(Ordering::Relaxed);
        if self.requests.load(Ordering::Relaxed) == 0 {
            return (at(1, limits.header_timeout), Overdue::Head);
        }
        if head != 0 && !http2 {
            return (at(head, limits.header_timeout), Overdue::Head);
        }
        let idle = self.idle_since.load(Ordering::Relaxed);
        (at(idle, limits.idle_timeout), Overdue::Idle)
    }
}

impl OpenRequest {
    /// A piece of its response is ready, and the client is to take it.
    pub(super) fn wait(&mut self) {
        self.go_on();
        let turn = self.activity.turns.load(Ordering::Relaxed) % 2;
        self.waits = Some(turn == 0);
        self.count().fetch_add(1, Ordering::Relaxed);
    }

    /// The client has taken it.
    pub(super) fn go_on(&mut self) {
        if self.waits.is_some() {
            self.count().fetch_sub(1, Ordering::Relaxed);
            self.waits = None;
        }
    }

    fn count(&self) -> &AtomicU32 {
        let [even, odd] = &self.activity.waiting;
        if self.waits == Some(true) { even } else { odd }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.go_on();
        let activity = &self.activity;
        if activity.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            activity.idle_since.store(activity.now(), Ordering::Relaxed);
        }
    }
}
