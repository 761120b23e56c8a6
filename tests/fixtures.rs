//! The fixtures themselves: the client against the upstream, without a proxy.
//! A fixture that cannot tell good from bad proves nothing about the product.

use data_encoding::HEXLOWER;
use http::HeaderMap;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use crate::support::body::Body;
use crate::support::client::{Client, HttpVersion, get, next_piece, post, with};
use crate::support::eventually;
use crate::support::pki::{Authority, PROXY_NAME, Pki, plain_hex};
use crate::support::proxy::{Metrics, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Gate, Reply, Upstream};

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
            assert!(received.certificate.is_some());
        }
    }
}

#[tokio::test]
async fn client_reports_the_alert_that_refused_it() {
    let pki = Pki::new();
    let leaf = || pki.root().leaf().client().common_name("x");
    let stranger = Authority::root("Stranger").leaf().client().issue();
    let forged = pki.root().same_name_other_key().leaf().client().issue();
    let below = pki.root().intermediate("Issuing").leaf().client().issue();
    let cases = [
        (None, AlertDescription::CertificateRequired),
        (Some(stranger), AlertDescription::UnknownCA),
        (
            Some(leaf().expired().issue()),
            AlertDescription::CertificateExpired,
        ),
        (
            Some(leaf().not_yet_valid().issue()),
            AlertDescription::CertificateExpired,
        ),
        (
            Some(leaf().server().issue()),
            AlertDescription::UnsupportedCertificate,
        ),
        (Some(forged), AlertDescription::DecryptError),
        (
            Some(below.without_intermediates()),
            AlertDescription::UnknownCA,
        ),
    ];
    for protocol in [HttpVersion::Http1, HttpVersion::Http2] {
        let upstream = Upstream::build(|_| Reply::ok("hello"))
            .tls(&pki.proxy())
            .clients(pki.root());
        let upstream = if protocol == HttpVersion::Http2 {
            upstream.h2()
        } else {
            upstream
        };
        let upstream = upstream.start().await;
        for version in [&TLS12, &TLS13] {
            for (leaf, alert) in &cases {
                let client = Client::new(&pki).version(version).speaking(protocol);
                let client = leaf.iter().fold(client, Client::presenting);
                assert_eq!(client.refusal(address(&upstream)).await.alert(), *alert);
            }
        }
        assert!(upstream.requests().is_empty());
    }
}

#[tokio::test]
async fn revocation_list_names_the_revoked_and_no_other() {
    let pki = Pki::new();
    let (revoked, good) = (pki.client(), pki.client());
    let pem = pki.root().crl(&[&revoked]);
    let list = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap();
    let list = webpki::BorrowedCertRevocationList::from_der(&list).unwrap();
    let serials = list
        .into_iter()
        .map(|revoked| HEXLOWER.encode(revoked.unwrap().serial_number));
    let serials: Vec<String> = serials.map(|serial| plain_hex(&serial)).collect();
    assert_eq!(serials, [revoked.serial()]);
    assert_ne!(revoked.serial(), good.serial());
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

#[tokio::test]
async fn raw_reads_answers_as_they_are_framed() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\n")
            .await;
        raw.write(
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
        )
        .await;
        raw.write("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\n\r\nrest")
            .await;
    })
    .await;
    let mut raw = Raw::plain(address(&upstream)).await;
    raw.write("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 100);
    let chunked = raw.read_response().await;
    assert_eq!(
        (chunked.body.as_str(), chunked.values("X-A")),
        ("abcde", vec!["1".to_owned(), "2".to_owned()])
    );
    let known = raw.read_response().await;
    assert_eq!((known.status, known.body.as_str()), (404, "no"));
    assert_eq!(raw.read_response().await.body, "rest");
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn upstream_holds_answers_back_and_hangs_up_when_told() {
    let pki = Pki::new();
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::answering(move |_| Reply::ok("late").behind(&held)).await;
    let mut session = Client::plaintext(&pki)
        .connect(address(&upstream))
        .await
        .unwrap();
    let answer = tokio::spawn(session.begin(get("/")).await);
    upstream.received(1).await;
    assert!(!answer.is_finished());
    gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert!(!session.is_closed());
    upstream.hang_up().await;
    eventually("the end of the connection", || {
        session.is_closed().then_some(())
    })
    .await;
    Client::plaintext(&pki)
        .get(address(&upstream), "/")
        .await
        .unwrap();
    let numbers: Vec<usize> = upstream
        .requests()
        .iter()
        .map(|received| received.connection)
        .collect();
    assert_eq!(numbers, [0, 1]);
}

#[tokio::test]
async fn upstream_upgrades_and_echoes() {
    let upstream = Upstream::build(|_| Reply::upgrade()).unix().start().await;
    let path = upstream.endpoint().strip_prefix("unix:").unwrap();
    let mut raw = Raw::plain(std::path::PathBuf::from(path)).await;
    raw.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 101);
    raw.write("ping").await;
    assert_eq!(raw.read_exactly(4).await, "ping");
    raw.finish().await;
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn message_that_breaks_off_is_an_error_at_the_other_end() {
    let pki = Pki::new();
    for h2 in [false, true] {
        let upstream = Upstream::build(|_| {
            let (writer, body) = Body::streaming();
            writer.piece("half");
            writer.break_off();
            Reply::body(body)
        });
        let upstream = if h2 { upstream.h2() } else { upstream };
        let upstream = upstream.start().await;
        let client = Client::plaintext(&pki);
        let client = if h2 { client.h2() } else { client };
        assert!(client.get(address(&upstream), "/").await.is_err());
    }
}

#[tokio::test]
async fn proxy_is_read_from_its_log() {
    let proxy = pretending(
        r#"{"level":"INFO","event":"listener.ready","listener":"public","address":"127.0.0.1:4000"}
           {"level":"INFO","event":"admin.ready","address":"127.0.0.1:4001"}
           not JSON
           {"level":"INFO","event":"server.started"}
           {"level":"INFO","event":"handshake.refused","reason":"expired"}"#,
    );
    let proxy = proxy.start().await;
    assert_eq!((proxy.public().port(), proxy.admin().port()), (4000, 4001));
    let line = proxy
        .log_line("handshake.refused", |line| line["reason"] == "expired")
        .await;
    assert_eq!(line["event"], "handshake.refused");
    assert_eq!(proxy.diagnostics().len(), 5);
}

#[tokio::test]
#[should_panic(expected = "ended at the start")]
async fn proxy_that_ends_at_the_start_fails_the_test() {
    let pki = Pki::new();
    Setup::to(&pki, "http://127.0.0.1:1")
        .after_shell("exit 7")
        .start()
        .await;
}

/// A shell in the place of the proxy: writes these diagnostics, then stands still.
fn pretending(diagnostics: &str) -> Setup {
    let pki = Pki::new();
    let lines: String = diagnostics
        .lines()
        .map(|line| format!("echo '{}' >&2; ", line.trim()))
        .collect();
    Setup::to(&pki, "http://127.0.0.1:1").after_shell(&format!("{lines} kill -STOP $$"))
}

#[test]
fn config_is_changed_in_one_place_only() {
    let pki = Pki::new();
    let text = |setup: &Setup| std::fs::read_to_string(setup.write()).unwrap();
    let setup = Setup::to(&pki, "http://127.0.0.1:1");
    let before: toml::Table = text(&setup).parse().unwrap();
    let setup = setup.with("listeners.public.tls.client_auth = 'want'");
    let setup = setup.without("trust.clients").with("routes = []");
    let mut after: toml::Table = text(&setup).parse().unwrap();
    assert_eq!(
        after["listeners"]["public"]["tls"]["client_auth"].as_str(),
        Some("want")
    );
    assert_eq!(after["trust"].as_table().unwrap().len(), 0);
    after["listeners"]["public"]["tls"]["client_auth"] = "require".into();
    for unchanged in ["server", "log", "admin", "listeners", "upstreams"] {
        assert_eq!(before[unchanged], after[unchanged]);
    }
}

#[test]
fn metrics_are_added_up_by_name_and_labels() {
    let text = "# HELP a_total x\na_total{b=\"1\",c=\"2\"} 3\na_total{b=\"1\"} 4\nother 5\n";
    let metrics = Metrics(text.to_owned());
    assert!((metrics.sum("a_total", &["b=\"1\""]) - 7.0).abs() < f64::EPSILON);
    assert!((metrics.sum("a_total", &["b=\"1\"", "c=\"2\""]) - 3.0).abs() < f64::EPSILON);
    assert!(metrics.sum("missing", &[]).abs() < f64::EPSILON);
}

#[test]
fn hexadecimal_is_compared_without_its_dress() {
    assert_eq!(plain_hex("0C:05:00:0A"), "c05000a");
    assert_eq!(plain_hex("c05000a"), "c05000a");
}
