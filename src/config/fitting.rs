//! Sees that the rules of a route can match there, and not by mistake everybody.

use std::collections::HashSet;

use super::model::{
    Callers, FieldRules, Listener, ListenerId, ListenerTls, Route, Rule, is_within,
};
use super::problem::Problem;
use super::routes::Ends;
use super::section::{Field, Read, Reported, Section};
use super::units::quoted;

/// One way in which a rule can match: its own conditions, and those of one rule
/// of the list that it refers to.
type Way<'r> = [Option<&'r Rule>; 2];

/// Which rules these are.
#[derive(Clone, Copy, Eq, PartialEq)]
enum List {
    Allow,
    Deny,
}

/// What the listeners of a route let come as far as its rules.
struct Comers<'c> {
    listener: Option<&'c Listener>,
    identified: bool,
    anonymous: bool,
    spoken_for: bool,
}

/// Refuses a demand for certificates where no listener asks for one.
pub(super) fn can_be_asked(
    field: &Field<'_>,
    listener: Option<ListenerId>,
    ends: &Ends<'_>,
) -> Read<()> {
    match Comers::of(listener, ends) {
        Some(comers) if !comers.identified => {
            Err(field.refuse(nobody_is_asked(&comers).causes("every caller would be refused")))
        }
        _ => Ok(()),
    }
}

/// Sees that each rule can match in this route, that none permits or denies
/// everybody, and that their names are different.
pub(super) fn rules_fit(section: &Section<'_>, route: &Route, ends: &Ends<'_>) -> Read<()> {
    let comers = Comers::of(route.listener, ends);
    let mut names: HashSet<&str> = HashSet::new();
    let mut legal = Ok(());
    let allow = route.allow.iter().flatten();
    let lists = route.deny.iter().enumerate().map(|at| (List::Deny, at));
    for (list, (index, rule)) in lists.chain(allow.enumerate().map(|at| (List::Allow, at))) {
        let problem = of_everybody(list, rule)
            .or_else(|| never_matches(list, rule, (route, comers.as_ref())))
            .or_else(|| same_name(rule, &mut names));
        if let Some(problem) = problem {
            let path = format!("{}[{index}]", section.shown(list.key()));
            section.reader.report(problem.of_key(rule.place, &path));
            legal = Err(Reported);
        }
    }
    let enforced = |rules: &Vec<Rule>| rules.iter().any(|rule| rule.enforce);
    if !route.allow.as_ref().is_none_or(enforced) {
        let problem = Problem::new("no rule in it is enforced")
            .causes("everybody would be refused")
            .remedy(
                "to try the whole list, write enforce = false in the route and not in its rules",
            );
        section.refuse_key("allow", problem);
        legal = Err(Reported);
    }
    legal
}

impl List {
    fn key(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl<'c> Comers<'c> {
    /// `None`: a listener that could be one of the route's is not legal itself.
    fn of(listener: Option<ListenerId>, ends: &Ends<'c>) -> Option<Self> {
        let here: Vec<&Listener> = match listener {
            Some(id) => ends.listeners.get(id.0).into_iter().collect(),
            None if ends.listener_names.all_legal() => ends.listeners.iter().collect(),
            None => return None,
        };
        let asks = |listener: &Listener| {
            let tls = listener.tls.as_ref();
            tls.is_some_and(ListenerTls::asks_for_certificates)
        };
        let admits = |listener: &Listener| {
            let tls = listener.tls.as_ref();
            tls.is_none_or(ListenerTls::has_anonymous_clients)
        };
        // Without any listener that is the problem to report.
        let nobody = here.is_empty();
        Some(Self {
            listener: here.first().copied(),
            identified: nobody || here.iter().any(|one| asks(one)),
            anonymous: nobody || here.iter().any(|one| admits(one)),
            spoken_for: nobody || here.iter().any(|one| one.accepted.is_some()),
        })
    }
}

fn nobody_is_asked(comers: &Comers<'_>) -> Problem {
    let name = comers.listener.map_or("NAME", |listener| &listener.name);
    Problem::new("no listener of this route asks for a certificate").remedy(format!(
        "write client_auth = \"want\" or \"require\" in [listeners.{name}.tls], or remove it here"
    ))
}

/// Refuses fields in which callers are named where nobody has a name.
pub(super) fn names_nobody(rules: &FieldRules, route: &Route, ends: &Ends<'_>) -> Option<Problem> {
    rules.naming_callers().next()?;
    let comers = Comers::of(route.listener, ends)?;
    let nobody = || nobody_is_asked(&comers).causes("its callers have no names to be told");
    (!comers.identified).then(nobody)
}

/// A rule that is for everybody, which is never what it was written for.
fn of_everybody(list: List, rule: &Rule) -> Option<Problem> {
    let any_way = |is: fn(&Rule) -> bool| {
        rule.ways()
            .any(|way| !way.into_iter().flatten().any(|part| !is(part)))
    };
    match list {
        List::Allow if any_way(|part| !part.says_who()) => Some(
            Problem::new("the rule does not say whom it permits")
                .causes("every caller with a certificate would be let in")
                .remedy("add uri, dns, email, ou and so on, or anonymous = true"),
        ),
        List::Deny if any_way(Rule::is_bare) => Some(
            Problem::new("the rule has no condition")
                .causes("every request would be refused")
                .remedy("add a condition, such as uri, methods or from, or remove it"),
        ),
        List::Allow | List::Deny => None,
    }
}

/// A rule that matches in none of its ways.
fn never_matches(
    list: List,
    rule: &Rule,
    (route, comers): (&Route, Option<&Comers<'_>>),
) -> Option<Problem> {
    if let Some(path) = &rule.path
        && is_within(path, &route.path)
        && !is_within(&route.path, path)
    {
        return Some(
            Problem::new(format!(
                "every path of the route lies within {}",
                quoted(path)
            ))
            .causes("the rule would be for all of them")
            .remedy(format!(
                "write a path within \"{}\", or remove it",
                route.path
            )),
        );
    }
    let mut first = None;
    for way in rule.ways() {
        let cause = comers
            .and_then(|comers| misses_caller(list, way, (route, comers)))
            .or_else(|| misses_request(way, route));
        // One way that is open is enough.
        let cause = cause?;
        first.get_or_insert(cause);
    }
    let problem = first?;
    let harm = match list {
        List::Allow => "it would never match, and permit nobody",
        List::Deny => "it would never match, and deny nobody",
    };
    Some(problem.causes(harm))
}

fn misses_caller(
    list: List,
    way: Way<'_>,
    (route, comers): (&Route, &Comers<'_>),
) -> Option<Problem> {
    let parts = || way.into_iter().flatten();
    let anonymous = parts().any(|part| part.callers == Callers::Anonymous);
    let spoken_for = parts().any(|part| part.via.is_some());
    let named = spoken_for || parts().any(|part| matches!(part.callers, Callers::Matching(_)));
    if anonymous && named {
        return Some(
            Problem::new("the rule asks for an anonymous caller, and for one with a name")
                .remedy("make two rules of it"),
        );
    }
    if !anonymous && (named || list == List::Allow) && !comers.identified {
        return Some(nobody_is_asked(comers));
    }
    if anonymous && route.requires_certificate {
        return Some(
            Problem::new(
                "the route requires a certificate, and the rule asks for a caller without",
            )
            .remedy("remove client_auth from the route, or the rule"),
        );
    }
    if anonymous && !comers.anonymous {
        let name = comers.listener.map_or("NAME", |listener| &listener.name);
        return Some(
            Problem::new(
                "every listener of this route requires a certificate, so nobody is anonymous",
            )
            .remedy(format!(
                "write client_auth = \"want\" in [listeners.{name}.tls], or remove the rule"
            )),
        );
    }
    (spoken_for && !comers.spoken_for).then(|| {
        Problem::new("no listener of this route accepts what others say of callers").remedy(
            "write accept_assertions_from and accept_assertions in the listener, or remove `via`",
        )
    })
}

fn misses_request(way: Way<'_>, route: &Route) -> Option<Problem> {
    let parts = || way.into_iter().flatten();
    let paths = parts().filter_map(|part| part.path.as_deref());
    let mut so_far = route.path.as_str();
    for path in paths {
        so_far = match (is_within(so_far, path), is_within(path, so_far)) {
            (true, _) => path,
            (false, true) => so_far,
            (false, false) => {
                return Some(
                    Problem::new(format!(
                        "{} does not lie within {}",
                        quoted(path),
                        quoted(so_far)
                    ))
                    .remedy(format!("write a path within \"{so_far}\", or remove it")),
                );
            }
        };
    }
    let [Some(own), Some(other)] = way else {
        return None;
    };
    let two = |what: &str| {
        let name = own.any_of.as_ref().map_or("-", |rules| &rules.name);
        Problem::new(format!(
            "the {what} of the rule and those of rules.{name} exclude each other"
        ))
        .remedy("both must hold: remove one of the two")
    };
    if let (Some(own), Some(other)) = (&own.methods, &other.methods)
        && !own.iter().any(|method| other.contains(method))
    {
        return Some(two("methods"));
    }
    if let (Some(own), Some(other)) = (&own.from, &other.from)
        && !own.iter().any(|one| {
            let mut others = other.iter();
            others.any(|other| one.contains(other) || other.contains(one))
        })
    {
        return Some(two("networks"));
    }
    None
}

fn same_name<'r>(rule: &'r Rule, names: &mut HashSet<&'r str>) -> Option<Problem> {
    let name = rule.name.as_deref()?;
    let is_new = names.insert(name);
    (!is_new).then(|| {
        Problem::new(format!("the name \"{name}\" is given twice in this route"))
            .causes("the log and the metrics would not tell the two apart")
            .remedy("choose another name")
    })
}
