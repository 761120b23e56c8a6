//! What happens to a request on its way up and to a response on its way down.

use std::time::Duration;

use http::{HeaderMap, Method};

use crate::support::body::Body;
use crate::support::client::{Client, Session, get, next_piece, post, request, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Gate, Reply, Upstream};

/// The baseline, running: a caller with a certificate, a proxy, an upstream.
struct Scene {
    client: Client,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    async fn with(upstream: Upstream) -> Self {
        Self::configured(upstream, "").await
    }

    async fn configured(upstream: Upstream, toml: &str) -> Self {
        let pki = Pki::new();
        let proxy = Setup::new(&pki, &upstream).with(toml).start().await;
        Self {
            client: Client::new(&pki).presenting(&pki.client()),
            proxy,
            upstream,
        }
    }

    /// With an upstream that speaks HTTP/2 by prior knowledge.
    async fn over_h2(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        let upstream = Upstream::build(move |_| reply()).h2().start().await;
        Self::configured(upstream, "upstreams.orders.protocol = 'h2'").await
    }

    async fn connect(&self) -> Session {
        self.client.connect(self.proxy.public()).await.unwrap()
    }

    async fn connect_h2(&self) -> Session {
        self.client
            .clone()
            .h2()
            .connect(self.proxy.public())
            .await
            .unwrap()
    }

    async fn raw(&self) -> Raw {
        self.client.raw(self.proxy.public()).await
    }
}

#[tokio::test]
async fn method_path_query_fields_and_content_arrive_as_they_were_sent() {
    let raw = "listeners.public.path = 'raw'";
    let scene = Scene::configured(Upstream::start().await, raw).await;
    let path = "/a%2Fb/%C3%BC//c?x=%20&&y=[1]&empty=";
    let sent = request(Method::PATCH, path, Body::full("content"));
    let sent = with(with(sent, "x-twice", "one"), "x-twice", "two");
    scene
        .connect()
        .await
        .send(with(sent, "cookie", "a=1; b=2"))
        .await
        .unwrap();
    let received = scene.upstream.only_request();
    assert_eq!(
        (received.method.as_str(), received.path.as_str()),
        ("PATCH", path)
    );
    assert_eq!(received.values("x-twice"), ["one", "two"]);
    assert_eq!(received.header("cookie"), Some("a=1; b=2"));
    assert_eq!(received.header("content-length"), Some("7"));
    assert_eq!(received.body, "content");
}

#[tokio::test]
async fn status_fields_and_content_come_back_as_they_were_answered() {
    let reply = |_: &_| {
        Reply::ok("gone")
            .status(410)
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
    };
    let scene = Scene::with(Upstream::answering(reply).await).await;
    for client in scene.client.in_both_protocols() {
        let answer = client.get(scene.proxy.public(), "/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (410, "gone"));
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        let h2 = answer.version == http::Version::HTTP_2;
        assert_eq!(h2, client.speaks_h2());
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_over_http1() {
    let scene = Scene::with(Upstream::answering(|_| Reply::echo()).await).await;
    streams(scene.connect().await).await;
}

#[tokio::test]
async fn bodies_stream_both_ways_over_http2() {
    let scene = Scene::over_h2(Reply::echo).await;
    streams(scene.connect_h2().await).await;
}

#[tokio::test]
async fn bodies_stream_both_ways_from_http2_to_http1() {
    let scene = Scene::with(Upstream::answering(|_| Reply::echo()).await).await;
    streams(scene.connect_h2().await).await;
}

/// Each piece comes back before the next one is sent: nobody gathers anything.
async fn streams(mut session: Session) {
    let (writer, body) = Body::streaming();
    writer.piece("0");
    let (answer, mut echoed) = session.open(post("/", body)).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(next_piece(&mut echoed).await.unwrap(), "0");
    for number in 1..5 {
        writer.piece(number.to_string());
        assert_eq!(next_piece(&mut echoed).await.unwrap(), number.to_string());
    }
    drop(writer);
    assert_eq!(next_piece(&mut echoed).await, None);
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let scene = Scene::with(Upstream::answering(|_| Reply::echo()).await).await;
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| number.to_le_bytes()[number as usize % 3])
        .collect();
    for client in scene.client.in_both_protocols() {
        let answer = client
            .send(scene.proxy.public(), post("/", Body::full(content.clone())))
            .await
            .unwrap();
        assert!(
            answer.body == content,
            "{} of {} bytes",
            answer.body.len(),
            content.len()
        );
    }
    let line = scene.proxy.access_line("/").await;
    assert_eq!(line["bytes_received"], 3_000_000, "{line}");
    assert_eq!(line["bytes_sent"], 3_000_000, "{line}");
}

#[tokio::test]
async fn trailers_pass_both_ways_over_http2() {
    let scene = Scene::over_h2(Reply::echo).await;
    let mut session = scene.connect_h2().await;
    let (writer, body) = Body::streaming();
    writer.piece("content");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().unwrap());
    writer.trailers(trailers);
    let answer = session
        .send(with(post("/", body), "te", "trailers"))
        .await
        .unwrap();
    assert_eq!(answer.text(), "content");
    assert_eq!(answer.trailers.get("x-checksum").unwrap(), "42");
}

#[tokio::test]
async fn announced_trailers_pass_from_http1_to_http1() {
    let scene = Scene::with(Upstream::start().await).await;
    let mut raw = scene.raw().await;
    raw.write(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Checksum: 42\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    assert_eq!(
        scene
            .upstream
            .only_request()
            .trailers
            .get("x-checksum")
            .unwrap(),
        "42"
    );
}

#[tokio::test]
async fn grpc_call_passes_with_te_and_status_in_the_trailers() {
    let reply = || {
        let (writer, body) = Body::streaming();
        writer.piece("reply");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        writer.trailers(trailers);
        Reply::body(body).header("content-type", "application/grpc")
    };
    let scene = Scene::over_h2(reply).await;
    let call = with(
        post("/orders.Orders/List", Body::full("call")),
        "content-type",
        "application/grpc",
    );
    let answer = scene
        .connect_h2()
        .await
        .send(with(call, "te", "trailers"))
        .await
        .unwrap();
    assert_eq!(answer.trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(scene.upstream.only_request().header("te"), Some("trailers"));
}

#[tokio::test]
async fn expectation_is_met_before_the_content_is_sent() {
    let scene = Scene::with(Upstream::start().await).await;
    let mut raw = scene.raw().await;
    raw.write(
        "PUT / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 100);
    raw.write("content").await;
    assert_eq!(raw.read_response().await.status, 200);
    assert_eq!(scene.upstream.only_request().body, "content");
}

#[tokio::test]
async fn expectation_that_the_upstream_refuses_gets_its_answer() {
    let upstream = Upstream::answering(|_| Reply::ok("no").status(413).at_once()).await;
    let scene = Scene::with(upstream).await;
    let mut raw = scene.raw().await;
    raw.write(
        "PUT / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    let mut answer = raw.read_response().await;
    if answer.status == 100 {
        answer = raw.read_response().await;
    }
    assert_eq!((answer.status, answer.body.as_str()), (413, "no"));
}

#[tokio::test]
async fn answer_that_comes_before_the_end_of_the_request_is_passed_on() {
    let upstream = Upstream::answering(|_| Reply::ok("enough").status(403).at_once()).await;
    let scene = Scene::with(upstream).await;
    for client in scene.client.in_both_protocols() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        writer.piece("first");
        let answer = session.send(post("/", body)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (403, "enough"));
    }
}

#[tokio::test]
async fn head_is_answered_with_the_length_and_without_the_content() {
    let scene = Scene::with(Upstream::start().await).await;
    let mut raw = scene.raw().await;
    raw.write("HEAD / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let answer = raw.read_head().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.values("content-length"), ["5"]);
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(
        raw.read_response().await.body,
        "hello",
        "the next answer begins at once"
    );
    assert_eq!(scene.upstream.requests()[0].method, Method::HEAD);
}

#[tokio::test]
async fn early_hints_do_not_stand_for_the_answer() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            .await;
        raw.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        raw.read_to_end().await;
    })
    .await;
    let scene = Scene::with(upstream).await;
    for client in scene.client.in_both_protocols() {
        let answer = client.get(scene.proxy.public(), "/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    }
}

#[tokio::test]
async fn answers_without_content_end_with_their_head() {
    for status in [204, 304] {
        let scene =
            Scene::with(Upstream::answering(move |_| Reply::ok("").status(status)).await).await;
        let mut session = scene.connect().await;
        for _ in 0..2 {
            assert_eq!(
                session.send(get("/")).await.unwrap().status.as_u16(),
                status
            );
        }
    }
}

#[tokio::test]
async fn websocket_upgrade_passes_through() {
    let scene = Scene::with(Upstream::answering(|_| Reply::upgrade()).await).await;
    let mut raw = scene.raw().await;
    raw.write(
        "GET /chat HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.values("upgrade"), ["websocket"]);
    for message in ["ping", "pong", "\u{0}\u{1}binary"] {
        raw.write(message).await;
        assert_eq!(raw.read_exactly(message.len()).await, message);
    }
    let received = scene.upstream.only_request();
    assert_eq!(received.header("upgrade"), Some("websocket"));
    assert_eq!(
        received.header("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert!(received.header("x-forwarded-client-cert").is_some());
    raw.finish().await;
    assert_eq!(raw.read_to_end().await, "");
    assert_eq!(scene.proxy.access_line("/chat").await["status"], 101);
}

#[tokio::test]
async fn websocket_is_cut_when_the_certificate_of_its_client_expires() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| Reply::upgrade()).await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let leaf = pki
        .root()
        .leaf()
        .client()
        .uri("spiffe://clients.test/brief");
    let leaf = leaf.expiring_in(Duration::from_secs(6)).issue();
    let client = Client::new(&pki).presenting(&leaf);
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET /chat HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 101);
    raw.read_to_end().await;
    let line = proxy.access_line("/chat").await;
    assert_eq!(line["fault"], "proxy/response_body/cut", "{line}");
    assert!(
        line["cause"].as_str().unwrap().contains("expired"),
        "{line}"
    );
}

#[tokio::test]
async fn tunnel_that_the_upstream_half_closes_still_carries_what_the_client_sends() {
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut raw, _| {
        let heard = heard.clone();
        async move {
            raw.read_until("\r\n\r\n").await;
            raw.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await;
            raw.read_until("begun").await;
            raw.finish().await;
            heard.send(raw.read_to_end().await).unwrap();
        }
    })
    .await;
    let scene = Scene::with(upstream).await;
    let mut raw = scene.client.raw(scene.proxy.public()).await;
    raw.write(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_head().await.status, 101);
    // To an HTTP/1.1 server this would be a head that is not complete.
    raw.write("begun").await;
    assert_eq!(raw.read_to_end().await, "");
    raw.write("and ended").await;
    raw.finish().await;
    assert_eq!(told.recv().await.unwrap(), "and ended");
}

#[tokio::test]
async fn upgrade_to_another_protocol_than_was_asked_for_is_refused() {
    for named in ["Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n", ""] {
        let upstream = Upstream::scripted(move |mut raw, _| async move {
            raw.read_until("\r\n\r\n").await;
            raw.write(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{named}\r\n"
            ))
            .await;
            assert_eq!(raw.read_to_end().await, "", "{named}");
        })
        .await;
        let scene = Scene::with(upstream).await;
        let mut raw = scene.raw().await;
        raw.write(
            "GET /chat HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        assert_eq!(raw.read_response().await.status, 502, "{named}");
        let line = scene.proxy.access_line("/chat").await;
        assert_eq!(
            line["fault"], "upstream/response_head/upstream_malformed",
            "{line}"
        );
    }
}

#[tokio::test]
async fn upgrade_that_the_upstream_ignores_is_an_ordinary_answer() {
    let scene = Scene::with(Upstream::start().await).await;
    let mut raw = scene.raw().await;
    raw.write(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn hop_by_hop_fields_of_every_connection_line_stay_behind() {
    let scene = Scene::with(Upstream::start().await).await;
    let mut raw = scene.raw().await;
    raw.write(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: keep-alive, X-One\r\nX-One: 1\r\n\
         connection: x-two,,  x-three ,\r\nX-Two: 2\r\nX-Three: 3\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nX-Kept: yes\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let received = scene.upstream.only_request();
    let hop_by_hop = [
        "x-one",
        "x-two",
        "x-three",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ];
    for name in hop_by_hop {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert!(
        received
            .values("connection")
            .iter()
            .all(|value| *value == "keep-alive")
    );
    assert_eq!(received.header("x-kept"), Some("yes"));
}

#[tokio::test]
async fn hop_by_hop_fields_of_the_answer_stay_behind() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(
            "HTTP/1.1 200 OK\r\nConnection: X-Internal\r\nX-Internal: secret\r\nKeep-Alive: timeout=5\r\n\
             Connection: close\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok",
        )
        .await;
    })
    .await;
    let scene = Scene::with(upstream).await;
    for client in scene.client.in_both_protocols() {
        let answer = client.get(scene.proxy.public(), "/").await.unwrap();
        assert_eq!(
            (answer.header("x-internal"), answer.header("keep-alive")),
            (None, None)
        );
        assert_eq!(
            (answer.header("x-kept"), answer.text()),
            (Some("yes"), "ok")
        );
    }
}

#[tokio::test]
async fn host_is_kept_with_its_port() {
    let scene = Scene::with(Upstream::start().await).await;
    for client in scene.client.in_both_protocols() {
        let request = with(get("/"), "host", "proxy.test:8443");
        client.send(scene.proxy.public(), request).await.unwrap();
    }
    for received in scene.upstream.received(2).await {
        assert_eq!(received.header("host"), Some("proxy.test:8443"));
    }
}

#[tokio::test]
async fn forwarding_fields_of_a_caller_are_replaced() {
    let scene = Scene::with(Upstream::start().await).await;
    for client in scene.client.in_both_protocols() {
        client
            .send(scene.proxy.public(), claims_to_be_forwarded())
            .await
            .unwrap();
    }
    for received in scene.upstream.received(2).await {
        assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(received.header("x-forwarded-proto"), Some("https"));
        assert_eq!(received.header("x-forwarded-host"), Some("proxy.test"));
        let forwarded = received.header("forwarded").unwrap().to_lowercase();
        assert!(
            forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=https"),
            "{forwarded}"
        );
        let everything = format!("{:?}", received.headers);
        assert!(
            !everything.contains("192.0.2.1") && !everything.contains("evil.test"),
            "{everything}"
        );
    }
}

#[tokio::test]
async fn forwarding_fields_of_a_trusted_proxy_are_appended_to() {
    let trusted = "listeners.public.trusted_proxies = ['127.0.0.0/8']";
    let scene = Scene::configured(Upstream::start().await, trusted).await;
    scene
        .connect()
        .await
        .send(claims_to_be_forwarded())
        .await
        .unwrap();
    let received = scene.upstream.only_request();
    let addresses = received
        .values("x-forwarded-for")
        .join(", ")
        .replace(' ', "");
    assert_eq!(addresses, "192.0.2.1,127.0.0.1");
    let forwarded = received.values("forwarded").join(", ").to_lowercase();
    let (first, last) = (
        forwarded.find("for=192.0.2.1"),
        forwarded.find("for=127.0.0.1"),
    );
    assert!(first.is_some() && first < last, "{forwarded}");
}

fn claims_to_be_forwarded() -> http::Request<Body> {
    let request = with(get("/"), "x-forwarded-for", "192.0.2.1");
    let request = with(request, "x-forwarded-proto", "gopher");
    let request = with(request, "x-forwarded-host", "evil.test");
    with(request, "forwarded", "for=192.0.2.1;host=evil.test")
}

#[tokio::test]
async fn plaintext_listener_says_http_in_the_forwarding_fields() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .without("listeners.public.tls")
        .start()
        .await;
    Client::plaintext(&pki)
        .get(proxy.public(), "/")
        .await
        .unwrap();
    assert_eq!(
        upstream.only_request().header("x-forwarded-proto"),
        Some("http")
    );
}

#[tokio::test]
async fn connection_to_the_upstream_is_used_again() {
    let scene = Scene::configured(Upstream::start().await, "server.workers = 1").await;
    for client in scene.client.in_both_protocols() {
        client.get(scene.proxy.public(), "/").await.unwrap();
        client.get(scene.proxy.public(), "/").await.unwrap();
    }
    assert_eq!(
        (
            scene.upstream.requests().len(),
            scene.upstream.connections()
        ),
        (4, 1)
    );
}

#[tokio::test]
async fn request_on_a_connection_that_the_upstream_has_closed_is_served_on_another() {
    let scene = Scene::configured(Upstream::start().await, "server.workers = 1").await;
    let mut session = scene.connect().await;
    for _ in 0..5 {
        let answer = session
            .send(post("/", Body::full("content")))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        scene.upstream.hang_up().await;
    }
    assert_eq!(scene.upstream.requests().len(), 5, "nothing is sent twice");
}

#[tokio::test]
async fn request_that_meets_the_closing_of_a_pooled_connection_is_sent_again() {
    // The first connection answers once, and closes when the second request comes.
    let upstream = Upstream::scripted(|mut raw, number| async move {
        loop {
            raw.read_until("\r\n\r\n").await;
            raw.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            ))
            .await;
            if number == 0 {
                raw.read_until("\r\n").await;
                return;
            }
        }
    })
    .await;
    let scene = Scene::configured(upstream, "server.workers = 1").await;
    let mut session = scene.connect().await;
    assert_eq!(session.send(get("/")).await.unwrap().text(), "0");
    let again = session.send(get("/")).await.unwrap();
    assert_eq!((again.status.as_u16(), again.text()), (200, "1"));
}

#[tokio::test]
async fn post_that_may_have_been_processed_is_not_sent_again() {
    let upstream = Upstream::scripted(|mut raw, number| async move {
        assert_eq!(number, 0, "a second connection");
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")
            .await;
        // The head of the next one is read, so it may have had an effect.
        raw.read_until("\r\n\r\n").await;
    })
    .await;
    let scene = Scene::configured(upstream, "server.workers = 1").await;
    let mut session = scene.connect().await;
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    assert_eq!(
        session
            .send(post("/", Body::full("pay")))
            .await
            .unwrap()
            .status,
        502
    );
    assert_eq!(scene.upstream.connections(), 1);
}

#[tokio::test]
async fn response_that_breaks_off_is_not_passed_for_whole() {
    for framing in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = Upstream::scripted(move |mut raw, _| async move {
            raw.read_until("\r\n\r\n").await;
            raw.write(format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        })
        .await;
        let scene = Scene::with(upstream).await;
        for client in scene.client.in_both_protocols() {
            let answer = client.get(scene.proxy.public(), "/").await;
            assert!(answer.is_err(), "{framing:?}: {answer:?}");
        }
        let line = scene.proxy.access_line("/").await;
        assert!(
            line["fault"].as_str().unwrap().starts_with("upstream/"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn request_that_breaks_off_is_not_passed_for_whole() {
    let scene = Scene::with(Upstream::start().await).await;
    for client in scene.client.in_both_protocols() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        let answer = session.begin(post("/broken", body)).await;
        let answer = tokio::spawn(answer);
        writer.piece("half");
        scene.upstream.received(1).await;
        writer.break_off();
        assert!(answer.await.unwrap().is_err());
    }
    let line = scene.proxy.access_line("/broken").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("downstream/"),
        "{line}"
    );
    assert!(
        scene
            .upstream
            .requests()
            .iter()
            .all(|received| received.body.is_empty())
    );
}

#[tokio::test]
async fn slow_request_does_not_hold_up_others_on_its_connection() {
    let gate = Gate::closed();
    let held = gate.clone();
    let reply = move |received: &crate::support::upstream::Received| match received.path.as_str() {
        "/slow" => Reply::ok("slow").behind(&held),
        _ => Reply::ok("fast"),
    };
    let scene = Scene::with(Upstream::answering(reply).await).await;
    let mut session = scene.connect_h2().await;
    let slow = tokio::spawn(session.begin(get("/slow")).await);
    scene.upstream.received(1).await;
    assert_eq!(session.send(get("/fast")).await.unwrap().text(), "fast");
    assert!(!slow.is_finished());
    gate.open();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}
