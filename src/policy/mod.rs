//! Decides what a caller may do, and names the rule that said so.
//!
//! # Rules
//!
//! * A decision is a function of the route's rules and of [`Facts`], and of
//!   nothing else.
//! * `deny` is looked at first; the first rule of it that matches denies.
//! * A route with `allow` is for callers that a rule of it matches, and for
//!   nobody else; an anonymous caller is matched only where a rule says
//!   `anonymous`.
//! * An `allow` without entries permits nobody.
//! * What is not enforced is decided as if it were, and then noted: a denial by
//!   a rule of `deny` or of the whole route is in [`Permit::would_deny`], a rule
//!   of `allow` that would have permitted in [`Denial::would_allow`].
//! * A [`Permit`] is good for one request: it is made here only.

mod attributes;
mod denial;
mod facts;
mod near_miss;
mod rule;
#[cfg(test)]
mod tests;

use crate::config::{Callers, Route, Rule};

pub use denial::Denial;
pub use facts::Facts;
pub use near_miss::NearMisses;
pub use rule::{List, RuleId};

/// The right to send one request to the upstream of a route, as often as it
/// takes.
#[derive(Clone, Debug)]
#[must_use = "a request goes up only with its permit"]
pub struct Permit {
    rule: Option<RuleId>,
    would_deny: Option<Box<Denial>>,
}

impl Permit {
    /// The rule of `allow` that matched; `None` where the route has no `allow`,
    /// or where nothing permits it and nothing is enforced.
    pub fn rule(&self) -> Option<RuleId> {
        self.rule
    }

    /// Why it would have been denied, were everything enforced.
    pub fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_deref()
    }
}

/// Decides whether a request with these facts may use a route.
///
/// The first rule that matches is named. Permitting allocates nothing, unless
/// something would have denied that is not enforced.
///
/// # Errors
///
/// A [`Denial`] that names the route, and the rule or what was missing.
pub fn decide(route: &Route, facts: &Facts<'_>) -> Result<Permit, Denial> {
    match as_if_enforced(route, facts) {
        Err(denial) if !route.enforce => Ok(Permit {
            rule: None,
            would_deny: Some(Box::new(denial)),
        }),
        decision => decision,
    }
}

/// The decision, as if the route were enforced.
fn as_if_enforced(route: &Route, facts: &Facts<'_>) -> Result<Permit, Denial> {
    let mut would_deny = None;
    for (id, rule) in rule::matching(List::Deny, route, facts) {
        let denial = || Denial::by_rule((route, id, rule), facts);
        if rule.enforce {
            return Err(denial());
        }
        if would_deny.is_none() {
            would_deny = Some(Box::new(denial()));
        }
    }
    if facts.caller.is_none() && route.requires_certificate {
        return Err(Denial::for_want_of_certificate(route));
    }
    let rule = match &route.allow {
        None => None,
        Some(allow) => Some(permitted_by((route, allow), facts)?),
    };
    Ok(Permit { rule, would_deny })
}

fn permitted_by((route, allow): (&Route, &[Rule]), facts: &Facts<'_>) -> Result<RuleId, Denial> {
    let mut would_allow = None;
    for (id, rule) in rule::matching(List::Allow, route, facts) {
        if rule.enforce {
            return Ok(id);
        }
        would_allow.get_or_insert(id);
    }
    if facts.caller.is_none() && !allow.iter().any(is_for_anonymous) {
        return Err(Denial::for_want_of_certificate(route));
    }
    Err(Denial::no_rule((route, allow.len(), would_allow), facts))
}

fn is_for_anonymous(rule: &Rule) -> bool {
    let mut parts = rule.ways().flatten().flatten();
    parts.any(|part| part.callers == Callers::Anonymous)
}
