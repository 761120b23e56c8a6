//! Reads RFC 4514 strings: our own, and those that others assert.

use std::borrow::Cow;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{canonical_attribute_type, write_value};

/// One attribute of a distinguished name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::identity) struct Attribute {
    /// Its type, as it is written in the table or as a dotted OID.
    pub(in crate::identity) kind: Cow<'static, str>,
    /// What it holds.
    pub(in crate::identity) value: Value,
}

/// What an attribute holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::identity) enum Value {
    /// The lower-case hex of its DER.
    Der(String),
    /// A text.
    Text(String),
}

/// Reads an RFC 4514 string: RDNs in the order in which they are written, each
/// with its attributes. `None`: it is not one, or is over 64 KiB.
///
/// Space is part of a value only where it is escaped or within; a bare `"`,
/// `;`, `<`, `>` and a byte outside printable ASCII are not taken for part of
/// one, except for UTF-8, which some write as it is.
pub(in crate::identity) fn parse(text: &str) -> Option<Vec<Vec<Attribute>>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut rdns = Vec::new();
    if text.is_empty() {
        return Some(rdns);
    }
    let mut rest = text;
    loop {
        let mut rdn = Vec::new();
        let end = loop {
            let (attribute, after) = attribute(rest)?;
            rdn.push(attribute);
            match after.split_at_checked(1) {
                Some(("+", after)) => rest = after,
                other => break other,
            }
        };
        rdns.push(rdn);
        match end {
            Some((",", after)) => rest = after,
            Some(_) => return None,
            None => return Some(rdns),
        }
    }
}

/// Brings an RFC 4514 string to the form in which certificates' subjects are
/// held. `None`: it is not one.
pub(in crate::identity) fn canonical(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for (index, rdn) in parse(text)?.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        for (index, attribute) in rdn.iter().enumerate() {
            if index > 0 {
                out.push('+');
            }
            out.push_str(&attribute.kind);
            out.push('=');
            attribute.value.push(&mut out);
        }
    }
    Some(out)
}

/// Writes the values of all attributes of one type as they stand in an RFC 4514
/// string, in its order, joined by `,`. One over 64 KiB is written as it is, so
/// that it is found too large, and not taken for one without such attributes.
pub(in crate::identity) fn push_values(name: &str, kind: &str, out: &mut String) {
    let Some(rdns) = parse(name) else {
        out.push_str(name);
        return;
    };
    let attributes = rdns.into_iter().flatten();
    let values = attributes.filter(|attribute| attribute.kind == kind);
    for (index, attribute) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        attribute.value.push(out);
    }
}

impl Value {
    /// Writes it as it stands in an RFC 4514 string.
    fn push(&self, out: &mut String) {
        match self {
            Self::Der(hex) => {
                out.push('#');
                out.push_str(hex);
            }
            Self::Text(text) => write_value(text, out),
        }
    }
}

/// Takes one attribute off the front.
fn attribute(text: &str) -> Option<(Attribute, &str)> {
    let (kind, rest) = text.split_once('=')?;
    let kind = attribute_type(kind)?;
    if let Some(hex) = rest.strip_prefix('#') {
        let end = hex.find([',', '+']).unwrap_or(hex.len());
        let (hex, rest) = hex.split_at(end);
        HEXLOWER_PERMISSIVE
            .decode(hex.as_bytes())
            .ok()
            .filter(|der| !der.is_empty())?;
        let value = Value::Der(hex.to_ascii_lowercase());
        return Some((Attribute { kind, value }, rest));
    }
    let (value, rest) = value(rest)?;
    let value = Value::Text(value);
    Some((Attribute { kind, value }, rest))
}

/// A type of the table, a dotted OID, or a name that others know (RFC 4512
/// §1.4, `descr`).
fn attribute_type(written: &str) -> Option<Cow<'static, str>> {
    canonical_attribute_type(written).or_else(|| {
        let is_name = written.starts_with(|first: char| first.is_ascii_alphabetic())
            && written
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_name.then(|| Cow::Owned(written.to_owned()))
    })
}

/// Takes a value off the front, up to an unescaped `,` or `+`.
fn value(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && !rest.starts_with([',', '+']) {
        let (unit, after) = unit(rest, bytes.is_empty())?;
        bytes.extend_from_slice(unit.as_bytes());
        rest = after;
    }
    let taken = text.len() - rest.len();
    let raw = text.get(..taken)?;
    // A space at the end is escaped (RFC 4514 §2.4).
    if raw.ends_with(' ') && !raw.ends_with("\\ ") {
        return None;
    }
    Some((String::from_utf8(bytes).ok()?, rest))
}

/// One byte of a value.
enum Unit<'a> {
    Bare(&'a str),
    Escaped([u8; 1]),
}

impl Unit<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bare(text) => text.as_bytes(),
            Self::Escaped(byte) => byte,
        }
    }
}

/// Takes one character, or one escaped byte, off the front of a value.
fn unit(rest: &str, is_first: bool) -> Option<(Unit<'_>, &str)> {
    if let Some(escaped) = rest.strip_prefix('\\') {
        if let Some((pair, after)) = escaped.split_at_checked(2)
            && let Ok([byte]) = HEXLOWER_PERMISSIVE.decode(pair.as_bytes()).as_deref()
        {
            return Some((Unit::Escaped([*byte]), after));
        }
        let special = escaped.bytes().next()?;
        if !SPECIAL.contains(&special) {
            return None;
        }
        return Some((Unit::Escaped([special]), escaped.get(1..)?));
    }
    let first = rest.chars().next()?;
    let is_legal = match first {
        '"' | ';' | '<' | '>' => false,
        ' ' => !is_first,
        _ => !first.is_control(),
    };
    let (taken, after) = rest.split_at_checked(first.len_utf8())?;
    is_legal.then_some((Unit::Bare(taken), after))
}

/// What a backslash may stand before (RFC 4514 §3, `special`, and `\`).
const SPECIAL: &[u8] = b" \"#+,;<=>\\";

/// In bytes: more than a name of 16 KiB in DER has when it is written as text.
const MAX_TEXT: usize = 64 * 1024;
