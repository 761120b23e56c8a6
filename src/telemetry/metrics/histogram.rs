//! Counts by size: durations, bytes, remaining lifetimes.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use super::counters::Count;

/// Counts values by their size. One addition for the bucket and one for the sum;
/// their number follows from the buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram<S: Scale> {
    buckets: [Count; BOUNDS + 1],
    sum: Count,
    scale: PhantomData<S>,
}

/// What a histogram counts in, and where its buckets end.
pub(super) trait Scale: Debug {
    /// The upper bounds of its buckets, ascending, in what is counted in.
    const BOUNDS: [u64; BOUNDS];
    /// How many of what is counted in make one of what is shown.
    const PER_UNIT: f64;
    /// Whether a histogram of a route is served before there is anything in it.
    const IS_SERVED_EMPTY: bool = false;
}

impl<S: Scale> Histogram<S> {
    pub(super) fn add(&self, value: u64) {
        let index = S::BOUNDS.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add();
        }
        // A body that is not there is the most frequent one.
        if value > 0 {
            self.sum.add_many(value);
        }
    }

    /// Each bucket as its upper bound and what is in it alone.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = S::BOUNDS.iter().map(|bound| shown::<S>(*bound));
        bounds
            .chain([f64::INFINITY])
            .zip(self.buckets.iter().map(Count::get))
            .collect()
    }

    /// The sum of all values.
    pub(super) fn sum(&self) -> f64 {
        shown::<S>(self.sum.get())
    }
}

impl Histogram<Seconds> {
    pub(super) fn add_duration(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
}

/// Beyond 2^53 the nearest number is shown.
#[expect(clippy::cast_precision_loss, reason = "said above")]
fn shown<S: Scale>(value: u64) -> f64 {
    value as f64 / S::PER_UNIT
}

/// Seconds, counted in microseconds.
///
/// From what the proxy itself takes to the longest response timeout that is
/// usual, in steps of 2 to 3.
#[derive(Debug, Default)]
pub(super) struct Seconds;

impl Scale for Seconds {
    const BOUNDS: [u64; BOUNDS] = [
        1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
    ];
    const PER_UNIT: f64 = 1_000_000.0;
    const IS_SERVED_EMPTY: bool = true;
}

/// Bytes: from less than one packet to 16 GiB, in steps of 4.
#[derive(Debug, Default)]
pub(super) struct Bytes;

impl Scale for Bytes {
    const BOUNDS: [u64; BOUNDS] = [
        64,
        256,
        1 << 10,
        1 << 12,
        1 << 14,
        1 << 16,
        1 << 18,
        1 << 20,
        1 << 22,
        1 << 24,
        1 << 26,
        1 << 28,
        1 << 30,
        1 << 32,
        1 << 34,
    ];
    const PER_UNIT: f64 = 1.0;
}

/// How long something is still valid, in seconds: from certificates that live for
/// minutes to those that live for years.
#[derive(Debug, Default)]
pub(super) struct Lifetime;

impl Scale for Lifetime {
    const BOUNDS: [u64; BOUNDS] = [
        5 * 60,
        15 * 60,
        3_600,
        6 * 3_600,
        12 * 3_600,
        DAY,
        2 * DAY,
        3 * DAY,
        7 * DAY,
        14 * DAY,
        30 * DAY,
        60 * DAY,
        90 * DAY,
        180 * DAY,
        365 * DAY,
    ];
    const PER_UNIT: f64 = 1.0;
}

const DAY: u64 = 86_400;

/// How many buckets have an end.
const BOUNDS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::<Seconds>::default();
        for duration in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_micros(1_001),
            Duration::from_secs(60),
            Duration::from_secs(61),
        ] {
            histogram.add_duration(duration);
        }
        let filled: Vec<_> = histogram
            .buckets()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(
            filled,
            [(0.001, 2), (0.0025, 1), (60.0, 1), (f64::INFINITY, 1)]
        );
        assert_eq!(histogram.sum(), 121.002_001);
    }

    #[test]
    fn bytes_are_counted_in_bytes() {
        let histogram = Histogram::<Bytes>::default();
        for bytes in [0, 64, 65, u64::MAX / 2] {
            histogram.add(bytes);
        }
        let filled = histogram.buckets().into_iter();
        let filled: Vec<_> = filled.filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(64.0, 2), (256.0, 1), (f64::INFINITY, 1)]);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [Seconds::BOUNDS, Bytes::BOUNDS, Lifetime::BOUNDS] {
            assert!(bounds.is_sorted_by(|one, next| one < next));
        }
    }
}
