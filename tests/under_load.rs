//! Requests flow on many connections while everything that is on disk is
//! replaced a hundred times: nobody who is trusted notices, and nobody whose
//! trust was withdrawn gets through.
//!
//! # What is demanded
//!
//! * Not one request of the two peers that are always trusted fails, and none of
//!   their connections ends: nothing is ever retried.
//! * The third peer is trusted and not trusted by turns. What it begins after a
//!   generation without it was published is refused and never seen upstream;
//!   this is stricter than the second that is promised. What it begins, on a
//!   connection of that time, after one with it was published succeeds.
//! * In between, while a generation is on its way, either is right.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::body::Body;
use crate::support::change::files_of;
use crate::support::client::{Client, Refusal, Session, get, post};
use crate::support::pki::{Authority, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// How often something on disk is replaced.
const CHANGES: usize = 100;
/// Kinds of change, one after the other.
const KINDS: usize = 10;
/// A caller that is refused, or has its answer, comes back after this.
const PAUSE: Duration = Duration::from_millis(10);
/// What is sent and echoed.
const CONTENT: usize = 20_000;
/// Pieces of a slow answer.
const PIECES: [&str; 3] = ["one ", "two ", "three"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_changes_cost_no_trusted_request_and_let_no_withdrawn_one_through() {
    let scene = Scene::new();
    let (h1, h2) = (scene.upstream(false).await, scene.upstream(true).await);
    let proxy = scene.setup(&h1, &h2).start().await;
    let load = Arc::new(Load::default());
    let mut callers = JoinSet::new();
    for (name, leaf) in [
        ("one", &scene.one),
        ("two", &scene.two),
        ("other", &scene.other),
    ] {
        let client = Client::new(&scene.pki).presenting(leaf);
        let target = (proxy.public(), name);
        let kept = [
            client.clone().version(&TLS13),
            client.clone().version(&TLS12),
            client.clone().h2(),
        ];
        for client in kept {
            callers.spawn(keep_one_connection(Arc::clone(&load), client, target));
        }
        callers.spawn(connect_each_time(
            Arc::clone(&load),
            vec![client.clone()],
            target,
        ));
        let resuming = client.resuming();
        let resuming = vec![resuming.clone().version(&TLS13), resuming.version(&TLS12)];
        callers.spawn(connect_each_time(Arc::clone(&load), resuming, target));
    }

    let periods = scene.change_everything(&proxy).await;
    load.over.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }

    let visits = std::mem::take(&mut *load.visits.lock().unwrap());
    let mut seen = h1.requests();
    seen.extend(h2.requests());
    for name in ["one", "two"] {
        always_trusted(name, &visits);
    }
    trusted_by_turns("other", &visits, &periods, &seen);
    assert!(proxy.logged("reload.failed").is_empty());
    let metrics = proxy.metrics().await;
    assert!(metrics.sum("connections_withdrawn_total", &[]) > 0.0);
}

/// What a peer that is never withdrawn demands.
fn always_trusted(name: &str, visits: &[Visit]) {
    let mine: Vec<_> = visits.iter().filter(|visit| visit.name == name).collect();
    for visit in &mine {
        assert_eq!(visit.outcome, Ok(()), "{visit:#?}");
    }
    for way in Way::ALL {
        let of_way = mine.iter().filter(|visit| visit.way == way);
        assert!(of_way.count() > CHANGES, "{name} was hardly there, {way:?}");
    }
    let kept = mine.iter().filter(|visit| visit.way == Way::Kept);
    let kept: Vec<_> = kept.filter(|visit| visit.first).collect();
    assert_eq!(kept.len(), 3, "connections of {name} were ended: {kept:#?}");
    assert!(
        mine.iter().any(|visit| visit.resumed),
        "nothing was resumed"
    );
}

/// What a peer that is trusted by turns is given, and what not.
fn trusted_by_turns(name: &str, visits: &[Visit], periods: &[Period], seen: &[Received]) {
    let mine: Vec<_> = visits.iter().filter(|visit| visit.name == name).collect();
    let mut counts = [[0; 3]; 2];
    for period in periods {
        let within = |visit: &Visit| visit.begun >= period.from && visit.ended <= period.to;
        for visit in mine.iter().filter(|visit| within(visit)) {
            // A client learns of its refusal in the handshake with its first request.
            let refused_before = visit.first && visit.opened < period.from;
            if !period.trusted {
                assert!(visit.outcome.is_err(), "{period:#?} {visit:#?}");
                let reached = seen.iter().find(|request| request.path == visit.path);
                assert!(reached.is_none(), "{period:#?} {visit:#?} {reached:#?}");
            } else if !refused_before {
                assert_eq!(visit.outcome, Ok(()), "{period:#?} {visit:#?}");
            } else {
                continue;
            }
            counts[usize::from(period.trusted)][visit.way as usize] += 1;
        }
    }
    let enough = counts
        .iter()
        .flatten()
        .all(|count| *count >= CHANGES / KINDS);
    assert!(enough, "refused and served, by way: {counts:?}");
    let resumed = mine.iter().filter(|visit| visit.resumed).count();
    assert!(resumed > 0, "nothing of {name} was resumed");
}

/// Whether the third peer was trusted, without any doubt.
#[derive(Debug)]
struct Period {
    trusted: bool,
    from: Instant,
    to: Instant,
}

/// How a caller connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// One connection for all requests, as long as it lasts.
    Kept,
    /// A connection for each request, with a full handshake.
    New,
    /// A connection for each request, with a resumed session.
    Resuming,
}

impl Way {
    const ALL: [Self; 3] = [Self::Kept, Self::New, Self::Resuming];
}

/// One request, and what became of it.
#[derive(Debug)]
struct Visit {
    name: &'static str,
    way: Way,
    /// Whether it was the first on its connection.
    first: bool,
    resumed: bool,
    path: String,
    /// When its connection was.
    opened: Instant,
    begun: Instant,
    ended: Instant,
    outcome: Result<(), String>,
}

/// What all callers share.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    next: AtomicUsize,
    visits: Mutex<Vec<Visit>>,
}

type Caller = (std::net::SocketAddr, &'static str);

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends one request and notes what became of it; returns whether it was served.
    async fn visit(&self, name: &'static str, way: Way, open: &mut Opened) -> bool {
        let number = self.number();
        let (kind, upstream) = (
            ["short", "slow", "echo"][number % 3],
            ["h1", "h2"][number % 2],
        );
        let path = format!("/{upstream}/{kind}/{name}/{number}");
        let begun = Instant::now();
        let outcome = match &mut open.session {
            Ok(session) => ask(session, kind, &path).await,
            Err(refused) => Err(refused.clone()),
        };
        let served = outcome.is_ok();
        self.visits.lock().unwrap().push(Visit {
            name,
            way,
            first: std::mem::take(&mut open.is_new),
            resumed: open.resumed,
            path,
            opened: open.at,
            begun: if open.session.is_ok() { begun } else { open.at },
            ended: Instant::now(),
            outcome,
        });
        served
    }
}

/// A connection, or why there is none.
struct Opened {
    is_new: bool,
    at: Instant,
    resumed: bool,
    session: Result<Session, String>,
}

impl Opened {
    async fn by(client: &Client, target: std::net::SocketAddr) -> Self {
        let at = Instant::now();
        let session = client.connect(target).await.map_err(in_words);
        Self {
            is_new: true,
            at,
            resumed: session.as_ref().is_ok_and(|session| session.tls().resumed),
            session,
        }
    }
}

async fn keep_one_connection(load: Arc<Load>, client: Client, (target, name): Caller) {
    while !load.is_over() {
        let mut open = Opened::by(&client, target).await;
        while load.visit(name, Way::Kept, &mut open).await && !load.is_over() {
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
    }
}

async fn connect_each_time(load: Arc<Load>, clients: Vec<Client>, (target, name): Caller) {
    let way = if clients.len() == 1 {
        Way::New
    } else {
        Way::Resuming
    };
    for client in clients.iter().cycle() {
        if load.is_over() {
            return;
        }
        let mut open = Opened::by(client, target).await;
        load.visit(name, way, &mut open).await;
        sleep(PAUSE).await;
    }
}

/// One request; anything but the whole right answer is a failure.
async fn ask(session: &mut Session, kind: &str, path: &str) -> Result<(), String> {
    let (request, right) = match kind {
        "echo" => {
            let content = "c".repeat(CONTENT);
            (post(path, Body::full(content.clone())), content)
        }
        "slow" => (get(path), PIECES.concat()),
        _ => (get(path), "hello".to_owned()),
    };
    let answer = session.send(request).await.map_err(in_words)?;
    if answer.status != 200 || answer.body != right {
        return Err(format!(
            "{} with {} bytes",
            answer.status,
            answer.body.len()
        ));
    }
    Ok(())
}

fn in_words(refusal: Refusal) -> String {
    format!("{refusal:?}")
}

/// Whom there is, and what is on disk.
struct Scene {
    pki: Pki,
    partners: Authority,
    internal: Authority,
    /// Belongs to nobody, and comes and goes.
    spare: Authority,
    one: Leaf,
    two: Leaf,
    other: Leaf,
}

impl Scene {
    fn new() -> Self {
        let (pki, partners) = (Pki::new(), Authority::root("Partners"));
        let other = partners
            .leaf()
            .client()
            .uri("spiffe://partner.example/other");
        Self {
            one: pki.client_as("spiffe://prod.example/one"),
            two: pki.client_as("spiffe://prod.example/two"),
            other: other.issue(),
            internal: Authority::root("Internal"),
            spare: Authority::root("Spare"),
            pki,
            partners,
        }
    }

    /// One that demands a certificate.
    async fn upstream(&self, h2: bool) -> Upstream {
        let leaf = self.internal.leaf().server().dns("orders.internal").issue();
        let upstream = Upstream::build(answer).tls(&leaf).clients(&self.internal);
        let upstream = if h2 { upstream.h2() } else { upstream };
        upstream.start().await
    }

    fn setup(&self, h1: &Upstream, h2: &Upstream) -> Setup {
        let setup = Setup::new(&self.pki, h1)
            .folder("own-0")
            .link("own", "own-0")
            .folder("crl");
        let [own, edge] = self.own_certificates();
        setup
            .certificate("own/proxy", &own)
            .certificate("own/edge", &edge)
            .file("clients.pem", &self.anchors(true, false))
            .file("crl/root.crl", &self.pki.root().crl(&[]))
            .file("crl/partners.crl", &self.partners.crl(&[]))
            .file("internal.pem", &self.internal.pem())
            .with(&format!(
                "
log.access = false
trust.clients.crl = ['crl/']
trust.clients.crl_missing = 'allow'
trust.internal.ca = ['internal.pem']
listeners.public.tls.certificates = [{{ chain = 'own/proxy.pem', key = 'own/proxy.key' }}]

[[routes]]
path = '/h1'
upstream = 'orders'
[[routes]]
path = '/h2'
upstream = 'stock'

[upstreams.orders.tls]
trust = 'internal'
server_name = 'orders.internal'
certificate = {{ chain = 'own/edge.pem', key = 'own/edge.key' }}

[upstreams.stock]
endpoints = ['{}']
protocol = 'h2'
outbound.client_certificate_authentication = 'required'
[upstreams.stock.tls]
trust = 'internal'
server_name = 'orders.internal'
certificate = {{ chain = 'own/edge.pem', key = 'own/edge.key' }}
",
                h2.endpoint()
            ))
    }

    /// What the proxy shows to clients, and what to upstreams.
    fn own_certificates(&self) -> [Leaf; 2] {
        let edge = self.internal.leaf().client().dns("edge.internal");
        [self.pki.server(PROXY_NAME), edge.issue()]
    }

    /// The bundle of the clients, with the partners or without.
    fn anchors(&self, partners: bool, spare: bool) -> String {
        let mut anchors = self.pki.root().pem();
        for (authority, is_there) in [(&self.partners, partners), (&self.spare, spare)] {
            if is_there {
                anchors.push_str(&authority.pem());
            }
        }
        anchors
    }

    /// Replaces one thing after the other; returns when the third peer was
    /// trusted and when not.
    async fn change_everything(&self, proxy: &Proxy) -> Vec<Period> {
        let (mut trusted, mut since) = (true, Instant::now());
        let mut periods = Vec::new();
        for change in 0..CHANGES {
            let next = proxy.generations() + 1;
            let turns = matches!(change % KINDS, 4 | 8);
            let before = Instant::now();
            self.change(proxy, change, trusted);
            // Else it is seen without anybody's help.
            if change % 3 > 0 {
                let (status, outcome) = proxy.reload().await;
                assert_eq!(status, 200, "{outcome}");
            }
            let line = proxy.in_force(next).await;
            assert_eq!(proxy.generations(), next, "one for change {change}: {line}");
            if turns {
                periods.push(Period {
                    trusted,
                    from: since,
                    to: before,
                });
                (trusted, since) = (!trusted, Instant::now());
            }
        }
        periods.push(Period {
            trusted,
            from: since,
            to: Instant::now(),
        });
        periods
    }

    fn change(&self, proxy: &Proxy, change: usize, trusted: bool) {
        let round = change / KINDS;
        // What comes in one round goes in the next.
        let odd = round % 2 == 1;
        let by_revocation = odd;
        let spare = !odd;
        match change % KINDS {
            0 => {
                let [own, edge] = self.own_certificates();
                let files = [files_of("proxy", &own), files_of("edge", &edge)];
                proxy.swap_folder("own", &files.concat());
            }
            1 => proxy.overwrite("clients.pem", &self.anchors(trusted, spare)),
            2 => {
                let stranger = self.pki.client_as("spiffe://prod.example/stranger");
                proxy.rename_over("crl/root.crl", &self.pki.root().crl(&[&stranger]));
            }
            3 => proxy.configure(&format!(
                "server.drain_timeout = '{}s'
                listeners.public.limits.max_connections = {}
                listeners.public.limits.idle_timeout = '{}s'",
                20 + round,
                100 + round,
                30 + round
            )),
            4 | 8 if by_revocation => {
                let revoked: &[&Leaf] = if trusted { &[&self.other] } else { &[] };
                proxy.rename_over("crl/partners.crl", &self.partners.crl(revoked));
            }
            4 | 8 => proxy.rename_over("clients.pem", &self.anchors(!trusted, spare)),
            5 => {
                let more = if odd { String::new() } else { self.spare.pem() };
                proxy.overwrite("internal.pem", &format!("{}{more}", self.internal.pem()));
            }
            6 => proxy.configure(&format!(
                "trust.clients.on_withdrawal = '{}'
                upstreams.orders.connect_timeout = '{}s'
                upstreams.stock.response_timeout = '{}s'",
                if odd { "cut" } else { "drain" },
                10 + round,
                40 + round
            )),
            7 => {
                let spare = self.spare.leaf().client().issue();
                proxy.overwrite("crl/spare.crl", &self.spare.crl(&[&spare]));
            }
            9 => proxy.edit_config(|config| {
                let listeners = config["listeners"].as_table_mut().unwrap();
                if listeners.remove("passing").is_none() {
                    let passing = listeners["public"].clone();
                    listeners.insert("passing".to_owned(), passing);
                }
            }),
            kind => unreachable!("{kind}"),
        }
    }
}

fn answer(received: &Received) -> Reply {
    let mut path = received.path.split('/').skip(2);
    match path.next() {
        Some("slow") => {
            let (writer, body) = Body::streaming();
            tokio::spawn(async move {
                for piece in PIECES {
                    writer.piece(piece);
                    sleep(3 * PAUSE).await;
                }
            });
            Reply::body(body)
        }
        Some("echo") => Reply::echo(),
        _ => Reply::ok("hello"),
    }
}
