//! The account as one JSON document, for programs.

use serde_json::{Value, json};

use super::account::Account;
use super::fields::{self, Content, Field};
use super::{steps, words};
use crate::config::Outcome;
use crate::identity::CertificateNames;
use crate::proxy::Destination;
use crate::tls::{ListStatus, Lookup, RevocationListFacts, TriedPath};

/// The document; its names are in the manual.
pub(super) fn of(account: &Account<'_>) -> String {
    let case = &account.case;
    let steps: Vec<_> = steps::of(account)
        .into_iter()
        .map(|step| {
            let outcome = if step.is_refused { "refused" } else { "ok" };
            json!({ "step": step.name, "outcome": outcome, "text": step.text })
        })
        .collect();
    let keys = matches!(
        account.request().map(|it| &it.outcome),
        Some(Ok(Destination::Keys | Destination::Elsewhere(_)))
    );
    let verdict = match account.refusal() {
        Some(_) => "refused",
        None if keys => "answered",
        None => "permitted",
    };
    let at = i64::try_from(case.at.as_secs()).unwrap_or(i64::MAX);
    let known_as = words::known_as(account);
    let document = json!({
        "verdict": verdict,
        "listener": account.listener().map(|listener| &listener.name),
        "at": words::time(at),
        "from": case.from.map(|address| address.ip().to_string()),
        "assumed": case.assumed,
        "steps": steps,
        "handshake": handshake(account),
        "caller": caller(account),
        "request": {
            "method": case.head.method.as_str(),
            "host": case.host,
            "target": case.head.uri.path_and_query().map_or("/", |it| it.as_str()),
            "protocol": if case.http2 { "HTTP/2" } else { "HTTP/1.1" },
        },
        "route": account.route().map(|(index, route)| json!({
            "name": route.name, "index": index, "line": route.place.line,
        })),
        "rule": account.request().and_then(|request| request.rule.as_deref()),
        "would_deny": account.request().and_then(|request| request.would_deny.as_ref())
            .map(|(rule, cause)| json!({ "rule": rule, "cause": cause })),
        "would_allow": account.request().and_then(|request| request.would_allow.as_deref()),
        "upstream": upstream(account),
        "request_line": account.sent().map(fields::request_line),
        "fields": account.sent().map(|sent| {
            let fields = fields::of(account, sent);
            fields.iter().map(field).collect::<Vec<_>>()
        }),
        "known_as": known_as.map(|(layer, who)| json!({ "layer": layer, "who": who })),
        "refusal": refusal(account),
    });
    format!("{document}\n")
}

fn handshake(account: &Account<'_>) -> Option<Value> {
    let handshake = account.handshake.as_ref()?;
    let client_auth = match &handshake.trust {
        None => "none",
        Some((_, false)) => "want",
        Some((_, true)) => "require",
    };
    let leaf = account.case.chain().first();
    let presented = leaf.filter(|_| handshake.trust.is_some());
    let names = presented.and_then(|der| CertificateNames::read(der).ok());
    let paths: Vec<_> = handshake.paths.iter().map(path).collect();
    Some(json!({
        "server_name": handshake.server_name,
        "shown": handshake.shown.as_ref().map(certificate),
        "client_auth": client_auth,
        "trust": handshake.trust.as_ref().map(|(bundle, _)| bundle.name()),
        "presented": names.as_ref().map(certificate),
        "paths": paths,
        "would_refuse": handshake.would_refuse,
        "not_accepted": account.not_accepted().map(|client| json!({
            "reason": client.reason.code(),
            "outcome": match client.outcome {
                Outcome::Alert => "alert",
                Outcome::Anonymous => "anonymous",
                Outcome::Http => "http",
            },
            "cause": client.cause,
            "nearest_miss": client.nearest_miss,
            "remedy": client.remedy,
        })),
    }))
}

fn certificate(names: &CertificateNames) -> Value {
    json!({
        "subject": names.subject(),
        "uri": names.uri(),
        "dns": names.dns(),
        "email": names.email(),
        "issuer": names.issuer(),
        "serial": names.serial(),
        "fingerprint": names.fingerprint().to_string(),
        "not_before": words::time(names.not_before()),
        "not_after": words::time(names.not_after()),
    })
}

fn path(path: &TriedPath) -> Value {
    let lookups: Vec<_> = path.lookups.iter().map(lookup).collect();
    json!({
        "issuers": path.issuers,
        "anchor": path.anchor.to_string(),
        "good_until": words::time(path.not_after),
        "lookups": lookups,
        "fault": path.fault,
    })
}

fn lookup(lookup: &Lookup) -> Value {
    let status = match lookup.status {
        ListStatus::ClearUntil(_) => "clear",
        ListStatus::NotToSign => "not_to_sign",
        ListStatus::Revoked => "revoked",
        ListStatus::Unknown => "unknown",
    };
    let until = match lookup.status {
        ListStatus::ClearUntil(until) => Some(words::time(until)),
        _ => None,
    };
    let lists: Vec<_> = lookup.lists.iter().map(list).collect();
    json!({
        "issuer": lookup.issuer,
        "serial": lookup.serial,
        "is_leaf": lookup.is_leaf,
        "status": status,
        "clear_until": until,
        "lists": lists,
    })
}

fn list(list: &RevocationListFacts) -> Value {
    json!({
        "issuer": list.issuer,
        "number": list.number,
        "this_update": words::time(list.this_update),
        "next_update": words::time(list.next_update),
        "source": list.source.display().to_string(),
    })
}

/// `null`: the handshake was refused, so there is nobody.
fn caller(account: &Account<'_>) -> Option<Value> {
    let request = account.request()?;
    let peer = account.peer();
    let names = peer.map(|peer| {
        let names = peer.names();
        json!({
            "subject": names.subject(),
            "uri": names.uri(),
            "dns": names.dns(),
            "email": names.email(),
        })
    });
    Some(json!({
        "peer": peer.map(|peer| peer.primary()),
        "names": names,
        "spoken_for": request.spoken_for,
    }))
}

fn upstream(account: &Account<'_>) -> Option<Value> {
    let (upstream, plan) = account.upstream()?;
    let outbound = &upstream.outbound;
    let endpoints: Vec<_> = upstream.endpoints.iter().map(|e| e.text.as_str()).collect();
    Some(json!({
        "name": upstream.name,
        "endpoints": endpoints,
        "client_certificate_authentication": words::mode(outbound.client_certificate),
        "presents": plan.presents_certificate()
            .then(|| plan.own_identity().map(|own| own.primary().to_owned())).flatten(),
        "basic_authentication": words::mode(outbound.credential),
        "identity_assertion": words::mode(outbound.assertion),
    }))
}

fn field(field: &Field) -> Value {
    match &field.content {
        Content::Plain(value) => json!({ "name": field.name, "value": value }),
        Content::Secret(secret) => json!({
            "name": field.name,
            "secret": {
                "scheme": secret.scheme,
                "bytes": secret.bytes,
                "from": secret.from,
                "claims": secret.claims,
            },
        }),
    }
}

fn refusal(account: &Account<'_>) -> Option<Value> {
    let refused = account.refusal()?;
    let place = if refused.status.is_none() {
        "handshake"
    } else {
        "request"
    };
    Some(json!({
        "at": place,
        "reason": refused.reason,
        "fault": refused.fault,
        "status": refused.status,
        "cause": refused.cause,
        "nearest_miss": refused.nearest_miss,
        "remedy": refused.remedy,
    }))
}
