//! Traces: whose context is continued, and where spans go.

use std::num::NonZeroU32;

use super::UpstreamId;

/// Traces of requests (W3C Trace Context).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// Whose context is continued.
    pub context: TraceContext,
    /// One in so many of the traces that begin here is recorded.
    pub sample_one_in: NonZeroU32,
    /// Where spans go; `None`: none are made.
    pub upstream: Option<UpstreamId>,
    /// By what name spans say who made them.
    pub service_name: String,
}

/// Whose trace context is continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TraceContext {
    /// That of every sender.
    Join,
    /// That of senders who are trusted to say where a request came from, or for
    /// whom; others begin a new one.
    Trusted,
}
