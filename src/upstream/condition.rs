//! How one endpoint does, as one worker sees it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pauses::OwnPause;
use super::plan::Plan;
use super::resolve::Seen;
use super::standing::Standing;
use crate::config::Ejection;
use crate::telemetry::metrics::Health;

/// The share of its requests that an endpoint begins with that came back, in
/// percent.
const FIRST_SHARE: u128 = 10;

/// How one endpoint does, as one worker sees it: what its own requests met, and
/// what the whole process knows.
#[derive(Debug)]
pub(super) struct Condition {
    plan: Arc<Plan>,
    standing: Arc<Standing>,
    /// Where others see why it is left alone.
    pause: OwnPause,
    seen: Seen,
    /// Requests in a row that it failed.
    failures: Cell<u32>,
    /// Ejections in a row.
    ejections: Cell<u32>,
    /// The last one, until it is known to do well again.
    ejected: Cell<Option<Ejected>>,
    /// Since when it takes part again.
    returned: Cell<Option<Instant>>,
}

/// Why it is left alone, and until when.
#[derive(Clone, Copy, Debug)]
struct Ejected {
    until: Instant,
    /// It took no connection; else it failed requests.
    refusing: bool,
}

impl Condition {
    /// Of an endpoint of the plan, as long as nothing has come of a request.
    pub(super) fn new(plan: &Arc<Plan>, standing: &Arc<Standing>) -> Self {
        Self {
            plan: Arc::clone(plan),
            seen: Seen::new(Arc::clone(standing)),
            standing: Arc::clone(standing),
            pause: standing.pauses().begin(),
            failures: Cell::new(0),
            ejections: Cell::new(0),
            ejected: Cell::new(None),
            returned: Cell::new(None),
        }
    }

    /// What this worker has seen of its addresses.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// In which order endpoints are considered; of those in one rank none is
    /// preferred for how it does. What probes find unwell comes last: they have
    /// looked later than whatever was refused.
    pub(super) fn rank(&self, now: Instant) -> u8 {
        match (self.standing.is_well(), self.is_ejected(now)) {
            (true, false) => 0,
            (true, true) => 1,
            (false, _) => 2,
        }
    }

    /// Whether requests that are bound to its connections may go to it at `now`:
    /// that it takes no new one is nothing to them.
    pub(super) fn keeps_its_own(&self, now: Instant) -> bool {
        let failing = |ejected: Ejected| !ejected.refusing && ejected.until > now;
        self.standing.is_well() && !self.ejected.get().is_some_and(failing)
    }

    /// Whether it is being left alone at `now`.
    fn is_ejected(&self, now: Instant) -> bool {
        self.ejected.get().is_some_and(|last| last.until > now)
    }

    /// The part of its full share that it is due at `now`, in percent: less than
    /// 100 for as long as `slow_start` after it came back.
    pub(super) fn share(&self, slow_start: Duration, now: Instant) -> i64 {
        let Some(since) = self.returned.get().max(self.standing.back_since()) else {
            return 100;
        };
        let passed = now.saturating_duration_since(since).as_millis() * 100;
        let share = passed.checked_div(slow_start.as_millis()).unwrap_or(100);
        i64::try_from(share.clamp(FIRST_SHARE, 100)).unwrap_or(100)
    }

    /// It took no connection: it is left alone for a while, which is returned.
    /// `None`: it is left alone already, and what was under way by then says
    /// nothing new.
    pub(super) fn refused(&self, now: Instant) -> Option<Duration> {
        (!self.is_ejected(now)).then(|| self.eject(true, now))
    }

    /// Why it is left alone, for those who ask; to be said whenever that begins.
    pub(super) fn explain(&self, cause: &str) {
        if let Some(last) = self.ejected.get() {
            self.pause.begins(last.until, cause);
        }
    }

    /// It took a connection. Whether it had been left alone for taking none.
    pub(super) fn connected(&self, now: Instant) -> bool {
        self.is_back(true, now)
    }

    /// It failed a request. After as many in a row as the plan says it is left
    /// alone, if it `may_be`; then the time is returned.
    pub(super) fn failed(&self, now: Instant, may_be: impl FnOnce() -> bool) -> Option<Duration> {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let enough = self.settings().consecutive_failures.get();
        if failures < enough || self.is_ejected(now) || !may_be() {
            return None;
        }
        self.failures.set(0);
        Some(self.eject(false, now))
    }

    /// It served a request. Whether it had been left alone for failing.
    pub(super) fn succeeded(&self) -> bool {
        self.failures.set(0);
        self.ejected.get().is_some() && self.is_back(false, Instant::now())
    }

    /// Whether it gets no requests at `now` while others do.
    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        self.rank(now) > 0
    }

    fn eject(&self, refusing: bool, now: Instant) -> Duration {
        let (settings, before) = (self.settings(), self.ejections.get());
        let pause = settings
            .base
            .saturating_mul(1u32.checked_shl(before).unwrap_or(u32::MAX))
            .min(settings.longest);
        self.ejections.set(before.saturating_add(1).min(32));
        let until = now + pause;
        self.ejected.set(Some(Ejected { until, refusing }));
        self.returned.set(Some(until));
        pause
    }

    fn is_back(&self, refusing: bool, now: Instant) -> bool {
        let Some(last) = self.ejected.get().filter(|last| last.refusing == refusing) else {
            return false;
        };
        self.ejected.set(None);
        self.pause.ends();
        self.ejections.set(0);
        self.returned.set(Some(last.until.min(now)));
        true
    }

    fn settings(&self) -> &Ejection {
        self.plan.ejection()
    }
}

#[cfg(test)]
mod tests;
