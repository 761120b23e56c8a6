//! Carries one permitted request to one upstream and its response back.
//!
//! [`Caller::handle`] is the path, read from top to bottom: one reading of the
//! request's fields and target, its route, the policy's decision, what the route
//! demands beside it, the fields that go up, the upstream's answer, the fields
//! that come down. Whatever fails on the way is a [`Fault`], and every request,
//! however it ends, ends in one line.
//!
//! # Rules
//!
//! * What says who is calling comes from the connection alone, or from the
//!   assertion of a peer that the listener lists (`accepted`). Fields that say
//!   so and arrive from downstream are removed, in every spelling that a server
//!   folds to the same name, in heads and in trailers, on every listener.
//! * Hop-by-hop fields end here: those of RFC 9110 §7.6.1 and every field that
//!   any `Connection` line names, before countersign's own are added.
//! * What is decided is decided on the request as its caller wrote it; what a
//!   route rewrites is rewritten afterwards (`rewrite`).
//! * Bodies pass piece by piece and are not gathered, but for what `replay_limit`
//!   keeps where a request may have to be sent again, and what the upstream has
//!   held (`buffer_request`, `buffer_response`).
//!
//! # Generations
//!
//! A [`Downstream`] connection outlives generations; a [`Caller`] is what one of
//! them makes of it, and a request is served to its end under the caller with
//! which it began. An upstream that is the same in the next generation keeps its
//! connections; the others finish what is under way ([`Proxy::new`]).
//!
//! # Sources
//!
//! RFC 9110, RFC 9112 (HTTP/1.1), RFC 9113 (HTTP/2), RFC 8441 (WebSockets over
//! HTTP/2), RFC 7239 (Forwarded).

mod accepted;
mod admission;
mod affinity;
mod announced;
mod assertion;
mod authentication;
mod body;
mod caller;
mod converse;
mod downstream;
mod exchange;
mod fault;
mod field_names;
mod forwarding;
mod framing;
mod grpc;
mod handle;
mod headers;
mod http2;
#[cfg(feature = "inside")]
pub mod inside;
pub mod jwt;
mod keys;
mod ledger;
mod outbound;
mod pace;
mod party;
mod paths;
mod quota;
mod readings;
mod redirect;
mod rehearsal;
mod remedy;
mod request_body;
mod respond;
mod rewrite;
mod route;
mod route_limits;
mod site;
mod source;
mod tally;
mod target;
mod trail;
mod tunnel;
mod websocket;

pub use accepted::{Accepted, load};
pub use body::{BodyFault, ResponseBody};
pub use caller::Caller;
pub use downstream::{Downstream, NotServed, Standing, TlsSession, Tunnel};
pub use fault::{Fault, Kind, Phase, Side};
pub use framing::{Ambiguity, Framing};
pub use handle::Proxy;
pub use quota::{Quota, quotas};
pub use redirect::Redirected;
pub use rehearsal::{Destination, Rehearsal, Sent};
pub use request_body::RequestBody;
pub use site::{Records, Sides, Site};
pub use source::{Source, Via};
