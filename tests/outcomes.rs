//! What becomes of clients whose certificate is missing or not accepted, and
//! what each side is told.

use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki, plain_hex};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// Each cause, by its name in the config.
const CAUSES: [(&str, AlertDescription); 8] = [
    ("no_certificate", AlertDescription::CertificateRequired),
    ("untrusted", AlertDescription::UnknownCA),
    ("expired", AlertDescription::CertificateExpired),
    ("not_yet_valid", AlertDescription::CertificateExpired),
    ("revoked", AlertDescription::CertificateRevoked),
    ("revocation_unknown", AlertDescription::CertificateUnknown),
    ("wrong_purpose", AlertDescription::UnsupportedCertificate),
    ("malformed", AlertDescription::BadCertificate),
];

/// A proxy, and a client for each cause.
struct Stage {
    pki: Pki,
    upstream: Upstream,
    proxy: Proxy,
    revoked: Leaf,
    unlisted: Authority,
}

impl Stage {
    async fn with(settings: &str) -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let revoked = pki.client();
        let unlisted = pki.root().intermediate("Unlisted");
        let setup = Setup::new(&pki, &upstream)
            .file("clients.crl", &pki.root().crl(&[&revoked]))
            .with("trust.clients.crl = ['clients.crl']")
            .with(settings);
        Self {
            proxy: setup.start().await,
            pki,
            upstream,
            revoked,
            unlisted,
        }
    }

    /// The certificate that is not accepted for this cause; `None`: none at all.
    fn leaf(&self, cause: &str) -> Option<Leaf> {
        let leaf = || self.pki.root().leaf().client().uri(CLIENT_URI);
        Some(match cause {
            "no_certificate" => return None,
            "untrusted" => {
                let stranger = Authority::root("Stranger").leaf().client();
                stranger.uri(CLIENT_URI).issue()
            }
            "expired" => leaf().expired().issue(),
            "not_yet_valid" => leaf().not_yet_valid().issue(),
            "revoked" => self.revoked.clone(),
            "revocation_unknown" => self.unlisted.leaf().client().uri(CLIENT_URI).issue(),
            "wrong_purpose" => self.pki.root().leaf().server().uri(CLIENT_URI).issue(),
            "malformed" => leaf().critical_extension().issue(),
            other => panic!("{other} is no cause"),
        })
    }

    fn client(&self, leaf: Option<&Leaf>) -> Client {
        let client = Client::new(&self.pki);
        match leaf {
            Some(leaf) => client.presenting(leaf),
            None => client,
        }
    }

    /// The line about the handshake with this reference.
    async fn line(&self, reference: &str) -> Value {
        let is_it = |line: &Value| line["reference"] == reference;
        self.proxy.log_line("handshake.refused", is_it).await
    }
}

/// The reference on a page.
fn reference(page: &str) -> String {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("reference: "));
    line.unwrap_or_else(|| panic!("no reference: {page}"))
        .to_owned()
}

/// That a line of the access log says nothing of who the caller claims to be.
fn names_nobody(line: &Value, leaf: Option<&Leaf>) {
    let text = line.to_string();
    assert!(line["peer"].is_null(), "{line}");
    assert!(!text.contains(CLIENT_URI), "{line}");
    let told = leaf.is_some_and(|leaf| text.contains(&leaf.fingerprint()));
    assert!(!told, "{line}");
}

#[tokio::test]
async fn each_cause_has_its_own_alert_and_says_so_in_the_log() {
    let stage = Stage::with("").await;
    for (cause, alert) in CAUSES {
        let leaf = stage.leaf(cause);
        for client in stage.client(leaf.as_ref()).in_every_version() {
            let refusal = client.refusal(stage.proxy.public()).await;
            assert_eq!(refusal.alert(), alert, "{cause}");
        }
        let is_it = |line: &Value| line["reason"] == cause;
        let line = stage.proxy.log_line("handshake.refused", is_it).await;
        assert_eq!(line["outcome"], "alert");
        assert!(!line["remedy"].as_str().unwrap().is_empty());
        assert_eq!(line["generation"], 1);
        if let Some(leaf) = &leaf {
            assert_eq!(line["bundle"], "clients");
            assert_eq!(line["names"], format!("uri:{CLIENT_URI}"));
            assert_eq!(line["fingerprint"], leaf.fingerprint());
            let serial = plain_hex(line["serial"].as_str().unwrap());
            assert_eq!(serial, leaf.serial());
        }
    }
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn http_answers_each_cause_with_a_page_whose_reference_the_log_has() {
    let http = "listeners.public.tls = { on_missing = 'http', on_invalid = 'http' }";
    let stage = Stage::with(http).await;
    for (cause, _) in CAUSES {
        let leaf = stage.leaf(cause);
        for client in stage.client(leaf.as_ref()).in_every_version() {
            let mut session = client.connect(stage.proxy.public()).await.unwrap();
            let answer = session.send(get(&format!("/{cause}"))).await.unwrap();
            assert_eq!(answer.status, 403, "{cause}");
            let page = answer.text();
            assert!(!page.contains(cause) && !page.contains("remedy"), "{page}");
            let reference = reference(page);
            let line = stage.line(&reference).await;
            assert_eq!(
                (&line["reason"], &line["outcome"]),
                (&cause.into(), &"http".into())
            );
            let is_it = |line: &Value| line["request_id"] == *reference;
            let line = stage.proxy.access_line_where(is_it).await;
            names_nobody(&line, leaf.as_ref());
            let fault = match leaf {
                None => "downstream/policy/certificate_required",
                Some(_) => "downstream/policy/certificate_refused",
            };
            assert_eq!(
                (&line["fault"], &line["status"]),
                (&fault.into(), &403.into())
            );
            // It does not go on asking.
            eventually("the end of the connection", || {
                session.is_closed().then_some(())
            })
            .await;
        }
    }
    assert!(stage.upstream.requests().is_empty());
    let metrics = stage.proxy.metrics().await;
    assert_eq!(metrics.sum("handshakes", &["result=\"answered\""]), 32.0);
    assert_eq!(metrics.sum("handshakes", &["result=\"accepted\""]), 0.0);
    // Who is accepted is served there as ever.
    let good = stage.client(Some(&stage.pki.client()));
    assert_eq!(
        good.get(stage.proxy.public(), "/").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn anonymous_leaves_no_trace_of_the_certificate_whatever_the_cause() {
    for client_auth in ["want", "require"] {
        let stage = Stage::with(&format!(
            "routes = [
                {{ path = '/mine', upstream = 'orders', allow = [{{ uri = '{CLIENT_URI}' }}] }},
                {{ upstream = 'orders' }},
            ]
            listeners.public.tls = {{ client_auth = '{client_auth}', on_invalid = 'anonymous' }}"
        ))
        .await;
        for (cause, _) in CAUSES {
            let Some(leaf) = stage.leaf(cause) else {
                continue;
            };
            for client in stage.client(Some(&leaf)).resuming().in_every_version() {
                for _again in 0..2 {
                    let mut session = client.connect(stage.proxy.public()).await.unwrap();
                    let path = format!("/{client_auth}/{cause}");
                    let answer = session.send(get(&path)).await.unwrap();
                    assert_eq!(answer.status, 200, "{cause}");
                    assert!(!session.tls().resumed, "{cause}");
                    let denied = session.send(get("/mine")).await.unwrap();
                    assert_eq!(denied.status, 403, "{cause}");
                    names_nobody(
                        &stage.proxy.access_line_where(|l| l["path"] == path).await,
                        Some(&leaf),
                    );
                }
            }
            let is_it = |line: &Value| line["reason"] == cause;
            let line = stage.proxy.log_line("handshake.refused", is_it).await;
            assert_eq!(
                (&line["outcome"], &line["fingerprint"]),
                (&"anonymous".into(), &leaf.fingerprint().into())
            );
        }
        for received in stage.upstream.requests() {
            assert_eq!(received.header("x-forwarded-client-cert"), None);
        }
        let (_, peers) = stage.proxy.ask_admin("/trust/peers").await;
        assert!(!peers.contains(CLIENT_URI), "{peers}");
        // A certificate that is accepted is who it says it is.
        let good = stage.client(Some(&stage.pki.client()));
        assert_eq!(
            good.get(stage.proxy.public(), "/mine")
                .await
                .unwrap()
                .status,
            200
        );
    }
}

#[tokio::test]
async fn each_cause_can_have_an_outcome_of_its_own() {
    let stage = Stage::with(
        "[listeners.public.tls]
        on_invalid = 'http'
        outcomes = { no_certificate = 'http', expired = 'anonymous', revoked = 'alert' }",
    )
    .await;
    for (cause, outcome) in [
        ("no_certificate", Ok(403)),
        ("untrusted", Ok(403)),
        ("expired", Ok(200)),
        ("malformed", Ok(403)),
        ("revoked", Err(AlertDescription::CertificateRevoked)),
    ] {
        let leaf = stage.leaf(cause);
        for client in stage.client(leaf.as_ref()).in_every_version() {
            let answer = client.get(stage.proxy.public(), "/").await;
            let answer = answer.map(|answer| answer.status.as_u16());
            assert_eq!(
                answer.map_err(|refusal| refusal.alert()),
                outcome,
                "{cause}"
            );
        }
    }
}

#[tokio::test]
async fn want_lets_callers_without_a_certificate_in_whatever_on_missing_says() {
    let settings = "listeners.public.tls = { client_auth = 'want', on_missing = 'http' }";
    let stage = Stage::with(settings).await;
    for client in stage.client(None).in_every_version() {
        assert_eq!(
            client.get(stage.proxy.public(), "/").await.unwrap().status,
            200
        );
    }
    assert!(stage.proxy.logged("handshake.refused").is_empty());
}

#[tokio::test]
async fn who_cannot_prove_to_hold_the_key_is_refused_with_an_alert_whatever_the_outcomes() {
    for outcome in ["http", "anonymous"] {
        let stage = Stage::with(&format!("listeners.public.tls.on_invalid = '{outcome}'")).await;
        let thief = stage.pki.client();
        let good = stage.pki.client();
        for leaf in [Some(good), stage.leaf("expired"), stage.leaf("malformed")] {
            let stolen = leaf.unwrap().with_key_of(&thief);
            for client in stage.client(Some(&stolen)).in_every_version() {
                let refusal = client.refusal(stage.proxy.public()).await;
                assert_eq!(refusal.alert(), AlertDescription::DecryptError);
            }
        }
        let line = stage.proxy.log_line("handshake.refused", |_| true).await;
        assert_eq!(
            (&line["reason"], &line["outcome"]),
            (&"bad_signature".into(), &"alert".into())
        );
        assert!(stage.upstream.requests().is_empty());
    }
}

#[tokio::test]
async fn page_says_the_cause_and_the_remedy_if_it_shall() {
    let tells =
        "listeners.public.tls = { on_missing = 'http', on_invalid = 'http', tell_client = true }";
    let stage = Stage::with(tells).await;
    for (cause, words) in [
        ("no_certificate", "presented no certificate"),
        ("expired", "expired 60 min ago by this clock"),
        ("untrusted", "Stranger"),
        ("wrong_purpose", "serverAuth"),
    ] {
        let leaf = stage.leaf(cause);
        for client in stage.client(leaf.as_ref()).in_every_version() {
            let answer = client.get(stage.proxy.public(), "/").await.unwrap();
            let page = answer.text();
            assert!(page.contains(&format!("reason: {cause}\n")), "{page}");
            assert!(page.contains(words), "{page}");
            assert!(page.contains("\nremedy: "), "{page}");
            assert_eq!(
                answer.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
        }
    }
}

#[tokio::test]
async fn refusals_are_found_by_their_references() {
    let settings = "routes = [{ path = '/here', upstream = 'orders' }]
        listeners.public.tls.outcomes = { expired = 'http' }";
    let stage = Stage::with(settings).await;
    let ask = async |path: &str| -> (u16, Value) {
        let (status, text) = stage.proxy.ask_admin(path).await;
        (status, serde_json::from_str(&text).unwrap())
    };
    let (status, all) = ask("/refusals").await;
    assert_eq!(
        (status, &all["handshakes"], &all["requests"]),
        (200, &Value::Array(vec![]), &Value::Array(vec![]))
    );

    // A handshake of which its client was told.
    let expired = stage.leaf("expired").unwrap();
    let client = stage.client(Some(&expired));
    let page = client.get(stage.proxy.public(), "/").await.unwrap();
    let (status, found) = ask(&format!("/refusals/{}", reference(page.text()))).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(
        (&found["kind"], &found["reason"]),
        (&"handshake".into(), &"expired".into())
    );
    assert_eq!(found["certificate"]["fingerprint"], expired.fingerprint());
    assert_eq!(
        (&found["bundle"], &found["step"]),
        (&"clients".into(), &"validity".into())
    );

    // One of which only the log was told.
    let stranger = stage.leaf("untrusted");
    stage
        .client(stranger.as_ref())
        .refusal(stage.proxy.public())
        .await;
    let untrusted = |line: &Value| line["reason"] == "untrusted";
    let line = stage.proxy.log_line("handshake.refused", untrusted).await;
    let (status, found) = ask(&format!(
        "/refusals/{}",
        line["reference"].as_str().unwrap()
    ))
    .await;
    assert_eq!((status, &found["outcome"]), (200, &"alert".into()));
    assert_eq!(found["nearest_miss"], line["nearest_miss"]);

    for unknown in ["0123456789abcdef", "nonsense", ""] {
        assert_eq!(ask(&format!("/refusals/{unknown}")).await.0, 404);
    }
    let (_, all) = ask("/refusals").await;
    assert_eq!(all["handshakes"].as_array().unwrap().len(), 2);
    assert_eq!(all["requests"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn refused_requests_are_found_by_their_references_without_their_queries() {
    let stage = Stage::with("routes = [{ path = '/here', upstream = 'orders' }]").await;
    let good = stage.client(Some(&stage.pki.client()));
    for client in good.in_every_version() {
        let path = "/elsewhere?token=secret";
        let page = client.get(stage.proxy.public(), path).await.unwrap();
        assert_eq!(page.status, 404);
        let path = format!("/refusals/{}", reference(page.text()));
        let (status, found) = stage.proxy.ask_admin(&path).await;
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!((status, &found["kind"]), (200, &"request".into()));
        assert_eq!(found["fault"], "proxy/route/no_route");
        assert_eq!(found["peer"], CLIENT_URI);
        assert_eq!(found["path"], "/elsewhere");
        assert_eq!(found["host"], "proxy.test");
        // Nor is there one of the requests that were served.
        assert_eq!(
            client
                .get(stage.proxy.public(), "/here")
                .await
                .unwrap()
                .status,
            200
        );
    }
    let (_, all) = stage.proxy.ask_admin("/refusals").await;
    assert!(!all.contains("secret") && !all.contains("/here"), "{all}");
}

#[tokio::test]
async fn log_has_a_few_lines_of_one_source_and_reason_and_a_count_of_the_others() {
    let mut stage = Stage::with("log.refusals_per_minute = 2").await;
    for cause in ["expired", "untrusted"] {
        let leaf = stage.leaf(cause);
        let client = stage.client(leaf.as_ref());
        for _ in 0..5 {
            client.refusal(stage.proxy.public()).await;
        }
        let counted = format!("reason=\"{cause}\"");
        let all = |metrics: &crate::support::proxy::Metrics| {
            metrics.sum("handshakes", &[&counted]) == 5.0
        };
        stage.proxy.metrics_where("each refusal", all).await;
    }
    stage.proxy.terminate();
    for cause in ["expired", "untrusted"] {
        let is_it = |line: &Value| line["reason"] == cause;
        let line = stage
            .proxy
            .log_line("handshake.refusals_left_out", is_it)
            .await;
        assert_eq!(
            (&line["left_out"], &line["source"]),
            (&3.into(), &"127.0.0.1".into())
        );
        let lines = stage.proxy.logged("handshake.refused");
        assert_eq!(
            lines.iter().filter(|line| is_it(line)).count(),
            2,
            "{cause}"
        );
    }
    assert_eq!(stage.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn nobody_becomes_somebody_by_a_session_when_the_authority_is_trusted_later() {
    let partners = Authority::root("Partners");
    let leaf = partners.leaf().client().uri(CLIENT_URI).issue();
    for version in [&TLS12, &TLS13] {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        // Where anonymous sessions are resumed.
        let anonymous = "listeners.public.tls = { client_auth = 'want', on_invalid = 'anonymous' }";
        let proxy = Setup::new(&pki, &upstream).with(anonymous).start().await;
        let client = Client::new(&pki)
            .presenting(&leaf)
            .resuming()
            .version(version);
        let mut before = client.connect(proxy.public()).await.unwrap();
        assert_eq!(before.send(get("/before")).await.unwrap().status, 200);
        let both = format!("{}{}", pki.root().pem(), partners.pem());
        proxy.rename_over("clients.pem", &both);
        proxy.in_force(2).await;
        // The open connection stays what it was.
        assert_eq!(before.send(get("/still")).await.unwrap().status, 200);
        let mut after = client.connect(proxy.public()).await.unwrap();
        assert_eq!(after.send(get("/after")).await.unwrap().status, 200);
        assert!(!after.tls().resumed);
        for (path, peer) in [
            ("/before", None),
            ("/still", None),
            ("/after", Some(CLIENT_URI)),
        ] {
            let line = proxy.access_line(path).await;
            assert_eq!(line["peer"].as_str(), peer, "{line}");
        }
    }
}

#[tokio::test]
async fn who_was_let_in_as_nobody_ends_when_the_listener_lets_such_clients_in_no_longer() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let anonymous = "listeners.public.tls.on_invalid = 'anonymous'";
    let setup = Setup::new(&pki, &upstream).with(anonymous);
    let alert = setup.text_with("listeners.public.tls.on_invalid = 'alert'");
    let proxy = setup.start().await;
    let leaf = pki.root().leaf().client().uri(CLIENT_URI).expired().issue();
    for client in Client::new(&pki).presenting(&leaf).in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        if client.speaks_h2() {
            proxy.rename_over("countersign.toml", &alert);
            let line = proxy.log_line("connection.withdrawn", |_| true).await;
            assert_eq!(
                (&line["reason"], &line["peer"]),
                (&"expired".into(), &Value::Null)
            );
            eventually("the end of the connection", || {
                session.is_closed().then_some(())
            })
            .await;
        }
    }
}
