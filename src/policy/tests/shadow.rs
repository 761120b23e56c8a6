//! What is not enforced, and what is told of what is denied.

use super::*;

#[test]
fn what_is_not_enforced_is_noted_and_not_done() {
    let [web, old, new] = ["web", "old", "new"].map(|of| {
        let uri = format!("spiffe://prod.example/{of}");
        test_identity(&uri)
    });
    let allow = "{ name = 'soon', uri = 'spiffe://prod.example/new', enforce = false }, { uri = 'spiffe://prod.example/web' }, { uri = 'spiffe://prod.example/old' }";
    let deny = "{ uri = 'spiffe://prod.example/old', enforce = false }";
    let route = format!("deny = [{deny}]\nallow = [{allow}]");
    let policy = rules(&route);
    let orders = &policy;
    let permit = decide(orders, &facts(Some(&web))).unwrap();
    assert_eq!(permit.would_deny(), None);
    let permit = decide(orders, &facts(Some(&old))).unwrap();
    assert_eq!(
        permit.rule().map(|rule| rule.label(orders)).as_deref(),
        Some("allow[2]")
    );
    assert_eq!(permit.would_deny().unwrap().rule(), "deny[0]");
    let denial = decide(orders, &facts(Some(&new))).unwrap_err();
    assert_eq!(denial.would_allow(), Some("soon"));
    assert_eq!(
        denial.to_string(),
        "none of the 3 `allow` entries of route `orders` matches the caller `spiffe://prod.example/new`; `soon` does, and is not enforced"
    );
}

#[test]
fn route_that_is_not_enforced_permits_everybody_and_says_whom_it_would_not() {
    let [web, evil] = ["prod", "evil"].map(|of| {
        let uri = format!("spiffe://{of}.example/web");
        test_identity(&uri)
    });
    let route = "client_auth = 'require'\ndeny = [{ methods = ['PUT'] }]\nallow = [{ uri = 'spiffe://prod.example/*' }]";
    let shadow = rules(&format!("enforce = false\n{route}"));
    let orders = &shadow;
    let put = Facts {
        method: "PUT",
        ..facts(Some(&web))
    };
    for (facts, expected) in [
        (facts(Some(&web)), None),
        (facts(Some(&evil)), Some("none matched")),
        (facts(None), Some("certificate required")),
        (put, Some("deny[0]")),
    ] {
        let permit = decide(orders, &facts).unwrap();
        assert_eq!(permit.would_deny().map(Denial::rule), expected);
        assert_eq!(permit.rule().is_some(), expected.is_none());
        // The twin: enforced, it is denied for the same reason.
        let denied = outcome(&rules(route), &facts);
        assert_eq!(denied.err().as_deref(), expected);
    }
}

#[test]
fn denials_name_the_route_the_rule_and_what_was_missing() {
    let web = test_identity(WEB);
    let text = |route: &str, facts: &Facts<'_>| {
        let policy = rules(route);
        decide(&policy, facts).unwrap_err().to_string()
    };
    let allow = "allow = [{ uri = 'spiffe://test.example/*' }]";
    assert_eq!(
        text(allow, &facts(None)),
        "route `orders` requires a client certificate, and the caller presented none"
    );
    assert_eq!(
        text(allow, &facts(Some(&web))),
        "none of the 1 `allow` entries of route `orders` matches the caller `spiffe://prod.example/web`"
    );
    assert_eq!(
        text(
            "allow = [{ anonymous = true, path = '/api/x' }]",
            &facts(None)
        ),
        "none of the 1 `allow` entries of route `orders` matches an anonymous caller"
    );
    let deny = "deny = [{ name = 'old', methods = ['GET'], path = '/api/orders', from = ['10.0.0.0/8'], rule = 'reads' }]";
    assert_eq!(
        text(deny, &facts(None)),
        "rule `old` of route `orders` denies an anonymous caller: { name = \"old\", methods = [\"GET\"], path = \"/api/orders\", from = [\"10.0.0.0/8\"], rule = \"reads\" }"
    );
    let edge = test_identity("spiffe://edge.example/proxy");
    let spoken = Facts {
        speaker: Some(&edge),
        ..facts(Some(&web))
    };
    assert_eq!(
        text(allow, &spoken),
        "none of the 1 `allow` entries of route `orders` matches the caller `spiffe://prod.example/web`, for whom `spiffe://edge.example/proxy` speaks"
    );
}

#[test]
fn denials_tell_how_near_the_caller_came_and_what_to_do_about_it() {
    let caller = TestLeaf::new()
        .uri("spiffe://prod.example/team/web")
        .subject("web.prod.example")
        .identity();
    let names = "its names are uri spiffe://prod.example/team/web, subject CN=web.prod.example";
    for (allow, near, remedy) in [
        (r#"{ cn = "nobody" }"#, None, None),
        (
            r#"{ email = "*@example.com" }, { uri = "spiffe://prod.example/*" }"#,
            Some(
                "allow[1]: uri = \"spiffe://prod.example/*\" would match spiffe://prod.example/team/web if `*` did not end at the next separator, where `**` goes on",
            ),
            Some("if this caller is meant, too, write `**` in place of `*` in allow[1]"),
        ),
        (
            r#"{ cn = "nobody" }, { dns = "*.prod.example" }"#,
            Some(
                "allow[1]: dns = \"*.prod.example\" would match web.prod.example if that were dns and not cn",
            ),
            Some(
                "issue the caller a certificate with that name as dns, or write cn in place of dns in allow[1]",
            ),
        ),
        (
            r#"{ rule = "staff" }"#,
            Some("allow[0]: ou = \"Engineering\" is about ou, and the caller has none"),
            Some(
                "issue the caller a certificate with a matching ou, or write another of its names in place of ou in allow[0]",
            ),
        ),
        (
            r#"{ cn = "nobody" }, { uri = "spiffe://prod.example/**", methods = ["POST"] }"#,
            Some("allow[1]: it is for this caller, and not for this method, path or source"),
            Some("if this request is meant, too, widen methods, path or from in allow[1]"),
        ),
    ] {
        let route = rules(&format!("allow = [{allow}]"));
        let denial = decide(&route, &facts(Some(&caller))).unwrap_err();
        let near = near.map(|near| format!("; nearest is {near}"));
        let told = format!("; {names}{}", near.unwrap_or_default());
        assert!(denial.to_string().ends_with(&told), "{denial}");
        assert_eq!(denial.remedy(), remedy, "{denial}");
    }
}

#[test]
fn what_a_denial_tells_of_a_caller_with_many_long_names_has_a_bound() {
    let long = "x".repeat(1500);
    let many = (0..20).fold(TestLeaf::new(), |leaf, index| {
        leaf.uri(&format!("https://prod.example/{index}/{long}"))
    });
    let caller = many.identity();
    let pattern = format!("https://prod.example/*/{}", "y".repeat(400));
    let route = rules(&format!(
        "allow = [{{ uri = \"{pattern}\" }}, {{ uri = \"https://prod.example/*\" }}]"
    ));
    let denial = decide(&route, &facts(Some(&caller))).unwrap_err();
    let Denial::NoRuleMatched { near, .. } = &denial else {
        panic!("{denial}")
    };
    assert!(near.text.contains("16 more"), "{denial}");
    assert!(near.text.contains("nearest is allow[1]"), "{denial}");
    assert!(near.text.len() < 1100, "{}", near.text.len());
}
