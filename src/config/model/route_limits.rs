//! What bounds the requests of a route, and what it answers by itself.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// What bounds the requests of a route. What is `None` is as the listener and
/// the upstream have it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteLimits {
    /// How many requests each caller may send; `None`: as many as it likes.
    pub rate: Option<Rate>,
    /// How long a response head may take.
    pub response_timeout: Option<Duration>,
    /// How long may pass between two pieces of a body, either way.
    pub body_timeout: Option<Duration>,
    /// The largest request body, in bytes.
    pub max_body_bytes: Option<NonZeroU64>,
}

/// How many requests each caller may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// So many in each `period`, evenly spread.
    pub count: NonZeroU32,
    /// A second, a minute or an hour.
    pub period: Duration,
    /// So many at once by who has sent none for a while.
    pub burst: NonZeroU32,
    /// Who counts as one caller.
    pub per: RatePer,
}

/// Who counts as one caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RatePer {
    /// An identity; for who is anonymous, the source.
    Identity,
    /// A source: an IPv4 address, or an IPv6 network of 64 bits.
    Source,
}

impl fmt::Display for Rate {
    /// `100/s with bursts of 200`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            ..=1 => "s",
            2..=60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit} with bursts of {}", self.count, self.burst)
    }
}

/// `maintenance`: the route answers by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Maintenance {
    /// What callers are told beside the status; empty: nothing.
    pub text: String,
    /// When they may come again.
    pub retry_after: Duration,
}
