//! What an expression can look at: the names, their types, and where they come from.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// The values of one request, each made when it is asked for.
///
/// Every request has a method, a path and a listener. What else it lacks is
/// `None`, and an expression that needs it has no result.
pub trait Attributes {
    /// Whether there is such a party: a caller that is not anonymous, or
    /// somebody who speaks for the caller.
    fn is_there(&self, party: Party) -> bool;

    /// A name that a party has once, or not at all.
    fn party_text(&self, party: Party, name: PartyText) -> Option<Cow<'_, str>>;

    /// The names of one kind; none for a party that is not there.
    fn party_list(&self, party: Party, list: PartyList) -> Vec<Cow<'_, str>>;

    /// When the party's certificate ends, in seconds since 1970 (UTC).
    fn not_after(&self, party: Party) -> Option<i64>;

    /// A text of the request.
    fn request_text(&self, name: RequestText) -> Option<Cow<'_, str>>;

    /// Where the request comes from; `None` from a unix socket.
    fn source(&self) -> Option<IpAddr>;
}

/// One value that an expression can look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// `caller.authenticated`, `speaker.present`.
    IsThere(Party),
    /// A name that there is once.
    Text(Party, PartyText),
    /// Names of which there can be several.
    List(Party, PartyList),
    /// When the certificate ends.
    NotAfter(Party),
    /// A text of the request.
    Request(RequestText),
    /// The address that the request comes from.
    Source,
}

/// Whose names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Party {
    /// Whoever calls.
    Caller,
    /// Whoever says that it is this caller, where it does not come by itself.
    Speaker,
}

/// What a party has once, or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartyText {
    /// The subject of the anchor that the chain rests on.
    Anchor,
    /// The SHA-256 of the certificate, in lower-case hexadecimal.
    Fingerprint,
    /// Who issued the certificate.
    Issuer,
    /// The one label that the log shows.
    Name,
    /// The SHA-256 of the public key, in lower-case hexadecimal.
    Spki,
    /// The subject of the certificate.
    Subject,
}

/// What a party can have several of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartyList {
    /// Common names of the subject.
    Cn,
    /// DNS names.
    Dns,
    /// Email addresses.
    Email,
    /// Organisations of the subject.
    O,
    /// Organisational units of the subject.
    Ou,
    /// URIs.
    Uri,
}

/// A text of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestText {
    /// The host that is asked for, without a port.
    Host,
    /// The listener's name.
    Listener,
    /// The method.
    Method,
    /// The path, without the query.
    Path,
}

/// The variables, which hold nothing but fields.
pub(super) const VARIABLES: [&str; 3] = ["caller", "speaker", "request"];

const REQUEST: [(&str, Attribute); 5] = [
    ("host", Attribute::Request(RequestText::Host)),
    ("listener", Attribute::Request(RequestText::Listener)),
    ("method", Attribute::Request(RequestText::Method)),
    ("path", Attribute::Request(RequestText::Path)),
    ("source", Attribute::Source),
];

/// The fields of a variable; none for one that is not known.
pub(super) fn fields(variable: &str) -> Vec<(&'static str, Attribute)> {
    match variable {
        "caller" => party_fields(Party::Caller),
        "speaker" => party_fields(Party::Speaker),
        "request" => REQUEST.to_vec(),
        _ => Vec::new(),
    }
}

fn party_fields(party: Party) -> Vec<(&'static str, Attribute)> {
    let text = |name| Attribute::Text(party, name);
    let list = |list| Attribute::List(party, list);
    vec![
        ("anchor", text(PartyText::Anchor)),
        (party.is_there(), Attribute::IsThere(party)),
        ("cn", list(PartyList::Cn)),
        ("dns", list(PartyList::Dns)),
        ("email", list(PartyList::Email)),
        ("fingerprint", text(PartyText::Fingerprint)),
        ("issuer", text(PartyText::Issuer)),
        ("name", text(PartyText::Name)),
        ("not_after", Attribute::NotAfter(party)),
        ("o", list(PartyList::O)),
        ("ou", list(PartyList::Ou)),
        ("spki", text(PartyText::Spki)),
        ("subject", text(PartyText::Subject)),
        ("uri", list(PartyList::Uri)),
    ]
}

impl Party {
    fn variable(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Speaker => "speaker",
        }
    }

    /// The field that says whether it is there.
    fn is_there(self) -> &'static str {
        match self {
            Self::Caller => "authenticated",
            Self::Speaker => "present",
        }
    }
}

impl PartyList {
    /// Whether these are attributes of the subject.
    pub(super) fn is_of_subject(self) -> bool {
        match self {
            Self::Cn | Self::O | Self::Ou => true,
            Self::Dns | Self::Email | Self::Uri => false,
        }
    }
}

impl Attribute {
    /// Whose it is; `None`: the request's own.
    pub fn party(self) -> Option<Party> {
        match self {
            Self::IsThere(party)
            | Self::Text(party, _)
            | Self::List(party, _)
            | Self::NotAfter(party) => Some(party),
            Self::Request(_) | Self::Source => None,
        }
    }

    /// Whether there are requests that do not have it.
    pub(super) fn may_be_unknown(self) -> bool {
        match self {
            Self::Text(..)
            | Self::NotAfter(_)
            | Self::Source
            | Self::Request(RequestText::Host) => true,
            Self::IsThere(_) | Self::List(..) | Self::Request(_) => false,
        }
    }
}

/// As it is written in an expression.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.party().map_or("request", Party::variable);
        let known = fields(variable);
        let field = known.iter().find(|(_, attribute)| attribute == self);
        write!(f, "{variable}.{}", field.map_or("", |(name, _)| *name))
    }
}
