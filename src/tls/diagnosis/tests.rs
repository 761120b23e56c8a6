use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, NameConstraints, PKCS_RSA_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;

use super::super::testing::lists::{
    Authority, authority, bundle_with, in_hours, now, params, unknown_extension,
};
use super::*;

/// Why `bundle` refuses this chain now.
#[track_caller]
fn refused(bundle: &Bundle, chain: &[CertificateDer<'_>]) -> Diagnosis {
    refused_at(bundle, chain, now())
}

#[track_caller]
fn refused_at(bundle: &Bundle, chain: &[CertificateDer<'_>], now: UnixTime) -> Diagnosis {
    *bundle.diagnose(chain, now).expect_err("it is refused")
}

/// A client's certificate with one thing changed.
fn leaf(by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = params(10);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &by.issuer).unwrap();
    signed.der().clone()
}

#[test]
fn chain_in_order_is_accepted_with_its_names_and_its_path() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let uri = "spiffe://prod.example/web";
    let own = leaf(&root, |params| {
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    });
    let (names, verdict) = bundle.diagnose(&[own], now()).unwrap();
    assert_eq!(names.uri(), [uri]);
    assert_eq!(verdict.path.anchor(), &bundle.anchors()[0].fingerprint);
}

#[test]
fn missing_intermediate_is_told_from_a_stranger_as_well_as_it_can_be() {
    let root = authority("Root", 30);
    let below = authority("Issuing", 20).below(&root);
    let bundle = bundle_with(&[&root.certificate]).load();
    let alone = refused(&bundle, &[below.leaf(10)]);
    assert_eq!((alone.reason, alone.step), (Refusal::Untrusted, Step::Path));
    assert!(alone.cause.contains("issued by CN=Issuing"), "{alone:?}");
    let miss = alone.nearest_miss.unwrap();
    assert!(
        miss.contains("sent its certificate alone") && miss.contains("the client must send it")
    );
    assert!(miss.contains("the bundle has CN=Root"), "{miss}");
    assert!(alone.remedy.contains("its intermediates included"));
    assert_eq!(alone.sent, 1);

    let stranger = authority("Stranger", 30);
    let own = [stranger.leaf(10), stranger.certificate.clone()];
    let found = refused(&bundle, &own);
    assert_eq!(found.reason, Refusal::Untrusted);
    assert!(
        found
            .cause
            .contains("it ends in an authority of its own, CN=Stranger"),
        "{found:?}"
    );
    assert!(found.remedy.contains("add it to trust.test"), "{found:?}");
}

#[test]
fn authority_that_was_re_keyed_is_the_nearest_miss() {
    let old = authority("Root", 30);
    let new = authority("Root", 30);
    let bundle = bundle_with(&[&old.certificate]).load();
    let found = refused(
        &bundle,
        &[leaf(&new, |params| {
            params.use_authority_key_identifier_extension = true;
        })],
    );
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Untrusted, Step::Signature)
    );
    let miss = found.nearest_miss.unwrap();
    assert!(miss.contains("an anchor with this name is in the bundle, but with another key"));
    assert!(
        miss.contains(&bundle.anchors()[0].fingerprint.to_string()),
        "{miss}"
    );
    assert!(found.remedy.contains("re-keyed"), "{}", found.remedy);
}

#[test]
fn certificate_that_was_changed_is_no_re_keyed_authority() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let own = leaf(&root, |params| {
        params.use_authority_key_identifier_extension = true
    });
    assert!(bundle.diagnose(std::slice::from_ref(&own), now()).is_ok());
    // The last byte of its signature.
    let mut forged = own.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let found = refused(&bundle, &[forged.into()]);
    assert_eq!(found.reason, Refusal::Untrusted);
    assert!(
        found
            .nearest_miss
            .unwrap()
            .contains("changed after it was signed")
    );
}

#[test]
fn dates_are_told_with_whose_they_are_and_how_far_away() {
    let root = authority("Root", 30);
    let below = authority("Issuing", 5).below(&root);
    let bundle = bundle_with(&[&root.certificate]).load();
    let own = [root.leaf(-3)];
    let found = refused(&bundle, &own);
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Expired, Step::Validity)
    );
    assert!(
        found
            .cause
            .contains("the certificate expired 3 h ago by this clock"),
        "{found:?}"
    );

    let chain = [below.leaf(10), below.certificate.clone()];
    let found = refused_at(&bundle, &chain, in_hours(7));
    assert!(
        found
            .cause
            .contains("the intermediate CN=Issuing expired 2 h ago"),
        "{found:?}"
    );
    let found = refused_at(&bundle, &[root.leaf(50)], in_hours(40));
    assert!(
        found
            .cause
            .contains("the authority CN=Root of trust.test expired 10 h ago"),
        "{found:?}"
    );
    assert!(
        found
            .remedy
            .contains("put the renewed authority into trust.test")
    );

    let early = leaf(&root, |params| {
        params.not_before =
            (std::time::SystemTime::now() + std::time::Duration::from_secs(3600)).into();
    });
    let found = refused(&bundle, &[early]);
    assert_eq!(found.reason, Refusal::NotYetValid);
    assert!(found.nearest_miss.unwrap().contains("clocks that are"));
}

#[test]
fn revocation_is_told_with_the_list_and_since_when() {
    let root = authority("Root", 30);
    let below = authority("Issuing", 20).below(&root);
    let (own, other) = (root.leaf(10), root.leaf(10));
    let bundle = bundle_with(&[&root.certificate]).list(&root.list(&[&own]));
    let bundle = bundle.load();
    assert!(bundle.diagnose(&[other], now()).is_ok());
    let found = refused(&bundle, &[own]);
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Revoked, Step::Revocation)
    );
    assert!(
        found.cause.contains("the revocation list of CN=Root"),
        "{found:?}"
    );
    assert!(found.cause.contains(", since 2"), "{found:?}");

    assert!(found.list.unwrap().ends_with("0.crl") && !found.cause.contains("0.crl"));

    let found = refused_at(&bundle, &[root.leaf(20)], in_hours(8));
    assert!(found.list.as_ref().unwrap().ends_with("0.crl"));
    assert_eq!(found.reason, Refusal::RevocationUnknown);
    assert!(
        found.cause.contains("the revocation list of CN=Root"),
        "{found:?}"
    );
    assert!(
        found.cause.contains("ran out 3 h ago") || found.cause.contains("ran out 2 h ago"),
        "{found:?}"
    );

    let found = refused(&bundle, &[below.leaf(10), below.certificate.clone()]);
    assert_eq!(found.reason, Refusal::RevocationUnknown);
    assert!(
        found
            .cause
            .contains("CN=Issuing, has no revocation list here"),
        "{found:?}"
    );
}

#[test]
fn purposes_are_named() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let found = refused(
        &bundle,
        &[leaf(&root, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })],
    );
    assert_eq!(
        (found.reason, found.step),
        (Refusal::WrongPurpose, Step::Purpose)
    );
    assert!(
        found
            .cause
            .contains("it has serverAuth, and not clientAuth"),
        "{found:?}"
    );
    assert!(found.remedy.contains("extendedKeyUsage clientAuth"));
}

#[test]
fn rules_that_authorities_set_are_told_apart() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let mut constrained = params(20);
    constrained.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    constrained
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Narrow");
    constrained.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
        excluded_subtrees: Vec::new(),
    });
    let narrow = Authority::of(constrained).below(&root);
    let named = |name: &str| {
        let name = SanType::DnsName(name.try_into().unwrap());
        leaf(&narrow, |params| params.subject_alt_names = vec![name])
    };
    let chain = |own| [own, narrow.certificate.clone()];
    assert!(
        bundle
            .diagnose(&chain(named("a.example.com")), now())
            .is_ok()
    );
    let found = refused(&bundle, &chain(named("a.example.org")));
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Malformed, Step::Constraints)
    );
    assert!(
        found
            .cause
            .contains("the intermediate CN=Narrow may not vouch"),
        "{found:?}"
    );

    let deep = authority("Deep", 10).below(&narrow);
    let long = [
        deep.leaf(5),
        deep.certificate.clone(),
        narrow.certificate.clone(),
    ];
    let found = refused(&bundle, &long);
    assert!(found.cause.contains("pathLenConstraint"), "{found:?}");

    let found = refused(
        &bundle,
        &[leaf(&root, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        })],
    );
    assert!(found.cause.contains("is an authority's"), "{found:?}");

    let found = refused(&bundle, &vec![root.leaf(10); 9]);
    assert!(
        found.cause.contains("9 certificates were sent"),
        "{found:?}"
    );
}

#[test]
fn certificates_that_cannot_be_used_are_described_as_far_as_they_can_be_read() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let own = leaf(&root, |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "strange");
        params.custom_extensions = vec![unknown_extension(true)];
    });
    let found = refused(&bundle, &[own]);
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Malformed, Step::Reading)
    );
    assert!(
        found
            .cause
            .contains("a critical extension that is not understood here (1.2.3.4)"),
        "{found:?}"
    );
    assert_eq!(found.certificate.subject.as_deref(), Some("CN=strange"));
    assert_eq!(found.certificate.issuer.as_deref(), Some("CN=Root"));

    for nonsense in [&b""[..], b"certificate", &[0x30, 0x82, 0xff, 0xff]] {
        let found = refused(&bundle, &[nonsense.into()]);
        assert_eq!(
            (found.reason, found.step),
            (Refusal::Malformed, Step::Reading)
        );
        assert_eq!(
            (found.certificate.subject, found.certificate.serial),
            (None, None)
        );
    }
    assert_eq!(refused(&bundle, &[]).reason, Refusal::Malformed);
}

#[test]
fn weak_signatures_are_named() {
    let key = || KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let mut above = params(30);
    above.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    above
        .distinguished_name
        .push(rcgen::DnType::CommonName, "RSA");
    let own_key = key();
    let root = above.self_signed(&own_key).unwrap().der().clone();
    let issuer = Issuer::new(above, own_key);
    let mut below = params(10);
    below.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = below.signed_by(&key(), &issuer).unwrap().der().clone();
    let bundle = bundle_with(&[&root]).load();
    assert!(bundle.diagnose(std::slice::from_ref(&own), now()).is_ok());
    // sha256WithRSAEncryption becomes sha1WithRSAEncryption, inside and outside.
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
    let mut weak = own.to_vec();
    while let Some(at) = weak.windows(9).position(|part| part == sha256) {
        weak[at + 8] = 5;
    }
    let found = refused(&bundle, &[weak.into()]);
    assert_eq!(
        (found.reason, found.step),
        (Refusal::Malformed, Step::Signature)
    );
    assert!(found.cause.contains("is signed with SHA-1"), "{found:?}");
    assert!(found.remedy.contains("SHA-256"));
}

#[test]
fn whatever_a_chain_says_of_itself_has_a_bound() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let stranger = authority(&"x".repeat(10_000), 30);
    let own = leaf(&stranger, |params| {
        let name = |number: u32| format!("spiffe://a.example/{number}/{}", "y".repeat(3000));
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "z".repeat(10_000));
        params.subject_alt_names = (0..200)
            .map(|number| SanType::DnsName(format!("n{number}.example").try_into().unwrap()))
            .chain([SanType::URI(name(1).try_into().unwrap())])
            .collect();
    });
    let found = refused(&bundle, &[own]);
    assert!(
        format!("{found:?}").len() < 10_000,
        "{}",
        format!("{found:?}").len()
    );
    assert_eq!(
        found.certificate.names.len() + found.certificate.more_names,
        201
    );
    assert!(found.certificate.names[0].ends_with('…'));
}
