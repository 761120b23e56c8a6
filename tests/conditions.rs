//! Rules with a condition in CEL, over real connections.

use http::{Method, Request, StatusCode};

use crate::support::body::Body;
use crate::support::client::{Client, get};
use crate::support::pki::{Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// Starts with one route that has these lists.
async fn start(pki: &Pki, upstream: &Upstream, lists: &str) -> Proxy {
    let routes = format!("routes = [{{ upstream = 'orders', {lists} }}]");
    Setup::new(pki, upstream).with(&routes).start().await
}

async fn status(pki: &Pki, proxy: &Proxy, leaf: &Leaf, request: Request<Body>) -> StatusCode {
    let client = Client::new(pki).presenting(leaf);
    client.send(proxy.public(), request).await.unwrap().status
}

#[tokio::test]
async fn condition_sees_the_certificate_and_the_request() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let lists = r#"allow = [{ name = "tenants", when = 'caller.uri.exists(u, request.path.startsWith("/tenants/" + u + "/")) || request.path.matches(r"^/public/[0-9]+$") && in_network(request.source, "127.0.0.0/8") && has(caller.issuer)' }]"#;
    let proxy = start(&pki, &upstream, lists).await;
    let leaf = pki.client();
    let ask = |path: &'static str| status(&pki, &proxy, &leaf, get(path));

    assert_eq!(ask("/public/15").await, StatusCode::OK);
    assert_eq!(ask("/public/x").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("/tenants/spiffe").await, StatusCode::FORBIDDEN);
    assert_eq!(upstream.requests().len(), 1);
    let line = proxy.access_line("/public/15").await;
    assert_eq!(line["rule"], "tenants");
}

#[tokio::test]
async fn condition_of_deny_holds_for_those_whom_allow_lets_in() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let lists = r#"deny = [{ when = 'request.method != "GET" && !("root" in caller.cn)' }]"#;
    let proxy = start(&pki, &upstream, lists).await;
    let root = pki.root().leaf().client().common_name("root").issue();
    let delete = |path| {
        let mut request = get(path);
        *request.method_mut() = Method::DELETE;
        request
    };

    assert_eq!(
        status(&pki, &proxy, &pki.client(), get("/")).await,
        StatusCode::OK
    );
    assert_eq!(
        status(&pki, &proxy, &pki.client(), delete("/a")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status(&pki, &proxy, &root, delete("/b")).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn condition_on_what_a_request_lacks_is_closed_and_the_log_says_why() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let lists = r#"allow = [{ uri = "spiffe://**", when = 'speaker.name != "evil"' }]"#;
    let proxy = start(&pki, &upstream, lists).await;

    assert_eq!(
        status(&pki, &proxy, &pki.client(), get("/x")).await,
        StatusCode::FORBIDDEN
    );
    assert!(upstream.requests().is_empty());
    let line = proxy.access_line("/x").await;
    let cause = line["cause"].as_str().unwrap();
    assert!(
        cause.contains("; `when` has no result: `speaker.name` is not known here"),
        "{line}"
    );
    assert_eq!(line["rule"], "none matched", "{line}");
}
