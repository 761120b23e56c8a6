//! Reads rules: the entries of `allow`, of `deny` and of the lists in `[rules]`.
//!
//! Whether a rule fits the route that it stands in is seen in
//! [`fitting`](super::fitting), once the route is known.

use std::sync::Arc;

use crate::identity::{NameKind, NamePattern, PeerPattern};

use super::expression::expression;
use super::model::{Callers, NamedRules, Rule};
use super::names::{self, Names};
use super::nearest::nearest;
use super::problem::Problem;
use super::routes::{self, Ends};
use super::section::{Field, Read, Reported, Section};
use super::units::quoted;
use super::values::network;

/// The table under which the registry has the keys of all rules.
const KEYS: &str = "routes[].allow[]";

/// Reads `[rules]`.
pub(super) fn named_rules(root: &mut Section<'_>) -> (Vec<Arc<NamedRules>>, Names) {
    let mut known = Names::of(
        "named rule",
        "write it in [rules], as NAME = [{ uri = \"…\" }]",
    );
    let mut all = Vec::new();
    let lists = root.optional("rules", |field| field.entries("NAME"));
    for (name, place, field) in lists.ok().flatten().unwrap_or_default() {
        let legal = known.check(&name, place, &field);
        let rules = field.list(|member| rule(member, None));
        match (legal, rules) {
            (Ok(()), Ok(rules)) => {
                known.add(&name, Some(all.len()));
                all.push(Arc::new(NamedRules { name, place, rules }));
            }
            _ => known.add(&name, None),
        }
    }
    (all, known)
}

/// Reads one rule. `ends`: what a rule of a route refers to; `None`: it stands
/// in `[rules]`, and refers to nothing.
pub(super) fn rule(field: &Field<'_>, ends: Option<&Ends<'_>>) -> Read<Rule> {
    is_no_text(field)?;
    let field = field.described_as(KEYS);
    field.section(|section| {
        let name = section.optional("name", names::name);
        let pattern = names(section);
        let via = section.optional("via", pattern_of_one);
        let anonymous = section.optional("anonymous", anonymous);
        let methods = section.optional("methods", |field| {
            field.list(|member| member.parsed(method))
        });
        let path = section.optional("path", |field| field.parsed(routes::path));
        let from = section.optional("from", |field| field.list(|member| member.parsed(network)));
        let when = section.optional("when", expression);
        let (any_of, enforce) = match ends {
            Some(ends) => (
                section.optional("rule", |field| named(field, ends)),
                section.defaulted("enforce", true, |field| field.boolean()),
            ),
            None => (not_within(section, "rule"), {
                not_within::<()>(section, "enforce").map(|_| true)
            }),
        };
        let (pattern, via) = (pattern?, via?);
        let callers = match (anonymous?, pattern) {
            (Some(place), Some(_)) => return Err(never_anonymous(&place)),
            (Some(place), None) if via.is_some() => return Err(never_anonymous(&place)),
            (Some(_), None) => Callers::Anonymous,
            (None, Some(pattern)) => Callers::Matching(pattern),
            (None, None) => Callers::Unsaid,
        };
        Ok(Rule {
            place: section.place(),
            name: name?,
            callers,
            via,
            methods: methods?,
            path: path?,
            from: from?,
            when: when?,
            any_of: any_of?,
            enforce: enforce?,
        })
    })
}

/// Reads one entry of a list of peers: all of its names must match.
pub(super) fn pattern(field: &Field<'_>) -> Read<PeerPattern> {
    is_no_text(field)?;
    pattern_of_one(field)
}

fn pattern_of_one(field: &Field<'_>) -> Read<PeerPattern> {
    let pattern = field.section(names)?;
    pattern.ok_or_else(|| {
        let problem = Problem::new("the pattern has no name").remedy(
            "write { uri = \"spiffe://prod.example/*\" }, or dns, email, subject and so on",
        );
        field.refuse(problem)
    })
}

fn is_no_text(field: &Field<'_>) -> Read<()> {
    let Some(text) = field.value().as_str() else {
        return Ok(());
    };
    let kind = match text {
        uri if uri.contains("://") => "uri",
        email if email.contains('@') => "email",
        _ => "dns",
    };
    let remedy = format!("write {{ {kind} = {} }}", quoted(text));
    Err(field.mismatch("a table", Some(remedy)))
}

/// The names in a table; `None`: there is none.
fn names(section: &mut Section<'_>) -> Read<Option<PeerPattern>> {
    let mut name = |kind: NameKind| {
        section.optional(kind.key(), |field| {
            field.parsed(|text| {
                NamePattern::parse(kind, text)
                    .map_err(|error| Problem::new(format!("{}: {error}", quoted(text))))
            })
        })
    };
    let read = NameKind::ALL.map(&mut name);
    let read: Read<Vec<_>> = read.into_iter().collect();
    let names: Vec<_> = read?.into_iter().flatten().collect();
    // Without a name there is no pattern.
    Ok(PeerPattern::new(names).ok())
}

/// The list that a rule refers to.
fn named(field: &Field<'_>, ends: &Ends<'_>) -> Read<Arc<NamedRules>> {
    let index = ends.rule_names.resolve(field)?;
    ends.rules.get(index).cloned().ok_or(Reported)
}

/// Refuses what only a rule of a route can say.
fn not_within<T>(section: &mut Section<'_>, key: &'static str) -> Read<Option<T>> {
    match section.field(key) {
        None => Ok(None),
        Some(field) => {
            Err(field.refuse(
                Problem::new("this has no meaning in [rules]").remedy(format!(
                    "write {key} in the rule of the route, in `allow` or `deny`"
                )),
            ))
        }
    }
}

fn anonymous<'r>(field: &Field<'r>) -> Read<Field<'r>> {
    if field.boolean()? {
        return Ok(field.clone());
    }
    Err(field.refuse(
        Problem::new("false says nothing: a rule of `allow` is for callers with an identity")
            .remedy("remove it, or write anonymous = true for callers without one"),
    ))
}

fn never_anonymous(field: &Field<'_>) -> Reported {
    field.refuse(
        Problem::new("the rule names a caller, and asks for one without a name")
            .causes("it would never match")
            .remedy("make two rules of it"),
    )
}

/// A method, as an exact token (RFC 9110 §9.1).
fn method(text: &str) -> Result<String, Problem> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let refuse = |why: &str| Problem::new(format!("{} {why}", quoted(text)));
    if text.is_empty() || !text.chars().all(token) || text.contains('*') {
        return Err(refuse("is not a method").remedy("write such as [\"GET\", \"HEAD\"]"));
    }
    if text.chars().any(|c| c.is_ascii_lowercase()) {
        let upper = text.to_ascii_uppercase();
        return Err(refuse("is not how a method is written")
            .causes("methods are told apart by case, so the rule would never match")
            .remedy(match nearest(&upper, METHODS) {
                Some(near) => format!("write \"{near}\""),
                None => format!("write \"{upper}\""),
            }));
    }
    if ["CONNECT", "TRACE"].contains(&text) {
        return Err(refuse("is never served")
            .causes("the rule would never match")
            .remedy("remove it"));
    }
    Ok(text.to_owned())
}

/// The methods that people mean.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
