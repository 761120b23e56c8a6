//! Leads every request of a listener to `https://`.
//!
//! # Rules
//!
//! * Nobody is led to a host that only the client names: a cache in between, or
//!   whoever sends `Host` for another, would make that a way out of here. The
//!   host must be one that a TLS listener has a certificate for, or that a route
//!   names, unless the config names the only one.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Response, StatusCode, request};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::site::Site;
use super::target::Target;
use crate::config::{ListenerId, Redirect};

/// Where a request is led to.
#[derive(Debug)]
pub struct Redirected {
    /// The status.
    pub status: StatusCode,
    /// `https://HOST[:PORT]PATH[?QUERY]`.
    pub location: HeaderValue,
}

/// Where a request with this head and target is led to.
///
/// # Errors
///
/// Its host is none of this config.
pub(super) fn redirected(
    site: &Site,
    redirect: &Redirect,
    (head, target): (&request::Parts, &Target<'_>),
) -> Result<Redirected, Fault> {
    let host = match &redirect.host {
        Some(host) => host.as_str(),
        None if is_ours(site, &target.host) => &*target.host,
        None => return Err(foreign(&target.host)),
    };
    let path = head.uri.path_and_query().map(|it| it.as_str());
    // `OPTIONS *` asks for the server as a whole.
    let path = path.filter(|path| path.starts_with('/')).unwrap_or("/");
    let host = match host.contains(':') {
        // An IPv6 address.
        true => Cow::Owned(format!("[{host}]")),
        false => Cow::Borrowed(host),
    };
    let location = match redirect.port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    let status = StatusCode::from_u16(redirect.status);
    Ok(Redirected {
        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
        location: HeaderValue::try_from(location)
            .map_err(|_| Fault::malformed("the request target cannot stand in Location"))?,
    })
}

/// Whether a certificate of a TLS listener carries the host, or a route names it.
fn is_ours(site: &Site, host: &str) -> bool {
    let listeners = (0..site.config().listeners().len()).map(ListenerId);
    let mut servers = listeners.filter_map(|id| site.server(id));
    servers.any(|tls| tls.names(host)) || site.routes().names(host)
}

fn foreign(host: &str) -> Fault {
    let cause = format!(
        "redirect_to_https leads to hosts of this config alone, and {host} is none: no certificate of a TLS listener carries it, and no route names it"
    );
    Fault {
        own_remedy: Some(format!(
            "if clients are to be led to {host}, add a certificate for it, or a route with this host; or write redirect_to_https = {{ host = \"...\" }} to lead all of them to one"
        )),
        ..Fault::new(Side::Proxy, Phase::Route, Kind::AuthorityNotServed, cause)
    }
}

/// The answer that leads there.
pub(super) fn answer(to: Redirected, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    exchange.status(to.status);
    exchange.complete();
    let mut response = Response::new(ResponseBody::own(Bytes::new(), Some(exchange)));
    *response.status_mut() = to.status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, to.location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}
