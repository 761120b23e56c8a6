//! A new process takes the place of the one that serves.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::task::JoinHandle;

use crate::support::client::{Client, get};
use crate::support::command::BINARY;
use crate::support::eventually;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Gate, Reply, Upstream};

/// A process that takes over, as a service manager would start it.
struct Successor {
    child: Child,
    said: PathBuf,
}

impl Successor {
    fn of(proxy: &Proxy) -> Self {
        let said = proxy.path("successor.log");
        let mut command = Command::new(BINARY);
        command.args(["run", "--take-over", "--config"]);
        command.arg(proxy.path("countersign.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&said).unwrap());
        Self {
            child: command.spawn().unwrap(),
            said,
        }
    }

    fn says(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    async fn has_taken_over(&self) {
        let done = || self.says().contains("server.taken_over").then_some(());
        eventually("server.taken_over in the successor's log", done).await;
        assert!(!self.says().contains("does not answer"), "{}", self.says());
    }

    async fn ended(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = eventually("its end", || child.try_wait().unwrap()).await;
        ended.code()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Clients that connect anew for each request, and go on until they are stopped.
struct Load {
    goes_on: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr, client: &Client) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let served = Arc::new(AtomicUsize::new(0));
        let clients = (0..4)
            .map(|_| {
                let (goes_on, served) = (Arc::clone(&goes_on), Arc::clone(&served));
                let client = client.clone();
                tokio::spawn(async move {
                    while goes_on.load(Ordering::Relaxed) {
                        let answer = client.get(address, "/fast").await;
                        let answer = answer.expect("a connection that is never refused or reset");
                        assert_eq!(answer.status, 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self {
            goes_on,
            served,
            clients,
        }
    }

    /// Waits until so many more were served.
    async fn goes_on_for(&self, count: usize) {
        let wanted = self.served.load(Ordering::Relaxed) + count;
        let served = || (self.served.load(Ordering::Relaxed) >= wanted).then_some(());
        eventually("requests under load", served).await;
    }

    async fn all_was_well(self) {
        self.goes_on.store(false, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

struct Scene {
    pki: Pki,
    upstream: Upstream,
    gate: Gate,
    proxy: Proxy,
}

impl Scene {
    async fn new(toml: &str) -> Self {
        let (pki, gate) = (Pki::new(), Gate::closed());
        let held = gate.clone();
        let upstream = Upstream::answering(move |received| match received.path.as_str() {
            "/fast" => Reply::ok("fast"),
            _ => Reply::ok("slow").behind(&held),
        })
        .await;
        let proxy = Setup::new(&pki, &upstream)
            .with("server.upgrade_socket = 'upgrade.sock'")
            .with(toml)
            .start()
            .await;
        Self {
            pki,
            upstream,
            gate,
            proxy,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successors_take_over_under_load_and_no_connection_is_refused_or_reset() {
    let mut scene = Scene::new("listeners.inside.bind = 'unix:in.sock'").await;
    let address = scene.proxy.public();
    let load = Load::on(address, &scene.client());
    load.goes_on_for(20).await;
    let mut slow = scene.client().connect(address).await.unwrap();
    let answer = tokio::spawn(slow.begin(get("/slow")).await);
    let first = Successor::of(&scene.proxy);
    first.has_taken_over().await;
    load.goes_on_for(20).await;
    // What was under way in the former process ends well there, and then it ends.
    assert!(!answer.is_finished());
    scene.gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    drop(slow);
    assert_eq!(scene.proxy.exit_code().await, Some(0));
    load.goes_on_for(20).await;
    // And so with the successor's own.
    let mut first = first;
    let second = {
        let path = scene.proxy.path("successor.log");
        fs::rename(&path, scene.proxy.path("first.log")).unwrap();
        first.said = scene.proxy.path("first.log");
        Successor::of(&scene.proxy)
    };
    second.has_taken_over().await;
    assert_eq!(first.ended().await, Some(0));
    load.goes_on_for(20).await;
    load.all_was_well().await;
    assert!(scene.proxy.path("in.sock").exists());
    assert!(scene.proxy.path("upgrade.sock").exists());
    let inside = Client::plaintext(&scene.pki);
    let mut session = inside.connect(scene.proxy.path("in.sock")).await.unwrap();
    assert_eq!(session.send(get("/fast")).await.unwrap().status, 200);
    drop(second);
}

#[tokio::test]
async fn admin_address_is_the_successors_at_once() {
    let mut scene = Scene::new("").await;
    let mut slow = scene.client().connect(scene.proxy.public()).await.unwrap();
    let answer = tokio::spawn(slow.begin(get("/slow")).await);
    scene.upstream.received(1).await;
    let successor = Successor::of(&scene.proxy);
    successor.has_taken_over().await;
    scene.proxy.log_line("server.handed_over", |_| true).await;
    for _ in 0..20 {
        let (status, text) = scene.proxy.ask_admin("/readyz").await;
        assert_eq!(status, 200, "{text}");
    }
    scene.gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    drop(slow);
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn successor_that_cannot_serve_leaves_everything_as_it_was() {
    let scene = Scene::new("listeners.inside.bind = 'unix:in.sock'").await;
    let config = scene.proxy.path("countersign.toml");
    let text = fs::read_to_string(&config).unwrap();
    // It reads no config, or finds its address taken when it has the sockets already.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let clash = format!("{text}\n[listeners.more]\nbind = '{taken}'\n");
    for (broken, code) in [("broken", 2), (clash.as_str(), 1)] {
        fs::write(&config, broken).unwrap();
        let mut successor = Successor::of(&scene.proxy);
        assert_eq!(successor.ended().await, Some(code), "{}", successor.says());
    }
    drop(other);
    scene
        .proxy
        .log_line("server.not_handed_over", |_| true)
        .await;
    assert!(scene.proxy.path("in.sock").exists());
    let answer = scene.client().get(scene.proxy.public(), "/fast").await;
    assert_eq!(answer.unwrap().status, 200);
    // And the next one may come.
    fs::write(&config, text).unwrap();
    Successor::of(&scene.proxy).has_taken_over().await;
}

#[tokio::test]
async fn who_says_something_else_on_the_socket_gets_nothing() {
    let mut scene = Scene::new("").await;
    let path = scene.proxy.path("upgrade.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    scene
        .proxy
        .log_line("server.not_handed_over", |_| true)
        .await;
    drop(stream);
    let successor = Successor::of(&scene.proxy);
    successor.has_taken_over().await;
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn upgrade_returns_when_the_successor_serves_and_names_its_process() {
    let mut scene = Scene::new("").await;
    let (said, told) = (scene.proxy.path("out"), scene.proxy.path("err"));
    let mut command = Command::new(BINARY);
    command
        .args(["upgrade", "--config"])
        .arg(scene.proxy.path("countersign.toml"));
    command.stdin(Stdio::null());
    // Files, since the successor holds them open.
    command
        .stdout(File::create(&said).unwrap())
        .stderr(File::create(&told).unwrap());
    let mut upgrade = command.spawn().unwrap();
    let ended = eventually("the end of upgrade", || upgrade.try_wait().unwrap()).await;
    let said = fs::read_to_string(said).unwrap();
    assert_eq!(
        ended.code(),
        Some(0),
        "{said}{}",
        fs::read_to_string(told).unwrap()
    );
    let line = said
        .lines()
        .find(|line| line.contains("serves now"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let successor = Pid::from_raw(number).unwrap();
    assert_eq!(scene.proxy.exit_code().await, Some(0));
    let answer = scene.client().get(scene.proxy.public(), "/fast").await;
    assert_eq!(answer.unwrap().status, 200);
    kill_process(successor, Signal::TERM).unwrap();
    eventually("its end", || {
        test_kill_process(successor).is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn upgrade_that_fails_says_so_and_changes_nothing() {
    let scene = Scene::new("").await;
    let config = scene.proxy.path("countersign.toml");
    let text = fs::read_to_string(&config).unwrap();
    let missing = text.replace("upgrade.sock", "other.sock");
    assert_ne!(missing, text);
    let run =
        async |config: &PathBuf| crate::support::command::countersign_on("upgrade", config).await;
    let other = scene.proxy.path("other.toml");
    fs::write(&other, missing).unwrap();
    let finished = run(&other).await;
    finished
        .expect_code(1)
        .expect_words(&["nobody hands anything over", "goes on as before"]);
    fs::write(
        &other,
        text.replace("upgrade_socket", "poll_interval = '2s' #"),
    )
    .unwrap();
    let finished = run(&other).await;
    finished
        .expect_code(2)
        .expect_words(&["no server.upgrade_socket"]);
    let answer = scene.client().get(scene.proxy.public(), "/fast").await;
    assert_eq!(answer.unwrap().status, 200);
}
