//! What is made of many measurements of the same.

use std::fmt;
use std::time::Duration;

/// Measurements of the same, in any order.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// Adds one.
    pub(crate) fn add(&mut self, one: Duration) {
        self.0.push(one);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// That which `percent` of them do not exceed; `None`: there is none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut all = self.0.clone();
        all.sort_unstable();
        let rank = (all.len() * percent).div_ceil(100);
        all.get(rank.saturating_sub(1)).copied()
    }

    /// Half of them are shorter.
    pub(crate) fn median(&self) -> Option<Duration> {
        self.percentile(50)
    }

    /// The longest.
    pub(crate) fn worst(&self) -> Option<Duration> {
        self.percentile(100)
    }
}

impl Extend<Duration> for Sample {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

/// A duration, or that there is none, in few characters.
pub(crate) struct Short(pub(crate) Option<Duration>);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(duration) = self.0 else {
            return f.pad("–");
        };
        let seconds = duration.as_secs_f64();
        f.pad(&match seconds {
            long if long >= 10.0 => format!("{long:.1} s"),
            some if some >= 1.0 => format!("{some:.2} s"),
            short if short >= 1e-3 => format!("{:.1} ms", short * 1e3),
            brief if brief >= 1e-6 => format!("{:.0} µs", brief * 1e6),
            least => format!("{:.0} ns", least * 1e9),
        })
    }
}
