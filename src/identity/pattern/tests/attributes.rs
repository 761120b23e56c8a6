//! Patterns of what stands in a subject, and of the anchor.

use super::*;

#[test]
fn subject_wildcard_stops_at_an_unescaped_separator() {
    let table = [
        ("CN=web,O=Example", "CN=web,O=Example", true),
        ("cn=web,2.5.4.10=Example", "CN=web,O=Example", true),
        ("CN=web", "CN=web,O=Example", false),
        ("CN=*,O=Example", "CN=web,O=Example", true),
        ("CN=*,O=Example", "CN=a\\,b,O=Example", true),
        ("CN=*,O=Example", "CN=a,OU=b,O=Example", false),
        ("CN=*,O=Example", "CN=a+UID=b,O=Example", false),
        ("CN=*,O=Example", "CN=a\\,O=Example", false),
        ("CN=*\\,O=Example", "CN=a\\\\,O=Example", false),
        ("CN=*\\,O=Example", "CN=a\\,O=Example", true),
        ("CN=**,O=Example", "CN=a,OU=b,O=Example", true),
        ("*,O=Example", "CN=a,O=Example", true),
        ("*,O=Example", "CN=a,OU=b,O=Example", false),
        ("**,O=Example", "CN=a,OU=b,O=Example", true),
        ("**,O=Example", "CN=a\\,O=Example", false),
        ("O=Smith\\2C Inc.", "O=Smith\\, Inc.", true),
        ("O=M\u{fc}ller", "O=M\\C3\\BCller", true),
        ("O=M\\C3\\BCller", "O=M\\C3\\BCller", true),
        ("CN=\\20a", "CN=\\20a", true),
        ("CN=\\*", "CN=*", true),
        ("CN=\\*", "CN=web", false),
        ("CN=\\#0c01", "CN=#0c01", false),
        ("CN=#0C01", "CN=#0c01", true),
        ("CN=\\#1", "CN=\\#1", true),
        ("1.2.3=#0C01*", "1.2.3=#0c0161", true),
        ("CN=a+UID=*", "CN=a+UID=b", true),
        ("CN=", "CN=", true),
    ];

    for (pattern, name, expected) in table {
        assert_eq!(subject_matches(pattern, name), expected, "{pattern} {name}");
    }
}

/// Whether a pattern for `kind` matches a certificate with this subject.
fn attribute_matches(kind: NameKind, pattern: &str, leaf: &TestLeaf) -> bool {
    let pattern = NamePattern::parse(kind, pattern).unwrap();
    pattern.matches(leaf.identity().names(), None)
}

const OU: &[u8] = &[0x55, 4, 11];
const O: &[u8] = &[0x55, 4, 10];

#[test]
fn attribute_is_matched_by_the_text_of_one_of_its_values_alone() {
    let leaf = |unit: &str| TestLeaf::new().attribute(O, "Example").attribute(OU, unit);
    let matches = |pattern: &str, unit: &str| {
        attribute_matches(NameKind::OrganizationalUnit, pattern, &leaf(unit))
    };
    for (pattern, unit, expected) in [
        ("Ops", "Ops", true),
        ("Ops", "ops", false),
        ("Ops", "Ops ", false),
        ("Ops", "Ops\0", false),
        ("Op*", "Ops", true),
        ("*s", "Ops", true),
        ("Ops*", "Ops", false),
        ("A, B+C", "A, B+C", true),
        ("A\\, B\\+C", "A, B+C", true),
        ("A*", "A, B+C", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("M\u{fc}ller*", "M\u{fc}ller, East", true),
        ("#0c03", "#0c03", true),
        (" Ops", " Ops", true),
        // What looks like another attribute is a value like any other.
        ("Ops", "Ops,OU=Admins", false),
        ("Admins", "Ops,OU=Admins", false),
        ("Admins", "x+OU=Admins", false),
        ("Admins", "\\,OU=Admins", false),
        ("Admins", "OU=Admins", false),
        ("Example", "Ops,O=Example", false),
    ] {
        assert_eq!(matches(pattern, unit), expected, "{pattern} {unit:?}");
    }
}

#[test]
fn each_value_of_an_attribute_stands_for_itself_and_one_that_is_no_text_for_none() {
    let several = TestLeaf::new().attribute(O, "Example").attribute(OU, "Ops");
    let several = several.attribute(OU, "Night");
    assert!(attribute_matches(
        NameKind::OrganizationalUnit,
        "Ops",
        &several
    ));
    assert!(attribute_matches(
        NameKind::OrganizationalUnit,
        "Night",
        &several
    ));
    assert!(!attribute_matches(
        NameKind::OrganizationalUnit,
        "Night*Ops",
        &several
    ));
    assert!(!attribute_matches(
        NameKind::OrganizationalUnit,
        "Example",
        &several
    ));
    let text = |text: &str| der(0x0c, text.as_bytes());
    let joined = TestLeaf::new().rdn(rdn(&[
        attribute(OU, &text("Ops")),
        attribute(O, &text("Example")),
    ]));
    assert!(attribute_matches(
        NameKind::OrganizationalUnit,
        "Ops",
        &joined
    ));
    assert!(attribute_matches(
        NameKind::Organization,
        "Example",
        &joined
    ));
    // A value that is no text has no text to match, whatever its bytes spell.
    let octets = TestLeaf::new().rdn(rdn(&[attribute(OU, &der(0x04, b"Ops"))]));
    for pattern in ["Ops", "#04034f7073", "*s", "04*", "\\#*"] {
        let matched = attribute_matches(NameKind::OrganizationalUnit, pattern, &octets);
        assert!(!matched, "{pattern}");
    }
}

#[test]
fn anchor_is_matched_by_its_fingerprint_or_its_subject_and_never_when_unknown() {
    let peer = TestLeaf::new().subject("CN=Root").identity();
    let name = AnchorName {
        subject: "CN=Root,O=Example".to_owned(),
        fingerprint: Fingerprint::of(b"root"),
    };
    let matches = |text: &str, anchor| {
        let pattern = NamePattern::parse(NameKind::Anchor, text).unwrap();
        PeerPattern::new(vec![pattern])
            .unwrap()
            .matches(&peer, anchor)
    };
    let fingerprint = name.fingerprint.to_string().to_uppercase();
    for text in [
        fingerprint.as_str(),
        "CN=Root,O=Example",
        "CN=*,O=Example",
        "**",
    ] {
        if text == "**" {
            let refused = refusal(NameKind::Anchor, text);
            assert_eq!(
                refused,
                Some(PatternError::Everybody {
                    kind: NameKind::Anchor
                })
            );
            continue;
        }
        assert!(matches(text, Some(&name)), "{text}");
        assert!(!matches(text, None), "{text}");
    }
    assert!(!matches("CN=Root", Some(&name)));
    assert!(!matches(&"0".repeat(64), Some(&name)));
    assert_eq!(
        refusal(NameKind::Anchor, "Example"),
        Some(PatternError::Anchor)
    );
}

#[test]
fn subject_patterns_that_no_subject_matches_are_refused() {
    let refused = |text| refusal(NameKind::Subject, text);
    let unknown = |written: &str| {
        Some(PatternError::AttributeType {
            written: written.into(),
        })
    };

    assert_eq!(refused("web"), unknown("web"));
    assert_eq!(refused("CN=web, O=Example"), unknown(" O"));
    assert_eq!(refused("XX=web"), unknown("XX"));
    assert_eq!(refused("C*=web"), unknown("C*"));
    assert_eq!(refused("CN=web,"), unknown(""));
    assert_eq!(refused("CN= web"), Some(PatternError::SpaceBesideSeparator));
    assert_eq!(
        refused("CN=web ,O=a"),
        Some(PatternError::SpaceBesideSeparator)
    );
    assert_eq!(refused("CN=web\\"), Some(PatternError::LooseEscape));
    assert_eq!(refused("CN=web\\2"), Some(PatternError::LooseEscape));
    assert_eq!(refused("CN=web\\2x"), Some(PatternError::LooseEscape));
    assert_eq!(refused("CN=a web"), None);
    assert_eq!(refused("CN=web\\ "), None);
}

proptest! {
    #[test]
    fn text_of_an_attribute_is_matched_by_its_own_pattern_and_by_no_other(
        value in "\\PC{0,3}[a-cOU=,+\\\\#*\"; ]{1,10}\\PC{0,3}",
        other in "[a-cOU=,+\\\\#*\"; ]{1,10}",
    ) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('*', "\\*");
        let leaf = TestLeaf::new().attribute(O, "Example").attribute(OU, &value).subject(&other);
        prop_assert!(attribute_matches(NameKind::OrganizationalUnit, &escaped(&value), &leaf));
        prop_assert!(attribute_matches(NameKind::CommonName, &escaped(&other), &leaf));
        for (kind, text) in [
            (NameKind::OrganizationalUnit, &other),
            (NameKind::CommonName, &value),
        ] {
            let expected = value == other;
            prop_assert_eq!(attribute_matches(kind, &escaped(text), &leaf), expected);
        }
        // However it is crafted, it makes no other attribute.
        let identity = leaf.identity();
        let subject = identity.names().subject().unwrap();
        for (kind, count) in [("O", 1), ("OU", 1), ("CN", 1), ("UID", 0)] {
            prop_assert_eq!(units::values(subject, kind).count(), count);
        }
    }

    #[test]
    fn covering_pattern_matches_whatever_the_covered_one_does(
        wide in "[ab.]{0,2}(\\*{1,2}[ab./]{1,2}){0,3}\\*{0,2}",
        narrow in "[ab.]{0,2}(\\*{1,2}[ab./]{1,2}){0,3}\\*{0,2}",
        names in proptest::collection::vec("[ab./]{0,8}", 8),
    ) {
        for kind in [NameKind::Uri, NameKind::Dns, NameKind::CommonName, NameKind::Email] {
            let before = if kind == NameKind::Uri { "x://" } else { "a" };
            let after = if kind == NameKind::Email { "@a" } else { "" };
            let whole = |text: &str| format!("{before}{text}{after}");
            let parse = |text: &str| NamePattern::parse(kind, &whole(text));
            let (Ok(wide), Ok(narrow)) = (parse(&wide), parse(&narrow)) else { continue };
            for name in &names {
                let name = whole(name);
                let leaf = match kind {
                    NameKind::Uri => TestLeaf::new().uri(&name),
                    NameKind::Dns => TestLeaf::new().dns(&name),
                    NameKind::Email => TestLeaf::new().email(&name),
                    _ => TestLeaf::new().subject(&name),
                };
                let Ok(names) = leaf.read() else { continue };
                let identity = Identity::of_certificate(names, Vec::new().into());
                let names = identity.names();
                if wide.covers(&narrow) && narrow.matches(names, None) {
                    prop_assert!(wide.matches(names, None), "{} {} {}", wide, narrow, name);
                }
            }
        }
    }
}
