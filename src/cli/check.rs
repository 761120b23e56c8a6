//! `countersign check`.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use super::{Exit, complain, count, print};
use crate::config::{
    self, ClientAuth, ClientPolicy, Config, ListenerTls, UnknownSni, UpstreamTrust,
};
use crate::generation::{Prepared, prepare};
use crate::tls::{Expiry, Material, RevocationListFacts, describe, unix_now};

/// Loads a config and everything it names, and says what was found.
pub(super) fn check(path: &Path) -> Exit {
    match prepare(path) {
        Ok(prepared) => print(report(path, &prepared).as_bytes()),
        Err(problems) => {
            complain(problems);
            Exit::Usage
        }
    }
}

fn report(path: &Path, prepared: &Prepared) -> String {
    let config = prepared.loaded().config();
    let material = prepared.loaded().material();
    let mut text = format!(
        "{}: everything was loaded and fits together\n",
        path.display()
    );
    let mut line = |what: String| {
        text.push_str("  ");
        text.push_str(&what);
        text.push('\n');
    };
    if let Some(admin) = config.admin() {
        let who = match &admin.tls {
            None => "plaintext, open to whoever reaches it".to_owned(),
            Some(tls) => {
                let policy = describe_policy(config, (&tls.server, tls.server.own_policy()));
                format!("TLS, client certificates {policy}")
            }
        };
        line(format!("admin: {}, {who}", admin.bind.value));
    }
    for listener in config.listeners() {
        line(describe_listener(config, listener));
    }
    for (settings, bundle) in config.bundles().iter().zip(&material.bundles) {
        let anchors = bundle.anchors().len();
        let lists = bundle.revocation_list_count();
        line(format!(
            "trust {}: {}, {}{}",
            bundle.name(),
            count(anchors, "anchor"),
            count(lists, "revocation list"),
            describe_scope(settings),
        ));
    }
    for route in config.routes() {
        line(describe_route(config, route));
    }
    for upstream in config.upstreams() {
        line(describe_upstream(config, upstream));
    }
    for warning in prepared.loaded().warnings() {
        line(format!("warning: {}", warning.text));
    }
    for bundle in &material.bundles {
        if let Some(list) = bundle.revocation_lists().min_by_key(|l| l.next_update) {
            line(describe_first_list(bundle.name(), &list));
        }
    }
    describe_expiries(material, &mut text);
    text
}

/// For whom a bundle's anchors may vouch, and what of it is only tried out.
fn describe_scope(bundle: &config::TrustBundle) -> String {
    let mut text = String::new();
    if let Some(domain) = &bundle.spiffe_trust_domain {
        text.push_str(&format!(", only for SPIFFE IDs of {domain}"));
    }
    if let Some(may_assert) = &bundle.may_assert {
        text.push_str(&format!(", only for {may_assert}"));
    }
    if !bundle.enforce_crl {
        text.push_str(", revocation NOT enforced");
    }
    if !bundle.enforce_withdrawal {
        text.push_str(", withdrawal NOT enforced");
    }
    text
}

fn describe_listener(config: &Config, listener: &config::Listener) -> String {
    let name = &listener.name;
    let bind = &listener.bind.value;
    if let Some(redirect) = &listener.redirect {
        let host = redirect.host.as_deref().unwrap_or("the same host");
        let (port, status) = (redirect.port, redirect.status);
        return format!(
            "listener {name}: {bind}, plaintext, every request gets {status} to https://, {host}, port {port}"
        );
    }
    let Some(tls) = &listener.tls else {
        return format!("listener {name}: {bind}, plaintext, every caller anonymous");
    };
    let certificates = count(tls.certificates.len(), "certificate");
    let policy = describe_policy(config, (tls, tls.own_policy()));
    let mut text =
        format!("listener {name}: {bind}, TLS with {certificates}, client certificates {policy}");
    for named in &tls.names {
        let policy = describe_policy(config, (tls, named.policy));
        text += &format!(
            "\n  listener {name}, clients that ask for {}: client certificates {policy}",
            named.name.value
        );
    }
    if let Some(strictest) = tls
        .strictest_policy()
        .filter(|_| tls.unknown_sni == UnknownSni::Strictest)
    {
        let policy = describe_policy(config, (tls, strictest));
        text += &format!(
            "\n  listener {name}, clients that ask for an unknown name: client certificates {policy}"
        );
    }
    text
}

fn describe_policy(config: &Config, (tls, policy): (&ListenerTls, ClientPolicy)) -> String {
    let verb = match policy.client_auth {
        ClientAuth::None => return "not asked for".to_owned(),
        ClientAuth::Want => "asked for",
        ClientAuth::Require => "required",
    };
    let bundle = policy
        .trust
        .and_then(|id| config.bundle(id))
        .map_or("-", |b| b.name.as_str());
    let mut text = format!("{verb}, checked against trust {bundle}");
    if tls.outcomes.make_anonymous() {
        text.push_str(", but whoever shows one that is NOT ACCEPTED may be let in as nobody");
    }
    text
}

fn describe_route(config: &Config, route: &config::Route) -> String {
    let upstream = config
        .upstream(route.upstream)
        .map_or("-", |u| u.name.as_str());
    let listed = |rules: &[config::Rule]| {
        let texts: Vec<_> = rules.iter().map(ToString::to_string).collect();
        texts.join(" or ")
    };
    let who = match &route.allow {
        Some(allow) => listed(allow),
        None if route.requires_certificate => "every caller with a certificate".to_owned(),
        None => "every caller that its listener accepts".to_owned(),
    };
    let but = match &route.deny[..] {
        [] => String::new(),
        deny => format!(", but not for {}", listed(deny)),
    };
    let shadow = if route.enforce {
        ""
    } else {
        " (not enforced: what it denies is only noted)"
    };
    let host = match &route.host {
        None => "every host".to_owned(),
        Some(pattern) => format!("host {pattern}"),
    };
    let listener = route
        .listener
        .and_then(|id| config.listener(id))
        .map_or_else(String::new, |l| format!(" on listener {}", l.name));
    format!(
        "route {}: {host}, path {}{listener} to upstream {upstream}, for {who}{but}{shadow}",
        route.name, route.path
    )
}

fn describe_upstream(config: &Config, upstream: &config::Upstream) -> String {
    let endpoints: Vec<_> = upstream.endpoints.iter().map(|e| e.text.as_str()).collect();
    let trust = match upstream.tls.as_ref().map(|tls| tls.trust) {
        None => String::new(),
        Some(UpstreamTrust::System(_)) => ", verified against the machine's authorities".to_owned(),
        Some(UpstreamTrust::Bundle(id)) => {
            let name = config.bundle(id).map_or("-", |b| b.name.as_str());
            format!(", verified against trust {name}")
        }
    };
    format!(
        "upstream {}: {}{trust}",
        upstream.name,
        endpoints.join(", ")
    )
}

/// When a bundle's revocation lists are no longer all current.
fn describe_first_list(bundle: &str, list: &RevocationListFacts) -> String {
    let left = list.next_update.saturating_sub(unix_now());
    let ends = if left < 0 {
        format!("ran out {} ago", describe(left.saturating_neg()))
    } else {
        format!("in {}", describe(left))
    };
    format!(
        "revocation lists of {bundle}: first to run out is that of \"{}\", {ends}",
        list.issuer
    )
}

/// One line for each kind and name: how many, and the first to run out.
fn describe_expiries(material: &Material, text: &mut String) {
    let mut first: Vec<&Expiry> = Vec::new();
    let mut places = HashMap::new();
    for expiry in &material.expiries {
        let place = *places
            .entry((expiry.kind, expiry.name.as_str()))
            .or_insert(first.len());
        match first.get_mut(place) {
            Some(known) if expiry.not_after < known.not_after => *known = expiry,
            Some(_) => {}
            None => first.push(expiry),
        }
    }
    for expiry in first {
        // Writing to a text does not fail.
        writeln!(
            text,
            "  {} of {}: first to expire is \"{}\", {}",
            if expiry.kind == "anchor" {
                "anchors"
            } else {
                "own certificates"
            },
            expiry.name,
            expiry.subject,
            expiry.ends()
        )
        .ok();
    }
}
