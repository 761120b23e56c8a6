//! Envoy's `x-forwarded-client-cert`.
//!
//! One element, since copies from downstream are removed:
//! `Hash=<hex>;Subject="<RFC 4514>";URI=<uri>;DNS=<name>`, with a `URI` or `DNS`
//! for each such name, and a `Subject` even when it is empty, as Envoy does.
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

use super::names::CertificateNames;

/// The field's name.
pub(super) static FIELD: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Writes the value of the field.
pub(super) fn encode(names: &CertificateNames) -> String {
    let mut out = format!("Hash={};Subject=\"", names.fingerprint());
    push_subject(names.subject(), &mut out);
    out.push('"');
    for uri in names.uri() {
        out.push_str(";URI=");
        push_value(uri, &mut out);
    }
    for dns in names.dns() {
        out.push_str(";DNS=");
        push_value(dns, &mut out);
    }
    out
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
