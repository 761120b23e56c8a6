//! Traefik's `X-Forwarded-Tls-Client-Cert` and `X-Forwarded-Tls-Client-Cert-Info`
//! (its middleware `passTLSClientCert`, with everything switched on).
//!
//! The first is the chain as it was presented, each certificate in base64
//! without PEM's delimiters, joined by `,`. The second, percent-encoded as a
//! whole with `+` for space, is
//! `Subject="…";Issuer="…";SerialNumber="…";NB="…";NA="…";SAN="…"`: the parts of
//! the names that Traefik knows, in its order (`DC`, `C`, `ST`, `L`, `O`, `OU`,
//! `SN` for the serial number, `CN`), the serial number in decimal, Unix times,
//! and the alternative names, in each of them joined by `,`.
//!
//! It differs where Traefik is ambiguous or would tell what nobody has verified:
//!
//! * within a value `%`, `"`, `,`, `;`, `\` and control characters are `%XX`
//!   before the whole is encoded, since Traefik lets them stand;
//! * the second field is about the leaf alone. Traefik describes every
//!   certificate that was presented, also those that nobody has verified.

use data_encoding::{BASE64, HEXLOWER};
use http::HeaderName;

use super::escape::{attributes, is_unreserved, push_percent, values_of};
use super::{EncodeError, Fields};
use crate::identity::claim::{Identity, Names};
use crate::identity::distinguished_name::Value;

/// The names of the fields: the certificates', and the leaf's names.
pub(super) static FIELDS: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-tls-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert-info"),
];

pub(super) fn encode(identity: &Identity, fields: &mut Fields<'_>) -> Result<(), EncodeError> {
    let [certificates, info] = &FIELDS;
    let chain = identity.chain().map(|chain| {
        let chain: Vec<_> = chain.iter().map(|der| BASE64.encode(der)).collect();
        chain.join(",")
    });
    let about = about(identity.names());
    if chain.is_none() && about.is_empty() {
        return Err(EncodeError::Inexpressible {
            encoding: "traefik",
            needs: "a subject, an alternative name or a certificate",
        });
    }
    fields.push_known(certificates, chain)?;
    fields.push_known(info, Some(query_escape(&about)))
}

/// The second field before it is percent-encoded as a whole.
fn about(names: &Names) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut part = |key: &str, value: &[u8]| {
        if !value.is_empty() {
            parts.push([key.as_bytes(), b"=\"", value, b"\""].concat());
        }
    };
    let subject_kinds = ["C", "ST", "L", "O", "OU"];
    let subject = names.subject().unwrap_or_default();
    part("Subject", &distinguished(subject, &subject_kinds));
    if let Some(certificate) = names.certificate() {
        let issuer_kinds = ["C", "ST", "L", "O"];
        part(
            "Issuer",
            &distinguished(certificate.issuer(), &issuer_kinds),
        );
        part("SerialNumber", decimal(certificate.serial()).as_bytes());
        part("NB", certificate.not_before().to_string().as_bytes());
        part("NA", certificate.not_after().to_string().as_bytes());
    }
    let addresses: Vec<_> = names.ip().iter().map(ToString::to_string).collect();
    let kinds = [names.dns(), names.email(), &addresses, names.uri()];
    let all = kinds.iter().flat_map(|kind| kind.iter());
    let all: Vec<_> = all.map(|name| value(name.as_bytes())).collect();
    part("SAN", &all.join(&b','));
    parts.join(&b';')
}

/// The parts of a distinguished name that Traefik knows; those of `kinds`
/// between the first and the last two.
fn distinguished(name: &str, kinds: &[&str]) -> Vec<u8> {
    let attributes = attributes(name);
    let mut parts = Vec::new();
    let mut part = |label: &str, value: &Value| {
        let text = match value {
            Value::Der(hex) => format!("#{hex}").into_bytes(),
            Value::Text(text) if text.is_empty() => return,
            Value::Text(text) => attribute_value(text),
        };
        parts.push([label.as_bytes(), b"=", &text].concat());
    };
    for kind in ["DC"].iter().chain(kinds) {
        for value in values_of(&attributes, kind) {
            part(kind, &value);
        }
    }
    // Of these Go keeps the last.
    for (kind, label) in [("serialNumber", "SN"), ("CN", "CN")] {
        if let Some(value) = values_of(&attributes, kind).last() {
            part(label, value);
        }
    }
    parts.join(&b',')
}

/// A text that cannot be taken for the hex of another value.
fn attribute_value(text: &str) -> Vec<u8> {
    match text.strip_prefix('#') {
        Some(rest) => [&b"%23"[..], &value(rest.as_bytes())].concat(),
        None => value(text.as_bytes()),
    }
}

/// Takes away what would mean something between the quotes.
fn value(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_control() || b"%\",;\\".contains(byte) {
            let mut escaped = String::new();
            push_percent(&[*byte], |_| false, &mut escaped);
            out.extend_from_slice(escaped.as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

/// Encodes as Go's `url.QueryEscape` does.
fn query_escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' ' => out.push('+'),
            _ => push_percent(&[*byte], is_unreserved, &mut out),
        }
    }
    out
}

/// A number in hex as one in decimal.
fn decimal(hex: &str) -> String {
    let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap_or_default();
    // The least significant digit first.
    let mut digits = vec![0_u8];
    for byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or_default();
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    let digits = digits.iter().rev();
    digits.map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_decimal() {
        assert_eq!(decimal("00"), "0");
        assert_eq!(decimal("0a2b"), "2603");
        assert_eq!(decimal("ffffffffffffffffff"), "4722366482869645213695");
    }
}
