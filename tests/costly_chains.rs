//! What a client's chain may cost: each limit refuses in the handshake what is
//! beyond it, says so, and lets pass what is not.

use rcgen::RsaKeySize;

use crate::support::client::{Client, get};
use crate::support::pki::{CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// Somebody with one intermediate, so that two signatures are verified.
fn below(pki: &Pki) -> Leaf {
    let leaf = pki.root().intermediate("Between").leaf().client();
    leaf.uri(CLIENT_URI).issue()
}

async fn with_limit(pki: &Pki, upstream: &Upstream, limit: &str) -> Proxy {
    let setup = Setup::new(pki, upstream);
    let limits = format!("listeners.public.limits = {{ {limit} }}");
    setup.with(&limits).start().await
}

/// Sees that a chain is let in with one limit and not with another.
async fn is_bounded(pki: &Pki, leaf: &Leaf, (option, enough, too_little): (&str, &str, &str)) {
    let upstream = Upstream::start().await;
    for client in Client::new(pki).presenting(leaf).in_every_version() {
        let proxy = with_limit(pki, &upstream, &format!("{option} = {enough}")).await;
        let answer = client.get(proxy.public(), "/").await;
        assert_eq!(answer.unwrap().status, 200, "{option} = {enough}");
        let proxy = with_limit(pki, &upstream, &format!("{option} = {too_little}")).await;
        refuses(&proxy, &client, option).await;
        // Another client's is served meanwhile.
        let other = Client::new(pki).presenting(&pki.client());
        let answer = other.get(proxy.public(), "/").await;
        assert_eq!(answer.unwrap().status, 200, "{option} = {too_little}");
    }
}

async fn refuses(proxy: &Proxy, client: &Client, option: &str) {
    assert!(client.get(proxy.public(), "/").await.is_err(), "{option}");
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "chain_too_costly", "{line}");
    assert_eq!(line["step"], "cost");
    for text in ["cause", "remedy"] {
        assert!(line[text].as_str().unwrap().contains(option), "{line}");
    }
    let labels = format!("limit=\"{option}\"");
    proxy
        .metrics_where("the strike", |metrics| {
            metrics.sum("countersign_limits_struck_total", &[&labels]) > 0.0
        })
        .await;
}

#[tokio::test]
async fn chain_of_too_many_certificates_is_refused() {
    let pki = Pki::new();
    is_bounded(&pki, &below(&pki), ("max_chain_certificates", "2", "1")).await;
}

#[tokio::test]
async fn chain_of_too_many_bytes_is_refused() {
    let pki = Pki::new();
    let mut leaf = pki.root().leaf().client().uri(CLIENT_URI);
    for number in 0..60 {
        leaf = leaf.dns(&format!("name-{number}.example.com"));
    }
    is_bounded(&pki, &leaf.issue(), ("max_chain_bytes", "'4KiB'", "'1KiB'")).await;
}

#[tokio::test]
async fn chain_with_too_long_an_rsa_key_is_refused() {
    let pki = Pki::new();
    let leaf = pki.root().leaf().client().uri(CLIENT_URI);
    let leaf = leaf.rsa(RsaKeySize::_3072).issue();
    is_bounded(&pki, &leaf, ("max_rsa_bits", "3072", "3071")).await;
}

#[tokio::test]
async fn chain_that_takes_too_many_signatures_is_refused() {
    let pki = Pki::new();
    is_bounded(&pki, &below(&pki), ("max_signature_checks", "2", "1")).await;
}

#[tokio::test]
async fn session_whose_chain_has_become_too_costly_is_not_resumed() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = with_limit(&pki, &upstream, "max_chain_certificates = 2").await;
    let client = Client::new(&pki).presenting(&below(&pki)).resuming();
    for client in client.in_every_version() {
        for resumed in [false, true] {
            let mut session = client.connect(proxy.public()).await.unwrap();
            assert_eq!(session.send(get("/")).await.unwrap().status, 200);
            assert_eq!(session.tls().resumed, resumed);
        }
        let generations = proxy.published().len();
        proxy.configure("listeners.public.limits.max_chain_certificates = 1");
        crate::support::eventually("the new limit", || {
            (proxy.published().len() > generations).then_some(())
        })
        .await;
        refuses(&proxy, &client, "max_chain_certificates").await;
        proxy.configure("listeners.public.limits.max_chain_certificates = 2");
        crate::support::eventually("the former limit", || {
            (proxy.published().len() > generations + 1).then_some(())
        })
        .await;
    }
}
