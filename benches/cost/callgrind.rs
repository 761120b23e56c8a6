//! Counts the instructions of the program, not those of the system: under
//! Callgrind, which executes them one by one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::expected::{Case, Report, Unit};
use super::scene::{Scene, quoted};
use super::work::{Amount, Operation, see_the_rule_decide};

const REQUESTS: Amount = Amount {
    less: 320,
    more: 1280,
};
/// A handshake is some fifty times as dear as a request.
const HANDSHAKES: Amount = Amount {
    less: 20,
    more: 120,
};

const CASES: [(Case, Amount); 6] = [
    (case(Operation::Http1Alone), REQUESTS),
    (
        Case {
            goal: Some(26_000.0),
            ..case(Operation::Http1Busy)
        },
        REQUESTS,
    ),
    (case(Operation::Http2Busy), REQUESTS),
    (case(Operation::FullHandshake), HANDSHAKES),
    (case(Operation::ResumedHandshake), HANDSHAKES),
    (case(Operation::RefusedHandshake), HANDSHAKES),
];

const fn case(operation: Operation) -> Case {
    Case {
        unit: Unit::Instructions,
        operation,
        goal: None,
    }
}

/// glibc copies with vectors of 32 bytes then, however much it is. Callgrind
/// takes each byte that `rep movsb` copies for an instruction.
const COPIES: &str = "GLIBC_TUNABLES=\
    glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// Where Callgrind hears what it is to do; in the folder of the tools.
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
    let mut callgrind = Callgrind {
        scene: &scene,
        dumps: 0,
    };
    for (case, amount) in CASES {
        let mut work = case.operation.prepare(&scene).await;
        work.repeat(amount.less).await;
        callgrind.since_last().await;
        work.repeat(amount.less).await;
        let less = callgrind.since_last().await;
        work.repeat(amount.more).await;
        let more = callgrind.since_last().await;
        if let Some(folder) = profiles {
            callgrind.keep(folder, case.operation.name());
        }
        report.add(&case, amount.each(less, more), "");
    }
}

/// Callgrind, while the program runs under it.
struct Callgrind<'a> {
    scene: &'a Scene,
    /// How many profiles it has written.
    dumps: usize,
}

impl Callgrind<'_> {
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
        let mut lines = text.lines().rev();
        let total = lines.find_map(|line| line.strip_prefix("totals: "));
        total.unwrap().trim().parse().unwrap()
    }

    /// Leaves the last profile where somebody wants to read it.
    fn keep(&self, folder: &Path, name: &str) {
        let profile = fs::read_to_string(self.profile()).unwrap();
        // Calls that began before are 0 here, and callgrind_annotate takes the
        // cost of such a call for the caller's own.
        let readable = profile.replace("\ncalls=0 ", "\ncalls=1 ");
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), readable).unwrap();
    }

    fn profile(&self) -> PathBuf {
        self.scene.path(&format!("profile.{}", self.dumps))
    }
}
