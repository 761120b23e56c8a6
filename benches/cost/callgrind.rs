//! Counts the instructions of the program, not those of the system: under
//! Callgrind, which executes them one by one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::expected::{Case, Report, Unit};
use super::scene::{Scene, quoted};
use super::work::{Work, see_the_rule_decide};

/// Operations before those that count, and at their boundaries.
const REQUESTS: Amount = Amount {
    less: 200,
    more: 1200,
};
/// A handshake is some twenty times as dear as a request.
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

const HTTP1: Case = case("http1_request", "a request over HTTP/1.1", Some(26_000.0));
const HTTP2: Case = case(
    "http2_request",
    "a request over HTTP/2, of 20 at once",
    None,
);
const FULL: Case = case(
    "full_handshake",
    "a full handshake of a returning client, and a request",
    None,
);
const RESUMED: Case = case(
    "resumed_handshake",
    "a resumed handshake, and a request",
    None,
);
const REFUSED: Case = case(
    "refused_handshake",
    "a handshake without certificate, refused",
    None,
);

const fn case(name: &'static str, what: &'static str, goal: Option<f64>) -> Case {
    Case {
        name,
        what,
        unit: Unit::Instructions,
        goal,
    }
}

/// Counts all cases.
pub(crate) async fn count_all(binary: &Path, profiles: Option<&Path>, report: &mut Report) {
    let scene = Scene::start(binary, |folder, binary| {
        format!(
            "valgrind --tool=callgrind --fair-sched=try --log-file={} --callgrind-out-file={} {binary} \"$@\"",
            quoted(&folder.join("valgrind.log")),
            quoted(&folder.join("profile")),
        )
    })
    .await;
    see_the_rule_decide(&scene).await;
    let mut counter = Callgrind {
        scene: &scene,
        dumps: 0,
        profiles,
    };
    let mut http1 = Work::http1(&scene, 1).await;
    counter.count(&HTTP1, REQUESTS, &mut http1, report).await;
    let mut http2 = Work::http2(&scene, 1).await;
    counter.count(&HTTP2, REQUESTS, &mut http2, report).await;
    let mut full = Work::full(&scene);
    counter.count(&FULL, HANDSHAKES, &mut full, report).await;
    let mut resumed = Work::resumed(&scene).await;
    counter
        .count(&RESUMED, HANDSHAKES, &mut resumed, report)
        .await;
    let mut refused = Work::refused(&scene);
    counter
        .count(&REFUSED, HANDSHAKES, &mut refused, report)
        .await;
}

/// Callgrind, while the program runs under it.
struct Callgrind<'a> {
    scene: &'a Scene,
    /// How many profiles it has written.
    dumps: usize,
    /// Where those go that somebody may want to read.
    profiles: Option<&'a Path>,
}

impl Callgrind<'_> {
    async fn count(&mut self, case: &Case, amount: Amount, work: &mut Work, report: &mut Report) {
        work.repeat(amount.less).await;
        self.since_last().await;
        work.repeat(amount.less).await;
        let less = self.since_last().await;
        work.repeat(amount.more).await;
        let more = self.since_last().await;
        if let Some(folder) = self.profiles {
            fs::create_dir_all(folder).unwrap();
            fs::copy(self.profile(), folder.join(case.name)).unwrap();
        }
        let operations = amount.more - amount.less;
        let count = more.saturating_sub(less) as f64 / operations as f64;
        report.add(case, count, "");
    }

    /// The instructions since this was asked last. Callgrind begins anew with
    /// each profile that it writes.
    async fn since_last(&mut self) -> u64 {
        self.dumps += 1;
        let process = format!("--pid={}", self.scene.id());
        let told = tokio::task::spawn_blocking(move || {
            Command::new("vgdb").args([&process, "dump"]).output()
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
