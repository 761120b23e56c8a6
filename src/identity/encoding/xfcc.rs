//! Envoy's `x-forwarded-client-cert`.
//!
//! One element, since copies from downstream are removed:
//! `Hash=<hex>;Subject="<RFC 4514>";URI=<uri>;DNS=<name>`, with a `URI` or `DNS`
//! for each such name, and a `Subject` even when it is empty, as Envoy does.
//! Where they are asked for, `By` stands first, with the URI name of
//! countersign's own certificate, and `Cert` and `Chain` behind `Hash`: PEM,
//! percent-encoded, in quotes; `Chain` holds the leaf, too.
//!
//! # Escapes
//!
//! Envoy writes `URI` and `DNS` bare, and the subject between quotes without
//! further escapes. A certificate can then hold a value that its reader takes
//! for another, so this writer differs where Envoy is ambiguous:
//!
//! * a `URI` or `DNS` value with a character that means something here is
//!   quoted, with `\"` for `"`, and `\\` for a `\` before another `\`, before
//!   `"` and at the end. Envoy's own reader (its `XFCC_VALUE` formatter) gives
//!   the value back exactly;
//! * in the subject, RFC 4514's `\"` and `\\` are spelt `\22` and `\5C`, which
//!   mean the same. No `"` and no pair of backslashes is left, so that readers
//!   which know `\"`, `\\`, both or neither all see the same subject.

use http::HeaderName;

use super::EncodeError;
use super::escape::percent_pem;
use crate::identity::claim::Identity;

/// The field's name.
pub(in crate::identity) static FIELD: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");

/// The keys that are written when they are asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct XfccKeys {
    /// `By`: the URI name of countersign's own certificate.
    pub by: bool,
    /// `Cert`: the leaf.
    pub cert: bool,
    /// `Chain`: the chain as it was presented, the leaf first.
    pub chain: bool,
}

/// Writes the value of the field.
pub(super) fn encode(
    keys: XfccKeys,
    identity: &Identity,
    own: Option<&Identity>,
) -> Result<String, EncodeError> {
    let names = identity.names();
    let mut pairs = Vec::new();
    if let Some(uri) = own.and_then(|own| own.names().uri().first())
        && keys.by
    {
        pairs.push(pair("By", |out| push_value(uri, out)));
    }
    let others = pairs.len();
    if let Some(fingerprint) = names.fingerprint() {
        pairs.push(format!("Hash={fingerprint}"));
    }
    let chain = identity.chain().map_or(&[][..], |chain| chain);
    if let Some(leaf) = chain.first().filter(|_| keys.cert) {
        pairs.push(pair("Cert", |out| push_pem([leaf], out)));
    }
    if keys.chain && !chain.is_empty() {
        pairs.push(pair("Chain", |out| push_pem(chain, out)));
    }
    if let Some(subject) = names.subject() {
        let quoted = |out: &mut String| {
            out.push('"');
            push_subject(subject, out);
            out.push('"');
        };
        pairs.push(pair("Subject", quoted));
    }
    for uri in names.uri() {
        pairs.push(pair("URI", |out| push_value(uri, out)));
    }
    for dns in names.dns() {
        pairs.push(pair("DNS", |out| push_value(dns, out)));
    }
    if pairs.len() == others {
        return Err(EncodeError::Inexpressible {
            encoding: "xfcc",
            needs: "a fingerprint, a subject, a URI or a DNS name",
        });
    }
    Ok(pairs.join(";"))
}

fn pair(key: &str, write: impl FnOnce(&mut String)) -> String {
    let mut out = format!("{key}=");
    write(&mut out);
    out
}

fn push_pem<D: AsRef<[u8]>>(certificates: impl IntoIterator<Item = D>, out: &mut String) {
    out.push('"');
    for der in certificates {
        percent_pem(der.as_ref(), out);
    }
    out.push('"');
}

/// Writes an RFC 4514 string without `"` and without two backslashes together.
fn push_subject(subject: &str, out: &mut String) {
    let mut characters = subject.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('"') => out.push_str("\\22"),
            Some('\\') => out.push_str("\\5C"),
            escaped => {
                out.push('\\');
                out.extend(escaped);
            }
        }
    }
}

fn push_value(value: &str, out: &mut String) {
    if !value.is_empty() && !value.contains([',', ';', '=', '"', '\\', ' ']) {
        out.push_str(value);
        return;
    }
    out.push('"');
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let is_escape = character == '\\' && matches!(characters.peek(), None | Some('"' | '\\'));
        if character == '"' || is_escape {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
