//! How often each limit struck, and how often the log is told so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::counters::Reasons;
use crate::telemetry::sparing::Sparing;

/// The strikes of the limits of one listener or upstream.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    counts: Reasons,
    /// Taken only when a limit strikes of which no other line tells, and held
    /// for two additions.
    told: Mutex<HashMap<&'static str, Sparing>>,
}

impl Strikes {
    /// The limit struck, and another line tells of it.
    pub(super) fn count(&self, limit: &'static str) {
        self.counts.add(limit);
    }

    /// The limit struck: whether to write a line now, and then how many times it
    /// struck without one.
    pub(super) fn add(&self, limit: &'static str) -> Option<u64> {
        self.count(limit);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(limit).or_default().may_say()
    }

    /// The limits that struck so far.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.each()
    }
}
