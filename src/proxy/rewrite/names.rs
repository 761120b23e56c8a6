//! The names that a service knows itself by.

use std::borrow::Cow;

use crate::config::{EndpointAddress, Upstream, UpstreamHost};

/// A host and a port; `None`: the usual one of the scheme.
type Name<'n> = (Cow<'n, str>, Option<u16>);

/// The names that a service knows itself by: its endpoints, and the host that
/// its requests name. The host that its callers ask for is known per request.
#[derive(Debug)]
pub(super) struct OwnNames(Vec<Name<'static>>);

impl OwnNames {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let endpoints = upstream.endpoints.iter();
        let mut names: Vec<_> = endpoints
            .filter_map(|endpoint| match &endpoint.address {
                EndpointAddress::Tcp { host, port } => Some(name(host.clone(), Some(*port))),
                EndpointAddress::Unix(_) => None,
            })
            .collect();
        if let UpstreamHost::Named(named) = &upstream.host {
            names.extend(read(named).map(|(host, port)| name(host.into_owned(), port)));
        }
        Self(names)
    }

    #[cfg(test)]
    pub(super) fn of(authorities: &[&str]) -> Self {
        let read = |text: &&str| read(text).map(|(host, port)| name(host.into_owned(), port));
        Self(authorities.iter().filter_map(read).collect())
    }

    /// Whether an authority that stands in a reference of a response is the
    /// service's own, or `asked`, the one that its caller asked for.
    ///
    /// Whether it is said with `http` or `https` makes no difference, but for
    /// the usual port: a service does not know which of the two its callers speak.
    pub(super) fn has(&self, authority: &str, asked: &str) -> bool {
        let Some(found) = read(authority) else {
            return false;
        };
        self.0.contains(&found) || read(asked).is_some_and(|asked| asked == found)
    }

    /// Whether the service could set cookies for this domain, and its caller,
    /// who asked for `asked`, could not be given them.
    pub(super) fn has_domain_apart_from(&self, domain: &str, asked: &str) -> bool {
        let covers = |host: &str| {
            let below = host.strip_suffix(domain);
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        };
        let asked = read(asked);
        let of_caller = asked.is_some_and(|(host, _)| covers(&host));
        !of_caller && self.0.iter().any(|(host, _)| covers(host))
    }
}

fn name(host: String, port: Option<u16>) -> Name<'static> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (Cow::Owned(plain(host).into_owned()), unusual(port))
}

/// Host and port of an authority; `None`: there is a user in it, or no host.
fn read(authority: &str) -> Option<Name<'_>> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (
                address,
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((plain(host), unusual(port)))
}

/// A host in the form in which hosts are compared.
fn plain(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

fn unusual(port: Option<u16>) -> Option<u16> {
    port.filter(|port| ![80, 443].contains(port))
}
