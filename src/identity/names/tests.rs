use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::{AlternativeNames, CertificateNames, MAX_SERIAL, UnreadableCertificate};
use crate::identity::testing::{TestLeaf, attribute, der, rdn};

fn real_certificate() -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["web.example".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "web");
    params.subject_alt_names.push(SanType::URI(
        "spiffe://prod.example/web".try_into().unwrap(),
    ));
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn a_real_certificate_is_read() {
    let der = real_certificate();
    let names = CertificateNames::read(&der).unwrap();

    assert_eq!(names.subject(), "CN=web");
    assert_eq!(names.issuer(), "CN=web");
    assert_eq!(names.dns(), ["web.example"]);
    assert_eq!(names.uri(), ["spiffe://prod.example/web"]);
    assert_eq!(*names.fingerprint(), super::Fingerprint::of(&der));
    assert_eq!(names.not_before(), 157_766_400);
    assert_ne!(names.spki(), names.fingerprint());
}

#[test]
fn names_that_no_authority_should_sign_are_described_and_not_feared() {
    let odd = TestLeaf::new()
        .subject("evil\0\r\n\",OU=admin")
        .subject("second")
        .rdn(rdn(&[attribute(
            &[0x55, 4, 10],
            &der(0x0c, "ü".repeat(4096).as_bytes()),
        )]))
        .read()
        .unwrap();

    assert!(odd.subject().starts_with("O=\\C3\\BC"));
    assert!(
        odd.subject()
            .ends_with(",CN=second,CN=evil\\00\\0D\\0A\\\"\\,OU=admin")
    );
    assert_eq!(odd.issuer(), "CN=Test CA");
}

#[test]
fn a_leaf_without_subject_or_alternative_names_is_read() {
    let names = TestLeaf::new().read().unwrap();

    assert_eq!(names.subject(), "");
    assert_eq!(names.alternative(), &AlternativeNames::default());
    assert_eq!(
        (names.not_before(), names.not_after()),
        (1_735_689_600, 2_051_222_400)
    );
}

#[test]
fn serial_is_hex_without_leading_zero_bytes() {
    let table: [(&[u8], &str); 4] = [
        (&[0x00, 0xff, 0x01], "ff01"),
        (&[0x0a], "0a"),
        (&[0x00], "00"),
        (&[0x7f; 20], "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f"),
    ];

    for (octets, expected) in table {
        assert_eq!(
            TestLeaf::new().serial(octets).read().unwrap().serial(),
            expected
        );
    }
}

#[test]
fn serial_number_is_bounded() {
    assert!(TestLeaf::new().serial(&[1; MAX_SERIAL]).read().is_ok());
    assert_eq!(
        TestLeaf::new().serial(&[1; MAX_SERIAL + 1]).read(),
        Err(UnreadableCertificate::SerialTooLong {
            bytes: MAX_SERIAL + 1
        })
    );
}

#[test]
fn a_second_extension_of_alternative_names_refuses_the_leaf() {
    let one = TestLeaf::new().dns("a.example");
    assert!(one.read().is_ok());

    let empty_list = der(0x30, &[]);
    assert_eq!(
        one.extension(&[0x55, 0x1d, 0x11], &empty_list).read(),
        Err(UnreadableCertificate::TwoAlternativeNameExtensions)
    );
}

#[test]
fn one_bad_alternative_name_refuses_the_leaf() {
    let leaf = TestLeaf::new()
        .dns("good.example")
        .uri("spiffe://prod.example/web");
    assert!(leaf.read().is_ok());

    for bad in [
        leaf.clone().dns("a\nb"),
        leaf.clone().ip(&[1, 2, 3]),
        leaf.uri("https://other/"),
    ] {
        let refused = bad.read();
        assert!(
            matches!(refused, Err(UnreadableCertificate::AlternativeName(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_subject_that_breaks_off_refuses_the_leaf() {
    let good = rdn(&[attribute(&[0x55, 4, 3], &der(0x0c, b"web"))]);
    let broken = rdn(&[attribute(&[0x55, 4, 3], &[0x0c, 9, b'x'])]);

    assert!(TestLeaf::new().rdn(good.clone()).read().is_ok());
    assert!(TestLeaf::new().rdn(good).rdn(broken).read().is_err());
}

#[test]
fn what_is_not_one_certificate_is_refused() {
    let der = TestLeaf::new().subject("web").der();
    assert!(CertificateNames::read(&der).is_ok());

    let trailing = [der.as_slice(), &[0]].concat();
    for bytes in [
        &[][..],
        b"-----BEGIN CERTIFICATE-----",
        &der[..der.len() - 1],
        &trailing,
    ] {
        assert_eq!(
            CertificateNames::read(bytes),
            Err(UnreadableCertificate::Encoding)
        );
    }
}

#[test]
fn certificates_and_subjects_are_bounded() {
    let large = TestLeaf::new().extension(&[0x2a, 3], &vec![0; 64 * 1024]);
    assert!(matches!(
        large.read(),
        Err(UnreadableCertificate::TooLarge { .. })
    ));

    assert!(TestLeaf::new().subject(&"a".repeat(16_000)).read().is_ok());
    assert_eq!(
        TestLeaf::new().subject(&"a".repeat(16 * 1024)).read(),
        Err(UnreadableCertificate::Subject)
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(CertificateNames::read(&bytes).is_err());
    }

    #[test]
    fn mutated_certificates_never_panic_and_never_leave_canonical_form(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut der = TestLeaf::new()
            .subject("web")
            .uri("spiffe://prod.example/web")
            .dns("web.example")
            .upn("u@example")
            .ip(&[10, 0, 0, 1])
            .der();
        for (at, byte) in edits {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Ok(names) = CertificateNames::read(&der) {
            let printable = |text: &str| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
            prop_assert!(printable(names.subject()) && printable(names.issuer()));
            prop_assert!(names.dns().iter().chain(names.uri()).all(|name| printable(name)));
        }
    }

    #[test]
    fn any_common_name_becomes_printable_ascii_with_no_separator(text: String) {
        let names = TestLeaf::new().subject(&text).read().unwrap();
        let value = names.subject().strip_prefix("CN=").unwrap();

        prop_assert_eq!(unescape(value), text.into_bytes());
    }
}

/// Reads an RFC 4514 value back; panics on a bare separator.
fn unescape(value: &str) -> Vec<u8> {
    let mut bytes = value.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        assert!(!b",+;<>\"".contains(&byte), "bare separator in {value:?}");
        assert!(
            (0x20..=0x7e).contains(&byte),
            "unprintable byte in {value:?}"
        );
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let first = bytes.next().unwrap();
        if first.is_ascii_hexdigit() {
            let pair = [first, bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
        } else {
            out.push(first);
        }
    }
    out
}
