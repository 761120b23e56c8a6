//! What a request and a handshake cost, in counts that a busy machine does not
//! change: instructions of the program itself, and calls of the system.
//!
//! ```text
//! cargo bench --profile dev --bench cost -- BINARY [PART…] [--profiles FOLDER]
//! ```
//!
//! Parts, all of them when none is named:
//!
//! * `instructions`: under Callgrind, which comes with Valgrind;
//! * `calls`: under strace.
//!
//! Each case is worked off twice, the second time with more operations. What
//! the difference costs is divided by the difference, so that neither the start
//! nor the tools count. The outcome is held against `expected.toml`, which says
//! how it is renewed; a line `ok` or `FAIL` tells of each case, as the scripts
//! in `.ci` do. `--profiles` leaves Callgrind's file of each case in a folder.
//!
//! The driver itself may be a debug build: it is not what is counted.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

mod callgrind;
#[expect(dead_code, reason = "the comparison uses what is not used here")]
mod drive;
mod expected;
mod scene;
mod service;
mod strace;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod support;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use expected::Report;

const USAGE: &str = "usage: cost BINARY [instructions] [calls] [--profiles FOLDER]";

/// What is to be counted, and of which program.
struct Order {
    binary: PathBuf,
    parts: Vec<String>,
    profiles: Option<PathBuf>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(order) = Order::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut report = Report::read();
    if order.wants("instructions") {
        callgrind::count_all(&order.binary, order.profiles.as_deref(), &mut report).await;
    }
    if order.wants("calls") {
        strace::count_all(&order.binary, &mut report).await;
    }
    report.end()
}

impl Order {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (mut binary, mut parts, mut profiles) = (None, Vec::new(), None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Said by cargo.
                "--bench" => {}
                "--profiles" => profiles = Some(PathBuf::from(arguments.next()?)),
                "instructions" | "calls" => parts.push(argument),
                _ if binary.is_none() => binary = Some(PathBuf::from(argument)),
                _ => return None,
            }
        }
        Some(Self {
            binary: binary?,
            parts,
            profiles,
        })
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}
