//! Prefixes and hosts that the service has in place of its callers', and what it
//! says of them in its responses.

use std::process::Command;

use crate::support::client::{Answer, Client, get, with};
use crate::support::command::{BINARY, finish};
use crate::support::pki::{PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

/// A caller, a proxy and a service that says in its response what the request
/// has asked it to say, in a field `x-say-NAME`.
struct Scene {
    client: Client,
    proxy: Proxy,
    upstream: Upstream,
}

const ROUTES: &str = "
[[routes]]
name = 'strip'
path = '/api/'
strip_prefix = true
upstream = 'orders'
[[routes]]
name = 'both'
path = '/shop'
strip_prefix = true
add_prefix = '/app/v1/'
upstream = 'orders'
[[routes]]
name = 'add'
host = 'added.test'
add_prefix = '/app'
upstream = 'orders'
[[routes]]
name = 'silent'
path = '/silent'
strip_prefix = true
rewrite_responses = false
upstream = 'orders'
[[routes]]
name = 'asked'
path = '/asked'
rewrite_responses = true
upstream = 'orders'
[[routes]]
name = 'rest'
path = '/rest'
upstream = 'orders'
";

fn says(request: &Received) -> Reply {
    let asked = |name: &str| request.header(&format!("x-say-{name}")).map(str::to_owned);
    let mut reply = Reply::ok("").status(302);
    for name in ["location", "content-location", "refresh", "link"] {
        if let Some(value) = asked(name) {
            reply = reply.header(name, &value.replace("SELF", &request.authority));
        }
    }
    reply
}

impl Scene {
    async fn with(upstream: Upstream, toml: &str) -> Self {
        let pki = Pki::new();
        let setup = Setup::new(&pki, &upstream).without("routes").with(ROUTES);
        let setup = setup
            .certificate("added", &pki.server("added.test"))
            .with("listeners.public.tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }, { chain = 'added.pem', key = 'added.key' }]");
        Self {
            proxy: setup.with(toml).start().await,
            client: Client::new(&pki).presenting(&pki.client()),
            upstream,
        }
    }

    async fn start(toml: &str) -> Self {
        Self::with(Upstream::answering(says).await, toml).await
    }

    async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let asked = fields
            .iter()
            .fold(get(path), |asked, (name, value)| with(asked, name, value));
        let sent = self.client.send(self.proxy.public(), asked);
        sent.await.unwrap()
    }

    /// What a caller who asks for a path is told in this field, if the service
    /// says this in it.
    async fn told(&self, path: &str, name: &str, said: &str) -> String {
        let answer = self.get(path, &[(&format!("x-say-{name}"), said)]).await;
        assert_eq!(answer.status, 302, "{path}");
        answer.header(name).unwrap().to_owned()
    }

    fn last(&self) -> Received {
        self.upstream.requests().pop().unwrap()
    }
}

/// What is asked for, and what goes up.
const PATHS: [(&str, &str); 10] = [
    ("/api", "/"),
    ("/api/", "/"),
    ("/api?a=/api&b=%2f", "/?a=/api&b=%2f"),
    ("/api/x/api/y?q", "/x/api/y?q"),
    ("/api/x//y;z=1/%20", "/x//y;z=1/%20"),
    ("/shop", "/app/v1"),
    ("/shop/", "/app/v1/"),
    ("/shop/x?y", "/app/v1/x?y"),
    ("/shop//x", "/app/v1//x"),
    ("/rest/x?y", "/rest/x?y"),
];

#[tokio::test]
async fn the_service_sees_the_path_without_the_route_s_prefix_and_behind_its_own() {
    let plain = Scene::start("listeners.public.path = 'raw'").await;
    let h2 = Upstream::build(says).h2().start().await;
    let h2 = Scene::with(
        h2,
        "upstreams.orders.protocol = 'h2'\nlisteners.public.path = 'raw'",
    )
    .await;
    for scene in [plain, h2] {
        for client in scene.client.in_both_protocols() {
            for (asked, sent) in PATHS {
                let answer = client.get(scene.proxy.public(), asked).await.unwrap();
                assert_eq!(answer.status, 302, "{asked}");
                assert_eq!(scene.last().path, sent, "{asked}");
                assert_eq!(scene.last().authority, PROXY_NAME);
            }
        }
        let client = scene.client.clone().sni("added.test");
        for (asked, sent) in [("/", "/app/"), ("/x?y", "/app/x?y")] {
            let asked = with(get(asked), "host", "added.test");
            client.send(scene.proxy.public(), asked).await.unwrap();
            assert_eq!(scene.last().path, sent);
        }
    }
}

#[tokio::test]
async fn no_spelling_makes_another_prefix_fall_and_what_is_doubtful_is_refused() {
    let scene = Scene::start("listeners.public.path = 'raw'").await;
    for client in scene.client.in_both_protocols() {
        for (path, status) in [
            // Without the prefix a host would stand where the path begins.
            ("/api//evil.example/x", 400),
            ("/api/%2fevil.example", 400),
            ("/api/%5Cevil.example", 400),
            ("/api/%252fevil.example", 400),
            ("/api/../x", 400),
            ("/api/..;/x", 400),
            ("/shop/..%23", 400),
            ("/shop/..%3f/x", 400),
            ("/shop/..%20/x", 400),
            ("/x/%2e%2e/api/x", 400),
            // Some servers read these as paths of the route; they do not begin with its own.
            ("//api/x", 404),
            ("/api;v=1/x", 404),
            ("/ap%69/x", 404),
            ("/%61pi/x", 404),
            ("/API/x", 404),
            ("/apis", 404),
            ("/x/api/y", 404),
        ] {
            let answer = client.get(scene.proxy.public(), path).await.unwrap();
            assert_eq!(answer.status, status, "{path}");
        }
    }
    assert!(scene.upstream.requests().is_empty());
    let line = scene.proxy.access_line("/api//evil.example/x").await;
    assert_eq!(line["fault"], "downstream/request_head/malformed", "{line}");
}

#[tokio::test]
async fn the_log_has_the_path_as_it_was_asked_for() {
    let scene = Scene::start("").await;
    scene.get("/api/x?y", &[]).await;
    let line = scene.proxy.access_line("/api/x?y").await;
    assert_eq!(line["route"], "strip", "{line}");
}

#[tokio::test]
async fn redirects_lead_back_through_the_prefix() {
    let scene = Scene::start("").await;
    let here = format!("https://{PROXY_NAME}");
    for (path, said, told) in [
        ("/api/x", "/", "/api/".to_owned()),
        (
            "/api/x",
            "/login?next=/x#y",
            "/api/login?next=/x#y".to_owned(),
        ),
        ("/api/x", "http://SELF/login", format!("{here}/api/login")),
        ("/api/x", scene.upstream.endpoint(), format!("{here}/api/")),
        ("/shop/x", "/app/v1/login", "/shop/login".to_owned()),
        ("/shop/x", "//SELF/app/v1", format!("//{PROXY_NAME}/shop")),
        // These lead elsewhere, or are right as they are.
        ("/shop/x", "/app/v10/x", "/app/v10/x".to_owned()),
        ("/shop/x", "/other", "/other".to_owned()),
        ("/api/x", "login", "login".to_owned()),
        ("/api/x", "?page=2", "?page=2".to_owned()),
        (
            "/api/x",
            "http://elsewhere.example/login",
            "http://elsewhere.example/login".to_owned(),
        ),
        ("/api/x", "https://SELF:1/login", format!("{here}:1/login")),
        // Nothing was rewritten on the way up, or nothing shall be.
        (
            "/rest/x",
            "http://SELF/login",
            format!("http://{PROXY_NAME}/login"),
        ),
        ("/silent/x", "/login", "/login".to_owned()),
        // It is to be rewritten though the request was not.
        ("/asked/x", "http://SELF/login", format!("{here}/login")),
        (
            "/asked/x",
            &format!("{}/x", scene.upstream.endpoint()),
            format!("{here}/x"),
        ),
    ] {
        let found = scene.told(path, "location", said).await;
        assert_eq!(found, told, "{path} {said}");
    }
    assert_eq!(
        scene.told("/api/", "content-location", "/x").await,
        "/api/x"
    );
    assert_eq!(
        scene.told("/api/", "refresh", "5; url=/x").await,
        "5; url=/api/x"
    );
    assert_eq!(
        scene.told("/api/", "link", "</x>; rel=next").await,
        "</x>; rel=next"
    );
}

#[tokio::test]
async fn redirect_that_would_name_a_host_without_its_prefix_stays_as_it_is() {
    let scene = Scene::start("").await;
    let client = scene.client.clone().sni("added.test");
    for said in [
        "/app//evil.example",
        "/app/\\evil.example",
        // Browsers take tabs out before they read.
        "/app/\t/evil.example",
    ] {
        let asked = with(get("/x"), "host", "added.test");
        let asked = with(asked, "x-say-location", said);
        let answer = client.send(scene.proxy.public(), asked).await.unwrap();
        assert_eq!(answer.header("location"), Some(said));
    }
}

#[tokio::test]
async fn redirects_name_the_scheme_and_the_host_that_a_trusted_proxy_in_front_was_asked_for() {
    let said = ("x-say-location", "http://SELF/login");
    let front = [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "front.example, b"),
        said,
    ];
    let trusting = "listeners.public.trusted_proxies = ['127.0.0.0/8']";
    for (toml, told) in [
        (trusting, "http://front.example/api/login".to_owned()),
        ("", format!("https://{PROXY_NAME}/api/login")),
    ] {
        let scene = Scene::start(&format!("{toml}\nupstreams.orders.host = 'endpoint'")).await;
        let answer = scene.get("/api/x", &front).await;
        assert_eq!(answer.header("location"), Some(&*told), "{toml}");
    }
}

#[tokio::test]
async fn requests_name_the_host_that_the_upstream_says() {
    for h2 in [false, true] {
        for (word, named) in [
            ("keep", Some(PROXY_NAME)),
            ("endpoint", None),
            ("orders.internal", Some("orders.internal")),
            ("Orders.internal:8080", Some("orders.internal:8080")),
            ("[fd00::1]:8080", Some("[fd00::1]:8080")),
        ] {
            let build = Upstream::build(says);
            let build = if h2 { build.h2() } else { build };
            let protocol = if h2 { "h2" } else { "http/1.1" };
            let toml = format!("upstreams.orders = {{ host = '{word}', protocol = '{protocol}' }}");
            let scene = Scene::with(build.start().await, &toml).await;
            for client in scene.client.in_both_protocols() {
                client.get(scene.proxy.public(), "/rest").await.unwrap();
                let received = scene.last();
                let own = scene.upstream.endpoint().strip_prefix("http://");
                assert_eq!(Some(&*received.authority), named.or(own), "{word}");
                assert_eq!(received.header("x-forwarded-host"), Some(PROXY_NAME));
                let forwarded = received.header("forwarded").unwrap();
                assert!(
                    forwarded.ends_with(&format!("host=\"{PROXY_NAME}\"")),
                    "{forwarded}"
                );
                if h2 {
                    assert_eq!(received.header("host"), None);
                }
            }
            let told = scene.told("/rest", "location", "http://SELF/login").await;
            let wanted = match word {
                "keep" => format!("http://{PROXY_NAME}/login"),
                _ => format!("https://{PROXY_NAME}/login"),
            };
            assert_eq!(told, wanted, "{word}");
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_to_another_endpoint_names_that_one() {
    for h2 in [false, true] {
        let build = Upstream::build(says);
        let upstream = if h2 { build.h2() } else { build }.start().await;
        let gone = Upstream::refused_endpoint().await;
        let protocol = if h2 { "h2" } else { "http/1.1" };
        let own = upstream
            .endpoint()
            .strip_prefix("http://")
            .unwrap()
            .to_owned();
        let toml = format!(
            "upstreams.orders = {{ host = 'endpoint', protocol = '{protocol}', endpoints = ['{gone}', '{}'] }}",
            upstream.endpoint()
        );
        let scene = Scene::with(upstream, &toml).await;
        for _ in 0..8 {
            scene.get("/rest", &[]).await;
            assert_eq!(scene.last().authority, own);
        }
    }
}

#[tokio::test]
async fn a_request_for_the_server_as_a_whole_has_no_prefix_to_be_given() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let setup =
        Setup::new(&pki, &upstream).with("routes = [{ upstream = 'orders', add_prefix = '/app' }]");
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(format!("OPTIONS * HTTP/1.1\r\nHost: {PROXY_NAME}\r\n\r\n"))
        .await;
    assert_eq!(raw.read_response().await.status, 400);
}

#[tokio::test]
async fn a_websocket_goes_through_the_prefix_and_its_cookie_comes_back() {
    let cookie = "a=b; Path=/chat";
    let reply = move |_: &Received| Reply::upgrade().header("set-cookie", cookie);
    let scene = Scene::with(Upstream::answering(reply).await, "").await;
    let mut raw = scene.client.raw(scene.proxy.public()).await;
    raw.write(format!(
        "GET /api/chat HTTP/1.1\r\nHost: {PROXY_NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ))
    .await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.values("set-cookie"), ["a=b; Path=/api/chat"]);
    assert_eq!(scene.upstream.only_request().path, "/chat");
    raw.write("ping").await;
    assert_eq!(raw.read_exactly(4).await, "ping");
}

#[tokio::test]
async fn explain_shows_the_path_and_the_host_that_go_up() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let setup = Setup::new(&pki, &upstream)
        .without("routes")
        .with(ROUTES)
        .with("upstreams.orders.host = 'orders.internal'")
        .file("caller.pem", &pki.client().chain_pem());
    let mut command = Command::new(BINARY);
    command.arg("explain").arg("--config").arg(setup.write());
    command.arg("--cert").arg(setup.path("caller.pem"));
    let explained = finish(command.args(["--path", "/shop/x?y"])).await;
    explained.expect_code(0);
    for part in ["GET /app/v1/x?y HTTP/1.1", "orders.internal"] {
        assert!(explained.stdout.contains(part), "{explained:#?}");
    }
    let refused = finish(command.args(["--path", "/api//x"])).await;
    assert_ne!(refused.code, Some(0), "{refused:#?}");
}

/// The document of the manual's chapter, on the addresses and files of a test.
fn of_the_manual(pki: &Pki, upstream: &Upstream) -> Setup {
    let manual = include_str!("../config/README.md");
    let (_, chapter) = manual
        .split_once("\n## A legacy application behind a prefix\n")
        .unwrap();
    let (_, document) = chapter.split_once("```toml\n").unwrap();
    let (document, _) = document.split_once("```").unwrap();
    let document: String = document
        .lines()
        .filter(|line| !line.starts_with("bind ="))
        .map(|line| format!("{}\n", line.replace("127.0.0.1:8080", "ADDRESS")))
        .collect();
    let address = upstream.endpoint().strip_prefix("http://").unwrap();
    Setup::new(pki, upstream)
        .without("routes")
        .without("upstreams.orders")
        .with(&document.replace("ADDRESS", address))
        .with("upstreams.shop.outbound.identity_assertion = 'never'")
        .folder("tls")
        .folder("trust")
        .file("trust/partners.pem", &pki.root().pem())
        .certificate("tls/server", &pki.proxy())
}

#[tokio::test]
async fn what_the_manual_says_of_a_legacy_application_holds() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| {
        Reply::ok("")
            .status(302)
            .header("location", "http://shop.internal/webapp/login")
            .header("content-location", "/webapp/login?next=/cart")
            .header("set-cookie", "SID=1; Path=/webapp; Domain=shop.internal")
            .header("server", "old/1.0")
    })
    .await;
    let proxy = of_the_manual(&pki, &upstream).start().await;
    let leaf = pki.root().leaf().client().dns("one.partners.example");
    let client = Client::new(&pki).presenting(&leaf.issue());
    let asked = [("x-debug", "1"), ("x-partner", "other"), ("x-env", "test")]
        .into_iter()
        .fold(get("/shop/cart?x"), |asked, (name, value)| {
            with(asked, name, value)
        });
    let answer = client.send(proxy.public(), asked).await.unwrap();

    let received = upstream.only_request();
    assert_eq!(received.path, "/webapp/cart?x");
    assert_eq!(received.authority, "shop.internal");
    for (name, value) in [
        ("x-env", Some("prod")),
        ("x-partner", Some("one.partners.example")),
        ("x-debug", None),
        ("x-forwarded-host", Some(PROXY_NAME)),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }
    let here = format!("https://{PROXY_NAME}");
    for (name, value) in [
        ("location", Some(&*format!("{here}/shop/login"))),
        ("content-location", Some("/shop/login?next=/cart")),
        (
            "set-cookie",
            Some("SID=1; Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        ),
        ("strict-transport-security", Some("max-age=31536000")),
        ("server", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let elsewhere = client.get(proxy.public(), "/shop//x").await.unwrap();
    assert_eq!(elsewhere.status, 302, "behind /webapp no host is read");
    let other = client.get(proxy.public(), "/cart").await.unwrap();
    assert_eq!(other.status, 404);
}
