//! TLS on the admin address: who may ask, and how countersign's own commands do.

use rustls::AlertDescription;

use crate::support::client::Client;
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::{Metrics, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

/// The admin address demands a certificate of this authority, which is not that
/// of callers.
fn demanding(pki: &Pki, upstream: &Upstream, operators: &Authority) -> Setup {
    Setup::new(pki, upstream)
        .file("operators.pem", &operators.pem())
        .with(DEMANDING)
}

const DEMANDING: &str = "
trust.operators.ca = ['operators.pem']
[admin.tls]
certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]
client_auth = 'require'
trust = 'operators'
";

#[tokio::test]
async fn only_whom_the_bundle_trusts_may_ask_and_the_log_says_who_was_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let operators = Authority::root("Operators");
    let proxy = demanding(&pki, &upstream, &operators).start().await;
    let operator = operators.leaf().client().uri("spiffe://ops.test/anna");
    let anna = Client::new(&pki).presenting(&operator.issue());
    for path in ["/", "/healthz", "/metrics", "/trust"] {
        let answer = anna.get(proxy.admin(), path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    let nobody = Client::new(&pki).refusal(proxy.admin()).await;
    assert_eq!(nobody.alert(), AlertDescription::CertificateRequired);
    // Callers are no operators.
    let caller = Client::new(&pki).presenting(&pki.client());
    let caller = caller.refusal(proxy.admin()).await;
    assert_eq!(caller.alert(), AlertDescription::UnknownCA);
    let line = proxy
        .log_line("handshake.refused", |line| line["reason"] == "untrusted")
        .await;
    assert_eq!(line["listener"], "admin", "{line}");
    assert!(line["remedy"].as_str().unwrap().contains("trust.operators"));
    let page = anna.get(proxy.admin(), "/").await.unwrap();
    assert!(page.text().contains("at <b>admin</b>"), "{}", page.text());
    assert!(page.text().contains("spiffe://ops.test/anna"));
    let mut raw = Raw::plain(proxy.admin()).await;
    raw.write("GET / HTTP/1.1\r\n\r\n").await;
    raw.read_to_end().await;
    let metrics = anna.get(proxy.admin(), "/metrics").await.unwrap();
    let metrics = Metrics(metrics.text().to_owned());
    let count = |result: &str, reason: &str| {
        let labels = [
            format!("result=\"{result}\""),
            format!("reason=\"{reason}\""),
        ];
        metrics.sum(
            "admin_handshakes_total",
            &labels.each_ref().map(String::as_str),
        )
    };
    assert_eq!(count("refused", "no_certificate"), 1.0, "{}", metrics.0);
    assert_eq!(count("refused", "untrusted"), 1.0, "{}", metrics.0);
    assert_eq!(count("not_tls", "http_on_tls_port"), 1.0, "{}", metrics.0);
    // Four paths, the page and this one.
    let accepted = count("accepted", "full") + count("accepted", "resumed");
    assert_eq!(accepted, 6.0, "{}", metrics.0);
    assert_eq!(
        metrics.sum("countersign_handshakes_total", &["refused"]),
        0.0
    );
}

#[tokio::test]
async fn plaintext_gets_nothing_where_tls_is_spoken() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("admin.tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]")
        .with("admin.tls.client_auth = 'none'")
        .start()
        .await;
    let mut raw = Raw::plain(proxy.admin()).await;
    raw.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = raw.read_to_end().await;
    assert!(!answer.contains("ok"), "{answer:?}");
    let client = Client::new(&pki);
    let answer = client.get(proxy.admin(), "/healthz").await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn check_says_who_may_ask() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let setup = demanding(&pki, &upstream, &Authority::root("Operators"));
    let told = setup.run("check").await;
    told.expect_code(0);
    let admin = told.stdout.lines().find(|line| line.contains("admin: "));
    let words = "TLS, client certificates required, checked against trust operators";
    assert!(admin.unwrap().contains(words), "{told:#?}");
    let told = Setup::new(&pki, &upstream).run("check").await;
    let admin = told.stdout.lines().find(|line| line.contains("admin: "));
    let words = "plaintext, open to whoever reaches it";
    assert!(admin.unwrap().contains(words), "{told:#?}");
}

#[tokio::test]
async fn what_is_demanded_and_presented_follows_the_files() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let [first, second] = ["First", "Second"].map(Authority::root);
    let proxy = demanding(&pki, &upstream, &first)
        .with("trust.operators.max_shrink = '100%'")
        .start()
        .await;
    let of = |authority: &Authority| {
        let leaf = authority.leaf().client().uri("spiffe://ops.test/anna");
        Client::new(&pki).presenting(&leaf.issue())
    };
    assert_eq!(
        of(&first).get(proxy.admin(), "/").await.unwrap().status,
        200
    );
    proxy
        .after(|proxy| proxy.rename_over("operators.pem", &second.pem()))
        .await;
    assert_eq!(
        of(&second).get(proxy.admin(), "/").await.unwrap().status,
        200
    );
    let refused = of(&first).refusal(proxy.admin()).await;
    assert_eq!(refused.alert(), AlertDescription::UnknownCA);
}

#[tokio::test]
async fn healthcheck_asks_with_what_its_config_says_and_is_refused_without() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let operators = Authority::root("Operators");
    let probe = operators.leaf().client().uri("spiffe://ops.test/probe");
    let proxy = demanding(&pki, &upstream, &operators)
        .certificate("probe", &probe.issue())
        .with("admin.bind = 'unix:admin.sock'")
        .with("admin.tls.client = { chain = 'probe.pem', key = 'probe.key' }")
        .start()
        .await;
    let asked = |config: &'static str| {
        let path = proxy.path(config);
        async move { crate::support::command::countersign_on("healthcheck", &path).await }
    };
    asked("countersign.toml").await.expect_code(0);
    let config = std::fs::read_to_string(proxy.path("countersign.toml")).unwrap();
    let mut without: toml::Table = config.parse().unwrap();
    let admin = without["admin"].as_table_mut().unwrap();
    admin["tls"].as_table_mut().unwrap().remove("client");
    std::fs::write(proxy.path("without.toml"), without.to_string()).unwrap();
    let refused = asked("without.toml").await;
    refused
        .expect_code(1)
        .expect_words(&["CertificateRequired"]);
    // A certificate that was renewed on disk, and is not in force yet, is no reason to
    // end a process that serves; one who is asked for more has to be whom it takes it for.
    let other = pki.proxy();
    std::fs::write(proxy.path("other.pem"), other.chain_pem()).unwrap();
    std::fs::write(proxy.path("other.key"), other.key_pem()).unwrap();
    let elsewhere = config.replace("proxy.pem", "other.pem");
    let elsewhere = elsewhere.replace("proxy.key", "other.key");
    std::fs::write(proxy.path("elsewhere.toml"), elsewhere).unwrap();
    asked("elsewhere.toml").await.expect_code(0);
    let path = proxy.path("elsewhere.toml").display().to_string();
    let preview = ["trust", "preview", "--config", &path];
    let refused = crate::support::command::countersign(&preview).await;
    refused
        .expect_code(1)
        .expect_words(&["ApplicationVerificationFailure"]);
    let live = ["healthcheck", "--live", "--config", &path];
    let told = crate::support::command::countersign(&live).await;
    told.expect_code(0);
    let url = ["healthcheck", "--url", "https://127.0.0.1:9901"];
    let told = crate::support::command::countersign(&url).await;
    told.expect_code(2).expect_words(&["--config"]);
}

#[tokio::test]
async fn whoever_has_a_certificate_may_change_things_also_from_elsewhere() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let operators = Authority::root("Operators");
    let open = "admin = { bind = '0.0.0.0:9901', allow_changes = true }";
    let demanding = demanding(&pki, &upstream, &operators).with(open);
    demanding.run("check").await.expect_code(0);
    let asks_nobody = Setup::new(&pki, &upstream)
        .with(open)
        .with("admin.tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]")
        .with("admin.tls.client_auth = 'none'");
    let refused = asks_nobody.run("check").await;
    refused
        .expect_code(2)
        .expect_words(&["admin.allow_changes"]);
}
