//! Counts what happens on one upstream.

use std::sync::Arc;

use super::counters::{Count, Reasons};
use super::pools::{Pools, Resting};
use super::strikes::Strikes;

/// Counts the connections to one upstream, and the requests that go over them.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    pub(super) connections: Reasons,
    pub(super) requests: Reasons,
    pub(super) repeated: Reasons,
    pub(super) strikes: Strikes,
    pub(super) signed: Count,
    pub(super) open: Level,
    pools: Pools,
    pub(super) sessions: Level,
    pub(super) waiting: Level,
}

/// How many of something there are: what has begun and has not ended.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) begun: Count,
    ended: Count,
}

/// Counts one of something until it is dropped.
#[derive(Debug)]
pub struct Present {
    metrics: Arc<UpstreamMetrics>,
    level: fn(&UpstreamMetrics) -> &Level,
}

impl UpstreamMetrics {
    /// A limit of the upstream struck; as [`ListenerMetrics::limit_struck`](super::ListenerMetrics::limit_struck).
    #[must_use]
    pub fn limit_struck(&self, limit: &'static str) -> Option<u64> {
        self.strikes.add(limit)
    }

    /// A limit of the upstream struck; as [`ListenerMetrics::count_limit`](super::ListenerMetrics::count_limit).
    pub fn count_limit(&self, limit: &'static str) {
        self.strikes.count(limit);
    }

    /// A request wanted a connection. `result` says how it got it or why not,
    /// as a word from the code (`opened`, `reused`, `refused`, …).
    pub fn connection(&self, result: &'static str) {
        self.connections.add(result);
    }

    /// A request goes up. `by` says on which layer rests whom the upstream
    /// takes the caller to be, as a word from the code.
    pub fn request(&self, by: &'static str) {
        self.requests.add(by);
    }

    /// A request goes up once more. `cause` says what the upstream did not
    /// accept, as a word from the code.
    pub fn repeated(&self, cause: &'static str) {
        self.repeated.add(cause);
    }

    /// An assertion was signed.
    pub fn assertion_signed(&self) {
        self.signed.add();
    }

    /// A connection is open for as long as this is held.
    pub fn open_connection(self: &Arc<Self>) -> Present {
        self.present(|metrics| &metrics.open)
    }

    /// A pool of its connections; where there are several, they are added up.
    pub fn pool(&self) -> Resting {
        self.pools.begin()
    }

    /// How many of the connections that are open are in use, and how many rest.
    pub(super) fn in_use_and_idle(&self) -> [u64; 2] {
        let idle = self.pools.now();
        [self.open.now().saturating_sub(idle), idle]
    }

    /// A session is kept for as long as this is held.
    pub fn kept_session(self: &Arc<Self>) -> Present {
        self.present(|metrics| &metrics.sessions)
    }

    /// A request waits for its turn for as long as this is held.
    pub fn waiting_request(self: &Arc<Self>) -> Present {
        self.present(|metrics| &metrics.waiting)
    }

    fn present(self: &Arc<Self>, level: fn(&Self) -> &Level) -> Present {
        level(self).begun.add();
        Present {
            metrics: Arc::clone(self),
            level,
        }
    }
}

impl Level {
    /// How many there are. Read in this order the difference is never negative.
    pub(super) fn now(&self) -> u64 {
        let ended = self.ended.get();
        self.begun.get().saturating_sub(ended)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        (self.level)(&self.metrics).ended.add();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_there_until_it_is_dropped() {
        let metrics = Arc::<UpstreamMetrics>::default();
        let (one, other) = (metrics.open_connection(), metrics.open_connection());
        let session = metrics.kept_session();
        assert_eq!([metrics.open.now(), metrics.sessions.now()], [2, 1]);
        drop((one, session));
        assert_eq!([metrics.open.now(), metrics.sessions.now()], [1, 0]);
        assert_eq!(metrics.sessions.begun.get(), 1);
        assert_eq!(metrics.waiting.now(), 0);
        drop(other);
        assert_eq!(metrics.open.now(), 0);
    }
}
