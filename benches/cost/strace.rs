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

/// Requests at the boundaries; shared by 1, 4 and 32 connections.
const LESS: usize = 1600;
const MORE: usize = 6400;

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

const fn case(name: &'static str, what: &'static str, goal: Option<f64>) -> Case {
    Case {
        name,
        what,
        unit: Unit::Calls,
        goal,
    }
}

/// Counts all cases.
pub(crate) async fn count_all(binary: &Path, report: &mut Report) {
    let scene = Scene::start(binary, |_, binary| format!("{binary} \"$@\"")).await;
    see_the_rule_decide(&scene).await;
    let mut alone = Work::http1(&scene, 1).await;
    count(&scene, &ALONE, &mut alone, report).await;
    let mut http1 = Work::http1(&scene, 32).await;
    count(&scene, &HTTP1, &mut http1, report).await;
    let mut http2 = Work::http2(&scene, 4).await;
    count(&scene, &HTTP2, &mut http2, report).await;
}

async fn count(scene: &Scene, case: &Case, work: &mut Work, report: &mut Report) {
    work.repeat(LESS).await;
    let less = counted(scene, work, LESS).await;
    let more = counted(scene, work, MORE).await;
    let each = |name: &String, count: &u64| {
        let before = less.get(name).copied().unwrap_or(0);
        count.saturating_sub(before) as f64 / (MORE - LESS) as f64
    };
    let mut shares: Vec<(&String, f64)> =
        more.iter().map(|(name, n)| (name, each(name, n))).collect();
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let all = shares.iter().map(|(_, share)| share).sum();
    shares.retain(|(_, share)| *share >= 0.005);
    let details: Vec<String> = shares
        .iter()
        .map(|(name, share)| format!("{name} {share:.2}"))
        .collect();
    report.add(case, all, &details.join(", "));
}

/// How often each system call was called while the work was done.
async fn counted(scene: &Scene, work: &mut Work, count: usize) -> BTreeMap<String, u64> {
    let file = scene.path("calls");
    let tracer = attached(scene.id(), &file);
    work.repeat(count).await;
    // It writes what it has counted, and lets the program go on.
    kill_process(Pid::from_child(&tracer), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(move || tracer.wait_with_output());
    ended.await.unwrap().unwrap();
    let table = fs::read_to_string(file).unwrap();
    let rows = table.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    let mut calls: BTreeMap<String, u64> = rows.collect();
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
