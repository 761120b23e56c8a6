//! The path on which a chain was found good, and of each certificate on it what
//! a later bundle must know to say whether it still stands.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use webpki::{Cert, VerifiedPath};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::Parser;

use super::anchor::Anchor;
use super::revocation::{DistributionPoints, SigningKey, distribution_points, text_of_name};
use crate::identity::Fingerprint;
use crate::identity::der::{self, tag};

/// A path from a leaf to a trust anchor whose signatures were verified.
///
/// Signatures do not change, so a bundle that has the same anchor need not look
/// at them again. It is bound to the chain that it was found for.
#[derive(Debug, Eq, PartialEq)]
pub struct TrustPath {
    anchor: Fingerprint,
    /// The leaf first; the anchor is none of them.
    links: Box<[Link]>,
    not_before: i64,
    not_after: i64,
}

/// One certificate of a path, as its issuer's revocation list would speak of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Link {
    pub(super) issuer: Arc<Issuer>,
    /// The contents of the INTEGER.
    pub(super) serial: Box<[u8]>,
    pub(super) distribution_points: DistributionPoints,
    pub(super) is_leaf: bool,
}

/// Who signed a certificate, and would sign the list that revokes it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Issuer {
    /// The contents of its name, in DER.
    pub(super) name: Box<[u8]>,
    pub(super) key: SigningKey,
    /// Whether its keyUsage, if it has one, includes cRLSign (RFC 5280 §6.3.3 f).
    pub(super) may_sign_lists: bool,
}

/// What webpki reads in a certificate and does not hand out.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The first byte of the keyUsage's bits; `None` where it has none.
    key_usage: Option<u8>,
    /// The contents of the SubjectPublicKeyInfo.
    pub(super) key_info: Box<[u8]>,
    distribution_points: DistributionPoints,
}

impl TrustPath {
    /// The path that webpki has found, which ends at `anchor`.
    pub(super) fn of(path: &VerifiedPath<'_>, anchor: &Anchor) -> Result<Self, webpki::Error> {
        let (mut not_before, mut not_after) = (anchor.not_before, anchor.not_after);
        let mut issuer = Arc::clone(&anchor.issuer);
        let mut links = Vec::new();
        let leaf: &Cert<'_> = path.end_entity();
        let certificates = path.intermediate_certificates().rev();
        for (certificate, is_leaf) in certificates
            .map(|certificate| (certificate, false))
            .chain([(leaf, true)])
        {
            let facts = Facts::read(&certificate.der())?;
            not_before = not_before.max(facts.not_before);
            not_after = not_after.min(facts.not_after);
            let below = (!is_leaf).then(|| Arc::new(facts.issuer(certificate.subject())));
            links.push(Link {
                issuer: Arc::clone(&issuer),
                serial: certificate.serial().into(),
                distribution_points: facts.distribution_points,
                is_leaf,
            });
            issuer = below.unwrap_or(issuer);
        }
        links.reverse();
        Ok(Self {
            anchor: anchor.fingerprint,
            links: links.into(),
            not_before,
            not_after,
        })
    }

    /// SHA-256 of the trust anchor's certificate.
    pub fn anchor(&self) -> &Fingerprint {
        &self.anchor
    }

    /// The first second at which every certificate of it is valid, the anchor
    /// included, in Unix time.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The last second at which every certificate of it is valid, the anchor
    /// included, in Unix time.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Who issued the leaf, then who issued that, up to the anchor: RFC 4514.
    pub(super) fn issuers(&self) -> Vec<String> {
        let links = self.links.iter();
        links.map(|link| text_of_name(&link.issuer.name)).collect()
    }

    /// The leaf first.
    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }
}

impl Facts {
    /// Reads a certificate. The names in it are not judged here: those of an
    /// intermediate are nobody's identity.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, webpki::Error> {
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let Ok(([], certificate)) = parser.parse(der) else {
            return Err(webpki::Error::BadDer);
        };
        Self::of(&certificate).ok_or(webpki::Error::BadDer)
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let key_info = der::only(certificate.public_key().raw, tag::SEQUENCE).ok()?;
        let key_usage = match extension(certificate, KEY_USAGE) {
            Some(value) => {
                let bits = der::only(value, tag::BIT_STRING).ok()?.contents;
                // The first byte counts the odd bits at the end.
                Some(bits.get(1).copied().unwrap_or(0))
            }
            None => None,
        };
        Some(Self {
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            key_usage,
            key_info: key_info.contents.into(),
            distribution_points: extension(certificate, DISTRIBUTION_POINTS)
                .map(distribution_points),
        })
    }

    /// Who the certificate's owner is to those below. `name`: the contents of its subject.
    pub(super) fn issuer(&self, name: &[u8]) -> Issuer {
        Issuer {
            name: name.into(),
            key: SigningKey::new(&self.key_info),
            may_sign_lists: self.may(CRL_SIGN),
        }
    }

    /// Whether it may sign certificates, by its keyUsage, if it has one.
    pub(super) fn may_sign_certificates(&self) -> bool {
        self.may(KEY_CERT_SIGN)
    }

    /// Whether its keyUsage is one that SPIFFE has for a leaf, or what is wrong
    /// with it (X.509-SVID §4.3).
    pub(super) fn is_svid_usage(&self) -> Result<(), &'static str> {
        match self.key_usage {
            None => Err("is missing"),
            Some(bits) if bits & KEY_CERT_SIGN != 0 => Err("has keyCertSign"),
            Some(bits) if bits & CRL_SIGN != 0 => Err("has cRLSign"),
            Some(bits) if bits & DIGITAL_SIGNATURE == 0 => Err("lacks digitalSignature"),
            Some(_) => Ok(()),
        }
    }

    fn may(&self, usage: u8) -> bool {
        self.key_usage.is_none_or(|bits| bits & usage != 0)
    }
}

/// The value of the extension of this type; webpki has refused certificates that have two.
fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &[u8]) -> Option<&'a [u8]> {
    let extensions = certificate.extensions().iter();
    extensions
        .filter(|extension| extension.oid.as_bytes() == oid)
        .map(|extension| extension.value)
        .next()
}

/// id-ce-cRLDistributionPoints, 2.5.29.31, as the contents of a DER OID.
const DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
/// id-ce-keyUsage, 2.5.29.15, as the contents of a DER OID.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// Bit 0 of a keyUsage.
const DIGITAL_SIGNATURE: u8 = 0x80;
/// Bit 5 of a keyUsage (RFC 5280 §4.2.1.3).
const KEY_CERT_SIGN: u8 = 0x04;
/// Bit 6 of a keyUsage.
const CRL_SIGN: u8 = 0x02;
