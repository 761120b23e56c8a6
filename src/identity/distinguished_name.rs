//! Writes distinguished names as RFC 4514 strings.
//!
//! # Rules
//!
//! * RDNs stand last to first, joined by `,`; the attributes of one RDN are
//!   joined by `+` (RFC 4514 §2.1, §2.2).
//! * `"`, `+`, `,`, `;`, `<`, `>`, `\` and a leading `#` are escaped by a
//!   backslash. A byte that is not printable ASCII, and a leading or trailing
//!   space, which a header field would lose, is escaped as `\XX` (§2.4).
//! * An attribute type that is not in the table is written as a dotted OID, and
//!   its value, like any value that is not a legal string, as `#` and the
//!   lower-case hex of its DER.
//!
//! So the string is printable ASCII, and an unescaped `,` or `+` always
//! separates.

use std::borrow::Cow;

use data_encoding::HEXLOWER;

use super::der::{self, Element, NotDer, tag};

mod parse;

pub(super) use parse::{Attribute, Value, canonical, parse, push_values};

/// Writes the DER of a `Name` (RFC 5280 §4.1.2.4) as an RFC 4514 string; an
/// empty name is the empty string.
pub(crate) fn write(name: &[u8]) -> Result<String, NotDer> {
    let rdns =
        der::elements(der::only(name, tag::SEQUENCE)?.contents).collect::<Result<Vec<_>, _>>()?;
    let mut out = String::new();
    for rdn in rdns.iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        write_rdn(*rdn, &mut out)?;
    }
    Ok(out)
}

/// Returns the name under which attributes of this type are written, for a
/// name in any case (`cn`) or a dotted OID (`2.5.4.3`); `None` for a name that
/// is not in the table.
pub(super) fn canonical_attribute_type(written: &str) -> Option<Cow<'static, str>> {
    for (oid, name) in ATTRIBUTE_TYPES {
        let is_this = name.eq_ignore_ascii_case(written) || dotted(oid).as_deref() == Ok(written);
        if is_this {
            return Some(Cow::Borrowed(name));
        }
    }
    let is_dotted = written.contains('.')
        && written
            .split('.')
            .all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()));
    is_dotted.then(|| Cow::Owned(written.to_owned()))
}

fn write_rdn(rdn: Element<'_>, out: &mut String) -> Result<(), NotDer> {
    let attributes = rdn.tagged(tag::SET)?.contents;
    if attributes.is_empty() {
        return Err(NotDer);
    }
    for (index, attribute) in der::elements(attributes).enumerate() {
        if index > 0 {
            out.push('+');
        }
        write_attribute(attribute?, out)?;
    }
    Ok(())
}

fn write_attribute(attribute: Element<'_>, out: &mut String) -> Result<(), NotDer> {
    let (oid, value) = der::pair(attribute.tagged(tag::SEQUENCE)?.contents)?;
    let oid = oid.tagged(tag::OBJECT_IDENTIFIER)?.contents;
    let name = ATTRIBUTE_TYPES.iter().find(|(known, _)| *known == oid);
    let text = match name {
        Some((_, name)) => {
            out.push_str(name);
            text(value)
        }
        None => {
            out.push_str(&dotted(oid)?);
            None
        }
    };
    out.push('=');
    match text {
        Some(text) => write_value(&text, out),
        None => {
            out.push('#');
            HEXLOWER.encode_append(value.raw, out);
        }
    }
    Ok(())
}

/// Returns the text of a string value, or `None` for a value of another type
/// and for bytes that are not legal in the type.
fn text(value: Element<'_>) -> Option<Cow<'_, str>> {
    match value.tag {
        tag::UTF8_STRING => std::str::from_utf8(value.contents).ok().map(Cow::from),
        // T.61 above ASCII has no one reading, so it is left to the hex form.
        tag::NUMERIC_STRING
        | tag::PRINTABLE_STRING
        | tag::TELETEX_STRING
        | tag::IA5_STRING
        | tag::VISIBLE_STRING => ascii(value.contents).map(Cow::from),
        tag::BMP_STRING => utf16(value.contents).map(Cow::from),
        tag::UNIVERSAL_STRING => utf32(value.contents).map(Cow::from),
        _ => None,
    }
}

fn ascii(contents: &[u8]) -> Option<&str> {
    std::str::from_utf8(contents)
        .ok()
        .filter(|text| text.is_ascii())
}

fn utf16(contents: &[u8]) -> Option<String> {
    let (units, []) = contents.as_chunks::<2>() else {
        return None;
    };
    let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

fn utf32(contents: &[u8]) -> Option<String> {
    let (units, []) = contents.as_chunks::<4>() else {
        return None;
    };
    units
        .iter()
        .map(|unit| char::from_u32(u32::from_be_bytes(*unit)))
        .collect()
}

fn write_value(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        let is_edge = index == 0 || index == last;
        match byte {
            b' ' if is_edge => push_hex_pair(byte, out),
            b'#' if index == 0 => out.push_str("\\#"),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => push_hex_pair(byte, out),
        }
    }
}

/// Writes `\XX`, upper case.
pub(super) fn push_hex_pair(byte: u8, out: &mut String) {
    out.push('\\');
    data_encoding::HEXUPPER.encode_append(&[byte], out);
}

/// Writes an OID in dotted form (X.690 §8.19); one with an arc over 64 bits is
/// refused, and so is one whose last arc is cut short.
fn dotted(oid: &[u8]) -> Result<String, NotDer> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    let mut is_whole = false;
    for octet in oid {
        arc = arc.checked_mul(128).ok_or(NotDer)? | u64::from(octet & 0x7f);
        is_whole = octet & 0x80 == 0;
        if is_whole {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let Some((first, rest)) = arcs.split_first().filter(|_| is_whole) else {
        return Err(NotDer);
    };
    let root = (first / 40).min(2);
    let mut out = format!("{root}.{}", first.saturating_sub(root * 40));
    for arc in rest {
        out.push('.');
        out.push_str(&arc.to_string());
    }
    Ok(out)
}

/// Attribute types with a name: those of RFC 4514 §3, then others that occur in
/// certificates, spelt as OpenSSL spells them.
const ATTRIBUTE_TYPES: [(&[u8], &str); 16] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        "emailAddress",
    ),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 97], "organizationIdentifier"),
];

#[cfg(test)]
mod tests;
