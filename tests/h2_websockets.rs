//! WebSockets that come over HTTP/2 (RFC 8441): to an HTTP/1.1 service they are
//! those of HTTP/1.1, and to everybody else requests like all others.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;

use crate::support::client::Client;
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, SETTINGS, literal,
};
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// `:status: 200` of the static table (RFC 7541 appendix A).
pub(crate) const OK: u8 = 0x88;

/// The answer of a service that speaks WebSocket.
fn accepts(received: &Received) -> Reply {
    let key = received.header("sec-websocket-key").unwrap_or_default();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
    Reply::upgrade().header("sec-websocket-accept", &accept)
}

async fn service() -> Upstream {
    Upstream::answering(|received| match received.path.as_str() {
        "/chat" => accepts(received),
        "/forged" => {
            Reply::upgrade().header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        }
        "/unable" => Reply::ok("what?"),
        "/refused" => Reply::ok("no").status(403),
        _ => Reply::ok("hello"),
    })
    .await
}

pub(crate) async fn caller(client: &Client, proxy: &Proxy) -> Frames {
    let raw = client.clone().h2().raw(proxy.public()).await;
    Frames::begin(raw, 65_535).await
}

/// Asks for a WebSocket at a path.
pub(crate) async fn connect(frames: &mut Frames, stream: u32, path: &str, protocol: &str) {
    let head = literal(&[
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":authority", "proxy.test"),
        (":path", path),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ]);
    frames.send(HEADERS, END_HEADERS, stream, &head).await;
}

/// The next frame of a stream of this kind.
pub(crate) async fn next(frames: &mut Frames, stream: u32, kind: u8) -> Frame {
    loop {
        let frame = frames.next().await.expect("the connection goes on");
        if (frame.stream, frame.kind) == (stream, kind) {
            return frame;
        }
    }
}

pub(crate) async fn echoes(frames: &mut Frames, stream: u32) {
    frames.send(DATA, 0, stream, b"echo").await;
    assert_eq!(next(frames, stream, DATA).await.payload, b"echo");
}

#[tokio::test]
async fn websocket_goes_up_over_http1_and_other_requests_go_on_beside_it() {
    let (pki, upstream) = (Pki::new(), service().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut frames = caller(&client, &proxy).await;
    // SETTINGS_ENABLE_CONNECT_PROTOCOL = 1.
    let settings = next(&mut frames, 0, SETTINGS).await;
    assert!(
        settings
            .payload
            .chunks(6)
            .any(|one| one == [0, 8, 0, 0, 0, 1])
    );
    for stream in [1, 5] {
        connect(&mut frames, stream, "/chat", "websocket").await;
        let head = next(&mut frames, stream, HEADERS).await;
        assert_eq!(head.payload[0], OK, "{head:?}");
        assert!(!head.ends_stream);
        frames.get(stream + 2, "/beside").await;
        next(&mut frames, stream + 2, HEADERS).await;
        echoes(&mut frames, 1).await;
        echoes(&mut frames, stream).await;
    }
    frames.send(DATA, END_STREAM, 1, b"bye").await;
    assert_eq!(next(&mut frames, 1, DATA).await.payload, b"bye");
    assert!(next(&mut frames, 1, DATA).await.ends_stream);
    echoes(&mut frames, 5).await;

    let requests = upstream.requests();
    let request = requests.iter().find(|it| it.path == "/chat").unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(request.values("upgrade"), ["websocket"]);
    assert_eq!(request.values("sec-websocket-protocol"), ["chat"]);
    assert_eq!(request.values("sec-websocket-key").len(), 1);
    let others: Vec<_> = requests.iter().filter(|it| it.path == "/chat").collect();
    assert_ne!(
        others[0].header("sec-websocket-key"),
        others[1].header("sec-websocket-key")
    );
    let line = proxy.access_line("/chat").await;
    assert_eq!(
        (&line["method"], &line["status"]),
        (&"CONNECT".into(), &200.into())
    );
    assert_eq!(line["bytes_received"], 3 * 4 + 3, "{line}");
    assert!(line["fault"].is_null(), "{line}");
}

#[tokio::test]
async fn websocket_that_policy_or_the_service_refuses_is_none() {
    let (pki, upstream) = (Pki::new(), service().await);
    let proxy = Setup::new(&pki, &upstream)
        .with(
            "routes = [
                { path = '/private', upstream = 'orders', allow = [{ uri = 'spiffe://other/*' }] },
                { path = '/', upstream = 'orders' },
            ]",
        )
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut frames = caller(&client, &proxy).await;
    for (stream, path, protocol, status) in [
        (1, "/private", "websocket", 403),
        (3, "/forged", "websocket", 502),
        (5, "/unable", "websocket", 502),
        (7, "/refused", "websocket", 403),
        (9, "/other", "connect-udp", 501),
        (11, "/..", "websocket", 400),
    ] {
        connect(&mut frames, stream, path, protocol).await;
        let head = next(&mut frames, stream, HEADERS).await;
        assert_ne!(head.payload[0], OK, "{path}");
        let line = proxy.access_line(path).await;
        assert_eq!(line["status"], status, "{line}");
    }
    let paths: Vec<_> = upstream.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/forged", "/unable", "/refused"]);
    connect(&mut frames, 13, "/chat", "websocket").await;
    next(&mut frames, 13, HEADERS).await;
    echoes(&mut frames, 13).await;
}

#[tokio::test]
async fn websocket_to_an_upstream_of_http10_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'http/1.0'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut frames = caller(&client, &proxy).await;
    connect(&mut frames, 1, "/chat", "websocket").await;
    next(&mut frames, 1, HEADERS).await;
    let line = proxy.access_line("/chat").await;
    assert_eq!(line["status"], 501, "{line}");
}

#[tokio::test]
async fn websockets_of_a_peer_that_is_trusted_no_more_end_and_others_go_on() {
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let upstream = service().await;
    let setup = Setup::new(&pki, &upstream);
    let folder = setup.path("ca");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(setup.path("clients.pem"), folder.join("clients.pem")).unwrap();
    let proxy = setup
        .file("ca/partners.pem", &partners.pem())
        .with(
            "trust.clients = { ca = ['ca/'], on_withdrawal = 'drain', withdrawal_grace = '500ms' }",
        )
        .start()
        .await;
    let leaf = partners.leaf().client().uri(CLIENT_URI).issue();
    let client = Client::new(&pki);
    let mut leaving = caller(&client.clone().presenting(&leaf), &proxy).await;
    let mut staying = caller(&client.presenting(&pki.client()), &proxy).await;
    for frames in [&mut leaving, &mut staying] {
        connect(frames, 1, "/chat", "websocket").await;
        next(frames, 1, HEADERS).await;
        echoes(frames, 1).await;
    }
    std::fs::remove_file(proxy.path("ca/partners.pem")).unwrap();
    proxy.in_force(2).await;
    leaving.goodbye().await;
    let line = proxy
        .access_line_where(|line| line["path"] == "/chat")
        .await;
    assert_eq!(line["fault"], "proxy/response_body/cut", "{line}");
    echoes(&mut staying, 1).await;
}

#[tokio::test]
async fn websocket_ends_with_the_drain_and_not_with_idle_time() {
    let (pki, upstream) = (Pki::new(), service().await);
    let mut proxy = Setup::new(&pki, &upstream)
        .with("server.drain_timeout = '500ms'")
        .with("listeners.public.limits = { idle_timeout = '500ms', body_timeout = '500ms' }")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut frames = caller(&client, &proxy).await;
    let mut idle = caller(&client, &proxy).await;
    connect(&mut frames, 1, "/chat", "websocket").await;
    next(&mut frames, 1, HEADERS).await;
    idle.get(1, "/").await;
    // The time is measured by a connection that has none.
    idle.goodbye().await;
    echoes(&mut frames, 1).await;
    proxy.terminate();
    frames.goodbye().await;
    // It had to be cut.
    assert_eq!(proxy.exit_code().await, Some(3));
}
