//! Every default that is a number, with its reason.
//!
//! The registry in [`super::options`] shows them; a test holds the two equal.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use http::HeaderName;

use super::model::{ChainLimits, CrowdLimits, Limits, Share, TrafficLimits};

/// Kubernetes kills a pod 30 s after SIGTERM; what has not finished by then never will.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How late a change may be seen where nothing tells of it, at a cost of a few `stat` calls.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// A rotation with overlap drops one anchor of two; a folder that came up empty or half
/// copied loses more.
pub(super) const MAX_SHRINK: Share = share(50);

/// As long as the requests in flight have when the whole process ends.
pub(super) const WITHDRAWAL_GRACE: Duration = Duration::from_secs(30);

/// A working day: what comes back on the next one proves its key again.
pub(super) const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);

/// The bounds on what one client can hold.
pub(super) const LIMITS: Limits = Limits {
    // A handshake on a bad mobile line takes some seconds; nginx waits 60 s,
    // which lets a silent client hold a slot six times as long.
    handshake_timeout: Duration::from_secs(10),
    // A head is one packet or a few; 30 s is what slow links need and slowloris hates.
    header_timeout: Duration::from_secs(30),
    // Browsers reuse a connection within a minute; an idle one costs memory all the time.
    idle_timeout: Duration::from_secs(60),
    // Between two pieces, not for the whole: a long upload that moves is never cut.
    body_timeout: Duration::from_secs(30),
    // 45 KiB each at worst when idle: about 450 MB, and within the usual descriptor limits of a service.
    max_connections: NonZeroUsize::MIN.saturating_add(9_999),
    // Room for a cookie jar and a large token; peers refuse more than 8 to 64 KiB.
    max_header_bytes: nonzero(32 * 1024),
    // The shares of one client follow from what all may have.
    crowd: CrowdLimits {
        handshakes: MAX_HANDSHAKES,
        handshakes_per_source: NonZeroUsize::MIN.saturating_add(1_999),
        connections_per_source: NonZeroUsize::MIN.saturating_add(4_999),
        connections_per_identity: NonZeroUsize::MIN.saturating_add(4_999),
    },
    chain: CHAIN,
    traffic: TRAFFIC,
};

/// The bounds on what a client's chain may cost.
pub(super) const CHAIN: ChainLimits = ChainLimits {
    // Nobody's is longer.
    certificates: NonZeroUsize::MIN.saturating_add(5),
    // A leaf and an intermediate with the largest keys and signatures of ML-DSA
    // have 16 KiB; the usual two have 2.
    bytes: NonZeroUsize::MIN.saturating_add(32 * 1024 - 1),
    // What crypto/tls of Go takes, too.
    rsa_bits: NonZeroUsize::MIN.saturating_add(8191),
    // A path of three needs three; authorities of one name and several keys, and
    // tickets of sessions that are not resumed, need some more.
    signature_checks: nonzero(30),
};

/// A core makes about a thousand handshakes a second, so each is made well within its
/// deadline; and those that are not gone on with take 80 MB at most, 20 KiB each.
pub(super) const MAX_HANDSHAKES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3_999);

/// The bounds on what a single client may send.
pub(super) const TRAFFIC: TrafficLimits = TrafficLimits {
    // Browsers send about twenty; Apache's and nginx's defaults are 100.
    fields: NonZeroUsize::MIN.saturating_add(99),
    // Larger than any upload that is not meant to be one; what is, says so.
    body_bytes: NonZeroU64::MIN.saturating_add((1 << 30) - 1),
    // The lowest rate of Kestrel: half of what a modem had in 1984.
    body_rate: NonZeroU64::MIN.saturating_add(239),
    // What a library leaks for each request is given back now and then, and load
    // balances itself again; a handshake among ten thousand requests costs nothing.
    requests_per_connection: nonzero(10_000),
    // Longer than any heartbeat.
    tunnel_idle_timeout: Duration::from_secs(60 * 60),
};

/// A connection within a data centre takes milliseconds; after 5 s (a lost SYN sent
/// again twice) another endpoint is the better choice.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The usual wait of clients and load balancers; a service that needs longer says so.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Below the 60 s and more after which services close an unused connection, so that
/// requests seldom meet a connection that is just being closed.
pub(super) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Long enough for a slow request and clocks that differ by some seconds, and short
/// enough that a token out of a log is worth nothing.
pub(super) const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// No other proxy uses it, and no service takes it for something else.
pub(super) const ASSERTION_FIELD: HeaderName = HeaderName::from_static("x-client-assertion");

/// A URI is the only kind of name that says by itself in which domain it is good.
pub(super) const ASSERTION_SUBJECT: &str = "{uri}";

/// Enough to see that a client keeps trying, and with what; what is left out is counted.
pub(super) const REFUSALS_PER_MINUTE: NonZeroU32 = nonzero(10);

/// Where the number of cores cannot be learnt.
pub(super) const WORKERS: NonZeroUsize = NonZeroUsize::MIN;

#[expect(clippy::expect_used, reason = "evaluated when the crate is compiled")]
const fn nonzero(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("a default is not zero")
}

#[expect(clippy::expect_used, reason = "evaluated when the crate is compiled")]
const fn share(percent: u8) -> Share {
    Share::of_percent(percent).expect("a default is at most 100 %")
}
