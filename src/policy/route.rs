//! The rules of one route, ready to be decided by.

use super::Permit;
use super::denial::{CERTIFICATE_REQUIRED, Denial, NONE_MATCHED};
use super::facts::Facts;
use crate::config::{Callers, Route, Rule, Says};

/// The rules of one route, ready to be decided by.
#[derive(Debug)]
pub struct RouteRules {
    route: Box<str>,
    requires_certificate: bool,
    enforce: bool,
    deny: Vec<Candidate>,
    allow: Option<Vec<Candidate>>,
    /// Whether some rule of `allow` is for anonymous callers.
    for_anonymous: bool,
    /// What logs and metrics call each [`RuleId`].
    labels: Vec<Box<str>>,
}

/// Which rule of a route made a decision, as an index into [`RouteRules::labels`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleId(pub usize);

/// A rule of one of the lists.
#[derive(Debug)]
struct Candidate {
    rule: Rule,
    id: RuleId,
    /// For each rule of the list that it refers to: what a match of both is called.
    others: Vec<RuleId>,
}

/// Which list a rule stands in.
#[derive(Clone, Copy, Eq, PartialEq)]
enum List {
    Allow,
    Deny,
}

impl RouteRules {
    pub(super) fn compile(route: &Route) -> Self {
        let mut labels = Vec::new();
        let deny = compile_list("deny", &route.deny, &mut labels);
        let allow = route.allow.as_ref();
        let allow = allow.map(|rules| compile_list("allow", rules, &mut labels));
        labels.extend([CERTIFICATE_REQUIRED, NONE_MATCHED].map(Into::into));
        let mut parts = route.allow.iter().flatten().flat_map(Rule::ways);
        let for_anonymous = parts.any(|way| {
            let mut parts = way.into_iter().flatten();
            parts.any(|part| part.callers == Callers::Anonymous)
        });
        Self {
            route: route.name.as_str().into(),
            requires_certificate: route.requires_certificate,
            enforce: route.enforce,
            deny,
            allow,
            for_anonymous,
            labels,
        }
    }

    /// Whether its denials are enforced.
    pub fn is_enforced(&self) -> bool {
        self.enforce
    }

    /// What logs and metrics call each rule, and what else may decide here.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(AsRef::as_ref)
    }

    /// What logs and metrics call a rule of this route.
    pub fn label(&self, rule: RuleId) -> &str {
        self.labels.get(rule.0).map_or("-", AsRef::as_ref)
    }

    /// Which rule, or what else, denied.
    pub fn id_of(&self, denial: &Denial) -> RuleId {
        let from_the_end = match denial {
            Denial::DeniedByRule { rule, .. } => return *rule,
            Denial::CertificateRequired { .. } => 2,
            Denial::NoRuleMatched { .. } => 1,
        };
        RuleId(self.labels.len().saturating_sub(from_the_end))
    }

    /// The rule with this label.
    pub fn id_of_label(&self, label: &str) -> Option<RuleId> {
        self.labels().position(|known| known == label).map(RuleId)
    }

    /// The decision, as if it were enforced.
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Result<Permit, Denial> {
        let mut would_deny = None;
        for candidate in &self.deny {
            let Some(id) = candidate.matches(List::Deny, facts) else {
                continue;
            };
            let denial = || self.denied_by(candidate, id, facts);
            if candidate.rule.enforce {
                return Err(denial());
            }
            if would_deny.is_none() {
                would_deny = Some(Box::new(denial()));
            }
        }
        if facts.caller.is_none() && self.requires_certificate {
            return Err(self.wants_certificate());
        }
        let rule = match &self.allow {
            None => None,
            Some(allow) => Some(self.permitted_by(allow, facts)?),
        };
        Ok(Permit { rule, would_deny })
    }

    fn permitted_by(&self, allow: &[Candidate], facts: &Facts<'_>) -> Result<RuleId, Denial> {
        let mut would_allow = None;
        for candidate in allow {
            let Some(id) = candidate.matches(List::Allow, facts) else {
                continue;
            };
            if candidate.rule.enforce {
                return Ok(id);
            }
            would_allow.get_or_insert(id);
        }
        if facts.caller.is_none() && !self.for_anonymous {
            return Err(self.wants_certificate());
        }
        Err(Denial::NoRuleMatched {
            route: self.route.clone(),
            rules: allow.len(),
            peer: label_of(facts),
            speaker: speaker_of(facts),
            would_allow: would_allow.map(|id| self.label(id).into()),
        })
    }

    fn wants_certificate(&self) -> Denial {
        Denial::CertificateRequired {
            route: self.route.clone(),
        }
    }

    fn denied_by(&self, candidate: &Candidate, id: RuleId, facts: &Facts<'_>) -> Denial {
        Denial::DeniedByRule {
            route: self.route.clone(),
            rule: id,
            label: self.label(id).into(),
            written: candidate.rule.to_string().into(),
            peer: label_of(facts),
            speaker: speaker_of(facts),
        }
    }
}

fn label_of(facts: &Facts<'_>) -> Option<Box<str>> {
    facts.caller.map(|caller| caller.primary().into())
}

fn speaker_of(facts: &Facts<'_>) -> Option<Box<str>> {
    facts.speaker.map(|speaker| speaker.primary().into())
}

impl Candidate {
    /// Under which name it matches, if it does.
    fn matches(&self, list: List, facts: &Facts<'_>) -> Option<RuleId> {
        let says = holds(&self.rule, facts)?;
        let is_meant = |also: Says| {
            // A list that permits is closed: who is anonymous must be meant.
            list == List::Deny || facts.caller.is_some() || [says, also].contains(&Says::Yes)
        };
        let Some(others) = &self.rule.any_of else {
            return is_meant(Says::Nothing).then_some(self.id);
        };
        let mut others = others.rules.iter().zip(&self.others);
        others.find_map(|(other, id)| {
            holds(other, facts)
                .filter(|also| is_meant(*also))
                .map(|_| *id)
        })
    }
}

/// Whether the conditions of one rule hold, and what it says of the caller.
fn holds(rule: &Rule, facts: &Facts<'_>) -> Option<Says> {
    if !rule.takes(facts.method, facts.path, facts.source) {
        return None;
    }
    Some(rule.says_of(&facts.who())).filter(|says| *says != Says::No)
}

/// A rule is called by its name, else by that of the rule that it refers to and
/// that matched with it, else by its place.
fn compile_list(list: &str, rules: &[Rule], labels: &mut Vec<Box<str>>) -> Vec<Candidate> {
    let compile = |(index, rule): (usize, &Rule)| {
        let mut add = |label: &str| {
            labels.push(label.into());
            RuleId(labels.len().saturating_sub(1))
        };
        let place = format!("{list}[{index}]");
        let id = add(rule.name.as_deref().unwrap_or(&place));
        let others = rule.any_of.iter().flat_map(|others| &others.rules);
        let others = others.map(|other| match (&rule.name, &other.name) {
            (None, Some(name)) => add(name),
            _ => id,
        });
        Candidate {
            rule: rule.clone(),
            id,
            others: others.collect(),
        }
    };
    rules.iter().enumerate().map(compile).collect()
}
