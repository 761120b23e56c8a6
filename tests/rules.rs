//! Who may do what: every condition of a rule with a caller or a request that
//! meets it and one that just does not, over real TLS.

use http::{Method, Request};
use rcgen::DnType;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::body::Body;
use crate::support::client::{Client, get, request, with};
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};

struct Scene {
    pki: Pki,
    upstream: Upstream,
    proxy: Proxy,
}

impl Scene {
    /// One route, `orders`, with these keys.
    async fn new(route: &str) -> Self {
        Self::with(route, "").await
    }

    /// As [`Scene::new`], with more config.
    async fn with(route: &str, more: &str) -> Self {
        Self::of(Pki::new(), route, more).await
    }

    async fn of(pki: Pki, route: &str, more: &str) -> Self {
        let upstream = Upstream::answering(|_| Reply::ok("")).await;
        let proxy = Setup::new(&pki, &upstream)
            .with(&routes(route))
            .with(more)
            .start()
            .await;
        Self {
            pki,
            upstream,
            proxy,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    fn anonymous(&self) -> Client {
        Client::new(&self.pki)
    }

    /// The status of a request of this client.
    async fn status(&self, client: &Client, request: Request<Body>) -> u16 {
        let answer = client.send(self.proxy.public(), request).await.unwrap();
        answer.status.as_u16()
    }

    /// The status in both protocols.
    async fn get(&self, client: &Client, path: &str) -> u16 {
        let mut statuses = Vec::new();
        for client in client.in_both_protocols() {
            statuses.push(self.status(&client, get(path)).await);
        }
        assert_eq!(statuses[0], statuses[1], "{path}");
        statuses[0]
    }
}

fn routes(route: &str) -> String {
    let comma = if route.is_empty() { "" } else { ", " };
    format!("routes = [{{ name = 'orders', upstream = 'orders'{comma}{route} }}]")
}

fn of(method: &str, path: &str) -> Request<Body> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    request(method, path, Body::empty())
}

/// One rule, one caller that it permits and one that it just does not; and the
/// same rule in `deny`, which refuses the first and nobody else.
async fn tells_apart(pki: &Pki, rule: &str, good: &Leaf, bad: &Leaf) {
    for (list, refused, served) in [("allow", bad, good), ("deny", good, bad)] {
        let upstream = Upstream::start().await;
        let setup = Setup::new(pki, &upstream);
        let route = routes(&format!("{list} = [{{ {rule} }}]"));
        let proxy = setup.with(&route).start().await;
        for client in Client::new(pki).presenting(refused).in_both_protocols() {
            let answer = client.get(proxy.public(), "/").await.unwrap();
            assert_eq!(answer.status, 403, "{list} {rule}");
        }
        assert!(upstream.requests().is_empty(), "{list} {rule}");
        for client in Client::new(pki).presenting(served).in_both_protocols() {
            let answer = client.get(proxy.public(), "/").await.unwrap();
            assert_eq!(answer.status, 200, "{list} {rule}");
        }
    }
}

#[tokio::test]
async fn email_of_a_certificate_is_matched() {
    let pki = Pki::new();
    let leaf = |address| pki.root().leaf().client().email(address).issue();
    let rule = "email = '*@example.com'";
    let (good, bad) = (leaf("a.b@example.com"), leaf("a.b@example.com.evil"));
    tells_apart(&pki, rule, &good, &bad).await;
}

#[tokio::test]
async fn attributes_of_the_subject_are_matched_one_by_one() {
    let pki = Pki::new();
    let leaf = |unit, organization| {
        let leaf = pki.root().leaf().client().common_name("batch");
        leaf.subject(DnType::OrganizationalUnitName, unit)
            .subject(DnType::OrganizationName, organization)
            .issue()
    };
    let good = leaf("Engineering, East", "Example");
    for (rule, bad) in [
        ("ou = 'Engineering, East'", leaf("Engineering", "Example")),
        ("ou = 'Engineering*'", leaf("x,OU=Engineering", "Example")),
        ("o = 'Example'", leaf("Engineering, East", "Example,O=x")),
        ("o = 'Example'", leaf("x+O=Example", "Other")),
        (
            "cn = 'batch', o = 'Ex*', ou = '*East'",
            leaf("Engineering, West", "Example"),
        ),
    ] {
        tells_apart(&pki, rule, &good, &bad).await;
    }
}

#[tokio::test]
async fn issuer_key_and_anchor_of_a_certificate_are_matched() {
    let pki = Pki::new();
    let (below, beside) = (
        pki.root().intermediate("Below"),
        pki.root().intermediate("Beside"),
    );
    let leaf = |authority: &Authority| authority.leaf().client().uri(CLIENT_URI).issue();
    let (good, bad) = (leaf(&below), leaf(&beside));
    tells_apart(&pki, "issuer = 'CN=Below'", &good, &bad).await;
    let rule = format!("spki = '{}'", key_of(&good));
    tells_apart(&pki, &rule, &good, &bad).await;
    let rule = format!("fingerprint = '{}'", good.fingerprint());
    tells_apart(&pki, &rule, &good, &bad).await;
}

/// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
fn key_of(leaf: &Leaf) -> String {
    let chain = leaf.chain();
    let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    data_encoding::HEXLOWER.encode(digest.as_ref())
}

#[tokio::test]
async fn anchor_decides_in_full_and_in_resumed_handshakes() {
    let (pki, other) = (Pki::new(), Authority::root("Other Root"));
    let upstream = Upstream::start().await;
    let both = format!("{}{}", pki.root().pem(), other.pem());
    for anchor in [other.fingerprint(), "CN=Other Root".to_owned()] {
        let setup = Setup::new(&pki, &upstream).file("clients.pem", &both);
        let route = routes(&format!("allow = [{{ anchor = '{anchor}' }}]"));
        let proxy = setup.with(&route).start().await;
        let leaf = |authority: &Authority| authority.leaf().client().uri(CLIENT_URI).issue();
        for (leaf, status) in [(leaf(&other), 200), (leaf(pki.root()), 403)] {
            let client = Client::new(&pki).presenting(&leaf).resuming();
            for client in client.in_every_version() {
                for resumed in [false, true] {
                    let mut session = client.connect(proxy.public()).await.unwrap();
                    let answer = session.send(get("/")).await.unwrap();
                    assert_eq!(session.tls().resumed, resumed);
                    assert_eq!(answer.status, status, "{anchor} {resumed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn open_connection_goes_by_the_anchor_that_its_chain_rests_on_now() {
    let pki = Pki::new();
    let below = pki.root().intermediate("Below");
    let leaf = below.leaf().client().uri(CLIENT_URI).issue();
    let route = "allow = [{ anchor = 'CN=Countersign Test Root' }]";
    let scene = Scene::of(pki, route, "trust.clients.max_shrink = '100%'").await;
    let mut sessions = Vec::new();
    for client in Client::new(&scene.pki)
        .presenting(&leaf)
        .in_both_protocols()
    {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        sessions.push(session);
    }
    // The same chain is good under another anchor, and only that changes.
    let change = |proxy: &Proxy| proxy.rename_over("clients.pem", &below.pem());
    scene.proxy.after(change).await;
    for mut session in sessions {
        assert_eq!(session.send(get("/")).await.unwrap().status, 403);
    }
}

#[tokio::test]
async fn methods_are_told_apart_exactly() {
    let rule = "allow = [{ uri = 'spiffe://prod.example/*', methods = ['GET', 'PROPFIND'] }]";
    let scene = Scene::new(rule).await;
    for client in scene.client().in_both_protocols() {
        for (method, status) in [
            ("GET", 200),
            ("PROPFIND", 200),
            ("HEAD", 403),
            ("POST", 403),
            ("OPTIONS", 403),
            ("get", 403),
            ("GETX", 403),
        ] {
            let found = scene.status(&client, of(method, "/")).await;
            assert_eq!(found, status, "{method}");
        }
        // What a service might take for the method is none.
        let disguised = with(of("POST", "/"), "x-http-method-override", "GET");
        assert_eq!(scene.status(&client, disguised).await, 403);
    }
    let methods = scene.upstream.requests();
    let mut methods: Vec<_> = methods
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    methods.dedup();
    assert_eq!(methods, ["GET", "PROPFIND", "GET", "PROPFIND"]);
}

#[tokio::test]
async fn method_that_deny_names_does_not_get_through_in_another_reading() {
    let scene =
        Scene::new("deny = [{ methods = ['DELETE'] }, { when = 'request.method == \"PURGE\"' }]")
            .await;
    let field = "x-http-method-override";
    for client in scene.client().in_both_protocols() {
        for (request, status) in [
            (of("DELETE", "/"), 403),
            (of("delete", "/"), 400),
            (of("Delete", "/"), 400),
            (of("purge", "/"), 400),
            (of("post", "/"), 200),
            (with(of("POST", "/"), field, "DELETE"), 400),
            (with(of("POST", "/"), field, "delete"), 400),
            (with(of("POST", "/"), "x-method-override", "PURGE"), 400),
            (with(of("POST", "/"), field, "PUT"), 200),
        ] {
            let what = format!("{} {:?}", request.method(), request.headers());
            assert_eq!(scene.status(&client, request).await, status, "{what}");
        }
    }
    let permitted =
        Scene::new("allow = [{ uri = 'spiffe://prod.example/*', methods = ['POST'] }]").await;
    let client = permitted.client();
    let disguised = with(of("POST", "/"), field, "DELETE");
    assert_eq!(permitted.status(&client, disguised).await, 400);
    assert_eq!(permitted.status(&client, of("POST", "/")).await, 200);
}

#[tokio::test]
async fn path_of_a_rule_holds_in_every_reading_of_the_request() {
    let route =
        "path = '/api/', allow = [{ uri = 'spiffe://prod.example/*', path = '/api/public/' }]";
    let scene = Scene::with(route, "listeners.public.path = 'raw'").await;
    let client = scene.client();
    for path in [
        "/api/public",
        "/api/public/",
        "/api/public/a",
        "/api/public/a%20b",
        "/api/public//a",
        "/api/public/a;x",
    ] {
        assert_eq!(scene.get(&client, path).await, 200, "{path}");
    }
    let served = scene.upstream.requests().len();
    for path in ["/api/", "/api/private", "/api/publicx", "/api/Public/a"] {
        assert_eq!(scene.get(&client, path).await, 403, "{path}");
    }
    // One reading lies within, another does not: whichever the service takes.
    for path in [
        "/api/public%2fa",
        "/api//public/a",
        "/api/%70ublic/a",
        "/api/%2570ublic/a",
        "/api/public;x/a",
        "/api/public%3bx/a",
        "/api/public%5ca",
    ] {
        assert_eq!(scene.get(&client, path).await, 400, "{path}");
    }
    for path in [
        "/api/public/../private",
        "/api/public/..%2fprivate",
        "/api/public/%2e%2e/private",
    ] {
        assert_eq!(scene.get(&client, path).await, 400, "{path}");
    }
    assert_eq!(scene.upstream.requests().len(), served);
}

#[tokio::test]
async fn path_that_deny_names_is_not_reached_in_another_reading() {
    let raw = "listeners.public.path = 'raw'";
    let scene = Scene::with("deny = [{ path = '/admin' }]", raw).await;
    let client = scene.client();
    assert_eq!(scene.get(&client, "/admin/x").await, 403);
    assert_eq!(scene.get(&client, "/adminx").await, 200);
    let served = scene.upstream.requests().len();
    for path in [
        "//admin/x",
        "/%61dmin",
        "/%2561dmin",
        "/;x/admin",
        "/admin%2fx",
        "/admin;x",
        "/admin%3fx",
        "/admin%23",
        "/admin%00x",
        "/\\admin",
        "/x/..%2fadmin",
    ] {
        let mut raw = client.raw(scene.proxy.public()).await;
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n\r\n"))
            .await;
        assert_eq!(raw.read_response().await.status, 400, "{path}");
    }
    assert_eq!(scene.upstream.requests().len(), served);
}

#[tokio::test]
async fn source_is_the_other_end_of_the_connection_whatever_the_request_says() {
    let rule = |networks: &str| format!("allow = [{{ cn = 'billing', from = [{networks}] }}]");
    let scene = Scene::new(&rule("'10.0.0.0/8', '127.0.0.1'")).await;
    assert_eq!(scene.get(&scene.client(), "/").await, 200);
    let trusted = "listeners.public.trusted_proxies = ['127.0.0.0/8']";
    let scene = Scene::with(&rule("'10.0.0.0/8', '127.0.0.2'"), trusted).await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let value = if name == "forwarded" {
            "for=10.0.0.1"
        } else {
            "10.0.0.1"
        };
        let asked = with(get("/"), name, value);
        assert_eq!(scene.status(&scene.client(), asked).await, 403, "{name}");
    }
    assert!(scene.upstream.requests().is_empty());
}

#[tokio::test]
async fn ipv4_caller_of_an_ipv6_listener_comes_from_its_ipv4_network() {
    for (networks, status) in [
        ("'127.0.0.0/8'", 403),
        ("'::ffff:127.0.0.0/104'", 403),
        ("'10.0.0.0/8', '::1', 'fd00::/8'", 200),
    ] {
        let plain = "
[listeners.plain]
bind = '[::ffff:127.0.0.1]:0'
allow_plaintext = true
";
        let route = format!("deny = [{{ from = [{networks}] }}]");
        let scene = Scene::with(&route, plain).await;
        let port = scene.proxy.listener("plain").port();
        let mut raw = Raw::plain(std::net::SocketAddr::from(([127, 0, 0, 1], port))).await;
        raw.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(raw.read_response().await.status, status, "{networks}");
    }
}

#[tokio::test]
async fn caller_over_a_unix_socket_comes_from_no_network() {
    let plain = "listeners.plain.bind = 'unix:plain.sock'";
    for (route, status) in [
        (
            "allow = [{ anonymous = true, from = ['0.0.0.0/0', '::/0'] }]",
            403,
        ),
        ("deny = [{ from = ['0.0.0.0/0', '::/0'] }]", 200),
    ] {
        let scene = Scene::with(route, plain).await;
        let mut raw = Raw::plain(scene.proxy.path("plain.sock")).await;
        raw.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(raw.read_response().await.status, status, "{route}");
    }
}

#[tokio::test]
async fn anonymous_caller_is_let_in_only_where_a_rule_says_so() {
    let route = "allow = [{ anonymous = true, methods = ['GET'], path = '/public/' }, { uri = 'spiffe://prod.example/*', path = '/private' }]";
    let want = "listeners.public.tls.client_auth = 'want'";
    let scene = Scene::with(route, want).await;
    for (client, path, status) in [
        (scene.anonymous(), "/public/a", 200),
        (scene.anonymous(), "/private", 403),
        (scene.client(), "/private", 200),
        // The rule is for those without an identity, and for nobody else.
        (scene.client(), "/public/a", 403),
    ] {
        assert_eq!(scene.get(&client, path).await, status, "{path}");
    }
    assert_eq!(
        scene
            .status(&scene.anonymous(), of("POST", "/public/b"))
            .await,
        403
    );
    let line = scene.proxy.access_line("/public/b").await;
    assert_eq!(line["rule"], "none matched", "{line}");
    let line = scene
        .proxy
        .access_line_where(|line| line["path"] == "/private" && line["status"] == 200)
        .await;
    assert_eq!(line["rule"], "allow[1]", "{line}");
}

#[tokio::test]
async fn denial_names_its_rule_in_the_log_and_is_counted() {
    let route = "deny = [{ name = 'old', uri = 'spiffe://prod.example/old' }, { methods = ['DELETE'] }], allow = [{ name = 'ours', uri = 'spiffe://prod.example/*' }]";
    let scene = Scene::new(route).await;
    let old = Client::new(&scene.pki).presenting(&scene.pki.client_as("spiffe://prod.example/old"));
    let evil = Client::new(&scene.pki).presenting(&scene.pki.client_as("spiffe://evil.example/x"));
    let cases = [
        (&scene.client(), "GET", "/a", 200, "ours", None),
        (&old, "GET", "/b", 403, "old", Some("denied_by_rule")),
        (
            &scene.client(),
            "DELETE",
            "/c",
            403,
            "deny[1]",
            Some("denied_by_rule"),
        ),
        (
            &evil,
            "GET",
            "/d",
            403,
            "none matched",
            Some("no_rule_matched"),
        ),
    ];
    for (client, method, path, status, rule, fault) in cases {
        assert_eq!(scene.status(client, of(method, path)).await, status);
        let line = scene.proxy.access_line(path).await;
        assert_eq!(line["rule"], rule, "{line}");
        let found = line["fault"]
            .as_str()
            .map(|fault| fault.rsplit('/').next().unwrap());
        assert_eq!(found, fault, "{line}");
        assert!(line["would_deny"].is_null(), "{line}");
    }
    let line = scene.proxy.access_line("/b").await;
    assert_eq!(
        line["cause"],
        "rule `old` of route `orders` denies the caller `spiffe://prod.example/old`: { name = \"old\", uri = \"spiffe://prod.example/old\" }"
    );
    assert_eq!(scene.upstream.requests().len(), 1);
    let metrics = scene.proxy.metrics().await;
    for (rule, decision, count) in [
        ("ours", "permitted", 1.0),
        ("old", "denied", 1.0),
        ("deny[1]", "denied", 1.0),
        ("none matched", "denied", 1.0),
        ("ours", "denied", 0.0),
    ] {
        let labels = [
            "route=\"orders\"".to_owned(),
            format!("rule=\"{rule}\""),
            format!("decision=\"{decision}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let found = metrics.sum("countersign_policy_decisions_total", &labels);
        assert!((found - count).abs() < 0.5, "{rule} {decision}: {found}");
    }
}

#[tokio::test]
async fn named_rules_hold_together_with_the_rule_that_refers_to_them() {
    let lists = "
[rules]
staff = [{ name = 'engineers', ou = 'Engineering' }, { email = '*@example.com' }]
";
    let route = "deny = [{ rule = 'staff', path = '/closed' }], allow = [{ rule = 'staff', methods = ['GET'] }]";
    let scene = Scene::with(route, lists).await;
    let leaf = || scene.pki.root().leaf().client().common_name("x");
    let engineer = leaf()
        .subject(DnType::OrganizationalUnitName, "Engineering")
        .issue();
    let clerk = leaf().email("clerk@example.com").issue();
    let guest = leaf().email("guest@example.org").issue();
    let engineer = Client::new(&scene.pki).presenting(&engineer);
    let clerk = Client::new(&scene.pki).presenting(&clerk);
    let guest = Client::new(&scene.pki).presenting(&guest);
    for (client, method, path, status, rule) in [
        (&engineer, "GET", "/a", 200, "engineers"),
        (&clerk, "GET", "/b", 200, "allow[0]"),
        (&guest, "GET", "/c", 403, "none matched"),
        (&clerk, "POST", "/d", 403, "none matched"),
        (&clerk, "GET", "/closed/e", 403, "deny[0]"),
    ] {
        assert_eq!(
            scene.status(client, of(method, path)).await,
            status,
            "{path}"
        );
        assert_eq!(scene.proxy.access_line(path).await["rule"], rule, "{path}");
    }
}

#[tokio::test]
async fn route_in_shadow_serves_everybody_and_says_whom_it_would_refuse() {
    let route = "allow = [{ uri = 'spiffe://prod.example/*' }], deny = [{ methods = ['PUT'] }]";
    let want = "listeners.public.tls.client_auth = 'want'";
    let scene = Scene::with(&format!("enforce = false, {route}"), want).await;
    let evil = Client::new(&scene.pki).presenting(&scene.pki.client_as("spiffe://evil.example/x"));
    let cases = [
        (&scene.client(), "GET", "/a", Value::Null),
        (&evil, "GET", "/b", "none matched".into()),
        (
            &scene.anonymous(),
            "GET",
            "/c",
            "certificate required".into(),
        ),
        (&scene.client(), "PUT", "/d", "deny[0]".into()),
    ];
    for (client, method, path, would_deny) in &cases {
        assert_eq!(scene.status(client, of(method, path)).await, 200, "{path}");
        let line = scene.proxy.access_line(path).await;
        assert_eq!(line["would_deny"], *would_deny, "{line}");
        let why = line["would_deny_cause"].as_str().unwrap_or_default();
        assert_eq!(
            why.contains("route `orders`"),
            !would_deny.is_null(),
            "{line}"
        );
        assert!(line["fault"].is_null(), "{line}");
    }
    let shadow = "decision=\"would_deny\"";
    let metrics = scene.proxy.metrics().await;
    assert!((metrics.sum("policy_decisions_total", &[shadow]) - 3.0).abs() < 0.5);
    // The twin: in force, the same requests are refused for the same reasons.
    let enforced = format!("routes = [{{ name = 'orders', upstream = 'orders', {route} }}]");
    scene.proxy.after(|proxy| proxy.configure(&enforced)).await;
    for (client, method, path, would_deny) in &cases {
        let path = format!("{path}/enforced");
        let expected = if would_deny.is_null() { 200 } else { 403 };
        assert_eq!(
            scene.status(client, of(method, &path)).await,
            expected,
            "{path}"
        );
        let line = scene.proxy.access_line(&path).await;
        if !would_deny.is_null() {
            assert_eq!(line["rule"], *would_deny, "{line}");
        }
    }
}

#[tokio::test]
async fn rules_in_shadow_are_noted_and_change_nothing() {
    let route = "deny = [{ name = 'soon', uri = 'spiffe://prod.example/old', enforce = false }], allow = [{ name = 'new', uri = 'spiffe://prod.example/new', enforce = false }, { uri = 'spiffe://prod.example/billing' }, { uri = 'spiffe://prod.example/old' }]";
    let scene = Scene::new(route).await;
    let of_uri = |name: &str| {
        let uri = format!("spiffe://prod.example/{name}");
        Client::new(&scene.pki).presenting(&scene.pki.client_as(&uri))
    };
    for (name, status, rule, would_deny, would_allow) in [
        ("billing", 200, "allow[1]", None, None),
        ("old", 200, "allow[2]", Some("soon"), None),
        ("new", 403, "none matched", None, Some("new")),
        ("other", 403, "none matched", None, None),
    ] {
        let path = format!("/{name}");
        assert_eq!(scene.status(&of_uri(name), get(&path)).await, status);
        let line = scene.proxy.access_line(&path).await;
        assert_eq!(line["rule"], rule, "{line}");
        assert_eq!(line["would_deny"].as_str(), would_deny, "{line}");
        assert_eq!(line["would_allow"].as_str(), would_allow, "{line}");
    }
    let metrics = scene.proxy.metrics().await;
    for (rule, decision) in [("soon", "would_deny"), ("new", "would_allow")] {
        let labels = [
            format!("rule=\"{rule}\""),
            format!("decision=\"{decision}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let found = metrics.sum("policy_decisions_total", &labels);
        assert!((found - 1.0).abs() < 0.5, "{rule}: {found}");
    }
}

#[tokio::test]
async fn without_an_access_log_a_diagnostic_says_whom_a_route_in_shadow_would_refuse() {
    let route = "enforce = false, allow = [{ uri = 'spiffe://test.example/*' }, { cn = 'web' }]";
    let scene = Scene::with(route, "log.access = false").await;
    assert_eq!(scene.status(&scene.client(), get("/")).await, 200);
    let line = scene.proxy.log_line("policy.would_deny", |_| true).await;
    assert_eq!(line["route"], "orders", "{line}");
    assert_eq!(line["rule"], "none matched", "{line}");
    assert_eq!(line["peer"], CLIENT_URI, "{line}");
    // Who is permitted gives no line.
    let web = scene.pki.root().leaf().client().common_name("web").issue();
    let web = Client::new(&scene.pki).presenting(&web);
    assert_eq!(scene.status(&web, get("/")).await, 200);
    assert_eq!(scene.status(&scene.client(), get("/")).await, 200);
    let both = |_: &Value| scene.proxy.logged("policy.would_deny").len() >= 2;
    scene.proxy.log_line("policy.would_deny", both).await;
    assert_eq!(scene.proxy.logged("policy.would_deny").len(), 2);
}

#[tokio::test]
async fn check_and_the_log_name_rules_that_are_never_reached_and_lists_that_nobody_uses() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let lists = "rules.staff = [{ ou = 'Staff' }]";
    let route = "allow = [{ uri = 'spiffe://a/*' }, { uri = 'spiffe://a/b' }]";
    let setup = Setup::new(&pki, &upstream).with(lists).with(&routes(route));
    let told = setup.run("check").await;
    let told = told.expect_code(0).stdout.clone();
    for part in [
        "warning: ",
        "routes[0].allow[1]: this rule is never reached; allow[0] in line",
        "rules.staff: no route refers to these rules",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let proxy = setup.start().await;
    for part in ["never reached", "no route refers"] {
        let says = |line: &Value| line.to_string().contains(part);
        proxy.log_line("policy.unusual", says).await;
    }
    let good = routes("allow = [{ uri = 'spiffe://a/*' }, { rule = 'staff' }]");
    let setup = Setup::new(&pki, &upstream).with(lists).with(&good);
    let told = setup.run("check").await;
    let told = &told.expect_code(0).stdout;
    assert!(
        !told.contains("never reached") && !told.contains("no route refers"),
        "{told}"
    );
}
