use super::*;
use crate::proxy::rewrite::testing::{names, prefix};

/// What a caller of `https://public.example/api` gets of a cookie that the
/// service `orders.internal` sets, which sees `/app` in place of `/api`.
fn back(cookie: &str) -> String {
    changed(cookie, &CookieChanges::default())
}

fn changed(cookie: &str, changes: &CookieChanges) -> String {
    let names = names();
    let prefix = prefix("/api", "/app");
    let cookies = Cookies {
        changes,
        back: Some((&names, &prefix, "public.example:8443")),
    };
    String::from_utf8(cookies.rewritten(cookie.as_bytes())).unwrap()
}

#[test]
fn paths_and_domains_of_the_service_become_the_caller_s_and_nothing_else_changes() {
    for (sent, got) in [
        ("a=b", "a=b"),
        ("a", "a"),
        ("", ""),
        ("a=b; Path=/app", "a=b; Path=/api"),
        ("a=b;path=/app/x;HttpOnly", "a=b;path=/api/x;HttpOnly"),
        (
            "a=b ;  PATH = /app/x ; Secure",
            "a=b ;  PATH =/api/x; Secure",
        ),
        ("a=b; Path=/", "a=b; Path=/api"),
        ("a=b; Path=/; Path=/app/x", "a=b; Path=/api; Path=/api/x"),
        ("a=b; Path=/other", "a=b; Path=/other"),
        ("a=b; Path=", "a=b; Path="),
        ("a=b; Path", "a=b; Path"),
        ("a=b; Path=app", "a=b; Path=app"),
        ("a=b; Path=\"/app\"", "a=b; Path=\"/app\""),
        ("a=\"/app; Path=/app\"; x", "a=\"/app; Path=/app\"; x"),
        ("a=\"x y\"; Path=/app;;", "a=\"x y\"; Path=/api;;"),
        (
            "a=Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "a=Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ),
        ("a=b; Domain=orders.internal", "a=b"),
        ("a=b;domain=.Orders.INTERNAL;Secure", "a=b;Secure"),
        ("a=b; Domain=internal; Max-Age=5", "a=b; Max-Age=5"),
        ("a=b; Domain=public.example", "a=b; Domain=public.example"),
        ("a=b; Domain=example", "a=b; Domain=example"),
        ("a=b; Domain=ernal", "a=b; Domain=ernal"),
        (
            "a=b; Domain=elsewhere.example",
            "a=b; Domain=elsewhere.example",
        ),
        ("a=b; Domain=; Path=/app", "a=b; Domain=; Path=/api"),
    ] {
        assert_eq!(back(sent), got, "{sent}");
    }
}

#[test]
fn a_cookie_bound_to_its_host_keeps_its_path_and_gets_no_domain() {
    let changes = CookieChanges {
        secure: true,
        http_only: true,
        same_site: Some("Strict"),
        domain: Some("example.com".to_owned()),
        path: Some("/x".to_owned()),
    };
    for name in ["__Host-a", "__host-a", " __HOST-a"] {
        let sent = format!("{name}=b; Secure; Path=/");
        assert_eq!(back(&sent), sent);
        let expected = format!("{sent}; HttpOnly; SameSite=Strict");
        assert_eq!(changed(&sent, &changes), expected);
    }
    let secure = "__Secure-a=b; Secure; Path=/app";
    assert_eq!(back(secure), "__Secure-a=b; Secure; Path=/api");
}

#[test]
fn attributes_are_added_once_and_replaced_where_they_stand() {
    let all = CookieChanges {
        secure: true,
        http_only: true,
        same_site: Some("Lax"),
        domain: Some("example.com".to_owned()),
        path: Some("/".to_owned()),
    };
    for (sent, got) in [
        (
            "a=b",
            "a=b; Domain=example.com; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            "a=b;samesite=None;secure;HTTPONLY;path=/app;domain=x.example",
            "a=b;samesite=Lax;secure;HTTPONLY;path=/;domain=example.com",
        ),
        (
            "a=b; SameSite; SameSite=Strict",
            "a=b; SameSite=Lax; SameSite=Lax; Domain=example.com; Path=/; Secure; HttpOnly",
        ),
    ] {
        assert_eq!(changed(sent, &all), got, "{sent}");
    }
}

#[test]
fn without_a_word_about_it_nothing_is_changed() {
    let changes = CookieChanges::default();
    let cookies = Cookies {
        changes: &changes,
        back: None,
    };
    let (names, root) = (names(), prefix("", ""));
    let same = Cookies {
        changes: &changes,
        back: Some((&names, &root, "public.example")),
    };
    let spaced = b"a=b; path = / ;Path=/x; SameSite = Lax";
    assert_eq!(same.rewritten(spaced), spaced);
    let sent = b"a=\xff ;; path = /app ;Domain=orders.internal; \t";
    assert_eq!(cookies.rewritten(sent), sent);
    let cookies = Cookies {
        changes: &CookieChanges {
            secure: true,
            ..CookieChanges::default()
        },
        back: None,
    };
    assert_eq!(cookies.rewritten(b"a=\xff"), b"a=\xff; Secure");
}
