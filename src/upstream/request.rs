//! A request on its way up, with the permit that allowed it.

use std::rc::Rc;

use http::{Method, Request};

use super::UploadBody;
use super::announcement::Announcement;
use super::body::{Tracked, Upload};
use super::owner::Owner;
use crate::policy::Permit;

/// A request that policy has permitted. There is no way to send another.
#[derive(Debug)]
pub struct UpstreamRequest<B> {
    permit: Permit,
    /// Apart, since it is handed from one to the next.
    request: Box<Request<Tracked<B>>>,
    upload: Option<Rc<Upload>>,
    upgrade: bool,
    owner: Owner,
    announcement: Option<Announcement>,
}

impl<B: UploadBody> UpstreamRequest<B> {
    /// Binds a request to its permit. `upgrade`: it asks for a change of
    /// protocol, so its connection cannot be used again.
    pub fn new(permit: Permit, request: Request<B>, upgrade: bool) -> Self {
        let (parts, body) = request.into_parts();
        let upload = (!body.is_end_stream()).then(Upload::new);
        let body = Tracked::new(body, upload.clone());
        Self {
            permit,
            request: Box::new(Request::from_parts(parts, body)),
            upload,
            upgrade,
            owner: Owner::Shared,
            announcement: None,
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

    /// Goes over connections of this owner alone.
    #[must_use]
    pub fn owned_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    pub(super) fn owner(&self) -> (Owner, Option<Announcement>) {
        (self.owner.clone(), self.announcement.clone())
    }

    /// The permit it goes under.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether it has no body, so that a copy of it is easily kept.
    pub(super) fn is_copyable(&self) -> bool {
        self.upload.is_none()
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

    pub(super) fn into_parts(self) -> (Box<Request<Tracked<B>>>, Option<Rc<Upload>>) {
        (self.request, self.upload)
    }
}

/// A copy of a request without a body, to send again.
pub(super) fn copy_of<B: UploadBody>(request: &Request<Tracked<B>>) -> Box<Request<Tracked<B>>> {
    let mut copy = Request::new(Tracked::new(B::default(), None));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Box::new(copy)
}
