//! How costs grow with what there is.
//!
//! ```text
//! cargo bench --bench growth -- [PART…] [--quick]
//! ```
//!
//! Parts, all of them when none is named:
//!
//! * `connections`: open connections, of which a few are asked at a time;
//! * `routes`: routes, of which the last one matches;
//! * `anchors`: trust anchors of a bundle, of which the last one vouches;
//! * `revocation`: entries of a revocation list;
//! * `sessions`: identities with a session of the service;
//! * `workers`: worker threads;
//! * `names`: certificates of a listener, chosen by SNI.
//!
//! It starts the built program once for each size, as the behaviour tests do,
//! and prints one table for each part: the proxy's own processor time, whatever
//! the clients and the service beside it take. All sizes of a part run at the
//! same time and are measured in turns, so that what the machine does meanwhile
//! meets all of them. Nothing here passes or fails. `--quick` runs a few rounds
//! of small sizes, to see that it runs: its numbers mean nothing. Those of a
//! debug build do not either.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

mod anchors;
mod connections;
mod curve;
mod load;
#[path = "../live/long_list.rs"]
mod long_list;
mod names;
#[path = "../live/numbers.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod numbers;
mod point;
#[path = "../live/process.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod process;
#[path = "../live/progress.rs"]
mod progress;
mod revocation;
mod routes;
mod sessions;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod support;
mod turns;
mod workers;

use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// Rounds over all sizes of a part.
    rounds: usize,
    /// Requests of a round at one size.
    requests: usize,
    /// Handshakes of a round at one size.
    handshakes: usize,
    /// Sizes beyond it are left out.
    largest: usize,
}

impl Extent {
    /// Those sizes that are measured.
    fn sizes(self, all: &[usize]) -> Vec<usize> {
        let sizes = all.iter().copied();
        sizes.filter(|size| *size <= self.largest).collect()
    }
}

const WHOLE: Extent = Extent {
    rounds: 7,
    requests: 4_000,
    handshakes: 300,
    largest: usize::MAX,
};

const QUICK: Extent = Extent {
    rounds: 2,
    requests: 100,
    handshakes: 20,
    largest: 100,
};

const PARTS: [&str; 7] = [
    "connections",
    "routes",
    "anchors",
    "revocation",
    "sessions",
    "workers",
    "names",
];

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
    for part in PARTS {
        if parts.is_empty() || parts.iter().any(|wanted| wanted == part) {
            measure(part, extent).await;
        }
    }
    ExitCode::SUCCESS
}

async fn measure(part: &str, extent: Extent) {
    match part {
        "connections" => connections::measure(extent).await,
        "routes" => routes::measure(extent).await,
        "anchors" => anchors::measure(extent).await,
        "revocation" => revocation::measure(extent).await,
        "sessions" => sessions::measure(extent).await,
        "workers" => workers::measure(extent).await,
        _ => names::measure(extent).await,
    }
}
