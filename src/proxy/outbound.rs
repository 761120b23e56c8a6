//! Makes the head that came into the head that goes up.

use http::header::{AUTHORIZATION, CONNECTION, EXPECT, HOST, TE};
use http::uri::{self, Scheme, Uri};
use http::{HeaderValue, Version, request};

use super::assertion::Told;
use super::authentication::Means;
use super::caller::Caller;
use super::fault::Fault;
use super::headers::{self, Hop};
use super::party::Party;
use super::rewrite::Rewriting;
use super::trail::Trail;
use super::{Site, forwarding};
use crate::config::Protocol;
use crate::upstream::{Credential, Plan};

/// For whom and to which upstream a head is made.
pub(super) struct Outbound<'a> {
    pub(super) site: &'a Site,
    pub(super) caller: &'a Caller,
    pub(super) party: &'a Party,
    pub(super) upstream: Told<'a>,
    /// What the route changes.
    pub(super) rewriting: Option<&'a Rewriting>,
    /// What ties the request to others.
    pub(super) trail: Option<&'a Trail>,
}

/// What a head that is ready says.
pub(super) struct Written {
    /// What its hop-by-hop fields said, which are gone.
    pub(super) hop: Hop,
    /// Whether an identity is asserted.
    pub(super) asserted: bool,
}

/// The layer by which the upstream knows the caller: assertion before
/// credential before certificate.
pub(super) fn rank(asserted: bool, means: Means, plan: &Plan) -> &'static str {
    match (asserted, means) {
        (true, _) => "assertion",
        (false, Means::Session(_)) => "session",
        (false, Means::Own | Means::Caller) => "credential",
        (false, Means::Nothing) if plan.presents_certificate() => "certificate",
        (false, Means::Nothing) => "none",
    }
}

impl Outbound<'_> {
    /// Rewrites `head`, for a request to `authority`; all but its message layer.
    ///
    /// # Errors
    ///
    /// A layer that the upstream requires has nothing to say for this caller.
    pub(super) fn write(
        &self,
        head: &mut request::Parts,
        authority: &HeaderValue,
    ) -> Result<Written, Fault> {
        let Self {
            site,
            caller,
            party,
            upstream,
            rewriting,
            trail,
        } = self;
        let plan = upstream.plan;
        let fields = &mut head.headers;
        let trusted = caller.origin().is_trusted();
        let known = (site.identity_fields().as_ref(), caller.field_names());
        let mut hop = headers::strip_request(fields, known, trusted);
        let http10 = plan.is_http10();
        if head.version == Version::HTTP_10 || http10 {
            // It cannot be asked to change (RFC 9110 §7.8).
            hop.upgrade = None;
        }
        if let Some(trail) = trail {
            trail.write(fields);
        }
        let mut path = None;
        if let Some(rewriting) = rewriting {
            path = rewriting.path(head.uri.path_and_query())?;
            rewriting.write((party.peer(), party.filled()), fields)?;
        }
        let host = plan.host().unwrap_or(authority);
        // From here on only countersign's own words are added.
        if let Credential::Never = plan.credential() {
            // The signed assertion may stand there instead.
            headers::drop_field(fields, &AUTHORIZATION);
        }
        let asserted = party.assertions().write(upstream, party.peer(), fields)?;
        caller
            .origin()
            .write(fields, authority.to_str().unwrap_or_default());
        forwarding::add_via(fields, caller.is_http2());
        let http2 = plan.protocol() == Protocol::Http2;
        if hop.trailers && !http10 {
            fields.insert(TE, HeaderValue::from_static("trailers"));
            if !http2 {
                fields.insert(CONNECTION, HeaderValue::from_static("te"));
            }
        }
        if http2 {
            headers::drop_field(fields, &HOST);
            headers::drop_field(fields, &EXPECT);
            head.version = Version::HTTP_2;
        } else {
            if caller.is_http2() {
                headers::join_cookies(fields);
            }
            fields.insert(HOST, host.clone());
            head.version = Version::HTTP_11;
        }
        if http10 {
            // 100 Continue came with HTTP/1.1 (RFC 9110 §10.1.1), and there a
            // connection ends with its request unless both sides say otherwise.
            headers::drop_field(fields, &EXPECT);
            fields.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            head.version = Version::HTTP_10;
        }
        let path = path.or_else(|| head.uri.path_and_query().cloned());
        head.uri = upstream_uri(path, http2.then_some((host, plan.is_tls())))?;
        Ok(Written { hop, asserted })
    }
}

/// The request target as the upstream's protocol wants it: the path alone, or,
/// for HTTP/2, with scheme and authority.
fn upstream_uri(
    path: Option<uri::PathAndQuery>,
    absolute: Option<(&HeaderValue, bool)>,
) -> Result<Uri, Fault> {
    let mut parts = uri::Parts::default();
    let root = || uri::PathAndQuery::from_static("/");
    parts.path_and_query = Some(path.unwrap_or_else(root));
    if let Some((authority, tls)) = absolute {
        parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = uri::Authority::try_from(authority.as_bytes()).ok();
    }
    Uri::from_parts(parts).map_err(|_| Fault::malformed("the request target cannot be sent on"))
}
