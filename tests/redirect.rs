//! A listener that serves nothing and leads to https://.

use crate::support::command::countersign;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::{Raw, RawAnswer};
use crate::support::upstream::Upstream;

/// A TLS listener, and a plaintext one that leads to it.
async fn scene(redirect: &str, change: &str) -> (Proxy, Upstream) {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let plain = format!("[listeners.plain]\nbind = '127.0.0.1:0'\nredirect_to_https = {redirect}");
    let setup = Setup::new(&pki, &upstream).with(&plain).with(change);
    (setup.start().await, upstream)
}

/// What is answered to a request that is written by hand, and to the next one.
async fn answer(proxy: &Proxy, request: &str) -> (RawAnswer, Raw) {
    let mut raw = Raw::plain(proxy.listener("plain")).await;
    raw.write(request).await;
    (raw.read_response().await, raw)
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test]
async fn every_request_is_led_to_the_same_host_and_path_and_none_goes_up() {
    let (proxy, upstream) = scene("true", "").await;
    for (request, location) in [
        (
            get("/a/b?c=d&e", "proxy.test"),
            "https://proxy.test/a/b?c=d&e",
        ),
        (get("/", "Proxy.Test:8080"), "https://proxy.test/"),
        (
            get("//evil.example/", "proxy.test"),
            "https://proxy.test//evil.example/",
        ),
        (
            get("http://proxy.test/x?y", "proxy.test"),
            "https://proxy.test/x?y",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: proxy.test\r\n\r\n".to_owned(),
            "https://proxy.test/",
        ),
        (
            "POST /form HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            "https://proxy.test/form",
        ),
    ] {
        let (led, mut raw) = answer(&proxy, &request).await;
        assert_eq!(
            (led.status, led.values("location")),
            (308, vec![location.to_owned()])
        );
        assert_eq!(led.body, "");
        // The connection goes on.
        raw.write(get("/next", "proxy.test")).await;
        assert_eq!(raw.read_response().await.status, 308, "{request:?}");
    }
    let line = proxy.access_line("/a/b?c=d&e").await;
    assert_eq!(
        (&line["status"], &line["fault"]),
        (&308.into(), &serde_json::Value::Null)
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn nobody_is_led_to_a_host_that_only_the_client_names() {
    let route = "routes = [{ upstream = 'orders', listener = 'public', host = 'shop.example' }]";
    let (proxy, _) = scene("true", route).await;
    for (host, status) in [
        ("evil.example", 421),
        ("proxy.test.evil.example", 421),
        ("192.0.2.7", 421),
        ("proxy.test", 308),
        ("shop.example", 308),
        ("user@proxy.test", 400),
        ("proxy.test/x", 400),
        ("proxy.test, evil.example", 400),
        ("", 400),
    ] {
        let (led, _) = answer(&proxy, &get("/", host)).await;
        assert_eq!(led.status, status, "{host:?}");
        assert_eq!(led.values("location").is_empty(), status != 308, "{host:?}");
    }
    let line = proxy
        .access_line_where(|line| line["host"] == "evil.example")
        .await;
    assert_eq!(line["fault"], "proxy/route/authority_not_served");
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nHost: proxy.test\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
        "GET /../x HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ] {
        let (led, _) = answer(&proxy, request).await;
        assert_eq!(led.status, 400, "{request:?}");
    }
}

#[tokio::test]
async fn host_port_and_status_can_be_chosen() {
    let (proxy, _) = scene(
        "{ host = 'www.example.com', port = 8443, status = 301 }",
        "",
    )
    .await;
    let (led, _) = answer(&proxy, &get("/x", "anything.example")).await;
    assert_eq!(led.status, 301);
    assert_eq!(led.values("location"), ["https://www.example.com:8443/x"]);
}

#[tokio::test]
async fn listener_that_redirects_may_be_reached_by_others_and_may_serve_nothing_else() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let check = async |change: &str| {
        let finished = Setup::new(&pki, &upstream).with(change).run("check").await;
        (finished.code, finished.stderr)
    };
    let plain = "[listeners.plain]\nbind = '0.0.0.0:8080'\n";
    let (code, said) = check(&format!("{plain}redirect_to_https = true")).await;
    assert_eq!(code, Some(0), "{said}");
    for (rest, words) in [
        ("redirect_to_https = false", "redirect_to_https = true"),
        (
            "redirect_to_https = true\njwks_path = '/keys'",
            "the keys would never be served",
        ),
        (
            "redirect_to_https = { status = 200 }",
            "no status of a redirect",
        ),
        ("redirect_to_https = { host = 'a/b' }", "is not a host name"),
        ("redirect_to_https = { port = 0 }", "port"),
    ] {
        let (code, said) = check(&format!("{plain}{rest}")).await;
        assert!(code == Some(2) && said.contains(words), "{rest}: {said}");
    }
    let (code, said) = check("listeners.public.redirect_to_https = true").await;
    assert!(code == Some(2) && said.contains("for ever"), "{said}");
    let routed = format!(
        "{plain}redirect_to_https = true\n[[routes]]\nlistener = 'plain'\nupstream = 'orders'\n[[routes]]\nupstream = 'orders'"
    );
    let (code, said) = check(&routed).await;
    assert!(
        code == Some(2) && said.contains("no request would ever take it"),
        "{said}"
    );
}

#[tokio::test]
async fn explain_says_where_a_request_is_led_to_or_why_it_is_not() {
    let pki = Pki::new();
    let upstream = Upstream::unreachable().await;
    let setup = Setup::new(&pki, &upstream)
        .with("[listeners.plain]\nbind = '127.0.0.1:0'\nredirect_to_https = true");
    let config = setup.write();
    let explain = async |host: &str| {
        let arguments = ["explain", "--config", config.to_str().unwrap()];
        let asked = ["--listener", "plain", "--host", host, "--path", "/a?b"];
        countersign(&[&arguments[..], &asked].concat()).await
    };
    let led = explain("proxy.test").await;
    assert_eq!(led.code, Some(0), "{}{}", led.stdout, led.stderr);
    for word in ["308", "https://proxy.test/a?b", "redirect_to_https"] {
        assert!(led.stdout.contains(word), "{word}: {}", led.stdout);
    }
    let refused = explain("evil.example").await;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    for word in ["421", "authority_not_served"] {
        assert!(refused.stdout.contains(word), "{word}: {}", refused.stdout);
    }
}
