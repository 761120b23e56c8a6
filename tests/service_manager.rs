//! What systemd is told, what it passes, and what it makes of a process that is stuck.

use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Instant;

use tokio::net::TcpStream;

use crate::support::PATIENCE;
use crate::support::client::{Client, get};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Gate, Reply, Upstream};

/// Who listens where `NOTIFY_SOCKET` points.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// The command that tells a process of it.
    fn named(&self) -> String {
        format!(
            "export NOTIFY_SOCKET={}/notify",
            self.folder.path().display()
        )
    }

    /// The next message that says this, and when it came.
    fn hears(&self, what: &str) -> (String, Instant) {
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer);
            let length = length.unwrap_or_else(|error| panic!("{what} is not said: {error}"));
            let said = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if said.lines().any(|line| line.starts_with(what)) {
                return (said, Instant::now());
            }
        }
    }

    /// What was said until now and nobody has heard yet.
    fn drain(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        let mut all = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

async fn started(manager: &Manager, more: &str) -> (Pki, Upstream, Proxy) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).after_shell(&manager.named());
    let setup = if more.is_empty() {
        setup
    } else {
        setup.after_shell(more)
    };
    let proxy = setup.start().await;
    (pki, upstream, proxy)
}

#[tokio::test]
async fn manager_is_told_when_it_is_ready_and_when_it_stops() {
    let manager = Manager::new();
    let (_pki, _upstream, mut proxy) = started(&manager, "").await;
    let (ready, _) = manager.hears("READY=1");
    assert!(ready.contains("STATUS=generation 1 in force; "), "{ready}");
    assert!(ready.contains("runs out in"), "{ready}");
    proxy.terminate();
    manager.hears("STOPPING=1");
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn reload_is_told_with_its_time_and_ends_with_what_came_of_it() {
    let manager = Manager::new();
    let (_pki, _upstream, proxy) = started(&manager, "").await;
    manager.hears("READY=1");
    proxy.hang_up();
    let (reloading, _) = manager.hears("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    let (ready, _) = manager.hears("READY=1");
    assert!(!ready.contains("NOT what is on disk"), "{ready}");
    std::fs::write(proxy.path("countersign.toml"), "broken").unwrap();
    proxy.hang_up();
    manager.hears("RELOADING=1");
    let (ready, _) = manager.hears("READY=1");
    assert!(ready.contains("NOT what is on disk: "), "{ready}");
}

#[tokio::test]
async fn status_follows_what_happens_without_being_asked() {
    let manager = Manager::new();
    let (pki, _upstream, proxy) = started(&manager, "").await;
    let client = Client::new(&pki).presenting(&pki.client());
    let _session = client.connect(proxy.public()).await.unwrap();
    manager.hears("STATUS=1 connections; generation 1 in force");
}

#[tokio::test]
async fn watchdog_is_fed_while_the_workers_get_on_also_while_they_drain() {
    let manager = Manager::new();
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |_| Reply::ok("late").behind(&held)).await;
    let mut proxy = Setup::new(&pki, &upstream)
        .after_shell(&manager.named())
        .after_shell("export WATCHDOG_USEC=2000000 WATCHDOG_PID=$$")
        .start()
        .await;
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    let answer = tokio::spawn(session.begin(get("/")).await);
    upstream.received(1).await;
    proxy.terminate();
    manager.hears("STOPPING=1");
    // One worker has ended, the other one waits for the answer.
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let (_pki, _upstream, mut proxy) =
        started(&manager, "export WATCHDOG_USEC=20000 WATCHDOG_PID=1").await;
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    let said = manager.drain();
    assert!(said.iter().any(|said| said.contains("STOPPING=1")));
    assert!(
        !said.iter().any(|said| said.contains("WATCHDOG=1")),
        "{said:?}"
    );
}

#[tokio::test]
async fn connection_that_came_before_the_process_is_served_on_a_socket_from_systemd() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let client = Client::new(&pki).presenting(&pki.client());
    // It waits in the queue of a socket that nobody accepts on yet.
    let early = tokio::spawn(async move { client.connect(address).await });
    let mut proxy = Setup::new(&pki, &upstream)
        .with("listeners.public.bind = 'systemd:https'")
        .passed("https", listening.try_clone().unwrap())
        .start()
        .await;
    assert_eq!(proxy.public(), address);
    let mut session = early.await.unwrap().unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    drop(session);
    // The socket stays systemd's, and takes connections for the next process.
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    TcpStream::connect(address).await.unwrap();
}

#[tokio::test]
async fn socket_from_systemd_comes_back_with_a_listener_that_a_reload_had_taken_away() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let setup = Setup::new(&pki, &upstream)
        .with("listeners.other = { bind = 'systemd:plain', allow_plaintext = true }");
    let (with, without) = (setup.text_with(""), {
        let bind = "listeners.other = { bind = '127.0.0.1:0' }";
        setup.text_with(bind)
    });
    let proxy = setup.passed("plain", listening).start().await;
    for (count, text) in [(1, &without), (2, &with)] {
        std::fs::write(proxy.path("countersign.toml"), text).unwrap();
        proxy.hang_up();
        proxy
            .log_line("generation.published", |line| {
                line["generation"] == count + 1
            })
            .await;
    }
    let client = Client::plaintext(&pki);
    let mut session = client.connect(address).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn unix_socket_from_systemd_is_served_and_its_file_stays() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.sock");
    let mut proxy = Setup::new(&pki, &upstream)
        .with("listeners.inside = { bind = 'systemd:inside', allow_plaintext = true }")
        .passed("inside", UnixListener::bind(&path).unwrap())
        .start()
        .await;
    let client = Client::plaintext(&pki);
    let mut session = client.connect(path.clone()).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    drop(session);
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    assert!(path.exists());
}

#[tokio::test]
async fn socket_that_is_not_passed_refuses_the_start_and_says_what_is() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let finished = Setup::new(&pki, &upstream)
        .with("listeners.public.bind = 'systemd:https'")
        .passed("http", TcpListener::bind("127.0.0.1:0").unwrap())
        .run_to_its_end()
        .await;
    assert_eq!(finished.code, Some(1));
    let said = finished.stderr;
    assert!(
        said.contains("no socket of the name \"https\"; it passes \"http\""),
        "{said}"
    );
    assert!(said.contains("FileDescriptorName=https"), "{said}");
}

#[tokio::test]
async fn descriptor_that_nobody_can_connect_to_refuses_the_start() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for (descriptor, why) in [
        (
            UnixDatagram::unbound().unwrap().into(),
            "not a valid unix stream",
        ),
        (
            std::fs::File::open("/dev/null").unwrap().into(),
            "not a socket",
        ),
    ] {
        let descriptor: std::os::fd::OwnedFd = descriptor;
        let finished = Setup::new(&pki, &upstream)
            .with("listeners.public.bind = 'systemd:https'")
            .passed("https", descriptor)
            .run_to_its_end()
            .await;
        assert_eq!(finished.code, Some(1));
        let said = finished.stderr;
        assert!(
            said.contains("descriptor 3, which systemd passes as \"https\""),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
    }
}
