//! Which request goes where, and who may send it.

use http::Request;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, get, host};
use crate::support::pki::{Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};

/// Two upstreams that tell their names, and a certificate for several hosts.
struct Scene {
    pki: Pki,
    orders: Upstream,
    other: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let orders = Upstream::answering(|_| Reply::ok("orders")).await;
        let other = Upstream::answering(|_| Reply::ok("other")).await;
        Self {
            pki: Pki::new(),
            orders,
            other,
        }
    }

    fn setup(&self, routes: &str) -> Setup {
        let server = self.pki.root().leaf().server();
        let server = server
            .dns("proxy.test")
            .dns("second.test")
            .dns("*.apps.test")
            .issue();
        Setup::new(&self.pki, &self.orders)
            .certificate("proxy", &server)
            .with(&format!(
                "upstreams.other = {{ endpoints = ['{}'], protocol = 'http/1.1' }}",
                self.other.endpoint()
            ))
            .with("upstreams.other.outbound.identity_assertion = 'never'")
            .with(&format!("routes = [{routes}]"))
    }

    async fn start(&self, routes: &str) -> Proxy {
        self.setup(routes).start().await
    }

    fn client(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    /// What a caller with the baseline certificate is answered, with the status.
    async fn ask(&self, proxy: &Proxy, request: Request<Body>) -> String {
        let answer = self.client().send(proxy.public(), request).await.unwrap();
        match answer.status.as_u16() {
            200 => answer.text().to_owned(),
            other => other.to_string(),
        }
    }
}

#[tokio::test]
async fn first_route_that_matches_wins() {
    let scene = Scene::new().await;
    let routes = "{ path = '/a/b', upstream = 'orders' }, { path = '/a', upstream = 'other' }, { upstream = 'orders' }";
    let proxy = scene.start(routes).await;
    assert_eq!(scene.ask(&proxy, get("/a/b/c")).await, "orders");
    assert_eq!(scene.ask(&proxy, get("/a/c")).await, "other");
    assert_eq!(scene.ask(&proxy, get("/c")).await, "orders");
}

#[tokio::test]
async fn path_of_a_route_is_a_prefix_of_whole_segments() {
    let scene = Scene::new().await;
    let proxy = scene
        .start("{ path = '/api', upstream = 'orders' }, { upstream = 'other' }")
        .await;
    for inside in ["/api", "/api/", "/api/v1", "/api?query"] {
        assert_eq!(scene.ask(&proxy, get(inside)).await, "orders", "{inside}");
    }
    for outside in ["/apix", "/ap", "/API", "/", "/x/api"] {
        assert_eq!(scene.ask(&proxy, get(outside)).await, "other", "{outside}");
    }
}

#[tokio::test]
async fn dot_segments_do_not_lead_around_a_route() {
    let scene = Scene::new().await;
    let admin =
        "{ path = '/admin', upstream = 'other', allow = [{ uri = 'spiffe://prod.example/root' }] }";
    let proxy = scene
        .start(&format!("{admin}, {{ upstream = 'orders' }}"))
        .await;
    for path in [
        "/x/../admin",
        "/./admin",
        "/x/%2e%2e/admin",
        "/%2e/admin",
        "//admin",
        "/x/..%2fadmin",
    ] {
        let outcome = scene.ask(&proxy, get(path)).await;
        // The upstream must not be handed a path that it may read as /admin
        // on the word of a route that did not.
        assert_ne!(outcome, "orders", "{path}");
    }
    assert_eq!(scene.ask(&proxy, get("/x")).await, "orders");
    assert_eq!(scene.other.requests().len(), 0);
}

#[tokio::test]
async fn host_of_a_route_is_compared_without_case_port_and_final_dot() {
    let scene = Scene::new().await;
    let proxy = scene
        .start("{ host = 'second.test', upstream = 'orders' }, { upstream = 'other' }")
        .await;
    for name in [
        "second.test",
        "SECOND.test",
        "second.test:8443",
        "second.test.",
    ] {
        assert_eq!(scene.ask(&proxy, host(name)).await, "orders", "{name}");
    }
    assert_eq!(scene.ask(&proxy, host("proxy.test")).await, "other");
}

#[tokio::test]
async fn wildcard_host_stands_for_exactly_one_label() {
    let scene = Scene::new().await;
    let proxy = scene
        .start("{ host = '*.apps.test', upstream = 'orders' }, { upstream = 'other' }")
        .await;
    assert_eq!(scene.ask(&proxy, host("one.apps.test")).await, "orders");
    assert_eq!(scene.ask(&proxy, host("proxy.test")).await, "other");
    for name in ["apps.test", "a.b.apps.test", "xapps.test"] {
        assert_ne!(scene.ask(&proxy, host(name)).await, "orders", "{name}");
    }
}

#[tokio::test]
async fn request_that_no_route_matches_gets_404() {
    let scene = Scene::new().await;
    let proxy = scene.start("{ path = '/api', upstream = 'orders' }").await;
    assert_eq!(scene.ask(&proxy, get("/elsewhere")).await, "404");
    assert!(scene.orders.requests().is_empty());
    assert_eq!(proxy.access_line("/elsewhere").await["status"], 404);
}

#[tokio::test]
async fn route_of_another_listener_does_not_match() {
    let scene = Scene::new().await;
    let routes =
        "{ listener = 'second', upstream = 'orders' }, { path = '/here', upstream = 'other' }";
    let second = "listeners.second = { bind = '127.0.0.1:0', protocols = ['http/1.1'] }";
    let proxy = scene.setup(routes).with(second).start().await;
    assert_eq!(scene.ask(&proxy, get("/")).await, "404");
    let answer = Client::plaintext(&scene.pki)
        .get(proxy.listener("second"), "/")
        .await
        .unwrap();
    assert_eq!(answer.text(), "orders");
}

#[tokio::test]
async fn authority_that_the_handshake_does_not_cover_gets_421() {
    let scene = Scene::new().await;
    let proxy = scene.start("{ upstream = 'orders' }").await;
    for client in scene.client().in_both_protocols() {
        let answer = client
            .send(proxy.public(), host("elsewhere.test"))
            .await
            .unwrap();
        assert_eq!(answer.status, 421);
    }
    assert!(scene.orders.requests().is_empty());
}

#[tokio::test]
async fn authority_that_another_listeners_policy_covers_gets_421() {
    let scene = Scene::new().await;
    let open = "
        [listeners.open]
        bind = '127.0.0.1:0'
        protocols = ['h2', 'http/1.1']
        tls = { certificates = [{ chain = 'open.pem', key = 'open.key' }], client_auth = 'none' }";
    let leaf = scene.pki.server("open.test");
    let proxy = scene
        .setup("{ upstream = 'orders' }")
        .certificate("open", &leaf)
        .with(open)
        .start()
        .await;
    let anonymous = Client::new(&scene.pki).sni("open.test");
    for client in anonymous.in_both_protocols() {
        let public = client
            .send(proxy.listener("open"), host("proxy.test"))
            .await
            .unwrap();
        assert_eq!(public.status, 421, "proxy.test demands a certificate");
        let own = client
            .send(proxy.listener("open"), host("open.test"))
            .await
            .unwrap();
        assert_eq!(own.status, 200);
    }
}

#[tokio::test]
async fn anonymous_caller_gets_403_where_the_route_requires_a_certificate() {
    let scene = Scene::new().await;
    let routes =
        "{ path = '/in', client_auth = 'require', upstream = 'orders' }, { upstream = 'other' }";
    let proxy = scene
        .setup(routes)
        .with("listeners.public.tls.client_auth = 'want'")
        .start()
        .await;
    for client in Client::new(&scene.pki).in_both_protocols() {
        assert_eq!(client.get(proxy.public(), "/in").await.unwrap().status, 403);
        assert_eq!(
            client.get(proxy.public(), "/").await.unwrap().text(),
            "other"
        );
    }
    assert!(scene.orders.requests().is_empty());
    assert_eq!(scene.ask(&proxy, get("/in")).await, "orders");
}

#[tokio::test]
async fn uri_rule_lets_its_callers_in_and_no_others() {
    let good = |pki: &Pki| pki.client_as("spiffe://prod.example/billing");
    allows("uri = 'spiffe://prod.example/*'", good, &|pki: &Pki| {
        pki.client_as("spiffe://test.example/billing")
    })
    .await;
}

#[tokio::test]
async fn wildcard_in_a_uri_rule_stops_at_a_slash() {
    let good = |pki: &Pki| pki.client_as("spiffe://prod.example/billing");
    allows("uri = 'spiffe://prod.example/*'", good, &|pki: &Pki| {
        pki.client_as("spiffe://prod.example/a/b")
    })
    .await;
}

#[tokio::test]
async fn dns_rule_lets_its_callers_in_and_no_others() {
    let named = |name: &'static str| move |pki: &Pki| pki.root().leaf().client().dns(name).issue();
    allows(
        "dns = '*.partners.example'",
        named("one.partners.example"),
        &named("partners.example"),
    )
    .await;
}

#[tokio::test]
async fn wildcard_in_a_dns_rule_stops_at_a_dot() {
    let named = |name: &'static str| move |pki: &Pki| pki.root().leaf().client().dns(name).issue();
    allows(
        "dns = '*.partners.example'",
        named("one.partners.example"),
        &named("a.b.partners.example"),
    )
    .await;
}

#[tokio::test]
async fn common_name_does_not_satisfy_a_dns_rule() {
    let good = |pki: &Pki| pki.root().leaf().client().dns("a.example").issue();
    let bad = |pki: &Pki| pki.root().leaf().client().common_name("a.example").issue();
    allows("dns = 'a.example'", good, &bad).await;
}

#[tokio::test]
async fn subject_rule_lets_its_callers_in_and_no_others() {
    let named =
        |name: &'static str| move |pki: &Pki| pki.root().leaf().client().common_name(name).issue();
    allows(
        "subject = 'CN=billing'",
        named("billing"),
        &named("billing2"),
    )
    .await;
}

#[tokio::test]
async fn escaped_comma_does_not_split_a_subject() {
    let good = |pki: &Pki| {
        let leaf = pki
            .root()
            .leaf()
            .client()
            .subject(rcgen::DnType::OrganizationName, "Example");
        leaf.common_name("billing").issue()
    };
    let bad = |pki: &Pki| {
        pki.root()
            .leaf()
            .client()
            .common_name("billing,O=Example")
            .issue()
    };
    allows("subject = 'CN=billing,O=Example'", good, &bad).await;
}

#[tokio::test]
async fn fingerprint_rule_lets_its_certificate_in_and_no_other() {
    let scene = Scene::new().await;
    let (good, bad) = (scene.pki.client(), scene.pki.client());
    let rule = format!("{{ fingerprint = '{}' }}", good.fingerprint());
    let proxy = scene
        .start(&format!("{{ allow = [{rule}], upstream = 'orders' }}"))
        .await;
    admits_one(&scene, &proxy, &good, &bad).await;
}

#[tokio::test]
async fn any_rule_of_a_route_is_enough() {
    let scene = Scene::new().await;
    let rules = "[{ dns = 'a.example' }, { uri = 'spiffe://prod.example/billing' }]";
    let proxy = scene
        .start(&format!("{{ allow = {rules}, upstream = 'orders' }}"))
        .await;
    let dns = scene.pki.root().leaf().client().dns("a.example").issue();
    for leaf in [scene.pki.client(), dns] {
        let client = Client::new(&scene.pki).presenting(&leaf);
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn refused_caller_does_not_fall_through_to_the_next_route() {
    let scene = Scene::new().await;
    let routes = "{ path = '/a', allow = [{ dns = 'nobody.example' }], upstream = 'orders' }, { upstream = 'other' }";
    let proxy = scene.start(routes).await;
    assert_eq!(scene.ask(&proxy, get("/a")).await, "403");
    assert!(scene.other.requests().is_empty());
}

#[tokio::test]
async fn anonymous_caller_satisfies_no_rule() {
    let scene = Scene::new().await;
    let setup =
        scene.setup("{ allow = [{ uri = 'spiffe://prod.example/*' }], upstream = 'orders' }");
    let proxy = setup
        .with("listeners.public.tls.client_auth = 'want'")
        .start()
        .await;
    assert_eq!(
        Client::new(&scene.pki)
            .get(proxy.public(), "/")
            .await
            .unwrap()
            .status,
        403
    );
    assert_eq!(scene.ask(&proxy, get("/")).await, "orders");
}

/// One rule, one caller that satisfies it and one that just does not.
async fn allows(rule: &str, good: impl Fn(&Pki) -> Leaf, bad: &dyn Fn(&Pki) -> Leaf) {
    let scene = Scene::new().await;
    let proxy = scene
        .start(&format!(
            "{{ allow = [{{ {rule} }}], upstream = 'orders' }}"
        ))
        .await;
    admits_one(&scene, &proxy, &good(&scene.pki), &bad(&scene.pki)).await;
}

async fn admits_one(scene: &Scene, proxy: &Proxy, good: &Leaf, bad: &Leaf) {
    for client in Client::new(&scene.pki).presenting(bad).in_both_protocols() {
        let answer: Answer = client.get(proxy.public(), "/bad").await.unwrap();
        assert_eq!(answer.status, 403);
    }
    assert!(
        scene.orders.requests().is_empty(),
        "a refused request goes nowhere"
    );
    let line = proxy.access_line("/bad").await;
    assert!(
        line["rule"].as_str().is_some_and(|rule| !rule.is_empty()),
        "the rule is named: {line}"
    );
    for client in Client::new(&scene.pki).presenting(good).in_both_protocols() {
        assert_eq!(
            client.get(proxy.public(), "/good").await.unwrap().status,
            200
        );
    }
    assert_eq!(proxy.access_line("/good").await["status"], 200);
}

/// A route that is closed to everybody, before an open one. A plaintext
/// listener, `plain`, takes every host.
async fn with_a_closed_route(upstream: &Upstream, closed: &str) -> Proxy {
    Setup::new(&Pki::new(), upstream)
        .with("listeners.plain = { bind = '127.0.0.1:0', path = 'raw' }")
        .with(&format!(
            "routes = [
                {{ {closed}, allow = [{{ dns = 'nobody.test' }}], upstream = 'orders' }},
                {{ path = '/public', upstream = 'orders' }},
            ]"
        ))
        .start()
        .await
}

async fn status_of(proxy: &Proxy, host: &str, path: &str) -> u16 {
    let mut raw = Raw::plain(proxy.listener("plain")).await;
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await;
    raw.read_response().await.status
}

#[tokio::test]
async fn address_in_another_spelling_takes_the_same_route() {
    let upstream = Upstream::start().await;
    let proxy = with_a_closed_route(&upstream, "host = '::1'").await;
    for host in [
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::0001]:8443",
        "[::0.0.0.1]",
        "[0::1]:",
    ] {
        assert_eq!(status_of(&proxy, host, "/public").await, 403, "{host}");
    }
    assert_eq!(status_of(&proxy, "[::2]", "/public").await, 200);
}

#[tokio::test]
async fn path_that_leads_elsewhere_in_another_reading_is_refused() {
    let upstream = Upstream::start().await;
    let proxy = with_a_closed_route(&upstream, "path = '/admin'").await;
    for path in [
        "/public/..%2fadmin/%2f..%2fpublic",
        "/public/..%2f%2e%2e/admin",
        "/public/.%252e/admin",
        "/public%2f..%2fadmin",
        "/public\\..\\admin",
        "/public/%2e%2e%5cadmin",
        "/public;/../admin",
        "/public/..;x/admin",
        "/public/%2561/../admin",
        "//admin",
        "/%61dmin",
        "/admin%2f",
        "/admin;x",
    ] {
        let status = status_of(&proxy, "any.test", path).await;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
    }
    for path in ["/public/a%20b", "/public/a.b/..c", "/public/x?/../../admin"] {
        assert_eq!(status_of(&proxy, "any.test", path).await, 200, "{path}");
    }
    assert_eq!(upstream.requests().len(), 3);
}
