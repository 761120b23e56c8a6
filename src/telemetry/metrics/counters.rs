//! The numbers themselves: additions without locks, bounded in size.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.add_many(1);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add_many(&self, many: u64) {
        self.0.fetch_add(many, Ordering::Relaxed);
    }
}

/// Counts by a word from the code, up to [`REASONS`] different ones.
///
/// A word gets the first free slot when it is first counted; finding it again
/// is a walk over the few words in use.
#[derive(Debug)]
pub(super) struct Reasons<W = &'static str> {
    slots: [[OnceLock<(W, Count)>; REASONS / 8]; 8],
    other: Count,
}

/// What is counted by: a word of the code, or several.
pub(super) trait Word: Copy + PartialEq {
    /// What stands for those beyond [`REASONS`].
    const OTHER: Self;
}

impl Word for &'static str {
    const OTHER: Self = OTHER;
}

impl Word for [&'static str; 3] {
    const OTHER: Self = [OTHER; 3];
}

impl<W> Default for Reasons<W> {
    fn default() -> Self {
        Self {
            slots: Default::default(),
            other: Count::default(),
        }
    }
}

impl<W: Word> Reasons<W> {
    pub(super) fn add(&self, reason: W) {
        for slot in self.slots.iter().flatten() {
            let (word, count) = slot.get_or_init(|| (reason, Count::default()));
            if *word == reason {
                return count.add();
            }
        }
        self.other.add();
    }

    /// The words counted so far.
    pub(super) fn each(&self) -> impl Iterator<Item = (W, u64)> {
        let other = self.other.get();
        self.slots
            .iter()
            .flatten()
            .map_while(OnceLock::get)
            .map(|(word, count)| (*word, count.get()))
            .chain((other > 0).then_some((W::OTHER, other)))
    }
}

/// Faults by side, phase and kind; nothing is kept for them before the first.
#[derive(Debug, Default)]
pub(super) struct Faults(OnceLock<Box<Reasons<[&'static str; 3]>>>);

impl Faults {
    pub(super) fn add(&self, fault: [&'static str; 3]) {
        self.0.get_or_init(Box::default).add(fault);
    }

    /// Those counted so far.
    pub(super) fn each(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> {
        self.0.get().into_iter().flat_map(|faults| faults.each())
    }
}

/// Counts by a word from the code, for those outside who hold the numbers.
#[derive(Debug, Default)]
pub struct ReasonCounts(Reasons);

impl ReasonCounts {
    /// Counts one more for this word.
    pub fn add(&self, reason: &'static str) {
        self.0.add(reason);
    }

    /// The words counted so far.
    pub(in crate::telemetry) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.each()
    }
}

/// Counts requests by class of status and by the side at fault.
#[derive(Debug, Default)]
pub(super) struct Outcomes([[Count; SIDES.len()]; CLASSES.len()]);

impl Outcomes {
    pub(super) fn add(&self, status: u16, fault_side: Option<&str>) {
        let class = match status {
            100..=599 => usize::from(status / 100),
            _ => 0,
        };
        let side = fault_side.map_or(0, |side| {
            let known = SIDES.iter().position(|known| *known == side);
            known.unwrap_or(SIDES.len() - 1)
        });
        if let Some(count) = self.0.get(class).and_then(|sides| sides.get(side)) {
            count.add();
        }
    }

    /// How many were counted so far.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().flatten().map(Count::get).sum()
    }

    /// What was counted so far, as class, side and number; successes always.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        CLASSES.iter().zip(&self.0).flat_map(|(class, sides)| {
            SIDES
                .iter()
                .zip(sides)
                .map(|(side, count)| (*class, *side, count.get()))
                .filter(|&(class, side, count)| count > 0 || (class, side) == ("2xx", "none"))
        })
    }
}

/// Different words that one [`Reasons`] tells apart: more than the code has.
const REASONS: usize = 64;

/// What words beyond [`REASONS`] and unknown sides are counted as.
const OTHER: &str = "other";

/// Classes of status by their first digit; the first is for none at all.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Who was at fault.
const SIDES: [&str; 5] = ["none", "downstream", "upstream", "proxy", OTHER];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beyond_the_bound_are_counted_as_other() {
        let reasons = <Reasons>::default();
        for number in 0..REASONS + 3 {
            reasons.add(&*format!("word {number}").leak());
        }
        reasons.add("word 0");
        let counted: Vec<_> = reasons.each().collect();
        assert_eq!(counted.len(), REASONS + 1);
        assert_eq!(counted.first(), Some(&("word 0", 2)));
        assert_eq!(counted.last(), Some(&(OTHER, 3)));
    }

    #[test]
    fn words_counted_by_many_threads_at_once_lose_nothing() {
        let reasons = <Reasons>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        reasons.add("expired");
                        reasons.add("unknown_ca");
                    }
                });
            }
        });
        let mut counted: Vec<_> = reasons.each().collect();
        counted.sort_unstable();
        assert_eq!(counted, [("expired", 4000), ("unknown_ca", 4000)]);
    }

    #[test]
    fn every_status_and_side_has_its_cell() {
        let outcomes = Outcomes::default();
        assert_eq!(outcomes.each().collect::<Vec<_>>(), [("2xx", "none", 0)]);
        for (status, side) in [
            (0, Some("downstream")),
            (99, None),
            (101, None),
            (200, None),
            (204, None),
            (403, Some("downstream")),
            (504, Some("upstream")),
            (599, Some("proxy")),
            (600, Some("nobody")),
        ] {
            outcomes.add(status, side);
        }
        assert_eq!(
            outcomes.each().collect::<Vec<_>>(),
            [
                ("none", "none", 1),
                ("none", "downstream", 1),
                ("none", "other", 1),
                ("1xx", "none", 1),
                ("2xx", "none", 2),
                ("4xx", "downstream", 1),
                ("5xx", "upstream", 1),
                ("5xx", "proxy", 1),
            ]
        );
    }
}
