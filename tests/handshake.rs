//! Who gets through the handshake, who does not, and what each side is told.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256,
};
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CipherSuite, NamedGroup, SignatureScheme, SupportedCipherSuite};
use serde_json::Value;

use crate::support::client::{Client, get, host};
use crate::support::eventually;
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki, plain_hex};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn require_serves_a_caller_with_a_valid_certificate() {
    serves_as(CLIENT_URI, "require").await;
}

#[tokio::test]
async fn want_serves_a_caller_with_a_valid_certificate_under_its_name() {
    serves_as(CLIENT_URI, "want").await;
}

async fn serves_as(identity: &str, client_auth: &str) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = with_client_auth(&pki, &upstream, client_auth).start().await;
    for client in Client::new(&pki)
        .presenting(&pki.client_as(identity))
        .in_every_version()
    {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    }
    for received in upstream.received(4).await {
        assert!(
            received
                .header("x-forwarded-client-cert")
                .unwrap()
                .contains(identity)
        );
    }
}

#[tokio::test]
async fn require_refuses_a_caller_without_certificate_in_the_handshake() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    for client in Client::new(&pki).in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::CertificateRequired);
    }
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "no_certificate");
    assert_eq!(line["listener"], "public");
    assert_eq!(line["sni"], "proxy.test");
    assert!(
        line["client"].as_str().unwrap().starts_with("127.0.0.1"),
        "{line}"
    );
}

#[tokio::test]
async fn want_serves_a_caller_without_certificate_as_anonymous() {
    serves_anonymous("want", |client, _| client).await;
}

#[tokio::test]
async fn none_serves_a_caller_without_certificate_as_anonymous() {
    serves_anonymous("none", |client, _| client).await;
}

#[tokio::test]
async fn none_does_not_ask_for_the_certificate_that_a_caller_has() {
    serves_anonymous("none", |client, pki| client.presenting(&pki.client())).await;
}

async fn serves_anonymous(client_auth: &str, change: impl Fn(Client, &Pki) -> Client) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = with_client_auth(&pki, &upstream, client_auth).start().await;
    for client in change(Client::new(&pki), &pki).in_every_version() {
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
    for received in upstream.received(4).await {
        assert_eq!(received.header("x-forwarded-client-cert"), None);
    }
    let line = proxy.access_line("/").await;
    assert!(
        line["peer"]
            .as_str()
            .is_none_or(|peer| !peer.contains("spiffe")),
        "{line}"
    );
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_refused() {
    let stranger = |_: &Pki| {
        Authority::root("Stranger")
            .leaf()
            .client()
            .common_name("eve")
            .issue()
    };
    refuses(stranger, AlertDescription::UnknownCA, "untrusted").await;
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let expired = |pki: &Pki| {
        pki.root()
            .leaf()
            .client()
            .common_name("old")
            .expired()
            .issue()
    };
    refuses(expired, AlertDescription::CertificateExpired, "expired").await;
}

#[tokio::test]
async fn certificate_below_an_expired_authority_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let old = Authority::expired_root("Old");
    let leaf = old.leaf().client().common_name("orphan").issue();
    let setup = Setup::new(&pki, &upstream).file("clients.pem", &old.pem());
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&leaf);
    let refusal = client.refusal(proxy.public()).await;
    assert_eq!(refusal.alert(), AlertDescription::CertificateExpired);
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "expired");
}

#[tokio::test]
async fn certificate_that_is_not_yet_valid_is_refused() {
    let early = |pki: &Pki| {
        pki.root()
            .leaf()
            .client()
            .common_name("early")
            .not_yet_valid()
            .issue()
    };
    refuses(early, AlertDescription::CertificateExpired, "not_yet_valid").await;
}

#[tokio::test]
async fn server_certificate_in_the_hands_of_a_client_is_refused() {
    let server = |pki: &Pki| {
        pki.root()
            .leaf()
            .server()
            .common_name("wrong")
            .dns("a.test")
            .issue()
    };
    refuses(
        server,
        AlertDescription::UnsupportedCertificate,
        "wrong_purpose",
    )
    .await;
}

#[tokio::test]
async fn certificate_of_an_authority_with_the_same_name_and_another_key_is_refused() {
    let forged = |pki: &Pki| {
        pki.root()
            .same_name_other_key()
            .leaf()
            .client()
            .common_name("fake")
            .issue()
    };
    refuses(forged, AlertDescription::UnknownCA, "untrusted").await;
}

#[tokio::test]
async fn certificate_sent_without_its_intermediate_is_refused() {
    let bare = |pki: &Pki| below_intermediate(pki).without_intermediates();
    refuses(bare, AlertDescription::UnknownCA, "untrusted").await;
}

#[tokio::test]
async fn certificate_sent_with_its_intermediate_is_served() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&below_intermediate(&pki));
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn certificate_signed_by_one_who_is_no_authority_is_refused() {
    refuses_somehow(|pki| {
        let pretender = pki.root().pretender("leaf that signs");
        pretender.leaf().client().common_name("minted").issue()
    })
    .await;
}

#[tokio::test]
async fn certificate_of_an_authority_in_the_hands_of_a_client_is_refused() {
    refuses_somehow(|pki| {
        let leaf = pki.root().leaf().client().authority();
        leaf.common_name("authority").issue()
    })
    .await;
}

#[tokio::test]
async fn longer_chain_than_anybody_has_is_refused() {
    refuses_somehow(|pki| {
        let numbers = 0..12;
        let deepest = numbers.fold(pki.root().clone(), |above, number| {
            above.intermediate(&format!("intermediate {number}"))
        });
        deepest.leaf().client().common_name("deep").issue()
    })
    .await;
}

/// Refused in the handshake, in every version, where a certificate is wanted.
async fn refuses_somehow(certificate: impl Fn(&Pki) -> Leaf) {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = with_client_auth(&pki, &upstream, "want").start().await;
    let client = Client::new(&pki).presenting(&certificate(&pki));
    for client in client.in_every_version() {
        client.refusal(proxy.public()).await.alert();
    }
}

fn below_intermediate(pki: &Pki) -> Leaf {
    pki.root()
        .intermediate("Issuing")
        .leaf()
        .client()
        .common_name("below")
        .issue()
}

/// Presents a certificate where one is wanted and where one is required, in
/// every version: the client sees the alert, the log names reason and
/// certificate, the upstream sees nothing.
async fn refuses(certificate: impl Fn(&Pki) -> Leaf, alert: AlertDescription, reason: &str) {
    for client_auth in ["want", "require"] {
        let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
        let proxy = with_client_auth(&pki, &upstream, client_auth).start().await;
        let leaf = certificate(&pki);
        for client in Client::new(&pki).presenting(&leaf).in_every_version() {
            assert_eq!(
                client.refusal(proxy.public()).await.alert(),
                alert,
                "{client_auth}"
            );
        }
        let line = proxy.log_line("handshake.refused", |_| true).await;
        assert_eq!(line["reason"], reason, "{line}");
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(
            cause.contains("certificate") || cause.contains("chain"),
            "{line}"
        );
        assert_names(&line, &leaf);
        let refused = format!("reason=\"{reason}\"");
        proxy
            .metrics_where("4 refusals", |metrics| {
                metrics.sum("handshake", &[&refused]) == 4.0
            })
            .await;
        refusals(&proxy, 4).await;
    }
}

/// The operator can tell which certificate it was.
fn assert_names(line: &Value, leaf: &Leaf) {
    let text = |field: &str| {
        line[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {line}"))
    };
    assert_eq!(
        plain_hex(text("fingerprint")),
        plain_hex(&leaf.fingerprint())
    );
    assert_eq!(plain_hex(text("serial")), leaf.serial());
    assert!(text("subject").contains("CN="), "{line}");
    assert!(text("issuer").contains("CN="), "{line}");
}

#[tokio::test]
async fn revoked_certificate_is_refused_and_its_sibling_is_not() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let (revoked, good) = (pki.client(), pki.client());
    let setup = Setup::new(&pki, &upstream).file("clients.crl", &pki.root().crl(&[&revoked]));
    let proxy = setup
        .with("trust.clients.crl = ['clients.crl']")
        .start()
        .await;
    for client in Client::new(&pki).presenting(&revoked).in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::CertificateRevoked);
    }
    assert_eq!(
        proxy.log_line("handshake.refused", |_| true).await["reason"],
        "revoked"
    );
    assert!(upstream.requests().is_empty());
    let good = Client::new(&pki)
        .presenting(&good)
        .get(proxy.public(), "/")
        .await
        .unwrap();
    assert_eq!(good.status, 200);
}

#[tokio::test]
async fn certificate_of_the_listener_is_chosen_by_sni() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = two_names(&pki, &upstream).start().await;
    for name in ["proxy.test", "second.test", "any.wild.test"] {
        let client = Client::new(&pki).presenting(&pki.client()).sni(name);
        let answer = client.send(proxy.public(), host(name)).await;
        assert_eq!(answer.unwrap().status, 200, "{name}");
    }
}

#[tokio::test]
async fn name_that_the_listener_does_not_serve_is_refused_in_the_handshake() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = two_names(&pki, &upstream).start().await;
    for name in ["third.test", "wild.test", "too.deep.wild.test"] {
        for client in Client::new(&pki)
            .presenting(&pki.client())
            .sni(name)
            .in_every_version()
        {
            let refusal = client.refusal(proxy.public()).await;
            assert_eq!(
                refusal.alert(),
                AlertDescription::UnrecognisedName,
                "{name}"
            );
        }
        let line = proxy
            .log_line("handshake.refused", |line| line["sni"] == name)
            .await;
        assert_eq!(line["reason"], "unknown_name");
    }
}

fn two_names(pki: &Pki, upstream: &Upstream) -> Setup {
    let second = pki
        .root()
        .leaf()
        .server()
        .dns("second.test")
        .dns("*.wild.test")
        .issue();
    Setup::new(pki, upstream)
        .certificate("second", &second)
        .with(
            "listeners.public.tls.certificates = [
            { chain = 'proxy.pem', key = 'proxy.key' },
            { chain = 'second.pem', key = 'second.key' },
        ]",
        )
}

#[tokio::test]
async fn certificate_with_addresses_alone_serves_callers_that_ask_for_no_name() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let leaf = pki.root().leaf().server().ip("127.0.0.1").issue();
    let setup = Setup::new(&pki, &upstream).certificate("proxy", &leaf);
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    // Whoever verifies an address sends no SNI.
    for client in client.clone().sni("127.0.0.1").in_every_version() {
        let answer = client.send(proxy.public(), host("127.0.0.1:8443")).await;
        assert_eq!(answer.unwrap().status, 200);
        let other_name = client.send(proxy.public(), host("proxy.test")).await;
        assert_eq!(other_name.unwrap().status, 421);
    }
    for client in client.in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::UnrecognisedName);
    }
}

#[tokio::test]
async fn certificate_of_a_workload_serves_every_name_that_no_other_carries() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let workload = pki.root().leaf().server();
    let workload = workload.uri("spiffe://prod.example/proxy").issue();
    let setup = two_names(&pki, &upstream).certificate("second", &workload);
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let ours = client.get(proxy.public(), "/").await;
    assert_eq!(ours.unwrap().status, 200);
    // The client wants a DNS name in the certificate that it gets, and says so.
    client.sni("other.test").refusal(proxy.public()).await;
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(
        (&line["sni"], &line["reason"]),
        (&"other.test".into(), &"client_gone".into())
    );
    assert!(
        line["cause"].as_str().unwrap().contains("bad_certificate"),
        "{line}"
    );
}

#[tokio::test]
async fn caller_without_sni_does_not_get_around_the_certificate() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    for client in Client::new(&pki).without_sni().in_every_version() {
        client.refusal(proxy.public()).await;
    }
}

#[tokio::test]
async fn session_is_resumed_and_counted_as_such_where_no_certificates_are_asked_for() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = with_client_auth(&pki, &upstream, "none").start().await;
    let client = Client::new(&pki).resuming();
    for resumed in [false, true] {
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        assert_eq!(session.tls().resumed, resumed);
    }
    let metrics = proxy.metrics().await;
    for reason in ["reason=\"full\"", "reason=\"resumed\""] {
        assert_eq!(metrics.sum("handshake", &[reason]), 1.0, "{reason}");
    }
}

#[tokio::test]
async fn version_below_the_minimum_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).with("listeners.public.tls.min_version = '1.3'");
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let refusal = client.clone().version(&TLS12).refusal(proxy.public()).await;
    assert_eq!(refusal.alert(), AlertDescription::ProtocolVersion);
    assert_eq!(
        client
            .version(&TLS13)
            .get(proxy.public(), "/")
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn version_above_the_maximum_is_not_used() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).with("listeners.public.tls.max_version = '1.2'");
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.tls().version, rustls::ProtocolVersion::TLSv1_2);
    let refusal = client.version(&TLS13).refusal(proxy.public()).await;
    assert_eq!(refusal.alert(), AlertDescription::ProtocolVersion);
}

#[tokio::test]
async fn key_exchange_against_quantum_computers_is_preferred() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client()).version(&TLS13);
    let session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.tls().key_exchange, NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn every_kind_of_key_serves_and_calls_in_every_version() {
    let kinds = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ECDSA_P521_SHA512,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ];
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let clients = kinds.map(|kind| {
        pki.root()
            .leaf()
            .client()
            .common_name("x")
            .key(kind)
            .issue()
    });
    for kind in kinds {
        let own = pki.root().leaf().server().dns("proxy.test").key(kind);
        let setup = Setup::new(&pki, &upstream).certificate("proxy", &own.issue());
        let proxy = setup.start().await;
        for leaf in &clients {
            for version in [&TLS12, &TLS13] {
                let client = Client::new(&pki).presenting(leaf).version(version);
                let answer = client.get(proxy.public(), "/").await.unwrap();
                assert_eq!(answer.status, 200, "{kind:?} {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn key_exchange_and_cipher_suite_are_those_of_the_config() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let chosen = "listeners.public.tls = {
        key_exchange = ['secp256r1'],
        cipher_suites = ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'],
    }";
    let proxy = Setup::new(&pki, &upstream).with(chosen).start().await;
    let suites = [
        (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    ];
    for (version, suite) in suites {
        let client = Client::new(&pki).presenting(&pki.client()).version(version);
        let session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.tls().key_exchange, NamedGroup::secp256r1);
        assert_eq!(session.tls().cipher_suite, suite);
    }
}

#[tokio::test]
async fn greeting_in_fragments_is_read_whole() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = two_names(&pki, &upstream).start().await;
    for client in Client::new(&pki)
        .presenting(&pki.client())
        .in_fragments()
        .in_every_version()
    {
        let answer = client
            .clone()
            .sni("second.test")
            .send(proxy.public(), host("second.test"))
            .await;
        assert_eq!(answer.unwrap().status, 200);
        let refusal = client.sni("third.test").refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::UnrecognisedName);
    }
}

#[tokio::test]
async fn caller_without_a_cipher_suite_in_common_is_refused_as_protocol() {
    let change = |client: Client| client.offering(|p| p.cipher_suites = without_aes_128());
    let cause = "no cipher suite in common";
    has_nothing_in_common(CHOSEN, change, AlertDescription::HandshakeFailure, cause).await;
}

#[tokio::test]
async fn caller_without_a_group_in_common_is_refused_as_protocol() {
    let change = |client: Client| client.offering(|p| p.kx_groups = vec![kx_group::X25519]);
    let cause = "no key exchange group in common";
    has_nothing_in_common(CHOSEN, change, AlertDescription::HandshakeFailure, cause).await;
}

#[tokio::test]
async fn caller_that_cannot_verify_the_listeners_key_is_refused_as_protocol() {
    let change = |client: Client| client.offering(verify_rsa_alone);
    let cause = "in common";
    has_nothing_in_common(CHOSEN, change, AlertDescription::HandshakeFailure, cause).await;
}

#[tokio::test]
async fn caller_that_names_another_protocol_is_refused_as_protocol() {
    let change = |client: Client| client.alpn("foo");
    let cause = "none of the listener's protocols";
    has_nothing_in_common("", change, AlertDescription::NoApplicationProtocol, cause).await;
}

#[tokio::test]
async fn caller_without_a_version_in_common_is_refused_as_protocol() {
    for (max, version) in [("1.3", &TLS12), ("1.2", &TLS13)] {
        let settings =
            format!("listeners.public.tls = {{ min_version = '{max}', max_version = '{max}' }}");
        let change = |client: Client| client.version(version);
        let alert = AlertDescription::ProtocolVersion;
        has_nothing_in_common(&settings, change, alert, "Tls1").await;
    }
}

const CHOSEN: &str = "listeners.public.tls = {
    key_exchange = ['secp256r1'],
    cipher_suites = ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'],
}";

/// With these settings a client, changed so, gets this alert in every version;
/// each time there is one line, and one more `protocol` is counted.
async fn has_nothing_in_common(
    settings: &str,
    change: impl Fn(Client) -> Client,
    alert: AlertDescription,
    cause: &str,
) {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).with(settings).start().await;
    let clients = Client::new(&pki).presenting(&pki.client());
    for client in clients.in_every_version() {
        let refusal = change(client).refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), alert);
    }
    proxy
        .metrics_where("4 refusals", |metrics| {
            metrics.sum("handshake", &["reason=\"protocol\""]) == 4.0
        })
        .await;
    for line in refusals(&proxy, 4).await {
        assert_eq!(line["reason"], "protocol", "{line}");
        assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    }
}

/// The lines of refused handshakes, once there are so many; one more is too many.
async fn refusals(proxy: &Proxy, count: usize) -> Vec<Value> {
    let lines = eventually("a line for each refusal", || {
        Some(proxy.logged("handshake.refused")).filter(|lines| lines.len() >= count)
    })
    .await;
    assert_eq!(lines.len(), count, "one line each");
    lines
}

fn without_aes_128() -> Vec<SupportedCipherSuite> {
    vec![
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ]
}

/// Accepts from servers what an RSA key has signed, and nothing else.
fn verify_rsa_alone(provider: &mut CryptoProvider) {
    let known = provider.signature_verification_algorithms;
    let rsa = known
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == SignatureScheme::RSA_PSS_SHA256);
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: known.all,
        mapping: rsa.copied().collect::<Vec<_>>().leak(),
    };
}

#[tokio::test]
async fn caller_that_does_not_trust_the_listener_is_told_by_its_own_alert() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let stranger = Authority::root("Stranger");
    for client in Client::trusting(&stranger).in_every_version() {
        client.refusal(proxy.public()).await;
    }
    proxy
        .metrics_where("4 clients gone", |metrics| {
            metrics.sum("handshake", &["reason=\"client_gone\""]) == 4.0
        })
        .await;
    for line in refusals(&proxy, 4).await {
        assert_eq!(line["reason"], "client_gone");
        assert!(
            line["cause"].as_str().unwrap().contains("unknown_ca"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn certificate_whose_issuer_has_no_revocation_list_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let setup = Setup::new(&pki, &upstream).file("clients.crl", &pki.root().crl(&[]));
    let setup = setup.with("trust.clients.crl = ['clients.crl']");
    let proxy = setup.start().await;
    // The list of the root says nothing of what the intermediate has issued.
    let client = Client::new(&pki).presenting(&below_intermediate(&pki));
    for client in client.in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::CertificateUnknown);
    }
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "revocation_unknown");
}

#[tokio::test]
async fn certificate_with_two_workload_names_is_refused_as_malformed() {
    let two = |pki: &Pki| {
        let leaf = pki.root().leaf().client().common_name("two");
        leaf.uri("spiffe://a.example/x")
            .uri("spiffe://b.example/x")
            .issue()
    };
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    for client in Client::new(&pki).presenting(&two(&pki)).in_every_version() {
        let refusal = client.refusal(proxy.public()).await;
        assert_eq!(refusal.alert(), AlertDescription::BadCertificate);
    }
    let line = proxy.log_line("handshake.refused", |_| true).await;
    assert_eq!(line["reason"], "malformed");
}

#[tokio::test]
async fn protocol_that_the_listener_does_not_offer_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("listeners.public.protocols = ['http/1.1']")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let refusal = client.clone().h2().refusal(proxy.public()).await;
    assert_eq!(refusal.alert(), AlertDescription::NoApplicationProtocol);
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn silent_caller_loses_its_slot_at_the_handshake_deadline() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let limits = "listeners.public.limits = { handshake_timeout = '1s', max_connections = 1 }";
    let proxy = Setup::new(&pki, &upstream).with(limits).start().await;
    let mut silent = Raw::plain(proxy.public()).await;
    let answer = Client::new(&pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/")
        .await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(
        proxy.log_line("handshake.refused", |_| true).await["reason"],
        "timeout"
    );
    assert_eq!(silent.read_to_end().await, "");
}

#[tokio::test]
async fn dribbled_handshake_has_one_deadline_and_not_one_for_each_byte() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let limits = "listeners.public.limits.handshake_timeout = '1s'";
    let proxy = Setup::new(&pki, &upstream).with(limits).start().await;
    let mut dribbler = Raw::plain(proxy.public()).await;
    // A record header that announces 512 bytes, then one byte now and then.
    dribbler
        .write([
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
        ])
        .await;
    let begun = tokio::time::Instant::now();
    while proxy.logged("handshake.refused").is_empty() {
        dribbler.write([0]).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(begun.elapsed() < crate::support::PATIENCE, "was never cut");
    }
    assert_eq!(proxy.logged("handshake.refused")[0]["reason"], "timeout");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_a_400_that_says_so() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Raw::plain(proxy.public()).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 400);
    let text = answer.body.to_lowercase();
    assert!(
        text.contains("tls") || text.contains("https"),
        "{}",
        answer.body
    );
    assert_eq!(raw.read_to_end().await, "", "the connection ends");
    counted_once(&proxy, "http_on_tls_port").await;
}

#[tokio::test]
async fn garbage_on_the_tls_port_ends_in_one_counted_line() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Raw::plain(proxy.public()).await;
    raw.write(b"\x80\x00SSH-2.0-nothing that TLS knows\r\n\0\xff\xfe")
        .await;
    raw.read_to_end().await;
    counted_once(&proxy, "not_tls").await;
}

async fn counted_once(proxy: &Proxy, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    proxy
        .metrics_where(reason, |metrics| metrics.sum("handshake", &[&label]) == 1.0)
        .await;
    proxy
        .log_line("handshake.refused", |line| line["reason"] == reason)
        .await;
    assert_eq!(proxy.logged("handshake.refused").len(), 1, "one line");
    assert_no_errors(proxy);
}

#[tokio::test]
async fn tcp_probes_are_no_errors() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    for _ in 0..20 {
        Raw::plain(proxy.public()).await.finish().await;
    }
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    assert_no_errors(&proxy);
}

fn assert_no_errors(proxy: &Proxy) {
    let bad = |line: &&String| {
        let level = serde_json::from_str::<Value>(line)
            .map(|line| line["level"].to_string().to_lowercase());
        level.is_ok_and(|level| level.contains("error") || level.contains("warn"))
    };
    let lines = proxy.diagnostics();
    let bad: Vec<&String> = lines.iter().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

fn with_client_auth(pki: &Pki, upstream: &Upstream, client_auth: &str) -> Setup {
    let setup = Setup::new(pki, upstream);
    match client_auth {
        "none" => setup
            .without("listeners.public.tls.trust")
            .with("listeners.public.tls.client_auth = 'none'"),
        other => setup.with(&format!("listeners.public.tls.client_auth = '{other}'")),
    }
}
