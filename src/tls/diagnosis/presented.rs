//! A chain as it was presented: what its certificates say of themselves.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};
use x509_parser::nom::Parser;
use x509_parser::prelude::FromDer;

use super::super::anchor::weak_hash;
use crate::identity::der::{self, tag};
use crate::identity::{CertificateNames, Fingerprint, rfc4514};

/// What a certificate says of itself, as far as it can be read. Nothing of it
/// is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presented {
    /// RFC 4514, at most 512 characters; `None`: it cannot be read.
    pub subject: Option<String>,
    /// RFC 4514, at most 512 characters; `None`: it cannot be read.
    pub issuer: Option<String>,
    /// Its alternative names, each after its kind (`uri:spiffe://…`); at most 8
    /// of at most 256 characters.
    pub names: Vec<String>,
    /// How many more there are.
    pub more_names: usize,
    /// Lower-case hex, at most 64 digits.
    pub serial: Option<String>,
    /// SHA-256 of what was presented.
    pub fingerprint: Fingerprint,
    /// The first second of its validity, in seconds since 1970.
    pub not_before: Option<i64>,
    /// The last second of its validity, in seconds since 1970.
    pub not_after: Option<i64>,
}

impl Presented {
    /// Reads a leaf. One that countersign would not read as an identity is read
    /// as far as it goes.
    pub(in crate::tls) fn read(der: &[u8]) -> Self {
        let mut presented = Self {
            subject: None,
            issuer: None,
            names: Vec::new(),
            more_names: 0,
            serial: None,
            fingerprint: Fingerprint::of(der),
            not_before: None,
            not_after: None,
        };
        let Some(link) = Link::read(der) else {
            return presented;
        };
        let serial = data_encoding::HEXLOWER.encode(significant(link.serial()));
        presented.serial = Some(bounded(&serial, 64));
        presented.subject = link.subject_text();
        presented.issuer = link.issuer_text();
        presented.not_before = Some(link.not_before());
        presented.not_after = Some(link.not_after());
        if let Ok(names) = CertificateNames::read(der) {
            presented.add_names(&names);
        }
        presented
    }

    fn add_names(&mut self, names: &CertificateNames) {
        let kinds = [
            ("uri", names.uri()),
            ("dns", names.dns()),
            ("email", names.email()),
            ("upn", names.upn()),
        ];
        let texts = kinds
            .iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| (*kind, name.clone())));
        let addresses = names.ip().iter().map(|ip| ("ip", ip.to_string()));
        let mut all = texts.chain(addresses);
        self.names = all
            .by_ref()
            .take(MOST_NAMES)
            .map(|(kind, name)| bounded(&format!("{kind}:{name}"), LONGEST_NAME))
            .collect();
        self.more_names = all.count();
    }
}

/// A serial number without leading zero bytes, as OpenSSL prints it.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let rest = serial.get(zeros..).filter(|rest| !rest.is_empty());
    rest.unwrap_or(&[0])
}

/// One certificate of a chain.
pub(super) struct Link<'a> {
    certificate: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        if der.len() > LARGEST {
            return None;
        }
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        match parser.parse(der) {
            Ok(([], certificate)) => Some(Self { certificate }),
            _ => None,
        }
    }

    pub(super) fn subject_text(&self) -> Option<String> {
        text(self.certificate.subject().as_raw())
    }

    pub(super) fn issuer_text(&self) -> Option<String> {
        text(self.certificate.issuer().as_raw())
    }

    /// The contents of its issuer's name.
    pub(super) fn issuer(&self) -> &[u8] {
        contents(self.certificate.issuer().as_raw())
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.certificate.issuer().as_raw() == self.certificate.subject().as_raw()
    }

    pub(super) fn has_issued(&self, other: &Self) -> bool {
        self.certificate.subject().as_raw() == other.certificate.issuer().as_raw()
    }

    /// The contents of the INTEGER.
    pub(super) fn serial(&self) -> &[u8] {
        self.certificate.raw_serial()
    }

    pub(super) fn not_before(&self) -> i64 {
        self.certificate.validity().not_before.timestamp()
    }

    pub(super) fn not_after(&self) -> i64 {
        self.certificate.validity().not_after.timestamp()
    }

    /// 1, 2 or 3.
    pub(super) fn version(&self) -> u32 {
        self.certificate.version().0.saturating_add(1)
    }

    pub(super) fn weak_hash(&self) -> Option<&'static str> {
        weak_hash(&self.certificate)
    }

    /// The key that it says it was signed with (RFC 5280 §4.2.1.1).
    pub(super) fn authority_key_id(&self) -> Option<&[u8]> {
        let value = extension(&self.certificate, AUTHORITY_KEY_ID)?;
        let fields = der::only(value, tag::SEQUENCE).ok()?.contents;
        let first = der::elements(fields).next()?.ok()?;
        (first.tag == KEY_ID).then_some(first.contents)
    }

    /// Its nameConstraints in words, if it has any.
    pub(super) fn name_constraints(&self) -> Option<String> {
        name_constraints(&self.certificate)
    }

    /// Whether it says where its issuer's certificate is to be found (RFC 5280
    /// §4.2.2.1).
    pub(super) fn says_where_its_issuer_is(&self) -> bool {
        let value = extension(&self.certificate, AUTHORITY_INFORMATION);
        value.is_some_and(|value| {
            value
                .windows(CA_ISSUERS.len())
                .any(|part| part == CA_ISSUERS)
        })
    }

    /// The first critical extension that is not among those understood, as a
    /// dotted OID.
    pub(super) fn unknown_critical_extension(&self) -> Option<String> {
        let mut extensions = self.certificate.extensions().iter();
        extensions
            .find(|one| one.critical && !UNDERSTOOD.contains(&one.oid.as_bytes()))
            .map(|one| bounded(&one.oid.to_id_string(), 128))
    }

    /// The SubjectPublicKeyInfo in DER.
    pub(super) fn key_info(&self) -> &[u8] {
        self.certificate.public_key().raw
    }
}

/// The SubjectPublicKeyInfo of a certificate that webpki does not read.
pub(in crate::tls) fn key_info(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Some(Link::read(der)?.key_info().to_vec())
}

/// The subjectKeyIdentifier of a certificate.
pub(in crate::tls) fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    let value = extension(certificate, SUBJECT_KEY_ID)?;
    Some(der::only(value, tag::OCTET_STRING).ok()?.contents)
}

/// The nameConstraints of a certificate in words, if it has any (RFC 5280
/// §4.2.1.10); at most 512 characters.
pub(in crate::tls) fn name_constraints(certificate: &X509Certificate<'_>) -> Option<String> {
    let value = extension(certificate, NAME_CONSTRAINTS)?;
    let Ok((_, constraints)) = NameConstraints::from_der(value) else {
        return Some("which cannot be read".to_owned());
    };
    let listed = |word: &str, subtrees: Option<&Vec<GeneralSubtree<'_>>>| {
        let bases = subtrees?.iter().take(MOST_NAMES);
        let bases: Vec<_> = bases.map(|subtree| base(&subtree.base)).collect();
        Some(format!("{word} {}", bases.join(", ")))
    };
    let said = [
        listed("permitted", constraints.permitted_subtrees.as_ref()),
        listed("excluded", constraints.excluded_subtrees.as_ref()),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    Some(bounded(&said.join("; "), LONGEST_DN))
}

fn base(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("dns {name}"),
        GeneralName::RFC822Name(name) => format!("email {name}"),
        GeneralName::URI(name) => format!("uri {name}"),
        GeneralName::DirectoryName(name) => {
            format!("subject {}", text(name.as_raw()).unwrap_or_default())
        }
        GeneralName::IPAddress(_) => "addresses".to_owned(),
        _ => "names of another kind".to_owned(),
    }
}

/// The chain from the leaf upwards as far as the names lead: each but the leaf
/// has the name of the issuer of the one before it.
pub(super) fn climb<'c, 'a>(chain: &'c [Link<'a>]) -> Vec<&'c Link<'a>> {
    let mut path: Vec<&Link<'_>> = chain.first().into_iter().collect();
    while let Some(last) = path.last().filter(|last| !last.is_self_issued()) {
        let above = chain.iter().find(|link| {
            link.has_issued(last) && !path.iter().any(|one| std::ptr::eq(*one, *link))
        });
        match above {
            Some(above) => path.push(above),
            None => break,
        }
    }
    path
}

/// A text of which nothing beyond so many bytes is kept.
pub(super) fn bounded(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(limit));
    format!("{}…", kept.unwrap_or_default())
}

fn text(name: &[u8]) -> Option<String> {
    if name.len() > LARGEST_NAME {
        return None;
    }
    rfc4514(name).ok().map(|text| bounded(&text, LONGEST_DN))
}

fn contents(name: &[u8]) -> &[u8] {
    der::only(name, tag::SEQUENCE).map_or(&[], |name| name.contents)
}

fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &[u8]) -> Option<&'a [u8]> {
    let mut extensions = certificate.extensions().iter();
    extensions
        .find(|extension| extension.oid.as_bytes() == oid)
        .map(|extension| extension.value)
}

/// In bytes, as for identities.
const LARGEST: usize = 64 * 1024;
/// In bytes of DER.
const LARGEST_NAME: usize = 16 * 1024;
/// In bytes.
const LONGEST_DN: usize = 512;
const LONGEST_NAME: usize = 256;
const MOST_NAMES: usize = 8;

/// OIDs as the contents of their DER (RFC 5280 §4.2).
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
/// id-pe-authorityInfoAccess, 1.3.6.1.5.5.7.1.1.
const AUTHORITY_INFORMATION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-caIssuers, 1.3.6.1.5.5.7.48.2.
const CA_ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];
/// `[0]`, primitive.
const KEY_ID: u8 = 0x80;
/// The extensions that webpki understands: keyUsage, alternative names,
/// basicConstraints, nameConstraints, distribution points and extKeyUsage.
const UNDERSTOOD: [&[u8]; 6] = [
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x13],
    &[0x55, 0x1d, 0x1e],
    &[0x55, 0x1d, 0x1f],
    &[0x55, 0x1d, 0x25],
];

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn serial_loses_no_digit_but_those_of_whole_zero_bytes() {
        assert_eq!(significant(&[0, 9, 0xfa]), [9, 0xfa]);
        assert_eq!(significant(&[0, 0]), [0]);
        assert_eq!(significant(&[]), [0]);
    }
}
