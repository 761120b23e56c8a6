use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::{HeaderTemplates, KNOWN, TemplateCause, TextTemplate, push_escaped, push_rfc3339};
use crate::identity::testing::{TestLeaf, attribute, der, rdn};

fn refusal(name: &str, template: &str) -> Option<TemplateCause> {
    let refused = HeaderTemplates::parse(&[(name.into(), template.into())]).err()?;
    assert_eq!(refused.name, name);
    Some(refused.cause)
}

fn render(template: &str, leaf: &TestLeaf) -> Option<String> {
    let templates = HeaderTemplates::parse(&[("X-Caller".into(), template.into())]).unwrap();
    let peer = leaf.identity();
    templates
        .render(peer.names(), Some("spiffe://edge.example/proxy"))
        .next()
        .map(|(_, value)| value)
}

#[test]
fn every_placeholder_is_filled_in() {
    let leaf = TestLeaf::new()
        .rdn(rdn_of(0x0a, "Example"))
        .rdn(rdn_of(0x0b, "Shops"))
        .rdn(rdn_of(0x0b, "A,B + jürgen"))
        .subject("web, Inc.")
        .uri("https://a/x")
        .uri("https://b/")
        .dns("a.example")
        .email("ops@example.com")
        .ip(&[10, 0, 0, 5])
        .ip(&[0; 16])
        .upn("jürgen x@example.com");
    let names = leaf.read().unwrap();
    let fingerprint = names.fingerprint().to_string();
    let spki = names.spki().to_string();
    let table = [
        (
            "{subject}",
            "CN=web\\, Inc.,OU=A\\,B \\+ j\\C3\\BCrgen,OU=Shops,O=Example",
        ),
        ("{cn}", "web\\, Inc."),
        ("{o}", "Example"),
        ("{ou}", "A\\,B \\+ j\\C3\\BCrgen,Shops"),
        ("{issuer}", "CN=Test CA"),
        ("{serial}", "0a2b"),
        ("{fingerprint}", &fingerprint),
        ("{spki}", &spki),
        ("{uri}", "https://a/x,https://b/"),
        ("{dns}", "a.example"),
        ("{email}", "ops@example.com"),
        ("{ip}", "10.0.0.5,::"),
        ("{upn}", "j\\C3\\BCrgen\\20x@example.com"),
        ("{not_before}", "2025-01-01T00:00:00Z"),
        ("{not_after}", "2035-01-01T00:00:00Z"),
        ("{speaker}", "spiffe://edge.example/proxy"),
    ];

    for (template, expected) in table {
        assert_eq!(
            render(template, &leaf).as_deref(),
            Some(expected),
            "{template}"
        );
        assert!(KNOWN.contains(template), "{template}");
    }
    assert_eq!(KNOWN.matches('{').count(), table.len());
}

/// An RDN of one attribute, by the last arc of its type.
fn rdn_of(arc: u8, text: &str) -> Vec<u8> {
    rdn(&[attribute(&[0x55, 4, arc], &der(0x0c, text.as_bytes()))])
}

#[test]
fn without_a_speaker_or_an_attribute_nothing_stands_for_it() {
    let leaf = TestLeaf::new().rdn(rdn_of(0x0a, "O=x,CN=y"));
    assert_eq!(render("{cn}", &leaf), None);
    assert_eq!(render("{o}", &leaf).as_deref(), Some("O=x\\,CN=y"));
    let text = TextTemplate::parse("{speaker}").unwrap();
    assert_eq!(text.render(leaf.identity().names(), None), None);
}

#[test]
fn attributes_of_the_longest_subject_are_found() {
    let leaf = TestLeaf::new().rdn(rdn_of(0x0a, "Example"));
    let long = |length: usize| leaf.clone().subject(&"\u{1}".repeat(length));
    assert_eq!(render("{o}", &long(16_000)).as_deref(), Some("Example"));
}

#[test]
fn text_and_doubled_braces_stay_as_they_are() {
    let leaf = TestLeaf::new().dns("a.example");

    assert_eq!(
        render("a={dns};{{x}} b", &leaf).as_deref(),
        Some("a=a.example;{x} b")
    );
    assert_eq!(render("{{{dns}}}", &leaf).as_deref(), Some("{a.example}"));
}

#[test]
fn a_field_whose_placeholders_are_all_empty_is_not_sent() {
    let leaf = TestLeaf::new().dns("a.example");

    assert_eq!(render("id={uri}", &leaf), None);
    assert_eq!(render("{uri}{email}", &leaf), None);
    assert_eq!(render("{uri}{dns}", &leaf).as_deref(), Some("a.example"));
    assert_eq!(render("yes", &leaf).as_deref(), Some("yes"));
}

#[test]
fn a_name_cannot_forge_a_second_value() {
    let leaf = TestLeaf::new()
        .uri("https://a/,https://admin/")
        .uri("https://b/\\");

    assert_eq!(
        render("{uri}", &leaf).as_deref(),
        Some("https://a/\\,https://admin/,https://b/\\\\")
    );
}

#[test]
fn names_that_cannot_carry_an_identity_are_refused() {
    for name in ["", "a b", "a:b", ":path", "ä", "a\r\nb"] {
        assert_eq!(
            refusal(name, "{uri}"),
            Some(TemplateCause::IllegalName),
            "{name:?}"
        );
    }
    for name in [
        "Host",
        "connection",
        "Transfer_Encoding",
        "content.length",
        "Authorization",
        "COOKIE",
        "TE",
    ] {
        assert_eq!(
            refusal(name, "{uri}"),
            Some(TemplateCause::ReservedName),
            "{name}"
        );
    }
    for name in ["X-Client-Subject", "iv-user", "SSL_CLIENT_S_DN", "teapot"] {
        assert_eq!(refusal(name, "{uri}"), None, "{name}");
    }
}

#[test]
fn templates_that_cannot_be_filled_in_are_refused() {
    for template in ["{uri", "uri}", "{", "}", "{uri{dns}}", "{{uri}"] {
        assert_eq!(
            refusal("a", template),
            Some(TemplateCause::Brace),
            "{template}"
        );
    }
    for template in ["", " {uri}", "{uri} ", "a\nb", "ä{uri}", "\t"] {
        assert_eq!(
            refusal("a", template),
            Some(TemplateCause::IllegalText),
            "{template:?}"
        );
    }
    let unknown = refusal("a", "{uri}{sub ject}").unwrap();
    assert_eq!(
        unknown,
        TemplateCause::UnknownPlaceholder {
            placeholder: "sub ject".into()
        }
    );
    assert!(
        unknown
            .to_string()
            .starts_with("`{sub ject}` is not known; there are {subject}, {cn}")
    );
}

#[test]
fn names_that_fold_to_the_same_are_refused_together() {
    let parse = |names: [&str; 2]| {
        let entries = names.map(|name| (name.to_owned(), "{uri}".to_owned()));
        HeaderTemplates::parse(&entries)
            .map_err(|refused| (refused.name, refused.cause))
            .err()
    };

    assert_eq!(parse(["x-a", "x-b"]), None);
    assert_eq!(
        parse(["x-a", "X_A"]),
        Some(("X_A".into(), TemplateCause::Duplicate))
    );
}

#[test]
fn a_table_without_entries_is_refused() {
    assert_eq!(
        HeaderTemplates::parse(&[]).unwrap_err().cause,
        TemplateCause::Empty
    );
}

#[test]
fn times_are_rfc_3339_in_utc() {
    let table = [
        (0, "1970-01-01T00:00:00Z"),
        (951_826_399, "2000-02-29T12:13:19Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (-62_167_219_200, "0000-01-01T00:00:00Z"),
    ];

    for (unix, expected) in table {
        let mut out = String::new();
        push_rfc3339(unix, &mut out);
        assert_eq!(out, expected);
    }
}

/// Reads a list joined by `,` back.
fn read_list(list: &str) -> Vec<Vec<u8>> {
    let mut values = vec![Vec::new()];
    let mut bytes = list.bytes();
    while let Some(byte) = bytes.next() {
        let value = values.last_mut().unwrap();
        match byte {
            b',' => values.push(Vec::new()),
            b'\\' => {
                let first = bytes.next().unwrap();
                match char::from(first).to_digit(16) {
                    Some(high) => {
                        let low = char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                        value.push(u8::try_from(high * 16 + low).unwrap());
                    }
                    None => value.push(first),
                }
            }
            _ => value.push(byte),
        }
    }
    values
}

proptest! {
    #[test]
    fn parsing_a_template_never_panics(name: String, template: String) {
        let parsed = HeaderTemplates::parse(&[(name.clone(), template)]);
        prop_assert!(parsed.is_ok() || parsed.unwrap_err().name == name);
    }

    #[test]
    fn a_list_reads_back_as_it_was(values in proptest::collection::vec(".{0,12}", 1..5)) {
        let mut out = String::new();
        super::push_list(&values, &mut out);

        prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()));
        let expected: Vec<_> = values.into_iter().map(String::into_bytes).collect();
        prop_assert_eq!(read_list(&out), expected);
    }

    #[test]
    fn attributes_of_the_subject_read_back_as_they_were(
        values in proptest::collection::vec("(?s).{1,12}", 1..4),
        other in ".{0,12}",
    ) {
        let leaf = TestLeaf::new().rdn(rdn_of(0x0b, &other));
        let leaf = values.iter().fold(leaf, |leaf, value| leaf.subject(value));
        let out = render("{cn}", &leaf).unwrap();

        prop_assert!(out.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{out}");
        // The subject stands last to first.
        let expected: Vec<_> = values.into_iter().rev().map(String::into_bytes).collect();
        prop_assert_eq!(read_list(&out), expected);
    }

    #[test]
    fn an_escaped_name_has_no_bare_comma(name: String) {
        let mut out = String::new();
        push_escaped(&name, &mut out);
        prop_assert_eq!(read_list(&out), [name.into_bytes()]);
    }
}
