use data_encoding::BASE64;
use http::HeaderValue;
use proptest::prelude::{prop_assert, proptest};

use super::*;
use crate::identity::Fingerprint;
use crate::identity::testing::TestLeaf;

fn read(form: Decoding, fields: &[(&'static str, &str)]) -> Result<Option<Identity>, DecodeError> {
    let fields = fields.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (HeaderName::from_static(name), value)
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    form.decode(&headers)
}

fn xfcc(value: &str) -> Result<Option<Identity>, DecodeError> {
    read(Decoding::Xfcc, &[("x-forwarded-client-cert", value)])
}

fn client_cert(value: &str) -> Result<Option<Identity>, DecodeError> {
    read(Decoding::ClientCert, &[("client-cert", value)])
}

fn bytes(der: &[u8]) -> String {
    format!(":{}:", BASE64.encode(der))
}

fn pem(der: &[u8]) -> String {
    let base64 = BASE64.encode(der).replace('+', "%2B");
    format!("%2D----BEGIN%20CERTIFICATE-----%0A{base64}%0A-----END%20CERTIFICATE-----%0a")
}

#[test]
fn nothing_is_asserted_where_the_field_is_not_there() {
    assert_eq!(read(Decoding::Xfcc, &[("client-cert", "x")]), Ok(None));
    let others = [("x-forwarded-client-cert", "x")];
    assert_eq!(read(Decoding::ClientCert, &others), Ok(None));
}

#[test]
fn last_element_of_all_fields_counts() {
    let fields = [
        (
            "x-forwarded-client-cert",
            "URI=spiffe://a/1,URI=spiffe://a/2",
        ),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://a/3, URI=spiffe://a/4",
        ),
    ];
    let identity = read(Decoding::Xfcc, &fields).unwrap().unwrap();
    assert_eq!(identity.names().uri(), ["spiffe://a/4"]);
}

#[test]
fn element_of_envoy_is_read_with_its_quotes_and_gaps() {
    let hash = Fingerprint::of(b"x");
    let value = format!(
        "By=spiffe://p/x;Hash={hash};Subject=\"emailAddress=a@b,CN=x\\\"\\,y;URI=spiffe://a/9,OU=z\";URI=;DNS=a.example;dns=\"b.example\""
    );
    // A bare `;` is not legal in RFC 4514, and Envoy's library escapes it.
    assert!(xfcc(&value).is_err());
    let value = value.replace("y;URI", "y\\;URI");
    let identity = xfcc(&value).unwrap().unwrap();
    let names = identity.names();
    assert_eq!(names.fingerprint(), Some(&hash));
    assert!(names.uri().is_empty());
    assert_eq!(names.dns(), ["a.example", "b.example"]);
    assert_eq!(
        names.subject(),
        Some("emailAddress=a@b,CN=x\\\"\\,y\\;URI=spiffe://a/9,OU=z")
    );
}

#[test]
fn certificate_in_xfcc_is_what_counts_and_must_be_what_the_rest_is_about() {
    let leaf = TestLeaf::new().uri("spiffe://a/web").dns("a.example");
    let (der, other) = (leaf.der(), TestLeaf::new().dns("b.example").der());
    let hash = Fingerprint::of(&der);
    let cert = pem(&der);
    let chain = format!("{cert}{}", pem(&other));

    let alone = xfcc(&format!("Cert=\"{cert}\"")).unwrap().unwrap();
    assert_eq!(&alone, leaf.identity().identity());
    let both = xfcc(&format!(
        "Hash={hash};Cert=\"{cert}\";Chain=\"{chain}\";Subject=\"\";URI=spiffe://a/web;DNS=a.example"
    ));
    assert_eq!(both.unwrap().unwrap().chain().unwrap().len(), 2);

    let contradictions = [
        (
            format!("Hash={};Cert=\"{cert}\"", Fingerprint::of(b"")),
            "Hash",
        ),
        (
            format!("Cert=\"{};Chain=\"{chain}\"", pem(&other) + "\""),
            "Chain",
        ),
        (format!("Chain=\"{chain}\";URI=spiffe://a/admin"), "URI"),
        (format!("Chain=\"{chain}\";DNS=b.example"), "DNS"),
    ];
    for (value, key) in contradictions {
        assert_eq!(
            xfcc(&value),
            Err(DecodeError::Contradiction { key }),
            "{value}"
        );
    }
}

#[test]
fn xfcc_that_is_not_whole_is_refused() {
    let refused = [
        "",
        ",",
        "URI=spiffe://a/b,",
        "URI",
        "=x",
        "URI=spiffe://a/b;Foo=bar",
        "URI=spiffe://a/b;Hash=00",
        "URI=spiffe://a/b;Subject=\"CN=a",
        "URI=spiffe://a/b;Subject=\"CN=a\"b",
        "URI=spiffe://a/b;Subject=\"CN=a\";Subject=\"CN=b\"",
        "URI=spiffe://a/b;Subject=\"nobody\"",
        "URI=spiffe://a/b;URI=spiffe://a/c",
        "URI=a\"b;c\"",
        "DNS=a b",
        "By=spiffe://a/b",
        "Subject=\"\"",
        "Cert=\"\"",
        "Cert=\"-----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----\"",
        "Cert=\"%\"",
        "Foo=bar,URI=spiffe://a/b",
    ];
    for value in refused {
        assert!(xfcc(value).is_err(), "{value}");
    }
    assert!(xfcc("URI=spiffe://a/b").unwrap().is_some());
    assert!(xfcc("URI=spiffe://a/\u{fc}").is_err());
}

#[test]
fn client_cert_is_one_whole_certificate_and_its_chain() {
    let leaf = TestLeaf::new().dns("a.example").der();
    let other = TestLeaf::new().dns("b.example").der();
    let one = bytes(&leaf);

    let identity = client_cert(&format!(" {one} ")).unwrap().unwrap();
    assert_eq!(identity.names().dns(), ["a.example"]);
    let chain = format!("{} , {}", bytes(&other), bytes(&leaf));
    let fields = [("client-cert", &*one), ("client-cert-chain", &*chain)];
    let identity = read(Decoding::ClientCert, &fields).unwrap().unwrap();
    assert_eq!(identity.chain().unwrap().len(), 3);

    let long = vec![bytes(&other); 10].join(",");
    let junk = bytes(b"junk");
    for wrong in ["", ",", &one[1..], &junk, "::", &long] {
        let fields = [("client-cert", &*one), ("client-cert-chain", wrong)];
        assert!(read(Decoding::ClientCert, &fields).is_err(), "{wrong}");
    }
    let twice = [("client-cert", &*one), ("client-cert", &*one)];
    assert!(read(Decoding::ClientCert, &twice).is_err());
    let chain_alone = [("client-cert-chain", &*one)];
    assert!(read(Decoding::ClientCert, &chain_alone).is_err());
    let parameter = format!("{one};a=b");
    let two = format!("{one},{one}");
    let bare = BASE64.encode(&leaf);
    let cut = bytes(&leaf[..leaf.len() - 1]);
    for wrong in ["", "::", &parameter, &two, &bare, &cut, &junk] {
        assert!(client_cert(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn assertion_over_64_kib_is_refused_unread() {
    let long = "URI=spiffe://a/b,".repeat(4000);
    assert_eq!(xfcc(&long), Err(DecodeError::TooLarge));
}

proptest! {
    #[test]
    fn no_input_makes_a_decoder_panic_or_name_nobody(
        value in "([A-Za-z]{1,4}|Subject|Cert|URI|Hash|[=;,\"\\\\%:]|%2[0-9D]|CN=|x:){0,20}",
    ) {
        for identity in [xfcc(&value), client_cert(&value)].into_iter().flatten().flatten() {
            prop_assert!(!identity.primary().is_empty() && identity.primary() != "-");
        }
    }
}
