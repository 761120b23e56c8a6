//! Reads `[[routes]]`: which requests go to which upstream, and who may send them.

use std::collections::HashMap;
use std::sync::Arc;

use super::fitting;
use super::model::{HostPattern, Listener, ListenerId, NamedRules, Route, Upstream, UpstreamId};
use super::names::{Names, name};
use super::problem::Problem;
use super::rewriting::{self, rewriting};
use super::route_index::RouteIndex;
use super::route_limits;
use super::rules::rule;
use super::section::{Field, Read, Section};
use super::units::quoted;
use super::values::host_name;

/// What routes refer to.
pub(super) struct Ends<'c> {
    pub(super) listeners: &'c [Listener],
    pub(super) listener_names: &'c Names,
    pub(super) upstreams: &'c [Upstream],
    pub(super) upstream_names: &'c Names,
    pub(super) rules: &'c [Arc<NamedRules>],
    pub(super) rule_names: &'c Names,
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
    let mut earlier = Earlier::default();
    let mut legal = true;
    for member in field.members().unwrap_or_default() {
        match member.section(|section| route(section, &member, ends)) {
            Ok(route) => {
                legal &= earlier.is_new(&member, &route).is_ok();
                earlier.add(route);
            }
            Err(_) => legal = false,
        }
    }
    (earlier.routes, legal)
}

fn route(section: &mut Section<'_>, member: &Field<'_>, ends: &Ends<'_>) -> Read<Route> {
    let name = section.optional("name", name);
    let listener = section.optional("listener", |field| ends.listener_names.resolve(field));
    let listener = listener.map(|listener| listener.map(ListenerId));
    let host = section.optional("host", |field| field.parsed(host));
    let path = section.defaulted("path", "/".to_owned(), |field| field.parsed(path));
    let client_auth = section.field("client_auth");
    let requires_certificate = client_auth.as_ref().map_or(Ok(false), required);
    let rules = |field: &Field<'_>| field.list(|member| rule(member, Some(ends)));
    let deny = section.optional("deny", rules);
    let allow = section.optional("allow", rules);
    let enforce = section.defaulted("enforce", true, |field| field.boolean());
    let limits = route_limits::limits(section);
    let maintenance = route_limits::maintenance(section);
    let upstream = section.required("upstream", |field| ends.upstream_names.resolve(field));
    let rewriting = rewriting(section);
    if let (Ok(listener), Some(field)) = (listener, &client_auth) {
        fitting::can_be_asked(field, listener, ends)?;
    }
    let route = Route {
        name: name?.unwrap_or_else(|| member.shown().to_owned()),
        place: section.place(),
        listener: listener?,
        host: host?,
        path: path?,
        requires_certificate: requires_certificate?,
        deny: deny?.unwrap_or_default(),
        allow: allow?,
        enforce: enforce?,
        limits: limits?,
        maintenance: maintenance?,
        upstream: UpstreamId(upstream?),
        rewriting: rewriting?,
    };
    rewriting::fits(section, &route, ends)?;
    fitting::rules_fit(section, &route, ends)?;
    Ok(route)
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

/// The routes before one that is being read.
#[derive(Default)]
struct Earlier {
    routes: Vec<Route>,
    /// The first route of each name, as an index.
    by_name: HashMap<String, usize>,
    index: RouteIndex,
}

impl Earlier {
    /// Refuses a route that is never reached, or that shares its name with another.
    fn is_new(&self, member: &Field<'_>, route: &Route) -> Read<()> {
        let by_name = self.by_name.get(&route.name);
        if let Some(same) = by_name.and_then(|same| self.routes.get(*same)) {
            let problem = Problem::new(format!("the name \"{}\" is given twice", route.name))
                .causes(format!(
                    "its metrics would be mixed with those of the route in line {}",
                    same.place.line
                ))
                .remedy("choose another name");
            return Err(member.refuse(problem));
        }
        let first = self.index.takes_all_of(route);
        match first.and_then(|first| self.routes.get(first)) {
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

    fn add(&mut self, route: Route) {
        let place = self.routes.len();
        self.index.add(place, &route);
        self.by_name.entry(route.name.clone()).or_insert(place);
        self.routes.push(route);
    }
}
