//! Why a caller may not use a route.

use super::facts::Facts;
use super::near_miss::{self, NearMisses};
use super::rule::{self, List, RuleId};
use crate::config::{EvaluationError, Route, Rule};

/// Why a caller may not use a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denial {
    /// The route is for callers with a certificate, and this one is anonymous.
    #[error("route `{route}` requires a client certificate, and the caller presented none")]
    CertificateRequired {
        /// The route's name.
        route: Box<str>,
    },

    /// A rule of `deny` matches.
    #[error("rule `{label}` of route `{route}` denies {}{}: {written}{}", caller(peer.as_deref()), spoken_for(speaker.as_deref()), failure(failed.as_deref()))]
    DeniedByRule {
        /// The route's name.
        route: Box<str>,
        /// Which rule.
        rule: RuleId,
        /// Its name, or `deny[0]`.
        label: Box<str>,
        /// The rule, as the config has it.
        written: Box<str>,
        /// The caller's label; `None` is anonymous.
        peer: Option<Box<str>>,
        /// That of the peer who speaks for it, where one does.
        speaker: Option<Box<str>>,
        /// Why its condition has no result, and so counts as true.
        failed: Option<Box<EvaluationError>>,
    },

    /// No rule of `allow` matches.
    #[error("none of the {rules} `allow` entries of route `{route}` matches {}{}{}{}{}", caller(peer.as_deref()), spoken_for(speaker.as_deref()), near.text, would(would_allow.as_ref()), failure(failed.as_deref()))]
    NoRuleMatched {
        /// The route's name.
        route: Box<str>,
        /// How many entries there are.
        rules: usize,
        /// The caller's label; `None` is anonymous.
        peer: Option<Box<str>>,
        /// That of the peer who speaks for it, where one does.
        speaker: Option<Box<str>>,
        /// By which names rules could know it, and to which it came nearest.
        near: Box<NearMisses>,
        /// The first rule that matches and is not enforced.
        would_allow: Option<(RuleId, Box<str>)>,
        /// Why the first condition without a result has none.
        failed: Option<Box<EvaluationError>>,
    },
}

impl Denial {
    /// What names a denial that no rule made.
    pub const WITHOUT_RULE: [&str; 2] = [CERTIFICATE_REQUIRED, NONE_MATCHED];

    /// The rule, as logs and metrics name it: its name or `deny[0]`, or what
    /// else denied.
    pub fn rule(&self) -> &str {
        match self {
            Self::CertificateRequired { .. } => CERTIFICATE_REQUIRED,
            Self::DeniedByRule { label, .. } => label,
            Self::NoRuleMatched { .. } => NONE_MATCHED,
        }
    }

    /// The rule that would have permitted it, were it enforced.
    pub fn would_allow(&self) -> Option<&str> {
        match self {
            Self::NoRuleMatched { would_allow, .. } => {
                would_allow.as_ref().map(|(_, label)| &**label)
            }
            Self::CertificateRequired { .. } | Self::DeniedByRule { .. } => None,
        }
    }

    /// What to do about it, where more is known than that it was denied.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::NoRuleMatched { near, .. } => near.remedy.as_deref(),
            Self::CertificateRequired { .. } | Self::DeniedByRule { .. } => None,
        }
    }

    pub(super) fn by_rule((route, id, rule): (&Route, RuleId, &Rule), facts: &Facts<'_>) -> Self {
        Self::DeniedByRule {
            route: route.name.as_str().into(),
            rule: id,
            label: id.label(route).into(),
            written: rule.to_string().into(),
            peer: facts.caller.map(|caller| caller.primary().into()),
            speaker: facts.speaker.map(|speaker| speaker.primary().into()),
            failed: rule::failure(rule, id.other, facts).map(Box::new),
        }
    }

    pub(super) fn for_want_of_certificate(route: &Route) -> Self {
        Self::CertificateRequired {
            route: route.name.as_str().into(),
        }
    }

    pub(super) fn no_rule(
        (route, rules, would_allow): (&Route, usize, Option<RuleId>),
        facts: &Facts<'_>,
    ) -> Self {
        let failed = List::Allow.rules(route).iter().find_map(|rule| {
            let others = rule.any_of.as_ref().map_or(0, |others| others.rules.len());
            let mut ways = std::iter::once(None).chain((0..others).map(Some));
            ways.find_map(|other| rule::failure(rule, other, facts))
        });
        Self::NoRuleMatched {
            route: route.name.as_str().into(),
            rules,
            peer: facts.caller.map(|caller| caller.primary().into()),
            speaker: facts.speaker.map(|speaker| speaker.primary().into()),
            near: Box::new(near_miss::of(route, facts)),
            would_allow: would_allow.map(|id| (id, id.label(route).into())),
            failed: failed.map(Box::new),
        }
    }
}

fn caller(peer: Option<&str>) -> String {
    peer.map_or_else(
        || "an anonymous caller".to_owned(),
        |peer| format!("the caller `{peer}`"),
    )
}

fn spoken_for(speaker: Option<&str>) -> String {
    speaker.map_or_else(String::new, |by| format!(", for whom `{by}` speaks"))
}

fn failure(error: Option<&EvaluationError>) -> String {
    error.map_or_else(String::new, |error| {
        format!("; `when` has no result: {error}")
    })
}

fn would(rule: Option<&(RuleId, Box<str>)>) -> String {
    rule.map_or_else(String::new, |(_, label)| {
        format!("; `{label}` does, and is not enforced")
    })
}

/// What names a denial for want of a certificate, where a rule's name would stand.
const CERTIFICATE_REQUIRED: &str = "certificate required";
/// What names a denial since no rule matched.
const NONE_MATCHED: &str = "none matched";
