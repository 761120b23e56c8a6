//! The fixtures themselves: the client against the upstream, without a proxy.
//! A fixture that cannot tell good from bad proves nothing about the product.

use http::HeaderMap;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

use crate::support::body::Body;
use crate::support::client::{Client, HttpVersion, next_piece, post, with};
use crate::support::pki::{PROXY_NAME, Pki};
use crate::support::upstream::{Reply, Upstream};

fn address(upstream: &Upstream) -> std::net::SocketAddr {
    let (_, address) = upstream.endpoint().split_once("://").unwrap();
    address.parse().unwrap()
}

#[tokio::test]
async fn client_reaches_the_upstream_in_every_version() {
    let pki = Pki::new();
    for version in [&TLS12, &TLS13] {
        for protocol in [HttpVersion::Http1, HttpVersion::Http2] {
            let upstream = Upstream::build(|_| Reply::ok("hello"))
                .tls(&pki.server(PROXY_NAME))
                .clients(pki.root());
            let upstream = if protocol == HttpVersion::Http2 {
                upstream.h2()
            } else {
                upstream
            };
            let upstream = upstream.start().await;
            let client = Client::new(&pki)
                .presenting(&pki.client())
                .version(version)
                .speaking(protocol);
            let mut session = client.connect(address(&upstream)).await.unwrap();
            let answer = session
                .send(post("/a?b", Body::full("content")))
                .await
                .unwrap();
            assert_eq!(answer.text(), "hello");
            assert_eq!(session.tls().h2, protocol == HttpVersion::Http2);
            assert_eq!(session.tls().version, version.version);
            let received = upstream.only_request();
            assert_eq!(
                (received.path.as_str(), received.body.as_ref()),
                ("/a?b", b"content".as_slice())
            );
            assert_eq!(received.authority, PROXY_NAME);
            assert_eq!(received.certificate.is_some(), true);
        }
    }
}

#[tokio::test]
async fn client_reports_the_alert_that_refused_it() {
    let pki = Pki::new();
    let upstream = Upstream::build(|_| Reply::ok("hello"))
        .tls(&pki.proxy())
        .clients(pki.root())
        .start()
        .await;
    for version in [&TLS12, &TLS13] {
        for protocol in [HttpVersion::Http1] {
            let client = Client::new(&pki).version(version).speaking(protocol);
            let anonymous = client.refusal(address(&upstream)).await;
            assert_eq!(anonymous.alert(), AlertDescription::CertificateRequired);
            let expired = client.presenting(&pki.root().leaf().client().expired().issue());
            assert_eq!(
                expired.refusal(address(&upstream)).await.alert(),
                AlertDescription::CertificateExpired
            );
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn client_resumes_where_the_server_lets_it() {
    let pki = Pki::new();
    let upstream = Upstream::build(|_| Reply::ok("hello"))
        .tls(&pki.proxy())
        .start()
        .await;
    for version in [&TLS12, &TLS13] {
        let client = Client::new(&pki).version(version).resuming();
        let mut resumed = Vec::new();
        for _ in 0..2 {
            let mut session = client.connect(address(&upstream)).await.unwrap();
            session.send(post("/", Body::empty())).await.unwrap();
            resumed.push(session.tls().resumed);
        }
        assert_eq!(resumed, [false, true], "{version:?}");
    }
}

#[tokio::test]
async fn echo_streams_pieces_and_trailers() {
    let pki = Pki::new();
    let upstream = Upstream::build(|_| Reply::echo()).h2().start().await;
    let mut session = Client::plaintext(&pki)
        .h2()
        .connect(address(&upstream))
        .await
        .unwrap();
    let (writer, body) = Body::streaming();
    let (answer, mut echoed) = session
        .open(with(post("/", body), "te", "trailers"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    writer.piece("first");
    assert_eq!(next_piece(&mut echoed).await.unwrap(), "first");
    writer.piece("second");
    assert_eq!(next_piece(&mut echoed).await.unwrap(), "second");
    writer.trailers(HeaderMap::new());
    assert_eq!(next_piece(&mut echoed).await, None);
}

#[tokio::test]
#[should_panic(expected = "nothing may reach this upstream")]
async fn unreachable_upstream_fails_the_test_when_reached() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    Client::plaintext(&pki)
        .get(address(&upstream), "/")
        .await
        .unwrap();
}
