//! Counts what the rules of a route decide.

use std::sync::Arc;

use crate::config::Route;
use crate::policy::{Denial, List, Permit, RuleId};
use crate::telemetry::metrics::{Decision, RouteMetrics, RuleMetrics};

/// The counters of the rules of one route, where they are found without a lock.
#[derive(Debug)]
pub(super) struct Tally {
    rules: Vec<(RuleId, Arc<RuleMetrics>)>,
    /// For denials that no rule made, by [`Denial::WITHOUT_RULE`].
    others: [Arc<RuleMetrics>; 2],
}

impl Tally {
    pub(super) fn new(route: &Route, counters: &RouteMetrics) -> Self {
        let of = |id: RuleId| (id, counters.rule(&id.label(route)));
        Self {
            rules: RuleId::all(route).map(of).collect(),
            others: Denial::WITHOUT_RULE.map(|label| counters.rule(label)),
        }
    }

    /// Counts a decision.
    pub(super) fn count(&self, decision: &Result<Permit, Denial>) {
        match decision {
            Ok(permit) => {
                if let Some(rule) = permit.rule() {
                    self.by_rule(rule, Decision::Permitted);
                }
                if let Some(denial) = permit.would_deny() {
                    self.by_denial(denial, Decision::WouldDeny);
                }
            }
            Err(denial) => {
                self.by_denial(denial, Decision::Denied);
                if let Denial::NoRuleMatched {
                    would_allow: Some((rule, _)),
                    ..
                } = denial
                {
                    self.by_rule(*rule, Decision::WouldAllow);
                }
            }
        }
    }

    fn by_denial(&self, denial: &Denial, decision: Decision) {
        let [certificate, none] = &self.others;
        match denial {
            Denial::CertificateRequired { .. } => certificate.decided(decision),
            Denial::DeniedByRule { rule, .. } => self.by_rule(*rule, decision),
            Denial::NoRuleMatched { .. } => none.decided(decision),
        }
    }

    fn by_rule(&self, rule: RuleId, decision: Decision) {
        let order = |id: &RuleId| (id.list == List::Allow, id.index, id.other);
        // They stand in this order.
        let found = self
            .rules
            .binary_search_by_key(&order(&rule), |(id, _)| order(id));
        if let Some((_, counters)) = found.ok().and_then(|at| self.rules.get(at)) {
            counters.decided(decision);
        }
    }
}
