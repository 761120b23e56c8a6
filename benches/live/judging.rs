//! What it costs to judge the connections that are open, and who feels it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::SerialNumber;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::Extent;
use super::numbers::{Sample, Short};
use super::process::{CpuTime, raise_descriptor_limit};
use super::progress::progress;
use super::support::client::{Client, get};
use super::support::pki::{Authority, Pki};
use super::support::proxy::{Proxy, Setup};
use super::support::raw::Raw;
use super::support::upstream::Upstream;

/// What either side needs beside the connections.
const SPARE_DESCRIPTORS: usize = 500;
/// How many connections are opened at one time.
const OPENED_AT_ONCE: usize = 8;
/// How long another client's requests are watched while nothing changes.
const QUIET: Duration = Duration::from_secs(3);
/// Between two requests of the other client.
const PAUSE: Duration = Duration::from_millis(1);

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let descriptors = raise_descriptor_limit();
    let count = extent
        .connections
        .min(descriptors.saturating_sub(SPARE_DESCRIPTORS));
    println!("Judging {count} open connections, each with a certificate of its own:");
    if count < extent.connections {
        println!(
            "  ({} were wanted, but the system allows {descriptors} descriptors)",
            extent.connections
        );
    }
    let bench = Bench::start().await;
    let rounds = extent.rounds.min(20);
    let none = bench.cpu_of_new_lists(rounds, 0).await;
    let open = bench.open(count).await;
    let many = bench.cpu_of_new_lists(rounds, rounds).await;
    let other = OtherClient::start(&bench);
    sleep(QUIET).await;
    let quiet = other.take();
    let before = CpuTime::of(bench.proxy.id());
    sleep(QUIET).await;
    let idle = CpuTime::of(bench.proxy.id()).since(&before);
    drop(other.take());
    bench.cpu_of_new_lists(rounds, 2 * rounds).await;
    let lists = other.take();
    let removal = bench.remove_anchor().await;
    let removed = other.take();
    other.stop().await;
    drop(open);

    println!(
        "  revocation list changed: CPU {} median, {} worst of {rounds}; {} with none open",
        Short(many.median()),
        Short(many.worst()),
        Short(none.median())
    );
    let others = idle.mul_f64(removal.all.as_secs_f64() / QUIET.as_secs_f64());
    println!(
        "  anchor removed: in force after {} and {} of CPU, the last one ended after {} and {} of CPU",
        Short(Some(removal.in_force)),
        Short(Some(removal.cpu_in_force)),
        Short(Some(removal.all)),
        Short(Some(removal.cpu_all.saturating_sub(others))),
    );
    println!("  another client's requests, one after the other on its connection:");
    for (when, sample) in [
        ("while nothing changes", quiet),
        ("while lists change", lists),
        ("while the anchor is removed", removed),
    ] {
        println!(
            "    {when:<28} p50 {:>8}  p99 {:>8}  of {}",
            Short(sample.percentile(50)).to_string(),
            Short(sample.percentile(99)).to_string(),
            sample.len()
        );
    }
    println!("  (the clients run on the same machine, and take their share of it)\n");
}

/// A running program, and the authority of those who are judged.
struct Bench {
    pki: Pki,
    partners: Authority,
    proxy: Proxy,
    _upstream: Upstream,
}

/// What it took to end everybody of one authority.
struct Removal {
    in_force: Duration,
    cpu_in_force: Duration,
    all: Duration,
    cpu_all: Duration,
}

impl Bench {
    async fn start() -> Self {
        let (pki, partners) = (Pki::new(), Authority::root("Partners"));
        let upstream = Upstream::start().await;
        let setup = Setup::new(&pki, &upstream)
            .after_shell("ulimit -n $(ulimit -Hn)")
            .file(
                "clients.pem",
                &format!("{}{}", pki.root().pem(), partners.pem()),
            )
            .file("partners.crl", &partners.crl(&[]))
            .with(
                "
                log.access = false
                trust.clients.crl = ['partners.crl']
                trust.clients.crl_missing = 'allow'
                [listeners.public.limits]
                max_connections = 100000
                header_timeout = '1h'
                idle_timeout = '1h'",
            );
        Self {
            proxy: setup.start().await,
            pki,
            partners,
            _upstream: upstream,
        }
    }

    /// Opens this many connections, each after a request.
    async fn open(&self, count: usize) -> Vec<Raw> {
        let mut opening = JoinSet::new();
        let mut open = Vec::with_capacity(count);
        let base = Client::trusting(self.pki.root());
        for number in 0..count {
            if opening.len() >= OPENED_AT_ONCE {
                open.push(opening.join_next().await.unwrap().unwrap());
                progress("connections", number, count);
            }
            let name = format!("spiffe://partner.example/{number}");
            let leaf = self.partners.leaf().client().uri(&name).issue();
            opening.spawn(one(base.clone().presenting(&leaf), self.proxy.public()));
        }
        open.extend(opening.join_all().await);
        progress("connections", count, count);
        open
    }

    /// The CPU that each of some lists costs that concern nobody who is
    /// connected: every connection is judged, and goes on.
    async fn cpu_of_new_lists(&self, rounds: usize, offset: usize) -> Sample {
        let mut sample = Sample::default();
        for round in 0..rounds {
            let next = self.proxy.generations() + 1;
            let serial = SerialNumber::from(u64::try_from(offset + round).unwrap() + (1 << 50));
            let list = self.partners.crl_naming([serial].into_iter());
            let before = CpuTime::of(self.proxy.id());
            self.proxy.rename_over("partners.crl", &list);
            self.proxy.in_force(next).await;
            sample.add(CpuTime::of(self.proxy.id()).since(&before));
            progress("lists", round + 1, rounds);
        }
        sample
    }

    async fn remove_anchor(&self) -> Removal {
        let next = self.proxy.generations() + 1;
        let before = CpuTime::of(self.proxy.id());
        let cpu = || CpuTime::of(self.proxy.id()).since(&before);
        let begun = Instant::now();
        self.proxy
            .rename_over("clients.pem", &self.pki.root().pem());
        self.proxy.in_force(next).await;
        let (in_force, cpu_in_force) = (begun.elapsed(), cpu());
        // The other client's stays.
        while self
            .proxy
            .metrics()
            .await
            .sum("countersign_connections_open", &[])
            > 1.0
        {
            sleep(Duration::from_millis(20)).await;
        }
        Removal {
            in_force,
            cpu_in_force,
            all: begun.elapsed(),
            cpu_all: cpu(),
        }
    }
}

async fn one(client: Client, target: SocketAddr) -> Raw {
    let mut raw = client.raw(target).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    raw
}

/// Somebody whom no change concerns.
struct OtherClient {
    latencies: Arc<Mutex<Sample>>,
    over: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

impl OtherClient {
    fn start(bench: &Bench) -> Self {
        let client = Client::new(&bench.pki).presenting(&bench.pki.client());
        let target = bench.proxy.public();
        let (latencies, over): (Arc<Mutex<Sample>>, Arc<AtomicBool>) = Default::default();
        let (noted, ends) = (Arc::clone(&latencies), Arc::clone(&over));
        let running = tokio::spawn(async move {
            let mut session = client.connect(target).await.unwrap();
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert_eq!(session.send(get("/")).await.unwrap().status, 200);
                noted.lock().unwrap().add(begun.elapsed());
                sleep(PAUSE).await;
            }
        });
        Self {
            latencies,
            over,
            running,
        }
    }

    /// How long its requests took since this was asked last.
    fn take(&self) -> Sample {
        std::mem::take(&mut self.latencies.lock().unwrap())
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.running.await.unwrap();
    }
}
