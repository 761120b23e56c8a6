//! Which credential a request goes up with, from every source in every mode,
//! and what becomes of one that the service does not accept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use data_encoding::BASE64;
use serde_json::Value;

use crate::support::body::Body;
use crate::support::client::{Client, get, post, with};
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::scene::Scene;
use crate::support::upstream::{Received, Reply, Upstream};

const BILLING: &str = "spiffe://prod.example/billing";
const WEB: &str = "spiffe://prod.example/web";
const STRANGER: &str = "spiffe://other.example/web";

/// Two callers that have a credential, and room for others that have none.
const CALLERS: &str = r#"
[[callers]]
uri = "spiffe://prod.example/billing"
user = "billing"
password = "planted-1"

[[callers]]
uri = "spiffe://prod.example/*"
token = "planted-2"
"#;

/// With these settings under `upstreams.orders.outbound`, and one worker.
async fn scene(upstream: Upstream, outbound: &str) -> Scene {
    Scene::start(Pki::new(), upstream, |setup| {
        setup
            .file("secret", "planted\r\n")
            .file("callers.toml", CALLERS)
            .with("server.workers = 1")
            .with(&format!("[upstreams.orders.outbound]\n{outbound}"))
    })
    .await
}

/// The credentials that the upstream has got, request by request.
fn credentials(scene: &Scene) -> Vec<Option<String>> {
    let requests = scene.upstream.requests();
    let credential = |request: &Received| request.header("authorization").map(str::to_owned);
    requests.iter().map(credential).collect()
}

fn says_nothing_of(scene: &Scene, secrets: &[&str]) {
    let mut said = scene.proxy.diagnostics();
    said.extend(scene.proxy.access_log());
    for secret in secrets {
        let told = said.iter().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret}");
    }
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64.encode(format!("{user}:{password}").as_bytes())
    )
}

#[tokio::test]
async fn each_source_in_each_mode_sends_what_it_has_and_refuses_what_it_must() {
    const FORWARD: &str = "source = 'forward'";
    const BASIC: &str = "source = 'basic', user = 'orders', password_file = 'secret'";
    const BEARER: &str = "source = 'bearer', token_file = 'secret'";
    const PER_CALLER: &str = "source = 'per_caller', file = 'callers.toml'";
    let basic = basic("orders", "planted");
    let (own, bearer) = ("Bearer mine", "Bearer planted");
    // The source, the mode, and what becomes of a request with a credential of
    // the caller's own and of one without: what goes up, or `None` for 403.
    type Outcome<'a> = Option<Option<&'a str>>;
    let cells: [(&str, &str, Outcome<'_>, Outcome<'_>); 12] = [
        (FORWARD, "never", Some(None), Some(None)),
        (FORWARD, "supported", Some(Some(own)), Some(None)),
        (FORWARD, "required", Some(Some(own)), None),
        (BASIC, "never", Some(None), Some(None)),
        (BASIC, "supported", Some(Some(&basic)), Some(Some(&basic))),
        (BASIC, "required", Some(Some(&basic)), Some(Some(&basic))),
        (BEARER, "never", Some(None), Some(None)),
        (BEARER, "supported", Some(Some(bearer)), Some(Some(bearer))),
        (BEARER, "required", Some(Some(bearer)), Some(Some(bearer))),
        // Of somebody whom the file does not know.
        (PER_CALLER, "never", Some(None), Some(None)),
        (PER_CALLER, "supported", Some(None), Some(None)),
        (PER_CALLER, "required", None, None),
    ];
    for (source, mode, with_own, without) in cells {
        let outbound = format!("basic_authentication = '{mode}'\ncredential = {{ {source} }}");
        let scene = scene(Upstream::start().await, &outbound).await;
        let [http1, http2] = scene.caller(STRANGER).in_both_protocols();
        let mut expected = Vec::new();
        for (client, sends, outcome) in [
            (&http1, Some(own), with_own),
            (&http2, Some(own), with_own),
            (&http1, None, without),
            (&http2, None, without),
        ] {
            let status = if outcome.is_some() { 200 } else { 403 };
            let cell = format!("{source}, {mode}, {sends:?}");
            assert_eq!(scene.status(client, sends).await, status, "{cell}");
            expected.extend(outcome.map(|sent| sent.map(str::to_owned)));
        }
        assert_eq!(credentials(&scene), expected, "{source}, {mode}");
        if without.is_none() {
            let refused = |line: &Value| line["status"] == 403;
            let line = scene.proxy.access_line_where(refused).await;
            assert_eq!(line["fault"], "proxy/outbound/credential_missing", "{line}");
        }
        says_nothing_of(&scene, &["planted", &basic, "mine"]);
    }
}

#[tokio::test]
async fn each_caller_has_the_credential_that_the_file_says_and_strangers_have_none() {
    for mode in ["supported", "required"] {
        let outbound = format!(
            "basic_authentication = '{mode}'\ncredential = {{ source = 'per_caller', file = 'callers.toml' }}"
        );
        let scene = scene(Upstream::start().await, &outbound).await;
        for uri in [BILLING, WEB] {
            for client in scene.caller(uri).in_both_protocols() {
                assert_eq!(scene.status(&client, Some("Bearer mine")).await, 200);
            }
        }
        let refused = if mode == "required" { 403 } else { 200 };
        let strangers = [scene.caller(STRANGER), Client::new(&scene.pki)];
        for client in &strangers {
            assert_eq!(scene.status(client, Some("Bearer mine")).await, refused);
        }
        let (billing, web) = (basic("billing", "planted-1"), "Bearer planted-2".to_owned());
        let mut expected = vec![
            Some(billing.clone()),
            Some(billing.clone()),
            Some(web.clone()),
            Some(web),
        ];
        if mode == "supported" {
            expected.extend([None, None]);
        } else {
            let line = scene
                .proxy
                .access_line_where(|line| line["status"] == 403)
                .await;
            assert_eq!(line["fault"], "proxy/outbound/credential_missing", "{line}");
        }
        assert_eq!(credentials(&scene), expected, "{mode}");
        says_nothing_of(&scene, &["planted", &billing, "mine"]);
    }
}

#[tokio::test]
async fn file_of_a_secret_that_cannot_be_used_refuses_the_start() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    for (file, cause) in [
        ("missing", "cannot be read"),
        ("empty", "is empty"),
        ("odd", "control"),
    ] {
        let setup = Setup::new(&pki, &upstream)
            .file("empty", "\n")
            .file("odd", "a\u{1}b");
        let setup = setup.with(&format!(
            "upstreams.orders.outbound.credential = {{ source = 'bearer', token_file = '{file}' }}"
        ));
        let finished = setup.run("check").await;
        finished
            .expect_code(2)
            .expect_words(&[file, cause, "upstreams.orders"]);
    }
}

#[tokio::test]
async fn file_of_callers_that_cannot_be_used_refuses_the_start_and_tells_nothing_of_it() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    for (content, cause) in [
        ("", "[[callers]]"),
        ("[[callers]]\nuser = 'a'\npassword = 'planted'\n", "nobody"),
        (
            "[[callers]]\nuri = 'spiffe://a/b'\nplanted = 'planted'\n",
            "line 1",
        ),
        (
            "[[callers]]\nuri = 'spiffe://a/b'\ntoken = 'planted\n",
            "line 3",
        ),
    ] {
        let setup = Setup::new(&pki, &upstream).file("callers.toml", content).with(
            "upstreams.orders.outbound.credential = { source = 'per_caller', file = 'callers.toml' }",
        );
        let finished = setup.run("check").await;
        let finished = finished.expect_code(2);
        finished.expect_words(&["callers.toml", cause, "upstreams.orders"]);
        assert!(!finished.stderr.contains("planted"), "{}", finished.stderr);
    }
}

/// Accepts the token `good` alone. At the first request, `change` gets the path
/// of the file that the token comes from.
async fn accepting_good(change: impl Fn(&Path) + Send + Sync + 'static) -> (Upstream, Token) {
    let token: Token = Arc::default();
    let file = Arc::clone(&token);
    let changed = OnceLock::new();
    let upstream = Upstream::answering(move |request| {
        changed.get_or_init(|| change(file.get().unwrap()));
        match request.header("authorization") {
            Some("Bearer good") => Reply::ok("welcome"),
            _ => Reply::ok("who is it?")
                .status(401)
                .header("www-authenticate", "Bearer"),
        }
    })
    .await;
    (upstream, token)
}

type Token = Arc<OnceLock<PathBuf>>;

/// A proxy with the token `old`.
async fn with_old_token((upstream, token): (Upstream, Token), outbound: &str) -> Scene {
    let pki = Pki::new();
    let setup = Setup::new(&pki, &upstream)
        .file("token", "old")
        .with("server.workers = 1")
        .with(&format!(
            "[upstreams.orders.outbound]\ncredential = {{ source = 'bearer', token_file = 'token' }}\n{outbound}"
        ));
    token.set(setup.path("token")).unwrap();
    let proxy = setup.start().await;
    Scene {
        pki,
        proxy,
        upstream,
    }
}

#[tokio::test]
async fn credential_that_is_refused_is_read_again_and_the_caller_notices_nothing() {
    let changing = |file: &Path| std::fs::write(file, "good").unwrap();
    let scene = with_old_token(accepting_good(changing).await, "").await;
    let client = scene.caller(BILLING);
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    for path in ["/first", "/second"] {
        let body = Body::full("content");
        let answer = session.send(post(path, body)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "welcome"));
    }
    let got: Vec<_> = scene
        .upstream
        .requests()
        .into_iter()
        .map(|request| {
            (
                request.path,
                request.headers["authorization"].clone(),
                request.body,
            )
        })
        .map(|(path, token, body)| format!("{path} {} {body:?}", token.to_str().unwrap()))
        .collect();
    // What was found holds for the next ones too.
    let expected = [
        "/first Bearer old b\"content\"",
        "/first Bearer good b\"content\"",
        "/second Bearer good b\"content\"",
    ];
    assert_eq!(got, expected);
    let metrics = scene.proxy.metrics().await;
    let repeated = metrics.sum(
        "countersign_upstream_requests_repeated_total",
        &["upstream=\"orders\"", "cause=\"credential_refused\""],
    );
    assert!((repeated - 1.0).abs() < f64::EPSILON, "{repeated}");
}

#[tokio::test]
async fn credential_that_is_refused_twice_is_a_fault_and_no_401_goes_down() {
    for mode in ["supported", "required"] {
        let mode = format!("basic_authentication = '{mode}'");
        let scene = with_old_token(accepting_good(|_| ()).await, &mode).await;
        for (count, client) in scene.caller(BILLING).in_both_protocols().iter().enumerate() {
            let answer = client.get(scene.proxy.public(), "/").await.unwrap();
            assert_eq!(answer.status, 502);
            assert_eq!(answer.header("www-authenticate"), None);
            assert_eq!(scene.upstream.requests().len(), 2 * (count + 1));
        }
        // What was refused was short: its connection served on.
        assert_eq!(scene.upstream.connections(), 1);
        let line = scene
            .proxy
            .access_line_where(|line| line["status"] == 502)
            .await;
        assert_eq!(
            line["fault"], "upstream/response_head/credential_refused",
            "{line}"
        );
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains("upstreams.orders"), "{cause}");
        assert_eq!(line["endpoint"], scene.upstream.endpoint(), "{line}");
        says_nothing_of(&scene, &["Bearer old"]);
    }
}

#[tokio::test]
async fn refusal_that_is_long_or_never_ends_is_not_waited_for() {
    for never_ends in [false, true] {
        let upstream = Upstream::answering(move |_| {
            let (writer, body) = Body::streaming();
            writer.piece(vec![b'x'; if never_ends { 1 } else { 64 * 1024 }]);
            if never_ends {
                // Held for the life of the test.
                std::mem::forget(writer);
            }
            Reply::body(body).status(401)
        })
        .await;
        let token = "credential = { source = 'bearer', token_file = 'secret' }";
        let scene = scene(upstream, token).await;
        assert_eq!(scene.status(&scene.caller(BILLING), None).await, 502);
        assert_eq!(scene.upstream.requests().len(), 2);
        assert_eq!(scene.upstream.connections(), 2);
        // Nor are their connections kept.
        scene.upstream.connections_ended().await;
    }
}

#[tokio::test]
async fn file_that_is_gone_when_it_is_read_again_leaves_the_credential_as_it_was() {
    let removing = |file: &Path| std::fs::remove_file(file).unwrap();
    let scene = with_old_token(accepting_good(removing).await, "").await;
    assert_eq!(scene.status(&scene.caller(BILLING), None).await, 502);
    let old = Some("Bearer old".to_owned());
    assert_eq!(credentials(&scene), [old.clone(), old]);
}

#[tokio::test]
async fn without_retry_a_401_goes_down_unless_a_credential_is_required() {
    for (mode, status) in [("supported", 401), ("required", 502)] {
        let outbound = format!("basic_authentication = '{mode}'\nauthentication_retry = false");
        let scene = with_old_token(accepting_good(|_| ()).await, &outbound).await;
        assert_eq!(scene.status(&scene.caller(BILLING), None).await, status);
        assert_eq!(scene.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn credential_of_the_caller_that_is_refused_is_its_own_affair() {
    for mode in ["supported", "required"] {
        let (upstream, token) = accepting_good(|_| ()).await;
        token.set(PathBuf::new()).unwrap();
        let scene = scene(upstream, &format!("basic_authentication = '{mode}'")).await;
        let request = with(get("/"), "authorization", "Bearer bad");
        let client = scene.caller(BILLING);
        let answer = client.send(scene.proxy.public(), request).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (401, "who is it?"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(scene.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_the_service_knows_the_caller_by_stands_in_the_line_and_in_the_metrics() {
    let none = "identity_assertion = 'never'";
    let token = "credential = { source = 'bearer', token_file = 'secret' }";
    for (outbound, by) in [
        (token.to_owned(), "assertion"),
        (format!("{none}\n{token}"), "credential"),
        (none.to_owned(), "none"),
    ] {
        let scene = scene(Upstream::start().await, &outbound).await;
        assert_eq!(scene.status(&scene.caller(BILLING), None).await, 200);
        let line = scene.proxy.access_line("/").await;
        assert_eq!(line["asserted"], by, "{line}");
        let by = format!("by=\"{by}\"");
        let sum = |metrics: &crate::support::proxy::Metrics, by: &str| {
            let labels = ["upstream=\"orders\"", by];
            metrics.sum("countersign_upstream_requests_total", &labels)
        };
        let metrics = scene.proxy.metrics().await;
        assert!((sum(&metrics, &by) - 1.0).abs() < f64::EPSILON, "{by}");
        assert!((sum(&metrics, "") - 1.0).abs() < f64::EPSILON, "{by}");
    }
}

#[tokio::test]
async fn secret_that_every_user_may_read_is_warned_about_once() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream)
        .file("token", "planted")
        .with("upstreams.orders.outbound.credential = { source = 'bearer', token_file = 'token' }");
    let open = |path: PathBuf| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(path, mode).unwrap();
    };
    let quiet = setup.run("check").await;
    assert!(!quiet.expect_code(0).stdout.contains("holds a secret"));
    open(setup.path("token"));
    let proxy = setup.start().await;
    let told = proxy.log_line("secret.exposed", |_| true).await.to_string();
    assert!(told.contains("/token ") && told.contains("0644"), "{told}");
    std::fs::write(proxy.path("token"), "planted anew").unwrap();
    proxy.in_force(2).await;
    assert_eq!(proxy.logged("secret.exposed").len(), 1);
}
