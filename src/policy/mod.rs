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

mod denial;
mod facts;
mod route;
#[cfg(test)]
mod tests;

use crate::config::{Config, Problem};

pub use denial::Denial;
pub use facts::Facts;
pub use route::{RouteRules, RuleId};

/// The rules of all routes of a config, ready to be decided by.
#[derive(Debug, Default)]
pub struct Policy {
    routes: Vec<RouteRules>,
}

/// The right to send one request to the upstream of a route, as often as it
/// takes.
#[derive(Clone, Debug)]
#[must_use = "a request goes up only with its permit"]
pub struct Permit {
    rule: Option<RuleId>,
    would_deny: Option<Box<Denial>>,
}

impl Policy {
    /// Makes the rules of a config ready.
    ///
    /// # Errors
    ///
    /// A problem for each rule that cannot be decided by.
    pub fn compile(config: &Config) -> Result<Self, Vec<Problem>> {
        let routes = config.routes().iter().map(RouteRules::compile).collect();
        Ok(Self { routes })
    }

    /// The rules of the route with this index in the config.
    pub fn route(&self, index: usize) -> Option<&RouteRules> {
        self.routes.get(index)
    }
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
pub fn decide(rules: &RouteRules, facts: &Facts<'_>) -> Result<Permit, Denial> {
    match rules.judge(facts) {
        Err(denial) if !rules.is_enforced() => Ok(Permit {
            rule: None,
            would_deny: Some(Box::new(denial)),
        }),
        decision => decision,
    }
}
