//! The counters as plain numbers, for those who show them to people.

use super::{All, ListenerMetrics, Metrics, RouteMetrics, UpstreamMetrics};

/// Everything counted so far, by every name there ever was.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// By the listeners' names.
    pub listeners: Vec<(String, ListenerSurvey)>,
    /// By the routes' names; requests without a route are those of `none`.
    pub routes: Vec<(String, RouteSurvey)>,
    /// By the upstreams' names.
    pub upstreams: Vec<(String, UpstreamSurvey)>,
    /// Whether new work is refused for want of memory.
    pub memory_short: bool,
    /// Resident memory in bytes; 0: nobody has looked.
    pub memory: u64,
}

/// What happened on one listener.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListenerSurvey {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Full handshakes that completed.
    pub full: u64,
    /// Resumed ones.
    pub resumed: u64,
    /// Clients that were not accepted, by reason: in the handshake, with an
    /// answer, or as nobody.
    pub refused: Vec<(&'static str, u64)>,
    /// What came and was not TLS, by what it was.
    pub not_tls: Vec<(&'static str, u64)>,
    /// Open connections that were ended since their peer is no longer trusted.
    pub withdrawn: u64,
    /// Limits that struck.
    pub strikes: Vec<(&'static str, u64)>,
}

/// What became of the requests of one route.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteSurvey {
    /// Answered with less than 400.
    pub fine: u64,
    /// Answered with 400 to 499.
    pub refused: u64,
    /// Answered with 500 or more, or not at all.
    pub failed: u64,
    /// What its rules decided: rule, decision, how often.
    pub decisions: Vec<(String, &'static str, u64)>,
}

/// What went on with one upstream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpstreamSurvey {
    /// Requests that went up.
    pub requests: u64,
    /// How connections for them were got, or why not.
    pub connections: Vec<(&'static str, u64)>,
    /// Limits that struck.
    pub strikes: Vec<(&'static str, u64)>,
}

/// Sums over all names, as they grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Requests answered with less than 400.
    pub fine: u64,
    /// Requests answered with 400 to 499.
    pub refused: u64,
    /// Requests answered with 500 or more, or not at all.
    pub failed: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Handshakes that completed.
    pub handshakes: u64,
    /// Clients that were not accepted.
    pub turned_away: u64,
}

impl Metrics {
    /// Everything counted so far.
    pub fn survey(&self) -> Survey {
        let All {
            listeners,
            routes,
            upstreams,
            memory,
            ..
        } = &*self.all;
        let listeners = listeners.each();
        let routes = routes.each();
        let upstreams = upstreams.each();
        Survey {
            listeners: listeners
                .iter()
                .map(|(name, counters)| (name.clone(), counters.survey()))
                .collect(),
            routes: routes
                .iter()
                .map(|(name, counters)| (name.clone(), counters.survey()))
                .collect(),
            upstreams: upstreams
                .iter()
                .map(|(name, counters)| (name.clone(), counters.survey()))
                .collect(),
            memory_short: memory.is_short(),
            memory: super::process::resident(),
        }
    }

    /// Since when the process counts, in seconds since 1970.
    pub fn started(&self) -> u64 {
        self.all.started.as_secs()
    }
}

impl Survey {
    /// The sums over all names.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (_, route) in &self.routes {
            totals.fine += route.fine;
            totals.refused += route.refused;
            totals.failed += route.failed;
        }
        for (_, listener) in &self.listeners {
            totals.open += listener.open;
            totals.handshakes += listener.full + listener.resumed;
            totals.turned_away += listener.turned_away();
        }
        totals
    }
}

impl ListenerSurvey {
    /// How many clients were not accepted.
    pub fn turned_away(&self) -> u64 {
        let all = self.refused.iter().chain(&self.not_tls);
        all.map(|(_, count)| count).sum()
    }
}

impl ListenerMetrics {
    fn survey(&self) -> ListenerSurvey {
        let mut refused: Vec<(&'static str, u64)> = Vec::new();
        let ways = [&self.refused, &self.answered, &self.anonymous];
        for (reason, count) in ways.iter().flat_map(|way| way.each()) {
            match refused.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += count,
                None => refused.push((reason, count)),
            }
        }
        ListenerSurvey {
            open: self.open(),
            accepted: self.opened.get(),
            full: self.full.get(),
            resumed: self.resumed.get(),
            refused,
            not_tls: self.not_tls.each().collect(),
            withdrawn: self.withdrawn.each().map(|(_, count)| count).sum(),
            strikes: self.strikes.each().collect(),
        }
    }
}

impl RouteMetrics {
    fn survey(&self) -> RouteSurvey {
        let mut survey = RouteSurvey::default();
        for (class, _, count) in self.outcomes.each() {
            match class {
                "1xx" | "2xx" | "3xx" => survey.fine += count,
                "4xx" => survey.refused += count,
                _ => survey.failed += count,
            }
        }
        for (rule, counters) in self.rules.each().iter() {
            let each = counters.each();
            let each = each.map(|(decision, count)| (rule.clone(), decision, count));
            survey.decisions.extend(each);
        }
        survey
    }
}

impl UpstreamMetrics {
    fn survey(&self) -> UpstreamSurvey {
        UpstreamSurvey {
            requests: self.requests.each().map(|(_, count)| count).sum(),
            connections: self.connections.each().collect(),
            strikes: self.strikes.each().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Decision, MetricNames};
    use super::*;

    #[test]
    fn survey_has_what_was_counted_and_the_sums_are_those_of_its_parts() {
        let metrics = Metrics::new(MetricNames {
            listeners: vec!["one".to_owned(), "two".to_owned()],
            routes: vec!["api".to_owned()],
            upstreams: vec!["orders".to_owned()],
        });
        for (status, side) in [(200, None), (304, None), (403, Some("downstream"))] {
            metrics.route(0).request(status, side, Duration::ZERO);
        }
        metrics
            .route(0)
            .request(0, Some("upstream"), Duration::ZERO);
        metrics.no_route().request(404, None, Duration::ZERO);
        metrics.route(0).rule("deny 1").decided(Decision::Denied);
        let (one, two) = (metrics.listener(0), metrics.listener(1));
        one.connection_opened();
        one.connection_opened();
        one.connection_closed();
        one.handshake_accepted(true);
        two.handshake_accepted(false);
        one.handshake_refused("expired");
        one.handshake_answered("expired");
        two.not_tls("http");
        metrics.upstream(0).request("assertion");
        metrics.upstream(0).connection("opened");

        let survey = metrics.survey();
        let totals = Totals {
            fine: 2,
            refused: 2,
            failed: 1,
            open: 1,
            handshakes: 2,
            turned_away: 3,
        };
        assert_eq!(survey.totals(), totals);
        assert_eq!(survey.listeners[0].1.refused, [("expired", 2)]);
        assert_eq!(survey.routes.len(), 2, "requests without a route too");
        let decisions = &survey.routes[0].1.decisions;
        assert_eq!(*decisions, [("deny 1".to_owned(), "denied", 1)]);
        assert_eq!(survey.upstreams[0].1.requests, 1);
        assert_eq!(survey.upstreams[0].1.connections, [("opened", 1)]);
    }
}
