//! Counts the system calls of the program, all of its threads: by strace.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::expected::{Case, Report, Unit};
use super::scene::Scene;
use super::work::{Work, see_the_rule_decide};

/// Whole rounds of 32 connections, and of 4 with 20 streams.
const REQUESTS: Amount = Amount {
    less: 1600,
    more: 6400,
};
const HANDSHAKES: Amount = Amount {
    less: 100,
    more: 400,
};

/// How much is worked off: once less, once more.
#[derive(Clone, Copy)]
struct Amount {
    less: usize,
    more: usize,
}

const fn case(name: &'static str, what: &'static str, goal: Option<f64>) -> Case {
    Case {
        unit: Unit::Calls,
        name,
        what,
        goal,
    }
}

const ALONE: Case = case(
    "http1_alone",
    "a request over HTTP/1.1, one at a time",
    None,
);
const HTTP1: Case = case(
    "http1_busy",
    "a request over HTTP/1.1, on 32 connections at once",
    Some(4.4),
);
const HTTP2: Case = case(
    "http2_busy",
    "a request over HTTP/2, on 4 connections with 20 streams at once",
    Some(2.4),
);
const FULL: Case = case(
    "full_handshake",
    "a full handshake of a returning client, and a request",
    None,
);

/// Counts all cases.
pub(crate) async fn count_all(binary: &Path, report: &mut Report) {
    let scene = Scene::start(binary, |_, binary| format!("{binary} \"$@\"")).await;
    see_the_rule_decide(&scene).await;
    let mut counter = Strace {
        scene: &scene,
        report,
    };
    let mut alone = Work::http1(&scene, 1).await;
    counter.count(&ALONE, REQUESTS, &mut alone).await;
    let mut http1 = Work::http1(&scene, 32).await;
    counter.count(&HTTP1, REQUESTS, &mut http1).await;
    let mut http2 = Work::http2(&scene, 4).await;
    counter.count(&HTTP2, REQUESTS, &mut http2).await;
    let mut full = Work::full(&scene);
    counter.count(&FULL, HANDSHAKES, &mut full).await;
}

/// Calls by name.
type Calls = BTreeMap<String, u64>;

/// strace, for a while at a time.
struct Strace<'a> {
    scene: &'a Scene,
    report: &'a mut Report,
}

impl Strace<'_> {
    async fn count(&mut self, case: &Case, amount: Amount, work: &mut Work) {
        work.repeat(amount.less).await;
        let less = self.while_doing(work, amount.less).await;
        let more = self.while_doing(work, amount.more).await;
        let operations = (amount.more - amount.less) as f64;
        let mut each: Vec<(&String, f64)> = more
            .iter()
            .map(|(name, count)| {
                let before = less.get(name).copied().unwrap_or(0);
                (name, (*count as f64 - before as f64) / operations)
            })
            .collect();
        let all = each.iter().map(|(_, count)| count).sum();
        each.retain(|(_, count)| *count >= 0.005);
        each.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let names = each
            .iter()
            .map(|(name, count)| format!("{name} {count:.2}"));
        let details = names.collect::<Vec<_>>().join(", ");
        self.report.add(case, all, &details);
    }

    /// What the program calls while the work is done.
    async fn while_doing(&self, work: &mut Work, count: usize) -> Calls {
        let file = self.scene.path("calls");
        let tracer = attached(self.scene.id(), &file);
        work.repeat(count).await;
        // It writes what it has counted, and lets the program go on.
        kill_process(Pid::from_child(&tracer), Signal::INT).unwrap();
        let ended = tokio::task::spawn_blocking(move || tracer.wait_with_output());
        ended.await.unwrap().unwrap();
        read(&fs::read_to_string(file).unwrap())
    }
}

/// Reads the rows of a table: count, name.
fn read(table: &str) -> Calls {
    let rows = table.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    let mut calls: Calls = rows.collect();
    assert!(
        calls.remove("total").is_some_and(|total| total > 0),
        "{table}"
    );
    calls
}

/// Starts strace on a process, and waits until it has hold of it.
fn attached(process: u32, file: &Path) -> Child {
    let mut tracer = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(file)
        .args(["-p", &process.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is installed");
    let said = BufReader::new(tracer.stderr.as_mut().unwrap())
        .lines()
        .next();
    let said = said.expect("strace says what it does").unwrap();
    assert!(said.contains("attached"), "{said}");
    tracer
}
