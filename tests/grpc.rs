//! Calls of gRPC, from HTTP/2 to HTTP/2: their content as it comes, their
//! trailers, and refusals that they can read.

use http::{HeaderMap, Request};

use crate::support::body::Body;
use crate::support::client::{Answer, Client, next_piece, post, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Gate, Reply, Upstream};

/// A message as gRPC frames it: not compressed, and its length.
fn message(content: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    framed.extend(content);
    framed
}

fn call(path: &str, body: Body) -> Request<Body> {
    let request = with(post(path, body), "content-type", "application/grpc");
    with(with(request, "te", "trailers"), "grpc-timeout", "5S")
}

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", "said%20so".parse().unwrap());
    trailers
}

async fn proxy_to(upstream: &Upstream, change: &str) -> (Proxy, Client) {
    let pki = Pki::new();
    let proxy = Setup::new(&pki, upstream)
        .with("upstreams.orders.protocol = 'h2'")
        .with(change)
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client()).h2();
    (proxy, client)
}

#[tokio::test]
async fn call_goes_up_as_it_is_and_its_status_comes_down_in_trailers() {
    let upstream = Upstream::build(|_| {
        let (writer, body) = Body::streaming();
        writer.piece(message(b"one"));
        writer.piece(message(b"two"));
        writer.trailers(trailers("5"));
        Reply::body(body).header("content-type", "application/grpc")
    });
    let upstream = upstream.h2().start().await;
    let (proxy, client) = proxy_to(&upstream, "").await;
    let request = call("/pkg.Service/Call", Body::full(message(b"hello")));
    let answer = client.send(proxy.public(), request).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, [message(b"one"), message(b"two")].concat());
    assert_eq!(answer.trailers["grpc-status"], "5");
    assert_eq!(answer.trailers["grpc-message"], "said%20so");
    let received = upstream.only_request();
    assert_eq!(received.header("te"), Some("trailers"));
    assert_eq!(received.header("grpc-timeout"), Some("5S"));
    assert_eq!(received.body, message(b"hello"));
}

#[tokio::test]
async fn response_that_has_trailers_only_stays_one() {
    let upstream = Upstream::build(|_| {
        let reply = Reply::body(Body::empty()).header("content-type", "application/grpc");
        reply.header("grpc-status", "12").at_once()
    });
    let upstream = upstream.h2().start().await;
    let (proxy, client) = proxy_to(&upstream, "").await;
    let request = call("/pkg.Service/Missing", Body::full(message(b"hello")));
    let answer = client.send(proxy.public(), request).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("grpc-status")),
        (200, Some("12"))
    );
    assert!(answer.trailers.is_empty());
}

#[tokio::test]
async fn messages_go_both_ways_while_the_call_lasts() {
    let upstream = Upstream::build(|_| Reply::echo()).h2().start().await;
    let (proxy, client) = proxy_to(&upstream, "").await;
    let mut session = client.connect(proxy.public()).await.unwrap();
    let (writer, body) = Body::streaming();
    let answer = session.begin(call("/pkg.Service/Talk", body)).await;
    writer.piece(message(b"0"));
    let mut answer = answer.await.unwrap();
    for said in [&b"0"[..], b"1", b"2"] {
        let heard = next_piece(answer.body_mut()).await.unwrap();
        assert_eq!(heard, message(said));
        writer.piece(message(&[said[0] + 1]));
    }
    assert_eq!(next_piece(answer.body_mut()).await.unwrap(), message(b"3"));
    writer.trailers(trailers("0"));
    assert!(next_piece(answer.body_mut()).await.is_none());
}

/// What a call comes to that countersign refuses.
async fn refused(client: &Client, proxy: &Proxy, path: &str) -> Answer {
    let request = call(path, Body::full(message(b"hello")));
    let answer = client.send(proxy.public(), request).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert!(answer.body.is_empty(), "{path}");
    answer
}

#[tokio::test]
async fn refusals_are_told_in_words_of_grpc_and_logged_in_those_of_http() {
    let upstream = Upstream::build(|_| Reply::never()).h2().start().await;
    let gone = Upstream::refused_endpoint().await;
    let routes = format!(
        "
        routes = [
            {{ path = '/private', upstream = 'orders', allow = [{{ uri = 'spiffe://other/*' }}] }},
            {{ path = '/gone', upstream = 'gone' }},
            {{ path = '/slow', upstream = 'orders' }},
        ]
        upstreams.orders.response_timeout = '300ms'
        upstreams.gone = {{ endpoints = ['{gone}'], protocol = 'h2' }}
        "
    );
    let (proxy, client) = proxy_to(&upstream, &routes).await;
    for (path, status, code) in [
        ("/private", 403, "7"),
        ("/gone", 502, "14"),
        ("/slow", 504, "14"),
        ("/nowhere", 404, "12"),
        ("/..", 400, "13"),
    ] {
        let answer = refused(&client, &proxy, path).await;
        assert_eq!(answer.header("grpc-status"), Some(code), "{path}");
        let line = proxy.access_line(path).await;
        assert_eq!(line["status"], status, "{line}");
        let said = answer.header("grpc-message").unwrap();
        let reference = line["request_id"].as_str().unwrap();
        assert!(said.contains(reference), "{said}");
    }
}

#[tokio::test]
async fn refusals_of_what_is_no_call_are_those_of_http() {
    let upstream = Upstream::build(|_| Reply::never()).h2().start().await;
    let change = "routes = [{ upstream = 'orders', allow = [{ uri = 'spiffe://other/*' }] }]";
    let (proxy, client) = proxy_to(&upstream, change).await;
    for kind in ["application/grpc-web", "application/json"] {
        let request = with(post("/", Body::empty()), "content-type", kind);
        let answer = client.send(proxy.public(), request).await.unwrap();
        assert_eq!(answer.status, 403, "{kind}");
        assert_eq!(answer.header("grpc-status"), None, "{kind}");
    }
}

#[tokio::test]
async fn call_that_is_given_up_ends_at_the_service() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::build(move |_| Reply::ok("late").behind(&held));
    let upstream = upstream.h2().start().await;
    let (proxy, client) = proxy_to(&upstream, "").await;
    let mut session = client.connect(proxy.public()).await.unwrap();
    let pending = session.begin(call("/slow", Body::empty())).await;
    upstream.received(1).await;
    drop(pending);
    let line = proxy.access_line("/slow").await;
    assert!(
        line["fault"].as_str().unwrap().ends_with("client_gone"),
        "{line}"
    );
    gate.open();
    let answer = session.send(call("/again", Body::empty())).await.unwrap();
    assert_eq!(answer.status, 200);
}
