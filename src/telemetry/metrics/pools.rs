//! Counts the connections that rest in the pools of the workers.
//!
//! They come to rest and go with every request. So each pool has a number of its
//! own, which its worker alone writes; whoever asks adds them up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The pools of one upstream.
#[derive(Debug, Default)]
pub(super) struct Pools(Mutex<Vec<Weak<Number>>>);

/// How many connections rest in one pool; it is forgotten when it is dropped.
#[derive(Debug)]
pub struct Resting(Arc<Number>);

/// Apart from those of other workers in the caches of processors.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Number(AtomicU64);

impl Pools {
    /// One more pool, in which nothing rests.
    pub(super) fn begin(&self) -> Resting {
        let number = Arc::<Number>::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pool| pool.strong_count() > 0);
        all.push(Arc::downgrade(&number));
        Resting(number)
    }

    /// How many rest now, in all of them.
    pub(super) fn now(&self) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = all.iter().filter_map(Weak::upgrade);
        living.map(|pool| pool.0.load(Ordering::Relaxed)).sum()
    }
}

impl Resting {
    /// So many rest now.
    pub fn set(&self, now: usize) {
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.0.0.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_in_all_pools_is_added_up_and_forgotten_with_its_pool() {
        let pools = Pools::default();
        assert_eq!(pools.now(), 0);
        let (one, other) = (pools.begin(), pools.begin());
        one.set(3);
        other.set(2);
        assert_eq!(pools.now(), 5);
        one.set(1);
        assert_eq!(pools.now(), 3);
        drop(other);
        assert_eq!(pools.now(), 1);
        let _third = pools.begin();
        assert_eq!(pools.0.lock().unwrap().len(), 2);
    }
}
