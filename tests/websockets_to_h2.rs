//! WebSockets to HTTP/2 services (RFC 8441), from callers over HTTP/1.1 and over
//! HTTP/2: they go up as extended CONNECT where the service says that it takes
//! that, and are refused where it does not.

use std::time::Duration;

use http::Version;
use serde_json::Value;

use crate::h2_websockets::{OK, caller, connect, echoes, next};
use crate::support::client::Client;
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, SETTINGS,
};
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Builder, Reply, Upstream};

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What a service says that takes extended CONNECT (RFC 8441 §3).
const ENABLED: [u8; 6] = [0, 8, 0, 0, 0, 1];
const H2: &str = "upstreams.orders.protocol = 'h2'";

/// An upgrade as clients ask for it, with these fields beside.
fn upgrade(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

fn keyed(path: &str) -> String {
    upgrade("GET", path, &format!("Sec-WebSocket-Key: {KEY}\r\n"))
}

fn service() -> Builder {
    Upstream::build(|received| match received.path.as_str() {
        "/chat" if received.protocol.is_some() => Reply::upgrade()
            .header("sec-websocket-protocol", "chat")
            .header("sec-websocket-accept", "forged"),
        "/refused" => Reply::ok("no").status(403).at_once(),
        "/other" => Reply::ok("").status(204).at_once(),
        _ => Reply::ok("hello"),
    })
}

/// A caller over HTTP/1.1 and one over HTTP/2, before a service.
struct Pair {
    proxy: Proxy,
    upstream: Upstream,
    raw: Raw,
    frames: Frames,
}

impl Pair {
    async fn before(upstream: Upstream, more: &str) -> Self {
        let pki = Pki::new();
        let setup = Setup::new(&pki, &upstream).with(H2).with(more);
        let proxy = setup.start().await;
        let client = Client::new(&pki).presenting(&pki.client());
        Self {
            raw: client.raw(proxy.public()).await,
            frames: caller(&client, &proxy).await,
            proxy,
            upstream,
        }
    }

    async fn begin(&mut self) {
        self.raw.write(keyed("/chat")).await;
        assert_eq!(self.raw.read_head().await.status, 101);
        connect(&mut self.frames, 1, "/chat", "websocket").await;
        let head = next(&mut self.frames, 1, HEADERS).await;
        assert_eq!(head.payload[0], OK, "{head:?}");
        self.echo().await;
    }

    async fn echo(&mut self) {
        self.raw.write("echo").await;
        assert_eq!(self.raw.read_exactly(4).await, "echo");
        echoes(&mut self.frames, 1).await;
    }

    /// The lines of both WebSockets: first of the one whose version this is.
    async fn line(&self, path: &str, version: &str) -> Value {
        let fits = |line: &Value| line["path"] == path && line["protocol"] == version;
        self.proxy.access_line_where(fits).await
    }

    async fn lines(&self, path: &str) -> [Value; 2] {
        [
            self.line(path, "HTTP/1.1").await,
            self.line(path, "HTTP/2").await,
        ]
    }
}

#[tokio::test]
async fn websockets_of_both_kinds_of_callers_go_up_as_extended_connect_on_one_connection() {
    let upstream = service().extended_connect().start().await;
    let mut pair = Pair::before(upstream, "server.workers = 1").await;
    pair.raw.write(keyed("/chat")).await;
    let head = pair.raw.read_head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.values("upgrade"), ["websocket"]);
    assert_eq!(head.values("connection"), ["upgrade"]);
    assert_eq!(head.values("sec-websocket-accept"), [ACCEPT]);
    assert_eq!(head.values("sec-websocket-protocol"), ["chat"]);
    assert!(head.values("content-length").is_empty());
    connect(&mut pair.frames, 1, "/chat", "websocket").await;
    let head = next(&mut pair.frames, 1, HEADERS).await;
    assert_eq!(head.payload[0], OK, "{head:?}");
    assert!(!head.ends_stream);
    pair.frames.get(3, "/beside").await;
    next(&mut pair.frames, 3, HEADERS).await;
    pair.echo().await;

    for request in pair.upstream.received(2).await.iter().take(2) {
        assert_eq!(request.method, "CONNECT");
        assert_eq!(request.version, Version::HTTP_2);
        assert_eq!(request.protocol.as_deref(), Some("websocket"));
        assert_eq!(request.path, "/chat");
        assert_eq!(request.authority, "proxy.test");
        assert_eq!(request.header("sec-websocket-version"), Some("13"));
        for name in ["host", "upgrade", "connection", "sec-websocket-key"] {
            assert!(request.values(name).is_empty(), "{request:?}");
        }
        let identity = request.header("x-forwarded-client-cert").unwrap();
        assert!(identity.contains(CLIENT_URI), "{identity}");
    }
    assert_eq!(pair.upstream.connections(), 1);

    pair.raw.finish().await;
    assert_eq!(pair.raw.read_to_end().await, "");
    pair.frames.send(DATA, END_STREAM, 1, b"bye").await;
    assert_eq!(next(&mut pair.frames, 1, DATA).await.payload, b"bye");
    let expected = [("GET", 101, 4), ("CONNECT", 200, 7)];
    for (line, (method, status, bytes)) in pair.lines("/chat").await.iter().zip(expected) {
        assert_eq!(line["method"], method, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["bytes_received"], bytes, "{line}");
        assert!(line["fault"].is_null(), "{line}");
    }
}

#[tokio::test]
async fn websocket_to_a_service_that_does_not_take_extended_connect_is_refused_and_others_are_served()
 {
    let upstream = service().h2().start().await;
    let mut pair = Pair::before(upstream, "").await;
    pair.raw.write(keyed("/chat")).await;
    assert_eq!(pair.raw.read_response().await.status, 501);
    connect(&mut pair.frames, 1, "/chat", "websocket").await;
    assert_ne!(next(&mut pair.frames, 1, HEADERS).await.payload[0], OK);
    for line in pair.lines("/chat").await {
        assert_eq!(line["status"], 501, "{line}");
        assert_eq!(line["fault"], "proxy/outbound/method_not_served", "{line}");
        let remedy = line["remedy"].as_str().unwrap();
        assert!(remedy.contains("upstreams.orders"), "{remedy}");
    }
    assert!(pair.upstream.requests().is_empty());
    pair.raw
        .write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(pair.raw.read_response().await.body, "hello");
    pair.frames.get(3, "/").await;
    assert_eq!(next(&mut pair.frames, 3, HEADERS).await.payload[0], OK);
}

#[tokio::test]
async fn answer_that_is_no_tunnel_is_passed_on_if_it_refuses_and_else_is_502() {
    let upstream = service().extended_connect().start().await;
    let mut pair = Pair::before(upstream, "").await;
    for (stream, path, status) in [(1, "/refused", 403), (3, "/other", 502)] {
        pair.raw.write(keyed(path)).await;
        let answer = pair.raw.read_response().await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.values("sec-websocket-accept").is_empty());
        connect(&mut pair.frames, stream, path, "websocket").await;
        next(&mut pair.frames, stream, HEADERS).await;
        for line in pair.lines(path).await {
            assert_eq!(line["status"], status, "{line}");
        }
    }
}

#[tokio::test]
async fn upgrade_without_one_right_key_is_refused_and_one_with_content_is_an_ordinary_request() {
    let pki = Pki::new();
    let upstream = service().extended_connect().start().await;
    let proxy = Setup::new(&pki, &upstream).with(H2).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let twice = format!("Sec-WebSocket-Key: {KEY}\r\n").repeat(2);
    for fields in ["", "Sec-WebSocket-Key: AAAA\r\n", &twice] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(upgrade("GET", "/chat", fields)).await;
        assert_eq!(raw.read_response().await.status, 400, "{fields}");
    }
    assert!(upstream.requests().is_empty());
    let body = format!("Sec-WebSocket-Key: {KEY}\r\nContent-Length: 2\r\n");
    let mut raw = client.raw(proxy.public()).await;
    raw.write(upgrade("POST", "/ordinary", &body) + "hi").await;
    assert_eq!(raw.read_response().await.body, "hello");
    let request = upstream.only_request();
    assert_eq!(
        (request.method.as_str(), &*request.body),
        ("POST", &b"hi"[..])
    );
    assert_eq!(request.protocol, None);
}

#[tokio::test]
async fn websocket_that_policy_denies_never_goes_up() {
    let upstream = Upstream::unreachable().await;
    let mut pair = Pair::before(
        upstream,
        "routes = [{ path = '/', upstream = 'orders', allow = [{ uri = 'spiffe://other/*' }] }]",
    )
    .await;
    pair.raw.write(keyed("/chat")).await;
    assert_eq!(pair.raw.read_response().await.status, 403);
    connect(&mut pair.frames, 1, "/chat", "websocket").await;
    let head = next(&mut pair.frames, 1, HEADERS).await;
    assert_eq!(head.is_granted(), Some(false));
}

/// A service by hand that says its settings late. The first connection refuses
/// the streams of it.
async fn late(raw: Raw, number: usize) {
    let frames = Frames::accept_silently(raw).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    by_hand(frames, number == 0).await;
}

/// Takes every stream, or none, and echoes what comes on it. It hangs up when a
/// stream ends.
async fn by_hand(mut frames: Frames, refuses: bool) {
    frames.send(SETTINGS, 0, 0, &ENABLED).await;
    while let Some(frame) = frames.next().await {
        match frame.kind {
            SETTINGS if frame.length > 0 => frames.send(SETTINGS, ACK, 0, &[]).await,
            HEADERS if refuses => frames.refuse(frame.stream).await,
            HEADERS => {
                frames.send(HEADERS, END_HEADERS, frame.stream, &[OK]).await;
            }
            DATA if frame.ends_stream => return,
            DATA => frames.send(DATA, 0, frame.stream, &frame.payload).await,
            RST_STREAM => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn settings_that_come_late_are_waited_for_and_what_was_not_processed_is_sent_again() {
    let upstream = Upstream::scripted(late).await;
    let mut pair = Pair::before(upstream, "server.workers = 1").await;
    pair.begin().await;
    assert_eq!(pair.upstream.connections(), 2);
}

#[tokio::test]
async fn silent_websockets_end_after_their_time() {
    let upstream = service().extended_connect().start().await;
    let idle = "listeners.public.limits.tunnel_idle_timeout = '1s'";
    let mut pair = Pair::before(upstream, idle).await;
    pair.begin().await;
    assert_eq!(pair.raw.read_to_end().await, "");
    for line in pair.lines("/chat").await {
        assert_eq!(line["fault"], "proxy/response_body/tunnel_idle", "{line}");
    }
}

#[tokio::test]
async fn websockets_that_the_service_breaks_off_are_its_fault() {
    let upstream = service().extended_connect().start().await;
    let mut pair = Pair::before(upstream, "").await;
    pair.begin().await;
    pair.upstream.hang_up().await;
    for line in pair.lines("/chat").await {
        assert_eq!(
            line["fault"], "upstream/response_body/upstream_lost",
            "{line}"
        );
    }
}

#[tokio::test]
async fn websockets_end_with_the_drain() {
    let upstream = service().extended_connect().start().await;
    let mut pair = Pair::before(upstream, "server.drain_timeout = '500ms'").await;
    pair.begin().await;
    pair.proxy.terminate();
    pair.frames.goodbye().await;
    assert_eq!(pair.proxy.exit_code().await, Some(3));
}

#[tokio::test]
async fn websocket_of_a_peer_that_is_trusted_no_more_ends_at_the_service_too() {
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let upstream = Upstream::scripted(|raw, _| async move {
        by_hand(Frames::accept_silently(raw).await, false).await;
    })
    .await;
    let setup = Setup::new(&pki, &upstream).with(H2);
    let folder = setup.path("ca");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(setup.path("clients.pem"), folder.join("clients.pem")).unwrap();
    let proxy = setup
        .file("ca/partners.pem", &partners.pem())
        .with("trust.clients = { ca = ['ca/'], on_withdrawal = 'cut' }")
        .start()
        .await;
    let leaf = partners.leaf().client().uri(CLIENT_URI).issue();
    let mut raw = Client::new(&pki)
        .presenting(&leaf)
        .raw(proxy.public())
        .await;
    raw.write(keyed("/chat")).await;
    assert_eq!(raw.read_head().await.status, 101);
    std::fs::remove_file(proxy.path("ca/partners.pem")).unwrap();
    proxy.in_force(2).await;
    let line = proxy.access_line("/chat").await;
    assert_eq!(line["fault"], "proxy/response_body/cut", "{line}");
    upstream.connections_ended().await;
}
