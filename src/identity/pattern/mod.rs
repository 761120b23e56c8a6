//! Whom an entry of a route's `allow` or `deny` matches.
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
//! | `email` | `@`; behind it also `.` |
//! | `subject`, `issuer`, `anchor` | an unescaped `,` or `+` |
//! | `cn`, `ou`, `o` | none: it stays within the value |
//! | `fingerprint`, `spki`, a fingerprint in `anchor` | no wildcards |
//!
//! A pattern that is only `*` or `**` is refused: it would match everybody who
//! has a name of that kind, and whoever is meant has a better way to say so or
//! should not. The scheme of a URI is written out. A literal `*`
//! can be written in a subject and its attributes only, as `\*` or `\2A`.
//!
//! Patterns are brought to the form of the names they are compared with, so
//! `DNS` case, a final dot, `cn=` and `\2C` for `\,` make no difference.
//!
//! `cn`, `ou` and `o` look at the text of every attribute of that type, however
//! it is escaped in the subject; a value that is no text is never matched.

use std::borrow::Cow;
use std::fmt;

use super::anchor::AnchorName;
use super::claim::Names;
use super::fingerprint::{Fingerprint, MalformedFingerprint};
use super::names::CertificateNames;
use super::peer::PeerIdentity;

mod assertable;
mod compile;
mod glob;
mod near;
mod units;

pub use assertable::{Assertable, Unassertable};
use glob::Glob;
pub use near::NearMiss;

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
    /// The trust anchor that its chain rests on: the anchor's subject, or its
    /// SHA-256 fingerprint.
    Anchor,
    /// A common name in the subject; any one may match.
    CommonName,
    /// A DNS name; any one may match.
    Dns,
    /// An email address; any one may match.
    Email,
    /// The SHA-256 fingerprint of the leaf.
    Fingerprint,
    /// The issuer of the leaf, as an RFC 4514 string.
    Issuer,
    /// An organization in the subject; any one may match.
    Organization,
    /// An organizational unit in the subject; any one may match.
    OrganizationalUnit,
    /// The SHA-256 fingerprint of the leaf's SubjectPublicKeyInfo.
    Spki,
    /// The subject, as an RFC 4514 string.
    Subject,
    /// A URI name; any one may match.
    Uri,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// The text is neither a fingerprint nor a distinguished name.
    #[error(
        "an anchor is named by the SHA-256 fingerprint of its certificate (64 hex digits) or by a pattern for its subject, such as `CN=Example Root,O=Example`"
    )]
    Anchor,

    /// The type of a subject's attribute is not known.
    #[error(
        "`{written}` is not an attribute type; write one of CN, OU, O, L, ST, C, STREET, DC, UID, emailAddress, serialNumber, SN, GN, title, postalCode, organizationIdentifier or a dotted OID, without spaces around it"
    )]
    AttributeType {
        /// What stands there.
        written: String,
    },

    /// An email pattern has no `@`.
    #[error(
        "an email address has an `@`, so this would never match; write such as `*@example.com`"
    )]
    EmailAddress,

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
    #[error(
        "nothing is written; an entry needs at least one of {}",
        NameKind::all_keys()
    )]
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

    /// Tells whether every condition holds for this peer, whose chain rests on
    /// `anchor`; `None`: it is not known on which. Allocates nothing; the time is
    /// at most linear in the length of the names for a given pattern.
    pub fn matches(&self, peer: &PeerIdentity, anchor: Option<&AnchorName>) -> bool {
        let mut conditions = self.0.iter();
        conditions.all(|condition| condition.matches(peer.names(), anchor))
    }

    /// Whether everybody whom `other` matches is matched by this. A `false` may
    /// be wrong where both have wildcards, a `true` never is.
    pub fn covers(&self, other: &Self) -> bool {
        let is_implied = |condition: &NamePattern| {
            let mut others = other.0.iter();
            others.any(|narrower| condition.covers(narrower))
        };
        self.0.iter().all(is_implied)
    }

    /// Its conditions; there is at least one.
    pub fn conditions(&self) -> &[NamePattern] {
        &self.0
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
                NameKind::Fingerprint | NameKind::Spki => {
                    PatternError::Fingerprint(MalformedFingerprint)
                }
                _ => PatternError::Everybody { kind },
            });
        }
        let fingerprint = || text.parse().map_err(PatternError::Fingerprint);
        let matcher = match kind {
            NameKind::Fingerprint | NameKind::Spki => Matcher::Fingerprint(fingerprint()?),
            // A distinguished name has a `=`, and a fingerprint has none.
            NameKind::Anchor if !text.contains('=') => {
                Matcher::Fingerprint(fingerprint().map_err(|_| PatternError::Anchor)?)
            }
            _ => Matcher::Glob(Glob::new(compile::pattern(kind, text)?)?),
        };
        Ok(Self {
            kind,
            written: text.to_owned(),
            matcher,
        })
    }

    /// Which name it is about.
    pub fn kind(&self) -> NameKind {
        self.kind
    }

    fn matches(&self, names: &Names, anchor: Option<&AnchorName>) -> bool {
        match &self.matcher {
            Matcher::Fingerprint(wanted) => {
                let found = match self.kind {
                    NameKind::Anchor => anchor.map(|anchor| &anchor.fingerprint),
                    NameKind::Spki => names.certificate().map(CertificateNames::spki),
                    _ => names.fingerprint(),
                };
                found == Some(wanted)
            }
            Matcher::Glob(glob) => self.matches_text(glob, names, anchor),
        }
    }

    fn matches_text(&self, glob: &Glob, names: &Names, anchor: Option<&AnchorName>) -> bool {
        let subject =
            |subject: &str| glob.may_match(subject) && glob.matches(units::subject(subject));
        let value = |kind: &str| {
            let mut all = units::values(names.subject().unwrap_or_default(), kind);
            all.any(|value| glob.may_match(value) && glob.matches(units::value(value)))
        };
        let any = |names: &[String], matches: fn(&Glob, &str) -> bool| {
            let mut names = names.iter();
            names.any(|name| glob.may_match(name) && matches(glob, name))
        };
        match self.kind {
            NameKind::Anchor => anchor.is_some_and(|anchor| subject(&anchor.subject)),
            NameKind::CommonName => value("CN"),
            NameKind::Dns => any(names.dns(), |glob, name| glob.matches(units::dns(name))),
            NameKind::Email => any(names.email(), |glob, name| glob.matches(units::email(name))),
            NameKind::Issuer => names
                .certificate()
                .is_some_and(|certificate| subject(certificate.issuer())),
            NameKind::Organization => value("O"),
            NameKind::OrganizationalUnit => value("OU"),
            NameKind::Subject => names.subject().is_some_and(subject),
            NameKind::Uri => any(names.uri(), |glob, name| glob.matches(units::uri(name))),
            NameKind::Fingerprint | NameKind::Spki => false,
        }
    }

    /// Whether each name that `other` matches is matched by this; see
    /// [`PeerPattern::covers`].
    fn covers(&self, other: &Self) -> bool {
        if self.kind != other.kind {
            return false;
        }
        match (&self.matcher, &other.matcher) {
            (Matcher::Fingerprint(one), Matcher::Fingerprint(other)) => one == other,
            (Matcher::Glob(wide), Matcher::Glob(narrow)) => {
                wide == narrow || wide.matches(units::of_steps(self.kind, narrow.all_steps()))
            }
            _ => false,
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

impl Names {
    /// The values of the subject's attributes of one kind, as text, in order;
    /// none for a kind of which a subject has no attributes. A value that is no
    /// text is left out: patterns do not match it either.
    pub fn subject_values(&self, kind: NameKind) -> Vec<Cow<'_, str>> {
        let Some(attribute) = kind.attribute() else {
            return Vec::new();
        };
        let subject = self.subject().unwrap_or_default();
        let values = units::values(subject, attribute);
        values.filter_map(units::text).collect()
    }
}

impl NameKind {
    /// The type of the subject's attributes that it is about.
    fn attribute(self) -> Option<&'static str> {
        match self {
            Self::CommonName => Some("CN"),
            Self::Organization => Some("O"),
            Self::OrganizationalUnit => Some("OU"),
            _ => None,
        }
    }

    /// All kinds, in the order in which the config is read and shown.
    pub const ALL: [Self; 11] = [
        Self::Uri,
        Self::Dns,
        Self::Email,
        Self::Subject,
        Self::CommonName,
        Self::OrganizationalUnit,
        Self::Organization,
        Self::Issuer,
        Self::Fingerprint,
        Self::Spki,
        Self::Anchor,
    ];

    /// The key of the config.
    pub fn key(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::CommonName => "cn",
            Self::Dns => "dns",
            Self::Email => "email",
            Self::Fingerprint => "fingerprint",
            Self::Issuer => "issuer",
            Self::Organization => "o",
            Self::OrganizationalUnit => "ou",
            Self::Spki => "spki",
            Self::Subject => "subject",
            Self::Uri => "uri",
        }
    }

    fn all_keys() -> String {
        Self::ALL.map(Self::key).join(", ")
    }
}

impl fmt::Display for NameKind {
    /// Writes the key of the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

#[cfg(test)]
mod tests;
