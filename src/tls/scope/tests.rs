use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use crate::config::TrustBundle;
use crate::identity::{Assertable, NameKind, NamePattern, PeerPattern, TrustDomain};
use crate::tls::bundle::{Bundle, Objection};
use crate::tls::refusal::Refusal;
use crate::tls::testing::lists::{Authority, authority, bundle_with};

/// A leaf with one URI name that is good as an X.509-SVID, and one change.
fn leaf(
    root: &Authority,
    uri: &str,
    change: impl Fn(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, &root.issuer).unwrap().der().clone()
}

fn bundle(root: &Authority, change: impl Fn(&mut TrustBundle)) -> Bundle {
    let mut files = bundle_with(&[&root.certificate]);
    change(&mut files.config);
    files.load()
}

fn may_assert(kind: NameKind, text: &str) -> Option<Assertable> {
    let name = NamePattern::parse(kind, text).unwrap();
    Assertable::new(vec![PeerPattern::new(vec![name]).unwrap()])
}

fn verify(bundle: &Bundle, leaf: &CertificateDer<'_>) -> Result<(), Objection> {
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        bundle.verify(leaf, &[], usage, UnixTime::now())?;
    }
    Ok(())
}

const WEB: &str = "spiffe://partner.example/web";

#[test]
fn leaf_outside_of_what_the_bundle_may_assert_is_untrusted_and_told_what_it_claims() {
    let root = authority("Root", 30);
    let scoped = bundle(&root, |config| {
        config.may_assert = may_assert(NameKind::Uri, "spiffe://partner.example/*");
    });
    assert_eq!(verify(&scoped, &leaf(&root, WEB, |_| {})), Ok(()));
    let other = leaf(&root, "spiffe://prod.example/web", |_| {});
    let objection = verify(&scoped, &other).unwrap_err();
    assert_eq!(objection.reason(), Refusal::Untrusted);
    let fault = objection.into_scope();
    assert_eq!(
        fault.to_string(),
        "the certificate claims uri \"spiffe://prod.example/web\"; its chain is good, but trust.test may only assert { uri = \"spiffe://partner.example/*\" }"
    );
    assert_eq!(
        fault.remedy(),
        "have the certificate issued with such names alone, or add { uri = \"spiffe://prod.example/web\" } to may_assert of trust.test if its authorities may vouch for that"
    );
    // Nobody asks for whom somebody else's authority may vouch.
    let stranger = leaf(&authority("Root", 30), WEB, |_| {});
    assert!(matches!(
        verify(&scoped, &stranger),
        Err(Objection::Path(_))
    ));
    let open = bundle(&root, |_| {});
    assert_eq!(verify(&open, &other), Ok(()));
}

#[test]
fn path_that_stands_is_asked_once_more_for_whom_it_vouches() {
    let root = authority("Root", 30);
    let chain = [leaf(&root, WEB, |_| {})];
    let usage = KeyUsage::client_auth();
    let open = bundle(&root, |_| {});
    let now = UnixTime::now();
    let path = open.verify(&chain[0], &[], usage, now).unwrap().path;
    let scoped = |text| {
        let pattern = may_assert(NameKind::Uri, text);
        let bundle = bundle(&root, |config| config.may_assert.clone_from(&pattern));
        bundle.judge(&chain, &path, usage, now).map(drop)
    };
    assert_eq!(scoped("spiffe://partner.example/*"), Ok(()));
    assert!(matches!(
        scoped("spiffe://prod.example/*"),
        Err(Objection::Scope(_))
    ));
    let domain = bundle(&root, |config| {
        config.spiffe_trust_domain = TrustDomain::parse("prod.example").ok();
    });
    let judged = domain.judge(&chain, &path, usage, now);
    assert!(matches!(judged, Err(Objection::Scope(_))), "{judged:?}");
}

#[test]
fn leaf_of_a_trust_domain_is_an_svid_of_it() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    let root = authority("Root", 30);
    let partner = bundle(&root, |config| {
        config.spiffe_trust_domain = TrustDomain::parse("partner.example").ok();
    });
    let usages = |usages: &[KeyUsagePurpose]| {
        let usages = usages.to_vec();
        verify(
            &partner,
            &leaf(&root, WEB, |params| params.key_usages.clone_from(&usages)),
        )
    };
    let says = |outcome: Result<(), Objection>, words: &str| {
        let objection = outcome.unwrap_err();
        assert_eq!(objection.reason(), Refusal::Untrusted);
        let fault = objection.into_scope();
        let cause = fault.to_string();
        assert!(cause.contains(words), "{cause}");
        assert!(cause.contains("trust.test may only assert"), "{cause}");
        assert!(fault.remedy().contains("partner.example"));
    };
    assert_eq!(usages(&[DigitalSignature]), Ok(()));
    assert_eq!(usages(&[DigitalSignature, KeyEncipherment]), Ok(()));
    says(usages(&[]), "key usage is missing");
    says(usages(&[KeyEncipherment]), "lacks digitalSignature");
    says(usages(&[DigitalSignature, KeyCertSign]), "has keyCertSign");
    says(usages(&[DigitalSignature, CrlSign]), "has cRLSign");

    let other = leaf(&root, "spiffe://prod.example/web", |_| {});
    says(verify(&partner, &other), "of the trust domain prod.example");
    let second = |params: &mut CertificateParams| {
        let other = SanType::URI("https://partner.example/".try_into().unwrap());
        params.subject_alt_names.push(other);
    };
    says(verify(&partner, &leaf(&root, WEB, second)), "2 URI names");
    let beside = |params: &mut CertificateParams| {
        let name = SanType::DnsName("a.example".try_into().unwrap());
        params.subject_alt_names.push(name);
    };
    assert_eq!(verify(&partner, &leaf(&root, WEB, beside)), Ok(()));
    let nobody = |params: &mut CertificateParams| params.subject_alt_names.clear();
    says(verify(&partner, &leaf(&root, WEB, nobody)), "0 URI names");
    // The verifier has this rule for every leaf.
    let ca = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    assert_eq!(
        verify(&partner, &leaf(&root, WEB, ca)),
        Err(Objection::Path(webpki::Error::CaUsedAsEndEntity))
    );
}
