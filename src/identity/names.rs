//! What a certificate says of itself.

use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::Parser;

use super::der::NotDer;
use super::distinguished_name;
use super::fingerprint::Fingerprint;
use super::sans::{AlternativeNames, MalformedName};

/// The names and the other identifying facts of one certificate, in canonical
/// form, as the certificate itself states them.
///
/// Reading proves nothing: the same type describes a refused certificate in a
/// log line. Only a [`VerifiedLeaf`](super::VerifiedLeaf) says that the names
/// may be relied upon.
///
/// Cheap to clone: all connections of a peer share what its certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateNames(Arc<Said>);

/// What a certificate says.
#[derive(Debug, Eq, PartialEq)]
struct Said {
    subject: String,
    issuer: String,
    serial: String,
    fingerprint: Fingerprint,
    spki: Fingerprint,
    not_before: i64,
    not_after: i64,
    authority: bool,
    alternative: AlternativeNames,
}

/// Why the names of a certificate cannot be read. Such a leaf is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnreadableCertificate {
    /// One of the alternative names refuses the leaf.
    #[error("the certificate's subject alternative names cannot be used")]
    AlternativeName(#[source] MalformedName),

    /// The bytes are not one X.509 certificate in DER.
    #[error("this is not an X.509 certificate")]
    Encoding,

    /// The issuer is not a distinguished name, or is over 16 KiB.
    #[error("the certificate's issuer cannot be read")]
    Issuer,

    /// The serial number has over 64 bytes; RFC 5280 §4.1.2.2 allows 20.
    #[error("the certificate's serial number has {bytes} bytes; at most {MAX_SERIAL} are read")]
    SerialTooLong {
        /// Its length.
        bytes: usize,
    },

    /// The subject is not a distinguished name, or is over 16 KiB.
    #[error("the certificate's subject cannot be read")]
    Subject,

    /// The certificate is over 64 KiB.
    #[error("the certificate has {bytes} bytes; at most {MAX_CERTIFICATE} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },

    /// It has two extensions of alternative names (RFC 5280 §4.2 allows one).
    #[error("the certificate has two extensions of subject alternative names")]
    TwoAlternativeNameExtensions,
}

impl CertificateNames {
    /// Reads the names out of a certificate's DER.
    ///
    /// At most 64 KiB are read, of them 16 KiB each for subject and issuer, 64
    /// bytes of serial number, and 1,000 alternative names of 8 KiB each.
    ///
    /// # Errors
    ///
    /// See [`UnreadableCertificate`]: whatever cannot be read as a whole, by the
    /// rules of [`crate::identity`], is not read at all.
    pub fn read(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self(Arc::new(Said {
            subject: distinguished(certificate.subject().as_raw())
                .map_err(|NotDer| UnreadableCertificate::Subject)?,
            issuer: distinguished(certificate.issuer().as_raw())
                .map_err(|NotDer| UnreadableCertificate::Issuer)?,
            serial: serial(certificate.raw_serial())?,
            fingerprint: Fingerprint::of(der),
            spki: Fingerprint::of(certificate.public_key().raw),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            authority: is_authority(&certificate),
            alternative: alternative_names(&certificate)?,
        })))
    }

    /// The subject, as an RFC 4514 string in printable ASCII; may be empty.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The issuer, as an RFC 4514 string in printable ASCII.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The serial number: lower-case hex of its bytes, without leading zero bytes.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// SHA-256 of the whole certificate's DER.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.0.fingerprint
    }

    /// SHA-256 of the SubjectPublicKeyInfo's DER.
    pub fn spki(&self) -> &Fingerprint {
        &self.0.spki
    }

    /// The first second of the validity, in Unix time.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// The last second of the validity, in Unix time.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// Whether it says that it may issue certificates (basicConstraints CA:TRUE,
    /// RFC 5280 §4.2.1.9).
    pub fn is_authority(&self) -> bool {
        self.0.authority
    }

    /// The DNS names: printable ASCII, lower case, no final dot.
    pub fn dns(&self) -> &[String] {
        &self.0.alternative.dns
    }

    /// The URI names: printable ASCII, scheme and authority in lower case.
    pub fn uri(&self) -> &[String] {
        &self.0.alternative.uri
    }

    /// The email names: printable ASCII, as they were written.
    pub fn email(&self) -> &[String] {
        &self.0.alternative.email
    }

    /// The user principal names: UTF-8 without control characters.
    pub fn upn(&self) -> &[String] {
        &self.0.alternative.upn
    }

    /// The IP addresses.
    pub fn ip(&self) -> &[IpAddr] {
        &self.0.alternative.ip
    }

    pub(super) fn alternative(&self) -> &AlternativeNames {
        &self.0.alternative
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, UnreadableCertificate> {
    if der.len() > MAX_CERTIFICATE {
        return Err(UnreadableCertificate::TooLarge { bytes: der.len() });
    }
    // The extensions that are read, are read here; the others are the verifier's.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    match parser.parse(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(UnreadableCertificate::Encoding),
    }
}

/// What cannot be read as a basicConstraints with CA:TRUE is not one.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let mut extensions = certificate
        .extensions()
        .iter()
        .filter(|extension| extension.oid.as_bytes() == BASIC_CONSTRAINTS);
    match (extensions.next(), extensions.next()) {
        // SEQUENCE { BOOLEAN TRUE, pathLenConstraint if any }
        (Some(only), None) => matches!(only.value, [0x30, _, 0x01, 0x01, 0xff, ..]),
        _ => false,
    }
}

fn distinguished(name: &[u8]) -> Result<String, NotDer> {
    if name.len() > MAX_DISTINGUISHED_NAME {
        return Err(NotDer);
    }
    distinguished_name::write(name)
}

fn serial(raw: &[u8]) -> Result<String, UnreadableCertificate> {
    if raw.len() > MAX_SERIAL {
        return Err(UnreadableCertificate::SerialTooLong { bytes: raw.len() });
    }
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    let significant = raw.get(zeros..).filter(|bytes| !bytes.is_empty());
    Ok(HEXLOWER.encode(significant.unwrap_or(&[0])))
}

fn alternative_names(
    certificate: &X509Certificate<'_>,
) -> Result<AlternativeNames, UnreadableCertificate> {
    let mut extensions = certificate
        .extensions()
        .iter()
        .filter(|extension| extension.oid.as_bytes() == SUBJECT_ALTERNATIVE_NAME);
    let Some(extension) = extensions.next() else {
        return Ok(AlternativeNames::default());
    };
    if extensions.next().is_some() {
        return Err(UnreadableCertificate::TwoAlternativeNameExtensions);
    }
    AlternativeNames::read(extension.value).map_err(UnreadableCertificate::AlternativeName)
}

/// id-ce-basicConstraints, 2.5.29.19, as the contents of a DER OID.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// In bytes. What rustls takes of a whole chain in its default settings.
const MAX_CERTIFICATE: usize = 64 * 1024;
/// In bytes of DER.
const MAX_DISTINGUISHED_NAME: usize = 16 * 1024;
/// In bytes.
const MAX_SERIAL: usize = 64;
/// The OID 2.5.29.17, in DER.
pub(super) const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests;
