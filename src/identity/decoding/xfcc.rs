//! Reads `x-forwarded-client-cert`.
//!
//! `,` separates elements and `;` pairs, outside quotes. A quote counts unless
//! an odd number of backslashes precedes it. In a quoted value `\"` and `\\` are
//! escapes, except in `Subject`, whose backslashes are those of RFC 4514: Envoy
//! puts quotes around it and escapes nothing.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use rustls_pki_types::CertificateDer;

use super::DecodeError;
use crate::identity::claim::{Chain, Identity, StatedNames};
use crate::identity::fingerprint::Fingerprint;
use crate::identity::names::CertificateNames;

/// Reads the elements of all fields in order; the last one counts.
pub(super) fn decode(values: &[&str]) -> Result<Option<Identity>, DecodeError> {
    let mut last = None;
    for value in values {
        for element in split(value, b',')? {
            last = Some(Element::read(element.trim_matches(' '))?);
        }
    }
    last.map(Element::into_identity).transpose()
}

/// What one element says. A key that was not there is not known.
#[derive(Default)]
struct Element {
    hash: Option<Fingerprint>,
    cert: Option<Vec<CertificateDer<'static>>>,
    chain: Option<Vec<CertificateDer<'static>>>,
    subject: Option<String>,
    uri: Vec<String>,
    dns: Vec<String>,
}

impl Element {
    fn read(text: &str) -> Result<Self, DecodeError> {
        let mut element = Self::default();
        for pair in split(text, b';')? {
            let (key, value) = pair
                .split_once('=')
                .ok_or(DecodeError::Malformed("a pair without `=`"))?;
            element.take(key, value)?;
        }
        Ok(element)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), DecodeError> {
        match key.to_ascii_lowercase().as_str() {
            "by" => unquote(value).map(drop),
            "hash" => {
                let hash = unquote(value)?.parse();
                let hash = hash.map_err(|_| DecodeError::Malformed("Hash is no SHA-256"))?;
                once(&mut self.hash, hash)
            }
            "cert" => once(&mut self.cert, certificates(&unquote(value)?)?),
            "chain" => once(&mut self.chain, certificates(&unquote(value)?)?),
            "subject" => once(&mut self.subject, bare(value)?.to_owned()),
            "uri" => push_named(&mut self.uri, unquote(value)?),
            "dns" => push_named(&mut self.dns, unquote(value)?),
            _ => Err(DecodeError::Malformed("a key that is not known")),
        }
    }

    fn into_identity(self) -> Result<Identity, DecodeError> {
        if self.cert.is_none() && self.chain.is_none() {
            return self.into_stated();
        }
        let cert = self.cert.as_deref().unwrap_or_default();
        let chain = self.chain.as_deref().unwrap_or_default();
        let leaf = match (cert, chain) {
            ([only], []) => only,
            ([], [first, ..]) => first,
            ([only], [first, ..]) if only == first => only,
            ([_], _) => return Err(DecodeError::Contradiction { key: "Chain" }),
            _ => return Err(DecodeError::Malformed("Cert is not one certificate")),
        };
        let names = CertificateNames::read(leaf)?;
        if self.hash.is_some_and(|hash| hash != *names.fingerprint()) {
            return Err(DecodeError::Contradiction { key: "Hash" });
        }
        self.check_names(&names)?;
        let whole = if chain.is_empty() { cert } else { chain };
        Ok(Identity::of_certificate(names, Chain::from(whole)))
    }

    /// Sees that no URI or DNS name is stated that the certificate does not
    /// have. The subject counts as the certificate has it: others may spell the
    /// same one in another way, and what they write is not looked at then.
    fn check_names(&self, names: &CertificateNames) -> Result<(), DecodeError> {
        let mut stated = StatedNames::default();
        for uri in &self.uri {
            stated.uri(uri)?;
        }
        for dns in &self.dns {
            stated.dns(dns)?;
        }
        let (uri, dns) = stated.uri_and_dns();
        if !uri.iter().all(|uri| names.uri().contains(uri)) {
            return Err(DecodeError::Contradiction { key: "URI" });
        }
        if !dns.iter().all(|dns| names.dns().contains(dns)) {
            return Err(DecodeError::Contradiction { key: "DNS" });
        }
        Ok(())
    }

    fn into_stated(self) -> Result<Identity, DecodeError> {
        let mut names = StatedNames::default();
        if let Some(hash) = self.hash {
            names.fingerprint(hash);
        }
        if let Some(subject) = &self.subject {
            names.subject(subject)?;
        }
        for uri in &self.uri {
            names.uri(uri)?;
        }
        for dns in &self.dns {
            names.dns(dns)?;
        }
        Ok(Identity::stated(names)?)
    }
}

/// Splits at a separator outside quotes.
fn split(text: &str, separator: u8) -> Result<Vec<&str>, DecodeError> {
    let mut parts = Vec::new();
    let (mut is_quoted, mut is_escaped, mut start) = (false, false, 0);
    for (index, byte) in text.bytes().enumerate() {
        if byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = byte == b'\\' && !is_escaped;
        if byte == separator && !is_quoted {
            parts.push(text.get(start..index).unwrap_or_default());
            start = index + 1;
        }
    }
    if is_quoted {
        return Err(DecodeError::Malformed("a quote stays open"));
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// The value between its quotes, or all of one that has none.
fn bare(value: &str) -> Result<&str, DecodeError> {
    let Some(inner) = value.strip_prefix('"') else {
        // A quote within would have hidden a separator.
        return match value.contains('"') {
            true => Err(DecodeError::Malformed("a quote within a value")),
            false => Ok(value),
        };
    };
    let mut is_escaped = false;
    for (index, byte) in inner.bytes().enumerate() {
        if byte == b'"' && !is_escaped {
            let (inner, rest) = inner.split_at_checked(index).unwrap_or_default();
            return match rest {
                "\"" => Ok(inner),
                _ => Err(DecodeError::Malformed("something behind a closing quote")),
            };
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    Err(DecodeError::Malformed("a quote stays open"))
}

/// The value, with `\"` and `\\` replaced if it is in quotes.
fn unquote(value: &str) -> Result<String, DecodeError> {
    let inner = bare(value)?;
    if !value.starts_with('"') {
        return Ok(inner.to_owned());
    }
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('"' | '\\')) => out.extend(characters.next()),
            _ => out.push(character),
        }
    }
    Ok(out)
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Malformed("a key stands there twice")),
    }
}

/// Envoy writes `URI=` for a certificate that has none.
fn push_named(names: &mut Vec<String>, name: String) -> Result<(), DecodeError> {
    if !name.is_empty() {
        names.push(name);
    }
    Ok(())
}

/// Reads percent-encoded PEM; there is at least one certificate.
fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, DecodeError> {
    const MALFORMED: DecodeError = DecodeError::Malformed("it holds no certificates in PEM");
    let pem = percent_decode(text).ok_or(MALFORMED)?;
    let mut rest = pem.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        if found.len() >= MAX_CHAIN {
            return Err(DecodeError::Malformed("the chain is too long"));
        }
        let (base64, after) = rest
            .strip_prefix("-----BEGIN CERTIFICATE-----")
            .and_then(|inner| inner.split_once("-----END CERTIFICATE-----"))
            .ok_or(MALFORMED)?;
        let base64: String = base64.split_ascii_whitespace().collect();
        let der = BASE64.decode(base64.as_bytes()).map_err(|_| MALFORMED)?;
        found.push(CertificateDer::from(der));
        rest = after.trim_start();
    }
    if found.is_empty() {
        return Err(MALFORMED);
    }
    Ok(found)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (pair, after) = after.split_at_checked(2)?;
        out.extend(HEXLOWER_PERMISSIVE.decode(pair).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

/// In certificates. webpki builds no path of more than six.
const MAX_CHAIN: usize = 10;
