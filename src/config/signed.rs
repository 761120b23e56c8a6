//! Reads the tables of signed assertions: of those that go up, and of those that
//! others make.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::defaults::{ASSERTION_FIELD, ASSERTION_LIFETIME, ASSERTION_SUBJECT};
use super::model::{Located, Place};
use super::problem::Problem;
use super::routes;
use super::section::{Field, Read, Section};
use super::units::quoted;
use super::values::not_literal;
use crate::identity::{TextTemplate, is_reserved_field};

/// `[upstreams.NAME.outbound.assertion.jwt]`: the assertion that countersign signs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedAssertion {
    /// Where the table stands.
    pub place: Place,
    /// PEM files with a private key each; the first signs. Never empty.
    pub keys: Vec<Located<PathBuf>>,
    /// Who countersign says that it is (`iss`).
    pub issuer: String,
    /// What names the caller (`sub`).
    pub subject: TextTemplate,
    /// For whom the assertion is (`aud`).
    pub audience: String,
    /// From the signature to the end; 5 s to 1 h.
    pub lifetime: Duration,
    /// The field that carries it; `authorization` only where no credential is sent.
    pub header: HeaderName,
    /// What stands before it in the field, as in `Bearer TOKEN`.
    pub scheme: Option<String>,
}

/// `[listeners.NAME.assertion_jwt]`: how a JWT is verified that states somebody
/// else's identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcceptedJwt {
    /// Where the table stands.
    pub place: Place,
    /// The file of the issuer's public keys, a JWK Set (RFC 7517 §5).
    pub jwks: Located<PathBuf>,
    /// The only `iss` that is accepted.
    pub issuer: String,
    /// What must stand in `aud`.
    pub audience: String,
    /// The field that carries it.
    pub header: HeaderName,
    /// What must stand before it in the field; `authorization` always has one.
    pub scheme: Option<String>,
}

/// Below 5 s clocks that differ decide; what is good for an hour is a password.
const LIFETIME: (&str, &str) = ("5s", "1h");

/// The longest `iss` and `aud`, in bytes.
const LONGEST_NAME: usize = 1024;

/// Reads the table; `upstream` is the name of the upstream, the usual audience.
pub(super) fn signed_assertion(section: &mut Section<'_>, upstream: &str) -> Read<SignedAssertion> {
    let keys = section.required("keys", |field| field.list(Field::path));
    let issuer = section.required("issuer", party);
    let subject = match section.field("subject") {
        Some(field) => field.parsed(subject),
        None => subject(ASSERTION_SUBJECT).map_err(|problem| section.refuse(problem)),
    };
    let audience = section.defaulted("audience", upstream.to_owned(), party);
    let lifetime = section.defaulted("lifetime", ASSERTION_LIFETIME, |field| {
        let (least, most) = LIFETIME;
        field.duration_within(least, most)
    });
    let (header, scheme) = carrier(section);
    Ok(SignedAssertion {
        place: section.place(),
        keys: keys?,
        issuer: issuer?,
        subject: subject?,
        audience: audience?,
        lifetime: lifetime?,
        header: header?,
        scheme: scheme?,
    })
}

/// Reads the table of a listener.
pub(super) fn accepted_jwt(section: &mut Section<'_>) -> Read<AcceptedJwt> {
    let jwks = section.required("jwks", Field::path);
    let issuer = section.required("issuer", party);
    let audience = section.required("audience", party);
    let (header, scheme) = carrier(section);
    Ok(AcceptedJwt {
        place: section.place(),
        jwks: jwks?,
        issuer: issuer?,
        audience: audience?,
        header: header?,
        scheme: scheme?,
    })
}

/// The path at which the public keys are served.
pub(super) fn jwks_path(field: &Field<'_>) -> Read<String> {
    field.parsed(|text| {
        routes::path(text).map_err(|problem| {
            problem.remedy("write a path, such as \"/.well-known/countersign/jwks.json\"")
        })
    })
}

/// The field and what stands before the token in it.
fn carrier(section: &mut Section<'_>) -> (Read<HeaderName>, Read<Option<String>>) {
    let header = section.defaulted("header", ASSERTION_FIELD, |field| field.parsed(header));
    let scheme = section.optional("scheme", |field| field.parsed(scheme));
    let lacks_scheme =
        header.as_ref().is_ok_and(|name| *name == AUTHORIZATION) && matches!(scheme, Ok(None));
    if lacks_scheme {
        let problem = Problem::new("missing, with header = \"Authorization\"")
            .causes("what stands in that field begins with a scheme (RFC 9110 §11.6.2)")
            .remedy("write scheme = \"Bearer\"");
        let lacking = section.lack_with("scheme", problem);
        return (header, Err(lacking));
    }
    (header, scheme)
}

fn header(text: &str) -> Result<HeaderName, Problem> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Problem::new(format!("{} is not a header field name", quoted(text)))
            .remedy("write a name, such as \"X-Client-Assertion\"")
    })?;
    if name != AUTHORIZATION && is_reserved_field(&name) {
        let problem = Problem::new(format!(
            "{} governs the connection or the message",
            quoted(text)
        ))
        .causes("the request could not be understood any more");
        return Err(
            problem.remedy("write \"Authorization\", or a name such as \"X-Client-Assertion\"")
        );
    }
    Ok(name)
}

/// A token (RFC 9110 §5.6.2), as schemes are (§11.1).
fn scheme(text: &str) -> Result<String, Problem> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
        let problem = Problem::new(format!("{} is not a scheme", quoted(text)));
        return Err(problem.remedy("write one word, such as \"Bearer\""));
    }
    Ok(text.to_owned())
}

fn subject(text: &str) -> Result<TextTemplate, Problem> {
    TextTemplate::parse(text).map_err(|cause| Problem::new(format!("{}: {cause}", quoted(text))))
}

/// A party to an assertion, in `iss` or `aud`.
fn party(field: &Field<'_>) -> Read<String> {
    field.parsed(|text| {
        let why = if text.is_empty() {
            "names nobody"
        } else if text.len() > LONGEST_NAME {
            "has more than 1024 bytes"
        } else if let Some(why) = not_literal(text) {
            why
        } else {
            return Ok(text.to_owned());
        };
        Err(Problem::new(format!("{} {why}", quoted(text)))
            .remedy("write a name, such as \"https://edge.example\""))
    })
}
