//! Counts what happened, for Prometheus.
//!
//! Everything counted is a plain atomic number that was made with the process:
//! recording is an index and a relaxed addition, and takes no lock. Only a
//! scrape gathers and formats ([`Metrics::encode`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::access::AccessLog;

mod counters;
mod exposition;

use counters::{Count, DurationHistogram, Outcomes, Reasons};

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

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    listeners: Named<ListenerMetrics>,
    routes: Named<RouteMetrics>,
    upstreams: Named<UpstreamMetrics>,
    certificates: Mutex<BTreeMap<CertificateKey, i64>>,
    generation: AtomicU64,
    access_log: OnceLock<AccessLog>,
    started: Duration,
}

/// Counts what happens on one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    full: Count,
    resumed: Count,
    refused: Reasons,
    not_tls: Reasons,
    opened: Count,
    closed: Count,
}

/// Counts the requests of one route.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    outcomes: Outcomes,
    durations: DurationHistogram,
}

/// Counts the connections to one upstream.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    connections: Reasons,
}

/// What a certificate is to countersign.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CertificateKind {
    /// A trust anchor.
    Anchor,
    /// One that countersign presents.
    Own,
}

/// Kind, bundle or listener or upstream, and the place in it.
type CertificateKey = (CertificateKind, String, usize);

impl Metrics {
    /// Makes the counters for these names, all zero.
    pub fn new(names: MetricNames) -> Arc<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut routes: Named<RouteMetrics> = Named::new(names.routes);
        routes.stray = routes.of_name(NO_ROUTE.to_owned());
        Arc::new(Self {
            listeners: Named::new(names.listeners),
            routes,
            upstreams: Named::new(names.upstreams),
            certificates: Mutex::default(),
            generation: AtomicU64::new(0),
            access_log: OnceLock::new(),
            started: since_1970.unwrap_or_default(),
        })
    }

    /// The counters of the listener with this index. For an index beyond the
    /// names they count, but are not served.
    pub fn listener(&self, index: usize) -> &ListenerMetrics {
        self.listeners.get(index)
    }

    /// The counters of the route with this index; those of [`Metrics::no_route`]
    /// for an index beyond the names.
    pub fn route(&self, index: usize) -> &RouteMetrics {
        self.routes.get(index)
    }

    /// The counters of requests for which there is no route.
    pub fn no_route(&self) -> &RouteMetrics {
        &self.routes.stray
    }

    /// The counters of the upstream with this index. For an index beyond the
    /// names they count, but are not served.
    pub fn upstream(&self, index: usize) -> &UpstreamMetrics {
        self.upstreams.get(index)
    }

    /// The same, to keep: they go on counting for their name when the order of
    /// the names has changed.
    pub fn upstream_of(&self, index: usize) -> Arc<UpstreamMetrics> {
        Arc::clone(self.upstreams.get(index))
    }

    /// Notes when a certificate runs out, in seconds since 1970. `name` is that
    /// of the bundle, listener or upstream, from the config; `index` counts the
    /// certificates of one name.
    pub fn certificate_expires(&self, kind: CertificateKind, name: &str, index: usize, unix: i64) {
        self.certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((kind, name.to_owned(), index), unix);
    }

    /// Notes which generation is in force.
    pub fn generation_published(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Serves the count of lines that `log` drops. Only the first call counts.
    pub fn include_access_log(&self, log: &AccessLog) {
        // There is one access log in a process.
        self.access_log.set(log.clone()).ok();
    }

    /// Writes everything as OpenMetrics text ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    ///
    /// None that a `String` can cause; the encoder's signature has one.
    pub fn encode(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(self)));
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

    /// A handshake was refused. `reason` is a word from the code; after 64
    /// different ones the rest are counted as `other`.
    pub fn handshake_refused(&self, reason: &'static str) {
        self.refused.add(reason);
    }

    /// What came was not TLS: `what` says what it was instead, as a word from
    /// the code.
    pub fn not_tls(&self, what: &'static str) {
        self.not_tls.add(what);
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
        self.durations.add(duration);
    }
}

impl UpstreamMetrics {
    /// A request wanted a connection. `result` says how it got it or why not,
    /// as a word from the code (`opened`, `reused`, `refused`, …).
    pub fn connection(&self, result: &'static str) {
        self.connections.add(result);
    }
}

/// Counters by index, for recording, and by name, for serving.
#[derive(Debug)]
struct Named<T> {
    by_index: Vec<Arc<T>>,
    by_name: BTreeMap<String, Arc<T>>,
    /// What an index beyond the names gets.
    stray: Arc<T>,
}

impl<T: Default> Named<T> {
    fn new(names: Vec<String>) -> Self {
        let mut named = Self {
            by_index: Vec::new(),
            by_name: BTreeMap::new(),
            stray: Arc::default(),
        };
        for name in names {
            let counters = named.of_name(name);
            named.by_index.push(counters);
        }
        named
    }

    fn of_name(&mut self, name: String) -> Arc<T> {
        Arc::clone(self.by_name.entry(name).or_default())
    }

    fn get(&self, index: usize) -> &Arc<T> {
        self.by_index.get(index).unwrap_or(&self.stray)
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of requests for which there is no route.
const NO_ROUTE: &str = "none";

#[cfg(test)]
mod tests;
