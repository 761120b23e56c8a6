//! A running program of one size, and what it takes.

use std::time::Duration;

use countersign::generation::prepare;

use super::load::{AT_ONE_TIME, Asks, Crowd, visit};
use super::process::CpuTime;
use super::support::client::Client;
use super::support::pki::{Authority, Pki};
use super::support::proxy::{Proxy, Setup};
use super::support::upstream::Upstream;

/// How long a start may take, with all that there is to load.
const PATIENCE_AT_START: Duration = Duration::from_secs(180);

/// A config that works, with one worker, and with limits that nothing here meets.
pub(crate) fn setup(pki: &Pki, upstream: &Upstream) -> Setup {
    Setup::new(pki, upstream)
        .after_shell("ulimit -n $(ulimit -Hn)")
        .with(
            "
            server.workers = 1
            log.access = false
            [listeners.public.limits]
            max_connections = 100000
            max_requests_per_connection = 1000000000
            header_timeout = '1h'
            idle_timeout = '1h'",
        )
}

/// Makes clients whose certificates nobody has seen.
pub(crate) struct Newcomers {
    base: Client,
    authority: Authority,
    made: usize,
}

impl Newcomers {
    /// Below `authority`, and trusting the proxy of `pki`.
    pub(crate) fn below(authority: &Authority, pki: &Pki) -> Self {
        Self {
            base: Client::new(pki),
            authority: authority.clone(),
            made: 0,
        }
    }

    /// One more.
    pub(crate) fn next(&mut self) -> Client {
        self.made += 1;
        let uri = format!("spiffe://prod.example/newcomer-{}", self.made);
        let leaf = self.authority.leaf().client().uri(&uri).issue();
        self.base.clone().presenting(&leaf)
    }
}

/// A running program, and those who are connected to it.
pub(crate) struct Point {
    /// The program.
    pub(crate) proxy: Proxy,
    crowd: Crowd,
    newcomers: Newcomers,
}

impl Point {
    /// Starts the program, and opens connections to it, as many as are asked at
    /// one time. They send what `asks` says.
    pub(crate) async fn start(setup: Setup, mut newcomers: Newcomers, asks: Asks) -> Self {
        let proxy = setup.start_within(PATIENCE_AT_START).await;
        let client = || newcomers.next();
        let crowd = Crowd::open(proxy.public(), AT_ONE_TIME, asks, client).await;
        Self {
            proxy,
            crowd,
            newcomers,
        }
    }

    /// The processor time of a request on connections that are open.
    pub(crate) async fn request(&mut self, count: usize) -> Duration {
        cpu_of(&self.proxy, self.crowd.ask(count), count).await
    }

    /// The processor time of a full handshake of a client that was never seen
    /// before, with one request.
    pub(crate) async fn handshake(&mut self, count: usize) -> Duration {
        let clients = (0..count).map(|_| self.newcomers.next()).collect();
        self.handshakes_of(clients).await
    }

    /// The same of these clients.
    pub(crate) async fn handshakes_of(&self, clients: Vec<Client>) -> Duration {
        let count = clients.len();
        cpu_of(&self.proxy, visit(self.proxy.public(), clients), count).await
    }
}

/// What one of `count` takes the proxy while `load` runs.
pub(crate) async fn cpu_of(
    proxy: &Proxy,
    load: impl Future<Output = ()>,
    count: usize,
) -> Duration {
    let before = CpuTime::of(proxy.id());
    load.await;
    let all = CpuTime::of(proxy.id()).since(&before);
    all / u32::try_from(count).unwrap()
}

/// The processor time of loading what a start would.
pub(crate) fn load(setup: &Setup) -> Duration {
    let config = setup.write();
    let before = CpuTime::of(std::process::id());
    drop(prepare(&config).unwrap());
    CpuTime::of(std::process::id()).since(&before)
}
