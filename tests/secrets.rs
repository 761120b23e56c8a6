//! Nothing that the binary writes has a secret in it: neither log, neither form,
//! no answer of the admin address, no span.

use http::Method;

use crate::support::body::Body;
use crate::support::client::{Client, get, post, request, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::secrets;
use crate::support::upstream::{Reply, Upstream};

const CALLERS: &str = "Bearer planted-credential-of-the-caller";
const OWN: &str = "planted-password-of-countersign";
const COOKIE: &str = "theme=dark; id=planted-cookie-of-the-caller";
const SESSION: &str = "SID=planted-session-of-the-service; Path=/; HttpOnly";

/// A service that opens sessions, loses some, and answers in every way.
async fn service() -> Upstream {
    Upstream::answering(|received| match received.path.as_str() {
        "/lost"
            if received
                .header("cookie")
                .is_some_and(|it| it.contains("SID")) =>
        {
            Reply::ok("").status(401)
        }
        "/refused" => Reply::ok("").status(401).header("set-cookie", SESSION),
        "/broken" => Reply::ok("").status(500),
        _ => Reply::ok("hello").header("set-cookie", SESSION),
    })
    .await
}

fn outbound(setup: Setup) -> Setup {
    setup.file("password", OWN).with(
        "[upstreams.orders.outbound]
         basic_authentication = 'supported'
         stateful_sessions = true
         session_cookies = ['SID']
         credential = { source = 'basic', user = 'countersign', password_file = 'password' }",
    )
}

/// Asks in every way that ends differently.
async fn ask(proxy: &Proxy, public: std::net::SocketAddr, pki: &Pki) {
    let client = Client::new(pki).presenting(&pki.client_as("spiffe://prod.example/web"));
    for client in client.in_both_protocols() {
        for path in [
            "/", "/lost", "/lost", "/refused", "/broken", "/%2e%2e", "/none",
        ] {
            let request = with(with(get(path), "authorization", CALLERS), "cookie", COOKIE);
            // Some are answered, and some are cut off.
            drop(client.send(public, request).await);
        }
        let large = Body::full(vec![b'x'; 4096]);
        let large = with(post("/large", large), "authorization", CALLERS);
        drop(client.send(public, with(large, "cookie", COOKIE)).await);
        let trace = request(Method::TRACE, "/", Body::empty());
        drop(
            client
                .send(public, with(trace, "authorization", CALLERS))
                .await,
        );
        let several = with(get("/"), "x-http-method-override", "PUT");
        drop(client.send(public, with(several, "cookie", COOKIE)).await);
    }
    let mut raw = client.raw(public).await;
    raw.write(format!(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nAuthorization: {CALLERS}\r\nCookie: {COOKIE}\r\nBad header\r\n\r\n"
    ))
    .await;
    drop(raw);
    Client::new(pki).refusal(public).await;
    for path in [
        "/metrics",
        "/trust",
        "/trust/peers",
        "/refusals",
        "/jwks.json",
    ] {
        let (_, text) = proxy.ask_admin(path).await;
        secrets::expect_none(path, &text);
    }
}

#[tokio::test]
async fn no_log_and_no_answer_has_a_credential_a_cookie_or_a_key() {
    for form in [
        "log.format = 'json'",
        "log = { format = 'json', access = false }",
        "log = { access_template = '{client} {host} \"{path}\" {cause} {remedy} {fault} {peer}' }",
    ] {
        let (pki, upstream, collector) = (Pki::new(), service().await, Upstream::start().await);
        let setup = outbound(Setup::new(&pki, &upstream))
            .with(form)
            .with("log.level = 'debug'")
            .with("listeners.public.limits.max_body_bytes = '1KiB'")
            .with("routes = [{ upstream = 'orders', deny = [{ path = '/none' }] }]")
            .with(&format!(
                "upstreams.collector.endpoints = ['{}']",
                collector.endpoint()
            ))
            .with("upstreams.collector.outbound.identity_assertion = 'never'")
            .with("trace = { context = 'join', upstream = 'collector' }");
        let mut proxy = setup.start().await;
        let public = proxy.public();
        ask(&proxy, public, &pki).await;
        proxy.terminate();
        proxy.exit_code().await;
        let written = [proxy.diagnostics(), proxy.access_log()]
            .concat()
            .join("\n");
        assert!(written.len() > 1000, "{written}");
        assert!(secrets::planted() > 10);
        for part in [CALLERS, OWN, COOKIE, SESSION, "planted-"] {
            assert!(!written.contains(part), "{part}: {written}");
        }
        let spans: Vec<_> = collector
            .requests()
            .into_iter()
            .map(|one| one.body)
            .collect();
        assert!(!spans.is_empty());
        let spans = String::from_utf8_lossy(&spans.concat()).into_owned();
        assert!(!spans.contains("planted-"), "{spans}");
    }
}

#[test]
fn secret_that_was_written_is_found() {
    let mut fields = http::HeaderMap::new();
    fields.insert("authorization", "Bearer one-that-is-found".parse().unwrap());
    fields.insert("cookie", "a=b; c=another-that-is-found".parse().unwrap());
    secrets::plant_fields(&fields);
    secrets::plant_file(
        "x.key",
        "-----BEGIN PRIVATE KEY-----\nthe-line-of-a-key-that-is-found\n-----END PRIVATE KEY-----\n",
    );
    secrets::plant_file(
        "x.pem",
        "-----BEGIN CERTIFICATE-----\nnothing-that-is-secret\n",
    );
    secrets::plant_file(
        "callers.toml",
        "[[callers]]\npassword = 'a-password-that-is-found'\n",
    );
    secrets::plant_head(b"GET / HTTP/1.1\r\nCOOKIE: x=the-last-that-is-found\r\n");
    for written in [
        "event=x one-that-is-found",
        "c=another-that-is-found;",
        "the-line-of-a-key-that-is-found",
        "\"a-password-that-is-found\"",
        "the-last-that-is-found",
    ] {
        let found = std::panic::catch_unwind(|| secrets::expect_none("it", written));
        assert!(found.is_err(), "{written}");
    }
    secrets::expect_none("it", "nothing-that-is-secret");
}
