//! Which routes are reached, and which share a name: as told by a look at all
//! that come before.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{HostPattern, Route, is_within};
use super::{BASELINE, draft};

/// The lines of a route.
fn any_route() -> impl Strategy<Value = String> {
    let name = of(select(&["a", "b", "c", "d", "routes-1"]));
    let listener = of(select(&["public", "local"]));
    let host = of(select(&[
        "a.test",
        "b.a.test",
        "*.test",
        "*.a.test",
        "*.b.a.test",
        "192.0.2.1",
        "[2001:db8::1]",
    ]));
    let path = of(select(&[
        "/", "/a", "/a/", "/a/b", "/a/b/", "/aa", "/a/b/c", "/A",
    ]));
    (name, listener, host, path).prop_map(|(name, listener, host, path)| {
        let mut lines = "[[routes]]\nupstream = 'orders'\n".to_owned();
        for (key, value) in [
            ("name", name),
            ("listener", listener),
            ("host", host),
            ("path", path),
        ] {
            if let Some(value) = value {
                writeln!(lines, "{key} = '{value}'").unwrap();
            }
        }
        lines
    })
}

/// Whether every request that `later` could take is taken by `earlier`.
fn takes_all_of(earlier: &Route, later: &Route) -> bool {
    let listener = earlier.listener.is_none() || earlier.listener == later.listener;
    let host = match (&earlier.host, &later.host) {
        (None, _) => true,
        (Some(HostPattern::Wildcard(suffix)), Some(HostPattern::Exact(name))) => {
            name.split_once('.').is_some_and(|(_, rest)| rest == suffix)
        }
        (one, other) => one == other,
    };
    listener && host && is_within(&earlier.path, &later.path)
}

/// What is wrong with a route, found by a look at each that comes before it.
fn expected(earlier: &[Route], route: &Route) -> Option<String> {
    if let Some(same) = earlier.iter().find(|other| other.name == route.name) {
        return Some(format!(
            "the name \"{}\" is given twice: with the route in line {}",
            route.name, same.place.line
        ));
    }
    let first = earlier.iter().find(|other| takes_all_of(other, route))?;
    Some(format!(
        "this route is never reached: {} in line {}",
        first.name, first.place.line
    ))
}

proptest! {
    #[test]
    fn a_route_is_refused_for_the_first_one_that_stands_in_its_way(
        routes in vec(any_route(), 1..12),
    ) {
        let before = BASELINE.replace("[[routes]]\nupstream = \"orders\"\n", "");
        let local = "[listeners.local]\nbind = \"127.0.0.1:80\"\n";
        // Every listener has a route, which takes nothing from the others.
        let last = "[[routes]]\nupstream = 'orders'\nname = 'last'\nhost = 'last.example'\n";
        let text = format!("{before}{local}{}{last}", routes.concat());
        let draft = draft(&text);
        let routes = draft.config.routes();
        let wrong = routes
            .iter()
            .enumerate()
            .filter_map(|(at, route)| Some((at, expected(&routes[..at], route)?)));
        let expected: Vec<_> = wrong.map(|(at, text)| format!("routes[{at}]: {text}")).collect();
        prop_assert_eq!(told(&draft.problems.to_string()), expected, "{}", text);
    }
}

/// The problems, each in the words of [`expected`].
fn told(problems: &str) -> Vec<String> {
    let lines: Vec<_> = problems.lines().collect();
    let mut found = Vec::new();
    for pair in lines.windows(2) {
        let Some((_, problem)) = pair[0].split_once(": ") else {
            continue;
        };
        let why = pair[1].trim();
        if let Some(rest) = why.strip_prefix("its metrics would be mixed with those of ") {
            found.push(format!("{problem}: with {rest}"));
        } else if let Some(rest) = why.strip_suffix(" comes first and takes all of its requests") {
            found.push(format!("{problem}: {rest}"));
        }
    }
    found
}
