//! What a connection is doing, and until when it may.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::proxy::Ambiguity;
use crate::tls::RequestCount;

/// What one connection is doing. Shared by its byte stream, its requests and
/// its timer, all on one worker; atomics only because the HTTP library wants
/// to be able to send the stream elsewhere.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    http2: bool,
    /// Requests under way, and pieces of responses that wait to be written.
    open: AtomicU32,
    /// Requests so far, up to the largest number.
    requests: AtomicU32,
    /// When the last request ended; as all times here in milliseconds after
    /// `start`, plus one, and 0 for "not".
    idle_since: AtomicU64,
    /// When the head began that is not complete; for HTTP/1.1.
    head_since: AtomicU64,
    /// Whether a request has begun to come and has not come to its end, or the
    /// connection is being ended; for HTTP/1.1.
    coming: AtomicBool,
    /// Since when the socket has taken no byte of what is ready for it.
    blocked_since: AtomicU64,
    /// How long that was the case before, since the last request began, in
    /// milliseconds; and how many bytes the socket took since then.
    waited: AtomicU64,
    taken: AtomicU64,
    /// What HTTP/2 streams hold that the client gives them no room to send, by
    /// the request's number.
    held: Mutex<BTreeMap<u32, Held>>,
    /// HTTP on it has ended; what comes now is a tunnel's.
    http_over: AtomicBool,
    /// What makes one of its requests, and all that come behind it, ambiguous.
    ambiguous: OnceLock<Ambiguity>,
    /// Its HTTP/2 client has sent more frames than it may.
    flooded: AtomicBool,
}

/// What one HTTP/2 stream has to send, and what became of what it had.
#[derive(Debug, Default)]
struct Held {
    pieces: u32,
    /// When the client last took some of it, or when there was first some.
    since: u64,
    /// How long there was some before, in milliseconds.
    waited: u64,
    /// How many bytes the client took.
    taken: u64,
    /// There will be no more.
    ended: bool,
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
    /// The same, of which it takes some now and then.
    Slow,
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    number: u32,
}

/// A piece of a response that was handed out to be written. Its request counts
/// as under way until it is dropped.
#[derive(Debug)]
pub(super) struct Untaken(OpenRequest);

impl RequestCount for Activity {
    fn requests(&self) -> u32 {
        Self::requests(self)
    }
}

impl Activity {
    pub(super) fn new(http2: bool) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            http2,
            open: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            coming: AtomicBool::new(false),
            blocked_since: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            held: Mutex::default(),
            http_over: AtomicBool::new(false),
            ambiguous: OnceLock::new(),
            flooded: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .unwrap_or(u64::MAX - 1)
            .saturating_add(1)
    }

    fn instant(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis.saturating_sub(1))
    }

    /// Bytes of HTTP/1.1 came; `begun`: with them, a head has begun that is not
    /// complete.
    pub(super) fn head(&self, begun: bool) {
        let since = self.head_since.load(Ordering::Relaxed);
        if begun != (since != 0) {
            let since = if begun { self.now() } else { 0 };
            self.head_since.store(since, Ordering::Relaxed);
        }
    }

    /// Whether a request has begun to come that has not come to its end, or the
    /// connection is being ended; for HTTP/1.1.
    pub(super) fn coming(&self, begun: bool) {
        self.coming.store(begun, Ordering::Relaxed);
    }

    /// Whether nothing is under way on a connection of HTTP/1.1, in whichever
    /// direction.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open() == 0
            && !self.coming.load(Ordering::Relaxed)
            && self.blocked_since.load(Ordering::Relaxed) == 0
            && !self.is_http_over()
    }

    /// Whether the socket took bytes when some were ready for it.
    pub(super) fn took(&self, bytes: bool) {
        let since = self.blocked_since.load(Ordering::Relaxed);
        let was_blocked = since != 0;
        if bytes && was_blocked {
            let now = self.now();
            self.blocked_since.store(0, Ordering::Relaxed);
            add(&self.waited, now.saturating_sub(since));
            // What was still being written when its request ended.
            self.idle_since.store(now, Ordering::Relaxed);
        } else if !bytes && !was_blocked {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The socket took so many bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        add(&self.taken, bytes as u64);
    }

    /// A head is complete: a request is under way until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
        OpenRequest {
            number: self.requests.fetch_add(1, Ordering::Relaxed),
            activity: Arc::clone(self),
        }
    }

    /// HTTP on it has ended: what comes now is not HTTP's.
    pub(super) fn end_http(&self) {
        self.http_over.store(true, Ordering::Relaxed);
    }

    /// Whether HTTP on it has ended.
    pub(super) fn is_http_over(&self) -> bool {
        self.http_over.load(Ordering::Relaxed)
    }

    /// What came can be read in two ways; the first reason counts.
    pub(super) fn ambiguous(&self, reason: Ambiguity) {
        self.ambiguous.get_or_init(|| reason);
    }

    /// Its HTTP/2 client has sent more frames than it may.
    pub(super) fn flood(&self) {
        self.flooded.store(true, Ordering::Relaxed);
    }

    /// Whether its HTTP/2 client has sent more frames than it may.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Requests that were begun so far, up to the largest number.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing has been under way, neither the beginning of a head
    /// nor the end of a response; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let idle = self.open() == 0
            && self.head_since.load(Ordering::Relaxed) == 0
            && self.blocked_since.load(Ordering::Relaxed) == 0;
        idle.then(|| self.instant(self.idle_since.load(Ordering::Relaxed)))
    }

    /// Since when the client has taken nothing of what is ready for it: of all
    /// that is, or, over HTTP/2, of one response.
    fn blocked_since(&self) -> Option<u64> {
        let socket = self.blocked_since.load(Ordering::Relaxed);
        let socket = (socket != 0).then_some(socket);
        let streams = self.holding(|held| held.since);
        socket.into_iter().chain(streams).min()
    }

    /// The least of what is asked of each stream that has something to send.
    fn holding(&self, what: impl Fn(&Held) -> u64) -> Option<u64> {
        let held = self.held();
        let holding = held.values().filter(|held| held.pieces > 0);
        holding.map(what).min()
    }

    /// When the client will have taken what is ready for it too slowly, as it
    /// takes it now: the time in which there was something to take counts.
    fn slow_from(&self, since: u64, limits: &Limits) -> u64 {
        let left = |taken: u64, waited: u64| {
            let rate = limits.traffic.body_rate.get();
            let earned = taken.saturating_mul(1000) / rate;
            let grace = millis(limits.body_timeout);
            grace.saturating_add(earned).saturating_sub(waited)
        };
        if self.http2 {
            let slow = |held: &Held| held.since.saturating_add(left(held.taken, held.waited));
            return self.holding(slow).unwrap_or(u64::MAX);
        }
        let taken = self.taken.load(Ordering::Relaxed);
        let waited = self.waited.load(Ordering::Relaxed);
        since.saturating_add(left(taken, waited))
    }

    /// Until when it may go on as it is, and what it would then have waited
    /// for too long.
    pub(super) fn deadline(&self, limits: &Limits) -> (Instant, Overdue) {
        if let Some(since) = self.blocked_since() {
            let blocked = since.saturating_add(millis(limits.body_timeout));
            let slow = self.slow_from(since, limits);
            // One that has hardly used its time and stops is not slow.
            let soon = since.saturating_add(millis(limits.body_timeout / 2));
            return if slow < soon {
                (self.instant(slow), Overdue::Slow)
            } else {
                (self.instant(blocked), Overdue::Blocked)
            };
        }
        if self.open() > 0 {
            // The client waits, not this side; it may block from now on.
            return (Instant::now() + limits.body_timeout, Overdue::Blocked);
        }
        if self.requests.load(Ordering::Relaxed) == 0 {
            return (self.start + limits.header_timeout, Overdue::Head);
        }
        match self.head_since.load(Ordering::Relaxed) {
            0 => {
                let idle = self.idle_since.load(Ordering::Relaxed);
                (self.instant(idle) + limits.idle_timeout, Overdue::Idle)
            }
            head => (self.instant(head) + limits.header_timeout, Overdue::Head),
        }
    }
}

impl OpenRequest {
    /// Why it cannot be trusted to begin and end where it seems to.
    pub(super) fn ambiguity(&self) -> Option<&'static str> {
        let known = self.activity.ambiguous.get()?;
        (known.request <= self.number).then_some(known.rule)
    }

    /// How many requests its connection has had by it.
    pub(super) fn count(&self) -> u32 {
        self.number.saturating_add(1)
    }

    /// A piece of its response is handed out to be written.
    pub(super) fn hand_out(&self) -> Untaken {
        let activity = &self.activity;
        activity.open.fetch_add(1, Ordering::Relaxed);
        if activity.http2 {
            let now = activity.now();
            let mut held = activity.held();
            let stream = held.entry(self.number).or_default();
            if stream.pieces == 0 {
                stream.since = now;
            }
            stream.pieces = stream.pieces.saturating_add(1);
        }
        Untaken(Self {
            activity: Arc::clone(activity),
            number: self.number,
        })
    }
}

impl OpenRequest {
    /// The whole of its response has been handed out, or no more of it will be.
    pub(super) fn end_body(&self) {
        let mut held = self.activity.held();
        if let Some(stream) = held.get_mut(&self.number) {
            stream.ended = true;
            if stream.pieces == 0 {
                held.remove(&self.number);
            }
        }
    }
}

impl Untaken {
    /// So many bytes of it were written.
    pub(super) fn moved(&self, bytes: usize) {
        let OpenRequest { activity, number } = &self.0;
        if activity.http2
            && let Some(stream) = activity.held().get_mut(number)
        {
            let now = activity.now();
            let waited = now.saturating_sub(stream.since);
            stream.waited = stream.waited.saturating_add(waited);
            stream.taken = stream.taken.saturating_add(bytes as u64);
            stream.since = now;
        }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        let OpenRequest { activity, number } = &self.0;
        if !activity.http2 {
            return;
        }
        let mut held = activity.held();
        if let Some(stream) = held.get_mut(number) {
            stream.pieces = stream.pieces.saturating_sub(1);
            if stream.pieces == 0 && stream.ended {
                held.remove(number);
            }
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let activity = &self.activity;
        if activity.open.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        let now = activity.now();
        activity.idle_since.store(now, Ordering::Relaxed);
        // Nobody read on in the next head before: its time begins here.
        if activity.head_since.load(Ordering::Relaxed) != 0 {
            activity.head_since.store(now, Ordering::Relaxed);
        }
    }
}

/// Adds to what one worker alone writes.
fn add(to: &AtomicU64, more: u64) {
    let sum = to.load(Ordering::Relaxed).saturating_add(more);
    to.store(sum, Ordering::Relaxed);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
