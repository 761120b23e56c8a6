//! Counts what happened, and says what is in force, for Prometheus.
//!
//! Everything counted is a plain atomic number that was made with its name:
//! recording is an index and a relaxed addition, and takes no lock. Only a
//! scrape gathers and formats ([`Metrics::encode`]).
//!
//! # Rules
//!
//! * A [`Metrics`] is a view: each generation has its own, with the names of its
//!   config in the order of their indices ([`Metrics::with_names`]). All views
//!   of a process share what is behind them.
//! * What was named once is served for as long as the process lives, by every
//!   view, so that no counter vanishes or begins anew because of a reload.
//! * What belongs to one generation alone, such as when its certificates run
//!   out, is given as a whole and replaces what was given before.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::access::AccessLog;

mod admin;
mod catalogue;
mod confinement;
mod counters;
mod exposition;
mod histogram;
mod in_force;
mod memory;
mod named;
mod pools;
mod process;
mod strikes;
mod survey;
mod upstream;

pub use admin::AdminMetrics;
pub use catalogue::table;
pub use counters::ReasonCounts;
use counters::{Count, Faults, Outcomes, Reasons};
use histogram::{Bytes, Histogram, Lifetime, Seconds};
use in_force::InForce;
pub use in_force::{
    AnchorUse, CertificateExpiry, CertificateKind, EndpointHealth, Health, ReloadOutcome,
    RevocationListExpiry, UnenforcedLists, Uses,
};
pub use memory::Memory;
use named::{Named, View};
pub use pools::Resting;
use strikes::Strikes;
pub use survey::{ListenerSurvey, RouteSurvey, Survey, Totals, UpstreamSurvey};
pub use upstream::{Present, UpstreamMetrics};

/// The names by which things are counted, in the order of their indices.
///
/// They are the only labels beside those from the code, so a peer cannot make
/// the set of series grow. Equal names share their counters.
#[derive(Clone, Debug, Default)]
pub struct MetricNames {
    /// Listeners.
    pub listeners: Vec<String>,
    /// Routes.
    pub routes: Vec<String>,
    /// Upstreams.
    pub upstreams: Vec<String>,
}

/// The counters of the process, seen under the names of one generation.
#[derive(Debug)]
pub struct Metrics {
    all: Arc<All>,
    listeners: View<ListenerMetrics>,
    routes: View<RouteMetrics>,
    upstreams: View<UpstreamMetrics>,
}

/// Counts what happens on one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    full: Count,
    resumed: Count,
    remaining: Histogram<Lifetime>,
    refused: Reasons,
    answered: Reasons,
    anonymous: Reasons,
    not_tls: Reasons,
    withdrawn: Reasons,
    would_end: Reasons,
    strikes: Strikes,
    assertions_accepted: Count,
    assertions_refused: Count,
    opened: Count,
    closed: Count,
}

/// Counts the requests of one route.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    outcomes: Outcomes,
    faults: Faults,
    durations: Histogram<Seconds>,
    received: Histogram<Bytes>,
    sent: Histogram<Bytes>,
    rules: Named<RuleMetrics>,
}

/// Counts what one rule of a route decided.
#[derive(Debug, Default)]
pub struct RuleMetrics([Count; DECISIONS.len()]);

/// What a rule made of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It was permitted.
    Permitted,
    /// It was denied.
    Denied,
    /// It would have been permitted, were the rule enforced.
    WouldAllow,
    /// It would have been denied, were the rule or its route enforced.
    WouldDeny,
}

const DECISIONS: [(Decision, &str); 4] = [
    (Decision::Permitted, "permitted"),
    (Decision::Denied, "denied"),
    (Decision::WouldAllow, "would_allow"),
    (Decision::WouldDeny, "would_deny"),
];

impl Metrics {
    /// Makes the counters for these names, all zero.
    pub fn new(names: MetricNames) -> Arc<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::view(
            Arc::new(All {
                listeners: Named::default(),
                routes: Named::default(),
                upstreams: Named::default(),
                begun: Count::default(),
                in_force: InForce::default(),
                memory: Memory::default(),
                peers_known: OnceLock::new(),
                admin: OnceLock::new(),
                access_log: OnceLock::new(),
                spans: OnceLock::new(),
                started: since_1970.unwrap_or_default(),
            }),
            names,
        )
    }

    /// Returns the same counters under other names, for the next generation.
    ///
    /// Equal names share their counters, also with names of earlier views that
    /// come back.
    #[must_use]
    pub fn with_names(&self, names: MetricNames) -> Arc<Self> {
        Self::view(Arc::clone(&self.all), names)
    }

    fn view(all: Arc<All>, names: MetricNames) -> Arc<Self> {
        let no_route = all.routes.of_name(NO_ROUTE.to_owned());
        Arc::new(Self {
            listeners: all.listeners.view(names.listeners, Arc::default()),
            routes: all.routes.view(names.routes, no_route),
            upstreams: all.upstreams.view(names.upstreams, Arc::default()),
            all,
        })
    }

    /// The memory of the process.
    pub fn memory(&self) -> &Memory {
        &self.all.memory
    }

    /// The counters of the listener with this index. For an index beyond the
    /// names they count, but are not served.
    pub fn listener(&self, index: usize) -> &ListenerMetrics {
        self.listeners.get(index)
    }

    /// As [`Metrics::listener`], for what outlives a generation and its indices.
    pub fn listener_of(&self, index: usize) -> Arc<ListenerMetrics> {
        Arc::clone(self.listeners.get(index))
    }

    /// The counters of the route with this index; those of [`Metrics::no_route`]
    /// for an index beyond the names.
    pub fn route(&self, index: usize) -> &RouteMetrics {
        self.routes.get(index)
    }

    /// The counters of requests for which there is no route.
    pub fn no_route(&self) -> &RouteMetrics {
        self.routes.stray()
    }

    /// The counters of the admin address, which are served from now on.
    pub fn admin(&self) -> Arc<AdminMetrics> {
        Arc::clone(self.all.admin.get_or_init(Arc::default))
    }

    /// A request has begun. Each call is followed by one of
    /// [`RouteMetrics::request`].
    pub fn request_begun(&self) {
        self.all.begun.add();
    }

    /// The counters of the upstream with this index. For an index beyond the
    /// names they count, but are not served.
    pub fn upstream(&self, index: usize) -> &UpstreamMetrics {
        self.upstreams.get(index)
    }

    /// As [`Metrics::upstream`], for what outlives a generation and its indices.
    pub fn upstream_of(&self, index: usize) -> Arc<UpstreamMetrics> {
        Arc::clone(self.upstreams.get(index))
    }

    /// Notes when the certificates of the generation in force run out, all of
    /// them: what was given before is forgotten.
    pub fn certificates(&self, certificates: Vec<CertificateExpiry>) {
        self.all.in_force.certificates(certificates);
    }

    /// Notes until when the revocation lists of the generation in force hold,
    /// all of them: what was given before is forgotten.
    pub fn revocation_lists(&self, lists: Vec<RevocationListExpiry>) {
        self.all.in_force.revocation_lists(lists);
    }

    /// Notes the trust anchors of the generation in force, all of them: what was
    /// given before is forgotten. Their uses are asked for at each scrape.
    pub fn anchors(&self, anchors: Vec<AnchorUse>) {
        self.all.in_force.anchors(anchors);
    }

    /// Notes the counts of each bundle of the generation in force, all of them:
    /// what was given before is forgotten. They are asked at each scrape.
    pub fn unenforced_lists(&self, lists: Vec<UnenforcedLists>) {
        self.all.in_force.unenforced_lists(lists);
    }

    /// Notes the endpoints of the generation in force, all of
    /// them: what was given before is forgotten. They are asked at each scrape.
    pub fn endpoints(&self, endpoints: Vec<EndpointHealth>) {
        self.all.in_force.endpoints(endpoints);
    }

    /// Notes which generation is in force, and since when.
    ///
    /// That is a success as well ([`ReloadOutcome::Success`]), though not a
    /// reload: the first generation is none.
    pub fn generation_published(&self, generation: u64, at: SystemTime) {
        self.all.in_force.published(generation, at);
    }

    /// Counts an attempt to put in force what is on the disk.
    pub fn reload(&self, outcome: ReloadOutcome, at: SystemTime) {
        self.all.in_force.reload(outcome, at);
    }

    /// Serves the number of peers that are known, which `count` is asked for at
    /// each scrape. Only the first call counts.
    pub fn include_peers(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        // There is one table of peers in a process.
        self.all.peers_known.set(Gauge(Box::new(count))).ok();
    }

    /// Serves the count of lines that `log` drops, and of the spans that it records.
    /// Only the first call counts.
    pub fn include_access_log(&self, log: &AccessLog) {
        // There is one access log in a process.
        self.all.access_log.set(log.clone()).ok();
        if let Some(spans) = log.spans() {
            self.all.spans.set(Arc::clone(spans.counts())).ok();
        }
    }

    /// Writes everything as OpenMetrics text ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    ///
    /// None that a `String` can cause; the encoder's signature has one.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&self.all)));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl ListenerMetrics {
    /// A handshake completed, with a resumed session or in full.
    pub fn handshake_accepted(&self, resumed: bool) {
        if resumed {
            self.resumed.add();
        } else {
            self.full.add();
        }
    }

    /// A client has shown a certificate that is valid until then, in seconds since
    /// 1970, and was accepted.
    pub fn certificate_accepted(&self, not_after: i64, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let not_after = u64::try_from(not_after).unwrap_or(0);
        self.remaining.add(not_after.saturating_sub(now));
    }

    /// A handshake was refused. `reason` is a word from the code; after 64
    /// different ones the rest are counted as `other`.
    pub fn handshake_refused(&self, reason: &'static str) {
        self.refused.add(reason);
    }

    /// A handshake completed for a client that is not accepted, whose requests
    /// are then answered with a refusal. `reason` as for
    /// [`ListenerMetrics::handshake_refused`].
    pub fn handshake_answered(&self, reason: &'static str) {
        self.answered.add(reason);
    }

    /// A handshake completed for a client that is not accepted, and that is
    /// nobody from then on. `reason` as for
    /// [`ListenerMetrics::handshake_refused`].
    pub fn handshake_anonymous(&self, reason: &'static str) {
        self.anonymous.add(reason);
    }

    /// What came was not TLS: `what` says what it was instead, as a word from
    /// the code.
    pub fn not_tls(&self, what: &'static str) {
        self.not_tls.add(what);
    }

    /// An open connection is being ended since its peer is no longer trusted.
    /// `reason` is a word from the code, as for
    /// [`ListenerMetrics::handshake_refused`].
    pub fn connection_withdrawn(&self, reason: &'static str) {
        self.withdrawn.add(reason);
    }

    /// An open connection stays though its peer is no longer trusted. `reason`
    /// is a word from the code, as for [`ListenerMetrics::connection_withdrawn`].
    pub fn connection_would_end(&self, reason: &'static str) {
        self.would_end.add(reason);
    }

    /// A request came with the assertion of a peer that may speak for others:
    /// whether it was taken.
    pub fn assertion_received(&self, accepted: bool) {
        if accepted {
            self.assertions_accepted.add();
        } else {
            self.assertions_refused.add();
        }
    }

    /// A limit of the listener struck. `limit` is the option's key; the line
    /// [`LIMIT_STRUCK`](crate::telemetry::events::LIMIT_STRUCK) is to be written
    /// if `Some`, with how many were left out since the last one.
    #[must_use]
    pub fn limit_struck(&self, limit: &'static str) -> Option<u64> {
        self.strikes.add(limit)
    }

    /// A limit of the listener struck, and another line tells of it. `limit`: as in
    /// [`Self::limit_struck`].
    pub fn count_limit(&self, limit: &'static str) {
        self.strikes.count(limit);
    }

    /// A connection was accepted. Each call is followed by one of
    /// [`ListenerMetrics::connection_closed`].
    pub fn connection_opened(&self) {
        self.opened.add();
    }

    /// A connection ended.
    pub fn connection_closed(&self) {
        self.closed.add();
    }

    /// Connections open now. Read in this order the difference is never negative.
    fn open(&self) -> u64 {
        let closed = self.closed.get();
        self.opened.get().saturating_sub(closed)
    }
}

impl RouteMetrics {
    /// A request ended. `status` is what was sent, 0 if nothing was;
    /// `fault_side` is `downstream`, `upstream` or `proxy` when it ended in a
    /// fault; any other word is counted as `other`.
    pub fn request(&self, status: u16, fault_side: Option<&'static str>, duration: Duration) {
        self.outcomes.add(status, fault_side);
        self.durations.add_duration(duration);
    }

    /// So many bytes of its body had come, and so many of the response's had gone.
    pub fn sizes(&self, received: u64, sent: u64) {
        self.received.add(received);
        self.sent.add(sent);
    }

    /// It was refused or failed: whose side it was, in which phase, and what
    /// happened, as words from the code.
    pub fn fault(&self, side: &'static str, phase: &'static str, kind: &'static str) {
        self.faults.add([side, phase, kind]);
    }

    /// The counters of the rule with this label, to be kept: finding them takes
    /// a lock.
    pub fn rule(&self, label: &str) -> Arc<RuleMetrics> {
        self.rules.of_name(label.to_owned())
    }
}

impl RuleMetrics {
    /// It decided.
    pub fn decided(&self, decision: Decision) {
        let mut counts = DECISIONS.iter().zip(&self.0);
        if let Some((_, count)) = counts.find(|((known, _), _)| *known == decision) {
            count.add();
        }
    }

    /// What it has decided so far.
    fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = DECISIONS.iter().zip(&self.0);
        counts
            .map(|((_, word), count)| (*word, count.get()))
            .filter(|(_, count)| *count > 0)
    }
}

/// What all views share, and what is served.
#[derive(Debug)]
struct All {
    listeners: Named<ListenerMetrics>,
    routes: Named<RouteMetrics>,
    upstreams: Named<UpstreamMetrics>,
    /// Requests that have begun.
    begun: Count,
    memory: Memory,
    in_force: InForce,
    peers_known: OnceLock<Gauge>,
    /// Not set: the admin address speaks no TLS.
    admin: OnceLock<Arc<AdminMetrics>>,
    access_log: OnceLock<AccessLog>,
    spans: OnceLock<Arc<ReasonCounts>>,
    started: Duration,
}

/// A number that is asked for when it is wanted.
struct Gauge(Box<dyn Fn() -> usize + Send + Sync>);

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of requests for which there is no route.
const NO_ROUTE: &str = "none";

#[cfg(test)]
mod tests;
