//! Gets a connection to an endpoint and authenticates on it, in all three layers.
//!
//! Each worker has its own [`Upstream`]s with their own pools; workers share
//! only the immutable [`Plan`]s. A request that comes here carries the
//! [`Permit`](crate::policy::Permit) that allowed it.
//!
//! # Rules
//!
//! * A request is sent again only when nothing of it can have been processed:
//!   it was handed back unsent, or it is idempotent, has no body and met a
//!   connection that had been used before and was closed without an answer
//!   (RFC 9110 §9.2.2).
//! * An HTTP/1.1 connection is driven by whoever waits for its response, so
//!   that a request costs no second task. Where the upload outlives the
//!   response head, a task takes over: the upload must go on even when nobody
//!   reads the response.
//! * An upstream that is not in the next generation is retired: what is under way
//!   on it finishes, and its connections are used for nothing else.
//! * An endpoint that refuses connections is left alone for a while, unless
//!   there is no other.

mod announcement;
mod answer;
pub mod assertion;
mod balance;
mod body;
mod connect;
mod credential;
mod endpoint;
mod fault;
mod h1;
mod h2;
mod owner;
mod per_caller;
mod plan;
mod renewal;
mod request;
mod send;
mod sessions;
#[cfg(test)]
pub(crate) mod testing;

pub use announcement::{Announcement, Announces};
pub use answer::Answer;
pub use body::UpstreamBody;
pub use credential::Credential;
pub use fault::{SendFault, SendFaultKind};
pub use h2::Local;
pub use owner::Owner;
pub use plan::{Plan, load};
pub use request::UpstreamRequest;
pub use send::Upstream;
pub use sessions::{Edition, SessionKey, Sessions};

/// What a request body must be able to do to go up.
///
/// `Default` is the empty body, with which a request without one is sent again.
pub trait UploadBody:
    hyper::body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Default + Unpin + 'static
{
}

impl<B> UploadBody for B where
    B: hyper::body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Default + Unpin + 'static
{
}

/// An error of any kind, as hyper passes body errors on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
