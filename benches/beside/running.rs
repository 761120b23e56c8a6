//! A program while it runs: its processes, and what they take.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::drive::{End, Exchange, STREAMS, Work};
use super::process::{CpuTime, held};
use super::program::{self, Program};
use super::scene::Scene;
use super::support::eventually;
use super::support::proxy::Proxy;

/// How long a peer has to end in order.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(4);

/// A proxy that does what it is compared on.
pub(crate) struct Running {
    /// Ends when it is dropped.
    _process: Process,
    address: SocketAddr,
    /// All of its processes, the first one included.
    family: Vec<u32>,
}

enum Process {
    Own(Proxy),
    Peer(Peer),
}

impl Running {
    /// Starts it, and sees that it serves and refuses whom it should.
    pub(crate) async fn start(program: Program, scene: &Scene) -> Self {
        let _subject = Subject(program);
        let (process, address) = match program {
            Program::Countersign => {
                let proxy = program::countersign(scene).start().await;
                let address = proxy.public();
                (Process::Own(proxy), address)
            }
            Program::Nginx => Peer::start(program, &["-c"], program::nginx, scene).await,
            Program::Haproxy => Peer::start(program, &["-db", "-f"], program::haproxy, scene).await,
        };
        see_it_right(scene, address).await;
        let first = match &process {
            Process::Own(proxy) => proxy.id(),
            Process::Peer(peer) => peer.child.id(),
        };
        Self {
            _process: process,
            address,
            family: family(first),
        }
    }

    /// Where it accepts.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time, user and system, that it takes while this work is done.
    pub(crate) async fn cpu_of(&self, work: impl Future<Output = ()>) -> Duration {
        let look = || self.family.iter().copied().map(CpuTime::of);
        let before: Vec<_> = look().collect();
        work.await;
        let more = look().zip(&before).map(|(now, before)| now.since(before));
        more.sum()
    }

    /// The memory that its processes hold, in KiB.
    pub(crate) fn held(&self) -> u64 {
        self.family.iter().copied().map(held).sum()
    }
}

/// Sees the same of every program: the answers over both protocols, resumption,
/// and that nobody comes through without a certificate, or with a wrong one.
/// The service answers only who is named to it.
async fn see_it_right(scene: &Scene, address: SocketAddr) {
    let caller = scene.caller();
    let http1 = Work::http1(address, &caller, 1, Exchange::short());
    http1.await.repeat(2).await;
    let session = scene.caller().h2().connect(address).await.unwrap();
    assert!(session.tls().h2, "HTTP/2 is not agreed on in the handshake");
    let http2 = Work::http2(address, scene.caller(), 1);
    http2.await.repeat(STREAMS).await;
    Work::resumed(address, &caller, 1).await.repeat(2).await;
    let refused = vec![scene.stranger(), scene.impostor()];
    let mut refused = Work::handshakes(address, refused, End::Refused);
    refused.repeat(4).await;
}

/// The program that is asked as long as this lives: it is named should that fail.
pub(crate) struct Subject(pub(crate) Program);

impl Drop for Subject {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {}", self.0.name());
        }
    }
}

/// A process and its descendants.
fn family(first: u32) -> Vec<u32> {
    let mut family = vec![first];
    let mut at = 0;
    while let Some(process) = family.get(at) {
        for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let children = fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
            family.extend(
                children
                    .split_whitespace()
                    .map(|id| id.parse::<u32>().unwrap()),
            );
        }
        at += 1;
    }
    family
}

/// Makes a config of a folder for files, where it is to accept, and the service.
type Config = fn(&Path, SocketAddr, SocketAddr) -> String;

/// Another program; it is ended when it is dropped.
struct Peer {
    child: Child,
    /// Its config, its certificates, and what it writes.
    folder: TempDir,
}

impl Peer {
    /// Starts it with these words and a config after them.
    async fn start(
        program: Program,
        words: &[&str],
        config: Config,
        scene: &Scene,
    ) -> (Process, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Neither tells which port it was given: one that was free just now.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        fs::write(path("clients.pem"), scene.pki.root().pem()).unwrap();
        fs::write(path("own.pem"), scene.own.chain_pem()).unwrap();
        fs::write(path("own.pem.key"), scene.own.key_pem()).unwrap();
        let config = config(folder.path(), address, scene.service);
        fs::write(path("config"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let mut command = Command::new(program.binary().unwrap());
        command.args(words).arg(path("config"));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        let mut peer = Self { child, folder };
        eventually(&format!("{} accepts", program.name()), || {
            let ended = peer.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", program.name());
            TcpStream::connect(address).ok()
        })
        .await;
        (Process::Peer(peer), address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends its children itself, where it is let. It may have ended already.
        let deadline = Instant::now() + PATIENCE_AT_THE_END;
        let _told = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            for name in ["log", "error.log"] {
                let text = fs::read_to_string(self.folder.path().join(name));
                eprint!("{}", text.unwrap_or_default());
            }
        }
    }
}
