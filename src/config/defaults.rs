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
    // Twice what RFC 9113 §6.5.2 holds for enough; browsers and gRPC seldom use a hundred.
    max_concurrent_streams: nonzero(200),
    // A busy client needs a few frames for each request, and those are not counted here.
    // Answering so many takes about a millisecond.
    max_control_frames: nonzero(2_000),
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

/// Far more than services work on at one time, and far below the 28,000 ports that this
/// machine has for one of them.
pub(super) const MAX_UPSTREAM_CONNECTIONS: NonZeroU32 = nonzero(1024);

/// Once more what an endpoint may be given: who comes later would wait too long.
pub(super) const MAX_QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Clients wait 30 s and more; what has waited longer than this is soon wanted by nobody.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// 64 bodies of a megabyte: seldom are more on their way, and every machine has it.
pub(super) const BUFFER_MEMORY: NonZeroUsize =
    NonZeroUsize::MIN.saturating_add(64 * 1024 * 1024 - 1);

/// A single failure is repaired, and an outage costs the service a fifth more.
pub(super) const RETRY_BUDGET: Share = share(20);

/// Names move within minutes at most, and a resolver nearby answers from its cache.
pub(super) const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// Three of them find a service that is gone within a quarter of a minute.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A service that takes longer to say that it is well is not.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// One success may be chance.
pub(super) const HEALTHY: NonZeroU32 = nonzero(2);

/// One failure may be a lost packet, two the same garbage collection.
pub(super) const UNHEALTHY: NonZeroU32 = nonzero(3);

/// Requests fail one by one for their own sake; five in a row, with no success
/// between them, seldom do.
pub(super) const CONSECUTIVE_FAILURES: NonZeroU32 = nonzero(5);

/// A restart takes a second or more, a lost packet less.
pub(super) const FIRST_EJECTION: Duration = Duration::from_secs(1);

/// Nobody wants to wait much longer for an endpoint that is well again.
pub(super) const LONGEST_EJECTION: Duration = Duration::from_secs(30);

/// What fails on more than half of them is more likely the fault of something else.
pub(super) const MAX_EJECTED: Share = share(50);

/// Long enough for a slow request and clocks that differ by some seconds, and short
/// enough that a token out of a log is worth nothing.
pub(super) const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// No other proxy uses it, and no service takes it for something else.
pub(super) const ASSERTION_FIELD: HeaderName = HeaderName::from_static("x-client-assertion");

/// A URI is the only kind of name that says by itself in which domain it is good.
pub(super) const ASSERTION_SUBJECT: &str = "{uri}";

/// Clients that obey come back soon after the end of the work, and not all the time.
pub(super) const MAINTENANCE_RETRY_AFTER: Duration = Duration::from_secs(60);

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
