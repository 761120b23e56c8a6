//! A request on its way up, with the permit that allowed it.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request};
use hyper::ext::Protocol;

use super::UploadBody;
use super::announcement::Announcement;
use super::body::Tracked;
use super::owner::Owner;
use crate::policy::Permit;
use crate::telemetry::spans::Attempts;

/// A request that policy has permitted. There is no way to send another.
#[derive(Debug)]
pub struct UpstreamRequest<B> {
    permit: Permit,
    /// Apart, since it is handed from one to the next.
    request: Box<Request<Tracked<B>>>,
    upgrade: bool,
    owner: Owner,
    response_timeout: Option<Duration>,
    affinity: u64,
    announcement: Option<Announcement>,
    attempts: Option<Rc<Attempts>>,
}

impl<B: UploadBody> UpstreamRequest<B> {
    /// Binds a request to its permit. `upgrade`: it asks for a change of
    /// protocol, so its connection cannot be used again; over HTTP/2, its stream.
    pub fn new(permit: Permit, request: Request<B>, upgrade: bool) -> Self {
        let (parts, body) = request.into_parts();
        let body = Tracked::new(body);
        Self {
            permit,
            request: Box::new(Request::from_parts(parts, body)),
            upgrade,
            owner: Owner::Shared,
            response_timeout: None,
            affinity: 0,
            announcement: None,
            attempts: None,
        }
    }

    /// Goes over connections that begin with this, if the upstream wants that
    /// said. They must be its owner's alone.
    #[must_use]
    pub fn announced_by(self, announcement: Option<Announcement>) -> Self {
        Self {
            announcement,
            ..self
        }
    }

    /// Has a trace told of each attempt.
    #[must_use]
    pub fn traced_by(self, attempts: Option<Rc<Attempts>>) -> Self {
        Self { attempts, ..self }
    }

    pub(super) fn attempts(&self) -> Option<Rc<Attempts>> {
        self.attempts.clone()
    }

    /// Goes where others of this affinity go, if the upstream is balanced so.
    #[must_use]
    pub fn near(self, affinity: u64) -> Self {
        Self { affinity, ..self }
    }

    pub(super) fn affinity(&self) -> u64 {
        self.affinity
    }

    /// Goes over connections of this owner alone.
    #[must_use]
    pub fn owned_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Has the upstream so long for the response's head; `None`: as long as the
    /// upstream itself is given.
    #[must_use]
    pub fn answered_within(self, response_timeout: Option<Duration>) -> Self {
        Self {
            response_timeout,
            ..self
        }
    }

    pub(super) fn response_timeout(&self) -> Option<Duration> {
        self.response_timeout
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner.clone()
    }

    pub(super) fn announcement(&self) -> Option<Announcement> {
        self.announcement.clone()
    }

    /// The permit it goes under.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether a copy of it is easily kept: it has no body, or one that is there
    /// as a whole.
    pub(super) fn is_copyable(&self) -> bool {
        self.request.body().again().is_some()
    }

    /// Whether its method means the same when it is processed twice (RFC 9110
    /// §9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(
            *self.request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::PUT
                | Method::DELETE
                | Method::TRACE
        )
    }

    pub(super) fn into_request(self) -> Box<Request<Tracked<B>>> {
        self.request
    }
}

/// A copy of a request, to send again; `None`: its body is not there as a whole.
pub(super) fn copy_of<B: UploadBody>(
    request: &Request<Tracked<B>>,
) -> Option<Box<Request<Tracked<B>>>> {
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        copy.extensions_mut().insert(protocol.clone());
    }
    Some(Box::new(copy))
}
