//! Counts the system calls of the program, all of its threads: by strace.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::drive::Work;
use super::expected::{Case, Report, Unit};
use super::scene::Scene;
use super::work::{Amount, Operation, see_the_rule_decide};

const REQUESTS: Amount = Amount {
    less: 1600,
    more: 6400,
};
const HANDSHAKES: Amount = Amount {
    less: 100,
    more: 400,
};

const CASES: [(Case, Amount); 4] = [
    (case(Operation::Http1Alone, None), REQUESTS),
    (case(Operation::Http1Busy, Some(4.4)), REQUESTS),
    (case(Operation::Http2Busy, Some(2.4)), REQUESTS),
    (case(Operation::FullHandshake, None), HANDSHAKES),
];

const fn case(operation: Operation, goal: Option<f64>) -> Case {
    Case {
        unit: Unit::Calls,
        operation,
        goal,
    }
}

/// Counts all cases.
pub(crate) async fn count_all(binary: &Path, report: &mut Report) {
    let scene = Scene::start(binary, |_, binary| format!("{binary} \"$@\"")).await;
    see_the_rule_decide(&scene).await;
    for (case, amount) in CASES {
        let mut work = case.operation.prepare(&scene).await;
        work.repeat(amount.less).await;
        let less = while_doing(&scene, &mut work, amount.less).await;
        let more = while_doing(&scene, &mut work, amount.more).await;
        let mut each: Vec<(&String, f64)> = more
            .iter()
            .map(|(name, more)| (name, amount.each(*less.get(name).unwrap_or(&0), *more)))
            .collect();
        let all = each.iter().map(|(_, count)| count).sum();
        each.retain(|(_, count)| *count >= 0.005);
        each.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let named = each
            .iter()
            .map(|(name, count)| format!("{name} {count:.2}"));
        report.add(&case, all, &named.collect::<Vec<_>>().join(", "));
    }
}

/// Calls by name.
type Calls = BTreeMap<String, u64>;

/// What the program calls while the work is done.
async fn while_doing(scene: &Scene, work: &mut Work, count: usize) -> Calls {
    let file = scene.path("calls");
    let tracer = attached(scene.id(), &file);
    work.repeat(count).await;
    // It writes what it has counted, and lets the program go on.
    kill_process(Pid::from_child(&tracer), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(move || tracer.wait_with_output());
    ended.await.unwrap().unwrap();
    read(&fs::read_to_string(file).unwrap())
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
    let mut said = BufReader::new(tracer.stderr.as_mut().unwrap()).lines();
    let said = said.next().expect("strace says what it does").unwrap();
    assert!(said.contains("attached"), "{said}");
    tracer
}

/// Reads the rows of a table: count, name.
fn read(table: &str) -> Calls {
    let rows = table.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    let mut calls: Calls = rows.collect();
    let total = calls.remove("total");
    assert_eq!(total, Some(calls.values().sum()), "{table}");
    calls
}
