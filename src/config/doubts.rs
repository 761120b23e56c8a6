//! What is legal and likely wrong: rules that nothing can reach.

use super::Config;
use super::model::{Callers, Route, Rule, is_within};
use super::problem::{Problem, Problems};

/// The most pairs of rules that are compared in one route. It takes some
/// milliseconds, and longer lists are not written by hand.
const MOST_PAIRS: usize = 1_000_000;

/// What is legal and likely wrong, each with its place, in the order of the file.
pub(super) fn doubts(config: &Config) -> Problems {
    let mut found = Vec::new();
    for rules in config.rules() {
        let is_used = |route: &Route| {
            let mut all = route.deny.iter().chain(route.allow.iter().flatten());
            all.any(|rule| {
                rule.any_of
                    .as_ref()
                    .is_some_and(|own| own.name == rules.name)
            })
        };
        if !config.routes().iter().any(is_used) {
            let problem = Problem::new("no route refers to these rules")
                .causes("they permit and deny nobody")
                .remedy(format!(
                    "write rule = \"{}\" in a rule of a route, or remove them",
                    rules.name
                ));
            found.push(problem.of_key(rules.place, &format!("rules.{}", rules.name)));
        }
        found.extend(unreachable_named(&rules.name, &rules.rules));
    }
    for (index, route) in config.routes().iter().enumerate() {
        found.extend(unreachable(index, route));
    }
    Problems::new(config.path(), found)
}

/// A rule of a route, and what it is called in messages.
type Entry<'r> = (String, &'r Rule);

/// The rules of a route that an earlier one decides for.
fn unreachable(at: usize, route: &Route) -> Vec<Problem> {
    let deny = entries("deny", &route.deny);
    let allow = entries("allow", route.allow.as_deref().unwrap_or_default());
    let all: Vec<Entry<'_>> = deny.chain(allow).collect();
    if all.len().saturating_mul(all.len()) > MOST_PAIRS {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, (shown, rule)) in all.iter().enumerate() {
        // What is not enforced decides nothing for others.
        let mut earlier = all.iter().take(index).filter(|(_, rule)| rule.enforce);
        if let Some((first, other)) = earlier.find(|(_, other)| covers(other, rule)) {
            let problem = shadowed(first, other);
            found.push(problem.of_key(rule.place, &format!("routes[{at}].{shown}")));
        }
    }
    found
}

fn entries<'r>(key: &'static str, rules: &'r [Rule]) -> impl Iterator<Item = Entry<'r>> {
    let shown = (0..).map(move |index| format!("{key}[{index}]"));
    shown.zip(rules)
}

/// The rules of a named list that an earlier one of it makes superfluous.
fn unreachable_named(name: &str, rules: &[Rule]) -> Vec<Problem> {
    if rules.len().saturating_mul(rules.len()) > MOST_PAIRS {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut earlier = rules.iter().enumerate().take(index);
        if let Some((first, other)) = earlier.find(|(_, other)| covers(other, rule)) {
            let problem = shadowed(&format!("rules.{name}[{first}]"), other);
            found.push(problem.of_key(rule.place, &format!("rules.{name}[{index}]")));
        }
    }
    found
}

fn shadowed(first: &str, other: &Rule) -> Problem {
    Problem::new("this rule is never reached")
        .causes(format!(
            "{first} in line {} comes first, and is for everything that it is for",
            other.place.line
        ))
        .remedy("move it up, or remove one of the two")
}

/// Whether `wide` matches whatever `narrow` matches. A `false` may be wrong.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    narrow
        .ways()
        .all(|narrow| wide.ways().any(|wide| way_covers(wide, narrow)))
}

/// Whether each condition of one way follows from one of the other's.
fn way_covers(wide: [Option<&Rule>; 2], narrow: [Option<&Rule>; 2]) -> bool {
    let narrow: Vec<&Rule> = narrow.into_iter().flatten().collect();
    wide.into_iter().flatten().all(|wide| {
        callers_follow(wide, &narrow)
            && follows(wide.via.as_ref(), &narrow, |wide, rule| {
                rule.via.as_ref().is_some_and(|via| wide.covers(via))
            })
            && follows(wide.methods.as_ref(), &narrow, |wide, rule| {
                let own = rule.methods.as_ref();
                own.is_some_and(|own| own.iter().all(|method| wide.contains(method)))
            })
            && follows(wide.path.as_ref(), &narrow, |wide, rule| {
                rule.path.as_ref().is_some_and(|path| is_within(wide, path))
            })
            && follows(wide.from.as_ref(), &narrow, |wide, rule| {
                let within = |net: &ipnet::IpNet| wide.iter().any(|wide| wide.contains(net));
                rule.from.as_ref().is_some_and(|own| own.iter().all(within))
            })
            && follows(wide.when.as_ref(), &narrow, |wide, rule| {
                rule.when.as_ref() == Some(wide)
            })
    })
}

fn follows<T>(
    condition: Option<&T>,
    from: &[&Rule],
    implied_by: impl Fn(&T, &Rule) -> bool,
) -> bool {
    condition.is_none_or(|wide| from.iter().any(|rule| implied_by(wide, rule)))
}

fn callers_follow(wide: &Rule, narrow: &[&Rule]) -> bool {
    match &wide.callers {
        Callers::Unsaid => true,
        Callers::Anonymous => narrow.iter().any(|rule| rule.callers == Callers::Anonymous),
        Callers::Matching(pattern) => narrow.iter().any(|rule| match &rule.callers {
            Callers::Matching(own) => pattern.covers(own),
            Callers::Anonymous | Callers::Unsaid => false,
        }),
    }
}
