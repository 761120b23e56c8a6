//! Deciding on a route with many rules, of which the first or the last permits.

use std::hint::black_box;

use countersign::config::Route;
use countersign::policy::{Facts, decide};
use rcgen::DnType;

use super::Part;
use super::pki::Pki;
use super::scene::{CLIENT, Scene};

/// Rules of one route.
const RULES: usize = 1_000;

/// Name, what each rule says that does not permit (`{}` is its number), and the
/// request's method.
const ROUTES: [(&str, &str, &str); 9] = [
    ("a URI", "uri = 'spiffe://prod.example/service-{}'", "GET"),
    ("a URI with *", "uri = 'spiffe://prod.example/*/{}'", "GET"),
    (
        "a URI of another domain",
        "uri = 'spiffe://{}.example/*'",
        "GET",
    ),
    ("a DNS name with *", "dns = '*.{}.partners.example'", "GET"),
    ("an email address", "email = '*@{}.example.com'", "GET"),
    ("an organizational unit", "ou = 'Unit {}'", "GET"),
    ("a whole subject", "subject = 'O=*,OU={},CN=caller'", "GET"),
    ("a fingerprint", "fingerprint = 'HEX'", "GET"),
    (
        "a method that differs",
        "cn = 'caller', methods = ['POST']",
        "PUT",
    ),
];

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    let leaf = pki.root().leaf().client().common_name("caller");
    let leaf = leaf
        .subject(DnType::OrganizationalUnitName, "Unit caller")
        .subject(DnType::OrganizationName, "Example")
        .uri("spiffe://prod.example/caller")
        .dns("caller.prod.example")
        .email("caller@prod.example.com")
        .issue();
    let peer = Scene::new(&pki).peer(&leaf);
    let facts = |method| Facts {
        caller: Some(&peer.identity),
        speaker: None,
        anchor: Some(&peer.anchor),
        method,
        path: "/api/orders/17",
        host: "orders.example.com",
        source: Some(CLIENT.ip()),
        listener: "public",
    };
    // By which rule, or that it is denied.
    let decided = |route: &Route, facts: &Facts<'_>| {
        let permit = decide(black_box(route), black_box(facts));
        permit.map(|permit| permit.rule()).map_err(drop)
    };

    let (open, get) = (route(&pki, ""), facts("GET"));
    part.time("no rules", || decided(&open, &get), |rule| rule == Ok(None));
    for (name, rule, method) in ROUTES {
        let facts = facts(method);
        for (which, place) in [("first", 0), ("last", RULES - 1)] {
            let route = route(&pki, &rules(rule, Some(place)));
            part.time(
                &format!("1,000 rules, each with {name}, the {which} one permits"),
                || decided(&route, &facts),
                |rule| rule.is_ok_and(|rule| rule.is_some_and(|rule| rule.index == place)),
            );
        }
    }
    let nobody = route(&pki, &rules(ROUTES[0].1, None));
    part.time(
        "1,000 rules, each with a URI, none permits",
        || decided(&nobody, &get),
        |rule| rule.is_err(),
    );
}

/// As many rules, of which the one at `place` permits the caller.
fn rules(rule: &str, place: Option<usize>) -> String {
    let rules = (0..RULES).map(|index| {
        if Some(index) == place {
            return "{ cn = 'caller' }".to_owned();
        }
        let rule = rule.replace("{}", &index.to_string());
        let rule = rule.replace("HEX", &format!("{index:064x}"));
        format!("{{ {rule} }}")
    });
    let rules: Vec<_> = rules.collect();
    format!("allow = [{}]\n", rules.join(", "))
}

/// A route with these lines.
fn route(pki: &Pki, lines: &str) -> Route {
    let routes = format!("[[routes]]\nupstream = 'orders'\n{lines}");
    Scene::with_routes(pki, &routes).config().routes()[0].clone()
}
