//! More identities for whom a service has opened a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::Extent;
use super::curve::Curve;
use super::load::{AT_ONE_TIME, Asks, Crowd, head};
use super::point::{cpu_of, setup};
use super::progress::progress;
use super::support::client::Client;
use super::support::pki::Pki;
use super::support::proxy::{Proxy, Setup};
use super::support::upstream::{Reply, Upstream};
use super::turns::turns;

const SIZES: [usize; 4] = [1, 100, 1_000, 100_000];

/// How many requests are sent between two looks at how far it has come.
const AT_A_STRETCH: usize = 1_000;

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let sizes = extent.sizes(&SIZES);
    let pki = Pki::new();
    let mut services = Vec::new();
    for size in &sizes {
        services.push(Service::start(&pki, *size).await);
    }
    let mut curve = Curve::of("identities", &sizes);
    for turn in turns("sessions", extent.rounds, sizes.len()) {
        let service = &mut services[turn.place];
        let load = service.crowd.ask(extent.requests);
        let request = cpu_of(&service.proxy, load, extent.requests).await;
        if turn.counts {
            curve.time("CPU of a request", turn.place, request);
        }
    }
    for service in &services {
        service.has_opened_each_once();
    }
    println!("### Identities with a session\n");
    println!(
        "One peer speaks for all of them in `X-Forwarded-Client-Cert`, for one after the other, and no two of its statements are the same. Every request goes up with the session of its identity.\n"
    );
    println!("{curve}");
}

/// A service that has opened a session for each of its callers.
struct Service {
    proxy: Proxy,
    crowd: Crowd,
    identities: usize,
    opened: Arc<AtomicUsize>,
    _upstream: Upstream,
}

impl Service {
    async fn start(pki: &Pki, identities: usize) -> Self {
        let opened: Arc<AtomicUsize> = Arc::default();
        let opening = Arc::clone(&opened);
        let upstream = Upstream::answering(move |request| match request.header("cookie") {
            Some(_) => Reply::ok("hello"),
            None => {
                let number = opening.fetch_add(1, Ordering::Relaxed);
                let cookie = format!("SID={number:032x}; Path=/; HttpOnly");
                Reply::ok("hello").header("set-cookie", &cookie)
            }
        });
        let upstream = upstream.await;
        let proxy = with(setup(pki, &upstream), identities).start().await;
        let edge = Client::new(pki).presenting(&pki.client_as(EDGE));
        let asks: Asks = Arc::new(move |number| asks_for(number, identities));
        let target = proxy.public();
        let mut service = Self {
            crowd: Crowd::open(target, AT_ONE_TIME, asks, || edge.clone()).await,
            proxy,
            identities,
            opened,
            _upstream: upstream,
        };
        for done in (0..identities).step_by(AT_A_STRETCH) {
            service.crowd.ask(AT_A_STRETCH).await;
            progress("sessions", done + AT_A_STRETCH, identities);
        }
        service
    }

    /// Sees that every request but the first of its identity had a session. Those
    /// that were the first together may have been given one each.
    fn has_opened_each_once(&self) {
        let opened = self.opened.load(Ordering::Relaxed);
        let twice = opened.saturating_sub(self.identities);
        assert!(
            opened >= self.identities && twice <= AT_ONE_TIME,
            "{opened} sessions were opened for {} identities",
            self.identities
        );
    }
}

/// Who speaks for all others.
const EDGE: &str = "spiffe://edge.example/proxy";

/// A service that knows its callers by sessions, which go by their names.
fn with(setup: Setup, identities: usize) -> Setup {
    let most = identities.max(10_000);
    setup
        .file("token", "planted")
        .with(
            "
            [listeners.public]
            accept_assertions_from = [{ uri = 'spiffe://edge.example/*' }]
            accept_assertions = ['xfcc']
            [upstreams.orders.outbound]
            session_cookies = ['SID']
            session_per = 'name'
            credential = { source = 'bearer', token_file = 'token' }",
        )
        .with(&format!("upstreams.orders.outbound.max_sessions = {most}"))
}

/// A request for one of the identities, with a certificate that was never stated
/// before: a connection remembers the last statements, and would read the
/// fewer of them the fewer identities there are.
fn asks_for(number: usize, identities: usize) -> String {
    let caller = number % identities;
    let certificate = HEXLOWER.encode(digest(&SHA256, &number.to_be_bytes()).as_ref());
    head(
        "/",
        &format!(
            "X-Forwarded-Client-Cert: Hash={certificate};URI=spiffe://prod.example/caller-{caller}\r\n"
        ),
    )
}
