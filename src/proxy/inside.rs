//! Pieces of the path of a request, for fuzz targets and benchmarks alone.

use http::{HeaderMap, HeaderValue, Method, Request, request};

use super::assertion::Told;
use super::caller::Caller;
use super::outbound::Outbound;
use super::site::Site;
use super::{field_names, headers, paths, readings, target};
use crate::config::{FieldNames, ListenerId, PathForm, UpstreamId};
use crate::identity::IdentityFields;

/// The request target as it goes up; `None`: it is refused, or no target.
pub fn path(form: PathForm, target: &str) -> Option<String> {
    let request = Request::builder().method(Method::GET).uri(target);
    let request = request.header("host", "fuzz.test").body(()).ok()?;
    let head = settled(form, request.into_parts().0)?;
    target::read(&head, true).ok()?;
    let target = head.uri.path_and_query();
    target.map(|target| target.as_str().to_owned())
}

/// A head whose path is in the form of its listener; `None`: it has none.
pub fn settled(form: PathForm, mut head: request::Parts) -> Option<request::Parts> {
    paths::settle(form, &mut head).ok()?;
    Some(head)
}

/// What services might make of a path beside the one reading of it.
pub fn other_readings(path: &str) -> Vec<String> {
    readings::other_readings(path)
}

/// What is left of these fields in a head, and in trailers; `None`: they are
/// refused.
pub fn fields(
    identity: &IdentityFields,
    names: FieldNames,
    sent: &HeaderMap,
) -> Option<(HeaderMap, HeaderMap)> {
    let (mut head, mut trailers) = (sent.clone(), sent.clone());
    field_names::check(&head, names).ok()?;
    headers::strip_request(&mut head, (identity, names), false);
    headers::strip_trailers(&mut trailers, (identity, names)).ok()?;
    Some((head, trailers))
}

/// The place of the route that a request takes; `None`: there is none.
pub fn route(site: &Site, listener: ListenerId, host: &str, path: &str) -> Option<usize> {
    let found = site.routes().find(site.config(), listener, host, path);
    found.map(|(index, _)| index)
}

/// The head that goes up to this upstream for the caller itself, all but its
/// message layer and what a route rewrites; `None`: the request is refused.
pub fn request_head(
    (caller, id): (&Caller, UpstreamId),
    authority: &HeaderValue,
    mut head: request::Parts,
) -> Option<request::Parts> {
    let proxy = caller.proxy();
    let upstream = proxy.upstream(id).ok()?;
    let party = caller.party(&mut head.headers).ok()?;
    let outbound = Outbound {
        site: proxy.site(),
        caller,
        party: &party,
        upstream: Told {
            id,
            plan: upstream.plan(),
            tokens: upstream.tokens(),
        },
        rewriting: None,
        trail: None,
    };
    outbound.write(&mut head, authority).ok()?;
    Some(head)
}

/// The fields of a response that go down, all but what a route rewrites; `None`:
/// it cannot be passed on.
pub fn response_head(identity: &IdentityFields, mut fields: HeaderMap) -> Option<HeaderMap> {
    headers::settle_length(&mut fields).ok()?;
    headers::strip_response(&mut fields);
    headers::settle_vary(&mut fields, identity);
    Some(fields)
}
