//! Counts the instructions of the program, not those of the system: under
//! Callgrind, which executes them one by one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::expected::{Case, Report, Unit};
use super::scene::{Scene, quoted};
use super::work::{Work, see_the_rule_decide};

/// Whole rounds of 32 connections, and of 4 with 20 streams.
const REQUESTS: Amount = Amount {
    less: 320,
    more: 1280,
};
/// A handshake is some fifty times as dear as a request.
const HANDSHAKES: Amount = Amount {
    less: 20,
    more: 120,
};

/// How much is worked off: once less, once more.
#[derive(Clone, Copy)]
struct Amount {
    less: usize,
    more: usize,
}

const fn case(name: &'static str, what: &'static str) -> Case {
    Case {
        unit: Unit::Instructions,
        name,
        what,
        goal: None,
    }
}

const ALONE: Case = case("http1_alone", "a request over HTTP/1.1, one at a time");
const HTTP1: Case = Case {
    goal: Some(26_000.0),
    ..case(
        "http1_busy",
        "a request over HTTP/1.1, on 32 connections at once",
    )
};
const HTTP2: Case = case(
    "http2_busy",
    "a request over HTTP/2, on 4 connections with 20 streams at once",
);
const FULL: Case = case(
    "full_handshake",
    "a full handshake of a returning client, and a request",
);
const RESUMED: Case = case("resumed_handshake", "a resumed handshake, and a request");
const REFUSED: Case = case(
    "refused_handshake",
    "a handshake that is refused for want of a certificate",
);

/// glibc copies with vectors of 32 bytes then, however much it is. Callgrind
/// takes each byte that `rep movsb` copies for an instruction.
const COPIES: &str = "GLIBC_TUNABLES=\
    glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// Where Callgrind hears what it is to do; from the folder of the config.
const PIPES: &str = "vgdb";

/// Counts all cases.
pub(crate) async fn count_all(binary: &Path, profiles: Option<&Path>, report: &mut Report) {
    let scene = Scene::start(binary, |folder, binary| {
        format!(
            "env {COPIES} valgrind --tool=callgrind --fair-sched=try --log-file={} --callgrind-out-file={} --vgdb-prefix={} {binary} \"$@\"",
            quoted(&folder.join("valgrind.log")),
            quoted(&folder.join("profile")),
            quoted(&folder.join(PIPES)),
        )
    })
    .await;
    see_the_rule_decide(&scene).await;
    let mut counter = Callgrind {
        scene: &scene,
        dumps: 0,
        profiles,
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
    let mut resumed = Work::resumed(&scene).await;
    counter.count(&RESUMED, HANDSHAKES, &mut resumed).await;
    let mut refused = Work::refused(&scene);
    counter.count(&REFUSED, HANDSHAKES, &mut refused).await;
}

/// Callgrind, while the program runs under it.
struct Callgrind<'a> {
    scene: &'a Scene,
    /// How many profiles it has written.
    dumps: usize,
    /// Where those go that somebody may want to read.
    profiles: Option<&'a Path>,
    report: &'a mut Report,
}

impl Callgrind<'_> {
    async fn count(&mut self, case: &Case, amount: Amount, work: &mut Work) {
        work.repeat(amount.less).await;
        self.since_last().await;
        work.repeat(amount.less).await;
        let less = self.since_last().await;
        work.repeat(amount.more).await;
        let more = self.since_last().await;
        if let Some(folder) = self.profiles {
            let profile = fs::read_to_string(self.profile()).unwrap();
            // That of a call which began before is 0, and callgrind_annotate
            // takes its whole cost for the caller's own.
            let readable = profile.replace("\ncalls=0 ", "\ncalls=1 ");
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(case.name), readable).unwrap();
        }
        let operations = amount.more - amount.less;
        let count = more.saturating_sub(less) as f64 / operations as f64;
        self.report.add(case, count, "");
    }

    /// The instructions since this was asked last. Callgrind begins anew with
    /// each profile that it writes.
    async fn since_last(&mut self) -> u64 {
        self.dumps += 1;
        let process = format!("--pid={}", self.scene.id());
        let pipes = format!("--vgdb-prefix={}", self.scene.path(PIPES).display());
        let told = tokio::task::spawn_blocking(move || {
            Command::new("vgdb")
                .args([&process, &pipes, "dump"])
                .output()
        });
        let told = told.await.unwrap().expect("vgdb comes with Valgrind");
        let profile = fs::read_to_string(self.profile());
        let text = profile.unwrap_or_else(|error| panic!("no profile: {error}: {told:?}"));
        let totals = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("totals: "));
        totals.unwrap().trim().parse().unwrap()
    }

    fn profile(&self) -> PathBuf {
        self.scene.path(&format!("profile.{}", self.dumps))
    }
}
