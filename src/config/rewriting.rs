//! Reads what a route changes in requests and in responses.
//!
//! What would be a change of nothing, or of something that countersign itself
//! writes, is refused.

use super::model::{CookieChanges, EndpointAddress, Rewriting, Route, Upstream, UpstreamHost};
use super::problem::Problem;
use super::routes::{Ends, path};
use super::section::{Field, Read, Reported, Section};
use super::units::quoted;
use super::values::host_name;
use super::{field_rules, fitting};

/// The keys of `[[routes]]` about what is changed.
pub(super) fn rewriting(section: &mut Section<'_>) -> Read<Rewriting> {
    let strip_prefix = section.defaulted("strip_prefix", false, |field| field.boolean());
    let add_prefix = section.optional("add_prefix", |field| field.parsed(prefix));
    let responses = section.optional("rewrite_responses", |field| field.boolean());
    let cookies = section.subsection("cookies", cookies);
    let request_headers = section.subsection("request_headers", |section| {
        field_rules::read(section, field_rules::Direction::Up)
    });
    let response_headers = section.subsection("response_headers", |section| {
        field_rules::read(section, field_rules::Direction::Down)
    });
    Ok(Rewriting {
        strip_prefix: strip_prefix?,
        add_prefix: add_prefix?,
        responses: responses?,
        cookies: cookies?,
        request_headers: request_headers?,
        response_headers: response_headers?,
    })
}

/// Sees that what is changed in a route changes something, and nothing that is
/// countersign's to say.
pub(super) fn fits(section: &Section<'_>, route: &Route, ends: &Ends<'_>) -> Read<()> {
    let rewriting = &route.rewriting;
    let prefix = route.path.trim_end_matches('/');
    let refuse = |key: &str, problem: Problem| Err(section.refuse_key(key, problem));
    if rewriting.strip_prefix && prefix.is_empty() {
        let problem = Problem::new("the route is for every path")
            .causes("there would be no prefix to take away")
            .remedy("write path = \"/NAME\" in the route, or remove it");
        return refuse("strip_prefix", problem);
    }
    if rewriting.strip_prefix && rewriting.add_prefix.as_deref() == Some(prefix) {
        let problem = Problem::new(format!("strip_prefix takes {} away", quoted(prefix)))
            .causes("the path would go up as it came")
            .remedy("write another prefix, or remove both");
        return refuse("add_prefix", problem);
    }
    let headers = [
        ("request_headers", &rewriting.request_headers),
        ("response_headers", &rewriting.response_headers),
    ];
    let mut legal = Ok(());
    for (key, rules) in headers.into_iter().filter(|(_, rules)| !rules.is_empty()) {
        let names = field_rules::clash(rules, ends);
        let problem = names.or_else(|| fitting::names_nobody(rules, route, ends));
        if let Some(problem) = problem {
            legal = refuse(key, problem);
        }
    }
    let upstream = ends.upstreams.get(route.upstream.0);
    if let Some(problem) = upstream.and_then(|one| field_rules::unbelieved(rewriting, one)) {
        legal = refuse("request_headers", problem);
    }
    legal
}

/// The host that requests to an upstream name.
pub(super) fn upstream_host(field: &Field<'_>) -> Read<UpstreamHost> {
    field.parsed(|text| match text {
        "keep" => Ok(UpstreamHost::Keep),
        "endpoint" => Ok(UpstreamHost::Endpoint),
        name => authority(name).map(UpstreamHost::Named),
    })
}

/// Sees that each endpoint has a host to be named.
pub(super) fn has_hosts(section: &Section<'_>, upstream: &Upstream) -> Read<()> {
    let mut endpoints = upstream.endpoints.iter();
    let nameless = endpoints.find(|one| matches!(one.address, EndpointAddress::Unix(_)));
    match nameless {
        Some(endpoint) if upstream.host == UpstreamHost::Endpoint => {
            let problem = Problem::new(format!("{} has no host", quoted(&endpoint.text)))
                .causes("requests that go there would name none")
                .remedy("write host = \"keep\", or the name that the service knows itself by");
            Err(section.refuse_key("host", problem))
        }
        _ => Ok(()),
    }
}

/// A host, perhaps with a port.
fn authority(text: &str) -> Result<String, Problem> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(address) => address
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|ip| format!("[{ip}]")),
        None => host_name(host).filter(|name| !name.contains(':')),
    };
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
    match (host, port) {
        (Some(host), None) => Ok(host),
        (Some(host), Some(Some(port))) => Ok(format!("{host}:{port}")),
        _ => Err(Problem::new(format!(
            "{} is not a host, with or without a port",
            quoted(text)
        ))
        .remedy("write \"keep\", \"endpoint\", or a name such as \"orders.internal\"")),
    }
}

/// A prefix of whole segments, without a final slash.
fn prefix(text: &str) -> Result<String, Problem> {
    let prefix = path(text)?;
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Err(Problem::new("\"/\" is no prefix")
            .causes("the path would go up as it came")
            .remedy("write add_prefix = \"/app\", or remove it"));
    }
    Ok(prefix.to_owned())
}

fn cookies(section: &mut Section<'_>) -> Read<CookieChanges> {
    let secure = section.defaulted("secure", false, |field| field.boolean());
    let http_only = section.defaulted("http_only", false, |field| field.boolean());
    let same_site = section.optional("same_site", |field| {
        field.choice(&[("Strict", "Strict"), ("Lax", "Lax"), ("None", "None")])
    });
    let domain = section.optional("domain", |field| field.parsed(domain));
    let path = section.optional("path", |field| field.parsed(cookie_path));
    let cookies = CookieChanges {
        secure: secure?,
        http_only: http_only?,
        same_site: same_site?,
        domain: domain?,
        path: path?,
    };
    if cookies.same_site == Some("None") && !cookies.secure {
        let problem = Problem::new("\"None\" without secure = true")
            .causes("browsers would not take these cookies")
            .remedy("write secure = true beside it, or \"Lax\"");
        return Err::<_, Reported>(section.refuse_key("same_site", problem));
    }
    Ok(cookies)
}

fn domain(text: &str) -> Result<String, Problem> {
    let is_name = |name: &String| name.contains(|c: char| c.is_ascii_alphabetic());
    let name = host_name(text).filter(|name| is_name(name) && !name.contains(':'));
    name.ok_or_else(|| {
        Problem::new(format!("{} is no domain of cookies", quoted(text)))
            .causes("browsers would not take these cookies")
            .remedy("write a name without a port, such as \"example.com\"")
    })
}

fn cookie_path(text: &str) -> Result<String, Problem> {
    if text.contains(';') {
        return Err(Problem::new(format!("{} has a semicolon", quoted(text)))
            .causes("it would end the attribute")
            .remedy("write another path"));
    }
    path(text)
}
