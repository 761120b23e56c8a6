//! Bounds on what clients can hold, send and have checked.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// How many a listener has at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CrowdLimits {
    /// Handshakes of everybody.
    pub handshakes: NonZeroUsize,
    /// Handshakes of one source; not above `handshakes`.
    pub handshakes_per_source: NonZeroUsize,
    /// Connections of one source.
    pub connections_per_source: NonZeroUsize,
    /// Connections of one identity.
    pub connections_per_identity: NonZeroUsize,
}

/// What it may cost to judge a client's chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainLimits {
    /// Certificates that it sends, the leaf included; at most 6.
    pub certificates: NonZeroUsize,
    /// The bytes of all of them.
    pub bytes: NonZeroUsize,
    /// The bits of the largest RSA key among them.
    pub rsa_bits: NonZeroUsize,
    /// Signatures of certificates that are verified in one handshake.
    pub signature_checks: NonZeroU32,
}

/// What a single client may send, and how slowly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrafficLimits {
    /// Fields in a request head.
    pub fields: NonZeroUsize,
    /// The body of one request, in bytes.
    pub body_bytes: NonZeroU64,
    /// The lowest rate over a whole body, in bytes a second of waiting for the client.
    pub body_rate: NonZeroU64,
    /// Requests over one connection.
    pub requests_per_connection: NonZeroU32,
    /// How long both sides of a changed protocol may be silent.
    pub tunnel_idle_timeout: Duration,
}
