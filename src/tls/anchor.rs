//! One trust anchor: what it is, what makes it unusable, and how much it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::anchor_from_trusted_cert;
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::Parser;

use super::diagnosis::presented;
use super::trust_path::{Facts, Issuer};
use crate::identity::der::{self, NotDer, tag};
use crate::identity::{AnchorName, CertificateNames, Fingerprint, UnreadableCertificate};
use crate::telemetry::metrics::Uses;

/// One trust anchor, as the operator knows it.
#[derive(Debug)]
pub struct Anchor {
    /// What it is called where somebody decides by it.
    pub name: Arc<AnchorName>,
    /// RFC 4514.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// The beginning of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
    /// How much it is used; goes on counting when the bundle is loaded again.
    pub in_use: Arc<AnchorUse>,
    /// Who it is to the certificates directly below it.
    pub(super) issuer: Arc<Issuer>,
    /// Its subjectKeyIdentifier (RFC 5280 §4.2.1.2), if it has one.
    pub(super) key_id: Option<Box<[u8]>>,
    /// For which names it may vouch (RFC 5280 §4.2.1.10), if it says so.
    pub(super) name_constraints: Option<String>,
}

/// How many handshakes rested on an anchor, and when the last one did.
#[derive(Debug, Default)]
pub struct AnchorUse {
    handshakes: AtomicU64,
    last: AtomicI64,
}

impl AnchorUse {
    /// Counts a handshake at `now`, in seconds since 1970.
    pub(super) fn note(&self, now: i64) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
    }
}

impl Uses for AnchorUse {
    fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    fn last_handshake(&self) -> Option<i64> {
        (self.handshakes() > 0).then(|| self.last.load(Ordering::Relaxed))
    }
}

/// Why a certificate cannot be a trust anchor. The text goes on after its subject.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum AnchorFault {
    /// It says of itself something essential that nobody here understands.
    #[error(
        "has a critical extension that is not understood here ({0}), so it cannot be a trust anchor"
    )]
    CriticalExtension(String),

    /// No signature could be verified with its key.
    #[error("has a key of a kind with which no signature is verified here")]
    KeyKind,

    /// Its keyUsage is for something else.
    #[error("may not sign certificates (its keyUsage lacks keyCertSign)")]
    KeyUsage,

    /// It is a leaf. webpki would take any certificate for an authority here: a
    /// pinned leaf could then mint identities of its own.
    #[error("is not an authority (no basicConstraints CA:TRUE), so it cannot be a trust anchor")]
    NotAnAuthority,

    /// Its RSA key is too short, or too long.
    #[error("has an RSA key of {0} bits; those of 2048 to 8192 bits are accepted")]
    RsaBits(usize),

    /// It cannot be read.
    #[error("cannot be used: {0}")]
    Unreadable(UnreadableCertificate),

    /// webpki cannot use it.
    #[error("cannot be used: {0}")]
    Unusable(webpki::Error),

    /// It is from before there were extensions, and cannot say what it is.
    #[error("is of X.509 version {0}, which cannot say that it is an authority; version 3 can")]
    Version(u32),

    /// The authority above it made it with a hash for which others can be forged.
    #[error("is signed by another authority with {0}")]
    WeakSignature(&'static str),
}

impl AnchorFault {
    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::KeyKind => {
                "use an authority with an RSA key of 2048 to 8192 bits, or an ECDSA (P-256, P-384, P-521), Ed25519 or ML-DSA key"
            }
            Self::KeyUsage => {
                "have it issued again with keyUsage keyCertSign (and cRLSign, if it issues revocation lists), or take it out of the bundle"
            }
            Self::NotAnAuthority => {
                "put the certificate of the authority that issued it into the bundle in its place"
            }
            Self::RsaBits(_) => {
                "use an authority with a longer key, or take it out of the bundle; what it signed could be forged"
            }
            Self::Version(_) => {
                "have it issued again as version 3 with basicConstraints CA:TRUE, or take it out of the bundle"
            }
            Self::WeakSignature(_) => {
                "put the root above it into the bundle, or have it issued again with SHA-256"
            }
            Self::CriticalExtension(_) | Self::Unreadable(_) | Self::Unusable(_) => {
                "correct the file, or take it out of the bundle"
            }
        }
    }
}

/// A certificate that was read for an anchor.
pub(super) struct ReadAnchor {
    pub(super) anchor: Anchor,
    pub(super) trust_anchor: TrustAnchor<'static>,
    /// The hash of its own signature upon itself, if that is a weak one.
    /// Nobody verifies it, so the anchor can be used.
    pub(super) weak_signature: Option<&'static str>,
}

/// A certificate that cannot be an anchor: its subject (RFC 4514), as far as it
/// can be read, and the reason.
pub(super) type UnusableAnchor = (Option<String>, AnchorFault);

/// Reads a certificate for an anchor.
pub(super) fn read(
    der: &CertificateDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<ReadAnchor, UnusableAnchor> {
    let names =
        CertificateNames::read(der).map_err(|cause| (None, AnchorFault::Unreadable(cause)))?;
    let fault = |fault| (Some(names.subject().to_owned()), fault);
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let Ok(([], certificate)) = parser.parse(der) else {
        return Err(fault(AnchorFault::Unusable(webpki::Error::BadDer)));
    };
    let facts = Facts::of(&certificate)
        .ok_or_else(|| fault(AnchorFault::Unusable(webpki::Error::BadDer)))?;
    check_kind(&certificate, &names, &facts).map_err(fault)?;
    check_key(&facts.key_info, algorithms).map_err(fault)?;
    let weak_signature = weak_hash(&certificate);
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    if let Some(hash) = weak_signature.filter(|_| !self_issued) {
        return Err(fault(AnchorFault::WeakSignature(hash)));
    }
    let trust_anchor = anchor_from_trusted_cert(der)
        .map_err(|cause| fault(AnchorFault::Unusable(cause)))?
        .to_owned();
    Ok(ReadAnchor {
        anchor: Anchor {
            name: Arc::new(AnchorName {
                subject: names.subject().to_owned(),
                fingerprint: *names.fingerprint(),
            }),
            subject: names.subject().to_owned(),
            fingerprint: *names.fingerprint(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            in_use: Arc::default(),
            issuer: Arc::new(facts.issuer(&trust_anchor.subject)),
            key_id: presented::subject_key_id(&certificate).map(Into::into),
            name_constraints: presented::name_constraints(&certificate),
        },
        trust_anchor,
        weak_signature,
    })
}

fn check_kind(
    certificate: &X509Certificate<'_>,
    names: &CertificateNames,
    facts: &Facts,
) -> Result<(), AnchorFault> {
    let version = certificate.version().0.saturating_add(1);
    if version != 3 {
        return Err(AnchorFault::Version(version));
    }
    if !names.is_authority() {
        return Err(AnchorFault::NotAnAuthority);
    }
    if !facts.may_sign_certificates() {
        return Err(AnchorFault::KeyUsage);
    }
    // webpki passes over those of anchors.
    let unknown = certificate
        .extensions()
        .iter()
        .find(|extension| extension.critical && !UNDERSTOOD.contains(&extension.oid.as_bytes()));
    match unknown {
        Some(extension) => Err(AnchorFault::CriticalExtension(extension.oid.to_id_string())),
        None => Ok(()),
    }
}

/// `key_info`: the contents of the SubjectPublicKeyInfo.
fn check_key(
    key_info: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), AnchorFault> {
    let (kind, bits) = der::pair(key_info).map_err(|NotDer| AnchorFault::KeyKind)?;
    let is_known = algorithms
        .iter()
        .any(|known| known.public_key_alg_id().as_ref() == kind.contents);
    if !is_known {
        return Err(AnchorFault::KeyKind);
    }
    if !kind.contents.starts_with(RSA_ENCRYPTION) {
        return Ok(());
    }
    match rsa_bits(bits.contents) {
        Ok(2048..=8192) => Ok(()),
        Ok(bits) => Err(AnchorFault::RsaBits(bits)),
        Err(NotDer) => Err(AnchorFault::KeyKind),
    }
}

/// The length of the modulus in the contents of a BIT STRING with an RSAPublicKey (RFC 8017 §A.1.1).
fn rsa_bits(bit_string: &[u8]) -> Result<usize, NotDer> {
    let (_, key) = bit_string.split_first().ok_or(NotDer)?;
    let (modulus, _) = der::pair(der::only(key, tag::SEQUENCE)?.contents)?;
    let modulus = modulus.tagged(tag::INTEGER)?.contents;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = modulus.get(zeros..).unwrap_or_default();
    let unused = significant.first().map_or(0, |first| first.leading_zeros());
    let unused = usize::try_from(unused).unwrap_or(0);
    Ok(significant.len().saturating_mul(8).saturating_sub(unused))
}

/// The hash of a certificate's signature, if others could be forged for it.
pub(super) fn weak_hash(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = certificate.signature_algorithm.algorithm.as_bytes();
    WEAK_SIGNATURES
        .iter()
        .find(|(oid, _)| *oid == algorithm)
        .map(|(_, hash)| *hash)
}

/// The extensions that are understood in an anchor, as the contents of DER OIDs:
/// key identifiers, keyUsage, alternative names, basicConstraints,
/// nameConstraints, distribution points and extKeyUsage (RFC 5280 §4.2.1).
const UNDERSTOOD: [&[u8]; 8] = [
    &[0x55, 0x1d, 0x0e],
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x13],
    &[0x55, 0x1d, 0x1e],
    &[0x55, 0x1d, 0x1f],
    &[0x55, 0x1d, 0x23],
    &[0x55, 0x1d, 0x25],
];
/// rsaEncryption, 1.2.840.113549.1.1.1, as an element.
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
];
/// Signature algorithms (RFC 3279 §2.2, OIW), as the contents of DER OIDs.
const WEAK_SIGNATURES: [(&[u8], &str); 6] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2], "MD2"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "MD5"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "SHA-1"),
    (&[0x2b, 0x0e, 3, 2, 0x1d], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "SHA-1"),
];

#[cfg(test)]
mod tests;
