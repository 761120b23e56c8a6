//! Keeps file descriptors back for what must go on when they run out.
//!
//! The system gives the lowest number that is free. So a connection whose
//! number is among the last few of those that the process may have
//! (RLIMIT_NOFILE) has come when nearly all are taken: it is given up, and the
//! last few stay free for the admin address, and for files that are read again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::OnceLock;

/// The most that are kept back: as many as admin connections and a reload need.
const MOST: u64 = 16;
/// At most so great a part is kept back of those that there are.
const PART: u64 = 10;

/// Passes on a connection, unless its descriptor is one of those that are kept back.
///
/// # Errors
///
/// It is: `EMFILE`, as when there were none. The connection is closed.
pub fn unreserved<T: AsFd>(connection: T) -> io::Result<T> {
    static FIRST_RESERVED: OnceLock<RawFd> = OnceLock::new();
    let first = *FIRST_RESERVED.get_or_init(first_reserved);
    if connection.as_fd().as_raw_fd() < first {
        return Ok(connection);
    }
    const EMFILE: i32 = 24;
    Err(io::Error::from_raw_os_error(EMFILE))
}

/// Where the limit is not known, or there is none, nothing is kept back.
fn first_reserved() -> RawFd {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    first_of(&limits)
}

fn first_of(limits: &str) -> RawFd {
    let mut lines = limits.lines();
    let soft = lines.find_map(|line| {
        let values = line.strip_prefix("Max open files")?;
        values.split_whitespace().next()?.parse::<u64>().ok()
    });
    let first = soft.map(|soft| soft.saturating_sub(MOST.min(soft / PART)));
    first
        .and_then(|first| RawFd::try_from(first).ok())
        .unwrap_or(RawFd::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_of_the_soft_limit_are_kept_back() {
        let of = |soft: &str| {
            first_of(&format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max processes             1                    2                    processes\n\
                 Max open files            {soft}               524288               files\n"
            ))
        };
        assert_eq!([of("1024"), of("64"), of("9")], [1008, 58, 9]);
        assert_eq!([of("unlimited"), first_of("")], [RawFd::MAX; 2]);
    }

    #[test]
    fn a_low_descriptor_passes() {
        assert!(unreserved(io::stderr()).is_ok());
    }
}
