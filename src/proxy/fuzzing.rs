//! Pieces of the path of a request, for the fuzz targets alone.

use http::{HeaderMap, Method, Request};

use super::{field_names, headers, paths, target};
use crate::config::{FieldNames, PathForm};
use crate::identity::IdentityFields;

/// The request target as it goes up; `None`: it is refused, or no target.
pub fn path(form: PathForm, target: &str) -> Option<String> {
    let request = Request::builder().method(Method::GET).uri(target);
    let request = request.header("host", "fuzz.test").body(()).ok()?;
    let (mut head, ()) = request.into_parts();
    paths::settle(form, &mut head).ok()?;
    target::read(&head, true).ok()?;
    let target = head.uri.path_and_query();
    target.map(|target| target.as_str().to_owned())
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
