//! Writes the counters in the words of Prometheus.
//!
//! Names and labels are an interface: dashboards and alerts hold on to them.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{CertificateKind, ListenerMetrics, Metrics};
use crate::telemetry::AccessLog;

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.encode_handshakes(out)?;
        self.encode_connections(out)?;
        self.encode_requests(out)?;
        self.encode_durations(out)?;
        self.encode_upstreams(out)?;
        self.encode_certificates(out)?;
        self.encode_process(out)
    }
}

impl Metrics {
    fn encode_handshakes(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_handshakes",
            "TLS handshakes by listener, result and reason",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in &self.listeners.by_name {
            for (result, reason, count) in counters.handshakes() {
                let labels = [
                    ("listener", listener.as_str()),
                    ("result", result),
                    ("reason", reason),
                ];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_connections(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_connections",
            "Connections accepted, by listener",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in &self.listeners.by_name {
            let labels = [("listener", listener.as_str())];
            counter(&mut family, &labels, counters.opened.get())?;
        }
        let mut family = out.encode_descriptor(
            "countersign_connections_open",
            "Connections open now, by listener",
            None,
            MetricType::Gauge,
        )?;
        for (listener, counters) in &self.listeners.by_name {
            let labels = [("listener", listener.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&counters.open())?;
        }
        Ok(())
    }

    fn encode_requests(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_requests",
            "Requests by route, class of status and side at fault",
            None,
            MetricType::Counter,
        )?;
        for (route, counters) in &self.routes.by_name {
            for (class, side, count) in counters.outcomes.each() {
                let labels = [
                    ("route", route.as_str()),
                    ("status_class", class),
                    ("fault_side", side),
                ];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_durations(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_request_duration_seconds",
            "Time from a request's head to the end of its response, by route",
            None,
            MetricType::Histogram,
        )?;
        for (route, counters) in &self.routes.by_name {
            let labels = [("route", route.as_str())];
            let buckets = counters.durations.buckets();
            let count = buckets.iter().map(|(_, count)| count).sum();
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(counters.durations.sum(), count, &buckets, None)?;
        }
        Ok(())
    }

    fn encode_upstreams(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_upstream_connections",
            "Connections wanted for requests, by upstream and how they were got",
            None,
            MetricType::Counter,
        )?;
        for (upstream, counters) in &self.upstreams.by_name {
            for (result, count) in counters.connections.each() {
                let labels = [("upstream", upstream.as_str()), ("result", result)];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_certificates(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_certificate_expiry_timestamp_seconds",
            "When a certificate or trust anchor runs out, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        let certificates = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for ((kind, name, index), unix) in certificates.iter() {
            let index = index.to_string();
            let labels = [
                ("kind", kind.as_str()),
                ("name", name.as_str()),
                ("index", index.as_str()),
            ];
            family.encode_family(&labels)?.encode_gauge(unix)?;
        }
        Ok(())
    }

    fn encode_process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        out.encode_descriptor(
            "countersign_generation",
            "The generation of trust, certificates and policy in force",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.generation.load(Ordering::Relaxed))?;
        out.encode_descriptor(
            "countersign_access_log_dropped",
            "Lines of the access log that were dropped because its reader is too slow or gone",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, _, u64>(
            &self.access_log.get().map_or(0, AccessLog::dropped),
            None,
        )?;
        out.encode_descriptor(
            "countersign_build",
            "The version that runs",
            None,
            MetricType::Info,
        )?
        .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        // The name that every client library gives it, without a prefix.
        out.encode_descriptor(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.started.as_secs_f64())
    }
}

impl ListenerMetrics {
    /// Result, reason and count of each kind of handshake.
    fn handshakes(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let accepted = [
            ("accepted", "full", self.full.get()),
            ("accepted", "resumed", self.resumed.get()),
        ];
        let refused = self.refused.each();
        let not_tls = self.not_tls.each();
        accepted
            .into_iter()
            .chain(refused.map(|(reason, count)| ("refused", reason, count)))
            .chain(not_tls.map(|(what, count)| ("not_tls", what, count)))
    }
}

impl CertificateKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Own => "own",
        }
    }
}

fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    count: u64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&count, None)
}
