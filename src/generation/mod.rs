//! Loads generations aside, publishes them, and tells what came of it.

mod watch;

pub use watch::{GATHER_AT_MOST, GATHER_QUIET, Watch, gather};
