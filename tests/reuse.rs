//! Which upstream connections are used again, which requests are sent again,
//! and what a request's line says of it.

use crate::support::body::Body;
use crate::support::client::{Client, get, post, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};

struct Scene {
    client: Client,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    /// One worker, so that there is one pool.
    async fn with(upstream: Upstream, toml: &str) -> Self {
        let pki = Pki::new();
        let setup = Setup::new(&pki, &upstream).with("server.workers = 1");
        let proxy = setup.with(toml).start().await;
        let client = Client::new(&pki).presenting(&pki.client());
        Self {
            client,
            proxy,
            upstream,
        }
    }

    async fn status(&self, client: &Client, path: &str) -> u16 {
        let answer = client.get(self.proxy.public(), path).await.unwrap();
        answer.status.as_u16()
    }
}

#[tokio::test]
async fn answer_without_content_leaves_its_connection_for_the_next_request() {
    for status in [204, 304] {
        let upstream = Upstream::answering(move |_| Reply::ok("").status(status)).await;
        let scene = Scene::with(upstream, "").await;
        for client in scene.client.in_both_protocols() {
            for _ in 0..3 {
                assert_eq!(scene.status(&client, "/").await, status);
            }
        }
        assert_eq!(scene.upstream.connections(), 1);
    }
}

#[tokio::test]
async fn answer_with_trailers_ends_well_and_leaves_its_connection() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        loop {
            raw.read_until("\r\n\r\n").await;
            raw.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let scene = Scene::with(upstream, "").await;
    let client = scene.client.clone().h2();
    for path in ["/a", "/b"] {
        let request = with(get(path), "te", "trailers");
        let answer = client.send(scene.proxy.public(), request).await.unwrap();
        assert_eq!(
            (answer.text(), answer.trailers["x-sum"].to_str().unwrap()),
            ("ok", "1")
        );
        let line = scene.proxy.access_line(path).await;
        assert!(line["fault"].is_null(), "{line}");
    }
    assert_eq!(scene.upstream.connections(), 1);
}

/// Answers the first request of a connection, and the second as told.
async fn second_answer(answer: &'static str) -> Upstream {
    Upstream::scripted(move |mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(answer).await;
    })
    .await
}

#[tokio::test]
async fn trailers_of_an_answer_pass_without_what_belongs_to_its_connection() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Keep-Alive, Connection\r\n\r\n\
             2\r\nok\r\n0\r\nX-Sum: 1\r\nKeep-Alive: timeout=5\r\nConnection: close\r\n\r\n",
        )
        .await;
    })
    .await;
    let scene = Scene::with(upstream, "").await;
    let client = scene.client.clone().h2();
    let request = with(get("/"), "te", "trailers");
    let answer = client.send(scene.proxy.public(), request).await.unwrap();
    assert_eq!(answer.text(), "ok");
    let names: Vec<_> = answer.trailers.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test]
async fn length_beside_a_transfer_coding_in_an_answer_is_not_believed() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
                  a\r\n0123456789\r\n0\r\n\r\n";
    let scene = Scene::with(second_answer(answer).await, "").await;
    for client in scene.client.in_both_protocols() {
        let answer = client.get(scene.proxy.public(), "/").await.unwrap();
        assert_eq!(answer.text(), "0123456789");
    }
}

#[tokio::test]
async fn transfer_coding_that_is_not_undone_is_not_passed_on_without_its_name() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let scene = Scene::with(second_answer(answer).await, "").await;
    for client in scene.client.in_both_protocols() {
        assert_eq!(scene.status(&client, "/").await, 502);
    }
}

#[tokio::test]
async fn change_of_protocol_that_was_not_asked_for_is_a_fault_of_the_upstream() {
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let scene = Scene::with(second_answer(answer).await, "").await;
    assert_eq!(scene.status(&scene.client, "/plain").await, 502);
    let line = scene.proxy.access_line("/plain").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("upstream/"),
        "{line}"
    );
    // Asked for, but not what may pass: it is not asked for upstream.
    let mut raw: Raw = scene.client.raw(scene.proxy.public()).await;
    raw.write("GET /h2c HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 502);
}

#[tokio::test]
async fn connection_that_rests_longer_than_allowed_is_not_used_again() {
    for protocol in ["http/1.1", "h2"] {
        let upstream = Upstream::build(|_| Reply::ok("hello"));
        let upstream = if protocol == "h2" {
            upstream.h2()
        } else {
            upstream
        };
        let toml = format!(
            "upstreams.orders.idle_timeout = '300ms'\nupstreams.orders.protocol = '{protocol}'"
        );
        let scene = Scene::with(upstream.start().await, &toml).await;
        assert_eq!(scene.status(&scene.client, "/").await, 200);
        assert_eq!(scene.status(&scene.client, "/").await, 200);
        assert_eq!(scene.upstream.connections(), 1, "{protocol}");
        // The upstream sees the end of the connection before the next request.
        scene.upstream.connections_ended().await;
        assert_eq!(scene.status(&scene.client, "/").await, 200);
        assert_eq!(scene.upstream.connections(), 2, "{protocol}");
    }
}

#[tokio::test]
async fn many_requests_at_once_share_one_new_http2_connection() {
    let upstream = Upstream::build(|_| Reply::ok("hello")).h2().start().await;
    let scene = Scene::with(upstream, "upstreams.orders.protocol = 'h2'").await;
    let mut session = scene
        .client
        .clone()
        .h2()
        .connect(scene.proxy.public())
        .await
        .unwrap();
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(tokio::spawn(session.begin(get("/")).await));
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(scene.upstream.connections(), 1);
}

#[tokio::test]
async fn request_that_meets_the_end_of_an_http2_connection_is_sent_again() {
    let upstream = Upstream::build(|_| Reply::ok("hello")).h2().start().await;
    let scene = Scene::with(upstream, "upstreams.orders.protocol = 'h2'").await;
    for round in 0..5 {
        assert_eq!(scene.status(&scene.client, "/").await, 200, "{round}");
        scene.upstream.hang_up().await;
    }
}

#[tokio::test]
async fn time_that_the_client_takes_for_its_body_is_not_the_upstreams() {
    let upstream = Upstream::answering(|_| Reply::ok("hello")).await;
    let scene = Scene::with(upstream, "upstreams.orders.response_timeout = '300ms'").await;
    // Another request measures the time: it does run into the timeout.
    let slow = Upstream::answering(|_| Reply::never()).await;
    let measure = Scene::with(slow, "upstreams.orders.response_timeout = '900ms'").await;
    for client in scene.client.in_both_protocols() {
        let (writer, body) = Body::streaming();
        writer.piece("first");
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        let answer = tokio::spawn(session.begin(post("/", body)).await);
        assert_eq!(measure.status(&measure.client, "/").await, 504);
        writer.piece("second");
        drop(writer);
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn endpoint_that_refuses_is_left_alone_and_comes_back() {
    let (good, pki) = (Upstream::start().await, Pki::new());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let setup = Setup::new(&pki, &good)
        .with("server.workers = 1")
        .with(&format!(
            "upstreams.orders.endpoints = ['http://{address}', '{}']",
            good.endpoint()
        ));
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let begun = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
    let time = begun.elapsed();
    // It was asked ten times at the most, and left alone after each.
    let refused = proxy.metrics_where("the refusals", |metrics| {
        metrics.sum("upstream_connections", &["connect_refused"]) >= 1.0
    });
    let refused = refused
        .await
        .sum("upstream_connections", &["connect_refused"]);
    let ejected = proxy.logged("endpoint.ejected");
    assert_eq!(ejected.len() as f64, refused, "{ejected:#?}");
    let pauses = ejected
        .iter()
        .map(|line| line["pause_ms"].as_u64().unwrap());
    let over: u64 = pauses.take(ejected.len() - 1).sum();
    assert!(u128::from(over) <= time.as_millis(), "{ejected:#?}");
    // Somebody answers there now: it takes part again.
    let listener = std::net::TcpListener::bind(address);
    let Ok(listener) = listener else { return };
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut raw = Raw::over(Box::new(socket));
                loop {
                    raw.read_until("\r\n\r\n").await;
                    raw.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback")
                        .await;
                }
            });
        }
    });
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        if answer.text() == "back" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came back");
    }
    proxy.log_line("endpoint.back", |_| true).await;
}
