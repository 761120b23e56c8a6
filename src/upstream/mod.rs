//! Gets a connection to an endpoint and authenticates on it, in all three layers.
//!
//! Each worker has its own [`Upstream`]s with their own pools; workers share
//! only the [`Plan`]s, which are immutable but for what the process finds out
//! about their endpoints. A request that comes here carries the
//! [`Permit`](crate::policy::Permit) that allowed it.
//!
//! # Rules
//!
//! * A request is sent again only when nothing of it can have been processed:
//!   it was handed back unsent, or the upstream says so (RFC 9113 §8.7), or it
//!   is idempotent and met a connection that had been used before and was closed
//!   without an answer (RFC 9110 §9.2.2). `retry_on` adds to that for idempotent
//!   requests, within a budget. Its body must be there as a whole.
//! * An endpoint is given no more at one time than the config says, by all
//!   workers together; further requests wait in line.
//! * An HTTP/1.1 connection is driven by whoever waits for its response, so
//!   that a request costs no second task. Where the upload outlives the
//!   response head, a task sends what is left: the upload must go on even when
//!   nobody reads the response.
//! * An upstream that is not in the next generation is retired: what is under way
//!   on it finishes, and its connections are used for nothing else.
//! * An endpoint that refuses connections or fails requests is left alone for a
//!   while, and one that probes find unwell until they find it well, unless there
//!   is no other.
//! * Endpoints are probed, and their names resolved, once for the whole process
//!   ([`Lookout`]).

mod announcement;
mod answer;
pub mod assertion;
mod attempt;
mod balance;
mod body;
mod condition;
mod connect;
mod credential;
mod endpoint;
mod fault;
mod gate;
mod h1;
mod h2;
mod health;
mod host;
mod in_use;
mod judgement;
mod lookout;
pub mod own_request;
mod owner;
mod pauses;
mod per_caller;
mod plan;
mod prelude;
mod read_ahead;
mod renewal;
mod request;
mod resolve;
mod resting;
mod retry;
mod send;
mod sessions;
mod standing;
#[cfg(test)]
pub(crate) mod testing;
mod traced;
mod turn;
mod wire;

pub use announcement::{Announcement, Announces};
pub use answer::Answer;
pub use balance::affinity;
pub use body::UpstreamBody;
pub use credential::Credential;
pub use fault::{SendFault, SendFaultKind};
pub use h2::Local;
pub use in_use::Portion;
pub use lookout::Lookout;
pub use owner::Owner;
pub use pauses::LeftAlone;
pub use plan::{Plan, load};
pub use request::UpstreamRequest;
pub use send::Upstream;
pub use sessions::{Edition, SessionKey, Sessions};
pub use wire::LinkFault;
#[cfg(feature = "inside")]
pub use wire::response;

/// What a request body must be able to do to go up.
///
/// `Default` is the empty body.
pub trait UploadBody:
    hyper::body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Default + Unpin + 'static
{
    /// The same body from its beginning, if it is there as a whole: with it a
    /// request can be sent again. The empty body always is.
    fn again(&self) -> Option<Self>;

    /// The service has said `100 Continue` (RFC 9110 §10.1.1): a body that was
    /// kept back for that goes up now.
    fn go_on(&mut self);
}

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
