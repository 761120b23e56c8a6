//! Revocation and withdrawal that are tried out: said and counted, and not acted on.

use rustls::AlertDescription;

use crate::support::client::{Client, Session, get};
use crate::support::eventually;
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::trust::{lines, withdrawn};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn revoked_peer_comes_in_and_is_said_and_counted_where_lists_are_not_enforced() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let (revoked, clear) = (pki.client(), pki.client());
    let proxy = Setup::new(&pki, &upstream)
        .file("root.crl", &pki.root().crl(&[&revoked]))
        .with("trust.clients = { crl = ['root.crl'], enforce_crl = false }")
        .start()
        .await;
    let client = |leaf: &Leaf| Client::new(&pki).presenting(leaf);
    assert_eq!(status(&client(&clear), &proxy).await, 200);
    assert_eq!(would_refuse(&proxy, "").await, 0.0);
    let versions = client(&revoked).in_every_version();
    for client in &versions {
        assert_eq!(status(client, &proxy).await, 200);
    }
    let mut counted = versions.len() as f64;
    assert_eq!(would_refuse(&proxy, "revoked").await, counted);
    // A session that is resumed is no other.
    let returning = client(&revoked).resuming();
    for resumed in [false, true] {
        let mut session = returning.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        assert_eq!(session.tls().resumed, resumed);
    }
    counted += 2.0;
    assert_eq!(would_refuse(&proxy, "revoked").await, counted);
    // Said once, however often she comes.
    let said = lines(&proxy, "crl.would_refuse", 1, |_| true).await;
    let [line] = &said[..] else {
        panic!("{said:#?}")
    };
    assert_eq!(line["reason"], "revoked", "{line}");
    assert_eq!(line["bundle"], "clients", "{line}");
    assert_eq!(line["fingerprint"], revoked.fingerprint(), "{line}");
    assert_eq!(line["subject"], "CN=billing", "{line}");
    let cause = line["cause"].as_str().unwrap();
    assert!(
        cause.contains("is on the revocation list of CN=Countersign Test Root (trust.clients)"),
        "{line}"
    );
    // In earnest now.
    proxy.configure("trust.clients.enforce_crl = true");
    proxy.in_force(2).await;
    for client in [&client(&revoked), &returning] {
        let alert = client.refusal(proxy.public()).await.alert();
        assert_eq!(alert, AlertDescription::CertificateRevoked);
    }
    assert_eq!(status(&client(&clear), &proxy).await, 200);
    assert_eq!(would_refuse(&proxy, "").await, counted, "and no more");
}

#[tokio::test]
async fn open_connection_of_a_revoked_peer_stays_where_lists_are_not_enforced() {
    for (enforced, stays) in [(false, true), (true, false)] {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let leaf = pki.client();
        let proxy = Setup::new(&pki, &upstream)
            .file("root.crl", &pki.root().crl(&[]))
            .with("trust.clients.crl = ['root.crl']")
            .with(&format!("trust.clients.enforce_crl = {enforced}"))
            .start()
            .await;
        let mut sessions = open(&proxy, &pki, &leaf).await;
        proxy.rename_over("root.crl", &pki.root().crl(&[&leaf]));
        proxy.in_force(2).await;
        for session in &mut sessions {
            if stays {
                assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
            } else {
                eventually("the end", || session.is_closed().then_some(())).await;
            }
        }
        let metrics = proxy.metrics().await;
        assert_eq!(
            withdrawn(&metrics, "revoked"),
            if stays { 0.0 } else { 2.0 }
        );
        // Once for the peer, whatever the number of her connections.
        let expected = if stays { 1.0 } else { 0.0 };
        assert_eq!(would_refuse(&proxy, "revoked").await, expected);
        assert_eq!(proxy.logged("crl.would_refuse").len(), usize::from(stays));
    }
}

#[tokio::test]
async fn stale_and_missing_lists_refuse_nobody_where_they_are_not_enforced() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .file("root.crl", &pki.root().stale_crl(&[]))
        .with("trust.clients = { crl = ['root.crl'], enforce_crl = false }")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(status(&client, &proxy).await, 200);
    assert_eq!(would_refuse(&proxy, "revocation_unknown").await, 1.0);
    let line = proxy.log_line("crl.would_refuse", |_| true).await;
    assert!(
        line["cause"].as_str().unwrap().contains("ran out"),
        "{line}"
    );
    // Who is refused for another reason is refused.
    let stranger = Authority::root("Stranger").leaf().client().issue();
    let expired = pki.root().leaf().client().uri(CLIENT_URI).expired().issue();
    for (leaf, alert) in [
        (stranger, AlertDescription::UnknownCA),
        (expired, AlertDescription::CertificateExpired),
    ] {
        let client = Client::new(&pki).presenting(&leaf);
        assert_eq!(client.refusal(proxy.public()).await.alert(), alert);
    }
    assert_eq!(would_refuse(&proxy, "").await, 1.0);
}

#[tokio::test]
async fn open_connections_of_withdrawn_peers_stay_and_are_said_and_counted_and_new_ones_are_refused()
 {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let partners = Authority::root("Partners");
    let setup = Setup::new(&pki, &upstream)
        .file("partners.pem", &partners.pem())
        .with(
            "trust.clients = { ca = ['clients.pem', 'partners.pem'], enforce_withdrawal = false }",
        );
    let proxy = setup.start().await;
    let leaf = partners.leaf().client().uri(CLIENT_URI).issue();
    let mut leaving = open(&proxy, &pki, &leaf).await;
    let mut staying = open(&proxy, &pki, &pki.client()).await;
    let returning = Client::new(&pki).presenting(&leaf).resuming();
    assert_eq!(status(&returning, &proxy).await, 200);

    proxy.configure("trust.clients.ca = ['clients.pem']");
    proxy.in_force(2).await;
    for session in leaving.iter_mut().chain(&mut staying) {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    assert_eq!(would_end(&proxy, "untrusted").await, 2.0);
    assert_eq!(withdrawn(&proxy.metrics().await, ""), 0.0);
    for line in lines(&proxy, "connection.would_end", 2, |_| true).await {
        assert_eq!(line["reason"], "untrusted", "{line}");
        assert_eq!(line["bundle"], "clients", "{line}");
        assert_eq!(line["peer"], CLIENT_URI, "{line}");
        assert!(
            line["cause"]
                .as_str()
                .unwrap()
                .contains("leads to no authority")
        );
    }
    for client in [&Client::new(&pki).presenting(&leaf), &returning] {
        let alert = client.refusal(proxy.public()).await.alert();
        assert_eq!(alert, AlertDescription::UnknownCA);
    }
    // Nothing new is said of them when something else changes.
    proxy.configure("listeners.public.limits.max_connections = 99");
    proxy.in_force(3).await;
    assert_eq!(would_end(&proxy, "").await, 2.0);
    assert_eq!(proxy.logged("connection.would_end").len(), 2);
    // In earnest now.
    proxy.configure("trust.clients.enforce_withdrawal = true");
    proxy.in_force(4).await;
    for session in &leaving {
        eventually("the end", || session.is_closed().then_some(())).await;
    }
    for session in &mut staying {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    assert_eq!(withdrawn(&proxy.metrics().await, "untrusted"), 2.0);
}

#[tokio::test]
async fn who_has_shown_no_certificate_goes_even_where_withdrawal_is_not_enforced() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("listeners.public.tls.client_auth = 'want'")
        .with("trust.clients.enforce_withdrawal = false")
        .start()
        .await;
    let mut anonymous = Client::new(&pki).connect(proxy.public()).await.unwrap();
    assert_eq!(anonymous.send(get("/")).await.unwrap().status, 200);
    proxy.configure("listeners.public.tls.client_auth = 'require'");
    proxy.in_force(2).await;
    eventually("the end", || anonymous.is_closed().then_some(())).await;
    assert_eq!(would_end(&proxy, "").await, 0.0);
    assert_eq!(withdrawn(&proxy.metrics().await, "no_certificate"), 1.0);
}

#[tokio::test]
async fn preview_leaves_no_count() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let leaf = pki.client();
    let proxy = Setup::new(&pki, &upstream)
        .file("root.crl", &pki.root().crl(&[&leaf]))
        .with("trust.clients = { crl = ['root.crl'], enforce_crl = false }")
        .start()
        .await;
    let _open = open(&proxy, &pki, &leaf).await;
    let before = would_refuse(&proxy, "").await;
    let (status, answer) = proxy.post("/trust/preview").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(would_refuse(&proxy, "").await, before);
}

/// A connection in each protocol, with an answer on each.
async fn open(proxy: &Proxy, pki: &Pki, leaf: &Leaf) -> Vec<Session> {
    let mut sessions = Vec::new();
    for client in Client::new(pki).presenting(leaf).in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        sessions.push(session);
    }
    sessions
}

async fn status(client: &Client, proxy: &Proxy) -> u16 {
    let answer = client.get(proxy.public(), "/").await.unwrap();
    answer.status.as_u16()
}

async fn would_refuse(proxy: &Proxy, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}");
    let metrics = proxy.metrics().await;
    metrics.sum("crl_would_refuse_total", &["bundle=\"clients\"", &label])
}

async fn would_end(proxy: &Proxy, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}");
    let metrics = proxy.metrics().await;
    metrics.sum(
        "connections_would_end_total",
        &["listener=\"public\"", &label],
    )
}
