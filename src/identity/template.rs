//! Identity fields of the operator's own: names and templates.
//!
//! # Values
//!
//! Several values of one kind are joined by `,`. Within a value `\` is written
//! `\\`, `,` is written `\,`, and a byte outside 0x21 to 0x7e as `\XX`, so no
//! certificate can make one value look like two. Subject and issuer are RFC 4514
//! strings, which escape for themselves; attributes of the subject are written as
//! they stand in it.
//!
//! A field whose placeholders are all empty for a caller is not sent; one
//! without placeholders is sent for every caller that has an identity.

use std::fmt::Write;

use http::HeaderName;

use super::calendar::Moment;
use super::claim::Names;
use super::distinguished_name::{push_hex_pair, push_values};
use super::fields::fold_field_name;
use super::names::CertificateNames;

/// A table of field names and templates; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderTemplates(Vec<Template>);

/// A text with placeholders, such as `"{uri}"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TextTemplate(Vec<Piece>);

/// Which entry of the table cannot be used, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{name}`: {cause}")]
pub struct TemplateError {
    /// The name of the entry, as it was written; empty for the table itself.
    pub name: String,
    /// What is wrong with it.
    pub cause: TemplateCause,
}

/// Why an entry of the table cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateCause {
    /// A brace has no partner.
    #[error("a brace has no partner; write `{{{{` and `}}}}` for braces that are meant as such")]
    Brace,

    /// Two entries have names that upstreams may take for the same.
    #[error("an earlier entry has this name, or one that a legacy server takes for the same")]
    Duplicate,

    /// The table has no entry.
    #[error(
        "the table is empty, so no identity would be sent; add an entry such as X-Client-Subject = \"{{subject}}\""
    )]
    Empty,

    /// The text around the placeholders cannot stand in a field.
    #[error("the text may have printable ASCII and spaces, and no space at either end")]
    IllegalText,

    /// The name is not a field name (RFC 9110 §5.1).
    #[error("this is not a header field name")]
    IllegalName,

    /// The field has another meaning, which an identity would break.
    #[error(
        "this field governs the connection, the message or its authentication, and cannot carry an identity; choose another name"
    )]
    ReservedName,

    /// The placeholder is not known.
    #[error("`{{{placeholder}}}` is not known; there are {KNOWN}")]
    UnknownPlaceholder {
        /// What stands between the braces.
        placeholder: String,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Template {
    name: HeaderName,
    text: TextTemplate,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Placeholder {
    CommonName,
    Dns,
    Email,
    Fingerprint,
    Ip,
    Issuer,
    NotAfter,
    NotBefore,
    Organization,
    OrganizationalUnit,
    Serial,
    Speaker,
    Spki,
    Subject,
    Upn,
    Uri,
}

impl HeaderTemplates {
    /// Reads a table of names and templates, such as
    /// `("X-Client-Subject", "{subject}")`.
    ///
    /// # Errors
    ///
    /// The first entry that cannot be used, see [`TemplateCause`].
    pub fn parse(entries: &[(String, String)]) -> Result<Self, TemplateError> {
        let mut templates: Vec<Template> = Vec::with_capacity(entries.len());
        for (name, text) in entries {
            let failed = |cause| TemplateError {
                name: name.clone(),
                cause,
            };
            let template = Template::parse(name, text).map_err(failed)?;
            let folded = fold_field_name(template.name.as_str());
            if templates
                .iter()
                .any(|other| fold_field_name(other.name.as_str()) == folded)
            {
                return Err(failed(TemplateCause::Duplicate));
            }
            templates.push(template);
        }
        if templates.is_empty() {
            return Err(TemplateError {
                name: String::new(),
                cause: TemplateCause::Empty,
            });
        }
        Ok(Self(templates))
    }

    /// The names of the fields.
    pub(super) fn field_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|template| &template.name)
    }

    /// Fills the templates in; fields whose placeholders are all empty are left out.
    pub(super) fn render(
        &self,
        names: &Names,
        speaker: Option<&str>,
    ) -> impl Iterator<Item = (&HeaderName, String)> {
        self.0.iter().filter_map(move |template| {
            Some((&template.name, template.text.render(names, speaker)?))
        })
    }
}

/// Several names of one kind as a placeholder writes them.
pub fn joined(names: &[String]) -> String {
    let mut out = String::new();
    push_list(names, &mut out);
    out
}

/// Writes a name so that it can stand in a list joined by `,`.
pub(super) fn push_escaped(name: &str, out: &mut String) {
    for byte in name.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b',' => out.push_str("\\,"),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => push_hex_pair(byte, out),
        }
    }
}

impl Template {
    fn parse(name: &str, text: &str) -> Result<Self, TemplateCause> {
        let field =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| TemplateCause::IllegalName)?;
        if is_reserved_field(&field) {
            return Err(TemplateCause::ReservedName);
        }
        Ok(Self {
            name: field,
            text: TextTemplate::parse(text)?,
        })
    }
}

impl TextTemplate {
    /// Reads a text with placeholders.
    ///
    /// # Errors
    ///
    /// [`TemplateCause::Brace`], [`TemplateCause::IllegalText`] and
    /// [`TemplateCause::UnknownPlaceholder`].
    pub fn parse(text: &str) -> Result<Self, TemplateCause> {
        let is_text = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !is_text || text.is_empty() || text.starts_with(' ') || text.ends_with(' ') {
            return Err(TemplateCause::IllegalText);
        }
        parse_pieces(text).map(Self)
    }

    /// The text for these names, in printable ASCII; `None` if there are
    /// placeholders and all of them are empty. `speaker`: the label of the peer
    /// who states them, where one does.
    pub fn render(&self, names: &Names, speaker: Option<&str>) -> Option<String> {
        let mut out = String::new();
        let (mut has_placeholder, mut has_value) = (false, false);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Placeholder(placeholder) => {
                    let before = out.len();
                    placeholder.write(names, speaker, &mut out);
                    has_placeholder = true;
                    has_value |= out.len() > before;
                }
            }
        }
        (has_value || !has_placeholder).then_some(out)
    }
}

impl TextTemplate {
    /// Whether there is a placeholder in it.
    pub fn names_somebody(&self) -> bool {
        self.literal().is_none()
    }

    /// The text, where there is no placeholder in it.
    pub fn literal(&self) -> Option<String> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Placeholder(_) => None,
        };
        self.0.iter().map(text).collect()
    }
}

/// Whether a field governs the connection, the message or its authentication,
/// so that no identity can stand in it.
pub fn is_reserved_field(name: &HeaderName) -> bool {
    RESERVED.contains(&fold_field_name(name.as_str()).as_str())
}

fn parse_pieces(text: &str) -> Result<Vec<Piece>, TemplateCause> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from_brace.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from_brace.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else {
            let inner = from_brace.strip_prefix('{').ok_or(TemplateCause::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(TemplateCause::Brace)?;
            push_text(&mut pieces, &mut literal);
            pieces.push(Piece::Placeholder(Placeholder::named(name)?));
            rest = after;
        }
    }
    literal.push_str(rest);
    push_text(&mut pieces, &mut literal);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

impl Placeholder {
    fn named(name: &str) -> Result<Self, TemplateCause> {
        Ok(match name {
            "cn" => Self::CommonName,
            "dns" => Self::Dns,
            "email" => Self::Email,
            "fingerprint" => Self::Fingerprint,
            "ip" => Self::Ip,
            "issuer" => Self::Issuer,
            "not_after" => Self::NotAfter,
            "not_before" => Self::NotBefore,
            "o" => Self::Organization,
            "ou" => Self::OrganizationalUnit,
            "serial" => Self::Serial,
            "speaker" => Self::Speaker,
            "spki" => Self::Spki,
            "subject" => Self::Subject,
            "upn" => Self::Upn,
            "uri" => Self::Uri,
            unknown if unknown.contains('{') => return Err(TemplateCause::Brace),
            unknown => {
                return Err(TemplateCause::UnknownPlaceholder {
                    placeholder: unknown.to_owned(),
                });
            }
        })
    }

    fn write(self, names: &Names, speaker: Option<&str>, out: &mut String) {
        let certificate = names.certificate();
        let subject = names.subject();
        match self {
            Self::CommonName => push_values(subject.unwrap_or_default(), "CN", out),
            Self::Dns => push_list(names.dns(), out),
            Self::Email => push_list(names.email(), out),
            Self::Fingerprint => push_known(names.fingerprint(), out),
            Self::Ip => push_list(names.ip().iter().map(ToString::to_string), out),
            Self::Issuer => push_known(certificate.map(CertificateNames::issuer), out),
            Self::NotAfter => push_time(certificate.map(CertificateNames::not_after), out),
            Self::NotBefore => push_time(certificate.map(CertificateNames::not_before), out),
            Self::Organization => push_values(subject.unwrap_or_default(), "O", out),
            Self::OrganizationalUnit => push_values(subject.unwrap_or_default(), "OU", out),
            Self::Serial => push_known(certificate.map(CertificateNames::serial), out),
            Self::Speaker => push_known(speaker, out),
            Self::Spki => push_known(certificate.map(CertificateNames::spki), out),
            Self::Subject => push_known(subject, out),
            Self::Upn => push_list(names.upn(), out),
            Self::Uri => push_list(names.uri(), out),
        }
    }
}

/// Writes what is known, and nothing for what is not.
fn push_known(value: Option<impl std::fmt::Display>, out: &mut String) {
    if let Some(value) = value {
        push_display(value, out);
    }
}

fn push_time(unix: Option<i64>, out: &mut String) {
    if let Some(unix) = unix {
        push_rfc3339(unix, out);
    }
}

fn push_list(names: impl IntoIterator<Item = impl AsRef<str>>, out: &mut String) {
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_escaped(name.as_ref(), out);
    }
}

fn push_display(value: impl std::fmt::Display, out: &mut String) {
    // Writing to a String cannot fail.
    write!(out, "{value}").unwrap_or_default();
}

/// Writes Unix time in seconds as RFC 3339 in UTC.
fn push_rfc3339(unix: i64, out: &mut String) {
    let at = Moment::of(unix);
    push_display(
        format_args!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        ),
        out,
    );
}

/// The placeholders, for messages.
const KNOWN: &str = "{subject}, {cn}, {o}, {ou}, {issuer}, {serial}, {fingerprint}, {spki}, {uri}, {dns}, {email}, {ip}, {upn}, {not_before}, {not_after} and {speaker}";

/// Folded names of fields that govern the connection (RFC 9110 §7.6.1), the
/// framing, the target, the message's content, or authentication, or that the
/// proxy itself sets.
const RESERVED: [&str; 32] = [
    "accept-encoding",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sec-websocket-key",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

#[cfg(test)]
mod tests;
