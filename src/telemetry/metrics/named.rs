//! Counters by name, found by index.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters by name, of every name there ever was.
#[derive(Debug)]
pub(super) struct Named<T>(Mutex<BTreeMap<String, Arc<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Named<T> {
    pub(super) fn of_name(&self, name: String) -> Arc<T> {
        Arc::clone(self.each().entry(name).or_default())
    }

    pub(super) fn view(&self, names: Vec<String>, stray: Arc<T>) -> View<T> {
        View {
            by_index: names.into_iter().map(|name| self.of_name(name)).collect(),
            stray,
        }
    }

    /// Nothing that records takes this lock.
    pub(super) fn each(&self) -> MutexGuard<'_, BTreeMap<String, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters by index, for recording.
#[derive(Debug)]
pub(super) struct View<T> {
    by_index: Vec<Arc<T>>,
    /// What an index beyond the names gets.
    stray: Arc<T>,
}

impl<T> View<T> {
    /// Those of this index.
    pub(super) fn get(&self, index: usize) -> &Arc<T> {
        self.by_index.get(index).unwrap_or(&self.stray)
    }

    /// Those of an index beyond the names.
    pub(super) fn stray(&self) -> &T {
        &self.stray
    }
}
