//! How soon a change on disk governs what it should, and what that costs.
//!
//! ```text
//! cargo bench --bench live -- [PART…] [--quick]
//! ```
//!
//! Parts, all of them when none is named:
//!
//! * `reaction`: for each kind of change, the time from the change on disk to
//!   its enforcement on a new handshake, a resumed one and an open connection;
//! * `judging`: the CPU for judging ten thousand open connections, and what
//!   another client's requests feel of it;
//! * `revocation`: the cost of a revocation list of a million entries.
//!
//! It starts the built program as the behaviour tests do and prints what it
//! measures; nothing here passes or fails. `--quick` runs a few rounds of
//! everything, to see that it runs: its numbers mean nothing. Those of a debug
//! build do not either.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

mod judging;
mod long_list;
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod numbers;
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod process;
mod progress;
mod reaction;
mod revocation;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod support;

use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// Rounds of each kind of change.
    rounds: usize,
    /// Connections that are open while they are judged.
    connections: usize,
    /// Entries of the long revocation list.
    entries: u64,
}

const WHOLE: Extent = Extent {
    rounds: 50,
    connections: 10_000,
    entries: 1_000_000,
};

const QUICK: Extent = Extent {
    rounds: 2,
    connections: 100,
    entries: 10_000,
};

const PARTS: [&str; 3] = ["reaction", "judging", "revocation"];

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut extent = WHOLE;
    let mut parts = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => extent = QUICK,
            // Said by cargo.
            "--bench" => {}
            part if PARTS.contains(&part) => parts.push(argument),
            other => {
                eprintln!(
                    "{other} is no part; there are {}, and --quick",
                    PARTS.join(", ")
                );
                return ExitCode::from(2);
            }
        }
    }
    if cfg!(debug_assertions) {
        println!("this is a debug build: its numbers mean nothing\n");
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("reaction") {
        reaction::measure(extent).await;
    }
    if wanted("judging") {
        judging::measure(extent).await;
    }
    if wanted("revocation") {
        revocation::measure(extent).await;
    }
    ExitCode::SUCCESS
}
