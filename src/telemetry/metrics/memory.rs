//! How much memory the process holds, and whether that is too much.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Metrics;

/// The memory of the process, as it was last looked at.
#[derive(Debug, Default)]
pub struct Memory {
    short: AtomicBool,
}

impl Memory {
    /// Records whether new work is to be refused for want of memory.
    pub fn record(&self, is_short: bool) {
        self.short.store(is_short, Ordering::Relaxed);
    }

    /// Whether new work is to be refused.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// How many connections are open, on all listeners that there are or were.
    pub fn open_connections(&self) -> u64 {
        let each = self.all.listeners.each();
        each.values().map(|counters| counters.open()).sum()
    }
}
