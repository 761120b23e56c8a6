//! Sessions are resumed, and a resumed one is never a way around a check.

use std::time::Duration;

use data_encoding::BASE64;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use tokio::time::{Instant, sleep};

use crate::support::PATIENCE;
use crate::support::client::{Client, Refusal, get};
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

const XFCC: &str = "x-forwarded-client-cert";

#[tokio::test]
async fn upstream_is_told_the_same_identity_over_every_resumed_session() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let leaf = pki.root().intermediate("Below").leaf().client();
    let leaf = leaf.uri(CLIENT_URI).issue();
    let mut told = Vec::new();
    for client in billing(&pki).presenting(&leaf).in_every_version() {
        for resumed in [false, true, true] {
            assert_eq!(visit(&client, &proxy, "public").await, Ok(resumed));
        }
    }
    for request in upstream.received(12).await {
        told.push(request.header(XFCC).unwrap().to_owned());
    }
    told.dedup();
    assert!(told.len() == 1 && told[0].contains(CLIENT_URI), "{told:?}");
    let metrics = proxy.metrics().await;
    for (reason, count) in [("full", 4.0), ("resumed", 8.0)] {
        let reason = format!("reason=\"{reason}\"");
        assert_eq!(metrics.sum("handshakes_total", &[&reason]), count);
    }
}

#[tokio::test]
async fn anonymous_caller_stays_anonymous_over_a_resumed_session() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let want = "listeners.public.tls.client_auth = 'want'";
    let proxy = Setup::new(&pki, &upstream).with(want).start().await;
    for client in Client::new(&pki).resuming().in_every_version() {
        for resumed in [false, true] {
            assert_eq!(visit(&client, &proxy, "public").await, Ok(resumed));
        }
    }
    for request in upstream.received(8).await {
        assert_eq!(request.header(XFCC), None);
    }
}

#[tokio::test]
async fn session_of_one_listener_is_not_resumed_on_another() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for (client_auth, trust) in [
        // Apart from its name the very same.
        ("require", "clients"),
        ("want", "clients"),
        ("require", "partners"),
    ] {
        let other = second_listener(client_auth, trust);
        let partners = "trust.partners.ca = ['clients.pem']";
        let setup = Setup::new(&pki, &upstream).with(partners).with(&other);
        let proxy = setup.start().await;
        for client in billing(&pki).in_every_version() {
            for (listener, resumed) in [
                ("public", false),
                ("other", false),
                ("other", true),
                ("public", false),
            ] {
                let visited = visit(&client, &proxy, listener).await;
                assert_eq!(visited, Ok(resumed), "{listener}: {client_auth}, {trust}");
            }
        }
    }
}

#[tokio::test]
async fn session_is_no_way_to_a_bundle_that_does_not_trust_the_peer() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let other = second_listener("require", "partners");
    let setup = Setup::new(&pki, &upstream)
        .file("partners.pem", &Authority::root("Partners").pem())
        .with("trust.partners.ca = ['partners.pem']")
        .with(&other);
    let proxy = setup.start().await;
    for client in billing(&pki).in_every_version() {
        assert_eq!(visit(&client, &proxy, "public").await, Ok(false));
        let refused = visit(&client, &proxy, "other").await;
        assert_eq!(refused, Err(AlertDescription::UnknownCA));
    }
}

#[tokio::test]
async fn anonymous_session_is_no_way_into_a_listener_that_requires_a_certificate() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    for before in ["none", "want"] {
        let setup = Setup::new(&pki, &upstream).with(&second_listener(before, "clients"));
        let proxy = match before {
            "none" => setup.without("listeners.other.tls.trust"),
            _ => setup,
        };
        let proxy = proxy.start().await;
        for client in Client::new(&pki).resuming().in_every_version() {
            for resumed in [false, true] {
                assert_eq!(visit(&client, &proxy, "other").await, Ok(resumed));
            }
            let refused = visit(&client, &proxy, "public").await;
            assert_eq!(refused, Err(AlertDescription::CertificateRequired));
        }
    }
}

#[tokio::test]
async fn session_ends_with_its_lifetime_however_often_it_was_renewed() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let lifetime = "listeners.public.tls.session_lifetime = '3s'";
    let proxy = Setup::new(&pki, &upstream).with(lifetime).start().await;
    for version in [&TLS12, &TLS13] {
        let client = billing(&pki).version(version);
        assert_eq!(visit(&client, &proxy, "public").await, Ok(false));
        let (begun, mut renewals) = (Instant::now(), 0);
        while visit(&client, &proxy, "public").await == Ok(true) {
            renewals += 1;
            assert!(begun.elapsed() < PATIENCE, "renewed {renewals} times");
            sleep(Duration::from_millis(20)).await;
        }
        assert!(renewals > 1, "renewed {renewals} times");
        // The full handshake that followed began another one.
        assert_eq!(visit(&client, &proxy, "public").await, Ok(true));
    }
}

#[tokio::test]
async fn session_ends_with_the_certificate_it_rests_on() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    for version in [&TLS12, &TLS13] {
        let leaf = pki.root().leaf().client().uri(CLIENT_URI);
        let brief = leaf.expiring_in(Duration::from_secs(6)).issue();
        let client = Client::new(&pki).presenting(&brief).version(version);
        let client = client.resuming();
        assert_eq!(visit(&client, &proxy, "public").await, Ok(false));
        assert_eq!(visit(&client, &proxy, "public").await, Ok(true));
        let begun = Instant::now();
        let refused = loop {
            match client.get(proxy.public(), "/").await {
                Err(Refusal::Alert(alert)) => break alert,
                // In its last second the connection may end before the answer.
                Ok(_) | Err(Refusal::Other(_)) => sleep(Duration::from_millis(20)).await,
            }
            assert!(begun.elapsed() < PATIENCE, "still accepted");
        };
        assert_eq!(refused, AlertDescription::CertificateExpired);
    }
}

#[tokio::test]
async fn restart_costs_every_client_one_full_handshake() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let before = Setup::new(&pki, &upstream).start().await;
    let after = Setup::new(&pki, &upstream).start().await;
    for client in billing(&pki).in_every_version() {
        assert_eq!(visit(&client, &before, "public").await, Ok(false));
        for resumed in [false, true] {
            assert_eq!(visit(&client, &after, "public").await, Ok(resumed));
        }
    }
}

#[tokio::test]
async fn instances_with_the_same_key_file_resume_each_others_sessions_while_it_rotates() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let [old, new] = [b'o', b'n'].map(|byte| BASE64.encode(&[byte; 48]));
    let files = [&old, &old, &format!("{new}\n{old}\n"), &new];
    let [first, second, third, fourth] = files.map(|file| sharing(&pki, &upstream, file));
    let (first, second) = (first.start().await, second.start().await);
    let (third, fourth) = (third.start().await, fourth.start().await);
    for client in billing(&pki).in_every_version() {
        for (instance, resumed) in [
            (&first, false),
            (&second, true),
            (&first, true),
            // This one has a new first line, and gives a ticket of it in return.
            (&third, true),
            (&fourth, true),
            (&first, false),
        ] {
            assert_eq!(visit(&client, instance, "public").await, Ok(resumed));
        }
    }
}

#[tokio::test]
async fn session_of_a_peer_that_was_revoked_since_goes_on_as_a_full_handshake_and_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let secret = BASE64.encode(&[b's'; 48]);
    let before = sharing(&pki, &upstream, &secret).start().await;
    let (revoked, other) = (pki.client(), pki.client());
    let after = sharing(&pki, &upstream, &secret)
        .file("clients.crl", &pki.root().crl(&[&revoked]))
        .with("trust.clients.crl = ['clients.crl']")
        .start()
        .await;
    for client in Client::new(&pki).resuming().in_every_version() {
        let (revoked, other) = (
            client.clone().presenting(&revoked),
            client.presenting(&other),
        );
        for client in [&revoked, &other] {
            assert_eq!(visit(client, &before, "public").await, Ok(false));
        }
        let refused = visit(&revoked, &after, "public").await;
        assert_eq!(refused, Err(AlertDescription::CertificateRevoked));
        assert_eq!(visit(&other, &after, "public").await, Ok(true));
    }
}

#[tokio::test]
async fn nothing_is_resumed_where_that_is_turned_off() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let off = "listeners.public.tls.session_resumption = false";
    for client_auth in ["want", "require"] {
        let mode = format!("listeners.public.tls.client_auth = '{client_auth}'");
        let setup = Setup::new(&pki, &upstream).with(off).with(&mode);
        let proxy = setup.start().await;
        for client in billing(&pki).in_every_version() {
            for _ in 0..2 {
                assert_eq!(visit(&client, &proxy, "public").await, Ok(false));
            }
        }
    }
}

#[tokio::test]
async fn key_file_that_cannot_be_used_names_its_line_and_nothing_of_its_content() {
    let pki = Pki::new();
    let key = "server.session_ticket_keys";
    let setup = || Setup::to(&pki, "http://127.0.0.1:1").with(&format!("{key} = 'ticket.keys'"));
    let good = BASE64.encode(&[b's'; 32]);
    setup()
        .file("ticket.keys", &good)
        .run("check")
        .await
        .expect_code(0);
    let short = BASE64.encode(&[b't'; 31]);
    for (content, words) in [
        (format!("{good}\n{short}"), "line 2 holds 31 bytes"),
        (format!("{good}\n\n{}!", &good[1..]), "line 3 is not base64"),
        (format!("{good}\n{good}"), "line 2 repeats line 1"),
        ("# none\n".to_owned(), "holds no secret"),
        (String::new(), "is an empty file"),
    ] {
        let setup = setup().file("ticket.keys", &content);
        for command in ["check", "run"] {
            let refused = setup.run(command).await;
            let place = "countersign.toml:";
            refused.expect_code(2).expect_words(&[place, key, words]);
            for secret in [&good[..16], &short[..16]] {
                assert!(!refused.stderr.contains(secret), "{}", refused.stderr);
            }
        }
    }
    setup().run("check").await.expect_code(2).expect_words(&[
        key,
        "ticket.keys cannot be read",
        "openssl rand -base64 48",
    ]);
}

/// A client that is authenticated, and resumes.
fn billing(pki: &Pki) -> Client {
    Client::new(pki).presenting(&pki.client()).resuming()
}

/// One request on a connection of its own: whether its session was a resumed
/// one, or how it was refused.
async fn visit(client: &Client, proxy: &Proxy, listener: &str) -> Result<bool, AlertDescription> {
    let alert = |refusal: Refusal| refusal.alert();
    let mut session = client
        .connect(proxy.listener(listener))
        .await
        .map_err(alert)?;
    let answer = session.send(get("/")).await.map_err(alert)?;
    assert_eq!(answer.status, 200);
    Ok(session.tls().resumed)
}

/// An instance that has these ticket keys.
fn sharing(pki: &Pki, upstream: &Upstream, secrets: &str) -> Setup {
    Setup::new(pki, upstream)
        .file("ticket.keys", secrets)
        .with("server.session_ticket_keys = 'ticket.keys'")
}

/// A listener beside `public`, with the same certificate.
fn second_listener(client_auth: &str, trust: &str) -> String {
    format!(
        "
[listeners.other]
bind = '127.0.0.1:0'
protocols = ['h2', 'http/1.1']
tls.certificates = [{{ chain = 'proxy.pem', key = 'proxy.key' }}]
tls.client_auth = '{client_auth}'
tls.trust = '{trust}'
"
    )
}
