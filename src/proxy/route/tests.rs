//! Every answer is that of a look at each route, one after the other.

use std::fmt::Write;
use std::path::Path;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::{is_within, parse};

const LISTENERS: [&str; 2] = ["one", "two"];

/// The listener, the host and the path of a route.
type Written = (Option<&'static str>, Option<&'static str>, &'static str);

fn any_route() -> impl Strategy<Value = Written> {
    let host = select(&[
        "a.test",
        "b.a.test",
        "192.0.2.1",
        "2001:db8::1",
        "*.test",
        "*.a.test",
        "*.b.a.test",
    ]);
    let path = select(&[
        "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/aa", "/aa/b", "/b", "/b/a", "/A",
    ]);
    (of(select(&LISTENERS)), of(host), path)
}

/// A listener, a host and a path as they come from a client.
fn any_request() -> impl Strategy<Value = (ListenerId, &'static str, &'static str)> {
    let host = select(&[
        "a.test",
        "b.a.test",
        "c.a.test",
        "c.b.a.test",
        "c.test",
        "test",
        ".test",
        ".a.test",
        "..test",
        "a.test.",
        "192.0.2.1",
        "2001:db8::1",
        "",
    ]);
    let path = select(&[
        "/", "//", "/a", "/a/", "/a//", "/a//b", "/a/b", "/a/b/", "/a/b/c/d", "/a/bb", "/aa",
        "/aa/b/a", "/aaa", "/b/a/", "/b//a", "/A/b", "/c", "*", "", "a", "/a/./b", "/%61",
    ]);
    ((0..LISTENERS.len()).prop_map(ListenerId), host, path)
}

/// A config with those of the routes that are reached.
fn config(routes: &[Written]) -> Config {
    let mut reached = Vec::new();
    for route in routes {
        reached.push(*route);
        if read(&reached).is_none() {
            reached.pop();
        }
    }
    read(&reached).unwrap()
}

/// A config with these routes, and one more if each listener would not have any.
fn read(routes: &[Written]) -> Option<Config> {
    let mut text = "upstreams.up.endpoints = ['http://127.0.0.1:1']\n".to_owned();
    for (number, name) in LISTENERS.iter().enumerate() {
        let port = 8080 + number;
        writeln!(text, "listeners.{name}.bind = '127.0.0.1:{port}'").unwrap();
    }
    let last = (None, Some("elsewhere.example"), "/");
    let last = (!routes.contains(&(None, None, "/"))).then_some(last);
    for (listener, host, path) in routes.iter().copied().chain(last) {
        writeln!(text, "[[routes]]\nupstream = 'up'\npath = '{path}'").unwrap();
        for (key, value) in [("listener", listener), ("host", host)] {
            if let Some(value) = value {
                writeln!(text, "{key} = '{value}'").unwrap();
            }
        }
    }
    let draft = parse(&text, Path::new("config.toml"));
    draft.finish(Vec::new()).ok()
}

/// The routes that match, found by a look at each.
fn matching<'c>(
    config: &'c Config,
    listener: ListenerId,
    (host, path): (&str, &str),
) -> impl Iterator<Item = (usize, &'c Route)> {
    config
        .routes()
        .iter()
        .enumerate()
        .filter(move |(_, route)| {
            route.listener.is_none_or(|only| only == listener)
                && host_matches(route.host.as_ref(), host)
                && is_within(&route.path, path)
        })
}

fn host_matches(pattern: Option<&HostPattern>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(HostPattern::Exact(name)) => name == host,
        Some(HostPattern::Wildcard(suffix)) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
    }
}

#[test]
fn prefixes_match_whole_segments_only() {
    for (prefix, path, matches) in [
        ("/", "/", true),
        ("/", "/x", true),
        ("/", "*", true),
        ("/api", "/api", true),
        ("/api", "/api/", true),
        ("/api/", "/api/orders", true),
        ("/api/", "/api", true),
        ("/api", "/apiary", false),
        ("/api", "/API", false),
        ("/api", "*", false),
        ("/api/v1", "/api", false),
    ] {
        let config = config(&[(None, None, prefix)]);
        let found = Routes::new(&config).find(&config, ListenerId(0), "a.test", path);
        assert_eq!(found.is_some(), matches, "{prefix} {path}");
        assert_eq!(is_within(prefix, path), matches, "{prefix} {path}");
    }
}

#[test]
fn a_wildcard_stands_for_exactly_one_label() {
    let config = config(&[(None, Some("*.example.com"), "/")]);
    let routes = Routes::new(&config);
    for (host, matches) in [
        ("a.example.com", true),
        ("example.com", false),
        ("a.b.example.com", false),
        (".example.com", false),
        ("aexample.com", false),
    ] {
        let found = routes.find(&config, ListenerId(0), host, "/");
        assert_eq!(found.is_some(), matches, "{host}");
        assert_eq!(routes.names(host), matches, "{host}");
    }
}

#[test]
fn a_route_for_every_host_names_none() {
    let config = config(&[(None, None, "/")]);
    assert!(!Routes::new(&config).names("a.test"));
}

proptest! {
    #[test]
    fn a_request_takes_the_first_route_that_matches(
        routes in vec(any_route(), 0..12),
        requests in vec(any_request(), 1..24),
    ) {
        let config = config(&routes);
        let routes = Routes::new(&config);
        for (listener, host, path) in requests {
            let found = routes.find(&config, listener, host, path);
            let expected = matching(&config, listener, (host, path)).next();
            prop_assert_eq!(found, expected, "{:?} {} {}", listener, host, path);
            let named = config.routes().iter().any(|route| {
                route.host.is_some() && host_matches(route.host.as_ref(), host)
            });
            prop_assert_eq!(routes.names(host), named, "{}", host);
        }
    }

    #[test]
    fn a_closer_route_is_the_first_later_one_that_is_meant_for_less(
        routes in vec(any_route(), 0..12),
        requests in vec(any_request(), 1..24),
    ) {
        let config = config(&routes);
        let routes = Routes::new(&config);
        for (listener, host, path) in requests {
            let Some(taken) = routes.find(&config, listener, host, path) else {
                continue;
            };
            let mut all = matching(&config, listener, (host, path));
            let expected = all.find(|(index, other)| {
                *index > taken.0
                    && (closeness(other.host.as_ref()) > closeness(taken.1.host.as_ref())
                        || other.path.len() > taken.1.path.len())
            });
            let found = routes.closer(&config, listener, (host, path), taken);
            prop_assert_eq!(found, expected, "{:?} {} {}", listener, host, path);
        }
    }
}
