//! How much memory the process holds, and whether that is too much.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Metrics;

/// The memory of the process, as it was last looked at.
#[derive(Debug, Default)]
pub struct Memory {
    resident: AtomicU64,
    short: AtomicBool,
}

impl Memory {
    /// Records what was found: how many bytes are resident, and whether new
    /// work is to be refused for want of memory.
    pub fn record(&self, resident: u64, is_short: bool) {
        self.resident.store(resident, Ordering::Relaxed);
        self.short.store(is_short, Ordering::Relaxed);
    }

    /// Whether new work is to be refused.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// How many bytes were resident; 0: nobody has looked.
    pub(super) fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// How many connections are open, on all listeners that there are or were.
    pub fn open_connections(&self) -> u64 {
        let each = self.all.listeners.each();
        each.values().map(|counters| counters.open()).sum()
    }
}
