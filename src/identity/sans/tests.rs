use super::*;
use crate::identity::testing::{der, other_name, upn};

fn read(names: &[Vec<u8>]) -> Result<AlternativeNames, MalformedName> {
    AlternativeNames::read(&der(tag::SEQUENCE, &names.concat()))
}

fn uri(text: &str) -> Vec<u8> {
    der(URI, text.as_bytes())
}

fn dns(text: &str) -> Vec<u8> {
    der(DNS, text.as_bytes())
}

#[test]
fn names_of_every_kind_are_read_in_canonical_form() {
    let names = read(&[
        dns("Web.Example.COM."),
        uri("HTTPS://User@Host.Example:8443/Path?Q#F"),
        der(EMAIL, b"Ops@example.com"),
        der(IP, &[10, 0, 0, 5]),
        der(IP, &[0; 16]),
        upn("jürgen@example.com"),
    ])
    .unwrap();

    assert_eq!(names.dns, ["web.example.com"]);
    assert_eq!(names.uri, ["https://user@host.example:8443/Path?Q#F"]);
    assert_eq!(names.email, ["Ops@example.com"]);
    assert_eq!(
        names.ip,
        ["10.0.0.5".parse::<IpAddr>().unwrap(), "::".parse().unwrap()]
    );
    assert_eq!(names.upn, ["jürgen@example.com"]);
}

#[test]
fn names_of_other_kinds_are_ignored() {
    let names = read(&[
        der(DIRECTORY, &der(tag::SEQUENCE, &[])),
        der(REGISTERED_ID, &[0x2a, 3]),
        other_name(&[0x2a, 3], &[0x0c, 1, 0]),
        dns("a.example"),
    ]);

    assert_eq!(
        names.unwrap(),
        AlternativeNames {
            dns: vec!["a.example".into()],
            ..Default::default()
        }
    );
}

#[test]
fn a_byte_that_is_not_printable_ascii_refuses_the_leaf() {
    for bad in ["a\0b", "a\nb", "a\rb", "a b", "ä", "a\x7f"] {
        for (tag, kind, prefix) in [(DNS, "DNS", ""), (URI, "URI", "x:"), (EMAIL, "email", "")] {
            let name = der(tag, format!("{prefix}{bad}").as_bytes());
            let refused = MalformedName::Unprintable { kind, index: 1 };
            assert_eq!(read(&[dns("good.example"), name]), Err(refused), "{bad:?}");
        }
    }
    assert_eq!(
        read(&[der(DNS, &[0xff])]),
        Err(MalformedName::Unprintable {
            kind: "DNS",
            index: 0
        })
    );
}

#[test]
fn a_upn_with_a_control_character_or_of_another_type_refuses_the_leaf() {
    let refused = MalformedName::Unprintable {
        kind: "UPN",
        index: 0,
    };

    assert!(read(&[upn("a b")]).is_ok());
    assert_eq!(read(&[upn("a\nb")]), Err(refused.clone()));
    assert_eq!(read(&[upn("a\u{85}b")]), Err(refused));
    assert_eq!(
        read(&[upn("")]),
        Err(MalformedName::Empty {
            kind: "UPN",
            index: 0
        })
    );
    assert_eq!(
        read(&[other_name(UPN_OID, &[0x16, 1, b'a'])]),
        Err(MalformedName::Encoding)
    );
}

#[test]
fn empty_names_refuse_the_leaf() {
    for name in [dns(""), dns("."), der(EMAIL, b""), uri("")] {
        assert!(matches!(
            read(&[name]),
            Err(MalformedName::Empty { index: 0, .. })
        ));
    }
}

#[test]
fn an_address_of_a_strange_length_refuses_the_leaf() {
    for bytes in [0, 3, 5, 8, 15, 17, 32] {
        let refused = MalformedName::IpLength { index: 0, bytes };
        assert_eq!(read(&[der(IP, &vec![1; bytes])]), Err(refused));
    }
}

#[test]
fn a_uri_without_a_scheme_refuses_the_leaf() {
    assert_eq!(
        read(&[uri("URN:Example:A")]).unwrap().uri,
        ["urn:Example:A"]
    );
    for relative in ["/path", "host/path", "1a:b", ":b", "a_b:c"] {
        assert_eq!(
            read(&[uri(relative)]),
            Err(MalformedName::UriWithoutScheme { index: 0 })
        );
    }
}

#[test]
fn a_spiffe_name_stands_alone_among_uris() {
    let id = "SPIFFE://Prod.Example/Web";
    assert_eq!(
        read(&[uri(id), dns("a.example")]).unwrap().uri,
        ["spiffe://prod.example/Web"]
    );
    assert_eq!(
        read(&[uri("https://a/"), uri("https://b/")])
            .unwrap()
            .uri
            .len(),
        2
    );

    let refused = MalformedName::SpiffeWithOthers { others: 1 };
    assert_eq!(read(&[uri("https://a/"), uri(id)]), Err(refused.clone()));
    assert_eq!(read(&[uri(id), uri(id)]), Err(refused));
}

#[test]
fn names_are_bounded_in_length_and_number() {
    assert!(read(&[dns(&"a".repeat(MAX_NAME))]).is_ok());
    let refused = MalformedName::TooLong {
        index: 0,
        bytes: MAX_NAME + 1,
    };
    assert_eq!(read(&[dns(&"a".repeat(MAX_NAME + 1))]), Err(refused));

    let mut names = vec![dns("a"); MAX_NAMES];
    assert_eq!(read(&names).unwrap().dns.len(), MAX_NAMES);
    names.push(dns("a"));
    assert_eq!(read(&names), Err(MalformedName::TooMany));
}

#[test]
fn what_is_not_a_list_of_names_refuses_the_leaf() {
    assert_eq!(AlternativeNames::read(&[]), Err(MalformedName::Encoding));
    assert_eq!(
        AlternativeNames::read(&[0x30, 2, 0x82, 5]),
        Err(MalformedName::Encoding)
    );
    assert_eq!(
        AlternativeNames::read(&[0x30, 0, 0]),
        Err(MalformedName::Encoding)
    );
    assert_eq!(
        read(&[der(0xa2, b"a.example")]),
        Err(MalformedName::Encoding)
    );
    assert_eq!(read(&[der(0x89, b"a")]), Err(MalformedName::Encoding));
}
