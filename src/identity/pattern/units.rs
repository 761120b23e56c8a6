//! Splits a name into the units that patterns compare: characters, each of
//! which either separates or does not.
//!
//! In a subject, an escape sequence is one unit, so a wildcard can neither end
//! in the middle of one nor take an escaped comma for a separator.

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
