//! Loads, verifies, publishes and presents certificates, towards clients and upstreams.
//!
//! This room alone turns what a peer presents into an established identity: a
//! [`VerifiedLeaf`](crate::identity::VerifiedLeaf) is attested in
//! [`handshake`] and nowhere else, after the whole handshake, proof of
//! possession included, has succeeded.
//!
//! # Rules
//!
//! * Nothing is ever asked for and not checked.
//! * What cannot be read, parsed or used refuses the start. A bundle with one
//!   unusable certificate in it is refused whole: the operator meant that
//!   anchor to be in force.
//! * A resumed session is never a way around a check: its chain is verified
//!   again, against the bundle in force, before the session is gone on with
//!   ([`sessions`]).
//! * Only [`webpki`] judges chains; this room adds what webpki leaves open:
//!   anchors that are not authorities, or that have expired.
//!
//! # Sources
//!
//! RFC 9846 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 5280 (certificates and CRLs),
//! RFC 9525 (names in certificates).

mod bundle;
mod choices;
mod client;
mod first_flight;
pub mod handshake;
mod load;
mod own_certificate;
mod pem;
mod refusal;
mod server;
mod sessions;
mod sni;
mod stream;
#[cfg(test)]
mod testing;
mod verifier;
mod words;

pub use bundle::{Anchor, Bundle, Verdict};
pub use client::{ClientTls, UpstreamHandshake, UpstreamHandshakeError};
pub use handshake::{Handshaken, RefusedHandshake};
pub use load::{Expiry, Material, load};
pub use refusal::Refusal;
pub use server::{ServerTls, linger};
pub use sessions::TicketKeys;
pub use stream::{Socket, Stream};
