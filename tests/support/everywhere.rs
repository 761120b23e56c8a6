//! A client with an open connection of every kind, and what becomes of each
//! when the client is withdrawn or stays.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use http::Response;
use hyper::body::Incoming;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

use super::client::{Client, Session, get};
use super::eventually;
use super::frames::{Frames, GOAWAY};
use super::pki::{Leaf, Pki};
use super::proxy::{Proxy, Setup};
use super::raw::Raw;
use super::trust::{lines, open_are, withdrawn};
use super::upstream::{Gate, Reply, Upstream};

/// How long a withdrawn tunnel lasts in these tests.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// So many connections are open for each client of a [`Scene`], TLS 1.2 and 1.3
/// together.
pub(crate) const KINDS: usize = 8;

/// How one that is withdrawn is refused.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    /// What a handshake ends with.
    pub(crate) alert: AlertDescription,
    /// The reason in logs and metrics.
    pub(crate) reason: &'static str,
    /// What the cause in the log speaks of.
    pub(crate) words: &'static str,
    /// The fault of an open connection.
    pub(crate) fault: &'static str,
}

/// A proxy, and an upstream that answers `/held…` behind a gate and changes the
/// protocol for `/tunnel…`.
pub(crate) struct Scene {
    pub(crate) proxy: Proxy,
    pub(crate) upstream: Upstream,
    gate: Gate,
}

impl Scene {
    /// `change`: what is different from the baseline.
    pub(crate) async fn start(pki: &Pki, change: impl FnOnce(Setup) -> Setup) -> Self {
        let gate = Gate::closed();
        let behind = gate.clone();
        let upstream = Upstream::answering(move |received| match received.path.as_str() {
            path if path.starts_with("/held") => Reply::ok("hello").behind(&behind),
            path if path.starts_with("/tunnel") => Reply::upgrade(),
            _ => Reply::ok("hello"),
        })
        .await;
        let grace = format!("trust.clients.withdrawal_grace = '{}s'", GRACE.as_secs());
        let setup = change(Setup::new(pki, &upstream).with(&grace));
        Self {
            proxy: setup.start().await,
            upstream,
            gate,
        }
    }

    /// Lets the upstream answer what is in flight.
    pub(crate) fn answer(&self) {
        self.gate.open();
    }

    /// How often the upstream has seen a path.
    pub(crate) fn arrived(&self, path: &str) -> usize {
        let requests = self.upstream.requests();
        requests.iter().filter(|seen| seen.path == path).count()
    }

    /// Withdraws the client with the certificate `leaves`, by `change`, while it
    /// and the one with `stays` have connections of every kind, and asserts what
    /// becomes of all of them, on both sides.
    pub(crate) async fn withdraw(
        self,
        pki: &Pki,
        (leaves, stays): (&Leaf, &Leaf),
        change: impl FnOnce(&Proxy),
        expected: Expected,
    ) {
        let open = |name: &str, version, leaf| {
            let client = Client::new(pki).version(version).presenting(leaf);
            Box::pin(Everywhere::open(&self, name.to_owned(), client))
        };
        let (mut leaves2, mut leaves3, mut stays2, mut stays3) = tokio::join!(
            open("leaves2", &TLS12, leaves),
            open("leaves3", &TLS13, leaves),
            open("stays2", &TLS12, stays),
            open("stays3", &TLS13, stays),
        );
        open_are(&self.proxy, "public", 2 * KINDS).await;
        let begun = Instant::now();
        change(&self.proxy);
        self.proxy
            .metrics_where("every withdrawn connection", |metrics| {
                withdrawn(metrics, "") as usize >= KINDS
            })
            .await;
        tokio::join!(
            Box::pin(leaves2.are_told(&self, expected)),
            Box::pin(leaves3.are_told(&self, expected)),
            Box::pin(stays2.go_on(&self)),
            Box::pin(stays3.go_on(&self)),
        );
        self.answer();
        tokio::join!(
            Box::pin(leaves2.finish(&self, begun)),
            Box::pin(leaves3.finish(&self, begun)),
            Box::pin(stays2.finish_and_go_on(&self)),
            Box::pin(stays3.finish_and_go_on(&self)),
        );
        self.has_said(&expected, leaves).await;
        open_are(&self.proxy, "public", KINDS).await;
        tokio::join!(Box::pin(stays2.go_on(&self)), Box::pin(stays3.go_on(&self)));
    }

    /// What the log says and the metrics count of one withdrawal.
    async fn has_said(&self, expected: &Expected, leaf: &Leaf) {
        let metrics = self.proxy.metrics().await;
        let kinds = KINDS as f64;
        assert_eq!(withdrawn(&metrics, expected.reason), kinds);
        assert_eq!(withdrawn(&metrics, ""), kinds, "for no other reason");
        // New and with a ticket, in both versions.
        let reason = format!("reason=\"{}\"", expected.reason);
        let refused = metrics.sum("handshakes_total", &["result=\"refused\"", &reason]);
        assert_eq!(refused, 4.0);
        let is_open = |line: &serde_json::Value| line["fault"] == expected.fault;
        let ended = lines(&self.proxy, "connection.fault", KINDS, is_open).await;
        assert_eq!(ended.len(), KINDS, "{ended:#?}");
        let any = |_: &serde_json::Value| true;
        let begun = lines(&self.proxy, "connection.withdrawn", KINDS, any).await;
        assert_eq!(begun.len(), KINDS, "{begun:#?}");
        for line in &begun {
            assert_eq!(line["reason"], expected.reason, "{line}");
            assert_eq!(line["bundle"], "clients", "{line}");
            assert_eq!(line["listener"], "public", "{line}");
        }
        let is_hers = |line: &serde_json::Value| line["fingerprint"] == leaf.fingerprint();
        let refused = lines(&self.proxy, "handshake.refused", 4, is_hers).await;
        for line in &refused {
            assert_eq!(line["reason"], expected.reason, "{line}");
        }
        for line in ended.iter().chain(&begun).chain(&refused) {
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains(expected.words), "{line}");
        }
        assert_eq!(refused.len(), 4, "{refused:#?}");
    }
}

type Pending = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// One client's open connections in one TLS version, one of each kind, and the
/// tickets that it holds.
pub(crate) struct Everywhere {
    name: String,
    client: Client,
    returning: Client,
    idle: Session,
    busy: (Session, Option<Pending>),
    streams: Frames,
    next_stream: u32,
    tunnel: Raw,
}

impl Everywhere {
    /// Opens one connection of each kind.
    pub(crate) async fn open(scene: &Scene, name: String, client: Client) -> Self {
        let public = scene.proxy.public();
        let returning = client.clone().resuming();
        assert!(!visits(&returning, &scene.proxy).await);
        let mut idle = client.connect(public).await.unwrap();
        assert_eq!(idle.send(get("/idle")).await.unwrap().status, 200);
        let mut busy = client.connect(public).await.unwrap();
        let held = format!("/held/{name}");
        let pending: Pending = Box::pin(busy.begin(get(&held)).await);
        let mut streams = Frames::begin(client.clone().h2().raw(public).await, 1 << 16).await;
        streams.get(1, &held).await;
        let path = format!("/tunnel/{name}");
        let tunnel = tunnel(&client, &scene.proxy, &path).await;
        eventually("the requests in flight", || {
            (scene.arrived(&held) == 2).then_some(())
        })
        .await;
        Self {
            name,
            client,
            returning,
            idle,
            busy: (busy, Some(pending)),
            streams,
            next_stream: 3,
            tunnel,
        }
    }

    /// It is withdrawn: nothing begins any more, whatever way it comes in.
    pub(crate) async fn are_told(&mut self, scene: &Scene, expected: Expected) {
        let (proxy, public) = (&scene.proxy, scene.proxy.public());
        eventually("the end of the idle connection", || {
            self.idle.is_closed().then_some(())
        })
        .await;
        let ping = self.goodbye().await;
        // Begun before the client could know: refused, and not merely dropped.
        let late = format!("/late/{}", self.name);
        assert!(!self.ask(&late).await, "{late}");
        let line = proxy.access_line(&late).await;
        assert_eq!(line["status"], 403, "{line}");
        assert_eq!(line["fault"], "downstream/policy/withdrawn", "{line}");
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains(expected.words), "{line}");
        self.streams.pong(&ping).await;
        assert_eq!(self.next_of_kind(GOAWAY).await, Some(()));
        self.begin("/too-late").await;
        for client in [&self.client, &self.returning] {
            assert_eq!(client.refusal(public).await.alert(), expected.alert);
        }
        for path in [&late, "/too-late"] {
            assert_eq!(scene.arrived(path), 0, "{path}");
        }
    }

    /// What was in flight is finished, and then the connections end.
    pub(crate) async fn finish(&mut self, scene: &Scene, begun: Instant) {
        let pending = self.busy.1.take().unwrap();
        let answer = pending.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["connection"], "close");
        drop(answer);
        eventually("the end of the busy connection", || {
            self.busy.0.is_closed().then_some(())
        })
        .await;
        let content = self.streams.next_data().await;
        assert_eq!((content.stream, &*content.payload), (1, &b"hello"[..]));
        while let Some(frame) = self.streams.next().await {
            assert!(frame.stream <= 3, "an answer after the goodbye: {frame:?}");
        }
        assert_eq!(scene.arrived("/too-late"), 0);
        assert_eq!(self.tunnel.read_to_end().await, "");
        assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
        let path = format!("/tunnel/{}", self.name);
        let line = scene.proxy.access_line(&path).await;
        assert_eq!(line["status"], 101, "{line}");
    }

    /// It stays: every connection is still there, and so is the session.
    pub(crate) async fn go_on(&mut self, scene: &Scene) {
        let answer = self.idle.send(get("/again")).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), None);
        assert!(self.ask("/again").await);
        echoes(&mut self.tunnel).await;
        assert!(visits(&self.returning, &scene.proxy).await, "resumes");
    }

    /// What was in flight is finished, and more follows.
    pub(crate) async fn finish_and_go_on(&mut self, scene: &Scene) {
        let answer = self.busy.1.take().unwrap().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers().get("connection"), None);
        drop(answer);
        let answer = self.busy.0.send(get("/again")).await.unwrap();
        assert_eq!(answer.status, 200);
        self.go_on(scene).await;
    }

    /// Reads up to the first GOAWAY and the ping that comes with it, and
    /// returns the ping unanswered.
    async fn goodbye(&mut self) -> super::frames::Frame {
        let mut told = false;
        loop {
            let frame = self.streams.next().await.expect("a GOAWAY");
            told |= frame.kind == GOAWAY;
            if told && frame.is_ping() {
                return frame;
            }
        }
    }

    async fn next_of_kind(&mut self, kind: u8) -> Option<()> {
        while let Some(frame) = self.streams.next().await {
            if frame.kind == kind {
                return Some(());
            }
        }
        None
    }

    /// Asks on a new stream, and returns whether that was granted.
    async fn ask(&mut self, path: &str) -> bool {
        let stream = self.begin(path).await;
        let mut granted = None;
        loop {
            let frame = self.streams.next().await.expect("an answer");
            if frame.stream == stream {
                granted = granted.or(frame.is_granted());
                if frame.ends_stream {
                    return granted.expect("a head");
                }
            }
        }
    }

    /// Asks on a new stream, and waits for nothing.
    async fn begin(&mut self, path: &str) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.streams.get(stream, path).await;
        stream
    }
}

/// Whether a visit on a connection of its own resumes a session.
async fn visits(client: &Client, proxy: &Proxy) -> bool {
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.send(get("/visit")).await.unwrap().status, 200);
    session.tls().resumed
}

/// A connection that has changed its protocol, and carries what is said back.
pub(crate) async fn tunnel(client: &Client, proxy: &Proxy, path: &str) -> Raw {
    let mut tunnel = client.raw(proxy.public()).await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n");
    tunnel
        .write(head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(tunnel.read_head().await.status, 101);
    echoes(&mut tunnel).await;
    tunnel
}

async fn echoes(tunnel: &mut Raw) {
    tunnel.write("echo").await;
    assert_eq!(tunnel.read_exactly(4).await, "echo");
}
