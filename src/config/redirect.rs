//! Reads `redirect_to_https`: a listener that serves nothing and leads to where
//! something is.

use toml::de::DeValue;

use super::model::{Listener, ListenerId, Redirect, Route};
use super::problem::Problem;
use super::section::{Field, Read, Reader, Section};
use super::units::quoted;
use super::values::host_name;

const KEY: &str = "redirect_to_https";
/// Of `https`.
const PORT: u16 = 443;
/// Permanent, and with the method and content of the request (RFC 9110 §15.4.9).
const STATUS: u16 = 308;

pub(super) fn redirect(section: &mut Section<'_>) -> Read<Option<Redirect>> {
    let redirect = section.optional(KEY, |field| match field.value() {
        DeValue::Boolean(false) => Ok(None),
        DeValue::Boolean(true) => Ok(Some(Redirect {
            host: None,
            port: PORT,
            status: STATUS,
        })),
        DeValue::Table(_) => field.section(table).map(Some),
        _ => Err(field.mismatch("true, false or a table", None)),
    })?;
    Ok(redirect.flatten())
}

fn table(section: &mut Section<'_>) -> Read<Redirect> {
    let host = section.optional("host", |field| field.parsed(host));
    let port = section.defaulted("port", PORT, |field| {
        let port = field.count(u16::MAX.into())?;
        Ok(u16::try_from(port).unwrap_or(PORT))
    });
    let status = section.defaulted("status", STATUS, status);
    Ok(Redirect {
        host: host?,
        port: port?,
        status: status?,
    })
}

fn host(text: &str) -> Result<String, Problem> {
    host_name(text).ok_or_else(|| {
        Problem::new(format!("{} is not a host name", quoted(text)))
            .remedy("write one name, such as \"www.example.com\"")
    })
}

fn status(field: &Field<'_>) -> Read<u16> {
    let status = field.count(usize::from(u16::MAX))?;
    match u16::try_from(status) {
        Ok(status @ (301 | 302 | 307 | 308)) => Ok(status),
        _ => Err(field.refuse(
            Problem::new(format!("{status} is no status of a redirect"))
                .causes("clients would not follow it")
                .remedy("write 308 or 307 (the method stays), or 301 or 302"),
        )),
    }
}

/// Sees that the listener has nothing that it would never use.
pub(super) fn serves_nothing_else(section: &Section<'_>, listener: &Listener) -> Read<()> {
    if listener.redirect.is_none() {
        return Ok(());
    }
    let (what, causes) = if listener.tls.is_some() {
        (
            "a listener that speaks TLS is led to https://",
            "whoever followed would be led there again, for ever",
        )
    } else if listener.jwks_path.is_some() {
        (
            "jwks_path beside it",
            "the keys would never be served: every request is redirected",
        )
    } else {
        return Ok(());
    };
    let remedy = "remove one of the two, or declare another listener for it";
    let problem = Problem::new(what).causes(causes).remedy(remedy);
    Err(section.refuse_key(KEY, problem))
}

/// Reports redirects that lead nowhere, and routes that start where nothing is
/// served.
pub(super) fn report_dead_ends(reader: &Reader<'_>, listeners: &[Listener], routes: &[Route]) {
    let some_tls = listeners.iter().any(|listener| listener.tls.is_some());
    for (index, listener) in listeners.iter().enumerate() {
        let Some(redirect) = &listener.redirect else {
            continue;
        };
        let path = format!("listeners.{}.{KEY}", listener.name);
        if !some_tls && redirect.host.is_none() {
            let problem = Problem::new("no listener speaks TLS, and no host is named")
                .causes("nobody could say where the service is, and what the client names is not believed")
                .remedy(format!(
                    "write {KEY} = {{ host = \"www.example.com\" }}, or a listener with a table tls"
                ));
            reader.report(problem.of_key(listener.place, &path));
        }
        let starts_here = |route: &&Route| route.listener == Some(ListenerId(index));
        for route in routes.iter().filter(starts_here) {
            let problem = Problem::new(format!(
                "a route of listeners.{}, which redirects every request",
                listener.name
            ))
            .causes("no request would ever take it")
            .remedy(format!("name another listener, or remove {path}"));
            reader.report(problem.of_key(route.place, &route.name));
        }
    }
}
