//! Splits a name into the units that patterns compare: characters, each of
//! which either separates or does not.
//!
//! In a subject, an escape sequence is one unit, so a wildcard can neither end
//! in the middle of one nor take an escaped comma for a separator.

use std::borrow::Cow;

use super::NameKind;
use super::glob::Step;
use crate::identity::sans::uri_authority;

/// One character of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unit {
    pub(super) symbol: Symbol,
    /// Whether `*` stops before it.
    pub(super) is_separator: bool,
}

/// What a character is compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Symbol {
    /// This byte, however it was escaped.
    Byte(u8),
    /// In a subject: an unescaped `,` or `+`, or the `#` that begins a hex value.
    Structure(u8),
    /// What stands for a wildcard when a pattern is compared with a pattern;
    /// no name has it.
    Wild,
}

impl Symbol {
    /// The byte that stands for it where nothing is escaped.
    pub(super) fn byte(self) -> Option<u8> {
        match self {
            Self::Byte(byte) | Self::Structure(byte) => Some(byte),
            Self::Wild => None,
        }
    }
}

/// The units of a canonical DNS name.
pub(super) fn dns(name: &str) -> impl Iterator<Item = Unit> {
    name.bytes().map(|byte| Unit {
        symbol: Symbol::Byte(byte),
        is_separator: byte == b'.',
    })
}

/// The units of a canonical URI.
pub(super) fn uri(uri: &str) -> impl Iterator<Item = Unit> {
    let authority = uri_authority(uri);
    uri.bytes().enumerate().map(move |(index, byte)| {
        let is_separator = match (byte, authority) {
            (b'/' | b'?' | b'#', _) | (b':', None) => true,
            (b'.' | b':' | b'@', Some((start, end))) => (start..end).contains(&index),
            _ => false,
        };
        Unit {
            symbol: Symbol::Byte(byte),
            is_separator,
        }
    })
}

/// The units of an email address: `@` separates, and so does `.` behind the last
/// one. What stands there is a host, so its case makes no difference.
pub(super) fn email(address: &str) -> impl Iterator<Item = Unit> {
    let host = address.rfind('@').unwrap_or(address.len());
    address.bytes().enumerate().map(move |(index, byte)| {
        let in_host = index > host;
        Unit {
            symbol: Symbol::Byte(if in_host {
                byte.to_ascii_lowercase()
            } else {
                byte
            }),
            is_separator: byte == b'@' || (in_host && byte == b'.'),
        }
    })
}

/// The values of the attributes of one type in an RFC 4514 string as
/// [`crate::identity`] writes them, still escaped; those that are no text are
/// left out.
pub(super) fn values<'n>(subject: &'n str, kind: &'n str) -> impl Iterator<Item = &'n str> {
    let mut rest = Some(subject);
    std::iter::from_fn(move || {
        loop {
            let (attribute, after) = first_attribute(rest?);
            rest = after;
            if let Some((of, value)) = attribute.split_once('=')
                && of == kind
                && !value.starts_with('#')
            {
                return Some(value);
            }
        }
    })
}

/// Splits at the first separator that is not escaped.
fn first_attribute(names: &str) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (index, byte) in names.bytes().enumerate() {
        match byte {
            // The second digit of a byte written in hex is no separator either.
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' | b'+' => {
                let (attribute, after) = names.split_at(index);
                return (attribute, after.get(1..));
            }
            _ => {}
        }
    }
    (names, None)
}

/// An escaped value as text; `None` if it is none.
pub(super) fn text(escaped: &str) -> Option<Cow<'_, str>> {
    if !escaped.contains('\\') {
        return Some(Cow::Borrowed(escaped));
    }
    let mut bytes = escaped.bytes();
    let mut text = Vec::with_capacity(escaped.len());
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => unescape(&mut bytes)?,
            other => other,
        });
    }
    String::from_utf8(text).ok().map(Cow::Owned)
}

/// The units of an escaped value; nothing in it separates.
pub(super) fn value(escaped: &str) -> impl Iterator<Item = Unit> {
    let mut bytes = escaped.bytes();
    std::iter::from_fn(move || {
        let byte = match bytes.next()? {
            b'\\' => unescape(&mut bytes)?,
            other => other,
        };
        Some(Unit {
            symbol: Symbol::Byte(byte),
            is_separator: false,
        })
    })
}

/// The units of an RFC 4514 string as [`crate::identity`] writes them.
pub(super) fn subject(subject: &str) -> impl Iterator<Item = Unit> {
    let mut bytes = subject.bytes();
    let mut place = Place::Type;
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        let symbol = match byte {
            b'\\' => Symbol::Byte(unescape(&mut bytes)?),
            b',' | b'+' => Symbol::Structure(byte),
            b'#' if place == Place::ValueStart => Symbol::Structure(byte),
            _ => Symbol::Byte(byte),
        };
        place = match (place, byte) {
            (_, b',' | b'+') => Place::Type,
            (Place::Type, b'=') => Place::ValueStart,
            (Place::Type, _) => Place::Type,
            (Place::ValueStart | Place::Value, _) => Place::Value,
        };
        let is_separator = matches!(symbol, Symbol::Structure(b',' | b'+'));
        Some(Unit {
            symbol,
            is_separator,
        })
    })
}

/// The units of a pattern, as of the shortest name that it matches, with
/// [`Symbol::Wild`] for each wildcard. One that may stand for separators is one.
///
/// A pattern that matches these matches whatever the wildcards stand for: of a
/// URI, what the pattern writes behind its authority is behind it in each name.
pub(super) fn of_steps(
    kind: NameKind,
    steps: impl Iterator<Item = Step>,
) -> impl Iterator<Item = Unit> {
    let steps: Vec<Step> = steps.collect();
    let text: String = steps
        .iter()
        .map(|step| match step {
            Step::One(Symbol::Byte(byte)) => char::from(*byte),
            _ => '*',
        })
        .collect();
    let separates: Vec<bool> = match kind {
        NameKind::Dns => dns(&text).map(|unit| unit.is_separator).collect(),
        NameKind::Email => email(&text).map(|unit| unit.is_separator).collect(),
        NameKind::Uri => uri(&text).map(|unit| unit.is_separator).collect(),
        _ => Vec::new(),
    };
    let mut separates = separates.into_iter();
    steps.into_iter().map(move |step| {
        let written = separates.next().unwrap_or(false);
        let (symbol, is_separator) = match step {
            Step::One(symbol @ Symbol::Structure(byte)) => (symbol, byte != b'#'),
            Step::One(symbol) => (symbol, written),
            Step::Segment => (Symbol::Wild, false),
            Step::Anything => (Symbol::Wild, true),
        };
        Unit {
            symbol,
            is_separator,
        }
    })
}

/// Where in an attribute of a subject a byte stands. Only the first `=` ends
/// the type: a value may hold more, and a `#` after those is an ordinary one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Type,
    ValueStart,
    Value,
}

/// Reads what follows a backslash: two hex digits, or the character itself.
/// `None` if neither follows.
pub(super) fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    let Some(high) = hex_digit(first) else {
        return (b' '..=b'~').contains(&first).then_some(first);
    };
    let low = hex_digit(bytes.next()?)?;
    Some(high << 4 | low)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
