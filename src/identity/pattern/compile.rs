//! Turns the text of a pattern into steps, in the canonical form of the names.

use super::glob::Step;
use super::units::{Symbol, unescape};
use super::{NameKind, PatternError};
use crate::identity::distinguished_name::canonical_attribute_type;
use crate::identity::fingerprint::MalformedFingerprint;
use crate::identity::sans::{canonical_dns, canonical_uri};

/// Compiles a pattern of a kind that has wildcards.
pub(super) fn pattern(kind: NameKind, text: &str) -> Result<Vec<Step>, PatternError> {
    match kind {
        NameKind::Dns => dns(text),
        NameKind::Email => email(text),
        NameKind::Uri => uri(text),
        NameKind::CommonName | NameKind::Organization | NameKind::OrganizationalUnit => {
            value(kind, text)
        }
        NameKind::Anchor | NameKind::Issuer | NameKind::Subject => subject(text),
        NameKind::Fingerprint | NameKind::Spki => {
            Err(PatternError::Fingerprint(MalformedFingerprint))
        }
    }
}

pub(super) fn dns(text: &str) -> Result<Vec<Step>, PatternError> {
    check_printable(NameKind::Dns, text)?;
    let name = canonical_dns(text);
    if name.is_empty() {
        return Err(PatternError::Nothing);
    }
    plain(&name)
}

pub(super) fn uri(text: &str) -> Result<Vec<Step>, PatternError> {
    check_printable(NameKind::Uri, text)?;
    plain(&canonical_uri(text).ok_or(PatternError::Scheme)?)
}

pub(super) fn email(text: &str) -> Result<Vec<Step>, PatternError> {
    check_printable(NameKind::Email, text)?;
    let (local, host) = text.rsplit_once('@').ok_or(PatternError::EmailAddress)?;
    if text.bytes().all(|byte| matches!(byte, b'*' | b'@' | b'.')) {
        return Err(PatternError::Everybody {
            kind: NameKind::Email,
        });
    }
    plain(&format!("{local}@{}", host.to_ascii_lowercase()))
}

/// Compiles the text of one attribute of a subject. Escapes may be written as in
/// a whole subject, and need not be.
pub(super) fn value(kind: NameKind, text: &str) -> Result<Vec<Step>, PatternError> {
    if text.bytes().all(|byte| byte == b'*') {
        return Err(PatternError::Everybody { kind });
    }
    let mut compiler = SubjectCompiler {
        rest: text,
        steps: Vec::new(),
    };
    while !compiler.rest.is_empty() {
        compiler.unit()?;
    }
    Ok(compiler.steps)
}

/// Compiles an RFC 4514 string in which wildcards may stand for whole RDNs, for
/// values and for parts of values.
pub(super) fn subject(text: &str) -> Result<Vec<Step>, PatternError> {
    let mut compiler = SubjectCompiler {
        rest: text,
        steps: Vec::new(),
    };
    loop {
        compiler.attribute_type()?;
        compiler.value()?;
        let Some(separator) = compiler.next_byte() else {
            return Ok(compiler.steps);
        };
        compiler.steps.push(Step::One(Symbol::Structure(separator)));
    }
}

fn check_printable(kind: NameKind, text: &str) -> Result<(), PatternError> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(PatternError::Unprintable { kind })
    }
}

fn plain(canonical: &str) -> Result<Vec<Step>, PatternError> {
    let mut rest = canonical;
    let mut steps = Vec::with_capacity(canonical.len());
    while !rest.is_empty() {
        match wildcard(&mut rest)? {
            Some(step) => steps.push(step),
            None => steps.extend(take_byte(&mut rest).map(|byte| Step::One(Symbol::Byte(byte)))),
        }
    }
    Ok(steps)
}

/// Takes a run of asterisks off the front.
fn wildcard(rest: &mut &str) -> Result<Option<Step>, PatternError> {
    let after = rest.trim_start_matches('*');
    let stars = rest.len() - after.len();
    *rest = after;
    match stars {
        0 => Ok(None),
        1 => Ok(Some(Step::Segment)),
        2 => Ok(Some(Step::Anything)),
        _ => Err(PatternError::Stars),
    }
}

/// Takes a byte off the front of a text that is ASCII there.
fn take_byte(rest: &mut &str) -> Option<u8> {
    let byte = rest.bytes().next()?;
    *rest = rest.get(1..)?;
    Some(byte)
}

struct SubjectCompiler<'a> {
    rest: &'a str,
    steps: Vec<Step>,
}

impl SubjectCompiler<'_> {
    /// Compiles `CN=`; nothing where a wildcard stands in its place.
    fn attribute_type(&mut self) -> Result<(), PatternError> {
        if self.rest.starts_with('*') {
            return Ok(());
        }
        let end = self.rest.find(['=', ',', '+']).unwrap_or(self.rest.len());
        let (written, after) = self.rest.split_at(end);
        let unknown = || PatternError::AttributeType {
            written: written.to_owned(),
        };
        let canonical = canonical_attribute_type(written).ok_or_else(unknown)?;
        self.rest = after.strip_prefix('=').ok_or_else(unknown)?;
        self.literal(canonical.bytes());
        self.literal([b'=']);
        if self.rest.starts_with('#') {
            self.hex_value();
        }
        Ok(())
    }

    /// Compiles the `#` of a hex value; its digits follow as a value's.
    fn hex_value(&mut self) {
        self.steps.push(Step::One(Symbol::Structure(b'#')));
        self.rest = self.rest.strip_prefix('#').unwrap_or(self.rest);
        let digits = self.rest.len()
            - self
                .rest
                .trim_start_matches(|c: char| c.is_ascii_hexdigit())
                .len();
        let (digits, after) = self.rest.split_at(digits);
        self.literal(digits.to_ascii_lowercase().bytes());
        self.rest = after;
    }

    /// Compiles up to the next unescaped separator.
    fn value(&mut self) -> Result<(), PatternError> {
        let mut ends_with_space = self.rest.starts_with(' ');
        if ends_with_space {
            return Err(PatternError::SpaceBesideSeparator);
        }
        while !self.rest.is_empty() && !self.rest.starts_with([',', '+']) {
            ends_with_space = self.rest.starts_with(' ');
            self.unit()?;
        }
        if ends_with_space {
            return Err(PatternError::SpaceBesideSeparator);
        }
        Ok(())
    }

    fn unit(&mut self) -> Result<(), PatternError> {
        if let Some(step) = wildcard(&mut self.rest)? {
            self.steps.push(step);
            return Ok(());
        }
        if let Some(escaped) = self.rest.strip_prefix('\\') {
            let mut bytes = escaped.bytes();
            let byte = unescape(&mut bytes).ok_or(PatternError::LooseEscape)?;
            self.rest = escaped
                .get(escaped.len() - bytes.len()..)
                .unwrap_or_default();
            self.literal([byte]);
            return Ok(());
        }
        let mut characters = self.rest.chars();
        if let Some(character) = characters.next() {
            self.literal(character.encode_utf8(&mut [0; 4]).bytes());
        }
        self.rest = characters.as_str();
        Ok(())
    }

    fn literal(&mut self, bytes: impl IntoIterator<Item = u8>) {
        let symbols = bytes.into_iter().map(|byte| Step::One(Symbol::Byte(byte)));
        self.steps.extend(symbols);
    }

    fn next_byte(&mut self) -> Option<u8> {
        take_byte(&mut self.rest)
    }
}
