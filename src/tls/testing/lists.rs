//! Authorities, leaves, revocation lists and bundles for the tests of this room.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::config::Files;
use crate::config::{
    CrlCheck, Located, OnCrlFault, OnWithdrawal, Place, Problem, Share, TrustBundle,
};
use crate::tls::bundle::Bundle;

const HOUR: Duration = Duration::from_secs(3600);

/// An authority in the making, or one that signs.
pub(in crate::tls) struct Authority {
    pub(in crate::tls) params: CertificateParams,
    pub(in crate::tls) issuer: Issuer<'static, KeyPair>,
    pub(in crate::tls) certificate: CertificateDer<'static>,
}

/// A root that is valid for so many hours from now; a negative number: that ended then.
pub(in crate::tls) fn authority(name: &str, hours: i64) -> Authority {
    let mut params = params(hours);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::of(params)
}

impl Authority {
    /// A self-signed one with these parameters and a key of its own.
    pub(in crate::tls) fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        // Without its keyUsage, or it would refuse to sign what others must refuse.
        let mut signing = params.clone();
        signing.key_usages = Vec::new();
        Self {
            certificate: params.self_signed(&key).unwrap().der().clone(),
            issuer: Issuer::new(signing, key),
            params,
        }
    }

    /// The same with another's signature.
    pub(in crate::tls) fn below(self, parent: &Self) -> Self {
        Self {
            certificate: self.signed_by(parent),
            ..self
        }
    }

    /// A certificate for it with another's signature.
    pub(in crate::tls) fn signed_by(&self, parent: &Self) -> CertificateDer<'static> {
        let certificate = self.params.signed_by(self.issuer.key(), &parent.issuer);
        certificate.unwrap().der().clone()
    }

    /// A client's leaf.
    pub(in crate::tls) fn leaf(&self, hours: i64) -> CertificateDer<'static> {
        self.leaf_at(hours, &[])
    }

    /// A client's leaf whose revocation list is to be found at one of these.
    pub(in crate::tls) fn leaf_at(&self, hours: i64, points: &[&str]) -> CertificateDer<'static> {
        let mut params = params(hours);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.crl_distribution_points = points.iter().map(|point| at(point)).collect();
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// A revocation list in the making: it names these, and is due again in 5 hours.
    pub(in crate::tls) fn list(&self, revoked: &[&CertificateDer<'_>]) -> TestList<'_> {
        let revoked_certs = revoked
            .iter()
            .map(|certificate| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial(certificate)),
                revocation_time: SystemTime::now().into(),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        TestList {
            authority: self,
            params: CertificateRevocationListParams {
                this_update: (SystemTime::now() - 100 * HOUR).into(),
                next_update: moment(5),
                crl_number: SerialNumber::from(7),
                issuing_distribution_point: None,
                revoked_certs,
                key_identifier_method: KeyIdMethod::Sha256,
            },
        }
    }
}

/// A revocation list in the making.
pub(in crate::tls) struct TestList<'a> {
    authority: &'a Authority,
    params: CertificateRevocationListParams,
}

impl TestList<'_> {
    /// It was issued so many hours ago.
    pub(in crate::tls) fn issued(mut self, hours_ago: u32) -> Self {
        self.params.this_update = (SystemTime::now() - HOUR * hours_ago).into();
        self
    }

    /// It is due again in so many hours; a negative number: that was then.
    pub(in crate::tls) fn due(mut self, hours: i64) -> Self {
        self.params.next_update = moment(hours);
        self
    }

    pub(in crate::tls) fn number(mut self, number: &[u8]) -> Self {
        self.params.crl_number = SerialNumber::from_slice(number);
        self
    }

    /// It is the one to be found at `uri`, for all or for some.
    pub(in crate::tls) fn at(mut self, uri: &str, scope: Option<CrlScope>) -> Self {
        self.params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: at(uri),
            scope,
        });
        self
    }

    pub(in crate::tls) fn der(&self) -> Vec<u8> {
        let signed = self.params.signed_by(&self.authority.issuer).unwrap();
        signed.der().to_vec()
    }
}

/// The files of a bundle in the making. Without a list nothing is checked.
pub(in crate::tls) struct TestBundle {
    folder: tempfile::TempDir,
    pub(in crate::tls) config: TrustBundle,
}

/// A bundle with these anchors.
pub(in crate::tls) fn bundle_with(anchors: &[&CertificateDer<'_>]) -> TestBundle {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::default();
    let mut bundle = TestBundle {
        config: TrustBundle {
            name: "test".to_owned(),
            place,
            ca: Vec::new(),
            crl: Vec::new(),
            crl_check: CrlCheck::Chain,
            crl_missing: OnCrlFault::Reject,
            enforce_crl: true,
            remember_chains: true,
            may_assert: None,
            spiffe_trust_domain: None,
            enforce_withdrawal: true,
            crl_stale: OnCrlFault::Reject,
            max_shrink: Share::of_percent(50).unwrap(),
            on_withdrawal: OnWithdrawal::Drain,
            withdrawal_grace: HOUR,
        },
        folder,
    };
    for (index, anchor) in anchors.iter().enumerate() {
        let pem = data_encoding::BASE64.encode(anchor);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        let value = bundle.folder.path().join(format!("{index}.pem"));
        std::fs::write(&value, pem).unwrap();
        bundle.config.ca.push(Located { value, place });
    }
    bundle
}

impl TestBundle {
    /// Adds a revocation list.
    pub(in crate::tls) fn list(mut self, list: &TestList<'_>) -> Self {
        self.add(&list.der());
        self
    }

    /// Adds the DER of a revocation list.
    pub(in crate::tls) fn add(&mut self, list: &[u8]) {
        let name = format!("{}.crl", self.config.crl.len());
        let value = self.folder.path().join(name);
        std::fs::write(&value, list).unwrap();
        let place = Place::default();
        self.config.crl.push(Located { value, place });
    }

    pub(in crate::tls) fn check(mut self, check: CrlCheck) -> Self {
        self.config.crl_check = check;
        self
    }

    pub(in crate::tls) fn missing(mut self, rule: OnCrlFault) -> Self {
        self.config.crl_missing = rule;
        self
    }

    pub(in crate::tls) fn stale(mut self, rule: OnCrlFault) -> Self {
        self.config.crl_stale = rule;
        self
    }

    pub(in crate::tls) fn load(&self) -> Bundle {
        Bundle::load(&self.config, &Files::new(), None).unwrap()
    }

    pub(in crate::tls) fn load_after(&self, former: &Bundle) -> Bundle {
        Bundle::load(&self.config, &Files::new(), Some(former)).unwrap()
    }

    pub(in crate::tls) fn problems(&self) -> Vec<Problem> {
        Bundle::load(&self.config, &Files::new(), None)
            .expect_err("this bundle is not to be loaded")
    }

    /// All problems, as text.
    pub(in crate::tls) fn refusal(&self) -> String {
        format!("{:#?}", self.problems())
    }
}

pub(in crate::tls) fn params(hours: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (SystemTime::now() - 1000 * HOUR).into();
    params.not_after = moment(hours);
    params
}

/// An extension that nobody knows.
pub(in crate::tls) fn unknown_extension(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

/// The contents of a certificate's serial number.
pub(in crate::tls) fn serial(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    certificate.raw_serial().to_vec()
}

pub(in crate::tls) fn now() -> UnixTime {
    UnixTime::now()
}

/// So many hours from now.
pub(in crate::tls) fn in_hours(hours: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() + hours * 3600))
}

/// Whether a time in seconds since 1970 is so many hours from now.
pub(in crate::tls) fn is_in_hours(seconds: i64, hours: i64) -> bool {
    let expected = i64::try_from(now().as_secs()).unwrap() + hours * 3600;
    expected.abs_diff(seconds) < 60
}

fn moment<T: From<SystemTime>>(hours: i64) -> T {
    let distance = HOUR * u32::try_from(hours.unsigned_abs()).unwrap();
    if hours < 0 {
        (SystemTime::now() - distance).into()
    } else {
        (SystemTime::now() + distance).into()
    }
}

fn at(uri: &str) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: vec![uri.to_owned()],
    }
}
