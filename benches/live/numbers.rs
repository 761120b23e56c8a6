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

/// Half of them are smaller; `None`: there are none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().saturating_sub(1) / 2);
    Some((values.get(lower)? + values.get(upper)?) / 2.0)
}

/// How far the least and the most are apart, in percent of the median; `None`:
/// there are not two.
pub(crate) fn spread(values: &[f64]) -> Option<f64> {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let middle = median(values).filter(|_| values.len() > 1)?;
    Some(100.0 * (most - least) / middle)
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
