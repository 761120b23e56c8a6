//! Routes.

use std::fmt;

use super::{ListenerId, Maintenance, Place, Rewriting, RouteLimits, Rule, UpstreamId};

/// `[[routes]]`: which requests go to which upstream, and who may send them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The label in logs and metrics: `name`, else `routes[N]` counted from 0.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// Only on this listener; `None`: on each.
    pub listener: Option<ListenerId>,
    /// Only for this host; `None`: for each.
    pub host: Option<HostPattern>,
    /// A prefix on whole segments, beginning with `/`, as it was written.
    pub path: String,
    /// Whether a caller without a certificate is refused with 403.
    pub requires_certificate: bool,
    /// Who may not; looked at first.
    pub deny: Vec<Rule>,
    /// Who may; `None`: every caller that came this far. Never `Some` of an empty list.
    pub allow: Option<Vec<Rule>>,
    /// `false`: what the route would refuse is noted, and let through.
    pub enforce: bool,
    /// What bounds its requests.
    pub limits: RouteLimits,
    /// What it answers by itself; `None`: it is served.
    pub maintenance: Option<Maintenance>,
    /// Where permitted requests go.
    pub upstream: UpstreamId,
    /// What is changed in them, and in their responses.
    pub rewriting: Rewriting,
}

/// The host of a route, in lower case without a final dot; IPv6 without brackets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// This very name or address.
    Exact(String),
    /// `*.SUFFIX`: exactly one label before the suffix; held without the `*.`.
    Wildcard(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}
