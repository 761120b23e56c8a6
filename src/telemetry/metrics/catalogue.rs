//! Every metric: its name, its type, its labels and what it says.
//!
//! Names and labels are an interface: dashboards and alerts hold on to them. What
//! is served is written by these entries and by nothing else, so that the table
//! that is printed of them ([`table`]) is what `/metrics` has.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// One metric with its labels.
#[derive(Debug)]
pub(super) struct Family<const N: usize> {
    /// Without what the type adds to it.
    name: &'static str,
    kind: Kind,
    labels: [Label; N],
    /// A sentence without its full stop.
    says: &'static str,
}

/// What a label can be: names of the config, or words of the code.
#[derive(Clone, Copy, Debug)]
struct Label {
    name: &'static str,
    values: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// A metric, whatever the number of its labels.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    says: &'static str,
}

/// The series of one metric, being written.
pub(super) struct Series<'e, const N: usize> {
    labels: &'static [Label; N],
    encoder: MetricEncoder<'e>,
}

impl<const N: usize> Family<N> {
    pub(super) fn begin<'e>(
        &'static self,
        out: &'e mut DescriptorEncoder<'_>,
    ) -> Result<Series<'e, N>, fmt::Error> {
        let encoder = out.encode_descriptor(self.name, self.says, None, self.kind.metric_type())?;
        Ok(Series {
            labels: &self.labels,
            encoder,
        })
    }

    const fn row(&'static self) -> Row {
        Row {
            name: self.name,
            kind: self.kind,
            labels: &self.labels,
            says: self.says,
        }
    }
}

impl<const N: usize> Series<'_, N> {
    pub(super) fn counter(&mut self, values: [&str; N], count: u64) -> fmt::Result {
        self.one(values, |encoder| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    pub(super) fn gauge(&mut self, values: [&str; N], value: impl EncodeGaugeValue) -> fmt::Result {
        self.one(values, |encoder| encoder.encode_gauge(&value))
    }

    /// `buckets`: each as its upper bound and what is in it alone.
    pub(super) fn histogram(
        &mut self,
        values: [&str; N],
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.one(values, |encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
        })
    }

    fn one(
        &mut self,
        values: [&str; N],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if N == 0 {
            return write(&mut self.encoder);
        }
        let names = self.labels.iter().map(|label| label.name);
        let labels: Vec<_> = names.zip(values).collect();
        write(&mut self.encoder.encode_family(&labels)?)
    }
}

impl Series<'_, 0> {
    pub(super) fn counter_of_seconds(&mut self, seconds: f64) -> fmt::Result {
        self.one([], |encoder| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
        })
    }
}

impl Series<'_, 1> {
    pub(super) fn info(&mut self, value: &str) -> fmt::Result {
        let labels = self.labels.map(|label| (label.name, value));
        self.encoder.encode_info(&labels)
    }
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What stands after the name in a series.
    fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

/// Every metric with its type, its labels and what it says, as a table in Markdown.
pub fn table() -> String {
    let mut text = "| metric | type | labels | says |\n|---|---|---|---|\n".to_owned();
    for row in ALL {
        let labels: Vec<_> = row.labels.iter().map(Label::described).collect();
        let (name, suffix) = (row.name, row.kind.suffix());
        let (kind, labels) = (row.kind.word(), labels.join("<br>"));
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| `{name}{suffix}` | {kind} | {labels} | {} |",
            row.says
        )
        .ok();
    }
    text
}

impl Label {
    fn described(&self) -> String {
        match self.values {
            "" => format!("`{}`", self.name),
            values => format!("`{}`: {values}", self.name),
        }
    }
}

macro_rules! catalogue {
    ($($constant:ident: $kind:ident, $name:literal [$($label:expr),*], $says:literal;)*) => {
        $(pub(super) static $constant: Family<{
            const LABELS: &[Label] = &[$($label),*];
            LABELS.len()
        }> = Family {
            name: $name,
            kind: Kind::$kind,
            labels: [$($label),*],
            says: $says,
        };)*

        /// In the order in which they are served.
        static ALL: &[Row] = &[$($constant.row()),*];
    };
}

const fn label(name: &'static str, values: &'static str) -> Label {
    Label { name, values }
}

const LISTENER: Label = label("listener", "");
const ROUTE: Label = label("route", "its `name`, or `routes[0]` …; `none`: no route");
const UPSTREAM: Label = label("upstream", "");
const BUNDLE: Label = label("bundle", "");
const INDEX: Label = label("index", "counted from 0");
const REASON: Label = label("reason", "as in the log");

catalogue! {
    HANDSHAKES: Counter, "countersign_handshakes" [
        LISTENER,
        label("result", "`accepted`, `refused`; `answered` and `anonymous`: let in though not accepted; `not_tls`"),
        label("reason", "of `accepted`: `full` or `resumed`; else as in the log")
    ], "TLS handshakes; a session that is not resumed for a reason counts as `full`";
    REMAINING: Histogram, "countersign_client_certificate_remaining_seconds" [LISTENER],
        "For how long the certificates of clients were still valid when their handshakes, full or resumed, were accepted; the end that comes first in the chain counts";
    CONNECTIONS: Counter, "countersign_connections" [LISTENER], "Connections accepted";
    OPEN: Gauge, "countersign_connections_open" [LISTENER], "Connections open now";
    WITHDRAWN: Counter, "countersign_connections_withdrawn" [LISTENER, REASON],
        "Open connections ended since their peer is no longer trusted";
    WOULD_END: Counter, "countersign_connections_would_end" [LISTENER, REASON],
        "Open connections that stay though their peer is no longer trusted, since `enforce_withdrawal` is `false`";
    LIMITS: Counter, "countersign_limits_struck" [LISTENER, label("limit", "the name of the option")],
        "Times that a limit refused or ended something";
    UPSTREAM_LIMITS: Counter, "countersign_upstream_limits_struck" [
        UPSTREAM,
        label("limit", "the name of the option")
    ], "Times that a limit of an upstream refused or ended something; of `max_connections` and `max_requests`, how many requests had to wait";
    ASSERTIONS_RECEIVED: Counter, "countersign_assertions_received" [
        LISTENER,
        label("result", "`accepted`, `refused` (400 `assertion_refused`)")
    ], "Requests in which a listed peer says for whom it speaks; what others say is removed and not counted";
    REQUESTS: Counter, "countersign_requests" [
        ROUTE,
        label("status_class", "`2xx` …; `none`: nothing was sent"),
        label("fault_side", "`none`, `downstream`, `proxy`, `upstream`")
    ], "Requests that have ended";
    IN_FLIGHT: Gauge, "countersign_requests_in_flight" [], "Requests under way now";
    FAULTS: Counter, "countersign_faults" [
        ROUTE,
        label("side", "`downstream`, `proxy`, `upstream`"),
        label("phase", "as in the access log"),
        label("kind", "as in the access log")
    ], "Requests that were refused or failed";
    DECISIONS: Counter, "countersign_policy_decisions" [
        ROUTE,
        label("rule", "as in the access log"),
        label("decision", "`permitted`, `denied`; `would_deny`, `would_allow`: were everything enforced")
    ], "What rules decided; a rule that is never counted is not needed";
    DURATIONS: Histogram, "countersign_request_duration_seconds" [ROUTE],
        "Time from a request's head to the end of its response";
    REQUEST_SIZES: Histogram, "countersign_request_size_bytes" [ROUTE],
        "Bytes of the bodies of requests, as far as they came";
    RESPONSE_SIZES: Histogram, "countersign_response_size_bytes" [ROUTE],
        "Bytes of the bodies of responses, as far as they went down";
    UPSTREAM_CONNECTIONS: Counter, "countersign_upstream_connections" [
        UPSTREAM,
        label("result", "`opened`, `reused`, or why there was none: `connect_refused`, `connect_timeout`, `exhausted`, `handshake`, `not_asked`, `overloaded`, `unresolved`")
    ], "Connections that requests needed";
    UPSTREAM_OPEN: Gauge, "countersign_upstream_connections_open" [
        UPSTREAM,
        label("state", "`in_use`; `idle`: it rests in a pool")
    ], "Connections open now";
    UPSTREAM_WAITING: Gauge, "countersign_upstream_requests_waiting" [UPSTREAM],
        "Requests that wait now since the upstream is given no more at one time (`max_connections`, `max_requests`)";
    UPSTREAM_REQUESTS: Counter, "countersign_upstream_requests" [
        UPSTREAM,
        label("by", "`assertion`, `session`, `credential`, `certificate`, `none`")
    ], "Requests sent, each time, by the layer that tells the service who is calling";
    REPEATED: Counter, "countersign_upstream_requests_repeated" [
        UPSTREAM,
        label("cause", "`session_lost`, `credential_refused`; for `retry_on` `status`, `lost` …")
    ], "Requests sent again since the service did not accept what authenticates them, or for `retry_on`";
    SESSIONS: Gauge, "countersign_upstream_sessions" [UPSTREAM],
        "Sessions of the service that are kept now, for `stateful_sessions`";
    SESSIONS_OPENED: Counter, "countersign_upstream_sessions_opened" [UPSTREAM],
        "Sessions that the service has opened";
    SIGNED: Counter, "countersign_upstream_assertions_signed" [UPSTREAM],
        "Assertions signed; the other requests that carry an assertion had one that was used again, or one of a form that is not signed";
    CERTIFICATES: Gauge, "countersign_certificate_expiry_timestamp_seconds" [
        label("kind", "`own`, `anchor`"),
        label("name", "the listener or upstream that presents it, or the bundle"),
        INDEX
    ], "When a certificate of countersign's own or a trust anchor runs out (`notAfter`), in seconds since 1970; the machine's own authorities (`system`) are not among them";
    LISTS: Gauge, "countersign_crl_next_update_timestamp_seconds" [BUNDLE, INDEX],
        "When a revocation list is to be replaced (`nextUpdate`), in seconds since 1970";
    ANCHOR_HANDSHAKES: Counter, "countersign_anchor_handshakes" [
        BUNDLE,
        INDEX,
        label("fingerprint", "that of the anchor's certificate")
    ], "Handshakes that rested on a trust anchor";
    ANCHOR_LAST: Gauge, "countersign_anchor_last_handshake_timestamp_seconds" [
        BUNDLE,
        INDEX,
        label("fingerprint", "that of the anchor's certificate")
    ], "When a handshake last rested on a trust anchor, in seconds since 1970; 0 is never";
    LISTS_WOULD_REFUSE: Counter, "countersign_crl_would_refuse" [BUNDLE, REASON],
        "Peers let in that revocation lists would refuse, since `enforce_crl` is `false`";
    ENDPOINTS: Gauge, "countersign_upstream_endpoint_healthy" [
        UPSTREAM,
        label("endpoint", "as the config writes it")
    ], "1 while the probes of an endpoint find it well, else 0; only where there is a `health` table";
    EJECTED: Gauge, "countersign_upstream_endpoint_ejected_workers" [
        UPSTREAM,
        label("endpoint", "as the config writes it")
    ], "How many workers leave an endpoint alone now since it took no connection or failed requests";
    GENERATION: Gauge, "countersign_generation" [],
        "The number of the generation of trust, certificates and policy in force";
    GENERATION_TIME: Gauge, "countersign_generation_timestamp_seconds" [],
        "When that generation came into force, in seconds since 1970";
    RELOADS: Counter, "countersign_reloads" [label("result", "`success`, `failure`, `held_back`")],
        "Attempts to put in force what is on the disk";
    RELOAD_SUCCESS: Gauge, "countersign_reload_last_success_timestamp_seconds" [],
        "When what is on the disk was last put or found in force, the start included, in seconds since 1970";
    RELOAD_FAILURE: Gauge, "countersign_reload_last_failure_timestamp_seconds" [],
        "When what is on the disk was last refused or held back, in seconds since 1970; 0 is never";
    RELOAD_FAILING: Gauge, "countersign_reload_failing" [],
        "1 while what is on the disk is refused or held back, else 0";
    CONFINEMENT: Gauge, "countersign_confinement" [
        label("part", "`landlock`, `seccomp`, `core_dumps` …, as in the log's `process.confined`")
    ], "1 where a part of what the process gives up at its start is in force, else 0";
    PEERS: Gauge, "countersign_peers_known" [],
        "Peers that are connected or were lately, each distinct chain of certificates once";
    ACCESS_DROPPED: Counter, "countersign_access_log_dropped" [],
        "Lines of the access log that were dropped because its reader is too slow or gone";
    SPANS: Counter, "countersign_spans" [
        label("result", "`exported`; `dropped`: more than fit into the queue; `refused`: by the collector, or it was not reached")
    ], "Spans of requests whose traces are recorded, and of their attempts at services";
    MEMORY_SHORT: Gauge, "countersign_memory_short" [],
        "1 while new work is refused since the process holds more than `server.max_memory`, else 0";
    ADMIN_HANDSHAKES: Counter, "countersign_admin_handshakes" [
        label("result", "`accepted`, `refused`, `not_tls`"),
        label("reason", "of `accepted`: `full` or `resumed`; else as in the log")
    ], "TLS handshakes at the admin address; only where there is an `admin.tls` table";
    BUILD: Info, "countersign_build" [label("version", "")], "The version that runs";
    CPU: Counter, "process_cpu_seconds" [], "Time of processors that the process has taken, in user and in system mode";
    RESIDENT: Gauge, "process_resident_memory_bytes" [], "Resident memory";
    VIRTUAL: Gauge, "process_virtual_memory_bytes" [], "Virtual memory";
    THREADS: Gauge, "process_threads" [], "Threads";
    DESCRIPTORS: Gauge, "process_open_fds" [], "Open file descriptors";
    MOST_DESCRIPTORS: Gauge, "process_max_fds" [], "The most file descriptors that it may have open";
    STARTED: Gauge, "process_start_time_seconds" [], "When the process started, in seconds since 1970";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_say_their_unit_as_prometheus_wants_it() {
        let names: HashSet<_> = ALL.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALL.len());
        for row in ALL {
            let own = row.name.strip_prefix("countersign_");
            assert!(
                own.or(row.name.strip_prefix("process_")).is_some(),
                "{row:?}"
            );
            assert!(
                !row.name.ends_with("_total") && !row.name.ends_with("_info"),
                "{row:?}"
            );
            let is_unit = |unit| row.name.ends_with(unit);
            assert!(
                !["_ms", "_millis", "_kib", "_percent"]
                    .into_iter()
                    .any(is_unit),
                "{row:?}"
            );
            // A point in time is told as such, and nothing else is.
            let is_point = row.says.contains("since 1970");
            let says_so = is_unit("_timestamp_seconds") || is_unit("_start_time_seconds");
            assert_eq!(is_point, says_so, "{row:?}");
            if matches!(row.kind, Kind::Histogram) {
                assert!(["_seconds", "_bytes"].into_iter().any(is_unit), "{row:?}");
            }
        }
    }

    #[test]
    fn every_metric_says_something_that_fits_into_a_table() {
        for row in ALL {
            let labels = row.labels.iter().map(|label| label.values);
            for text in labels.chain([row.says]) {
                assert!(
                    !text.contains(['|', '\n', '"', '\\']) && !text.ends_with('.'),
                    "{text}"
                );
            }
            assert!(row.says.len() > 5, "{row:?}");
        }
    }
}
