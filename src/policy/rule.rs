//! Which rule of a route made a decision, and whether one matches.

use std::borrow::Cow;

use super::facts::Facts;
use crate::config::{EvaluationError, Route, Rule, Says};

/// Which rule of a route made a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleId {
    /// The list in which it stands.
    pub list: List,
    /// Its index in the list, from 0.
    pub index: usize,
    /// The index of the rule that matched with it in the list to which it
    /// refers; `None`: it refers to none.
    pub other: Option<usize>,
}

/// Which list of a route a rule stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// `allow`.
    Allow,
    /// `deny`.
    Deny,
}

impl List {
    /// The key of the config.
    pub fn key(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// Its rules.
    pub fn rules(self, route: &Route) -> &[Rule] {
        match self {
            Self::Allow => route.allow.as_deref().unwrap_or_default(),
            Self::Deny => &route.deny,
        }
    }
}

impl RuleId {
    /// Every rule of a route, and every rule together with each that it refers to.
    pub fn all(route: &Route) -> impl Iterator<Item = Self> {
        [List::Deny, List::Allow].into_iter().flat_map(|list| {
            let rules = list.rules(route).iter().enumerate();
            rules.flat_map(move |(index, rule)| {
                let id = move |other| Self { list, index, other };
                let others = rule.any_of.as_ref().map_or(0, |others| others.rules.len());
                let alone = (others == 0).then(|| id(None));
                alone
                    .into_iter()
                    .chain((0..others).map(move |at| id(Some(at))))
            })
        })
    }

    /// What logs and metrics call it: its name, else that of the rule that it
    /// refers to and that matched with it, else its place, such as `allow[1]`.
    pub fn label(self, route: &Route) -> Cow<'_, str> {
        let rule = self.list.rules(route).get(self.index);
        let other = rule.zip(self.other).and_then(|(rule, at)| {
            let others = rule.any_of.as_ref()?;
            others.rules.get(at)?.name.as_deref()
        });
        match rule.and_then(|rule| rule.name.as_deref()).or(other) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("{}[{}]", self.list.key(), self.index)),
        }
    }
}

/// The rules of a list that match, in their order.
pub(super) fn matching<'r>(
    list: List,
    route: &'r Route,
    facts: &Facts<'_>,
) -> impl Iterator<Item = (RuleId, &'r Rule)> {
    let rules = list.rules(route).iter().enumerate();
    rules.filter_map(move |(index, rule)| {
        let other = matches(list, rule, facts)?;
        Some((RuleId { list, index, other }, rule))
    })
}

/// Whether a rule matches, and with which rule of the list that it refers to.
#[expect(clippy::option_option, reason = "a rule may refer to no list")]
fn matches(list: List, rule: &Rule, facts: &Facts<'_>) -> Option<Option<usize>> {
    let says = holds(list, rule, facts)?;
    let is_meant = |also: Says| {
        // A list that permits is closed: who is anonymous must be meant.
        list == List::Deny || facts.caller.is_some() || [says, also].contains(&Says::Yes)
    };
    let Some(others) = &rule.any_of else {
        return is_meant(Says::Nothing).then_some(None);
    };
    let fits = |other: &Rule| holds(list, other, facts).is_some_and(is_meant);
    others.rules.iter().position(fits).map(Some)
}

/// Why a condition of a rule, or of the one that it refers to, has no result.
pub(super) fn failure(
    rule: &Rule,
    other: Option<usize>,
    facts: &Facts<'_>,
) -> Option<EvaluationError> {
    let other = other.and_then(|at| rule.any_of.as_ref()?.rules.get(at));
    let parts = || std::iter::once(rule).chain(other);
    if parts().any(|part| says_but_for_when(part, facts).is_none()) {
        return None;
    }
    parts().find_map(|part| part.when.as_ref()?.holds(facts).err())
}

/// Whether the conditions of one rule hold, and what it says of the caller.
///
/// A condition without a result is closed, too: it neither permits nor keeps a
/// rule from denying.
fn holds(list: List, rule: &Rule, facts: &Facts<'_>) -> Option<Says> {
    let says = says_but_for_when(rule, facts)?;
    let when = rule.when.as_ref().map(|when| when.holds(facts));
    let fulfilled = when.is_none_or(|held| held.unwrap_or(list == List::Deny));
    fulfilled.then_some(says)
}

/// The same, its expression left aside: that is the dearest, and looked at last.
fn says_but_for_when(rule: &Rule, facts: &Facts<'_>) -> Option<Says> {
    if !rule.takes(facts.method, facts.path, facts.source) {
        return None;
    }
    Some(rule.says_of(&facts.who())).filter(|says| *says != Says::No)
}
