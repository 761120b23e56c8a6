//! `countersign explain`: what would become of a request, and why.

mod agreement;
mod cases;

use std::process::Command;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::command::{BINARY, Finished, countersign, finish};
use crate::support::pki::{Authority, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// Runs `explain` on a config and, if it is given, a certificate.
async fn explain(setup: &Setup, leaf: Option<&Leaf>, arguments: &[&str]) -> Finished {
    let mut command = Command::new(BINARY);
    command.arg("explain").arg("--config").arg(setup.write());
    if let Some(leaf) = leaf {
        let path = setup.path("of-the-client.pem");
        std::fs::write(&path, leaf.chain_pem()).unwrap();
        command.arg("--cert").arg(path);
    }
    finish(command.args(arguments)).await
}

/// The same, as JSON.
async fn document(setup: &Setup, leaf: Option<&Leaf>, arguments: &[&str]) -> Value {
    let finished = explain(setup, leaf, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:#?}"))
}

fn setup(pki: &Pki) -> Setup {
    Setup::to(pki, "http://127.0.0.1:9")
}

/// The lines that end the way, without those before.
fn refused_lines(finished: &Finished) -> Vec<&str> {
    let lines = finished.stdout.lines();
    lines.filter(|line| line.starts_with("refused ")).collect()
}

#[tokio::test]
async fn permitted_request_is_told_step_by_step_with_the_fields_that_go_up() {
    let pki = Pki::new();
    let finished = explain(
        &setup(&pki),
        Some(&pki.client()),
        &["--path", "/orders?from=1", "--from", "192.0.2.7"],
    )
    .await;
    finished.expect_code(0);
    let text = &finished.stdout;
    assert!(
        !text.contains('\u{1b}'),
        "plain where it is no terminal: {text}"
    );
    let steps: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ok       ")?.split(' ').next())
        .filter(|step| !step.is_empty())
        .collect();
    assert_eq!(
        steps,
        [
            "config",
            "listener",
            "server_name",
            "client_certificate",
            "chain",
            "identity",
            "request",
            "host",
            "route",
            "rule",
            "upstream",
            "transport_layer",
            "attribute_layer",
            "message_layer",
        ]
    );
    for words in [
        "    GET /orders?from=1 HTTP/1.1\n",
        "    x-forwarded-for: 192.0.2.7\n",
        "    host: proxy.test\n",
        "URI=spiffe://prod.example/billing\n",
        "assumed: the host is proxy.test (--host); the client holds the key of its certificate\n",
        "permitted: it goes to upstream orders, which takes the caller to be spiffe://prod.example/billing (layer: assertion)\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
}

#[tokio::test]
async fn first_point_of_failure_ends_the_account_with_the_cause_and_a_remedy() {
    let pki = Pki::new();
    let stranger = Authority::root("A stranger").leaf().client().issue();
    let rule = "routes = [{ allow = [{ dns = 'nobody.example' }], upstream = 'orders' }]";
    let allow = setup(&pki).with(rule);
    let required = setup(&pki).with("upstreams.orders.outbound.basic_authentication = 'required'");
    for (setup, leaf, arguments, step, words) in [
        (
            setup(&pki),
            None,
            &[][..],
            "client_certificate",
            "no_certificate",
        ),
        (setup(&pki), Some(&stranger), &[], "chain", "untrusted"),
        (
            setup(&pki),
            Some(&pki.client()),
            &["--sni", "proxi.test"],
            "server_name",
            "proxi.test",
        ),
        (
            setup(&pki),
            Some(&pki.client()),
            &["--host", "other.test", "--sni", PROXY_NAME],
            "host",
            "other.test",
        ),
        (
            setup(&pki),
            Some(&pki.client()),
            &["--path", "/a/../b"],
            "request",
            "segment",
        ),
        (allow, Some(&pki.client()), &[], "rule", "no_rule_matched"),
        (
            required,
            Some(&pki.client()),
            &[],
            "message_layer",
            "credential_missing",
        ),
    ] {
        let finished = explain(&setup, leaf, arguments).await;
        finished.expect_code(4);
        let refused = refused_lines(&finished);
        let first = refused.first().expect("a step is refused");
        assert!(
            first.contains(step) && first.contains(words),
            "{finished:#?}"
        );
        let end: Vec<_> = finished.stdout.lines().rev().take(2).collect();
        assert!(end[0].starts_with("what to do: "), "{finished:#?}");
        assert!(end[1].starts_with("refused"), "{finished:#?}");
        assert!(
            !finished.stdout.contains("\n    GET "),
            "nothing goes up: {finished:#?}"
        );
    }
}

#[tokio::test]
async fn caller_without_a_certificate_is_anonymous_where_none_is_demanded() {
    let pki = Pki::new();
    let wanting = setup(&pki).with("listeners.public.tls.client_auth = 'want'");
    let told = document(&wanting, None, &[]).await;
    assert_eq!(told["verdict"], "permitted", "{told:#}");
    assert_eq!(told["caller"]["peer"], Value::Null, "{told:#}");
    assert_eq!(told["known_as"]["layer"], "none", "{told:#}");
}

#[tokio::test]
async fn secrets_are_told_by_their_length_and_their_file_alone() {
    let pki = Pki::new();
    let outbound = |toml: &str| {
        setup(&pki)
            .file("secrets", "hunter2\n")
            .file(
                "callers",
                "[[callers]]\nuri = 'spiffe://prod.example/*'\ntoken = 'hunter2'\n",
            )
            .file("assertion.key", &pki.client().key_pem())
            .with(&format!("[upstreams.orders.outbound]\n{toml}"))
    };
    let own = ["--header", "Authorization: Bearer hunter2"];
    let encoded = "aHVudGVyMg";
    for (setup, arguments, words) in [
        (
            outbound("credential = { source = 'basic', user = '', password_file = 'secrets' }")
                .with("upstreams.orders.outbound.credential.user = 'orders'"),
            &[][..],
            "authorization: Basic <secret: 20 bytes from ",
        ),
        (
            outbound("credential = { source = 'bearer', token_file = 'secrets' }"),
            &[],
            "authorization: Bearer <secret: 7 bytes from ",
        ),
        (
            outbound("credential = { source = 'per_caller', file = 'callers' }"),
            &[],
            "authorization: Bearer <secret: 7 bytes from ",
        ),
        (
            outbound(""),
            &own,
            "authorization: Bearer <secret: 7 bytes from the caller>",
        ),
        (
            outbound(
                "assertion = { encode = ['jwt'], jwt = { keys = ['assertion.key'], issuer = 'https://edge.example', header = 'X-Token' } }",
            ),
            &[],
            "signed with ",
        ),
    ] {
        for form in [&[][..], &["--json"]] {
            let finished = explain(&setup, Some(&pki.client()), &[arguments, form].concat()).await;
            finished.expect_code(0);
            let text = &finished.stdout;
            assert!(
                !text.contains("hunter2") && !text.contains(encoded),
                "{text}"
            );
            assert!(!text.contains(".ey"), "no token: {text}");
            if form.is_empty() {
                assert!(text.contains(words), "{words:?} is missing in\n{text}");
            }
        }
    }
}

#[tokio::test]
async fn ids_that_are_others_each_time_are_shown_and_said_to_be() {
    let pki = Pki::new();
    let setup = setup(&pki)
        .with("log.request_id_header = 'X-Request-Id'")
        .with("trace = {}");
    let finished = explain(&setup, Some(&pki.client()), &[]).await;
    finished.expect_code(0);
    for words in [
        "    traceparent: 00-",
        "    x-request-id: ",
        "which are others each time",
    ] {
        assert!(finished.stdout.contains(words), "{words}: {finished:#?}");
    }
}

#[tokio::test]
async fn claims_of_a_signed_assertion_are_told() {
    let pki = Pki::new();
    let setup = setup(&pki)
        .file("assertion.key", &pki.client().key_pem())
        .with(
            "[upstreams.orders.outbound]\nassertion = { encode = ['jwt'], jwt = { keys = ['assertion.key'], issuer = 'https://edge.example', header = 'X-Token', scheme = 'Token' } }",
        );
    let told = document(&setup, Some(&pki.client()), &[]).await;
    let fields = told["fields"].as_array().unwrap();
    let token = fields
        .iter()
        .find(|field| field["name"] == "x-token")
        .unwrap();
    assert_eq!(
        token["secret"]["claims"]["sub"], "spiffe://prod.example/billing",
        "{told:#}"
    );
    assert_eq!(token["value"], Value::Null, "{told:#}");
}

#[tokio::test]
async fn chain_is_told_with_its_anchor_and_the_lists_that_were_looked_at() {
    let pki = Pki::new();
    let issuing = pki.root().intermediate("Issuing");
    let leaf = |authority: &Authority| authority.leaf().client().uri("spiffe://a/b").issue();
    let (good, bad) = (leaf(&issuing), leaf(&issuing));
    let setup = setup(&pki)
        .file("root.crl", &pki.root().crl(&[]))
        .file("issuing.crl", &issuing.crl(&[&bad]))
        .with("trust.clients.crl = ['root.crl', 'issuing.crl']");
    let told = document(&setup, Some(&good), &[]).await;
    let path = &told["handshake"]["paths"][0];
    let issuers = ["CN=Issuing", "CN=Countersign Test Root"];
    assert_eq!(path["issuers"], serde_json::json!(issuers), "{told:#}");
    assert_eq!(path["anchor"], pki.root().fingerprint(), "{told:#}");
    for (at, file) in ["issuing.crl", "root.crl"].into_iter().enumerate() {
        let lookup = &path["lookups"][at];
        assert_eq!(lookup["status"], "clear", "{told:#}");
        let source = lookup["lists"][0]["source"].as_str().unwrap();
        assert!(source.ends_with(file), "{told:#}");
    }
    let told = document(&setup, Some(&bad), &[]).await;
    assert_eq!(told["refusal"]["reason"], "revoked", "{told:#}");
    assert_eq!(
        told["handshake"]["paths"][0]["lookups"][0]["status"], "revoked",
        "{told:#}"
    );

    let shadow = setup.with("trust.clients.enforce_crl = false");
    let told = document(&shadow, Some(&bad), &[]).await;
    assert_eq!(told["verdict"], "permitted", "{told:#}");
    assert!(told["handshake"]["would_refuse"].is_string(), "{told:#}");
}

#[tokio::test]
async fn validity_is_that_of_the_time_that_is_asked_for() {
    let pki = Pki::new();
    let (setup, leaf) = (setup(&pki), pki.client());
    let expired = pki
        .root()
        .leaf()
        .client()
        .uri("spiffe://a/b")
        .expired()
        .issue();
    for (leaf, at, reason) in [
        (&leaf, None, Value::Null),
        (&leaf, Some("2100-01-01"), "expired".into()),
        (&leaf, Some("2001-09-09T01:46:40Z"), "not_yet_valid".into()),
        (&expired, None, "expired".into()),
    ] {
        let arguments: Vec<_> = at.iter().flat_map(|at| ["--at", at]).collect();
        let told = document(&setup, Some(leaf), &arguments).await;
        assert_eq!(told["refusal"]["reason"], reason, "{told:#}");
    }
}

#[tokio::test]
async fn refusal_is_found_by_its_reference_at_the_admin_address() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let rule = "routes = [{ allow = [{ dns = 'nobody.example' }], upstream = 'orders' }]";
    let proxy = Setup::new(&pki, &upstream).with(rule).start().await;
    let answer = Client::new(&pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/x")
        .await;
    let text = answer.unwrap().text().to_owned();
    let (_, reference) = text.trim().rsplit_once(' ').unwrap();
    let stranger = Authority::root("A stranger").leaf().client().issue();
    Client::new(&pki)
        .presenting(&stranger)
        .refusal(proxy.public())
        .await;
    let refused = proxy.log_line("handshake.refused", |_| true).await;

    let admin = proxy.admin().to_string();
    let find = async |reference: &str| {
        let mut command = Command::new(BINARY);
        command.args(["explain", "--admin", &admin, "--reference", reference]);
        finish(&mut command).await
    };
    for (reference, words) in [
        (
            reference,
            [
                "no_rule_matched",
                "spiffe://prod.example/billing",
                "--path '/x'",
            ],
        ),
        (
            refused["reference"].as_str().unwrap(),
            ["untrusted", "A stranger", "remedy"],
        ),
    ] {
        let finished = find(reference).await;
        finished.expect_code(0);
        for word in words {
            assert!(
                finished.stdout.contains(word),
                "{word:?} is missing in {finished:#?}"
            );
        }
    }
    find("0000000000000000")
        .await
        .expect_code(1)
        .expect_words(&["the log may have it"]);
    find("the last one")
        .await
        .expect_code(2)
        .expect_words(&["16 hexadecimal digits"]);
    let nowhere = &["explain", "--reference", reference][..];
    countersign(nowhere)
        .await
        .expect_code(2)
        .expect_words(&["--config"]);
}

#[tokio::test]
async fn question_that_cannot_be_meant_ends_with_code_2_and_says_what_to_write() {
    let pki = Pki::new();
    let two = setup(&pki).with("listeners.second = { bind = '127.0.0.1:0' }");
    two.run("explain")
        .await
        .expect_code(2)
        .expect_words(&["--listener", "public, second"]);
    let one = setup(&pki).with("listeners.public.protocols = ['http/1.1']");
    for (arguments, words) in [
        (&["--listener", "privat"][..], "there are public"),
        (&["--at", "yesterday"], "2026-12-31"),
        (&["--from", "home"], "no IP address"),
        (&["--http", "2"], "protocols"),
        (&["--cert", "/nowhere.pem"], "write the path of a PEM file"),
        (&["--header", "nonsense"], "NAME: VALUE"),
        (&["--sni", "not a name"], "--sni"),
        (&["--method", "NOT A METHOD"], "--method"),
    ] {
        explain(&one, None, arguments)
            .await
            .expect_code(2)
            .expect_words(&[words]);
    }
    let broken = setup(&pki).with("listeners.public.bnid = 'x'");
    broken
        .run("explain")
        .await
        .expect_code(2)
        .expect_words(&["did you mean `bind`"]);
}

#[tokio::test]
async fn limits_of_a_route_are_told_and_maintenance_is_a_refusal() {
    let pki = Pki::new();
    let with_route = |route: &str| {
        let routes = format!("routes = [{{ upstream = 'orders', {route} }}]");
        setup(&pki).with(&routes)
    };
    let limited = with_route("rate = '600/m', max_body_bytes = '1KiB', body_timeout = '1h'");
    let told = document(&limited, Some(&pki.client()), &[]).await;
    assert_eq!(told["verdict"], "permitted");
    let steps = told["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["step"] == "limits").unwrap();
    assert_eq!(
        step["text"],
        "at most 600/m with bursts of 10 for each identity, and each source of anonymous callers: \
         whether that is used up is not known here; a body of at most 1024 bytes; \
         3600s between two pieces of a body"
    );
    let closed = with_route("maintenance = 'Back at six.'");
    let told = document(&closed, Some(&pki.client()), &[]).await;
    assert_eq!(told["verdict"], "refused");
    assert_eq!(told["refusal"]["fault"], "proxy/policy/maintenance");
    let last = told["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["step"], "maintenance", "{told}");
    let plain = document(&setup(&pki), Some(&pki.client()), &[]).await;
    let steps = plain["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["step"] != "limits"), "{plain}");
}
