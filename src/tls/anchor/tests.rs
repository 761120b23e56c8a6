use proptest::prelude::{any, prop, proptest};
use rcgen::{CertificateParams, IsCa, KeyUsagePurpose};

use super::*;
use crate::telemetry::metrics::Uses;
use crate::tls::testing::lists::{Authority, authority, bundle_with, unknown_extension};

type Der = CertificateDer<'static>;

fn read(der: &Der) -> Result<ReadAnchor, UnusableAnchor> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    super::read(der, provider.signature_verification_algorithms.all)
}

fn fault(der: &Der) -> Option<AnchorFault> {
    read(der).err().map(|(_, fault)| fault)
}

/// A root that is like any other but for `change`.
fn root(change: impl FnOnce(&mut CertificateParams)) -> Der {
    let mut params = authority("Root", 30).params;
    change(&mut params);
    Authority::of(params).certificate
}

/// A certificate with other fields in its signed part: the version, serial
/// number, algorithm, issuer, validity, subject, key and extensions. Nobody
/// verifies the signature of an anchor.
fn with_fields(certificate: &Der, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Der {
    let parts = split(certificate);
    let mut fields = split(&parts[0]);
    change(&mut fields);
    let signed = der::with_header(tag::SEQUENCE, &fields.concat());
    let parts = [signed, fields_algorithm(&fields), parts[2].clone()];
    der::with_header(tag::SEQUENCE, &parts.concat()).into()
}

/// The algorithm stands twice, and must be the same.
fn fields_algorithm(fields: &[Vec<u8>]) -> Vec<u8> {
    let first = fields.iter().find(|field| field[0] == tag::SEQUENCE);
    first.unwrap().clone()
}

fn split(sequence: &[u8]) -> Vec<Vec<u8>> {
    let contents = der::only(sequence, tag::SEQUENCE).unwrap().contents;
    let elements = der::elements(contents);
    elements
        .map(|element| element.unwrap().raw.to_vec())
        .collect()
}

/// A SubjectPublicKeyInfo with an RSA modulus of so many bits.
fn rsa_key(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xab; bits / 8];
    modulus.insert(0, 0);
    let numbers = [
        der::with_header(tag::INTEGER, &modulus),
        vec![2, 3, 1, 0, 1],
    ];
    let key = der::with_header(tag::SEQUENCE, &numbers.concat());
    let algorithm = der::with_header(tag::SEQUENCE, &[RSA_ENCRYPTION, &[5, 0]].concat());
    let bits = der::with_header(tag::BIT_STRING, &[&[0][..], &key].concat());
    der::with_header(tag::SEQUENCE, &[algorithm, bits].concat())
}

fn signed_with(oid: &[u8]) -> Vec<u8> {
    let oid = der::with_header(tag::OBJECT_IDENTIFIER, oid);
    der::with_header(tag::SEQUENCE, &oid)
}

const SHA1: &[u8] = WEAK_SIGNATURES[2].0;

#[test]
fn root_is_an_anchor_and_says_who_it_is() {
    let root = root(|_| {});
    let read = read(&root).map_err(|(_, fault)| fault).unwrap();
    assert_eq!(read.anchor.subject, "CN=Root");
    assert_eq!(read.anchor.fingerprint, Fingerprint::of(&root));
    assert!(read.anchor.not_before < read.anchor.not_after);
    assert_eq!(
        (read.weak_signature, read.anchor.in_use.last_handshake()),
        (None, None)
    );
    assert!(read.anchor.issuer.may_sign_lists);
}

#[test]
fn only_an_authority_is_an_anchor() {
    assert_eq!(fault(&root(|_| {})), None);
    let leaf = root(|params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(fault(&leaf), Some(AnchorFault::NotAnAuthority));
    let silent = root(|params| params.is_ca = IsCa::NoCa);
    assert_eq!(fault(&silent), Some(AnchorFault::NotAnAuthority));
}

#[test]
fn only_version_3_is_an_anchor() {
    let third = root(|_| {});
    assert_eq!(fault(&with_fields(&third, |_| {})), None);
    let first = with_fields(&third, |fields| {
        fields.remove(0);
        fields.pop();
    });
    assert_eq!(fault(&first), Some(AnchorFault::Version(1)));
    let second = with_fields(&third, |fields| {
        fields[0] = vec![0xa0, 3, 2, 1, 1];
        fields.pop();
    });
    assert_eq!(fault(&second), Some(AnchorFault::Version(2)));
}

#[test]
fn key_usage_without_the_signing_of_certificates_is_no_anchors() {
    for (usages, usable) in [
        (vec![], true),
        (vec![KeyUsagePurpose::KeyCertSign], true),
        (vec![KeyUsagePurpose::CrlSign], false),
        (vec![KeyUsagePurpose::DigitalSignature], false),
    ] {
        let certificate = root(|params| params.key_usages = usages.clone());
        let expected = (!usable).then_some(AnchorFault::KeyUsage);
        assert_eq!(fault(&certificate), expected, "{usages:?}");
    }
}

#[test]
fn critical_extension_must_be_understood() {
    for (critical, usable) in [(false, true), (true, false)] {
        let extension = unknown_extension(critical);
        let certificate = root(|params| params.custom_extensions = vec![extension]);
        let expected = AnchorFault::CriticalExtension("1.2.3.4".to_owned());
        assert_eq!(fault(&certificate), (!usable).then_some(expected));
    }
}

#[test]
fn rsa_keys_have_at_least_2048_bits() {
    for (bits, usable) in [
        (1024, false),
        (2040, false),
        (2048, true),
        (8192, true),
        (8200, false),
    ] {
        let certificate = with_fields(&root(|_| {}), |fields| fields[6] = rsa_key(bits));
        let expected = (!usable).then_some(AnchorFault::RsaBits(bits));
        assert_eq!(fault(&certificate), expected, "{bits}");
    }
}

#[test]
fn key_with_which_nothing_is_verified_is_named() {
    // Ed448, 1.3.101.113.
    let algorithm = der::with_header(tag::SEQUENCE, &[6, 3, 0x2b, 0x65, 0x71]);
    let bits = der::with_header(tag::BIT_STRING, &[0; 58]);
    let key = der::with_header(tag::SEQUENCE, &[algorithm, bits].concat());
    let certificate = with_fields(&root(|_| {}), |fields| fields[6] = key);
    assert_eq!(fault(&certificate), Some(AnchorFault::KeyKind));
}

#[test]
fn broken_hash_matters_where_another_authority_signed() {
    let root = authority("Root", 30);
    let own = with_fields(&root.certificate, |fields| fields[2] = signed_with(SHA1));
    let read = read(&own).map_err(|(_, fault)| fault).unwrap();
    assert_eq!(read.weak_signature, Some("SHA-1"));
    let below = authority("Below", 30).below(&root).certificate;
    assert_eq!(fault(&below), None);
    let forged = with_fields(&below, |fields| fields[2] = signed_with(SHA1));
    assert_eq!(fault(&forged), Some(AnchorFault::WeakSignature("SHA-1")));
}

#[test]
fn anchor_that_signed_itself_with_a_broken_hash_is_warned_about() {
    let own = with_fields(&root(|_| {}), |fields| fields[2] = signed_with(SHA1));
    let bundle = bundle_with(&[&own]).load();
    let [warning] = bundle.warnings() else {
        panic!("{:?}", bundle.warnings())
    };
    assert!(
        warning
            .to_string()
            .contains("CN=Root has signed itself with SHA-1")
    );
}

#[test]
fn every_certificate_that_cannot_be_used_is_named_in_one_go() {
    let good = root(|_| {});
    let leaf = root(|params| params.is_ca = IsCa::NoCa);
    let short = with_fields(&good, |fields| fields[6] = rsa_key(1024));
    let mut files = bundle_with(&[&good]);
    let pem: String = [&leaf, &good, &short]
        .iter()
        .map(|der| {
            let text = data_encoding::BASE64.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        })
        .collect();
    let file = files.config.ca[0].value.with_file_name("several.pem");
    std::fs::write(&file, pem).unwrap();
    files.config.ca[0].value = file;
    assert_eq!(files.problems().len(), 2);
    let refusal = files.refusal();
    for (number, reason, remedy) in [
        (1, "is not an authority", "authority that issued it"),
        (3, "has an RSA key of 1024 bits", "longer key"),
    ] {
        let named = format!("several.pem (CN=Root) {reason}");
        assert!(
            refusal.contains(&format!("certificate {number} of")),
            "{refusal}"
        );
        assert!(
            refusal.contains(&named) && refusal.contains(remedy),
            "{refusal}"
        );
    }
}

#[test]
fn use_of_an_anchor_is_counted() {
    let used = AnchorUse::default();
    assert_eq!((used.handshakes(), used.last_handshake()), (0, None));
    used.note(100);
    used.note(90);
    assert_eq!((used.handshakes(), used.last_handshake()), (2, Some(100)));
}

proptest! {
    #[test]
    fn damaged_anchor_panics_nobody(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static ROOT: std::sync::LazyLock<Der> = std::sync::LazyLock::new(|| {
            root(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign])
        });
        let mut der = ROOT.to_vec();
        let at = at.index(der.len());
        der[at] = byte;
        drop(read(&der.clone().into()).map(|read| read.anchor.subject));
        drop(Facts::read(&der.into()).map(|facts| facts.not_after));
    }
}
