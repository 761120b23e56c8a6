//! How far a benchmark has come.

use std::io::{IsTerminal, stderr};

/// Says on a terminal how far it has come.
pub(crate) fn progress(what: &str, done: usize, of: usize) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{what} {done}/{of}");
        if done >= of {
            eprint!("\r\x1b[K");
        }
    }
}
