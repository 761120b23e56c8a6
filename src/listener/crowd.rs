//! Who has how much of a listener.
//!
//! Shared by all workers, since the connections of one client are dealt out to
//! all of them; asked when a connection begins and when it ends, and never for a
//! request. What is kept is bounded by the listener's own connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::telemetry::Source;

/// Who there is, and how many times.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<Member, usize>>>);

/// What is counted together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Member {
    /// The connections of a source.
    Connection(Source),
    /// The handshakes of a source.
    Handshake(Source),
    /// The connections of an identity.
    Identity(Box<str>),
}

/// Counts one more until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    member: Member,
}

impl Crowd {
    /// One more, unless there are `most`.
    pub(super) fn enter(&self, member: Member, most: usize) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(member.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        drop(counts);
        let crowd = self.clone();
        Some(Place { crowd, member })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Member, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        if let Some(count) = counts.get_mut(&self.member) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: [u8; 4]) -> Source {
        Source::of(Some(address.into()))
    }

    #[test]
    fn each_has_its_part_and_gives_it_back_and_nothing_is_kept_of_those_who_left() {
        let crowd = Crowd::default();
        let one = || Member::Connection(source([10, 0, 0, 1]));
        let (first, second) = (crowd.enter(one(), 2), crowd.enter(one(), 2));
        assert!(second.is_some() && crowd.enter(one(), 2).is_none());
        let others = [
            Member::Connection(source([10, 0, 0, 2])),
            Member::Handshake(source([10, 0, 0, 1])),
            Member::Identity("10.0.0.1".into()),
        ];
        for other in others {
            assert!(crowd.enter(other, 1).is_some());
        }
        drop(first);
        assert!(crowd.enter(one(), 2).is_some());
        drop(second);
        assert!(crowd.counts().is_empty());
    }
}
