use std::net::IpAddr;

use super::*;
use crate::config::parse;
use crate::identity::testing::{TestLeaf, test_identity};
use crate::identity::{AnchorName, Fingerprint, PeerIdentity};

mod conditions;
mod shadow;

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
fn the_whole_server_is_within_no_path_but_the_root() {
    let web = test_identity(WEB);
    let star = Facts {
        method: "OPTIONS",
        path: "*",
        ..facts(Some(&web))
    };
    check("deny = [{ path = '/api/x' }]", &[("*", star, Ok("-"))]);
}
