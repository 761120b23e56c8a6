//! What is legal and warned about.

use super::{accepted, with};

/// What is said of a route with this text, behind these lists of rules.
fn doubts(lists: &str, route: &str) -> Vec<String> {
    let listener = r#"accept_assertions_from = [{ uri = "spiffe://edge.example/*" }]
accept_assertions = ["xfcc"]"#;
    let text = with(
        "[[routes]]",
        &format!("[rules]\n{lists}\n[[routes]]\n{route}"),
    )
    .replacen(
        "[listeners.public.tls]",
        &format!("{listener}\n[listeners.public.tls]"),
        1,
    )
    .replacen("client_auth = \"require\"", "client_auth = \"want\"", 1);
    let told = accepted(&text).doubts().each();
    told.iter()
        .map(|text| text.replace("/etc/cs/", ""))
        .collect()
}

/// Which rules of such a route are never reached.
fn shadowed(route: &str) -> Vec<String> {
    let told = doubts("", route);
    let shown = |text: &String| {
        let (_, rest) = text.split_once(": routes[0].")?;
        let (shown, rest) = rest.split_once(": ")?;
        rest.starts_with("this rule is never reached")
            .then(|| shown.to_owned())
    };
    told.iter().filter_map(shown).collect()
}

#[test]
fn rules_that_no_route_uses_are_named_and_used_ones_are_not() {
    let staff = "staff = [{ ou = \"Staff\" }]";
    assert_eq!(
        doubts(staff, ""),
        [
            "config.toml:16:1: rules.staff: no route refers to these rules\n  they permit and deny nobody\n  write rule = \"staff\" in a rule of a route, or remove them"
        ]
    );
    assert!(doubts(staff, "allow = [{ rule = \"staff\" }]").is_empty());
    assert!(doubts(staff, "deny = [{ rule = \"staff\" }]").is_empty());
}

#[test]
fn rule_that_an_earlier_one_decides_for_is_named_with_its_place() {
    let route = "allow = [{ uri = \"spiffe://a/*\" }, { uri = \"spiffe://a/b\" }]";
    assert_eq!(
        doubts("", route),
        [
            "config.toml:18:36: routes[0].allow[1]: this rule is never reached\n  allow[0] in line 18 comes first, and is for everything that it is for\n  move it up, or remove one of the two"
        ]
    );
}

#[test]
fn each_kind_of_condition_makes_a_rule_narrower() {
    for (wide, narrow) in [
        ("cn = 'a'", "cn = 'a'"),
        ("cn = 'a*'", "cn = 'ab'"),
        ("cn = 'a'", "cn = 'a', o = 'x'"),
        ("cn = 'a'", "cn = 'a', methods = ['GET']"),
        ("cn = 'a'", "cn = 'a', path = '/x'"),
        ("cn = 'a'", "cn = 'a', from = ['10.0.0.0/8']"),
        ("cn = 'a'", "cn = 'a', via = { cn = 'b' }"),
        (
            "cn = 'a', methods = ['GET', 'PUT']",
            "cn = 'a', methods = ['PUT']",
        ),
        ("cn = 'a', path = '/x'", "cn = 'a', path = '/x/y'"),
        (
            "cn = 'a', from = ['10.0.0.0/8']",
            "cn = 'a', from = ['10.1.0.0/16', '10.2.0.1']",
        ),
        ("via = { cn = 'b*' }", "cn = 'a', via = { cn = 'bc' }"),
        ("anonymous = true", "anonymous = true, methods = ['GET']"),
        ("cn = 'a'", "cn = 'a', enforce = false"),
    ] {
        let rules = |one: &str, other: &str| format!("allow = [{{ {one} }}, {{ {other} }}]");
        assert_eq!(
            shadowed(&rules(wide, narrow)),
            ["allow[1]"],
            "{wide} {narrow}"
        );
        if wide != narrow && !narrow.contains("enforce") {
            assert!(shadowed(&rules(narrow, wide)).is_empty(), "{narrow} {wide}");
        }
    }
}

#[test]
fn what_is_not_enforced_or_is_for_others_shadows_nothing() {
    for route in [
        "allow = [{ cn = 'a', enforce = false }, { cn = 'a' }]",
        "allow = [{ anonymous = true }, { cn = 'a' }]",
        "allow = [{ cn = 'a' }, { anonymous = true }]",
        "allow = [{ cn = 'a' }, { ou = 'a' }]",
        "deny = [{ cn = 'a', methods = ['GET'] }]\nallow = [{ cn = 'a' }]",
        "deny = [{ cn = 'a', enforce = false }]\nallow = [{ cn = 'a' }]",
    ] {
        assert!(shadowed(route).is_empty(), "{route}");
    }
}

#[test]
fn rule_of_allow_that_deny_refuses_wholly_is_never_reached() {
    for route in [
        "deny = [{ cn = 'a*' }]\nallow = [{ cn = 'ab' }]",
        "deny = [{ methods = ['GET', 'PUT'] }]\nallow = [{ cn = 'ab', methods = ['GET'] }]",
    ] {
        assert_eq!(shadowed(route), ["allow[0]"], "{route}");
    }
}

#[test]
fn lists_are_followed_to_their_rules() {
    let lists = "staff = [{ cn = 'a' }, { cn = 'b' }]\nall = [{ cn = '**b' }, { cn = 'a*' }, { cn = 'ac' }]";
    let told = doubts(
        lists,
        "allow = [{ rule = 'staff' }, { cn = 'b' }, { rule = 'all' }, { rule = 'staff', methods = ['GET'] }]",
    );
    let shown: Vec<_> = told
        .iter()
        .filter_map(|text| text.lines().next()?.split(": ").nth(1))
        .collect();
    assert_eq!(
        shown,
        ["rules.all[2]", "routes[0].allow[1]", "routes[0].allow[3]"]
    );
}

#[test]
fn rule_with_a_condition_decides_for_rules_with_the_same_one() {
    let rules = |first: &str, second: &str| {
        let allow = |when: &str| format!("{{ uri = \"spiffe://a/*\"{when} }}");
        shadowed(&format!("allow = [{}, {}]", allow(first), allow(second)))
    };
    let (get, post) = (
        ", when = 'request.method == \"GET\"'",
        ", when = 'request.method == \"POST\"'",
    );
    assert_eq!(rules(get, get), ["allow[1]"]);
    assert_eq!(rules("", get), ["allow[1]"]);
    assert!(rules(get, post).is_empty());
    assert!(rules(get, "").is_empty());
}
