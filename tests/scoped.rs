//! What a bundle's anchors may vouch for holds wherever a certificate is looked at.

use rcgen::KeyUsagePurpose;
use rustls::AlertDescription;

use crate::support::client::{Client, get};
use crate::support::everywhere::{Expected, Scene};
use crate::support::pki::{CLIENT_URI, Leaf, LeafBuilder, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

const OUT_OF_SCOPE: Expected = Expected {
    alert: AlertDescription::UnknownCA,
    reason: "untrusted",
    words: "trust.clients may only assert",
    fault: "downstream/connection/withdrawn",
};

/// However many are refused for one reason.
const EACH_IS_SAID: &str = "log.refusals_per_minute = 1000";

#[tokio::test]
async fn peers_for_whom_a_bundle_no_longer_vouches_are_refused_everywhere() {
    let pki = Pki::new();
    let scene = Scene::start(&pki, |setup| setup).await;
    let change = |proxy: &Proxy| {
        proxy.configure("trust.clients.may_assert = [{ uri = 'spiffe://prod.example/*' }]");
    };
    let leaves = pki.client_as("spiffe://partner.example/web");
    scene
        .withdraw(&pki, (&leaves, &pki.client()), change, OUT_OF_SCOPE)
        .await;
}

#[tokio::test]
async fn peers_of_another_trust_domain_are_refused_everywhere() {
    let pki = Pki::new();
    let scene = Scene::start(&pki, |setup| setup).await;
    let change = |proxy: &Proxy| {
        proxy.configure("trust.clients.spiffe_trust_domain = 'prod.example'");
    };
    let leaves = pki.client_as("spiffe://a.prod.example/web");
    scene
        .withdraw(&pki, (&leaves, &pki.client()), change, OUT_OF_SCOPE)
        .await;
}

#[tokio::test]
async fn every_way_to_claim_more_than_a_bundle_may_assert_is_refused_and_told_apart() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("trust.clients.may_assert = [{ uri = 'spiffe://prod.example/*' }, { dns = '*.prod.example' }]")
        .with(EACH_IS_SAID)
        .start()
        .await;
    let leaf = || pki.root().leaf().client();
    let good = [
        leaf().uri(CLIENT_URI),
        leaf().dns("a.prod.example"),
        leaf()
            .uri(CLIENT_URI)
            .dns("a.prod.example")
            .common_name("x"),
        // Names are compared as they are everywhere: capitals make no other name.
        leaf().uri("SPIFFE://Prod.Example/web"),
    ];
    for leaf in good.map(|leaf| leaf.issue()) {
        comes_in(&proxy, &pki, &leaf).await;
    }
    let bad = beyond_what_is_asserted(&pki);
    for (leaf, claim) in bad {
        let leaf = leaf.issue();
        is_refused(&proxy, &pki, &leaf, &[
            &format!("the certificate claims {claim}; its chain is good, but trust.clients may only assert"),
            "{ uri = \"spiffe://prod.example/*\" }, { dns = \"*.prod.example\" }",
        ])
        .await;
    }
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn leaf_of_a_trust_domain_must_be_an_svid_of_it() {
    use KeyUsagePurpose::{DigitalSignature, KeyEncipherment};
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("trust.clients.spiffe_trust_domain = 'prod.example'")
        .with(EACH_IS_SAID)
        .start()
        .await;
    let leaf = || pki.root().leaf().client();
    let good = [
        leaf().uri(CLIENT_URI),
        leaf().uri("spiffe://prod.example/ns/a/sa/B_c"),
        // SPIFFE permits other names beside the one URI.
        leaf().uri(CLIENT_URI).dns("a.example").common_name("x"),
        leaf()
            .uri(CLIENT_URI)
            .usages(&[DigitalSignature, KeyEncipherment]),
    ];
    for leaf in good.map(|leaf| leaf.issue()) {
        comes_in(&proxy, &pki, &leaf).await;
    }
    let bad = no_svids(&pki);
    for (leaf, why) in bad {
        let words = [
            why,
            "trust.clients may only assert SPIFFE IDs of the trust domain prod.example",
        ];
        is_refused(&proxy, &pki, &leaf.issue(), &words).await;
    }
    // An authority is refused as one, whatever else it is.
    let authority = leaf().uri(CLIENT_URI).authority().issue();
    let client = Client::new(&pki).presenting(&authority);
    client.refusal(proxy.public()).await.alert();
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn upstream_for_which_its_bundle_does_not_vouch_gets_no_request() {
    let pki = Pki::new();
    let leaf = pki
        .root()
        .leaf()
        .server()
        .dns(PROXY_NAME)
        .uri("spiffe://prod.example/orders");
    let upstream = Upstream::build(|_| crate::support::upstream::Reply::ok("hello"))
        .tls(&leaf.issue())
        .start()
        .await;
    let setup = Setup::new(&pki, &upstream)
        .file("internal.pem", &pki.root().pem())
        .with("trust.internal.ca = ['internal.pem']")
        .with(&format!(
            "upstreams.orders.tls = {{ trust = 'internal', server_name = '{PROXY_NAME}' }}"
        ))
        .with("trust.internal.spiffe_trust_domain = 'prod.example'");
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.send(get("/good")).await.unwrap().status, 200);
    let changes = [
        (
            "{ spiffe_trust_domain = 'partner.example' }",
            "the certificate claims uri \"spiffe://prod.example/orders\", which is of the trust domain prod.example",
        ),
        // The URI is no part of what is permitted, though the name is right.
        (
            "{ spiffe_trust_domain = 'prod.example', may_assert = [{ dns = '*.test' }] }",
            "trust.internal may only assert { dns = \"*.test\" }",
        ),
    ];
    for (generation, (change, words)) in (2..).zip(changes) {
        proxy.configure(&format!("trust.internal = {change}"));
        proxy.in_force(generation).await;
        let path = format!("/bad{generation}");
        assert_eq!(session.send(get(&path)).await.unwrap().status, 502);
        let line = proxy.access_line(&path).await;
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains(words), "{line}");
        assert!(cause.contains("trust.internal may only assert"), "{line}");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn scope_of_one_bundle_is_none_of_another() {
    let pki = Pki::new();
    let partner = crate::support::pki::Authority::root("Partner");
    let upstream = Upstream::start().await;
    let proxy = Setup::new(&pki, &upstream)
        .file("partner.pem", &partner.pem())
        .with("
            trust.partner = { ca = ['partner.pem'], may_assert = [{ uri = 'spiffe://partner.example/*' }] }
            [listeners.partners]
            bind = '127.0.0.1:0'
            tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'partner' }
        ")
        .start()
        .await;
    let ours = partner
        .leaf()
        .client()
        .uri("spiffe://partner.example/web")
        .issue();
    let claimed = partner.leaf().client().uri(CLIENT_URI).issue();
    let get = |leaf: &Leaf, listener| {
        let client = Client::new(&pki).presenting(leaf);
        let address = proxy.listener(listener);
        async move {
            let answer = client.get(address, "/").await;
            answer.map(|answer| answer.status.as_u16())
        }
    };
    assert_eq!(get(&ours, "partners").await.ok(), Some(200));
    assert_eq!(get(&pki.client(), "public").await.ok(), Some(200));
    assert!(get(&claimed, "partners").await.is_err());
    assert!(
        get(&pki.client_as("spiffe://partner.example/web"), "public")
            .await
            .is_ok()
    );
}

async fn comes_in(proxy: &Proxy, pki: &Pki, leaf: &Leaf) {
    let client = Client::new(pki).presenting(leaf);
    let answer = client.get(proxy.public(), "/").await.unwrap();
    assert_eq!(answer.status, 200);
}

/// In both versions, with a cause that has these words and a remedy of its own.
async fn is_refused(proxy: &Proxy, pki: &Pki, leaf: &Leaf, words: &[&str]) {
    for client in Client::new(pki).presenting(leaf).in_every_version() {
        let alert = client.refusal(proxy.public()).await.alert();
        assert_eq!(alert, AlertDescription::UnknownCA);
    }
    // Where her names cannot be read, the line does not tell her fingerprint.
    let is_hers = |line: &serde_json::Value| match line["fingerprint"].as_str() {
        Some(fingerprint) => fingerprint == leaf.fingerprint(),
        None => line["cause"].as_str().unwrap().contains(words[0]),
    };
    let line = proxy.log_line("handshake.refused", is_hers).await;
    assert_eq!(line["reason"], "untrusted", "{line}");
    let cause = line["cause"].as_str().unwrap();
    for word in words {
        assert!(cause.contains(word), "{word} in {line}");
    }
    let remedy = line["remedy"].as_str().unwrap();
    assert!(remedy.contains("have "), "{line}");
    assert!(!remedy.contains("add the authority"), "{line}");
}

/// Leaves that claim more, and the claim.
fn beyond_what_is_asserted(pki: &Pki) -> Vec<(LeafBuilder, &'static str)> {
    let leaf = || pki.root().leaf().client();
    vec![
        (
            leaf().uri("spiffe://partner.example/web"),
            "uri \"spiffe://partner.example/web\"",
        ),
        (
            leaf().uri("spiffe://a.prod.example/web"),
            "uri \"spiffe://a.prod.example/web\"",
        ),
        (
            leaf().uri("spiffe://prod.example./web"),
            "uri \"spiffe://prod.example./web\"",
        ),
        (
            leaf().uri("spiffe://prod%2eexample/web"),
            "uri \"spiffe://prod%2eexample/web\"",
        ),
        (
            leaf().uri("spiffe://prod.example/a/b"),
            "uri \"spiffe://prod.example/a/b\"",
        ),
        (leaf().dns("prod.example"), "dns \"prod.example\""),
        (
            leaf().uri(CLIENT_URI).dns("orders.internal"),
            "dns \"orders.internal\"",
        ),
        (
            leaf().dns("a.prod.example").email("root@prod.example"),
            "email \"root@prod.example\"",
        ),
        (
            leaf().dns("a.prod.example").upn("root@prod.example"),
            "upn \"root@prod.example\"",
        ),
        (leaf().common_name("billing"), "subject \"CN=billing\""),
        (leaf(), "no name at all"),
    ]
}

/// Leaves that are no X.509-SVIDs of `prod.example`, and why.
fn no_svids(pki: &Pki) -> Vec<(LeafBuilder, &'static str)> {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    let leaf = || pki.root().leaf().client();
    let other = |uri: &str| leaf().uri(uri);
    vec![
        (
            other("spiffe://partner.example/web"),
            "trust domain partner.example",
        ),
        (
            other("spiffe://a.prod.example/web"),
            "trust domain a.prod.example",
        ),
        (
            other("spiffe://prod.example./web"),
            "trust domain prod.example.",
        ),
        (other("spiffe://Prod.Example/web"), "lower-case"),
        (other("SPIFFE://prod.example/web"), "in lower case"),
        (other("spiffe://prod%2eexample/web"), "other characters"),
        (other("spiffe://prod.example:443/web"), "has a port"),
        (
            other("spiffe://prod.example@evil.example/web"),
            "has a user",
        ),
        (other("spiffe://prod.example"), "has no path"),
        (other("spiffe://prod.example/"), "empty path segment"),
        (other("spiffe://prod.example/a//b"), "empty path segment"),
        (other("spiffe://prod.example/../web"), "segment of dots"),
        (other("spiffe://prod.example/w%65b"), "other characters"),
        (other("spiffe://prod.example/web?x"), "query"),
        (other("spiffe://prod.example/web#x"), "query or a fragment"),
        (other("https://prod.example/web"), "spiffe://"),
        (
            other(CLIENT_URI).uri("spiffe://partner.example/web"),
            "2 URI names",
        ),
        (other(CLIENT_URI).uri(CLIENT_URI), "2 URI names"),
        (
            other(CLIENT_URI).uri("https://prod.example/"),
            "2 URI names",
        ),
        (leaf().dns("prod.example"), "0 URI names"),
        (other(CLIENT_URI).usages(&[]), "key usage is missing"),
        (
            other(CLIENT_URI).usages(&[KeyEncipherment]),
            "lacks digitalSignature",
        ),
        (
            other(CLIENT_URI).usages(&[DigitalSignature, KeyCertSign]),
            "keyCertSign",
        ),
        (
            other(CLIENT_URI).usages(&[DigitalSignature, CrlSign]),
            "cRLSign",
        ),
    ]
}
