//! What the steps say.

use std::sync::Arc;

use rustls_pki_types::UnixTime;

use super::account::Account;
use crate::config::{
    Config, CredentialSource, HostPattern, LayerMode, Protocol, RatePer, Route, Rule, RunAs,
    Upstream, UpstreamTls, UpstreamTrust,
};
use crate::generation::moment;
use crate::identity::proxy_header::Version;
use crate::identity::{CertificateNames, Names};
use crate::tls::{ListStatus, Lookup, RevocationListFacts, describe};
use crate::upstream::Plan;

/// A point in Unix time.
pub(super) fn time(unix: i64) -> String {
    moment(unix).replace(".000Z", "Z")
}

/// What a certificate goes by.
pub(super) fn label(names: &CertificateNames) -> &str {
    let first = names.dns().first().or(names.uri().first());
    first.map_or(names.subject(), String::as_str)
}

/// A certificate, as `now` shows it.
pub(super) fn certificate(names: &CertificateNames, now: UnixTime) -> String {
    let mut said = vec![format!("subject \"{}\"", names.subject())];
    let kinds = [
        ("uri", names.uri()),
        ("dns", names.dns()),
        ("email", names.email()),
    ];
    said.extend(kinds.iter().filter_map(|(kind, all)| of_kind(kind, all)));
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let left = names.not_after().saturating_sub(now);
    let validity = if left < 0 {
        format!("expired {} ago", describe(left.saturating_neg()))
    } else if names.not_before() > now {
        format!("not valid before {}", time(names.not_before()))
    } else {
        format!("good until {}", time(names.not_after()))
    };
    said.push(format!("issuer \"{}\"", names.issuer()));
    said.push(format!("serial {}", names.serial()));
    said.push(format!("fingerprint {}", names.fingerprint()));
    said.push(validity);
    said.join(", ")
}

/// How near somebody came.
pub(super) fn miss(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (nearest miss: {nearest})"))
}

/// The names of somebody.
pub(super) fn names(names: &Names) -> String {
    let mut said = Vec::new();
    said.extend(
        names
            .subject()
            .map(|subject| format!("subject \"{subject}\"")),
    );
    let kinds = [
        ("uri", names.uri()),
        ("dns", names.dns()),
        ("email", names.email()),
    ];
    said.extend(kinds.iter().filter_map(|(kind, all)| of_kind(kind, all)));
    said.join(", ")
}

fn of_kind(kind: &str, all: &[String]) -> Option<String> {
    (!all.is_empty()).then(|| format!("{kind} {}", all.join(" ")))
}

/// What the revocation lists say of a certificate.
pub(super) fn lookup(lookup: &Lookup, now: UnixTime) -> String {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let which = if lookup.is_leaf {
        "the leaf"
    } else {
        "an intermediate"
    };
    let status = match lookup.status {
        ListStatus::ClearUntil(until) if until > now => {
            format!("not revoked, said until {}", time(until))
        }
        ListStatus::ClearUntil(until) => format!(
            "not on it, but the list ran out {} ago",
            describe(now.saturating_sub(until))
        ),
        ListStatus::NotToSign => "its issuer may not sign lists".to_owned(),
        ListStatus::Revoked => "REVOKED".to_owned(),
        ListStatus::Unknown => "no list speaks of it".to_owned(),
    };
    let lists: Vec<_> = lookup.lists.iter().map(list).collect();
    let lists = match lists.as_slice() {
        [] => String::new(),
        some => format!(", looked up in {}", some.join(" and ")),
    };
    format!(
        "{which} (serial {} of \"{}\"): {status}{lists}",
        lookup.serial, lookup.issuer
    )
}

fn list(list: &RevocationListFacts) -> String {
    let number = list.number.as_deref().unwrap_or("without a number");
    format!(
        "{} (list {number} of {})",
        list.source.display(),
        time(list.this_update)
    )
}

/// A route, and its place among all.
pub(super) fn route((index, route): (usize, &Route)) -> String {
    let host = match &route.host {
        None => "every host".to_owned(),
        Some(HostPattern::Exact(name)) => format!("host {name}"),
        Some(HostPattern::Wildcard(suffix)) => format!("host *.{suffix}"),
    };
    let unnamed = format!("routes[{index}]");
    let name = if route.name == unnamed {
        unnamed
    } else {
        format!("{} ({unnamed})", route.name)
    };
    format!(
        "{name} in line {}: {host}, path {}",
        route.place.line, route.path
    )
}

/// What permits.
pub(super) fn rule(account: &Account<'_>, route: &Route) -> String {
    let Some(request) = account.request() else {
        return String::new();
    };
    if let Some((_, cause)) = &request.would_deny {
        return format!("permitted, since it is not enforced; else: {cause}");
    }
    match (&request.rule, &route.allow) {
        (Some(rule), _) => match written(route, rule) {
            Some(written) => format!("{rule} = {written}"),
            None => rule.clone(),
        },
        (None, Some(_)) => "permitted".to_owned(),
        (None, None) if route.requires_certificate => "every caller with a certificate".to_owned(),
        (None, None) => "every caller that the listener accepts".to_owned(),
    }
}

/// What bounds the requests of a route; `None`: nothing of its own.
pub(super) fn limits(route: &Route) -> Option<String> {
    let limits = &route.limits;
    let rate = limits.rate.map(|rate| {
        let whom = match rate.per {
            RatePer::Identity => "identity, and each source of anonymous callers",
            RatePer::Source => "source",
        };
        format!("at most {rate} for each {whom}: whether that is used up is not known here")
    });
    let size = limits.max_body_bytes;
    let size = size.map(|most| format!("a body of at most {most} bytes"));
    let head = limits.response_timeout;
    let head = head.map(|time| format!("{time:?} for the head of the response"));
    let body = limits.body_timeout;
    let body = body.map(|time| format!("{time:?} between two pieces of a body"));
    let all: Vec<_> = [rate, size, head, body].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The rule that logs name so, as the config has it; `None`: the name is that of
/// a rule that it refers to.
fn written(route: &Route, label: &str) -> Option<String> {
    let mut all = rules(route);
    let (_, rule) = all.find(|(place, rule)| rule.name.as_ref().unwrap_or(place) == label)?;
    Some(rule.to_string())
}

/// The rules of a route and their places, in the order in which they are asked.
fn rules(route: &Route) -> impl Iterator<Item = (String, &Rule)> {
    let deny = route.deny.iter().enumerate();
    let deny = deny.map(|(index, rule)| (format!("deny[{index}]"), rule));
    let allow = route.allow.iter().flatten().enumerate();
    deny.chain(allow.map(|(index, rule)| (format!("allow[{index}]"), rule)))
}

/// All rules of a route, one line each, and what those say that they refer to.
pub(super) fn entries(route: &Route) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, rule) in rules(route) {
        lines.push(format!("{place} = {rule}"));
        if let Some(named) = &rule.any_of {
            let others = named.rules.iter().enumerate();
            let name = &named.name;
            lines.extend(others.map(|(index, rule)| format!("rules.{name}[{index}] = {rule}")));
        }
    }
    lines
}

/// Where it goes, and what is asked of whoever is there.
pub(super) fn upstream(config: &Config, upstream: &Upstream) -> String {
    let endpoints: Vec<_> = upstream.endpoints.iter().map(|e| e.text.as_str()).collect();
    let protocol = match upstream.protocol {
        Protocol::Http1 if upstream.http10 => "HTTP/1.0",
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    };
    let header = match upstream.proxy_protocol {
        None => "",
        Some(Version::V1) => ", after a PROXY header of version 1",
        Some(Version::V2) => ", after a PROXY header of version 2",
    };
    let (name, endpoints) = (&upstream.name, endpoints.join(" or "));
    let way = format!("{name}, {protocol}, {endpoints}{header}");
    match &upstream.tls {
        None => way,
        Some(tls) => format!("{way}; {}", demanded(config, tls)),
    }
}

/// What an upstream's certificate must be; whether it is shows in a handshake alone.
fn demanded(config: &Config, tls: &UpstreamTls) -> String {
    let name = match &tls.server_name {
        Some(name) => format!("{} (server_name)", name.value),
        None => "the endpoint's host".to_owned(),
    };
    let issuer = match tls.trust {
        UpstreamTrust::System(_) => "an authority of this machine".to_owned(),
        UpstreamTrust::Bundle(id) => {
            let bundle = config.bundle(id).map_or("-", |bundle| bundle.name.as_str());
            format!("an authority of trust.{bundle}")
        }
    };
    format!("its certificate must be for {name} and issued by {issuer}")
}

/// The word of the config for a mode.
pub(super) fn mode(mode: LayerMode) -> &'static str {
    match mode {
        LayerMode::Never => "never",
        LayerMode::Supported => "supported",
        LayerMode::Required => "required",
    }
}

/// countersign's own certificate.
pub(super) fn transport(upstream: &Upstream, plan: &Arc<Plan>) -> String {
    let layer = upstream.outbound.client_certificate;
    let own = plan.own_identity().map_or("-", |own| own.primary());
    let what = match layer {
        _ if !plan.presents_certificate() => "countersign presents no certificate".to_owned(),
        LayerMode::Required => {
            format!(
                "countersign presents itself as {own}, and ends a connection where it is not asked to"
            )
        }
        _ => format!("countersign presents itself as {own}, if it is asked to"),
    };
    format!(
        "client_certificate_authentication = {}: {what}",
        mode(layer)
    )
}

/// The identity that is asserted.
pub(super) fn attribute(account: &Account<'_>, upstream: &Upstream) -> String {
    let outbound = &upstream.outbound;
    let run_as = match outbound.run_as {
        RunAs::Client => "client",
        RunAs::Specified(_) => "specified",
        RunAs::System => "system",
    };
    let what = match account.sent().and_then(|sent| sent.whom.as_deref()) {
        Some(whom) => format!("{whom} is asserted (run_as = {run_as})"),
        None => "nobody is asserted".to_owned(),
    };
    format!("identity_assertion = {}: {what}", mode(outbound.assertion))
}

/// The credential.
pub(super) fn message(account: &Account<'_>, upstream: &Upstream) -> String {
    let outbound = &upstream.outbound;
    let has_one = account.sent().is_some_and(|sent| {
        let headers = &sent.head.headers;
        outbound.credential != LayerMode::Never && headers.contains_key(http::header::AUTHORIZATION)
    });
    let source = match &outbound.source {
        CredentialSource::Forward => "the caller's own Authorization".to_owned(),
        CredentialSource::Basic { user, .. } => format!("user {user}"),
        CredentialSource::Bearer { .. } => "countersign's own token".to_owned(),
        CredentialSource::PerCaller { .. } => "what is kept for this caller".to_owned(),
    };
    let what = match (outbound.credential, has_one) {
        (LayerMode::Never, _) => "no credential is sent".to_owned(),
        (_, true) => format!("{source} is sent"),
        (_, false) => format!("there is none to send ({source})"),
    };
    let sessions = match outbound.sessions {
        Some(_) => {
            "; a session that the service has opened for this caller would be sent in its place"
        }
        None => "",
    };
    format!(
        "basic_authentication = {}: {what}{sessions}",
        mode(outbound.credential)
    )
}

/// What the upstream takes the caller to be, and by which layer.
pub(super) fn known_as(account: &Account<'_>) -> Option<(&'static str, String)> {
    let sent = account.sent()?;
    let (upstream, plan) = account.upstream()?;
    let who = match sent.rank {
        "assertion" => sent.whom.clone().unwrap_or_default(),
        "credential" => match &upstream.outbound.source {
            CredentialSource::Forward => "whoever the caller's own credential names".to_owned(),
            CredentialSource::Basic { user, .. } => format!("user {user}"),
            CredentialSource::Bearer { .. } => "whoever countersign's token names".to_owned(),
            CredentialSource::PerCaller { .. } => {
                "whoever the credential for this caller names".to_owned()
            }
        },
        "certificate" => {
            let own = plan.own_identity().map_or("-", |own| own.primary());
            format!("countersign ({own}), if the upstream asks for its certificate")
        }
        _ => "anonymous".to_owned(),
    };
    Some((sent.rank, who))
}
