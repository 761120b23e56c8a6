//! What `check` warns of: legal, and likely a mistake.

use std::process::Command;
use std::time::Duration;

use crate::support::command::{BINARY, finish};
use crate::support::pki::{Authority, CLIENT_URI, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn check_says_of_each_doubt_where_it_stands_what_it_would_cause_and_what_to_write() {
    let pki = Pki::new();
    let alone = pki
        .root()
        .intermediate("Between")
        .leaf()
        .server()
        .dns(PROXY_NAME);
    let alone = alone.issuer_at("http://ca.example/between.der").issue();
    let setup = Setup::to(&pki, "https://127.0.0.1:8443")
        .file("proxy.pem", &alone.leaf_pem())
        .file("proxy.key", &alone.key_pem())
        .with("trust.internal = { ca = ['clients.pem'], may_assert = [{ dns = '*.internal' }] }")
        .with("upstreams.orders.tls.trust = 'clients'")
        .with("upstreams.billing = { endpoints = ['https://billing.example'], tls.trust = 'internal', outbound.identity_assertion = 'never' }")
        .with("routes = [{ upstream = 'orders', path = '/orders' }, { upstream = 'billing' }]");
    let warned = warnings(&setup, &[]).await;
    for (words, causes, remedy) in [
        (
            "listeners.public.tls.certificates: ",
            "whoever has only the root above it would refuse",
            "append the issuer's certificate to",
        ),
        (
            "upstreams.orders.endpoints: without server_name",
            "502",
            "write server_name = \"NAME\"",
        ),
        (
            "upstreams.billing.endpoints: no certificate for billing.example is accepted",
            "502",
            "add { dns = \"billing.example\" } to may_assert of trust.internal",
        ),
    ] {
        let line = warned.iter().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{words} in {warned:#?}"));
        let (place, _) = line.split_once(words).unwrap();
        let mut place = place.rsplit(':').skip(1);
        let numbers = [place.next().unwrap(), place.next().unwrap()];
        assert!(numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{line}");
        assert!(line.contains("countersign.toml"), "{line}");
        assert!(line.contains(causes) && line.contains(remedy), "{line}");
    }
    assert_eq!(warned.len(), 3, "{warned:#?}");
    // Each put right.
    let setup = setup
        .certificate("proxy", &alone)
        .with("upstreams.orders.tls.server_name = 'orders.internal'")
        .with("upstreams.billing.tls.server_name = 'billing.internal'");
    assert_eq!(warnings(&setup, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn check_warns_where_the_machines_authorities_are_those_of_clients() {
    let pki = Pki::new();
    let public: String = (0..12)
        .map(|n| Authority::root(&format!("Public {n}")).pem())
        .collect();
    let setup = Setup::to(&pki, "http://127.0.0.1:1").file("public.pem", &public);
    let machine = setup.path("public.pem");
    let environment = [("SSL_CERT_FILE", machine.to_str().unwrap())];
    assert_eq!(warnings(&setup, &environment).await, Vec::<String>::new());
    let setup = setup.with("trust.clients.ca = ['public.pem']");
    let [line] = &warnings(&setup, &environment).await[..] else {
        panic!("one warning")
    };
    assert!(
        line.contains("trust.clients.ca: 12 of its authorities are those of this machine"),
        "{line}"
    );
    assert_eq!(warnings(&setup, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn check_warns_of_a_long_list_of_authorities() {
    let pki = Pki::new();
    let many: String = (0..60)
        .map(|n| Authority::root(&format!("{n}{}", "x".repeat(300))).pem())
        .collect();
    let setup = Setup::to(&pki, "http://127.0.0.1:1").file("many.pem", &many);
    let spare = setup.with("trust.spare.ca = ['many.pem']");
    assert_eq!(warnings(&spare, &[]).await, Vec::<String>::new());
    let setup = spare.with("trust.clients.ca = ['many.pem']");
    let [line] = &warnings(&setup, &[]).await[..] else {
        panic!("one warning")
    };
    assert!(
        line.contains("trust.clients.ca: the names of its 60 authorities take"),
        "{line}"
    );
}

#[tokio::test]
async fn check_warns_of_what_expires_within_two_weeks_whatever_it_is() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let pki = Pki::new();
    let leaf = |left| {
        let leaf = pki.root().leaf().server().dns(PROXY_NAME);
        leaf.expiring_in(left).issue()
    };
    let setup = |leaf: &Leaf| Setup::to(&pki, "http://127.0.0.1:1").certificate("proxy", leaf);
    assert!(warnings(&setup(&leaf(15 * DAY)), &[]).await.is_empty());
    let below = pki.root().intermediate_for("Soon", 13 * DAY);
    let lasting = below.leaf().server().dns(PROXY_NAME).issue();
    for (leaf, who) in [(leaf(13 * DAY), PROXY_NAME), (lasting, "CN=Soon")] {
        let [line] = &warnings(&setup(&leaf), &[]).await[..] else {
            panic!("one warning")
        };
        assert!(
            line.contains(&format!("of public (\"{who}\") expires in 1")),
            "{line}"
        );
        assert!(line.contains("put a renewed one in its place"), "{line}");
    }
    let soon = Authority::root_for("Soon", 13 * DAY);
    let setup = setup(&leaf(15 * DAY)).file("clients.pem", &soon.pem());
    let [line] = &warnings(&setup, &[]).await[..] else {
        panic!("one warning")
    };
    assert!(
        line.contains("of clients (\"CN=Soon\") expires in 1"),
        "{line}"
    );
    assert!(
        line.contains("put its successor into the bundle beside it"),
        "{line}"
    );
}

#[tokio::test]
async fn doubts_are_logged_once_and_hold_nothing_up() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let tls = "upstreams.spare = { endpoints = ['https://10.0.0.5'], tls.trust = 'clients', outbound.identity_assertion = 'never' }";
    let proxy = Setup::new(&pki, &upstream).with(tls).start().await;
    let line = proxy.log_line("config.unusual", |_| true).await;
    let text = line.to_string();
    assert!(
        text.contains("upstreams.spare.endpoints: without server_name"),
        "{line}"
    );
    proxy.configure("trust.clients.withdrawal_grace = '9s'");
    proxy.in_force(2).await;
    assert_eq!(proxy.logged("config.unusual").len(), 1);
}

#[tokio::test]
async fn check_shows_for_whom_a_bundle_may_vouch_and_what_is_not_enforced() {
    let pki = Pki::new();
    let setup = Setup::to(&pki, "http://127.0.0.1:1");
    let said = setup.run("check").await;
    assert!(
        said.expect_code(0)
            .stdout
            .contains("trust clients: 1 anchor, 0 revocation lists\n")
    );
    let setup = setup
        .file("root.crl", &pki.root().crl(&[]))
        .with("trust.clients = { crl = ['root.crl'], enforce_crl = false, enforce_withdrawal = false }")
        .with(&format!("trust.clients = {{ spiffe_trust_domain = 'prod.example', may_assert = [{{ uri = '{CLIENT_URI}' }}] }}"));
    let said = setup.run("check").await;
    let line = format!(
        "trust clients: 1 anchor, 1 revocation list, only for SPIFFE IDs of prod.example, only for {{ uri = \"{CLIENT_URI}\" }}, revocation NOT enforced, withdrawal NOT enforced\n"
    );
    assert!(said.expect_code(0).stdout.contains(&line), "{said:#?}");
}

/// The warnings of `check`, in an environment with these variables.
async fn warnings(setup: &Setup, environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(BINARY);
    command.args(["check", "--config"]).arg(setup.write());
    command
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR");
    command.envs(environment.iter().copied());
    let finished = finish(&mut command).await;
    let lines = finished.expect_code(0).stdout.lines();
    let warned = lines.filter_map(|line| line.trim_start().strip_prefix("warning: "));
    warned.map(str::to_owned).collect()
}
