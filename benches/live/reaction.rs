//! From a change on disk to its enforcement.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::{Instant, sleep};

use super::Extent;
use super::numbers::{Sample, Short};
use super::progress::progress;
use super::support::change::files_of;
use super::support::client::{Client, Session, get};
use super::support::pki::{Authority, Leaf, PROXY_NAME, Pki};
use super::support::proxy::{Proxy, Setup};
use super::support::upstream::Upstream;

/// Where only polling finds a change, it is made at all points of its interval.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// A kind of change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    InPlace,
    Rename,
    Swap,
    Revocation,
    OwnCertificate,
    Config,
    PollOnly,
}

const KINDS: [Kind; 7] = [
    Kind::InPlace,
    Kind::Rename,
    Kind::Swap,
    Kind::Revocation,
    Kind::OwnCertificate,
    Kind::Config,
    Kind::PollOnly,
];

/// What was measured of one kind of change.
#[derive(Default)]
struct Reactions {
    new: Sample,
    resumed: Sample,
    open: Sample,
}

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    println!(
        "From a change on disk to its enforcement, median and worst of {}:\n",
        extent.rounds
    );
    println!(
        "{:<40}{:>20}{:>20}{:>20}",
        "", "new handshake", "resumed session", "open connection"
    );
    for kind in KINDS {
        let measured = Bench::start(kind).await.run(extent.rounds).await;
        let pair = |sample: &Sample| {
            format!(
                "{} {:>9}",
                Short(sample.median()),
                Short(sample.worst()).to_string()
            )
        };
        println!(
            "{:<40}{:>20}{:>20}{:>20}",
            kind.in_words(),
            pair(&measured.new),
            pair(&measured.resumed),
            pair(&measured.open)
        );
    }
    println!();
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::InPlace => "anchor removed, file written in place",
            Self::Rename => "anchor removed, file renamed over",
            Self::Swap => "anchor removed, ..data swapped",
            Self::Revocation => "leaf revoked, list renamed over",
            Self::OwnCertificate => "own certificate replaced",
            Self::Config => "caller no longer allowed by the config",
            Self::PollOnly => "anchor removed, seen by polling only",
        }
    }

    /// Where the bundle's file is, as the config names it.
    fn bundle(self) -> &'static str {
        match self {
            Self::Swap => "mount/clients.pem",
            _ => "clients.pem",
        }
    }
}

/// A running program, and a caller who is allowed and not by turns.
struct Bench {
    kind: Kind,
    pki: Pki,
    partners: Authority,
    caller: Leaf,
    proxy: Proxy,
    _upstream: Upstream,
}

impl Bench {
    async fn start(kind: Kind) -> Self {
        let (pki, partners) = (Pki::new(), Authority::root("Partners"));
        let upstream = Upstream::start().await;
        let caller = partners
            .leaf()
            .client()
            .uri("spiffe://partner.example/caller")
            .issue();
        let both = format!("{}{}", pki.root().pem(), partners.pem());
        let setup = Setup::new(&pki, &upstream)
            .folder("version-1")
            .folder("mount")
            .link("mount/..data", "../version-1")
            .link("mount/clients.pem", "..data/clients.pem")
            .file("version-1/clients.pem", &both)
            .link("own", "version-1")
            .certificate("version-1/proxy", &pki.proxy())
            .file("clients.pem", &both)
            .folder("crl")
            .file("crl/partners.crl", &partners.crl(&[]))
            .with(&format!(
                "
                log.access = false
                trust.clients.ca = ['{}']
                trust.clients.crl = ['crl/']
                trust.clients.crl_missing = 'allow'
                listeners.public.tls.certificates = [{{ chain = 'own/proxy.pem', key = 'own/proxy.key' }}]",
                kind.bundle()
            ));
        let proxy = setup.start().await;
        if kind == Kind::PollOnly {
            // A file with two names: the system tells of a change only where the
            // name is that was used for it.
            fs::create_dir(proxy.path("elsewhere")).unwrap();
            fs::hard_link(
                proxy.path("clients.pem"),
                proxy.path("elsewhere/clients.pem"),
            )
            .unwrap();
        }
        Self {
            kind,
            pki,
            partners,
            caller,
            proxy,
            _upstream: upstream,
        }
    }

    async fn run(self, rounds: usize) -> Reactions {
        let mut measured = Reactions::default();
        let client = Client::trusting(self.pki.root()).presenting(&self.caller);
        for round in 0..rounds {
            progress(self.kind.in_words(), round, rounds);
            if self.kind == Kind::PollOnly {
                sleep(
                    POLL_INTERVAL * u32::try_from(round).unwrap() / u32::try_from(rounds).unwrap(),
                )
                .await;
            }
            self.round(&client, &mut measured).await;
        }
        progress(self.kind.in_words(), rounds, rounds);
        measured
    }

    /// Withdraws, and gives back.
    async fn round(&self, client: &Client, measured: &mut Reactions) {
        let target = self.proxy.public();
        // Everybody has been served once when the change is made.
        let served = Arc::new(Barrier::new(4));
        let new = tokio::spawn(each_time(client.clone(), target, Arc::clone(&served)));
        let resuming = client.clone().resuming();
        let resumed = tokio::spawn(each_time(resuming, target, Arc::clone(&served)));
        let open = tokio::spawn(all_the_time(client.clone(), target, Arc::clone(&served)));
        served.wait().await;
        let next = self.proxy.generations() + 1;
        let begun = Instant::now();
        self.change(false);
        measured.new.add(new.await.unwrap() - begun);
        if self.kind == Kind::OwnCertificate {
            // A session, and a connection, goes on with the certificate of its beginning.
            resumed.abort();
            open.abort();
        } else {
            measured.resumed.add(resumed.await.unwrap() - begun);
            measured.open.add(open.await.unwrap() - begun);
            self.proxy.in_force(next).await;
            self.change(true);
            self.proxy.in_force(next + 1).await;
        }
    }

    fn change(&self, allowed: bool) {
        let mut anchors = self.pki.root().pem();
        if allowed {
            anchors.push_str(&self.partners.pem());
        }
        match self.kind {
            Kind::InPlace => self.proxy.overwrite("clients.pem", &anchors),
            Kind::Rename => self.proxy.rename_over("clients.pem", &anchors),
            Kind::Swap => {
                let files = [("clients.pem".to_owned(), anchors)];
                self.proxy.swap_folder("mount/..data", &files);
            }
            Kind::Revocation => {
                let revoked: &[&Leaf] = if allowed { &[] } else { &[&self.caller] };
                self.proxy
                    .rename_over("crl/partners.crl", &self.partners.crl(revoked));
            }
            Kind::OwnCertificate => {
                let files = files_of("proxy", &self.pki.server(PROXY_NAME));
                self.proxy.swap_folder("own", &files);
            }
            Kind::Config => {
                let whom = if allowed { "caller" } else { "another" };
                self.proxy.configure(&format!(
                    "routes = [{{ upstream = 'orders', allow = [{{ uri = 'spiffe://partner.example/{whom}' }}] }}]"
                ));
            }
            Kind::PollOnly => self.proxy.overwrite("elsewhere/clients.pem", &anchors),
        }
    }
}

/// Connects for each request, until it is refused or shown another
/// certificate; returns when that was.
async fn each_time(client: Client, target: SocketAddr, served: Arc<Barrier>) -> Instant {
    let mut first = None;
    loop {
        let Ok(mut session) = client.connect(target).await else {
            assert!(first.is_some(), "refused before any change");
            return Instant::now();
        };
        let shown = session.tls().server_leaf;
        if !is_served(&mut session).await || first.is_some_and(|first| first != shown) {
            assert!(first.is_some(), "refused before any change");
            return Instant::now();
        }
        if first.is_none() {
            first = Some(shown);
            served.wait().await;
        }
        sleep(PAUSE).await;
    }
}

/// Sends all requests on one connection until one is refused; returns when that was.
async fn all_the_time(client: Client, target: SocketAddr, served: Arc<Barrier>) -> Instant {
    let mut session = client.connect(target).await.unwrap();
    assert!(is_served(&mut session).await, "refused before any change");
    served.wait().await;
    while is_served(&mut session).await {
        sleep(PAUSE).await;
    }
    Instant::now()
}

async fn is_served(session: &mut Session) -> bool {
    let answer = session.send(get("/")).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
