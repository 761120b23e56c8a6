//! One revocation list, compact: what it says of itself, and whom it names.

use std::fmt;

use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::scope::{DistributionPoints, Scope};
use super::serials::{Serials, Unlisted};
use super::signature::{Signature, Signatures, SigningKey};
use crate::identity::der::{self, Element, NotDer, tag};
use crate::identity::{Fingerprint, rfc4514};
use crate::tls::words;

/// A complete list of the certificates that their issuer has revoked (RFC 5280 §5).
///
/// It keeps its DER and eight to sixteen bytes more for each entry. Whether it
/// is signed by an authority is asked for each authority's key, and remembered;
/// so the list outlives the bundle that it was loaded for and is not verified
/// again by the next.
pub(in crate::tls) struct RevocationList {
    der: Box<[u8]>,
    digest: Fingerprint,
    /// The contents of the issuer's name.
    issuer: Box<[u8]>,
    /// RFC 4514.
    issuer_text: String,
    /// `None`: it speaks of every certificate of its issuer.
    scope: Option<Scope>,
    facts: Facts,
    serials: Serials,
    signatures: Signatures,
}

/// What a list says about its own age.
#[derive(Debug, Eq, PartialEq)]
struct Facts {
    /// In seconds since 1970.
    this_update: i64,
    /// In seconds since 1970. From then on it is stale.
    next_update: i64,
    /// Big-endian, without leading zeros; empty where there is none.
    number: Box<[u8]>,
}

/// Why something is not a list that can be relied on.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::tls) enum ListError {
    /// Nobody could tell when it is stale.
    #[error("it does not say when the next one is due (nextUpdate, RFC 5280 section 5.1.2.5)")]
    NoNextUpdate,

    /// An entry's serial number is longer than any certificate's.
    #[error("an entry's serial number is over 255 bytes long; RFC 5280 allows 20")]
    Serial,

    /// What webpki says of it.
    #[error("{}", words::of_revocation_list(.0))]
    Unsupported(webpki::Error),
}

impl RevocationList {
    /// Reads a list from its DER: of version 2, complete, from the issuer of
    /// the certificates itself, and without a critical extension that is not
    /// understood, in the list or in any of its entries.
    pub(in crate::tls) fn read(der: &[u8]) -> Result<Self, ListError> {
        let der: Box<[u8]> = der.into();
        let list = BorrowedCertRevocationList::from_der(&der).map_err(|cause| {
            if facts(&der) == Err(FactsError::NoNextUpdate) {
                ListError::NoNextUpdate
            } else {
                ListError::Unsupported(cause)
            }
        })?;
        let damaged = |NotDer| ListError::Unsupported(webpki::Error::BadDer);
        let serials = read_serials(&der, &list)?;
        let facts = facts(&der).map_err(|_| damaged(NotDer))?;
        let list = CertRevocationList::from(list);
        let scope = list.issuing_distribution_point().map(Scope::read);
        let issuer: Box<[u8]> = list.issuer().into();
        Ok(Self {
            digest: Fingerprint::of(&der),
            issuer_text: text_of_name(&issuer),
            scope: scope.transpose().map_err(damaged)?,
            issuer,
            facts,
            serials,
            signatures: Signatures::default(),
            der,
        })
    }

    /// SHA-256 of its DER.
    pub(in crate::tls) fn digest(&self) -> &Fingerprint {
        &self.digest
    }

    /// The contents of its issuer's name, in DER.
    pub(in crate::tls) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Its issuer, as an RFC 4514 string.
    pub(in crate::tls) fn issuer_text(&self) -> &str {
        &self.issuer_text
    }

    /// Its number (RFC 5280 §5.2.3): decimal, or hex after `0x` where it has
    /// more than 128 bits.
    pub(in crate::tls) fn number(&self) -> Option<String> {
        let number = &self.facts.number;
        let mut wide = [0; 16];
        match wide.len().checked_sub(number.len()) {
            _ if number.is_empty() => None,
            Some(zeros) => {
                let low = wide.get_mut(zeros..)?;
                low.copy_from_slice(number);
                Some(u128::from_be_bytes(wide).to_string())
            }
            None => Some(format!("0x{}", data_encoding::HEXLOWER.encode(number))),
        }
    }

    /// When it was issued, in seconds since 1970.
    pub(in crate::tls) fn this_update(&self) -> i64 {
        self.facts.this_update
    }

    /// From when on it is stale, in seconds since 1970.
    pub(in crate::tls) fn next_update(&self) -> i64 {
        self.facts.next_update
    }

    /// How many certificates it names.
    pub(in crate::tls) fn entries(&self) -> usize {
        self.serials.len()
    }

    /// Whether it names the certificate of its issuer with this serial number.
    pub(in crate::tls) fn names(&self, serial: &[u8]) -> bool {
        self.serials.contains(&self.der, serial)
    }

    /// Since when the certificate with this serial number is revoked, in seconds
    /// since 1970, by the list's own word.
    pub(in crate::tls) fn revoked_since(&self, serial: &[u8]) -> Option<i64> {
        let rest = self.der.get(self.serials.end_of(&self.der, serial)?..)?;
        let (_, time) = ASN1Time::from_der(rest).ok()?;
        Some(time.timestamp())
    }

    /// Whether its issuer meant it to speak of such a certificate.
    pub(super) fn includes(&self, is_leaf: bool, points: &DistributionPoints) -> bool {
        let scope = self.scope.as_ref();
        scope.is_none_or(|scope| scope.includes(is_leaf, points))
    }

    /// Whether it speaks of the same certificates as another of the same issuer.
    pub(super) fn has_scope_of(&self, other: &Self) -> bool {
        self.scope == other.scope
    }

    /// Sorts by issuer, then by scope, then the newest first.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let age = |list: &Self| {
            let number = &list.facts.number;
            (list.facts.this_update, number.len(), number.clone())
        };
        self.issuer
            .cmp(&other.issuer)
            .then_with(|| self.scope.cmp(&other.scope))
            .then_with(|| age(other).cmp(&age(self)))
    }

    /// Whether it is signed with this key.
    pub(in crate::tls) fn signature_by(
        &self,
        key: &SigningKey,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Signature {
        self.signatures.of(&self.der, key, algorithms)
    }
}

/// Without its content: it may have a million entries.
impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("issuer", &self.issuer_text)
            .field("facts", &self.facts)
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// An RFC 4514 string of the contents of a name.
pub(in crate::tls) fn text_of_name(contents: &[u8]) -> String {
    let whole = der::with_header(tag::SEQUENCE, contents);
    rfc4514(&whole).unwrap_or_else(|NotDer| "a name that cannot be read".to_owned())
}

fn read_serials(der: &[u8], list: &BorrowedCertRevocationList<'_>) -> Result<Serials, ListError> {
    let mut fault = None;
    let serials = list.into_iter().map_while(|entry| match entry {
        Ok(entry) => Some(entry.serial_number),
        Err(cause) => {
            fault = Some(cause);
            None
        }
    });
    let serials = Serials::new(der, serials);
    match fault {
        Some(cause) => Err(ListError::Unsupported(cause)),
        None => serials.map_err(|Unlisted| ListError::Serial),
    }
}

#[derive(Debug, Eq, PartialEq)]
enum FactsError {
    NoNextUpdate,
    NotDer,
}

impl From<NotDer> for FactsError {
    fn from(NotDer: NotDer) -> Self {
        Self::NotDer
    }
}

/// Reads what webpki checks and does not hand out (RFC 5280 §5.1).
fn facts(list: &[u8]) -> Result<Facts, FactsError> {
    let mut parts = der::elements(der::only(list, tag::SEQUENCE)?.contents);
    let signed = parts.next().ok_or(NotDer)??.tagged(tag::SEQUENCE)?;
    let mut fields = der::elements(signed.contents);
    let mut field = || fields.next().ok_or(NotDer)?;
    field()?.tagged(tag::INTEGER)?;
    field()?.tagged(tag::SEQUENCE)?;
    field()?.tagged(tag::SEQUENCE)?;
    let this_update = time(field()?)?;
    let next_update = field()
        .and_then(time)
        .map_err(|NotDer| FactsError::NoNextUpdate)?;
    let mut number = Box::default();
    for field in fields {
        let field = field?;
        if field.tag == EXTENSIONS {
            number = list_number(field)?;
        }
    }
    Ok(Facts {
        this_update,
        next_update,
        number,
    })
}

fn time(field: Element<'_>) -> Result<i64, NotDer> {
    match ASN1Time::from_der(field.raw) {
        Ok(([], time)) => Ok(time.timestamp()),
        _ => Err(NotDer),
    }
}

fn list_number(extensions: Element<'_>) -> Result<Box<[u8]>, NotDer> {
    for extension in der::elements(der::only(extensions.contents, tag::SEQUENCE)?.contents) {
        let mut fields = der::elements(extension?.tagged(tag::SEQUENCE)?.contents);
        let oid = fields.next().ok_or(NotDer)??;
        let value = fields.last().ok_or(NotDer)??;
        if oid.contents == CRL_NUMBER {
            let value = value.tagged(tag::OCTET_STRING)?.contents;
            let number = der::only(value, tag::INTEGER)?.contents;
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            // The number 0 keeps one zero: it is a number.
            let zeros = zeros.min(number.len().saturating_sub(1));
            return Ok(number.get(zeros..).unwrap_or_default().into());
        }
    }
    Ok(Box::default())
}

/// `[0]`, constructed.
const EXTENSIONS: u8 = 0xa0;
/// id-ce-cRLNumber, 2.5.29.20, as the contents of a DER OID.
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
