use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};

use super::*;
use crate::config::{CrlCheck, Located, OnCrlFault, OnWithdrawal, Place, Share, TrustBundle};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn verdict_holds_until_the_first_certificate_of_the_path_ends() {
    let root = authority("Root", 30);
    let lasting = authority("Lasting", 20).below(&root);
    let brief = authority("Brief", 10).below(&root);
    let bundle = bundle_of(&[&root]);
    for (issuer, hours, end) in [(&lasting, 15, 15), (&brief, 15, 10), (&lasting, 25, 20)] {
        let leaf = issuer.leaf(hours);
        let until = verify(&bundle, &leaf, &[&issuer.certificate]).unwrap();
        let expected = now().as_secs() + end * 3600;
        assert!(expected.abs_diff(until.unsigned_abs()) < 60, "{end} h");
    }
}

#[test]
fn intermediate_whose_names_nobody_could_use_is_no_obstacle() {
    let root = authority("Root", 30);
    let mut odd = authority("Odd", 20);
    odd.params.subject_alt_names = vec![SanType::URI("two words".try_into().unwrap())];
    let odd = odd.below(&root);
    assert!(CertificateNames::read(&odd.certificate).is_err());
    let until = verify(&bundle_of(&[&root]), &odd.leaf(10), &[&odd.certificate]).unwrap();
    assert!(until > i64::try_from(now().as_secs()).unwrap());
}

#[test]
fn certificate_without_an_end_that_can_be_read_is_malformed() {
    let root = authority("Root", 30);
    not_after(&root.certificate).unwrap();
    let trailing = [&*root.certificate, &[0]].concat();
    let broken = root.certificate.get(..100).unwrap();
    for der in [&trailing, broken, &[]] {
        assert_eq!(not_after(der), Err(webpki::Error::BadDer));
    }
}

/// An authority in the making, or one that signs.
struct Authority {
    params: CertificateParams,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A root that is valid for so many hours from now; a negative number: that ended then.
fn authority(name: &str, hours: i64) -> Authority {
    let mut params = params(hours);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Authority {
        certificate: params.self_signed(&key).unwrap().der().clone(),
        issuer: Issuer::new(params.clone(), key),
        params,
    }
}

impl Authority {
    /// The same with another's signature.
    fn below(self, parent: &Self) -> Self {
        let certificate = self.params.signed_by(self.issuer.key(), &parent.issuer);
        Self {
            certificate: certificate.unwrap().der().clone(),
            ..self
        }
    }

    /// A client's leaf.
    fn leaf(&self, hours: i64) -> CertificateDer<'static> {
        let mut params = params(hours);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

fn params(hours: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (SystemTime::now() - 1000 * HOUR).into();
    let end = HOUR * u32::try_from(hours.unsigned_abs()).unwrap();
    params.not_after = if hours < 0 {
        SystemTime::now() - end
    } else {
        SystemTime::now() + end
    }
    .into();
    params
}

fn bundle_of(authorities: &[&Authority]) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    for (index, authority) in authorities.iter().enumerate() {
        let pem = data_encoding::BASE64.encode(&authority.certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        std::fs::write(folder.path().join(index.to_string()), pem).unwrap();
    }
    let place = Place::default();
    let config = TrustBundle {
        name: "test".to_owned(),
        place,
        ca: vec![Located {
            value: folder.path().to_owned(),
            place,
        }],
        crl: Vec::new(),
        crl_check: CrlCheck::Chain,
        crl_missing: OnCrlFault::Reject,
        crl_stale: OnCrlFault::Reject,
        max_shrink: Share::of_percent(50).unwrap(),
        on_withdrawal: OnWithdrawal::Drain,
        withdrawal_grace: Duration::from_secs(30),
    };
    Bundle::load(&config).unwrap()
}

fn now() -> UnixTime {
    UnixTime::now()
}

fn verify(
    bundle: &Bundle,
    leaf: &CertificateDer<'_>,
    intermediates: &[&CertificateDer<'_>],
) -> Result<i64, webpki::Error> {
    let intermediates: Vec<_> = intermediates
        .iter()
        .map(|der| (*der).clone().into_owned())
        .collect();
    bundle
        .verify(leaf, &intermediates, KeyUsage::client_auth(), now())
        .map(|verdict| verdict.good_until)
}
