//! What becomes of the two processes where one does not say, or not in time, what the
//! other waits for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::command::BINARY;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, eventually};

/// One side of the conversation, in the hands of a test.
struct Side {
    stream: UnixStream,
    heard: BufReader<UnixStream>,
}

impl Side {
    fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let heard = BufReader::new(stream.try_clone().unwrap());
        Self { stream, heard }
    }

    fn says(&mut self, line: &str) {
        // In one piece: that is how a line is heard.
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// The next line. A descriptor that comes with it is closed by the system.
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.heard.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Takes what a predecessor has, up to where a successor would say that it serves.
    fn successor(path: &Path) -> Self {
        let mut side = Self::of(UnixStream::connect(path).unwrap());
        side.says("take-over 1");
        let head: serde_json::Value = serde_json::from_str(&side.hears()).unwrap();
        for _ in 0..head["sockets"].as_u64().unwrap() {
            side.says("next");
            side.hears();
        }
        side
    }
}

/// A process that takes over from the test, and what it says.
struct Successor {
    child: Child,
    setup: Setup,
}

impl Successor {
    /// `predecessor` is what the test says to it once it is ready; `None`: nothing.
    fn start(predecessor: Option<&'static str>, pki: &Pki, upstream: &Upstream) -> Self {
        let setup = Setup::new(pki, upstream).with("server.upgrade_socket = 'upgrade.sock'");
        let config = setup.write();
        let talk = Self::talk(&setup.path("upgrade.sock"), predecessor);
        let mut command = Command::new(BINARY);
        command.args(["run", "--take-over", "--config"]).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(setup.path("said")).unwrap());
        let child = command.spawn().unwrap();
        // Before the talk, whose failure must not leave it behind.
        let successor = Self { child, setup };
        talk.join().unwrap();
        successor
    }

    fn talk(path: &Path, says: Option<&'static str>) -> JoinHandle<()> {
        let (listening, path) = (UnixListener::bind(path).unwrap(), path.to_owned());
        std::thread::spawn(move || {
            let mut side = Side::of(accept(&listening));
            // The successor has a socket of its own there: it is given none.
            drop(listening);
            fs::remove_file(path).unwrap();
            assert_eq!(side.hears(), "take-over 1");
            side.says("{\"manager\":null,\"watchdog_us\":null,\"sockets\":0}");
            assert_eq!(side.hears(), "ready");
            if let Some(says) = says {
                side.says(says);
            }
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.setup.path("said")).unwrap()
    }
}

/// The first that connects: a successor that ends before has the test fail, and not
/// wait for ever.
fn accept(listening: &UnixListener) -> UnixStream {
    listening.set_nonblocking(true).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        match listening.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                assert!(Instant::now() < end, "nobody connects");
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(cause) => panic!("{cause}"),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn successor_ends_where_its_predecessor_goes_on_and_says_why() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let refusal = "refused the successor did not serve within 60 s";
    let mut successor = Successor::start(Some(refusal), &pki, &upstream);
    let child = &mut successor.child;
    let ended = eventually("its end", || child.try_wait().unwrap()).await;
    let said = successor.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    for words in ["goes on alone", "did not serve within 60 s"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.contains("server.taken_over"), "{said}");
}

#[tokio::test]
async fn successor_serves_where_its_predecessor_lets_go_or_is_gone() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for (says, words) in [
        (Some("yours"), "finishes what is under way"),
        (None, "was ended"),
    ] {
        let successor = Successor::start(says, &pki, &upstream);
        let done = || successor.said().contains("server.taken_over").then_some(());
        eventually("server.taken_over in its log", done).await;
        assert!(successor.said().contains(words), "{}", successor.said());
    }
}

async fn with_sockets() -> (Pki, Upstream, Proxy) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .folder("sockets")
        .with("server.upgrade_socket = 'sockets/upgrade.sock'")
        .with("listeners.inside.bind = 'unix:sockets/in.sock'")
        .start()
        .await;
    (pki, upstream, proxy)
}

#[tokio::test]
async fn predecessor_that_ends_while_it_hands_over_leaves_the_files_of_sockets() {
    let (_pki, _upstream, mut proxy) = with_sockets().await;
    let files = ["sockets/upgrade.sock", "sockets/in.sock"].map(|name| proxy.path(name));
    let mut successor = Side::successor(&files[0]);
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    for file in &files {
        assert!(file.exists(), "{} is the successor's", file.display());
    }
    // Nobody stands in its way.
    assert_eq!(successor.hears(), "");
}

#[tokio::test]
async fn predecessor_whose_successor_has_gone_takes_the_files_with_it() {
    let (_pki, _upstream, mut proxy) = with_sockets().await;
    let files = ["sockets/upgrade.sock", "sockets/in.sock"].map(|name| proxy.path(name));
    drop(Side::successor(&files[0]));
    proxy.log_line("server.not_handed_over", |_| true).await;
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    for file in &files {
        assert!(!file.exists(), "{} is nobody's", file.display());
    }
}

/// Makes the process that follows the first of a PID namespace, in which the
/// processes of the test have no number.
const APART: &str = "exec unshare --pid --fork --kill-child \"$0\" \"$@\"; true";

#[tokio::test]
async fn successor_without_a_number_here_serves_unless_a_manager_wants_that_number() {
    let probe = Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: there are no PID namespaces to be had here");
        return;
    }
    let notified = tempfile::tempdir().unwrap();
    let manager = notified.path().join("notify");
    let _manager = UnixDatagram::bind(&manager).unwrap();
    let told = format!("export NOTIFY_SOCKET={}; {APART}", manager.display());
    for (before, words) in [(APART, None), (&*told, Some("another PID namespace"))] {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let proxy = Setup::new(&pki, &upstream)
            .with("server.upgrade_socket = 'upgrade.sock'")
            .after_shell(before)
            .start()
            .await;
        let said = proxy.path("successor.log");
        let mut command = Command::new(BINARY);
        command.args(["run", "--take-over", "--config"]);
        command.arg(proxy.path("countersign.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut successor = command
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        match words {
            None => {
                let line = proxy.log_line("server.handed_over", |_| true).await;
                assert!(line.get("successor").is_none(), "{line}");
                successor.kill().unwrap();
                successor.wait().unwrap();
            }
            Some(words) => {
                let ended = || successor.try_wait().unwrap();
                let ended = eventually("its end", ended).await;
                let said = fs::read_to_string(&said).unwrap();
                assert_eq!(ended.code(), Some(1), "{said}");
                assert!(said.contains(words), "{said}");
                assert!(said.contains("goes on as before"), "{said}");
            }
        }
    }
}
