//! The last hour, in samples that one timer takes of counters.
//!
//! Nothing that serves knows of it: what is counted is counted anyway, and the
//! ring has a fixed size.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics::Totals;

/// What was counted at points of the last hour.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<(Instant, Totals)>);

/// How things were between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stretch {
    /// Requests a second that were answered with less than 400.
    pub(super) fine: f64,
    /// … with 400 to 499.
    pub(super) refused: f64,
    /// … with 500 or more, or not at all.
    pub(super) failed: f64,
    /// Connections that were open at its end.
    pub(super) open: f64,
    /// Handshakes a second that completed.
    pub(super) handshakes: f64,
    /// Clients a second that were not accepted.
    pub(super) turned_away: f64,
}

impl History {
    /// The time between two samples.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(15);
    /// The stretches of an hour.
    pub(super) const STRETCHES: usize = 240;

    /// Takes a sample; the oldest one makes room for it.
    pub(crate) fn sample(&mut self, now: Instant, totals: Totals) {
        if self.0.len() > Self::STRETCHES {
            self.0.pop_front();
        }
        self.0.push_back((now, totals));
    }

    /// The stretches between the samples, and from the last one to `now`; the
    /// oldest first.
    pub(super) fn stretches(&self, now: Instant, totals: Totals) -> Vec<Stretch> {
        let mut points: Vec<_> = self.0.iter().copied().collect();
        // Of a moment no rate is to be had.
        match points.last() {
            Some((last, _)) if now.duration_since(*last) < SHORTEST && points.len() > 1 => {}
            _ => points.push((now, totals)),
        }
        let pairs = points.iter().zip(points.iter().skip(1));
        let all: Vec<_> = pairs
            .map(|(from, to)| Stretch::between(*from, *to))
            .collect();
        let superfluous = all.len().saturating_sub(Self::STRETCHES);
        all.into_iter().skip(superfluous).collect()
    }

    /// What was counted first, of what is kept.
    pub(super) fn first(&self) -> Option<Totals> {
        self.0.front().map(|(_, totals)| *totals)
    }
}

impl Stretch {
    fn between((from, before): (Instant, Totals), (to, after): (Instant, Totals)) -> Self {
        let seconds = to.duration_since(from).as_secs_f64().max(0.001);
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        Self {
            fine: rate(before.fine, after.fine),
            refused: rate(before.refused, after.refused),
            failed: rate(before.failed, after.failed),
            open: after.open as f64,
            handshakes: rate(before.handshakes, after.handshakes),
            turned_away: rate(before.turned_away, after.turned_away),
        }
    }

    /// All requests a second.
    pub(super) fn requests(&self) -> f64 {
        self.fine + self.refused + self.failed
    }
}

/// The shortest stretch that has a rate of its own.
const SHORTEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(fine: u64, open: u64) -> Totals {
        Totals {
            fine,
            open,
            ..Totals::default()
        }
    }

    #[test]
    fn rates_are_those_between_samples_and_the_last_one_goes_up_to_now() {
        let (mut history, start) = (History::default(), Instant::now());
        history.sample(start, totals(100, 3));
        history.sample(start + Duration::from_secs(10), totals(150, 4));
        let now = start + Duration::from_secs(20);
        let stretches = history.stretches(now, totals(150, 5));
        let fine: Vec<_> = stretches.iter().map(|one| one.fine).collect();
        assert_eq!(fine, [5.0, 0.0]);
        let open: Vec<_> = stretches.iter().map(|one| one.open).collect();
        assert_eq!(open, [4.0, 5.0]);
        assert_eq!(history.first(), Some(totals(100, 3)));
    }

    #[test]
    fn ring_holds_an_hour_and_no_more() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |index: u32| start + History::INTERVAL * index;
        for index in 0..1000 {
            history.sample(at(index), totals(u64::from(index), 0));
        }
        assert_eq!(history.0.len(), History::STRETCHES + 1);
        let stretches = history.stretches(at(1000), totals(1000, 0));
        assert_eq!(stretches.len(), History::STRETCHES);
        assert_eq!(History::INTERVAL * 240, Duration::from_secs(3600));
    }

    #[test]
    fn without_a_sample_there_is_no_stretch() {
        let history = History::default();
        assert_eq!(history.stretches(Instant::now(), totals(1, 1)), []);
    }
}
