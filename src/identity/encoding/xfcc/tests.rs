use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::{XfccKeys, push_value};
use crate::identity::testing::TestLeaf;
use crate::identity::{CertificateNames, Fingerprint, Identity};

/// Writes what is written unless more is asked for.
fn encode(names: &CertificateNames) -> String {
    let identity = Identity::of_certificate(names.clone(), Vec::new().into());
    super::encode(XfccKeys::default(), &identity, None).unwrap()
}

/// Reads one element as Envoy's documentation and its `XFCC_VALUE` formatter do:
/// `;` separates outside quotes, a quote counts unless an odd number of
/// backslashes precedes it, and only `\"` and `\\` are escapes.
fn parse(value: &str) -> Vec<(String, String)> {
    split(value, ';')
        .into_iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').expect("a pair without `=`");
            (key.to_owned(), unquote(value))
        })
        .collect()
}

fn split(value: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut is_quoted, mut backslashes) = (false, 0);
    for character in value.chars() {
        if character == '"' && backslashes % 2 == 0 {
            is_quoted = !is_quoted;
        }
        backslashes = if character == '\\' {
            backslashes + 1
        } else {
            0
        };
        if character == separator && !is_quoted {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(character);
        }
    }
    assert!(!is_quoted, "a quote stays open in {value:?}");
    parts
}

fn unquote(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let mut out = String::new();
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('"' | '\\')) => out.extend(characters.next()),
            _ => out.push(character),
        }
    }
    out
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn an_ordinary_leaf_is_written_as_envoy_writes_it() {
    let leaf = TestLeaf::new()
        .subject("web, Inc.")
        .uri("spiffe://prod.example/ns/a/sa/web")
        .dns("a.example")
        .dns("b.example");
    let hash = Fingerprint::of(&leaf.der());

    assert_eq!(
        encode(&leaf.read().unwrap()),
        format!(
            "Hash={hash};Subject=\"CN=web\\, Inc.\";URI=spiffe://prod.example/ns/a/sa/web;DNS=a.example;DNS=b.example"
        )
    );
}

#[test]
fn a_leaf_without_names_still_has_hash_and_subject() {
    let leaf = TestLeaf::new();
    let hash = Fingerprint::of(&leaf.der());

    assert_eq!(
        encode(&leaf.read().unwrap()),
        format!("Hash={hash};Subject=\"\"")
    );
}

#[test]
fn further_keys_are_written_where_they_are_asked_for() {
    let leaf = TestLeaf::new().dns("a.example");
    let peer = leaf.identity();
    let own = TestLeaf::new()
        .uri("spiffe://prod.example/proxy")
        .identity();
    let keys = XfccKeys {
        by: true,
        cert: true,
        chain: true,
    };
    let written = super::encode(keys, peer.identity(), Some(own.identity())).unwrap();
    let read = parse(&written);
    let keys: Vec<_> = read.iter().map(|(key, _)| key.as_str()).collect();

    assert_eq!(keys, ["By", "Hash", "Cert", "Chain", "Subject", "DNS"]);
    assert_eq!(read[0].1, "spiffe://prod.example/proxy");
    assert!(read[2].1.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
    assert!(read[2].1.ends_with("%0A-----END%20CERTIFICATE-----%0A"));
    assert_eq!(read[2].1, read[3].1);
}

#[test]
fn no_name_can_forge_a_field() {
    let leaf = TestLeaf::new()
        .subject("x\";URI=spiffe://prod.example/admin;A=\"")
        .uri("https://a/;URI=spiffe://prod.example/admin")
        .uri("https://b/\",URI=\"c")
        .dns("d\\\";Hash=0");
    let hash = Fingerprint::of(&leaf.der()).to_string();
    let subject = "CN=x\\22\\;URI=spiffe://prod.example/admin\\;A=\\22";

    assert_eq!(
        parse(&encode(&leaf.read().unwrap())),
        pairs(&[
            ("Hash", &hash),
            ("Subject", subject),
            ("URI", "https://a/;URI=spiffe://prod.example/admin"),
            ("URI", "https://b/\",URI=\"c"),
            ("DNS", "d\\\";hash=0"),
        ])
    );
}

#[test]
fn values_are_quoted_only_where_they_must_be() {
    let written = |value| {
        let mut out = String::new();
        push_value(value, &mut out);
        out
    };

    assert_eq!(written("a.example"), "a.example");
    assert_eq!(written(""), "\"\"");
    assert_eq!(written("a=b"), "\"a=b\"");
    assert_eq!(written("a,b;c"), "\"a,b;c\"");
    assert_eq!(written("a\\b"), "\"a\\b\"");
    assert_eq!(written("a\\"), "\"a\\\\\"");
    assert_eq!(written("a\\\"b"), "\"a\\\\\\\"b\"");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        subject: String,
        uris in proptest::collection::vec("[!-~]{0,20}", 0..4),
        dns in proptest::collection::vec("[!-~]{0,19}[!--/-~]", 0..4),
    ) {
        let mut leaf = TestLeaf::new().subject(&subject);
        for uri in &uris {
            leaf = leaf.uri(&format!("x:{uri}"));
        }
        for name in &dns {
            leaf = leaf.dns(name);
        }
        let names = leaf.read().unwrap();
        let written = encode(&names);

        prop_assert!(written.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        prop_assert_eq!(split(&written, ',').len(), 1);
        let read = parse(&written);
        let of = |key: &str| -> Vec<String> {
            read.iter().filter(|pair| pair.0 == key).map(|pair| pair.1.clone()).collect()
        };
        prop_assert_eq!(of("URI"), names.uri());
        prop_assert_eq!(of("DNS"), names.dns());
        prop_assert_eq!(of("Hash"), [names.fingerprint().to_string()]);
        let respelt = &of("Subject")[0];
        prop_assert!(!respelt.contains('"') && !respelt.contains("\\\\"));
        prop_assert_eq!(unescape_subject(respelt), unescape_subject(names.subject()));
        prop_assert_eq!(read.len(), 2 + uris.len() + dns.len());
    }

    #[test]
    fn any_value_survives_quoting(value: String) {
        let mut written = String::new();
        push_value(&value, &mut written);

        prop_assert_eq!(parse(&format!("URI={written};DNS=b")), pairs(&[("URI", &value), ("DNS", "b")]));
    }
}

/// Replaces the escapes of an RFC 4514 string that has one attribute.
fn unescape_subject(subject: &str) -> Vec<u8> {
    let mut bytes = subject.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let first = bytes.next().unwrap();
        match char::from(first).to_digit(16) {
            Some(high) => {
                let low = char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                out.push(u8::try_from(high * 16 + low).unwrap());
            }
            None => out.push(first),
        }
    }
    out
}
