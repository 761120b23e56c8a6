//! The cookies that a service sets, as its callers get them.

use crate::support::client::{Answer, Client, get, with};
use crate::support::pki::{PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Received, Reply, Upstream};

struct Scene {
    client: Client,
    proxy: Proxy,
    upstream: Upstream,
}

/// Sets the cookies of the request's fields `x-set`.
fn sets(request: &Received) -> Reply {
    let cookies = request.values("x-set").into_iter();
    cookies.fold(Reply::ok(""), |reply, cookie| {
        reply.header("set-cookie", &cookie.replace("SELF", &request.authority))
    })
}

impl Scene {
    async fn start(toml: &str) -> Self {
        let pki = Pki::new();
        let upstream = Upstream::answering(sets).await;
        let setup = Setup::new(&pki, &upstream).without("routes").with(toml);
        Self {
            proxy: setup.start().await,
            client: Client::new(&pki).presenting(&pki.client()),
            upstream,
        }
    }

    /// What a caller is given where the service sets these cookies.
    async fn given(&self, cookies: &[&str]) -> Vec<String> {
        let mut given = Vec::new();
        for client in self.client.in_both_protocols() {
            let asked = cookies
                .iter()
                .fold(get("/shop/x"), |asked, cookie| with(asked, "x-set", cookie));
            let sent = client.send(self.proxy.public(), asked);
            let answer: Answer = sent.await.unwrap();
            assert_eq!(answer.status, 200);
            let values = answer.headers.get_all("set-cookie").iter();
            given.push(
                values
                    .map(|value| value.to_str().unwrap().to_owned())
                    .collect::<Vec<_>>(),
            );
        }
        let last = given.pop().unwrap();
        assert_eq!(given.pop().unwrap(), last, "HTTP/1.1 and HTTP/2 differ");
        last
    }
}

const REWRITTEN: &str = "
routes = [{ path = '/shop', strip_prefix = true, add_prefix = '/app', upstream = 'orders' }]
upstreams.orders.host = 'orders.internal'
";

#[tokio::test]
async fn cookies_of_the_service_are_for_the_place_at_which_its_callers_see_it() {
    let scene = Scene::start(REWRITTEN).await;
    for (set, given) in [
        ("a=b; Path=/app", "a=b; Path=/shop"),
        ("a=b;path=/app/x;HttpOnly", "a=b;path=/shop/x;HttpOnly"),
        ("a=b; Path=/", "a=b; Path=/shop"),
        ("a=\"x=/app\"; Domain=SELF; Secure", "a=\"x=/app\"; Secure"),
        ("a=b; Domain=.internal; Max-Age=5", "a=b; Max-Age=5"),
        ("a=b; DOMAIN=proxy.test", "a=b; DOMAIN=proxy.test"),
        ("a", "a"),
        // These are for others, or must stay as they are.
        ("a=b; Path=/other", "a=b; Path=/other"),
        (
            "a=b; Domain=elsewhere.example",
            "a=b; Domain=elsewhere.example",
        ),
        ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
        (
            "__Secure-a=b; Path=/app; Secure",
            "__Secure-a=b; Path=/shop; Secure",
        ),
    ] {
        assert_eq!(scene.given(&[set]).await, [given], "{set}");
    }
}

#[tokio::test]
async fn each_of_several_cookies_is_rewritten_by_itself_and_in_its_order() {
    let scene = Scene::start(REWRITTEN).await;
    let given = scene
        .given(&["a=1; Path=/app", "b=2; Path=/other", "a=3; Path=/app/x"])
        .await;
    assert_eq!(
        given,
        ["a=1; Path=/shop", "b=2; Path=/other", "a=3; Path=/shop/x"]
    );
}

#[tokio::test]
async fn where_nothing_is_rewritten_cookies_stay_byte_by_byte() {
    let sets = [
        "a=b ;; path = / ;Domain=SELF",
        "c=\"d e\"; Path=/app; PATH=/",
    ];
    let expected = [
        format!("a=b ;; path = / ;Domain={PROXY_NAME}"),
        sets[1].to_owned(),
    ];
    let plain = Scene::start("routes = [{ upstream = 'orders' }]").await;
    assert_eq!(plain.given(&sets).await, expected);
    let off = "routes = [{ path = '/shop', strip_prefix = true, rewrite_responses = false, upstream = 'orders' }]";
    assert_eq!(Scene::start(off).await.given(&sets).await, expected);
}

#[tokio::test]
async fn attributes_are_added_to_every_cookie_that_lacks_them() {
    let cookies = "cookies = { secure = true, http_only = true, same_site = 'Lax' }";
    let route = format!("routes = [{{ upstream = 'orders', {cookies} }}]");
    let scene = Scene::start(&route).await;
    for (set, given) in [
        ("a=b", "a=b; Secure; HttpOnly; SameSite=Lax"),
        (
            "a=b; Path=/x; secure; samesite=None",
            "a=b; Path=/x; secure; samesite=Lax; HttpOnly",
        ),
        (
            "__Host-a=b; Path=/; Secure",
            "__Host-a=b; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
    ] {
        assert_eq!(scene.given(&[set]).await, [given], "{set}");
    }
    let place = "cookies = { domain = 'example.com', path = '/' }";
    let route = format!("routes = [{{ upstream = 'orders', {place} }}]");
    let scene = Scene::start(&route).await;
    for (set, given) in [
        ("a=b", "a=b; Domain=example.com; Path=/"),
        (
            "a=b; path=/x; domain=SELF",
            "a=b; path=/; domain=example.com",
        ),
        ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
    ] {
        assert_eq!(scene.given(&[set]).await, [given], "{set}");
    }
}

#[tokio::test]
async fn sessions_that_are_kept_never_come_down_though_cookies_are_rewritten() {
    let scene = Scene::start(&format!(
        "{REWRITTEN}\nupstreams.orders.outbound.session_cookies = ['SID']"
    ))
    .await;
    let given = scene
        .given(&["SID=secret; Path=/app", "a=b; Path=/app"])
        .await;
    assert_eq!(given, ["a=b; Path=/shop"]);
    // It is kept for the service's own paths, and goes up to them.
    let asked = get("/shop/y");
    scene
        .client
        .send(scene.proxy.public(), asked)
        .await
        .unwrap();
    let last = scene.upstream.requests().pop().unwrap();
    assert_eq!(last.path, "/app/y");
    assert_eq!(last.header("cookie"), Some("SID=secret"));
}
