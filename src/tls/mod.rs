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
//!   (`sessions`).
//! * Only [`webpki`] builds paths and verifies the signatures of certificates.
//!   This room adds what webpki leaves open: which anchors cannot be used
//!   (`anchor`), their dates, and `revocation`, which is asked of each path
//!   that webpki finds.
//! * Whom a chain names is no part of whether it is good; `scope` says for whom
//!   the anchors of a bundle may vouch, and is asked of each leaf after that.
//! * A path that stood under one bundle is asked of the next by difference: is
//!   its anchor there, are its dates in order, does no list revoke it.
//!
//! # Sources
//!
//! RFC 9846 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 5280 (certificates and CRLs),
//! RFC 9525 (names in certificates).

mod anchor;
mod bundle;
mod choices;
mod client;
mod cost;
mod diagnosis;
mod doubts;
mod expiry;
mod first_flight;
mod front;
pub mod handshake;
mod load;
mod machine;
mod origins;
mod own_certificate;
mod peers;
mod pem;
mod possession;
mod purpose;
mod refusal;
mod revocation;
mod scope;
mod server;
mod sessions;
mod sni;
mod stream;
#[cfg(test)]
mod testing;
mod trust;
mod trust_path;
mod verifier;
mod words;

pub use anchor::{Anchor, AnchorUse};
pub use bundle::{Bundle, BundleWarning, Objection, Shrinkage, Verdict};
pub use client::{ClientTls, RefusedUpstream, UpstreamHandshake, UpstreamHandshakeError};
pub use diagnosis::{Diagnosis, Presented, Step};
pub use expiry::Expiry;
pub use handshake::{Evidence, Handshaken, LetIn, NotAccepted, Peer, RefusedHandshake};
pub use load::{Material, load, load_keeping};
pub use own_certificate::{describe, unix_now};
pub use peers::{Connected, KnownPeer, Peers, RequestCount, Withdrawal, verify};
pub(crate) use pem::private_key;
pub use purpose::WrongPurpose;
pub use refusal::Refusal;
pub use revocation::{ListStatus, Lookup, Note, RevocationListFacts};
pub use scope::OutOfScope;
pub use server::{
    Misdirected, Rehearsal, RehearsedPeer, ServerTls, TriedPath, client_chain, linger,
};
pub use sessions::TicketKeys;
pub use stream::{Socket, Stream};
pub use trust_path::TrustPath;
