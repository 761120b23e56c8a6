//! countersign beside other proxies, on the same work.
//!
//! ```text
//! cargo bench --bench beside -- [CASE…] [--quick]
//! ```
//!
//! Cases, all of them when none is named: `full`, `resumed` and `refused`
//! handshakes, requests over `http1` and `http2`, `download` and `upload`, and
//! the memory of an `idle` connection.
//!
//! It starts the built program, and nginx and HAProxy where they are installed,
//! each with two workers in front of one service, and prints one table: the
//! processor time that all processes of a proxy take, user and system, whatever
//! the clients and the service take, which are threads of this process. They
//! are measured in turns, so that what the machine does meanwhile meets all of
//! them. Before, each of them is seen to do what it is compared on; one that
//! does not ends the benchmark, and so does any answer that is not the right
//! one. `--quick` runs a few short rounds, to see that it runs: its numbers mean
//! nothing. Those of a debug build do not either.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

mod case;
#[path = "../cost/drive.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod drive;
#[path = "../growth/load.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod load;
#[path = "../live/numbers.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod numbers;
#[path = "../live/process.rs"]
#[expect(dead_code, reason = "other benchmarks use what is not used here")]
mod process;
mod program;
#[path = "../live/progress.rs"]
mod progress;
mod running;
mod scene;
mod service;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod support;
mod table;
#[path = "../growth/turns.rs"]
mod turns;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use case::{CASES, Case};
use load::{AT_ONE_TIME, Asks, Crowd, head};
use process::raise_descriptor_limit;
use program::Program;
use progress::progress;
use running::{Running, Subject};
use scene::Scene;
use turns::turns;

/// After it, what a connection needs for a request only is given back.
const AT_REST: Duration = Duration::from_secs(3);

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// Rounds over all proxies.
    rounds: usize,
    /// A round has this part of what it should have.
    part: usize,
}

const WHOLE: Extent = Extent { rounds: 7, part: 1 };

const QUICK: Extent = Extent {
    rounds: 2,
    part: 16,
};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut extent = WHOLE;
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => extent = QUICK,
            // Said by cargo.
            "--bench" => {}
            name if CASES.iter().any(|case| case.name == name) => wanted.push(argument),
            other => {
                let names = CASES.map(|case| case.name).join(", ");
                eprintln!("{other} is no case; there are {names}, and --quick");
                return ExitCode::from(2);
            }
        }
    }
    if cfg!(debug_assertions) {
        println!("this is a debug build: its numbers mean nothing\n");
    }
    if extent.part > 1 {
        println!("this is a quick run: its numbers mean nothing\n");
    }
    raise_descriptor_limit();
    let (programs, missing): (Vec<_>, Vec<_>) = Program::ALL
        .into_iter()
        .partition(|program| program.binary().is_some());
    for left_out in missing {
        println!(
            "{} is not installed and is left out: apt-get install {}\n",
            left_out.name(),
            left_out.package()
        );
    }
    let scene = Scene::start().await;
    table::begin(&programs, extent.rounds);
    for case in &CASES {
        if wanted.is_empty() || wanted.iter().any(|name| name == case.name) {
            let figures = if case.is_idle() {
                memory(case, &programs, &scene, extent).await
            } else {
                processor_time(case, &programs, &scene, extent).await
            };
            table::add(case, &figures);
        }
    }
    ExitCode::SUCCESS
}

/// What an operation takes each program, by round.
async fn processor_time(
    case: &Case,
    programs: &[Program],
    scene: &Scene,
    extent: Extent,
) -> Vec<Vec<f64>> {
    let mut running = Vec::new();
    for (at, program) in programs.iter().enumerate() {
        progress("programs started and checked", at, programs.len());
        running.push(Running::start(*program, scene).await);
    }
    progress("programs started and checked", running.len(), running.len());
    let times = case.times.div_ceil(extent.part);
    let mut figures = vec![Vec::new(); programs.len()];
    for turn in turns(case.name, extent.rounds, programs.len()) {
        let proxy = &running[turn.place];
        let _subject = Subject(programs[turn.place]);
        let mut work = case.prepare(scene, proxy.address()).await;
        work.repeat(case.at_one_time * times.div_ceil(10)).await;
        let count = case.at_one_time * times;
        let cpu = proxy.cpu_of(work.repeat(count)).await;
        if turn.counts {
            figures[turn.place].push(case.figure(cpu, count));
        }
    }
    figures
}

/// What an idle connection holds of the memory of each program, in KiB, by round.
///
/// Each round has a process of its own, so that there is none to get warm: what
/// others had held before would be there to be taken.
async fn memory(case: &Case, programs: &[Program], scene: &Scene, extent: Extent) -> Vec<Vec<f64>> {
    let count = case.times.div_ceil(extent.part);
    let asks: Asks = Arc::new(|_| head("/", ""));
    let mut figures = vec![Vec::new(); programs.len()];
    for turn in turns(case.name, extent.rounds / 3, programs.len()) {
        let proxy = Running::start(programs[turn.place], scene).await;
        let _subject = Subject(programs[turn.place]);
        let open = async |count| {
            let asks = Arc::clone(&asks);
            Crowd::open(proxy.address(), count, asks, || scene.caller()).await
        };
        let first = open(AT_ONE_TIME).await;
        sleep(AT_REST).await;
        let before = proxy.held();
        let mut crowd = open(count).await;
        sleep(AT_REST).await;
        let more = proxy.held() as f64 - before as f64;
        figures[turn.place].push(more / count as f64);
        // None of them was closed meanwhile.
        crowd.ask(count).await;
        drop(first);
    }
    figures
}
