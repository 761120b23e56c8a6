//! What the process takes of its machine, under the names that every client
//! library gives it, without a prefix.
//!
//! Read at each scrape from `/proc/self` (proc(5)); what cannot be read there is
//! not served.

use std::fmt;
use std::fs;
use std::io;

use prometheus_client::encoding::DescriptorEncoder;

use super::catalogue;

/// What the system says of this process.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    open_descriptors: Option<u64>,
    most_descriptors: Option<u64>,
}

/// How many bytes are resident now; 0: the system does not say.
pub(super) fn resident() -> u64 {
    let mut process = Process::default();
    process.read_status(&read("status").unwrap_or_default());
    process.resident_bytes.unwrap_or_default()
}

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/{name}"))
}

impl Process {
    pub(super) fn now() -> Self {
        let mut process = Self::default();
        process.read_stat(&read("stat").unwrap_or_default());
        process.read_status(&read("status").unwrap_or_default());
        process.read_limits(&read("limits").unwrap_or_default());
        // One of them is that of the folder.
        let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        process.open_descriptors = open.map(|count| count.saturating_sub(1) as u64);
        process
    }

    /// The process's name stands in parentheses, and may have some of its own;
    /// the 14th and the 15th field are the time in user and in system mode.
    fn read_stat(&mut self, stat: &str) {
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut times = after_name.split(' ').skip(11).map(str::parse::<f64>);
        if let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) {
            self.cpu_seconds = Some((user + system) / TICKS_PER_SECOND);
        }
    }

    fn read_status(&mut self, status: &str) {
        let value = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let digits = line.trim().trim_end_matches(" kB");
            digits.parse().ok()
        };
        self.resident_bytes = value("VmRSS:").map(|kib| kib.saturating_mul(1024));
        self.virtual_bytes = value("VmSize:").map(|kib| kib.saturating_mul(1024));
        self.threads = value("Threads:");
    }

    fn read_limits(&mut self, limits: &str) {
        let line = limits.lines().find_map(|line| {
            let values = line.strip_prefix("Max open files")?;
            values.split_whitespace().next()
        });
        self.most_descriptors = line.and_then(|soft| soft.parse().ok());
    }

    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = self.cpu_seconds {
            catalogue::CPU.begin(out)?.counter_of_seconds(seconds)?;
        }
        let gauges = [
            (&catalogue::RESIDENT, self.resident_bytes),
            (&catalogue::VIRTUAL, self.virtual_bytes),
            (&catalogue::THREADS, self.threads),
            (&catalogue::DESCRIPTORS, self.open_descriptors),
            (&catalogue::MOST_DESCRIPTORS, self.most_descriptors),
        ];
        for (family, value) in gauges {
            if let Some(value) = value {
                family.begin(out)?.gauge([], value)?;
            }
        }
        Ok(())
    }
}

/// The unit of `stat`: `sysconf(_SC_CLK_TCK)`, which is 100 on every platform
/// that countersign is built for.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_that_has_parentheses() {
        let mut process = Process::default();
        process.read_stat("7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 250 13 14");
        assert_eq!(process.cpu_seconds, Some(4.0));
    }

    #[test]
    fn memory_threads_and_the_soft_limit_are_read() {
        let mut process = Process::default();
        process.read_status("Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t    12 kB\nThreads:\t3\n");
        process.read_limits(
            "Limit   Soft Limit  Hard Limit  Units\nMax open files  1024  524288  files\n",
        );
        assert_eq!(process.virtual_bytes, Some(2048 * 1024));
        assert_eq!(process.resident_bytes, Some(12 * 1024));
        assert_eq!(process.threads, Some(3));
        assert_eq!(process.most_descriptors, Some(1024));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let mut process = Process::default();
        process.read_stat("");
        process.read_status("VmRSS: many kB");
        process.read_limits("Max open files            unlimited            unlimited");
        assert!(process.cpu_seconds.is_none() && process.resident_bytes.is_none());
        assert!(process.most_descriptors.is_none());
    }

    #[test]
    fn this_process_says_everything_of_itself() {
        let process = Process::now();
        assert!(process.cpu_seconds.is_some() && process.virtual_bytes.is_some());
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(process.threads.is_some_and(|threads| threads > 0));
        assert!(process.open_descriptors.is_some_and(|open| open > 2));
    }
}
