//! Fields that a route sets, adds and removes, in requests and in responses.

use http::Method;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, get, request, with};
use crate::support::command::Finished;
use crate::support::pki::{CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

struct Scene {
    pki: Pki,
    proxy: Proxy,
    upstream: Upstream,
}

const ROUTES: &str = "
listeners.public.tls.client_auth = 'want'
[[routes]]
path = '/ruled'
upstream = 'orders'
[routes.request_headers]
set = { 'X-Env' = 'prod {{1}}', 'X-Caller' = '{uri}', 'X-Both' = 'to {uri}', 'Accept-Language' = 'en' }
add = { 'X-Tag' = 'edge', 'X-Named' = '{dns}' }
remove = ['X-Internal']
[routes.response_headers]
set = { 'Strict-Transport-Security' = 'max-age=31536000', 'X-Seen-As' = '{uri}' }
add = { 'Link' = '</help>; rel=help' }
remove = ['Server', 'X-Powered-By']
[[routes]]
upstream = 'orders'
";

fn chatty(_: &Received) -> Reply {
    Reply::ok("")
        .header("server", "old/1.0")
        .header("x-powered-by", "a")
        .header("x-powered-by", "b")
        .header("strict-transport-security", "max-age=0")
        .header("x-seen-as", "nobody")
        .header("link", "</next>; rel=next")
        .header("x-other", "stays")
        .header("vary", "X-Caller")
}

impl Scene {
    async fn start() -> Self {
        let pki = Pki::new();
        let upstream = Upstream::answering(chatty).await;
        let setup = Setup::new(&pki, &upstream).without("routes").with(ROUTES);
        Self {
            proxy: setup.start().await,
            pki,
            upstream,
        }
    }

    fn caller(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    async fn ask(&self, client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
        let asked = fields
            .iter()
            .fold(get(path), |asked, (name, value)| with(asked, name, value));
        let answer = client.send(self.proxy.public(), asked).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer
    }

    fn last(&self) -> Received {
        self.upstream.requests().pop().unwrap()
    }
}

/// What a caller sends who would like these fields to be its own.
const FORGED: [(&str, &str); 12] = [
    ("x-env", "test"),
    ("X_Env", "test"),
    ("x.env", "test"),
    ("x-caller", "spiffe://prod.example/admin"),
    ("X_Caller", "spiffe://prod.example/admin"),
    ("x-both", "mine"),
    ("x-named", "mine"),
    ("x-tag", "mine"),
    ("x-internal", "1"),
    ("x_internal", "1"),
    ("accept-language", "de"),
    ("x-other", "stays"),
];

#[tokio::test]
async fn fields_are_set_added_and_removed_in_every_spelling() {
    let scene = Scene::start().await;
    for client in scene.caller().in_both_protocols() {
        // Twice: what is said of a caller is put together once.
        for _ in 0..2 {
            scene.ask(&client, "/ruled/x", &FORGED).await;
            let received = scene.last();
            for (name, values) in [
                ("x-env", &["prod {1}"][..]),
                ("x_env", &[]),
                ("x.env", &[]),
                ("x-caller", &[CLIENT_URI]),
                ("x_caller", &[]),
                ("x-both", &["to spiffe://prod.example/billing"]),
                ("x-tag", &["mine", "edge"]),
                // The certificate has no such name, and the caller none to give.
                ("x-named", &[]),
                ("x-internal", &[]),
                ("x_internal", &[]),
                ("accept-language", &["en"]),
                ("x-other", &["stays"]),
            ] {
                assert_eq!(received.values(name), values, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn each_caller_on_one_route_is_named_by_its_own_name_and_the_anonymous_by_none() {
    let scene = Scene::start().await;
    for uri in ["spiffe://prod.example/a", "spiffe://prod.example/b"] {
        let client = Client::new(&scene.pki).presenting(&scene.pki.client_as(uri));
        let answer = scene.ask(&client, "/ruled", &[]).await;
        assert_eq!(scene.last().header("x-caller"), Some(uri));
        assert_eq!(answer.header("x-seen-as"), Some(uri));
    }
    let anonymous = Client::new(&scene.pki);
    let answer = scene.ask(&anonymous, "/ruled", &FORGED).await;
    let received = scene.last();
    assert_eq!(received.header("x-caller"), None);
    assert_eq!(received.header("x-both"), None);
    assert_eq!(received.header("x-env"), Some("prod {1}"));
    assert_eq!(answer.header("x-seen-as"), None);
}

#[tokio::test]
async fn a_field_that_names_callers_on_one_route_is_nobody_s_to_send_on_another() {
    let scene = Scene::start().await;
    scene.ask(&scene.caller(), "/other", &FORGED).await;
    let received = scene.last();
    for name in ["x-caller", "x_caller", "x-both", "x-named"] {
        assert_eq!(received.values(name), [""; 0], "{name}");
    }
    // What has the same value for everybody is another route's affair.
    assert_eq!(received.header("x-env"), Some("test"));
    assert_eq!(received.header("x-internal"), Some("1"));
    assert_eq!(received.header("x-tag"), Some("mine"));
}

#[tokio::test]
async fn what_a_route_sets_or_removes_does_not_come_behind_in_trailers() {
    let scene = Scene::start().await;
    let client = scene.caller().h2();
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    let (writer, body) = Body::streaming();
    let asked = request(Method::POST, "/ruled", body);
    let asked = with(asked, "trailer", "x-env, x_internal, x-caller, x-sum");
    writer.piece("content");
    let mut trailers = http::HeaderMap::new();
    for name in ["x-env", "x_internal", "x-caller", "x-sum"] {
        trailers.insert(name, "forged".parse().unwrap());
    }
    writer.trailers(trailers);
    session.send(asked).await.unwrap();
    let received = scene.last();
    let names: Vec<_> = received.trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test]
async fn responses_get_what_the_route_sets_and_lose_what_it_removes() {
    let scene = Scene::start().await;
    for client in scene.caller().in_both_protocols() {
        let answer = scene.ask(&client, "/ruled", &[]).await;
        let values = |name: &str| -> Vec<_> {
            let all = answer.headers.get_all(name).iter();
            all.map(|value| value.to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(values("strict-transport-security"), ["max-age=31536000"]);
        assert_eq!(values("x-seen-as"), [CLIENT_URI]);
        assert_eq!(values("link"), ["</next>; rel=next", "</help>; rel=help"]);
        assert_eq!(values("server"), [""; 0]);
        assert_eq!(values("x-powered-by"), [""; 0]);
        assert_eq!(values("x-other"), ["stays"]);
        // No cache could tell callers apart by a field that they do not send.
        assert_eq!(values("vary"), ["*"]);

        let answer = scene.ask(&client, "/other", &[]).await;
        assert_eq!(answer.header("server"), Some("old/1.0"));
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=0")
        );
    }
}

#[tokio::test]
async fn a_caller_of_whom_too_much_would_be_told_gets_431_and_the_service_sees_nothing() {
    let scene = Scene::start().await;
    let long = "x".repeat(1500);
    let many = (0..8).fold(scene.pki.root().leaf().client(), |leaf, number| {
        leaf.uri(&format!("https://prod.example/{number}/{long}"))
    });
    let client = Client::new(&scene.pki).presenting(&many.issue());
    let sent = client.get(scene.proxy.public(), "/ruled/much").await;
    assert_eq!(sent.unwrap().status, 431);
    assert!(scene.upstream.requests().is_empty());
    let line = scene.proxy.access_line("/ruled/much").await;
    assert_eq!(
        line["fault"], "proxy/outbound/assertion_too_large",
        "{line}"
    );
    assert!(
        line["remedy"].as_str().unwrap().contains("request_headers"),
        "{line}"
    );
}

#[tokio::test]
async fn fields_that_are_countersign_s_own_are_refused_in_the_config() {
    for (rules, words) in [
        (
            "request_headers.set = { Host = 'x' }",
            &["host = \"NAME\""][..],
        ),
        (
            "request_headers.remove = ['x_forwarded_for']",
            &["trusted_proxies"],
        ),
        (
            "request_headers.set = { Authorization = 'Basic x' }",
            &["message layer"],
        ),
        (
            "request_headers.add = { Transfer_Encoding = 'x' }",
            &["how long a message is"],
        ),
        (
            "request_headers.set = { X-SSL-Client-Cert = 'x' }",
            &["who is calling"],
        ),
        (
            "request_headers.remove = ['X-Forwarded-Client-Cert']",
            &["who is calling"],
        ),
        (
            "request_headers.set = { Cookie = '{uri}' }",
            &["cannot carry an identity"],
        ),
        (
            "request_headers.set = { X-HTTP-Method-Override = 'PUT' }",
            &["another method"],
        ),
        (
            "response_headers.remove = ['Content-Length']",
            &["how long a message is"],
        ),
        ("request_headers.set = { 'X Env' = 'x' }", &["not the name"]),
        (
            "request_headers.set = { X-Env = \"a\\r\\nb\" }",
            &["printable ASCII"],
        ),
        (
            "request_headers.set = { X-Env = '{nobody}' }",
            &["is not known"],
        ),
        (
            "request_headers = { set = { X-Env = 'a' }, remove = ['x_env'] }",
            &["named twice"],
        ),
    ] {
        let pki = Pki::new();
        let route = format!("[[routes]]\nupstream = 'orders'\n{rules}");
        let setup = Setup::to(&pki, "http://127.0.0.1:9")
            .without("routes")
            .with(&route);
        let finished: Finished = setup.run("check").await;
        finished.expect_code(2).expect_words(words);
        finished.expect_words(&["routes[0]."]);
    }
}
