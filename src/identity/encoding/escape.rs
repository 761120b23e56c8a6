//! What several encodings write in the same way.

use aws_lc_rs::digest;
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

use crate::identity::calendar::Moment;
use crate::identity::distinguished_name::{Attribute, Value, parse, push_hex_pair};

/// Writes bytes with `%XX` for those that `keep` does not hold to be themselves.
pub(super) fn push_percent(bytes: &[u8], keep: impl Fn(u8) -> bool, out: &mut String) {
    for byte in bytes {
        if keep(*byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            HEXUPPER.encode_append(&[*byte], out);
        }
    }
}

/// Whether a byte stands for itself in every part of a URI (RFC 3986 §2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A certificate in PEM (RFC 7468 §3), each line ended by `end`.
pub(super) fn pem(der: &[u8], end: &str) -> String {
    let base64 = BASE64.encode(der);
    let mut out = format!("-----BEGIN CERTIFICATE-----{end}");
    for line in base64.as_bytes().chunks(64) {
        out.extend(line.iter().copied().map(char::from));
        out.push_str(end);
    }
    out.push_str("-----END CERTIFICATE-----");
    out.push_str(end);
    out
}

/// A certificate in PEM, as part of a URI.
pub(super) fn percent_pem(der: &[u8], out: &mut String) {
    push_percent(pem(der, "\n").as_bytes(), is_unreserved, out);
}

/// SHA-1 in lower-case hex. It identifies for readers that know nothing else,
/// and nothing is decided by it here.
pub(super) fn sha1(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    HEXLOWER.encode(digest.as_ref())
}

/// Unix time in seconds as OpenSSL prints a certificate's validity:
/// `Jan  1 00:00:00 2025 GMT`.
pub(super) fn openssl_time(unix: i64) -> String {
    let moment = Moment::of(unix);
    let month = usize::try_from(moment.month).unwrap_or_default();
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"???");
    format!(
        "{month} {:2} {:02}:{:02}:{:02} {} GMT",
        moment.day, moment.hour, moment.minute, moment.second, moment.year
    )
}

/// The values of one type of a distinguished name, in the certificate's order:
/// that of the RFC 4514 string the other way about.
pub(super) fn values_of(attributes: &[Attribute], kind: &str) -> Vec<Value> {
    let of_kind = attributes.iter().filter(|one| one.kind == kind);
    of_kind.map(|one| one.value.clone()).collect()
}

/// The attributes of a distinguished name in the certificate's order.
pub(super) fn attributes(name: &str) -> Vec<Attribute> {
    let rdns = parse(name).unwrap_or_default();
    rdns.into_iter().rev().flatten().collect()
}

/// Writes the bare value of an attribute: `\XX` for `\`, for a byte that is not
/// printable ASCII, for a space at either end and for `#` at the beginning; and
/// `#` and hex for what is no text.
pub(super) fn bare_value(value: &Value) -> String {
    let text = match value {
        Value::Der(hex) => return format!("#{hex}"),
        Value::Text(text) => text,
    };
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' => push_hex_pair(byte, &mut out),
            b'#' if index == 0 => push_hex_pair(byte, &mut out),
            b' ' if index == 0 || index == last => push_hex_pair(byte, &mut out),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => push_hex_pair(byte, &mut out),
        }
    }
    out
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_openssl_does() {
        assert_eq!(openssl_time(0), "Jan  1 00:00:00 1970 GMT");
        assert_eq!(openssl_time(1_709_210_096), "Feb 29 12:34:56 2024 GMT");
        assert_eq!(openssl_time(253_402_300_799), "Dec 31 23:59:59 9999 GMT");
    }

    #[test]
    fn pem_has_lines_of_64_characters() {
        let expected = format!(
            "-----BEGIN CERTIFICATE-----\n{}\nAAAA\n-----END CERTIFICATE-----\n",
            "A".repeat(64)
        );
        assert_eq!(pem(&[0; 51], "\n"), expected);
    }

    #[test]
    fn sha1_of_nothing_is_the_known_digest() {
        assert_eq!(sha1(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
