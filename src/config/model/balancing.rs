//! Which endpoint of an upstream gets a request, and how its health is known.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};

use super::Share;

/// How an upstream's requests are spread over its endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Balancing {
    /// By what an endpoint is chosen.
    pub method: Balance,
    /// For how long an endpoint that came back has less than its share; `None`:
    /// it has its whole share at once. Never with a method that hashes.
    pub slow_start: Option<Duration>,
    /// How often the names of endpoints are resolved again; 1 s to 1 h.
    pub resolve_interval: Duration,
    /// How endpoints are asked whether they are well; `None`: they are not.
    pub health: Option<HealthCheck>,
    /// When an endpoint that fails is left alone.
    pub ejection: Ejection,
}

/// By what an endpoint is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balance {
    /// The fewest requests under way; among equals, in turn.
    LeastRequests,
    /// One after the other.
    RoundRobin,
    /// The same for the same client address.
    IpHash,
    /// The same for the same caller, by its primary name; for an anonymous one
    /// by its address.
    IdentityHash,
}

/// `[upstreams.NAME.health]`: how endpoints are asked whether they are well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: PathAndQuery,
    /// For which host; default the endpoint's own.
    pub host: Option<Authority>,
    /// From one probe to the next; 100 ms to 1 h.
    pub interval: Duration,
    /// For a whole probe; at most the interval.
    pub timeout: Duration,
    /// So many probes in a row that succeed make an endpoint well again.
    pub healthy: NonZeroU32,
    /// So many that fail take it out of the choice.
    pub unhealthy: NonZeroU32,
    /// The statuses that say that it is well.
    pub status: Statuses,
}

/// `[upstreams.NAME.ejection]`: when an endpoint that fails is left alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ejection {
    /// After so many requests in a row that it failed.
    pub consecutive_failures: NonZeroU32,
    /// The service's own answers that count as failures; may be empty.
    pub failure_status: Statuses,
    /// For how long, at first; each time in a row doubles it.
    pub base: Duration,
    /// The longest; at least the first.
    pub longest: Duration,
    /// No more of the endpoints than this are left alone for failed requests.
    pub max_share: Share,
}

/// A set of statuses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    /// Those that are in one of the ranges.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Whether this one is among them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}
