//! The host that requests to an upstream name.

use http::header::HOST;
use http::uri::{Authority, Uri};
use http::{HeaderValue, Request};

use crate::config::{Endpoint, EndpointAddress, Upstream, UpstreamHost};

/// The host that requests name, as it is written in them.
#[derive(Debug)]
pub(super) enum Host {
    /// That of the caller's request.
    Keep,
    /// The same in each.
    Named(HeaderValue),
    /// That of the endpoint, by its place.
    OfEndpoint(Vec<HeaderValue>),
}

impl Host {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let value = |text: &str| HeaderValue::from_str(text).ok();
        match &upstream.host {
            UpstreamHost::Keep => Self::Keep,
            // Only what can stand in a field has been read as a host.
            UpstreamHost::Named(name) => value(name).map_or(Self::Keep, Self::Named),
            UpstreamHost::Endpoint => {
                let endpoints = upstream.endpoints.iter();
                let all: Option<_> = endpoints
                    .map(|endpoint| value(&authority(endpoint)?))
                    .collect();
                all.map_or(Self::Keep, Self::OfEndpoint)
            }
        }
    }

    /// What is named before an endpoint is chosen; `None`: the caller's.
    pub(super) fn before_choice(&self) -> Option<&HeaderValue> {
        match self {
            Self::Keep => None,
            Self::Named(name) => Some(name),
            Self::OfEndpoint(all) => all.first(),
        }
    }

    /// Has a request name the host of the endpoint that it goes to.
    pub(super) fn name_endpoint<B>(&self, endpoint: usize, request: &mut Request<B>) {
        let Self::OfEndpoint(all) = self else {
            return;
        };
        let Some(host) = all.get(endpoint).filter(|_| all.len() > 1) else {
            return;
        };
        if request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, host.clone());
        }
        if request.uri().authority().is_some()
            && let Ok(authority) = Authority::try_from(host.as_bytes())
        {
            let mut parts = request.uri().clone().into_parts();
            parts.authority = Some(authority);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
}

/// An endpoint as a request names it: its port only where it is not the usual one.
pub(super) fn authority(endpoint: &Endpoint) -> Option<String> {
    let EndpointAddress::Tcp { host, port } = &endpoint.address else {
        return None;
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    let usual = if endpoint.tls { 443 } else { 80 };
    Some(match *port {
        port if port == usual => host,
        port => format!("{host}:{port}"),
    })
}
