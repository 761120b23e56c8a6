//! How endpoints are probed, and what becomes of those that are not well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Duration, Instant};

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// A service that answers everything, and probes as it is told.
struct Service {
    upstream: Upstream,
    well: Arc<AtomicBool>,
}

impl Service {
    async fn start(well: bool) -> Self {
        let well = Arc::new(AtomicBool::new(well));
        let told = Arc::clone(&well);
        let upstream = Upstream::answering(move |request: &Received| {
            let fails = request.path == "/health" && !told.load(Ordering::Relaxed);
            Reply::ok("").status(if fails { 503 } else { 200 })
        });
        Self {
            upstream: upstream.await,
            well,
        }
    }

    fn is_well(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }

    /// How many requests it has got that are no probes.
    fn served(&self) -> usize {
        let all = self.upstream.requests();
        all.iter().filter(|one| one.path == "/").count()
    }

    fn probes(&self) -> usize {
        let all = self.upstream.requests();
        all.iter().filter(|one| one.path == "/health").count()
    }
}

const OFTEN: &str = "health = { path = '/health', interval = '400ms', unhealthy = 2 }";

fn setup(pki: &Pki, services: [&Service; 2], more: &str) -> Setup {
    let endpoints = services.map(|service| service.upstream.endpoint());
    Setup::new(pki, &services[0].upstream)
        .with(&format!("upstreams.orders.endpoints = {endpoints:?}"))
        .with("upstreams.orders.balance = 'round_robin'")
        .with(&format!("[upstreams.orders]\n{more}"))
}

/// So many requests over one connection, each of which succeeds.
async fn requests(pki: &Pki, proxy: &Proxy, count: usize) {
    let client = Client::new(pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    for _ in 0..count {
        let answer = session.send(get("/")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

async fn healthy(proxy: &Proxy, service: &Service) -> f64 {
    let label = format!("endpoint=\"{}\"", service.upstream.endpoint());
    let name = "countersign_upstream_endpoint_healthy";
    proxy.metrics().await.sum(name, &[&label])
}

#[tokio::test]
async fn endpoint_that_is_not_well_gets_nothing_until_it_is_well_again() {
    let pki = Pki::new();
    let (good, ill) = (Service::start(true).await, Service::start(true).await);
    let proxy = setup(&pki, [&good, &ill], OFTEN).start().await;
    requests(&pki, &proxy, 4).await;
    assert_eq!((good.served(), ill.served()), (2, 2));

    ill.is_well(false);
    let line = proxy.log_line("endpoint.unhealthy", |_| true).await;
    assert_eq!(line["endpoint"], ill.upstream.endpoint());
    assert!(line["cause"].as_str().unwrap().contains("503"), "{line}");
    assert!(
        line["remedy"].as_str().unwrap().contains("health"),
        "{line}"
    );
    assert_eq!(healthy(&proxy, &ill).await, 0.0);
    assert_eq!(healthy(&proxy, &good).await, 1.0);
    requests(&pki, &proxy, 10).await;
    assert_eq!((good.served(), ill.served()), (12, 2));

    ill.is_well(true);
    proxy.log_line("endpoint.healthy", |_| true).await;
    assert_eq!(healthy(&proxy, &ill).await, 1.0);
    requests(&pki, &proxy, 10).await;
    assert_eq!((good.served(), ill.served()), (17, 7));
    for event in ["endpoint.unhealthy", "endpoint.healthy"] {
        assert_eq!(proxy.logged(event).len(), 1, "{event}");
    }
}

#[tokio::test]
async fn endpoints_are_not_probed_unless_the_config_says_so() {
    let pki = Pki::new();
    let (one, other) = (Service::start(false).await, Service::start(true).await);
    let proxy = setup(&pki, [&one, &other], "").start().await;
    requests(&pki, &proxy, 10).await;
    assert_eq!((one.served(), other.served()), (5, 5));
    assert_eq!((one.probes(), other.probes()), (0, 0));
    let metrics = proxy.metrics().await;
    assert!(!metrics.0.contains("countersign_upstream_endpoint_healthy{"));
}

#[tokio::test]
async fn all_are_tried_when_none_is_well() {
    let pki = Pki::new();
    let (one, other) = (Service::start(false).await, Service::start(false).await);
    let proxy = setup(&pki, [&one, &other], OFTEN).start().await;
    eventually("both found unwell", || {
        (proxy.logged("endpoint.unhealthy").len() == 2).then_some(())
    })
    .await;
    requests(&pki, &proxy, 10).await;
    assert_eq!((one.served(), other.served()), (5, 5));
}

#[tokio::test]
async fn process_sends_one_probe_in_an_interval_however_many_workers_it_has() {
    let pki = Pki::new();
    let service = Service::start(true).await;
    let begun = Instant::now();
    let setup = Setup::new(&pki, &service.upstream).with("server.workers = 8");
    let health = "upstreams.orders.health = { path = '/health', interval = '300ms' }";
    let _proxy = setup.with(health).start().await;
    let count = 6;
    eventually("probes", || (service.probes() >= count).then_some(())).await;
    // Each is at least nine tenths of the interval after the one before.
    assert!(begun.elapsed() >= Duration::from_millis(270) * 5);
}

#[tokio::test]
async fn probe_goes_the_way_of_requests_with_the_certificate_of_the_upstream() {
    for h2 in [false, true] {
        let (pki, internal) = (Pki::new(), Authority::root("Internal"));
        let certificate = internal.leaf().server().dns("orders.internal").issue();
        let own = internal.leaf().client().common_name("countersign").issue();
        let upstream = Upstream::build(|_| Reply::ok(""))
            .tls(&certificate)
            .clients(&internal);
        let upstream = if h2 { upstream.h2() } else { upstream };
        let upstream = upstream.start().await;
        let protocol = if h2 { "h2" } else { "http/1.1" };
        let setup = || {
            Setup::new(&pki, &upstream)
                .file("internal.pem", &internal.pem())
                .certificate("own", &own)
                .with("trust.internal.ca = ['internal.pem']")
                .with(&format!("upstreams.orders.protocol = '{protocol}'"))
                .with("[upstreams.orders]\ntls = { trust = 'internal', server_name = 'orders.internal' }
                health = { path = '/health?deep', host = 'orders.internal', interval = '2s' }")
        };
        let refused = setup().start().await;
        let line = refused.log_line("endpoint.unhealthy", |_| true).await;
        assert!(!line["cause"].as_str().unwrap().is_empty(), "{line}");
        assert!(upstream.requests().is_empty());
        drop(refused);

        let presenting =
            "upstreams.orders.tls.certificate = { chain = 'own.pem', key = 'own.key' }";
        let proxy = setup().with(presenting).start().await;
        let probe = upstream.received(1).await.remove(0);
        assert_eq!(probe.certificate.as_ref(), own.chain().first());
        assert_eq!(
            (probe.method.as_str(), probe.path.as_str()),
            ("GET", "/health?deep")
        );
        assert_eq!(probe.authority, "orders.internal");
        assert!(probe.header("x-forwarded-client-cert").is_none());
        upstream.received(2).await;
        assert!(proxy.logged("endpoint.unhealthy").is_empty());
    }
}

#[tokio::test]
async fn endpoint_that_hangs_or_refuses_is_not_well() {
    let pki = Pki::new();
    let silent = Upstream::answering(|_| Reply::never()).await;
    for (endpoint, cause) in [
        (
            silent.endpoint().to_owned(),
            "no answer to GET /health within",
        ),
        (Upstream::refused_endpoint().await, "refused"),
    ] {
        let health = "upstreams.orders.health = { path = '/health', interval = '200ms' }";
        let proxy = Setup::to(&pki, &endpoint).with(health).start().await;
        let line = proxy.log_line("endpoint.unhealthy", |_| true).await;
        assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
        assert!(!line["remedy"].as_str().unwrap().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn what_probes_found_outlives_a_reload_and_ends_with_its_upstream() {
    let pki = Pki::new();
    let (good, ill) = (Service::start(true).await, Service::start(false).await);
    let proxy = setup(&pki, [&good, &ill], OFTEN).start().await;
    proxy.log_line("endpoint.unhealthy", |_| true).await;
    // Once where the upstream is the same, once where only its settings are others.
    for change in [
        "log.level = 'debug'",
        "upstreams.orders.idle_timeout = '29s'",
    ] {
        proxy.after(|proxy| proxy.configure(change)).await;
        requests(&pki, &proxy, 10).await;
        assert_eq!(ill.served(), 0, "{change}");
        let probes = ill.probes();
        eventually("more probes", || (ill.probes() > probes + 2).then_some(())).await;
    }
    assert_eq!(proxy.logged("endpoint.unhealthy").len(), 1);
    let without = |config: &mut toml::Table| {
        let orders = config["upstreams"]["orders"].as_table_mut().unwrap();
        orders.remove("health").unwrap();
    };
    proxy.after(|proxy| proxy.edit_config(without)).await;
    let probes = ill.probes();
    requests(&pki, &proxy, 10).await;
    assert_eq!(ill.served(), 5);
    // One may have been under way.
    assert!(ill.probes() <= probes + 1);
    let metrics = proxy.metrics().await;
    assert!(!metrics.0.contains("countersign_upstream_endpoint_healthy{"));
}

#[tokio::test]
async fn endpoint_that_is_well_again_starts_slowly_where_that_is_wanted() {
    for (slow_start, expected) in [("slow_start = '10m'", 2..=6), ("", 20..=20)] {
        let pki = Pki::new();
        let (good, ill) = (Service::start(true).await, Service::start(false).await);
        let more = format!("{OFTEN}\n{slow_start}");
        let setup = setup(&pki, [&good, &ill], &more).with("server.workers = 1");
        let proxy = setup.start().await;
        proxy.log_line("endpoint.unhealthy", |_| true).await;
        ill.is_well(true);
        proxy.log_line("endpoint.healthy", |_| true).await;
        requests(&pki, &proxy, 40).await;
        let served = ill.served();
        assert!(expected.contains(&served), "{slow_start}: {served}");
    }
}
