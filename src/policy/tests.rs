use std::net::IpAddr;

use super::*;
use crate::config::parse;
use crate::identity::testing::{TestLeaf, test_identity};
use crate::identity::{AnchorName, Fingerprint, PeerIdentity};

const WEB: &str = "spiffe://prod.example/web";

/// The rules of a route with this text, on a listener that asks for
/// certificates and accepts assertions.
fn rules(route: &str) -> Route {
    let text = format!(
        r#"
        [trust.partners]
        ca = ["ca.pem"]
        [listeners.public]
        bind = "0.0.0.0:8443"
        accept_assertions_from = [{{ uri = "spiffe://edge.example/*" }}]
        accept_assertions = ["xfcc"]
        tls.certificates = [{{ chain = "s.pem", key = "s.key" }}]
        tls.client_auth = "want"
        tls.trust = "partners"
        [rules]
        staff = [{{ name = "engineers", ou = "Engineering" }}, {{ email = "*@example.com" }}]
        reads = [{{ methods = ["GET"] }}, {{ methods = ["POST"], path = "/api/search" }}]
        open = [{{ anonymous = true, path = "/api/public" }}]
        [[routes]]
        name = "orders"
        path = "/api/"
        upstream = "orders"
        {route}
        [upstreams.orders]
        endpoints = ["http://127.0.0.1:80"]
        "#
    );
    let draft = parse(&text, std::path::Path::new("config.toml"));
    let config = draft
        .finish(Vec::new())
        .unwrap_or_else(|problems| panic!("{problems}"));
    config.routes()[0].clone()
}

/// A request that goes well where nothing is said of it; tests change one thing.
fn facts(caller: Option<&PeerIdentity>) -> Facts<'_> {
    Facts {
        caller,
        speaker: None,
        anchor: None,
        method: "GET",
        path: "/api/orders",
        host: "orders.example.com",
        source: Some(IpAddr::from([10, 1, 2, 3])),
        listener: "public",
    }
}

/// The rule that permitted, or what denied.
fn outcome(route: &Route, facts: &Facts<'_>) -> Result<String, String> {
    match decide(route, facts) {
        Ok(permit) => Ok(permit
            .rule()
            .map_or("-".into(), |rule| rule.label(route))
            .into_owned()),
        Err(denial) => Err(denial.rule().to_owned()),
    }
}

/// Asserts what becomes of each request: `Ok(rule)` or `Err(rule)`.
#[track_caller]
fn check(route: &str, table: &[(&str, Facts<'_>, Result<&str, &str>)]) {
    let policy = rules(route);
    for (case, facts, expected) in table {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(outcome(&policy, facts), expected, "{route}: {case}");
    }
}

#[test]
fn route_without_rules_is_for_all_or_for_those_with_a_certificate() {
    let web = test_identity(WEB);
    let required = Err("certificate required");
    check(
        "",
        &[
            ("known", facts(Some(&web)), Ok("-")),
            ("anonymous", facts(None), Ok("-")),
        ],
    );
    check(
        "client_auth = 'require'",
        &[
            ("known", facts(Some(&web)), Ok("-")),
            ("anonymous", facts(None), required),
        ],
    );
    check(
        "allow = [{ uri = 'spiffe://prod.example/*' }]",
        &[
            ("known", facts(Some(&web)), Ok("allow[0]")),
            ("anonymous", facts(None), required),
        ],
    );
}

#[test]
fn first_rule_that_matches_is_named_and_a_stranger_is_denied() {
    let [web, test, evil] = ["prod", "test", "evil"].map(|of| {
        let uri = format!("spiffe://{of}.example/web");
        test_identity(&uri)
    });
    check(
        "allow = [{ uri = 'spiffe://test.example/*' }, { name = 'prod', uri = 'spiffe://prod.example/*' }, { uri = 'spiffe://prod.example/web' }]",
        &[
            ("second", facts(Some(&web)), Ok("prod")),
            ("first", facts(Some(&test)), Ok("allow[0]")),
            ("none", facts(Some(&evil)), Err("none matched")),
        ],
    );
}

#[test]
fn deny_comes_before_allow_and_is_for_everybody_whom_it_does_not_name() {
    let [web, old] = ["web", "old"].map(|of| {
        let uri = format!("spiffe://prod.example/{of}");
        test_identity(&uri)
    });
    let post = |caller| Facts {
        method: "POST",
        ..facts(caller)
    };
    check(
        "deny = [{ name = 'banned', uri = 'spiffe://prod.example/old' }, { methods = ['POST'] }]\nallow = [{ uri = 'spiffe://prod.example/*' }, { anonymous = true }]",
        &[
            ("permitted", facts(Some(&web)), Ok("allow[0]")),
            ("banned", facts(Some(&old)), Err("banned")),
            ("method", post(Some(&web)), Err("deny[1]")),
            ("method of nobody", post(None), Err("deny[1]")),
            ("nobody", facts(None), Ok("allow[1]")),
        ],
    );
}

#[test]
fn anonymous_caller_is_matched_only_where_a_rule_says_so() {
    let web = test_identity(WEB);
    let at = |path, caller| Facts {
        path,
        ..facts(caller)
    };
    check(
        "allow = [{ anonymous = true, path = '/api/public' }, { uri = 'spiffe://**' }]",
        &[
            ("meant", at("/api/public/x", None), Ok("allow[0]")),
            ("elsewhere", at("/api/x", None), Err("none matched")),
            ("known", at("/api/public/x", Some(&web)), Ok("allow[1]")),
        ],
    );
    // Nobody else is matched by it, and a list that names nobody makes nobody welcome.
    check(
        "allow = [{ anonymous = true, rule = 'reads' }, { rule = 'open' }]",
        &[
            ("reads", at("/api/x", None), Ok("allow[0]")),
            (
                "known",
                at("/api/public/x", Some(&web)),
                Err("none matched"),
            ),
        ],
    );
    check(
        "allow = [{ rule = 'reads', uri = 'spiffe://**' }]",
        &[
            ("anonymous", facts(None), Err("certificate required")),
            ("known", facts(Some(&web)), Ok("allow[0]")),
        ],
    );
    check(
        "deny = [{ anonymous = true, methods = ['GET'] }]",
        &[
            ("anonymous", facts(None), Err("deny[0]")),
            ("known", facts(Some(&web)), Ok("-")),
        ],
    );
}

#[test]
fn condition_that_would_hold_for_anonymous_callers_lets_in_only_those_who_are_meant() {
    let web = test_identity(WEB);
    let when = "when = \"!caller.authenticated || request.method == 'GET'\"";
    let (known, nobody) = (facts(Some(&web)), facts(None));
    check(
        &format!("allow = [{{ {when} }}]"),
        &[
            ("known", known, Ok("allow[0]")),
            ("anonymous", nobody, Err("certificate required")),
        ],
    );
    check(
        &format!("allow = [{{ {when}, rule = 'reads' }}]"),
        &[("anonymous", nobody, Err("certificate required"))],
    );
    check(
        &format!("allow = [{{ {when}, anonymous = true }}]"),
        &[
            ("known", known, Err("none matched")),
            ("anonymous", nobody, Ok("allow[0]")),
        ],
    );
    check(
        &format!("deny = [{{ {when} }}]"),
        &[
            ("known", known, Err("deny[0]")),
            ("anonymous", nobody, Err("deny[0]")),
        ],
    );
}

#[test]
fn conditions_on_the_request_hold_exactly() {
    let web = test_identity(WEB);
    let of = |method, path, source: &str| Facts {
        method,
        path,
        source: source.parse().ok(),
        ..facts(Some(&web))
    };
    let near = "10.9.9.9";
    let no = Err("none matched");
    check(
        "allow = [{ uri = 'spiffe://**', methods = ['GET', 'PUT'], path = '/api/reports/', from = ['10.0.0.0/8', '2001:db8::/32'] }]",
        &[
            (
                "all hold",
                of("GET", "/api/reports/1", near),
                Ok("allow[0]"),
            ),
            (
                "the other method",
                of("PUT", "/api/reports/1", near),
                Ok("allow[0]"),
            ),
            ("GET is not HEAD", of("HEAD", "/api/reports/1", near), no),
            ("case", of("get", "/api/reports/1", near), no),
            (
                "the folder itself",
                of("GET", "/api/reports", near),
                Ok("allow[0]"),
            ),
            ("part of a segment", of("GET", "/api/reportsx", near), no),
            ("case of a path", of("GET", "/api/Reports/1", near), no),
            ("above", of("GET", "/api/", near), no),
            ("far", of("GET", "/api/reports/1", "11.0.0.1"), no),
            (
                "mapped",
                of("GET", "/api/reports/1", "::ffff:10.0.0.1"),
                Ok("allow[0]"),
            ),
            (
                "mapped and far",
                of("GET", "/api/reports/1", "::ffff:11.0.0.1"),
                no,
            ),
            (
                "compatible is no mapped",
                of("GET", "/api/reports/1", "::10.0.0.1"),
                no,
            ),
            (
                "IPv6",
                of("GET", "/api/reports/1", "2001:db8::1"),
                Ok("allow[0]"),
            ),
            ("a unix socket", of("GET", "/api/reports/1", "-"), no),
        ],
    );
}

#[test]
fn networks_in_the_form_of_mapped_addresses_are_those_of_ipv4() {
    let web = test_identity(WEB);
    let from = |source: &str| Facts {
        source: source.parse().ok(),
        ..facts(Some(&web))
    };
    check(
        "deny = [{ from = ['::ffff:10.0.0.0/104', '::ffff:192.0.2.1'] }]",
        &[
            ("in the network", from("10.1.1.1"), Err("deny[0]")),
            ("the address", from("192.0.2.1"), Err("deny[0]")),
            ("mapped", from("::ffff:192.0.2.1"), Err("deny[0]")),
            ("another", from("192.0.2.2"), Ok("-")),
        ],
    );
}

#[test]
fn rule_and_the_list_that_it_refers_to_must_both_hold() {
    let email = TestLeaf::new().email("a.b@example.com").identity();
    let unit = TestLeaf::new()
        .attribute(&[0x55, 4, 11], "Engineering")
        .identity();
    let other = TestLeaf::new().email("a@example.org").identity();
    let post = |caller, path| Facts {
        method: "POST",
        path,
        ..facts(caller)
    };
    check(
        "allow = [{ rule = 'staff', methods = ['GET'] }, { name = 'writers', rule = 'staff', path = '/api/x' }]",
        &[
            // Called by the rule of the list that matched, if it has a name.
            ("by unit", facts(Some(&unit)), Ok("engineers")),
            ("by email", facts(Some(&email)), Ok("allow[0]")),
            (
                "nobody of the list",
                facts(Some(&other)),
                Err("none matched"),
            ),
            (
                "own condition fails",
                post(Some(&unit), "/api/y"),
                Err("none matched"),
            ),
            (
                "second rule, by its own name",
                post(Some(&unit), "/api/x/1"),
                Ok("writers"),
            ),
            ("anonymous", facts(None), Err("certificate required")),
        ],
    );
    check(
        "allow = [{ rule = 'reads', email = '*@example.com' }]",
        &[
            ("GET", facts(Some(&email)), Ok("allow[0]")),
            ("POST", post(Some(&email), "/api/x"), Err("none matched")),
            ("search", post(Some(&email), "/api/search"), Ok("allow[0]")),
            ("other", facts(Some(&other)), Err("none matched")),
        ],
    );
}

#[test]
fn rule_with_a_speaker_matches_callers_for_whom_it_speaks_and_no_others() {
    let [edge, other] = ["edge", "other"].map(|of| {
        let uri = format!("spiffe://{of}.example/proxy");
        test_identity(&uri)
    });
    let web = test_identity(WEB);
    let by = |speaker| Facts {
        speaker,
        ..facts(Some(&web))
    };
    check(
        "allow = [{ uri = 'spiffe://prod.example/*', via = { uri = 'spiffe://edge.example/*' } }]",
        &[
            ("spoken for", by(Some(&edge)), Ok("allow[0]")),
            ("by another", by(Some(&other)), Err("none matched")),
            ("by itself", by(None), Err("none matched")),
            ("the speaker", facts(Some(&edge)), Err("none matched")),
        ],
    );
    check(
        "allow = [{ via = { uri = 'spiffe://edge.example/*' } }]",
        &[
            ("whoever it is", by(Some(&edge)), Ok("allow[0]")),
            ("by itself", by(None), Err("none matched")),
            (
                "the speaker itself",
                facts(Some(&edge)),
                Err("none matched"),
            ),
        ],
    );
}

#[test]
fn anchor_is_that_of_the_connection_and_never_of_a_caller_that_is_spoken_for() {
    let (web, edge) = (
        test_identity(WEB),
        test_identity("spiffe://edge.example/proxy"),
    );
    let anchor = |subject: &str| AnchorName {
        subject: subject.to_owned(),
        fingerprint: Fingerprint::of(subject.as_bytes()),
    };
    let (root, old) = (anchor("CN=Root,O=Example"), anchor("CN=Old,O=Example"));
    let on = |anchor, speaker| Facts {
        anchor,
        speaker,
        ..facts(Some(&web))
    };
    let table = [
        ("on it", on(Some(&root), None), Ok("allow[0]")),
        ("on another", on(Some(&old), None), Err("none matched")),
        ("unknown", on(None, None), Err("none matched")),
        (
            "spoken for",
            on(Some(&root), Some(&edge)),
            Err("none matched"),
        ),
    ];
    check("allow = [{ anchor = 'CN=Root,O=*' }]", &table);
    let fingerprint = format!("allow = [{{ anchor = '{}' }}]", root.fingerprint);
    check(&fingerprint, &table);
    check(
        "allow = [{ uri = 'spiffe://prod.example/*', via = { anchor = 'CN=Root,O=Example' } }]",
        &[
            (
                "its speaker's",
                on(Some(&root), Some(&edge)),
                Ok("allow[0]"),
            ),
            (
                "its speaker's",
                on(Some(&old), Some(&edge)),
                Err("none matched"),
            ),
            ("its own", on(Some(&root), None), Err("none matched")),
        ],
    );
}

#[test]
fn names_of_every_kind_are_matched() {
    let leaf = TestLeaf::new()
        .attribute(&[0x55, 4, 11], "Engineering, East")
        .attribute(&[0x55, 4, 11], "Night")
        .attribute(&[0x55, 4, 10], "Example")
        .subject("batch")
        .email("Night.Batch@Example.com")
        .identity();
    let other = TestLeaf::new().subject("other").identity();
    let certificate = leaf.names().certificate().unwrap();
    let spki = format!("spki = '{}'", certificate.spki());
    let fingerprint = format!("fingerprint = '{}'", certificate.fingerprint());
    let no = |names: &str| format!("allow = [{{ {names} }}]");
    for names in [
        "cn = 'batch'",
        "cn = 'b*'",
        "ou = 'Engineering, East'",
        "ou = 'Engineering\\, East'",
        "ou = 'Engineering*'",
        "ou = 'Night', o = 'Example'",
        "email = '*@example.com'",
        "email = 'Night.Batch@EXAMPLE.COM'",
        "cn = 'batch', issuer = 'CN=Test CA'",
        "cn = 'batch', issuer = 'CN=*'",
        fingerprint.as_str(),
    ] {
        check(
            &no(names),
            &[
                ("it", facts(Some(&leaf)), Ok("allow[0]")),
                ("another", facts(Some(&other)), Err("none matched")),
            ],
        );
    }
    // The test's leaves have one key.
    check(&no(&spki), &[("it", facts(Some(&leaf)), Ok("allow[0]"))]);
    for names in [
        "cn = 'Example'",
        "cn = 'batc'",
        "ou = 'East'",
        "ou = 'Engineering'",
        "o = 'Night'",
        "email = 'night.batch@example.com'",
        "email = '*@*.com.evil'",
        "issuer = 'CN=Test'",
        "cn = 'batch', o = 'Other'",
    ] {
        check(
            &no(names),
            &[("it", facts(Some(&leaf)), Err("none matched"))],
        );
    }
}

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
fn the_whole_server_is_within_no_path_but_the_root() {
    let web = test_identity(WEB);
    let star = Facts {
        method: "OPTIONS",
        path: "*",
        ..facts(Some(&web))
    };
    check("deny = [{ path = '/api/x' }]", &[("*", star, Ok("-"))]);
}

#[test]
fn condition_is_one_more_that_must_hold() {
    let web = test_identity(WEB);
    let post = |caller| Facts {
        method: "POST",
        ..facts(caller)
    };
    let stranger = test_identity("spiffe://evil.example/web");
    check(
        "allow = [{ uri = 'spiffe://prod.example/*', when = 'request.method == \"GET\"' }]",
        &[
            ("both", facts(Some(&web)), Ok("allow[0]")),
            ("not the condition", post(Some(&web)), Err("none matched")),
            ("not the name", facts(Some(&stranger)), Err("none matched")),
            ("anonymous", facts(None), Err("certificate required")),
        ],
    );
    check(
        "deny = [{ when = 'request.method != \"GET\"' }]",
        &[
            ("not true", facts(Some(&web)), Ok("-")),
            ("true", post(Some(&web)), Err("deny[0]")),
            ("true of anybody", post(None), Err("deny[0]")),
        ],
    );
    check(
        "allow = [{ when = 'caller.uri.exists(u, u.endsWith(\"prod.example/web\"))' }, { anonymous = true, when = 'request.host == \"open.example.com\"' }]",
        &[
            (
                "a condition on the caller alone",
                facts(Some(&web)),
                Ok("allow[0]"),
            ),
            (
                "another caller",
                facts(Some(&stranger)),
                Err("none matched"),
            ),
            ("anonymous elsewhere", facts(None), Err("none matched")),
            (
                "anonymous",
                Facts {
                    host: "open.example.com",
                    ..facts(None)
                },
                Ok("allow[1]"),
            ),
        ],
    );
}

#[test]
fn condition_without_a_result_permits_nobody_and_denies() {
    let web = test_identity(WEB);
    let when = "when = 'speaker.issuer != \"CN=Old\"'";
    let allow = format!("allow = [{{ uri = 'spiffe://prod.example/*', {when} }}]");
    let known = Facts {
        speaker: Some(&web),
        ..facts(Some(&web))
    };
    check(
        &allow,
        &[
            ("no result", facts(Some(&web)), Err("none matched")),
            ("true", known, Ok("allow[0]")),
        ],
    );
    let deny = "deny = [{ when = 'speaker.issuer == \"CN=Old\"' }]";
    check(
        deny,
        &[
            ("no result", facts(Some(&web)), Err("deny[0]")),
            ("not true", known, Ok("-")),
        ],
    );
    let told = |route: &str| {
        let policy = rules(route);
        let denial = decide(&policy, &facts(Some(&web))).unwrap_err();
        denial.to_string()
    };
    let why = "; `when` has no result: `speaker.issuer` is not known here; `has(speaker.issuer)` asks whether it is";
    assert!(told(&allow).ends_with(why), "{}", told(&allow));
    assert!(told(deny).ends_with(why), "{}", told(deny));
    assert!(told(deny).contains("{ when = 'speaker.issuer == \"CN=Old\"' }"));
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
