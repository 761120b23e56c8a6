//! Watches how much memory the process holds, and has new work refused while
//! it is more than `server.max_memory`.
//!
//! # Rules
//!
//! * What is under way is never touched: it ends, and gives its memory back.
//! * Refusing must not go on for ever because the allocator keeps free memory
//!   for later, which the system counts as resident. What has not come down
//!   after [`PATIENCE`] looks is taken for that: work is taken again as long as
//!   the memory grows by no more than a little, and not beyond a quarter more
//!   than the budget.
//! * Beyond that it is so only when at most an eighth of the connections is left
//!   that were open when it began: what those held who have gone is free, and
//!   nothing else would ever end the refusing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::CurrentConfig;
use crate::telemetry::{Metrics, events};

/// How often is looked.
const APART: Duration = Duration::from_secs(1);
/// After how many looks what has not come down is taken for free memory.
const PATIENCE: u32 = 10;
/// Of how many connections one may be left, for memory to be taken for free that
/// is far beyond the budget.
const LEFT: u64 = 8;

/// Looks once a second, where there is a budget, for as long as it is polled.
pub(crate) async fn watch(current: &CurrentConfig, metrics: &Metrics) {
    // Open from the start: when memory runs out, descriptors may have, too.
    let status = File::open("/proc/self/status").ok();
    let mut budget = Budget::default();
    let (mut was_short, mut is_unknown) = (false, false);
    loop {
        let max = current.get().server().max_memory;
        let resident = max.and(status.as_ref()).and_then(resident);
        let is_short = match (max, resident) {
            (Some(max), Some(resident)) => {
                budget.is_short(max, resident, metrics.open_connections())
            }
            _ => false,
        };
        metrics.memory().record(is_short);
        if max.is_some() && resident.is_none() && !is_unknown {
            is_unknown = true;
            tracing::error!(
                event = events::MEMORY_UNKNOWN,
                "the system does not say how much memory the process holds (/proc/self/status): server.max_memory has no effect"
            );
        }
        if is_short != was_short {
            was_short = is_short;
            say(is_short, max, resident);
        }
        tokio::time::sleep(APART).await;
    }
}

fn say(is_short: bool, max: Option<u64>, resident: Option<u64>) {
    if is_short {
        tracing::warn!(
            event = events::MEMORY_SHORT,
            max_memory = max,
            resident,
            "the process holds more memory than server.max_memory: connections wait, and new requests get 503, until it is less"
        );
    } else {
        tracing::info!(
            event = events::MEMORY_ENOUGH,
            max_memory = max,
            resident,
            "new work is taken again"
        );
    }
}

/// How many bytes of the process are resident.
fn resident(status: &File) -> Option<u64> {
    let mut text = [0; 4096];
    let read = status.read_at(&mut text, 0).ok()?;
    resident_in(std::str::from_utf8(text.get(..read)?).ok()?)
}

/// proc_pid_status(5): `VmRSS:   12345 kB`.
fn resident_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Judges, look by look, whether there is too little memory for new work.
#[derive(Debug, Default)]
struct Budget {
    /// How many looks in a row there was too little.
    short_for: u32,
    /// How many connections were open at the first of them.
    open: u64,
    /// How much may be resident, since so much is free memory that is kept.
    kept: Option<u64>,
}

impl Budget {
    /// `open`: how many connections are.
    fn is_short(&mut self, max: u64, resident: u64, open: u64) -> bool {
        let was_short = self.short_for > 0;
        if resident <= max - max / 16 || (resident <= max && !was_short) {
            *self = Self::default();
            return false;
        }
        if self.kept.is_some_and(|kept| resident <= kept) {
            return false;
        }
        let most = max.saturating_add(max / 4);
        let most = if was_short && open <= self.open / LEFT {
            u64::MAX
        } else {
            most
        };
        if self.short_for >= PATIENCE && resident <= most {
            let kept = resident.saturating_add(max / 32).min(most);
            *self = Self {
                kept: Some(kept),
                ..Self::default()
            };
            return false;
        }
        if !was_short {
            self.open = open;
        }
        self.kept = None;
        self.short_for = self.short_for.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 320;

    /// What is said of one look after another.
    fn looks(budget: &mut Budget, resident: &[u64]) -> Vec<bool> {
        let each = resident.iter();
        each.map(|resident| budget.is_short(MAX, *resident, 10))
            .collect()
    }

    #[test]
    fn memory_is_short_beyond_the_budget_and_until_there_is_a_sixteenth_less() {
        let mut budget = Budget::default();
        assert_eq!(
            looks(&mut budget, &[319, 320, 321, 320, 301, 300, 320, 321]),
            [false, false, true, true, true, false, false, true]
        );
    }

    #[test]
    fn memory_that_stays_is_taken_for_free_and_may_grow_a_little() {
        let mut budget = Budget::default();
        assert_eq!(
            looks(&mut budget, &[330; 12]),
            [[true; 10].as_slice(), &[false; 2]].concat()
        );
        // A thirty-second part of the budget, and one more.
        assert_eq!(looks(&mut budget, &[340, 341, 340]), [false, true, true]);
    }

    #[test]
    fn memory_far_beyond_the_budget_is_not_taken_for_free() {
        let mut budget = Budget::default();
        assert!(looks(&mut budget, &[401; 1000]).iter().all(|short| *short));
        assert!(!budget.is_short(MAX, 400, 10));
        assert!(budget.is_short(MAX, 401, 10));
    }

    #[test]
    fn memory_far_beyond_the_budget_is_free_when_those_have_gone_who_held_it() {
        let mut budget = Budget::default();
        for _ in 0..PATIENCE {
            assert!(budget.is_short(MAX, 640, 1000));
        }
        assert!(budget.is_short(MAX, 640, 126), "too many are left");
        assert!(!budget.is_short(MAX, 640, 125));
        // It may grow a little now, whoever comes, and then it is short again.
        assert!(!budget.is_short(MAX, 650, 1000));
        assert!(budget.is_short(MAX, 651, 1000));
        assert!(budget.is_short(MAX, 651, 0), "not at once");
    }

    #[test]
    fn resident_memory_is_read_from_what_the_system_says() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmRSS:\t   12 kB\nRssAnon:\t 3 kB\n";
        assert_eq!(resident_in(status), Some(12 * 1024));
        assert_eq!(resident_in("Name:\tx\n"), None);
        let own = File::open("/proc/self/status").expect("this is Linux");
        assert!(resident(&own).is_some_and(|bytes| bytes > 100_000));
    }
}
