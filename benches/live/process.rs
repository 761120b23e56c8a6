//! What the system says of a process.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long each thread of a process has run.
///
/// The totals that `/proc/PID/stat` has count in ticks of 10 ms, which is too
/// coarse. Threads that end between two looks are missing; those that load
/// files stay for ten seconds.
pub(crate) struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    /// As it is now.
    pub(crate) fn of(process: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let threads = threads.filter_map(|thread| {
            let thread = thread.ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanoseconds = text.split(' ').next()?.parse().ok()?;
            Some((thread.file_name().into_string().ok()?, nanoseconds))
        });
        Self(threads.collect())
    }

    /// How much it has become since `former`.
    pub(crate) fn since(&self, former: &Self) -> Duration {
        let more = self.0.iter().map(|(thread, now)| {
            let before = former.0.get(thread).copied().unwrap_or(0);
            now.saturating_sub(before)
        });
        Duration::from_nanos(more.sum())
    }
}

/// Memory of a process in MiB: what is resident now, and the most that ever was.
pub(crate) fn memory(process: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mebibytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
        kibibytes.unwrap().parse::<u64>().unwrap() / 1024
    };
    (mebibytes("VmRSS:"), mebibytes("VmHWM:"))
}

/// Memory that a process holds, in KiB: what it shares with others counts in part
/// (the proportional set size).
pub(crate) fn held(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
    kibibytes.unwrap().parse().unwrap()
}

/// Allows this process as many open descriptors as it may have; returns how many.
pub(crate) fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    limit
        .maximum
        .map_or(usize::MAX, |maximum| maximum.try_into().unwrap())
}
