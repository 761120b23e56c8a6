//! How the proxy finds, verifies and gives up on the services behind it.

use http::StatusCode;
use rustls::SignatureScheme;

use crate::support::client::{Answer, Client};
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

const TLS: &str = "
trust.internal.ca = ['internal.pem']
upstreams.orders.tls = { trust = 'internal', server_name = 'orders.internal' }
";

/// Trusts the internal authority for the upstream and expects `orders.internal`.
fn over_tls(pki: &Pki, upstream: &Upstream, internal: &Authority) -> Setup {
    Setup::new(pki, upstream)
        .file("internal.pem", &internal.pem())
        .with(TLS)
}

async fn get(pki: &Pki, proxy: &Proxy) -> Answer {
    Client::new(pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/")
        .await
        .unwrap()
}

fn hello(_: &crate::support::upstream::Received) -> Reply {
    Reply::ok("hello")
}

#[tokio::test]
async fn upstream_with_the_expected_name_from_the_bundle_is_used() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal.leaf().server().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    assert_eq!(get(&pki, &proxy).await.text(), "hello");
}

#[tokio::test]
async fn upstream_with_another_name_is_not_used() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal.leaf().server().dns("other.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

#[tokio::test]
async fn upstream_from_another_authority_is_not_used() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = pki.root().leaf().server().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

#[tokio::test]
async fn upstream_with_an_expired_certificate_is_not_used() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal
        .leaf()
        .server()
        .dns("orders.internal")
        .expired()
        .issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

#[tokio::test]
async fn upstream_below_an_expired_authority_is_not_used() {
    let (pki, internal) = (Pki::new(), Authority::expired_root("Internal"));
    let certificate = internal.leaf().server().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
    let line = proxy.access_line("/").await;
    assert!(
        line["cause"].as_str().unwrap().contains("expired"),
        "{line}"
    );
}

#[tokio::test]
async fn authorities_of_the_machine_are_trusted_by_the_same_rules() {
    let authorities = [
        (Authority::root("Machine"), true),
        (Authority::expired_root("Machine"), false),
    ];
    for (machine, is_used) in authorities {
        let pki = Pki::new();
        let certificate = machine.leaf().server().dns("orders.internal").issue();
        let upstream = Upstream::build(hello).tls(&certificate).start().await;
        // A leaf among them is passed over.
        let leaf = pki.server("leaf.test");
        let setup = Setup::new(&pki, &upstream)
            .file("machine.pem", &(leaf.chain_pem() + &machine.pem()))
            .with("upstreams.orders.tls = { trust = 'system', server_name = 'orders.internal' }");
        let file = setup.path("machine.pem");
        let setup = setup.after_shell(&format!("export SSL_CERT_FILE='{}'", file.display()));
        let proxy = setup.start().await;
        if is_used {
            assert_eq!(get(&pki, &proxy).await.text(), "hello");
        } else {
            refused_as_bad_gateway(&pki, &proxy, &upstream).await;
        }
    }
}

#[tokio::test]
async fn upstream_with_a_revoked_certificate_is_not_used_and_its_sibling_is() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let server = || internal.leaf().server().dns("orders.internal").issue();
    let (revoked, good) = (server(), server());
    let crl = internal.crl(&[&revoked]);
    for (certificate, is_used) in [(&revoked, false), (&good, true)] {
        let upstream = Upstream::build(hello).tls(certificate).start().await;
        let setup = over_tls(&pki, &upstream, &internal).file("internal.crl", &crl);
        let setup = setup.with("trust.internal.crl = ['internal.crl']");
        let proxy = setup.start().await;
        if is_used {
            assert_eq!(get(&pki, &proxy).await.text(), "hello");
        } else {
            refused_as_bad_gateway(&pki, &proxy, &upstream).await;
        }
    }
}

#[tokio::test]
async fn client_certificate_at_an_upstream_is_not_used() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal.leaf().client().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

async fn refused_as_bad_gateway(pki: &Pki, proxy: &Proxy, upstream: &Upstream) {
    assert_eq!(get(pki, proxy).await.status, StatusCode::BAD_GATEWAY);
    assert!(upstream.requests().is_empty());
    let line = proxy.access_line("/").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("upstream/"),
        "{line}"
    );
    assert!(!line["cause"].as_str().unwrap().is_empty(), "{line}");
}

#[tokio::test]
async fn upstream_that_asks_for_a_certificate_gets_the_proxys_own() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let upstream = asking_upstream(&internal).await;
    let own = internal.leaf().client().common_name("countersign").issue();
    let setup = over_tls(&pki, &upstream, &internal)
        .certificate("own", &own)
        .with(
            "[upstreams.orders]
        tls.certificate = { chain = 'own.pem', key = 'own.key' }
        outbound.client_certificate_authentication = 'supported'",
        );
    let proxy = setup.start().await;
    assert_eq!(get(&pki, &proxy).await.text(), "hello");
    assert_eq!(
        upstream.only_request().certificate.as_ref(),
        own.chain().first()
    );
}

#[tokio::test]
async fn upstream_that_demands_a_certificate_is_not_served_without_one() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let upstream = asking_upstream(&internal).await;
    let proxy = over_tls(&pki, &upstream, &internal).start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

async fn asking_upstream(internal: &Authority) -> Upstream {
    let certificate = internal.leaf().server().dns("orders.internal").issue();
    Upstream::build(hello)
        .tls(&certificate)
        .clients(internal)
        .start()
        .await
}

#[tokio::test]
async fn upstream_that_does_not_ask_is_not_used_where_the_certificate_is_required() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal.leaf().server().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).start().await;
    let own = internal.leaf().client().common_name("countersign").issue();
    let setup = over_tls(&pki, &upstream, &internal)
        .certificate("own", &own)
        .with(
            "[upstreams.orders]
        tls.certificate = { chain = 'own.pem', key = 'own.key' }
        outbound.client_certificate_authentication = 'required'",
        );
    let proxy = setup.start().await;
    refused_as_bad_gateway(&pki, &proxy, &upstream).await;
}

#[tokio::test]
async fn upstream_that_cannot_verify_our_key_is_not_used_where_the_certificate_is_required() {
    let schemes = [
        (SignatureScheme::RSA_PSS_SHA256, "required", 502),
        (SignatureScheme::RSA_PSS_SHA256, "supported", 200),
        (SignatureScheme::ECDSA_NISTP256_SHA256, "required", 200),
    ];
    for (scheme, layer, status) in schemes {
        let (pki, internal) = (Pki::new(), Authority::root("Internal"));
        let certificate = internal.leaf().server().dns("orders.internal").issue();
        let upstream = Upstream::build(hello)
            .tls(&certificate)
            .clients_signing(&internal, vec![scheme])
            .start()
            .await;
        // Its key is ECDSA.
        let own = internal.leaf().client().common_name("countersign").issue();
        let proxy = over_tls(&pki, &upstream, &internal)
            .certificate("own", &own)
            .with(&format!(
                "[upstreams.orders]
        tls.certificate = {{ chain = 'own.pem', key = 'own.key' }}
        outbound.client_certificate_authentication = '{layer}'"
            ))
            .start()
            .await;
        assert_eq!(get(&pki, &proxy).await.status, status, "{scheme:?} {layer}");
        if status == 502 {
            assert!(upstream.requests().is_empty());
            let line = proxy.access_line("/").await;
            let cause = line["cause"].as_str().unwrap();
            assert!(cause.contains("no signature that the key"), "{line}");
        }
    }
}

#[tokio::test]
async fn upstream_on_a_unix_socket_is_used() {
    let pki = Pki::new();
    let upstream = Upstream::build(hello).unix().start().await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    assert_eq!(get(&pki, &proxy).await.text(), "hello");
    assert_eq!(upstream.only_request().authority, "proxy.test");
}

#[tokio::test]
async fn upstream_is_spoken_to_in_http2_by_prior_knowledge() {
    let pki = Pki::new();
    let upstream = Upstream::build(hello).h2().start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'h2'")
        .start()
        .await;
    for client in Client::new(&pki)
        .presenting(&pki.client())
        .in_both_protocols()
    {
        assert_eq!(
            client.get(proxy.public(), "/").await.unwrap().text(),
            "hello"
        );
    }
    for received in upstream.received(2).await {
        assert_eq!(
            (received.version, received.authority.as_str()),
            (http::Version::HTTP_2, "proxy.test")
        );
    }
}

#[tokio::test]
async fn upstream_is_spoken_to_in_http2_by_alpn() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let certificate = internal.leaf().server().dns("orders.internal").issue();
    let upstream = Upstream::build(hello).tls(&certificate).h2().start().await;
    let proxy = over_tls(&pki, &upstream, &internal)
        .with("upstreams.orders.protocol = 'h2'")
        .start()
        .await;
    assert_eq!(get(&pki, &proxy).await.text(), "hello");
    assert_eq!(upstream.only_request().version, http::Version::HTTP_2);
}

#[tokio::test]
async fn dead_endpoint_beside_a_live_one_costs_no_request() {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let dead = Upstream::refused_endpoint().await;
    let endpoints = format!(
        "upstreams.orders.endpoints = ['{dead}', '{}']",
        upstream.endpoint()
    );
    let proxy = Setup::new(&pki, &upstream).with(&endpoints).start().await;
    let mut session = Client::new(&pki)
        .presenting(&pki.client())
        .connect(proxy.public())
        .await
        .unwrap();
    for _ in 0..30 {
        let answer = session
            .send(crate::support::client::get("/"))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn requests_in_flight_are_spread_over_the_endpoints() {
    let pki = Pki::new();
    let gate = crate::support::upstream::Gate::closed();
    let held = |gate: &crate::support::upstream::Gate| {
        let gate = gate.clone();
        move |_: &crate::support::upstream::Received| Reply::ok("hello").behind(&gate)
    };
    let first = Upstream::answering(held(&gate)).await;
    let second = Upstream::answering(held(&gate)).await;
    let endpoints = format!(
        "upstreams.orders.endpoints = ['{}', '{}']",
        first.endpoint(),
        second.endpoint()
    );
    let setup = Setup::new(&pki, &first)
        .with(&endpoints)
        .with("server.workers = 1");
    let proxy = setup.start().await;
    let mut session = Client::new(&pki)
        .presenting(&pki.client())
        .h2()
        .connect(proxy.public())
        .await
        .unwrap();
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(tokio::spawn(
            session.begin(crate::support::client::get("/")).await,
        ));
    }
    // Least requests: with none answered, the load is even.
    first.received(4).await;
    second.received(4).await;
    gate.open();
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn upstream_that_refuses_connections_is_a_bad_gateway() {
    let pki = Pki::new();
    let proxy = Setup::to(&pki, &Upstream::refused_endpoint().await)
        .start()
        .await;
    assert_eq!(get(&pki, &proxy).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn upstream_that_never_answers_is_a_gateway_timeout() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| Reply::never()).await;
    let setup = Setup::new(&pki, &upstream).with("upstreams.orders.response_timeout = '300ms'");
    let proxy = setup.start().await;
    for client in Client::new(&pki)
        .presenting(&pki.client())
        .in_both_protocols()
    {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn upstream_that_never_completes_its_handshake_is_a_gateway_timeout() {
    let (pki, internal) = (Pki::new(), Authority::root("Internal"));
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_to_end().await;
    })
    .await;
    let endpoint = upstream.endpoint().replace("http://", "https://");
    let setup = Setup::to(&pki, &endpoint)
        .file("internal.pem", &internal.pem())
        .with(TLS);
    let proxy = setup
        .with("upstreams.orders.connect_timeout = '300ms'")
        .start()
        .await;
    assert_eq!(get(&pki, &proxy).await.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn upstream_that_answers_nonsense_is_a_bad_gateway() {
    let nonsense = [
        "",
        "not HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ];
    for answer in nonsense {
        let pki = Pki::new();
        let upstream = Upstream::scripted(move |mut raw, _| async move {
            raw.read_until("\r\n\r\n").await;
            raw.write(answer).await;
        })
        .await;
        let proxy = Setup::new(&pki, &upstream).start().await;
        assert_eq!(
            get(&pki, &proxy).await.status,
            StatusCode::BAD_GATEWAY,
            "{answer:?}"
        );
    }
}
