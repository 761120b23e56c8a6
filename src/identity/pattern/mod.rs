//! The entries of a route's `allow`.
//!
//! # Wildcards
//!
//! `*` stands for one or more characters up to the next separator, `**` for one
//! or more characters, separators too. Both may stand inside a label (`web-*`).
//!
//! | kind | separators |
//! |---|---|
//! | `uri` | `/` `?` `#`; in the authority also `.` `:` `@`; without an authority also `:` |
//! | `dns` | `.` |
//! | `subject` | an unescaped `,` or `+` |
//! | `fingerprint` | no wildcards |
//!
//! A pattern that is only `*` or `**` is refused: it would match everybody who
//! has a name of that kind, and whoever is meant has a better way to say so or
//! should not. The scheme of a URI is written out. A literal `*`
//! can be written in a subject only, as `\*` or `\2A`.
//!
//! Patterns are brought to the form of the names they are compared with, so
//! `DNS` case, a final dot, `cn=` and `\2C` for `\,` make no difference.

use std::fmt;

use super::claim::Names;
use super::fingerprint::{Fingerprint, MalformedFingerprint};
use super::peer::PeerIdentity;

mod assertable;
mod compile;
mod glob;
mod units;

pub use assertable::{Assertable, Unassertable};
use glob::Glob;

/// One entry of `allow`: conditions that must all hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerPattern(Vec<NamePattern>);

/// One condition: some name of this kind matches the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePattern {
    kind: NameKind,
    written: String,
    matcher: Matcher,
}

/// Which name of a peer a condition is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NameKind {
    /// A DNS name; any one may match.
    Dns,
    /// The SHA-256 fingerprint of the leaf.
    Fingerprint,
    /// The subject, as an RFC 4514 string.
    Subject,
    /// A URI name; any one may match.
    Uri,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// The type of a subject's attribute is not known.
    #[error(
        "`{written}` is not an attribute type; write one of CN, OU, O, L, ST, C, STREET, DC, UID, emailAddress, serialNumber, SN, GN, title, postalCode, organizationIdentifier or a dotted OID, without spaces around it"
    )]
    AttributeType {
        /// What stands there.
        written: String,
    },

    /// The pattern is only `*` or `**`.
    #[error("this would match everybody who has a {kind} name")]
    Everybody {
        /// The kind of name.
        kind: NameKind,
    },

    /// The text is not a fingerprint.
    #[error(transparent)]
    Fingerprint(MalformedFingerprint),

    /// A backslash in a subject is not followed by what it escapes.
    #[error(
        "a backslash escapes the next character, or a byte written as two hex digits; nothing of the kind follows"
    )]
    LooseEscape,

    /// There is no condition, or the text of one is empty.
    #[error("nothing is written; an entry needs at least one of uri, dns, subject and fingerprint")]
    Nothing,

    /// A URI pattern has no scheme, or one with a wildcard.
    #[error("a URI begins with its scheme, written out, such as `spiffe://prod.example/*`")]
    Scheme,

    /// A value in a subject begins or ends with a bare space.
    #[error(
        "there is a space beside a separator, which no subject has; remove it, or write `\\20` if it belongs to the value"
    )]
    SpaceBesideSeparator,

    /// Three or more asterisks stand together.
    #[error("there are more than two asterisks together; `*` stops at a separator, `**` does not")]
    Stars,

    /// The pattern is over 8 KiB, or what follows its first wildcard over 500 characters.
    #[error(
        "the pattern is too long: it may have 8 KiB, and 500 characters from its first wildcard on"
    )]
    TooLong,

    /// A URI or DNS pattern has a character outside 0x21 to 0x7e.
    #[error(
        "{kind} names are printable ASCII without spaces, so this would never match; write other characters as the certificate does (%XX or xn--)"
    )]
    Unprintable {
        /// The kind of name.
        kind: NameKind,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Matcher {
    Fingerprint(Fingerprint),
    Glob(Glob),
}

impl PeerPattern {
    /// Makes an entry of conditions that must all hold.
    ///
    /// # Errors
    ///
    /// [`PatternError::Nothing`] without any condition: such an entry would
    /// match everybody.
    pub fn new(conditions: Vec<NamePattern>) -> Result<Self, PatternError> {
        if conditions.is_empty() {
            return Err(PatternError::Nothing);
        }
        Ok(Self(conditions))
    }

    /// Tells whether every condition holds for this peer. Allocates nothing; the
    /// time is at most linear in the length of the names for a given pattern.
    pub fn matches(&self, peer: &PeerIdentity) -> bool {
        self.0
            .iter()
            .all(|condition| condition.matches(peer.names()))
    }
}

impl fmt::Display for PeerPattern {
    /// Writes the entry as it stands in the config: `{ uri = "spiffe://prod.example/*" }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            let before = if index == 0 { "{ " } else { ", " };
            write!(f, "{before}{condition}")?;
        }
        f.write_str(" }")
    }
}

impl NamePattern {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// See [`PatternError`]. What could never match, or would match everybody,
    /// is an error.
    pub fn parse(kind: NameKind, text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Nothing);
        }
        if text == "*" || text == "**" {
            return Err(match kind {
                NameKind::Fingerprint => PatternError::Fingerprint(MalformedFingerprint),
                NameKind::Dns | NameKind::Subject | NameKind::Uri => {
                    PatternError::Everybody { kind }
                }
            });
        }
        let matcher = match kind {
            NameKind::Fingerprint => {
                Matcher::Fingerprint(text.parse().map_err(PatternError::Fingerprint)?)
            }
            NameKind::Dns => Matcher::Glob(Glob::new(compile::dns(text)?)?),
            NameKind::Subject => Matcher::Glob(Glob::new(compile::subject(text)?)?),
            NameKind::Uri => Matcher::Glob(Glob::new(compile::uri(text)?)?),
        };
        Ok(Self {
            kind,
            written: text.to_owned(),
            matcher,
        })
    }

    fn matches(&self, names: &Names) -> bool {
        match &self.matcher {
            Matcher::Fingerprint(fingerprint) => names.fingerprint() == Some(fingerprint),
            Matcher::Glob(glob) => self.matches_text(glob, names),
        }
    }

    fn matches_text(&self, glob: &Glob, names: &Names) -> bool {
        match self.kind {
            NameKind::Dns => names
                .dns()
                .iter()
                .any(|name| glob.matches(units::dns(name))),
            NameKind::Uri => names
                .uri()
                .iter()
                .any(|name| glob.matches(units::uri(name))),
            NameKind::Subject => names
                .subject()
                .is_some_and(|subject| glob.matches(units::subject(subject))),
            NameKind::Fingerprint => false,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"", self.kind)?;
        for character in self.written.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                _ if character.is_control() => write!(f, "\\u{:04X}", u32::from(character))?,
                _ => write!(f, "{character}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Display for NameKind {
    /// Writes the key of the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns",
            Self::Fingerprint => "fingerprint",
            Self::Subject => "subject",
            Self::Uri => "uri",
        })
    }
}

#[cfg(test)]
mod tests;
