//! The legal configuration, as types.
//!
//! A value of one of these types needs no further check: [`super::read`] has made
//! it, and refused every file that would break what the comments here promise.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::telemetry::access::AccessTemplate;

mod admin;
mod announcers;
mod balancing;
mod client_policy;
mod confinement;
mod delivery;
mod limits;
mod listeners;
mod outbound;
mod outcomes;
mod peers;
mod redirect;
mod rewriting;
mod route_limits;
mod routes;
mod rules;
mod trace;
mod trust;
mod upstreams;
mod wire;

pub use admin::{Admin, AdminTls};
pub use announcers::Announcers;
pub use balancing::{Balance, Balancing, Ejection, HealthCheck, Statuses};
pub use client_policy::{ClientPolicy, NamedPolicy, UnknownSni};
pub use confinement::Confinement;
pub use delivery::{Buffering, Capacity, Delivery, Retries, RetryOn};
pub use limits::{ChainLimits, CrowdLimits, TrafficLimits};
pub use listeners::{
    CipherSuite, ClientAuth, KeyExchange, Limits, Listener, ListenerTls, OwnCertificate, Protocol,
    TlsVersion, TlsVersions,
};
pub use outbound::{
    CredentialSource, LayerMode, Outbound, PoolPer, RunAs, SessionLost, SessionPer,
    StatefulSessions,
};
pub use outcomes::{Outcome, Outcomes};
pub use peers::AcceptedAssertions;
pub use redirect::Redirect;
pub use rewriting::{CookieChanges, FieldRule, FieldRules, Rewriting};
pub use route_limits::{Maintenance, Rate, RatePer, RouteLimits};
pub use routes::{HostPattern, Route};
pub use rules::{Callers, NamedRules, Rule, Says, Who, is_within};
pub use trace::{Trace, TraceContext};
pub use trust::{CrlCheck, OnCrlFault, OnWithdrawal, Share, TrustBundle};
pub use upstreams::{
    Endpoint, EndpointAddress, Upstream, UpstreamHost, UpstreamTls, UpstreamTrust,
};
pub use wire::{FieldNames, PathForm};

/// A value and the place in the file where it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A line and column of the config file, both counted from 1.
///
/// A place equals every other place: where something stands is no part of what
/// it is, so a setting that only moved in the file has not changed. For an
/// order, see [`position`](Self::position).
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Place {
    /// The line and the column, which compare in the order of the file.
    pub fn position(self) -> (u32, u32) {
        (self.line, self.column)
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// `[server]`: what concerns the whole process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Worker threads; default one per core.
    pub workers: NonZeroUsize,
    /// From the first SIGTERM to the end of the last request.
    pub drain_timeout: Duration,
    /// How much of that time connections are still accepted, though `/readyz`
    /// says that no more are wanted; `None`: none. Shorter than `drain_timeout`.
    pub drain_delay: Option<Duration>,
    /// How often the files are looked at where nothing tells of a change; 100 ms to 1 h.
    pub poll_interval: Duration,
    /// The keys that seal session tickets, shared with other instances; `None`:
    /// keys of this process alone.
    pub session_ticket_keys: Option<Located<PathBuf>>,
    /// With how much resident memory, in bytes, new work is refused; `None`: never.
    pub max_memory: Option<u64>,
    /// The unix socket where a successor is given what listens; `None`: nobody is.
    pub upgrade_socket: Option<Located<PathBuf>>,
    /// What the process gives up.
    pub confinement: Confinement,
}

/// `[log]`: what is written where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Whether each request has a line on standard output.
    pub access: bool,
    /// The least important diagnostic that is written to standard error.
    pub level: LogLevel,
    /// How many refused handshakes of one source and reason have lines within a minute.
    pub refusals_per_minute: NonZeroU32,
    /// The form of each request's line, in place of `format`.
    pub access_template: Option<AccessTemplate>,
    /// The field that tells services the id of a request, and in which trusted
    /// senders give one.
    pub request_id_header: Option<Located<HeaderName>>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// `key=value` for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// What failed in countersign itself.
    Error,
    /// What is about to fail.
    Warn,
    /// Life, refusals and faults: the default.
    Info,
    /// For finding a fault in countersign.
    Debug,
}

/// Where a listener or the admin server accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bind {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket that systemd has bound, under this name (`FileDescriptorName=`).
    Systemd(String),
    /// A unix socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    /// As it is written in the config, with the whole of a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which trust bundle, as an index into [`super::Config::bundles`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BundleId(pub usize);

/// Which listener, as an index into [`super::Config::listeners`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenerId(pub usize);

/// Which upstream, as an index into [`super::Config::upstreams`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UpstreamId(pub usize);
