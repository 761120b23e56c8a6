//! How near a caller came to a list of rules that let nobody like it in.

use super::facts::Facts;
use crate::config::{Callers, Route, Rule};
use crate::identity::{NameKind, NamePattern, Names, NearMiss};

/// How near a caller came to the rules of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NearMisses {
    /// The names of the caller by which rules could know it, then the rule of
    /// `allow` that it came nearest to; empty for an anonymous caller. At most
    /// about 1 KiB, whatever the names are.
    pub text: String,
    /// What to do about that rule.
    pub remedy: Option<String>,
}

/// How near a caller came to one rule.
struct Near {
    /// The nearer, the less.
    rank: u8,
    text: String,
    /// What to do; its place in the route follows.
    remedy: String,
}

/// Looks how near the caller came to the rules of a route.
pub(super) fn of(route: &Route, facts: &Facts<'_>) -> NearMisses {
    let Some(caller) = facts.caller else {
        return NearMisses {
            text: String::new(),
            remedy: None,
        };
    };
    let names = caller.names();
    let allow = route.allow.iter().flatten().enumerate();
    let parts = allow.flat_map(|(index, rule)| {
        let parts = rule.ways().flatten().flatten();
        parts.map(move |part| (index, part))
    });
    let found = parts
        .take(MOST_RULES)
        .filter_map(|(index, part)| Some((index, of_part(part, facts, names)?)));
    let nearest = found.min_by_key(|(_, near)| near.rank);
    let listed = listed(names, caller.primary()).unwrap_or_default();
    match nearest {
        None => NearMisses {
            text: listed,
            remedy: None,
        },
        Some((index, Near { text, remedy, .. })) => NearMisses {
            text: format!("{listed}; nearest is allow[{index}]: {text}"),
            remedy: Some(format!("{remedy} in allow[{index}]")),
        },
    }
}

/// What one rule misses, those that it refers to left aside.
fn of_part(part: &Rule, facts: &Facts<'_>, names: &Names) -> Option<Near> {
    let Callers::Matching(pattern) = &part.callers else {
        return None;
    };
    let anchor = facts.anchor.filter(|_| facts.speaker.is_none());
    if pattern.matches(facts.caller?, anchor) {
        let takes = part.takes(facts.method, facts.path, facts.source);
        return (!takes).then(|| Near {
            rank: 0,
            text: "it is for this caller, and not for this method, path or source".to_owned(),
            remedy: "if this request is meant, too, widen methods, path or from".to_owned(),
        });
    }
    let mut conditions = pattern.conditions().iter();
    conditions.find_map(|condition| Some(of_condition(condition, &condition.near_miss(names)?)))
}

fn of_condition(condition: &NamePattern, miss: &NearMiss) -> Near {
    let kind = condition.kind();
    let written = bounded(&condition.to_string());
    match miss {
        NearMiss::Separator { name } => Near {
            rank: 1,
            text: format!(
                "{written} would match {} if `*` did not end at the next separator, where `**` goes on",
                bounded(name)
            ),
            remedy: "if this caller is meant, too, write `**` in place of `*`".to_owned(),
        },
        NearMiss::OtherKind { kind: other, name } => Near {
            rank: 1,
            text: format!(
                "{written} would match {} if that were {kind} and not {other}",
                bounded(name)
            ),
            remedy: format!(
                "issue the caller a certificate with that name as {kind}, or write {other} in place of {kind}"
            ),
        },
        NearMiss::NoneOfKind => Near {
            rank: 2,
            text: format!("{written} is about {kind}, and the caller has none"),
            remedy: format!(
                "issue the caller a certificate with a matching {kind}, or write another of its names in place of {kind}"
            ),
        },
    }
}

/// The names, each after its kind; `None` where there is but the one by which
/// the caller is called.
fn listed(names: &Names, primary: &str) -> Option<String> {
    let all = KINDS.into_iter().flat_map(|kind| {
        let texts = names.of_kind(kind).into_iter();
        texts.map(move |text| (kind, text))
    });
    let all: Vec<_> = all.filter(|(_, text)| !text.is_empty()).collect();
    if all.iter().all(|(_, text)| text == primary) {
        return None;
    }
    let mut said: Vec<_> = all
        .iter()
        .take(MOST_NAMES)
        .map(|(kind, text)| format!("{kind} {}", bounded(text)))
        .collect();
    match all.len().saturating_sub(MOST_NAMES) {
        0 => {}
        more => said.push(format!("{more} more")),
    }
    Some(format!("; its names are {}", said.join(", ")))
}

fn bounded(text: &str) -> String {
    match text.get(..text.floor_char_boundary(LONGEST)) {
        Some(kept) if kept.len() < text.len() => format!("{kept}…"),
        _ => text.to_owned(),
    }
}

/// The kinds of names by which a caller is told of; the subject has the others.
const KINDS: [NameKind; 4] = [
    NameKind::Uri,
    NameKind::Dns,
    NameKind::Email,
    NameKind::Subject,
];
/// So many rules are looked at: lists can be long, and clients can ask again.
const MOST_RULES: usize = 32;
const MOST_NAMES: usize = 4;
/// In bytes, of each name and each condition.
const LONGEST: usize = 128;
