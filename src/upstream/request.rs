//! A request on its way up, with the permit that allowed it.

use http::{Method, Request};

use super::UploadBody;
use super::body::{Tracked, Upload};
use crate::policy::Permit;
use std::rc::Rc;

/// A request that policy has permitted. There is no way to send another.
#[derive(Debug)]
pub struct UpstreamRequest<B> {
    permit: Permit,
    request: Request<Tracked<B>>,
    upload: Option<Rc<Upload>>,
    upgrade: bool,
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
            request: Request::from_parts(parts, body),
            upload,
            upgrade,
        }
    }

    /// The permit it goes under.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// A copy to send again, if it may be: no body, and a method that means the
    /// same when it is processed twice (RFC 9110 §9.2.2).
    pub(super) fn replay(&self) -> Option<Request<Tracked<B>>> {
        let idempotent = matches!(
            *self.request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::PUT
                | Method::DELETE
                | Method::TRACE
        );
        if !idempotent || self.upload.is_some() {
            return None;
        }
        let mut copy = Request::new(Tracked::new(B::default(), None));
        *copy.method_mut() = self.request.method().clone();
        *copy.uri_mut() = self.request.uri().clone();
        *copy.version_mut() = self.request.version();
        *copy.headers_mut() = self.request.headers().clone();
        Some(copy)
    }

    pub(super) fn into_parts(self) -> (Request<Tracked<B>>, Option<Rc<Upload>>) {
        (self.request, self.upload)
    }
}
