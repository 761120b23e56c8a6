//! Reads which fields a route sets, adds and removes.

use http::HeaderName;

use super::model::{FieldRule, FieldRules, Rewriting, Upstream};
use super::outbound;
use super::problem::Problem;
use super::routes::Ends;
use super::section::{Field, Read, Section};
use super::units::quoted;
use crate::identity::{
    Encoding, IdentityFields, TemplateCause, TextTemplate, fold_field_name, is_reserved_field,
};

/// More than this in one table is a mistake.
const MOST_FIELDS: usize = 64;

/// Which way the fields go.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Direction {
    /// With the request.
    Up,
    /// With the response.
    Down,
}

/// Reads the table `request_headers` or `response_headers`.
pub(super) fn read(section: &mut Section<'_>, direction: Direction) -> Read<FieldRules> {
    let values = |field: &Field<'_>| values(field, direction);
    let set = section.optional("set", values);
    let add = section.optional("add", values);
    let remove = section.optional("remove", |field| {
        let mut names = field.list(|member| {
            let name = member.parsed(|text| name(text, direction))?;
            is_free(member, &name, direction)?;
            Ok(name)
        })?;
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        Ok(names)
    });
    let rules = FieldRules {
        set: set?.unwrap_or_default(),
        add: add?.unwrap_or_default(),
        remove: remove?.unwrap_or_default(),
    };
    let written = rules.written().map(|rule| &rule.name);
    let mut names: Vec<_> = written
        .chain(&rules.remove)
        .map(|name| fold_field_name(name.as_str()))
        .collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
        let problem = Problem::new(format!(
            "`{name}` is named twice, in this or another spelling"
        ))
        .causes("a service could take the two for one, and read either")
        .remedy("name each field once, in set, in add or in remove");
        return Err(section.refuse(problem));
    }
    Ok(rules)
}

/// A field that says who is calling to some upstream, or carries what a listener
/// accepts of others: it is countersign's alone.
pub(super) fn clash(rules: &FieldRules, ends: &Ends<'_>) -> Option<Problem> {
    let encodings = ends
        .upstreams
        .iter()
        .flat_map(|one| &one.outbound.encodings);
    let signed = ends
        .upstreams
        .iter()
        .filter_map(|one| one.outbound.signed.as_ref());
    let accepted = || {
        ends.listeners
            .iter()
            .filter_map(|one| one.accepted.as_ref())
    };
    let forms = accepted().flat_map(|one| &one.forms);
    let tokens = accepted().filter_map(|one| one.jwt.as_ref());
    let identity = IdentityFields::new(
        encodings
            .flat_map(Encoding::field_names)
            .chain(signed.map(|one| &one.header))
            .chain(forms.flat_map(|form| form.field_names()))
            .chain(tokens.map(|one| &one.header)),
    );
    let mut names = rules.written().map(|rule| &rule.name).chain(&rules.remove);
    let name = names.find(|name| identity.contains(name.as_str()))?;
    let problem = Problem::new(format!("`{name}` is a field that says who is calling"))
        .causes("what countersign says of the caller in it would be changed or said twice")
        .remedy(
            "choose another name; how a service is told of the caller stands in [upstreams.NAME.outbound.assertion], where encode = [\"headers\"] writes fields of any name",
        );
    Some(problem)
}

/// A caller who is named in fields to a service that cannot know by whom.
pub(super) fn unbelieved(rewriting: &Rewriting, upstream: &Upstream) -> Option<Problem> {
    let name = rewriting.request_headers.naming_callers().next()?;
    let endpoint = outbound::stranger(&upstream.outbound, &upstream.endpoints)?;
    let problem = Problem::new(format!(
        "{} could not know that the names of callers in `{name}` come from countersign",
        quoted(&endpoint.text)
    ))
    .causes("whoever else can connect to it could claim to be anybody")
    .remedy(format!(
        "write client_certificate_authentication = \"required\" and a certificate in [upstreams.{name}.tls],\n\
         or source = \"basic\" or \"bearer\" in [upstreams.{name}.outbound.credential],\n\
         or endpoints on loopback or a unix socket, or a value without placeholders",
        name = upstream.name
    ));
    Some(problem)
}

fn values(field: &Field<'_>, direction: Direction) -> Read<Vec<FieldRule>> {
    let entries = field.entries("FIELD")?;
    if entries.is_empty() || entries.len() > MOST_FIELDS {
        let problem = Problem::new(format!("the table has {} fields", entries.len()));
        return Err(field.refuse(problem.remedy(format!("write 1 to {MOST_FIELDS}"))));
    }
    let mut rules = Ok(Vec::new());
    for (written, _, value) in &entries {
        match rule(written, value, direction) {
            Ok(rule) => {
                if let Ok(rules) = &mut rules {
                    rules.push(rule);
                }
            }
            Err(reported) => rules = Err(reported),
        }
    }
    let mut rules = rules?;
    rules.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    Ok(rules)
}

fn rule(written: &str, value: &Field<'_>, direction: Direction) -> Read<FieldRule> {
    let name = name(written, direction).map_err(|problem| value.refuse(problem));
    let text = value.parsed(|text| {
        TextTemplate::parse(text)
            .map_err(|cause| Problem::new(format!("{}: {cause}", quoted(text))))
    });
    let (name, text) = (name?, text?);
    is_free(value, &name, direction)?;
    if direction == Direction::Up && text.names_somebody() && is_reserved_field(&name) {
        // It would be taken out of every request, whoever needs it there.
        return Err(value.refuse(Problem::new(format!(
            "`{name}`: {}",
            TemplateCause::ReservedName
        ))));
    }
    Ok(FieldRule { name, text })
}

/// Reads the name of a field that countersign itself adds to requests.
pub(super) fn own_field(field: &Field<'_>) -> Read<HeaderName> {
    let name = field.parsed(|text| name(text, Direction::Up))?;
    is_free(field, &name, Direction::Up)?;
    Ok(name)
}

fn name(text: &str, direction: Direction) -> Result<HeaderName, Problem> {
    let example = match direction {
        Direction::Up => "X-Env",
        Direction::Down => "Strict-Transport-Security",
    };
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Problem::new(format!(
            "{} is not the name of a header field",
            quoted(text)
        ))
        .remedy(format!("write a name such as \"{example}\""))
    })
}

/// Refuses fields that are not a route's to change, in every spelling.
fn is_free(field: &Field<'_>, name: &HeaderName, direction: Direction) -> Read<()> {
    let folded = fold_field_name(name.as_str());
    let is_one = |all: &[&str]| all.contains(&folded.as_str());
    let (why, causes, remedy) = if is_one(&FRAMING) {
        (
            "says how long a message is, or belongs to one connection",
            "messages would break off, or be read in two ways",
            "remove it: countersign writes it as each connection needs it",
        )
    } else if direction == Direction::Down {
        return Ok(());
    } else if folded == "host" {
        (
            "says for whom the request is",
            "another service could be meant than the one that was judged",
            "write host = \"NAME\" in the table of the upstream",
        )
    } else if folded == "authorization" {
        (
            "belongs to the message layer",
            "a credential would stand in the config, or one would be sent in place of another",
            "write basic_authentication and credential in the outbound table of the upstream",
        )
    } else if is_one(&ORIGIN) {
        (
            "says where a request came from",
            "the service would be told something else than what countersign knows",
            "remove it; trusted_proxies of the listener says whose are believed",
        )
    } else if is_one(&JUDGED) {
        (
            "names another method, path or host",
            "the service could read another request than the one that was permitted",
            "remove it",
        )
    } else {
        return Ok(());
    };
    let problem = Problem::new(format!("`{name}` {why}")).causes(causes);
    Err(field.refuse(problem.remedy(remedy)))
}

/// Hop-by-hop fields (RFC 9110 §7.6.1) and those that frame a message, folded.
const FRAMING: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say where a request came from, folded.
const ORIGIN: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Fields from which services take another method, path or host, folded.
const JUDGED: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];
