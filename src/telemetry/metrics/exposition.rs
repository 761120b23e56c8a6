//! Writes the counters in the words of Prometheus.
//!
//! Names and labels are an interface: dashboards and alerts hold on to them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::in_force::State;
use super::{All, ListenerMetrics};
use crate::telemetry::AccessLog;

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.encode_handshakes(out)?;
        self.encode_connections(out)?;
        self.encode_strikes(out)?;
        self.encode_assertions(out)?;
        self.encode_requests(out)?;
        self.encode_decisions(out)?;
        self.encode_durations(out)?;
        self.encode_upstreams(out)?;
        let in_force = self.in_force.state();
        in_force.encode_certificates(out)?;
        in_force.encode_anchors(out)?;
        in_force.encode_unenforced(out)?;
        in_force.encode_endpoints(out)?;
        in_force.encode_generation(out)?;
        in_force.encode_reloads(out)?;
        in_force.encode_confinement(out)?;
        drop(in_force);
        self.encode_process(out)
    }
}

impl All {
    fn encode_handshakes(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_handshakes",
            "TLS handshakes by listener, result and reason",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
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
        for (listener, counters) in self.listeners.each().iter() {
            let labels = [("listener", listener.as_str())];
            counter(&mut family, &labels, counters.opened.get())?;
        }
        let mut family = out.encode_descriptor(
            "countersign_connections_open",
            "Connections open now, by listener",
            None,
            MetricType::Gauge,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
            let labels = [("listener", listener.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&counters.open())?;
        }
        let mut family = out.encode_descriptor(
            "countersign_connections_withdrawn",
            "Open connections ended since their peer is no longer trusted, by listener and reason",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
            for (reason, count) in counters.withdrawn.each() {
                let labels = [("listener", listener.as_str()), ("reason", reason)];
                counter(&mut family, &labels, count)?;
            }
        }
        let mut family = out.encode_descriptor(
            "countersign_connections_would_end",
            "Open connections that stay though their peer is no longer trusted, since that is not enforced, by listener and reason",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
            for (reason, count) in counters.would_end.each() {
                let labels = [("listener", listener.as_str()), ("reason", reason)];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_strikes(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_limits_struck",
            "Times that a limit refused or ended something, by listener and limit",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
            for (limit, count) in counters.strikes.each() {
                let labels = [("listener", listener.as_str()), ("limit", limit)];
                counter(&mut family, &labels, count)?;
            }
        }
        let mut family = out.encode_descriptor(
            "countersign_upstream_limits_struck",
            "Times that a limit of an upstream refused or ended something, by upstream and limit",
            None,
            MetricType::Counter,
        )?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (limit, count) in counters.strikes.each() {
                let labels = [("upstream", upstream.as_str()), ("limit", limit)];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_assertions(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_assertions_received",
            "Requests in which a peer says for whom it speaks, by listener and result",
            None,
            MetricType::Counter,
        )?;
        for (listener, counters) in self.listeners.each().iter() {
            for (result, count) in [
                ("accepted", counters.assertions_accepted.get()),
                ("refused", counters.assertions_refused.get()),
            ] {
                let labels = [("listener", listener.as_str()), ("result", result)];
                counter(&mut family, &labels, count)?;
            }
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
        for (route, counters) in self.routes.each().iter() {
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

    fn encode_decisions(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_policy_decisions",
            "Decisions by route, rule and what was decided",
            None,
            MetricType::Counter,
        )?;
        for (route, counters) in self.routes.each().iter() {
            for (rule, counters) in counters.rules.each().iter() {
                for (decision, count) in counters.each() {
                    let labels = [
                        ("route", route.as_str()),
                        ("rule", rule.as_str()),
                        ("decision", decision),
                    ];
                    counter(&mut family, &labels, count)?;
                }
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
        for (route, counters) in self.routes.each().iter() {
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
        for (upstream, counters) in self.upstreams.each().iter() {
            for (result, count) in counters.connections.each() {
                let labels = [("upstream", upstream.as_str()), ("result", result)];
                counter(&mut family, &labels, count)?;
            }
        }
        let mut family = out.encode_descriptor(
            "countersign_upstream_requests",
            "Requests sent, by upstream and the layer that tells it who is calling",
            None,
            MetricType::Counter,
        )?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (by, count) in counters.requests.each() {
                let labels = [("upstream", upstream.as_str()), ("by", by)];
                counter(&mut family, &labels, count)?;
            }
        }
        let mut family = out.encode_descriptor(
            "countersign_upstream_requests_repeated",
            "Requests sent again, by upstream and what it had not accepted",
            None,
            MetricType::Counter,
        )?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (cause, count) in counters.repeated.each() {
                let labels = [("upstream", upstream.as_str()), ("cause", cause)];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    /// Nothing, unless somebody looks.
    fn encode_memory(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.memory.resident() == 0 {
            return Ok(());
        }
        out.encode_descriptor(
            "countersign_memory_short",
            "Whether new work is refused since the process holds more than server.max_memory",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&u64::from(self.memory.is_short()))?;
        // The name that every client library gives it, without a prefix.
        out.encode_descriptor(
            "process_resident_memory_bytes",
            "Resident memory of the process, in bytes",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.memory.resident())
    }

    fn encode_process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(peers) = self.peers_known.get() {
            out.encode_descriptor(
                "countersign_peers_known",
                "Peers that are connected or were lately, each distinct chain of certificates once",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&(peers.0() as u64))?;
        }
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
        self.encode_memory(out)?;
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

impl State {
    fn encode_certificates(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_certificate_expiry_timestamp_seconds",
            "When a certificate or trust anchor runs out, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        for ((kind, name, index), unix) in &self.certificates {
            let index = index.to_string();
            let labels = [
                ("kind", kind.as_str()),
                ("name", name.as_str()),
                ("index", index.as_str()),
            ];
            family.encode_family(&labels)?.encode_gauge(unix)?;
        }
        let mut family = out.encode_descriptor(
            "countersign_crl_next_update_timestamp_seconds",
            "When a revocation list is to be replaced (its nextUpdate), in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        for ((bundle, index), unix) in &self.revocation_lists {
            let index = index.to_string();
            let labels = [("bundle", bundle.as_str()), ("index", index.as_str())];
            family.encode_family(&labels)?.encode_gauge(unix)?;
        }
        Ok(())
    }

    fn encode_unenforced(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_crl_would_refuse",
            "Peers let in that revocation lists would refuse, since they are not enforced, by bundle and reason",
            None,
            MetricType::Counter,
        )?;
        for (bundle, counts) in &self.unenforced {
            for (reason, count) in counts.each() {
                let labels = [("bundle", bundle.as_str()), ("reason", reason)];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_anchors(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_anchor_handshakes",
            "Handshakes that rested on a trust anchor",
            None,
            MetricType::Counter,
        )?;
        for (key, uses) in &self.anchors {
            counter(&mut family, &anchor_labels(key), uses.handshakes())?;
        }
        let mut family = out.encode_descriptor(
            "countersign_anchor_last_handshake_timestamp_seconds",
            "When a handshake last rested on a trust anchor, in seconds since 1970; 0 is never",
            None,
            MetricType::Gauge,
        )?;
        for (key, uses) in &self.anchors {
            family
                .encode_family(&anchor_labels(key))?
                .encode_gauge(&uses.last_handshake().unwrap_or(0))?;
        }
        Ok(())
    }

    fn encode_generation(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        out.encode_descriptor(
            "countersign_generation",
            "The generation of trust, certificates and policy in force",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.generation)?;
        out.encode_descriptor(
            "countersign_generation_timestamp_seconds",
            "When that generation came into force, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.published)
    }

    fn encode_endpoints(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_upstream_endpoint_healthy",
            "1 while the probes of an endpoint find it well, else 0, by upstream and endpoint",
            None,
            MetricType::Gauge,
        )?;
        for ((upstream, endpoint), health) in &self.endpoints {
            let labels = [
                ("upstream", upstream.as_str()),
                ("endpoint", endpoint.as_str()),
            ];
            let well = u64::from(health.is_well());
            family.encode_family(&labels)?.encode_gauge(&well)?;
        }
        Ok(())
    }

    fn encode_reloads(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = out.encode_descriptor(
            "countersign_reloads",
            "Attempts to put in force what is on the disk, by result",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in [
            ("success", self.reloads.success),
            ("failure", self.reloads.failure),
            ("held_back", self.reloads.held_back),
        ] {
            counter(&mut family, &[("result", result)], count)?;
        }
        out.encode_descriptor(
            "countersign_reload_last_success_timestamp_seconds",
            "When what is on the disk was last put or found in force, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.last_success)?;
        out.encode_descriptor(
            "countersign_reload_last_failure_timestamp_seconds",
            "When what is on the disk was last refused or held back, in seconds since 1970; 0 is never",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&self.last_failure)?;
        out.encode_descriptor(
            "countersign_reload_failing",
            "1 while what is on the disk is refused or held back, else 0",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&u64::from(self.failing))
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
        let answered = self.answered.each();
        let anonymous = self.anonymous.each();
        let not_tls = self.not_tls.each();
        accepted
            .into_iter()
            .chain(refused.map(|(reason, count)| ("refused", reason, count)))
            .chain(answered.map(|(reason, count)| ("answered", reason, count)))
            .chain(anonymous.map(|(reason, count)| ("anonymous", reason, count)))
            .chain(not_tls.map(|(what, count)| ("not_tls", what, count)))
    }
}

/// The labels of an anchor, from its bundle, index and fingerprint.
fn anchor_labels((bundle, index, fingerprint): &(String, usize, String)) -> impl EncodeLabelSet {
    [
        ("bundle", bundle.clone()),
        ("index", index.to_string()),
        ("fingerprint", fingerprint.clone()),
    ]
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
