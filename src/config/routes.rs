//! Reads `[[routes]]`: which requests go to which upstream, and who may send them.

use crate::identity::{NameKind, NamePattern, PatternError, PeerPattern};

use super::model::{
    Allowed, HostPattern, Listener, ListenerId, ListenerTls, Located, Route, UpstreamId,
};
use super::names::{Names, name};
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;
use super::values::host_name;

/// What routes refer to.
pub(super) struct Ends<'c> {
    pub(super) listeners: &'c [Listener],
    pub(super) listener_names: &'c Names,
    pub(super) upstream_names: &'c Names,
}

/// Reads all routes; the second value tells whether every one is legal.
pub(super) fn routes(root: &mut Section<'_>, ends: &Ends<'_>) -> (Vec<Route>, bool) {
    let Some(field) = root.field("routes") else {
        return (Vec::new(), true);
    };
    if field.value().is_table() {
        let remedy = "write [[routes]], with two brackets".to_owned();
        field.mismatch("a list", Some(remedy));
        return (Vec::new(), false);
    }
    let mut routes: Vec<Route> = Vec::new();
    let mut legal = true;
    for member in field.members().unwrap_or_default() {
        match member.section(|section| route(section, &member, ends)) {
            Ok(route) => {
                legal &= is_new(&member, &routes, &route).is_ok();
                routes.push(route);
            }
            Err(_) => legal = false,
        }
    }
    (routes, legal)
}

fn route(section: &mut Section<'_>, member: &Field<'_>, ends: &Ends<'_>) -> Read<Route> {
    let name = section.optional("name", name);
    let listener = section.optional("listener", |field| ends.listener_names.resolve(field));
    let listener = listener.map(|listener| listener.map(ListenerId));
    let host = section.optional("host", |field| field.parsed(host));
    let path = section.defaulted("path", "/".to_owned(), |field| field.parsed(path));
    let client_auth = section.field("client_auth");
    let requires_certificate = client_auth.as_ref().map_or(Ok(false), required);
    let allow = section.field("allow");
    let patterns = allow.as_ref().map(|field| field.list(allowed)).transpose();
    let upstream = section.required("upstream", |field| ends.upstream_names.resolve(field));
    if let Ok(listener) = listener {
        for field in [client_auth, allow].iter().flatten() {
            can_be_satisfied(field, listener, ends)?;
        }
        if let Ok(Some(entries)) = &patterns {
            can_be_spoken_for(section, entries, (listener, ends))?;
        }
    }
    Ok(Route {
        name: name?.unwrap_or_else(|| member.shown().to_owned()),
        place: section.place(),
        listener: listener?,
        host: host?,
        path: path?,
        requires_certificate: requires_certificate?,
        allow: patterns?,
        upstream: UpstreamId(upstream?),
    })
}

/// A route is stricter than its listener or says nothing.
fn required(field: &Field<'_>) -> Read<bool> {
    match field.text()? {
        "require" => Ok(true),
        other => Err(field.refuse(
            Problem::new(format!("a route cannot say {}", quoted(other)))
                .causes("a route can only be stricter than its listener")
                .remedy("write \"require\", or remove it"),
        )),
    }
}

/// Refuses a demand for certificates where no listener asks for one.
fn can_be_satisfied(field: &Field<'_>, listener: Option<ListenerId>, ends: &Ends<'_>) -> Read<()> {
    let here: Vec<&Listener> = match listener {
        Some(id) => ends.listeners.get(id.0).into_iter().collect(),
        None if ends.listener_names.all_legal() => ends.listeners.iter().collect(),
        None => return Ok(()),
    };
    let asks = |listener: &&Listener| {
        let tls = listener.tls.as_ref();
        tls.is_some_and(ListenerTls::asks_for_certificates)
    };
    match here.first() {
        Some(first) if !here.iter().any(asks) => Err(field.refuse(
            Problem::new("no listener of this route asks for a certificate")
                .causes("every caller would be refused")
                .remedy(format!(
                    "write client_auth = \"want\" or \"require\" in [listeners.{}.tls], or remove it here",
                    first.name
                )),
        )),
        _ => Ok(()),
    }
}

/// Refuses entries for callers whom others speak for, where nobody may.
fn can_be_spoken_for(
    section: &Section<'_>,
    entries: &[Allowed],
    (listener, ends): (Option<ListenerId>, &Ends<'_>),
) -> Read<()> {
    let Some(via) = entries.iter().find_map(|entry| entry.via.as_ref()) else {
        return Ok(());
    };
    let accepts = match listener {
        Some(id) => ends
            .listeners
            .get(id.0)
            .is_none_or(|one| one.accepted.is_some()),
        None => {
            !ends.listener_names.all_legal()
                || ends.listeners.iter().any(|one| one.accepted.is_some())
        }
    };
    if accepts {
        return Ok(());
    }
    let problem = Problem::new("no listener of this route accepts what others say of callers")
        .causes("this entry would never match")
        .remedy("write accept_assertions_from and accept_assertions in the listener, or remove it");
    let path = section.shown("allow");
    let problem = problem.of_key(via.place, &format!("{path}[].via"));
    Err(section.reader.report(problem))
}

/// One entry of `allow`.
fn allowed(field: &Field<'_>) -> Read<Allowed> {
    let (caller, via) = entry(field, |section| {
        section.optional("via", |field| Ok((field.place(), pattern(field)?)))
    })?;
    Ok(match via {
        Some((place, via)) => Allowed {
            caller,
            via: Some(Located { value: via, place }),
        },
        None => Allowed { caller, via: None },
    })
}

/// One entry of a list of peers: all of its names must match.
pub(super) fn pattern(field: &Field<'_>) -> Read<PeerPattern> {
    entry(field, |_| Ok(())).map(|(pattern, ())| pattern)
}

/// The names of an entry, and what else may stand in it.
fn entry<'r, T>(
    field: &Field<'r>,
    other: impl FnOnce(&mut Section<'r>) -> Read<T>,
) -> Read<(PeerPattern, T)> {
    if let Some(text) = field.value().as_str() {
        let kind = if text.contains("://") { "uri" } else { "dns" };
        let remedy = format!("write {{ {kind} = {} }}", quoted(text));
        return Err(field.mismatch("a table", Some(remedy)));
    }
    let (names, other) = field.section(|section| {
        let other = other(section);
        Ok((names(section)?, other?))
    })?;
    if names.is_empty() {
        let problem = Problem::new("the pattern has no name")
            .remedy("write { uri = \"spiffe://prod.example/*\" }, or dns, subject, fingerprint");
        return Err(field.refuse(problem));
    }
    let pattern =
        PeerPattern::new(names).map_err(|error| field.refuse(Problem::new(error.to_string())))?;
    Ok((pattern, other))
}

fn names(section: &mut Section<'_>) -> Read<Vec<NamePattern>> {
    const KINDS: [(&str, NameKind); 4] = [
        ("uri", NameKind::Uri),
        ("dns", NameKind::Dns),
        ("subject", NameKind::Subject),
        ("fingerprint", NameKind::Fingerprint),
    ];
    let mut name = |(key, kind)| {
        section.optional(key, |field| {
            field.parsed(|text| {
                NamePattern::parse(kind, text).map_err(|error| {
                    let problem = Problem::new(format!("{}: {error}", quoted(text)));
                    if matches!(error, PatternError::Everybody { .. }) {
                        return not_everybody(problem, field);
                    }
                    problem
                })
            })
        })
    };
    let read = KINDS.map(&mut name);
    let names: Read<Vec<_>> = read.into_iter().collect();
    Ok(names?.into_iter().flatten().collect())
}

/// What it would cause if everybody matched, and what to write instead, where
/// this pattern stands.
fn not_everybody(problem: Problem, field: &Field<'_>) -> Problem {
    let list = field.pattern();
    if list.contains("accept_assertions_from") {
        problem
            .causes("each of these peers could claim to be any caller")
            .remedy("write the names of the peers in front alone, such as { uri = \"spiffe://edge.example/*\" }")
    } else if list.contains(".via") {
        problem
            .causes("it would make no difference who speaks, but shut out callers that come by themselves")
            .remedy("write who must speak for the caller, such as via = { uri = \"spiffe://edge.example/*\" }, or remove via")
    } else {
        problem
            .causes("the list would not tell callers apart")
            .remedy("to permit every caller with a certificate, leave `allow` out and set client_auth = \"require\"")
    }
}

fn host(text: &str) -> Result<HostPattern, Problem> {
    let refuse = |remedy: String| {
        Problem::new(format!("{} is not the name of a host", quoted(text))).remedy(remedy)
    };
    if let Ok(ip) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(HostPattern::Exact(ip.to_string()));
    }
    if let Some(suffix) = text.strip_prefix("*.") {
        let suffix =
            host_name(suffix).filter(|name| name.contains(|c: char| c.is_ascii_alphabetic()));
        return suffix
            .filter(|name| !name.contains(':'))
            .map(HostPattern::Wildcard)
            .ok_or_else(|| {
                refuse("write \"*.example.com\": one whole label in front of a name".to_owned())
            });
    }
    host_name(text).map(HostPattern::Exact).ok_or_else(|| {
        let without_port = text.rsplit_once(':').and_then(|(host, _)| host_name(host));
        refuse(match without_port {
            Some(host) => format!("write \"{host}\", without a port"),
            None => "write \"www.example.com\", \"*.example.com\" or an address".to_owned(),
        })
    })
}

/// A path on whole segments, as callers write it.
pub(super) fn path(text: &str) -> Result<String, Problem> {
    let why = if !text.starts_with('/') {
        "does not begin with `/`"
    } else if text.contains(['?', '#']) {
        "has a query"
    } else if text.contains("//") {
        "has an empty segment"
    } else if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        "has a segment of dots"
    } else if text.contains('%') {
        "is percent-encoded"
    } else if text.contains('*') {
        "has a wildcard"
    } else if text
        .chars()
        .any(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c))
    {
        "has a character that no path has"
    } else {
        return Ok(text.to_owned());
    };
    Err(Problem::new(format!("{} {why}", quoted(text)))
        .remedy("write a prefix of whole segments, such as \"/api/\""))
}

/// Refuses a route that is never reached, or that shares its name with another.
fn is_new(member: &Field<'_>, earlier: &[Route], route: &Route) -> Read<()> {
    if let Some(same) = earlier.iter().find(|other| other.name == route.name) {
        let problem = Problem::new(format!("the name \"{}\" is given twice", route.name))
            .causes(format!(
                "its metrics would be mixed with those of the route in line {}",
                same.place.line
            ))
            .remedy("choose another name");
        return Err(member.refuse(problem));
    }
    match earlier.iter().find(|other| takes_all_of(other, route)) {
        None => Ok(()),
        Some(other) => Err(member.refuse(
            Problem::new("this route is never reached")
                .causes(format!(
                    "{} in line {} comes first and takes all of its requests",
                    other.name, other.place.line
                ))
                .remedy("move it up, or remove one of the two"),
        )),
    }
}

/// Whether every request that `later` could take is taken by `earlier`.
fn takes_all_of(earlier: &Route, later: &Route) -> bool {
    let listener = earlier.listener.is_none() || earlier.listener == later.listener;
    let host = match (&earlier.host, &later.host) {
        (None, _) => true,
        (Some(HostPattern::Wildcard(suffix)), Some(HostPattern::Exact(name))) => {
            name.split_once('.').is_some_and(|(_, rest)| rest == suffix)
        }
        (one, other) => one == other,
    };
    let whole = |path: &str| path == earlier.path;
    let deeper = later.path.strip_prefix(earlier.path.as_str());
    let within = deeper.is_some_and(|rest| earlier.path.ends_with('/') || rest.starts_with('/'));
    listener && host && (whole(&later.path) || within)
}
