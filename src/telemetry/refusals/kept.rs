//! The last refusals of one kind.

use std::collections::VecDeque;

use serde_json::Value;

use super::rate::Key;
use crate::telemetry::reference::ReferenceId;

/// How many refusals are kept.
const MOST: usize = 64;
/// From so many of one source and reason on, a further one takes the place of
/// the oldest of them.
const MOST_ALIKE: usize = 8;

/// The last refusals, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Kept(VecDeque<(Key, ReferenceId, Value)>);

impl Kept {
    pub(super) fn add(&mut self, key: Key, reference: ReferenceId, known: Value) {
        let alike = || self.0.iter().filter(|(other, ..)| *other == key);
        if alike().count() >= MOST_ALIKE {
            let oldest = self.0.iter().position(|(other, ..)| *other == key);
            oldest.and_then(|at| self.0.remove(at));
        } else if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((key, reference, known));
    }

    /// The newest first.
    pub(super) fn all(&self) -> Vec<Value> {
        let newest = self.0.iter().rev();
        newest.map(|(_, _, known)| known.clone()).collect()
    }

    pub(super) fn find(&self, reference: ReferenceId) -> Option<Value> {
        let mut newest = self.0.iter().rev();
        let (_, _, known) = newest.find(|(_, other, _)| *other == reference)?;
        Some(known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Source;
    use super::*;

    fn key(address: u8) -> Key {
        let address = std::net::IpAddr::from([10, 0, 0, address]);
        (Source::of(Some(address)), "expired")
    }

    fn reference(number: u64) -> ReferenceId {
        format!("{number:016x}").parse().unwrap()
    }

    #[test]
    fn refusal_is_found_by_its_reference_until_others_have_taken_its_place() {
        let mut kept = Kept::default();
        for number in 0..=MOST as u64 {
            kept.add(key(number as u8), reference(number), number.into());
        }
        assert_eq!(kept.find(reference(0)), None);
        assert_eq!(kept.find(reference(1)), Some(1.into()));
        assert_eq!(kept.all().len(), MOST);
        assert_eq!(kept.all().first(), Some(&(MOST as u64).into()));
    }

    #[test]
    fn one_source_that_is_refused_again_and_again_takes_its_own_places() {
        let mut kept = Kept::default();
        kept.add(key(1), reference(1), 1.into());
        for number in 100..1000 {
            kept.add(key(2), reference(number), number.into());
        }
        assert_eq!(kept.find(reference(1)), Some(1.into()));
        assert_eq!(kept.find(reference(999)), Some(999.into()));
        assert_eq!(kept.all().len(), 1 + MOST_ALIKE);
    }
}
