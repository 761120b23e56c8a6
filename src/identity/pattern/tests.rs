use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::glob::{Glob, Step};
use super::units::Unit;
use super::{NameKind, NamePattern, PatternError, PeerPattern, compile, units};
use crate::identity::testing::{TestLeaf, attribute, der, rdn, test_identity};
use crate::identity::{AnchorName, Fingerprint, Identity, PeerIdentity, StatedNames};

mod attributes;

fn uri_matches(pattern: &str, name: &str) -> bool {
    Glob::new(compile::uri(pattern).unwrap())
        .unwrap()
        .matches(units::uri(name))
}

fn dns_matches(pattern: &str, name: &str) -> bool {
    Glob::new(compile::dns(pattern).unwrap())
        .unwrap()
        .matches(units::dns(name))
}

fn subject_matches(pattern: &str, name: &str) -> bool {
    Glob::new(compile::subject(pattern).unwrap())
        .unwrap()
        .matches(units::subject(name))
}

fn refusal(kind: NameKind, text: &str) -> Option<PatternError> {
    NamePattern::parse(kind, text).err()
}

/// The names that a pattern matches, and those that it does not.
type Table<'a> = &'a [(&'a str, &'a [&'a str], &'a [&'a str])];

fn check(table: Table<'_>, matches: fn(&str, &str) -> bool) {
    for (pattern, matching, others) in table {
        for name in *matching {
            assert!(matches(pattern, name), "{pattern} must match {name}");
        }
        for name in *others {
            assert!(!matches(pattern, name), "{pattern} must not match {name}");
        }
    }
}

#[test]
fn uri_wildcard_stops_at_a_slash_in_the_path() {
    let web = "spiffe://prod.example/web";
    check(
        &[
            (
                web,
                &[web],
                &["spiffe://prod.example/web2", "spiffe://prod.example/we"],
            ),
            (
                "SPIFFE://PROD.example/Web",
                &["spiffe://prod.example/Web"],
                &[web],
            ),
            (
                "spiffe://prod.example/*",
                &[web, "spiffe://prod.example/v1.2:a@b"],
                &[
                    "spiffe://prod.example/",
                    "spiffe://prod.example/ns/web",
                    "spiffe://prod.example/web?x",
                    "spiffe://prod.example.evil/web",
                    "spiffe://test.example/web",
                ],
            ),
            (
                "spiffe://prod.example/**",
                &[web, "spiffe://prod.example/ns/a/sa/b"],
                &["spiffe://prod.example/", "spiffe://prod.example.evil/web"],
            ),
            (
                "spiffe://prod.example/ns/*/sa/*",
                &["spiffe://prod.example/ns/a/sa/b"],
                &["spiffe://prod.example/ns/a/b/sa/c"],
            ),
            (
                "spiffe://prod.example/web-*",
                &["spiffe://prod.example/web-7"],
                &["spiffe://prod.example/web-"],
            ),
        ],
        uri_matches,
    );
}

#[test]
fn uri_wildcard_stops_at_the_parts_of_an_authority() {
    check(
        &[
            (
                "spiffe://*.example/web",
                &["spiffe://prod.example/web"],
                &["spiffe://a.prod.example/web"],
            ),
            (
                "https://*.example/",
                &["https://a.example/"],
                &["https://evil.com/.example/", "https://user:pw@x.example/"],
            ),
            (
                "https://**.example/",
                &["https://a.b.example/"],
                &["https://.example/"],
            ),
            ("urn:example:*", &["urn:example:a"], &["urn:example:a:b"]),
        ],
        uri_matches,
    );
}

#[test]
fn dns_wildcard_stops_at_a_dot() {
    let table = [
        ("*.partners.example", "a.partners.example", true),
        ("*.Partners.Example.", "a.partners.example", true),
        ("*.partners.example", "partners.example", false),
        ("*.partners.example", "a.b.partners.example", false),
        ("*.partners.example", ".partners.example", false),
        ("*.partners.example", "a.partners.example.evil", false),
        ("**.partners.example", "a.b.partners.example", true),
        ("web-*.example", "web-1.example", true),
        ("web-*.example", "web-.example", false),
        ("*a*b.example", "xaab.example", true),
        ("*a*b.example", "ab.example", false),
    ];

    for (pattern, name, expected) in table {
        assert_eq!(dns_matches(pattern, name), expected, "{pattern} {name}");
    }
}

fn email_matches(pattern: &str, name: &str) -> bool {
    Glob::new(compile::email(pattern).unwrap())
        .unwrap()
        .matches(units::email(name))
}

#[test]
fn email_wildcard_stops_at_the_at_and_at_the_dots_of_the_host() {
    let table = [
        ("*@example.com", "a@example.com", true),
        ("*@example.com", "a.b+c@example.com", true),
        ("*@Example.COM", "a@eXample.com", true),
        ("A@example.com", "a@example.com", false),
        ("*@example.com", "@example.com", false),
        ("*@example.com", "a@example.com.evil", false),
        ("*@example.com", "a@evil.com", false),
        ("*@example.com", "\"a@evil.com\"@example.com", false),
        ("*@example.com", "a@evil.com@example.com", false),
        ("a@*", "a@example", true),
        ("a@*", "a@example.com", false),
        ("a@*.example.com", "a@x.example.com", true),
        ("a@*.example.com", "a@x.y.example.com", false),
        ("a@**.example.com", "a@x.y.example.com", true),
        ("a.*@example.com", "a.b@example.com", true),
    ];
    for (pattern, name, expected) in table {
        assert_eq!(email_matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn pattern_covers_those_that_match_no_more() {
    use NameKind::{CommonName, Dns, Email, Fingerprint, Subject, Uri};
    let covers = |kind, wide: &str, narrow: &str| {
        let one = |text| PeerPattern::new(vec![NamePattern::parse(kind, text).unwrap()]).unwrap();
        one(wide).covers(&one(narrow))
    };
    let zeros = "0".repeat(64);
    for (kind, wide, narrow, expected) in [
        (Uri, "spiffe://a/*", "spiffe://a/b", true),
        (Uri, "spiffe://a/*", "spiffe://a/*", true),
        (Uri, "spiffe://a/*", "SPIFFE://A/b*", true),
        (Uri, "spiffe://a/*", "spiffe://a/**", false),
        (Uri, "spiffe://a/**", "spiffe://a/*/b", true),
        (Uri, "spiffe://a/*/b", "spiffe://a/**", false),
        (Uri, "spiffe://a/*", "spiffe://a/b/c", false),
        (Uri, "spiffe://*.a/x", "spiffe://b.a/x", true),
        (Uri, "spiffe://*.a/x", "spiffe://b.c.a/x", false),
        (Dns, "*.a.example", "b.a.example", true),
        (Dns, "*.a.example", "*.*.example", false),
        (Dns, "**.example", "*.a.example", true),
        (Email, "*@a.example", "x.y@A.example", true),
        (Email, "*@*.example", "x@a.b.example", false),
        (CommonName, "a*", "ab*", true),
        (CommonName, "ab*", "a*", false),
        (Subject, "CN=*,O=x", "CN=a,O=x", true),
        (Subject, "CN=*", "CN=a,O=x", false),
        (Fingerprint, &zeros, &zeros, true),
    ] {
        assert_eq!(covers(kind, wide, narrow), expected, "{wide} {narrow}");
    }
    let both = |names: &[(NameKind, &str)]| {
        let parsed = names
            .iter()
            .map(|(kind, text)| NamePattern::parse(*kind, text).unwrap());
        PeerPattern::new(parsed.collect()).unwrap()
    };
    let unit = both(&[(CommonName, "a")]);
    let more = both(&[(CommonName, "a"), (Dns, "b.example")]);
    assert!(unit.covers(&more) && !more.covers(&unit));
}

#[test]
fn patterns_that_permit_everybody_or_nobody_are_refused() {
    use NameKind::{Dns, Fingerprint, Subject, Uri};

    for kind in [Dns, Subject, Uri] {
        assert_eq!(refusal(kind, "*"), Some(PatternError::Everybody { kind }));
        assert_eq!(refusal(kind, "**"), Some(PatternError::Everybody { kind }));
        assert_eq!(refusal(kind, ""), Some(PatternError::Nothing));
    }
    for text in ["*://a/", "s*://a/", "//a/", "prod.example/web", "**/web"] {
        assert_eq!(refusal(Uri, text), Some(PatternError::Scheme), "{text}");
    }
    assert_eq!(refusal(Dns, "."), Some(PatternError::Nothing));
    assert_eq!(refusal(Dns, "***.example"), Some(PatternError::Stars));
    assert_eq!(refusal(Subject, "CN=****"), Some(PatternError::Stars));
    assert_eq!(
        refusal(Dns, "a b"),
        Some(PatternError::Unprintable { kind: Dns })
    );
    assert_eq!(
        refusal(Uri, "x:\u{e4}"),
        Some(PatternError::Unprintable { kind: Uri })
    );
    assert!(matches!(
        refusal(Fingerprint, "*"),
        Some(PatternError::Fingerprint(_))
    ));
    assert!(matches!(
        refusal(Fingerprint, "ab*"),
        Some(PatternError::Fingerprint(_))
    ));
}

#[test]
fn patterns_are_bounded_in_length() {
    let dns = |text: String| refusal(NameKind::Dns, &text);

    assert_eq!(dns(format!("*{}", "a".repeat(499))), None);
    assert_eq!(
        dns(format!("*{}", "a".repeat(500))),
        Some(PatternError::TooLong)
    );
    assert_eq!(dns("a".repeat(8192)), None);
    assert_eq!(dns("a".repeat(8193)), Some(PatternError::TooLong));
}

#[test]
fn an_entry_matches_when_all_conditions_do_and_any_of_several_names() {
    let leaf = TestLeaf::new()
        .subject("web")
        .dns("a.example")
        .dns("b.example");
    let peer = leaf.identity();
    let fingerprint = peer
        .names()
        .fingerprint()
        .unwrap()
        .to_string()
        .to_uppercase();
    let entry = |conditions: &[(NameKind, &str)]| {
        let parsed = conditions
            .iter()
            .map(|(kind, text)| NamePattern::parse(*kind, text).unwrap());
        PeerPattern::new(parsed.collect())
            .unwrap()
            .matches(&peer, None)
    };

    assert!(entry(&[(NameKind::Dns, "b.example")]));
    assert!(entry(&[
        (NameKind::Dns, "a.example"),
        (NameKind::Subject, "CN=w*")
    ]));
    assert!(entry(&[(NameKind::Fingerprint, &fingerprint)]));
    assert!(!entry(&[
        (NameKind::Dns, "a.example"),
        (NameKind::Subject, "CN=x*")
    ]));
    assert!(!entry(&[(NameKind::Dns, "c.example")]));
    assert!(!entry(&[(NameKind::Uri, "spiffe://prod.example/**")]));
    assert!(!entry(&[(NameKind::Fingerprint, &"0".repeat(64))]));
}

#[test]
fn an_entry_without_conditions_is_refused() {
    assert_eq!(
        PeerPattern::new(Vec::new()).err(),
        Some(PatternError::Nothing)
    );
}

#[test]
fn an_entry_is_shown_as_it_stands_in_the_config() {
    let conditions = vec![
        NamePattern::parse(NameKind::Uri, "SPIFFE://prod.example/*").unwrap(),
        NamePattern::parse(NameKind::Subject, "O=\"A\\, B\u{1}\"").unwrap(),
    ];

    assert_eq!(
        PeerPattern::new(conditions).unwrap().to_string(),
        r#"{ uri = "SPIFFE://prod.example/*", subject = "O=\"A\\, B\u0001\"" }"#
    );
}

/// The slow and obvious matcher that the real one is compared with.
fn slow(steps: &[Step], units: &[Unit]) -> bool {
    let Some((step, steps)) = steps.split_first() else {
        return units.is_empty();
    };
    let most = match step {
        Step::One(symbol) => usize::from(units.first().is_some_and(|unit| unit.symbol == *symbol)),
        Step::Segment => units.iter().take_while(|unit| !unit.is_separator).count(),
        Step::Anything => units.len(),
    };
    (1..=most).any(|taken| slow(steps, &units[taken..]))
}

fn letters() -> impl Strategy<Value = Vec<char>> {
    proptest::collection::vec(prop_oneof![Just('a'), Just('b'), Just('.')], 0..10)
}

#[test]
fn pattern_of_what_is_not_known_of_a_peer_does_not_match() {
    let edge = test_identity("spiffe://edge.example/proxy");
    let mut names = StatedNames::default();
    names.uri("spiffe://prod.example/web").unwrap();
    let peer = PeerIdentity::asserted(Identity::stated(names).unwrap(), &edge);
    let matches = |kind, text: &str| {
        let pattern = NamePattern::parse(kind, text).unwrap();
        PeerPattern::new(vec![pattern])
            .unwrap()
            .matches(&peer, None)
    };

    assert!(matches(NameKind::Uri, "spiffe://prod.example/*"));
    assert!(!matches(NameKind::Uri, "spiffe://edge.example/*"));
    assert!(!matches(NameKind::Subject, "**=*"));
    assert!(!matches(NameKind::Dns, "*.example"));
    assert!(!matches(NameKind::Fingerprint, &"0".repeat(64)));
}

proptest! {
    #[test]
    fn parsing_and_matching_a_pattern_never_panics(
        text in prop_oneof![".{0,40}", "[CNO=,+\\\\*# 0-9a-fü]{0,20}", "[a-z]{1,3}:[/*.:@a-z]{0,20}"],
    ) {
        let peer = TestLeaf::new().subject(&text).dns("a.example").uri("x://a/b").identity();
        for kind in NameKind::ALL {
            if let Ok(pattern) = NamePattern::parse(kind, &text) {
                // Who has no name matches none; but everybody has an issuer.
                let matches = pattern.matches(TestLeaf::new().identity().names(), None);
                prop_assert!(!matches || kind == NameKind::Issuer);
                pattern.matches(peer.names(), None);
            }
        }
    }

    #[test]
    fn the_automaton_agrees_with_the_slow_matcher(
        pattern in "[ab.]{0,2}(\\*{1,2}[ab.]{1,2}){0,4}\\*{0,2}",
        name in letters(),
    ) {
        let name = format!("a{}", String::from_iter(name));
        let steps = compile::dns(&format!("a{pattern}")).unwrap();
        let expected = slow(&steps, &units::dns(&name).collect::<Vec<_>>());
        let glob = Glob::new(steps).unwrap();
        prop_assert_eq!(glob.matches(units::dns(&name)), expected);
        prop_assert!(!expected || glob.may_match(&name), "it is only left out where it does not match");
    }

    #[test]
    fn a_literal_pattern_matches_exactly_its_own_name(one: String, other: String) {
        let one = TestLeaf::new().subject(&one).read().unwrap();
        let other = TestLeaf::new().subject(&other).read().unwrap();
        let pattern = one.subject().replace('*', "\\*");

        prop_assert!(subject_matches(&pattern, one.subject()));
        prop_assert_eq!(
            subject_matches(&pattern, other.subject()),
            one.subject() == other.subject()
        );
    }

    #[test]
    fn a_single_asterisk_never_crosses_a_separator(name in "[a-z/.:@?#]{1,12}") {
        let crossed = name.contains(['/', '?', '#']);
        prop_assert_eq!(uri_matches("x://h/*", &format!("x://h/{name}")), !crossed);

        let matched = dns_matches("*", &name);
        prop_assert_eq!(matched, !name.contains('.'));
    }

    #[test]
    fn any_value_is_one_segment_of_a_subject(value: String, unit in "[a-z,+\\\\]{1,6}") {
        proptest::prop_assume!(!value.is_empty());
        let one = TestLeaf::new().subject(&unit).subject(&value).read().unwrap();

        prop_assert!(subject_matches("CN=*,CN=*", one.subject()));
        prop_assert!(!subject_matches("CN=*", one.subject()));
        prop_assert!(!subject_matches("CN=*,CN=*,CN=*", one.subject()));
    }
}

#[test]
fn a_hostile_name_takes_no_longer_than_its_length() {
    // Going back at each wildcard would take longer than the world is old.
    let steps = compile::dns(&format!("{}c", "*a**a".repeat(80))).unwrap();
    let name = "a".repeat(8 * 1024);

    assert!(!Glob::new(steps.clone()).unwrap().matches(units::dns(&name)));
    assert!(Glob::new(steps).unwrap().matches(units::dns(&(name + "c"))));
}
