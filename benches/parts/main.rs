//! What each pure part of the path costs, from the bytes that come to the bytes
//! that go: no socket, no other process, one thread.
//!
//! ```text
//! cargo bench --bench parts --features inside -- [PART] [--quick]
//! cargo test --bench parts --features inside
//! ```
//!
//! PART is a regular expression: `chain`, `head/a request`. The first line
//! measures, and compares with the last time (criterion has more options,
//! `--help`); the second one runs each case once, to see that it runs and is
//! right. Every case is seen to do what it says before it is timed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails ends the benchmark"
)]

mod chains;
mod encodings;
mod expressions;
mod heads;
mod identities;
mod paths;
mod patterns;
#[path = "../../tests/support/pki.rs"]
#[expect(dead_code, reason = "the behaviour tests use what is not used here")]
mod pki;
mod policies;
mod routes;
mod scene;
mod wire;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion};

/// Long enough for a spread of a few percent, and five minutes for all cases.
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(1_500);

fn main() {
    let criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURED);
    let mut criterion = criterion.configure_from_args();
    for (name, benchmarks) in PARTS {
        let mut part = Part(criterion.benchmark_group(name));
        benchmarks(&mut part);
        part.0.finish();
    }
    criterion.final_summary();
}

/// Times all cases of a part.
type Benchmarks = fn(&mut Part<'_>);

/// In the order in which a connection and a request meet them.
const PARTS: [(&str, Benchmarks); 11] = [
    ("chain", chains::benchmarks),
    ("identity", identities::benchmarks),
    ("http1", wire::http1),
    ("http2", wire::http2),
    ("path", paths::benchmarks),
    ("route", routes::benchmarks),
    ("pattern", patterns::benchmarks),
    ("policy", policies::benchmarks),
    ("expression", expressions::benchmarks),
    ("encoding", encodings::benchmarks),
    ("head", heads::benchmarks),
];

/// One part of the path, of which several cases are timed.
struct Part<'c>(BenchmarkGroup<'c, WallTime>);

impl Part<'_> {
    /// Times `work`, once a result of it is known to be right.
    fn time<R>(
        &mut self,
        case: &str,
        mut work: impl FnMut() -> R,
        is_right: impl FnOnce(R) -> bool,
    ) {
        assert!(is_right(work()), "{case}: the result is not right");
        self.0
            .bench_function(case, |bencher| bencher.iter(&mut work));
    }

    /// The same for work that uses something up. Neither making that nor dropping
    /// the result is timed.
    fn time_on<I, R>(
        &mut self,
        case: &str,
        mut make: impl FnMut() -> I,
        mut work: impl FnMut(I) -> R,
        is_right: impl FnOnce(R) -> bool,
    ) {
        assert!(is_right(work(make())), "{case}: the result is not right");
        self.0.bench_function(case, |bencher| {
            bencher.iter_batched(&mut make, &mut work, BatchSize::SmallInput);
        });
    }
}
