//! Writes the counters in the words of Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::histogram::{Histogram, Scale};
use super::in_force::State;
use super::process::Process;
use super::{All, ListenerMetrics, RouteMetrics, UpstreamMetrics, admin, catalogue};
use crate::telemetry::AccessLog;

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.encode_handshakes(out)?;
        self.encode_connections(out)?;
        self.encode_strikes(out)?;
        self.encode_requests(out)?;
        self.encode_bodies(out)?;
        self.encode_upstreams(out)?;
        self.encode_sessions(out)?;
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
        let mut family = catalogue::HANDSHAKES.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            for (result, reason, count) in counters.handshakes() {
                family.counter([listener, result, reason], count)?;
            }
        }
        let mut family = catalogue::REMAINING.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            let remaining = &counters.remaining;
            family.histogram([listener], remaining.sum(), &remaining.buckets())?;
        }
        Ok(())
    }

    fn encode_connections(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::CONNECTIONS.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            family.counter([listener], counters.opened.get())?;
        }
        let mut family = catalogue::OPEN.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            family.gauge([listener], counters.open())?;
        }
        let mut family = catalogue::WITHDRAWN.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            for (reason, count) in counters.withdrawn.each() {
                family.counter([listener, reason], count)?;
            }
        }
        let mut family = catalogue::WOULD_END.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            for (reason, count) in counters.would_end.each() {
                family.counter([listener, reason], count)?;
            }
        }
        Ok(())
    }

    fn encode_strikes(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::LIMITS.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            for (limit, count) in counters.strikes.each() {
                family.counter([listener, limit], count)?;
            }
        }
        let mut family = catalogue::UPSTREAM_LIMITS.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (limit, count) in counters.strikes.each() {
                family.counter([upstream, limit], count)?;
            }
        }
        let mut family = catalogue::ASSERTIONS_RECEIVED.begin(out)?;
        for (listener, counters) in self.listeners.each().iter() {
            family.counter([listener, "accepted"], counters.assertions_accepted.get())?;
            family.counter([listener, "refused"], counters.assertions_refused.get())?;
        }
        Ok(())
    }

    fn encode_requests(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // Read first, so that the difference is never negative.
        let routes = self.routes.each();
        let ended: u64 = routes.values().map(|route| route.outcomes.all()).sum();
        let mut family = catalogue::REQUESTS.begin(out)?;
        for (route, counters) in routes.iter() {
            for (class, side, count) in counters.outcomes.each() {
                family.counter([route, class, side], count)?;
            }
        }
        let in_flight = self.begun.get().saturating_sub(ended);
        catalogue::IN_FLIGHT.begin(out)?.gauge([], in_flight)?;
        let mut family = catalogue::FAULTS.begin(out)?;
        for (route, counters) in routes.iter() {
            for ([side, phase, kind], count) in counters.faults.each() {
                family.counter([route, side, phase, kind], count)?;
            }
        }
        let mut family = catalogue::DECISIONS.begin(out)?;
        for (route, counters) in routes.iter() {
            for (rule, counters) in counters.rules.each().iter() {
                for (decision, count) in counters.each() {
                    family.counter([route, rule, decision], count)?;
                }
            }
        }
        Ok(())
    }

    fn encode_bodies(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.by_route(out, &catalogue::DURATIONS, |route| &route.durations)?;
        self.by_route(out, &catalogue::REQUEST_SIZES, |route| &route.received)?;
        self.by_route(out, &catalogue::RESPONSE_SIZES, |route| &route.sent)
    }

    fn by_route<S: Scale>(
        &self,
        out: &mut DescriptorEncoder<'_>,
        family: &'static catalogue::Family<1>,
        histogram: impl Fn(&RouteMetrics) -> &Histogram<S>,
    ) -> fmt::Result {
        let mut family = family.begin(out)?;
        for (route, counters) in self.routes.each().iter() {
            let one = histogram(counters);
            let buckets = one.buckets();
            // There may be thousands of routes, and each has many buckets.
            let is_used = buckets.iter().any(|(_, count)| *count > 0);
            if is_used || S::IS_SERVED_EMPTY {
                family.histogram([route], one.sum(), &buckets)?;
            }
        }
        Ok(())
    }

    fn encode_upstreams(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::UPSTREAM_CONNECTIONS.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (result, count) in counters.connections.each() {
                family.counter([upstream, result], count)?;
            }
        }
        let mut family = catalogue::UPSTREAM_OPEN.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            let [in_use, idle] = counters.in_use_and_idle();
            family.gauge([upstream, "in_use"], in_use)?;
            family.gauge([upstream, "idle"], idle)?;
        }
        self.by_upstream(out, &catalogue::UPSTREAM_WAITING, |one| one.waiting.now())?;
        let mut family = catalogue::UPSTREAM_REQUESTS.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (by, count) in counters.requests.each() {
                family.counter([upstream, by], count)?;
            }
        }
        let mut family = catalogue::REPEATED.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            for (cause, count) in counters.repeated.each() {
                family.counter([upstream, cause], count)?;
            }
        }
        Ok(())
    }

    fn encode_sessions(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.by_upstream(out, &catalogue::SESSIONS, |one| one.sessions.now())?;
        let mut family = catalogue::SESSIONS_OPENED.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            family.counter([upstream], counters.sessions.begun.get())?;
        }
        let mut family = catalogue::SIGNED.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            family.counter([upstream], counters.signed.get())?;
        }
        Ok(())
    }

    /// How many of something each upstream has now.
    fn by_upstream(
        &self,
        out: &mut DescriptorEncoder<'_>,
        family: &'static catalogue::Family<1>,
        now: impl Fn(&UpstreamMetrics) -> u64,
    ) -> fmt::Result {
        let mut family = family.begin(out)?;
        for (upstream, counters) in self.upstreams.each().iter() {
            family.gauge([upstream], now(counters))?;
        }
        Ok(())
    }

    fn encode_process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(peers) = self.peers_known.get() {
            catalogue::PEERS.begin(out)?.gauge([], peers.0() as u64)?;
        }
        let dropped = self.access_log.get().map_or(0, AccessLog::dropped);
        catalogue::ACCESS_DROPPED.begin(out)?.counter([], dropped)?;
        let mut family = catalogue::SPANS.begin(out)?;
        for (result, count) in self.spans.get().into_iter().flat_map(|spans| spans.each()) {
            family.counter([result], count)?;
        }
        let is_short = u64::from(self.memory.is_short());
        catalogue::MEMORY_SHORT.begin(out)?.gauge([], is_short)?;
        admin::encode(self.admin.get().map(AsRef::as_ref), out)?;
        catalogue::BUILD
            .begin(out)?
            .info(env!("CARGO_PKG_VERSION"))?;
        Process::now().encode(out)?;
        let started = self.started.as_secs_f64();
        catalogue::STARTED.begin(out)?.gauge([], started)
    }
}

impl State {
    fn encode_certificates(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::CERTIFICATES.begin(out)?;
        for ((kind, name, index), unix) in &self.certificates {
            family.gauge([kind.as_str(), name, &index.to_string()], *unix)?;
        }
        let mut family = catalogue::LISTS.begin(out)?;
        for ((bundle, index), unix) in &self.revocation_lists {
            family.gauge([bundle, &index.to_string()], *unix)?;
        }
        Ok(())
    }

    fn encode_unenforced(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::LISTS_WOULD_REFUSE.begin(out)?;
        for (bundle, counts) in &self.unenforced {
            for (reason, count) in counts.each() {
                family.counter([bundle, reason], count)?;
            }
        }
        Ok(())
    }

    fn encode_anchors(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::ANCHOR_HANDSHAKES.begin(out)?;
        for ((bundle, index, fingerprint), uses) in &self.anchors {
            let labels = [bundle, &*index.to_string(), fingerprint];
            family.counter(labels, uses.handshakes())?;
        }
        let mut family = catalogue::ANCHOR_LAST.begin(out)?;
        for ((bundle, index, fingerprint), uses) in &self.anchors {
            let labels = [bundle, &*index.to_string(), fingerprint];
            family.gauge(labels, uses.last_handshake().unwrap_or(0))?;
        }
        Ok(())
    }

    fn encode_generation(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::GENERATION.begin(out)?;
        family.gauge([], self.generation)?;
        let mut family = catalogue::GENERATION_TIME.begin(out)?;
        family.gauge([], self.published)
    }

    fn encode_endpoints(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::ENDPOINTS.begin(out)?;
        for ((upstream, endpoint), (is_probed, health)) in &self.endpoints {
            if *is_probed {
                family.gauge([upstream, endpoint], u64::from(health.is_well()))?;
            }
        }
        let mut family = catalogue::EJECTED.begin(out)?;
        for ((upstream, endpoint), (_, health)) in &self.endpoints {
            let by = u64::try_from(health.left_alone_by()).unwrap_or(u64::MAX);
            family.gauge([upstream, endpoint], by)?;
        }
        Ok(())
    }

    fn encode_reloads(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = catalogue::RELOADS.begin(out)?;
        family.counter(["success"], self.reloads.success)?;
        family.counter(["failure"], self.reloads.failure)?;
        family.counter(["held_back"], self.reloads.held_back)?;
        let mut family = catalogue::RELOAD_SUCCESS.begin(out)?;
        family.gauge([], self.last_success)?;
        let mut family = catalogue::RELOAD_FAILURE.begin(out)?;
        family.gauge([], self.last_failure)?;
        let mut family = catalogue::RELOAD_FAILING.begin(out)?;
        family.gauge([], u64::from(self.failing))
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
