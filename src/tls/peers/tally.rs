//! How many requests a peer has made.
//!
//! Each connection counts its own, where it is served anyway. Here they are only
//! added up when somebody asks, so that a request costs nothing for it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the requests of one connection. Answers do not wait for anything.
pub trait RequestCount: Debug + Send + Sync {
    /// How many there were so far.
    fn requests(&self) -> u32;
}

type Open = HashMap<usize, Arc<dyn RequestCount>>;

/// The requests of one peer.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Those of connections that have ended.
    ended: AtomicU64,
    /// By where they are: one identity may have thousands.
    open: Mutex<Open>,
}

impl Tally {
    /// A connection begins to count.
    pub(super) fn begin(&self, count: Arc<dyn RequestCount>) {
        self.open().insert(place(&count), count);
    }

    /// It has ended.
    pub(super) fn end(&self, count: &Arc<dyn RequestCount>) {
        let mut open = self.open();
        if let Some(ended) = open.remove(&place(count)) {
            let requests = u64::from(ended.requests());
            self.ended.fetch_add(requests, Ordering::Relaxed);
        }
    }

    /// How many there were so far, on all connections.
    pub(super) fn requests(&self) -> u64 {
        let open = self.open();
        let counted = open.values().map(|one| u64::from(one.requests()));
        counted.sum::<u64>() + self.ended.load(Ordering::Relaxed)
    }

    /// Held for as long as it takes to add up numbers.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a count is, for as long as it is held.
fn place(count: &Arc<dyn RequestCount>) -> usize {
    Arc::as_ptr(count).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    impl RequestCount for AtomicU32 {
        fn requests(&self) -> u32 {
            self.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn requests_of_open_and_ended_connections_are_added_up() {
        let tally = Tally::default();
        let (one, other) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(5)));
        let (first, second): (Arc<dyn RequestCount>, Arc<dyn RequestCount>) =
            (Arc::clone(&one) as _, Arc::clone(&other) as _);
        tally.begin(Arc::clone(&first));
        tally.begin(Arc::clone(&second));
        one.store(2, Ordering::Relaxed);
        assert_eq!(tally.requests(), 7);
        tally.end(&second);
        assert_eq!(tally.requests(), 7);
        tally.end(&second);
        assert_eq!(tally.requests(), 7, "it ends once");
        one.store(3, Ordering::Relaxed);
        assert_eq!(tally.requests(), 8);
    }
}
