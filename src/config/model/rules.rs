//! The rules of a route: who may do what, as types.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::expression::{Expression, Party};
use super::Place;
use crate::identity::{AnchorName, PeerIdentity, PeerPattern};

/// One entry of `allow`, of `deny` or of a list in `[rules]`: conditions that
/// must all hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// What it is called in logs and metrics.
    pub name: Option<String>,
    /// The condition on who calls.
    pub callers: Callers,
    /// Who must speak for the caller; `None`: it makes no difference.
    pub via: Option<PeerPattern>,
    /// The methods, as exact tokens; `None`: each. Never empty.
    pub methods: Option<Vec<String>>,
    /// A prefix of whole segments, as of a route; `None`: each path.
    pub path: Option<String>,
    /// Networks of which one holds the source; `None`: each source. Never empty.
    pub from: Option<Vec<IpNet>>,
    /// What else must be true; `None`: nothing.
    pub when: Option<Expression>,
    /// A list of which one rule must match as well.
    pub any_of: Option<Arc<NamedRules>>,
    /// `false`: what it decides is noted, and not done.
    pub enforce: bool,
}

/// `[rules]`: a list of rules under a name, which the rules of routes refer to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedRules {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The rules, of which one must match; never empty. They refer to no others.
    pub rules: Vec<Rule>,
}

/// The condition of a rule on who calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Callers {
    /// Callers of whom nothing is known, and nobody else.
    Anonymous,
    /// Callers whom the pattern matches.
    Matching(PeerPattern),
    /// Nothing is said: in `allow` all that are not anonymous, in `deny` all.
    Unsaid,
}

/// What a rule says of a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Says {
    /// It is for others.
    No,
    /// It makes no difference.
    Nothing,
    /// It is for this one.
    Yes,
}

/// Who calls, and who says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// The caller; `None` is anonymous.
    pub caller: Option<&'a PeerIdentity>,
    /// The peer of the connection, where it speaks for the caller; `None`: the
    /// caller came by itself.
    pub speaker: Option<&'a PeerIdentity>,
    /// What the chain of the connection's peer rests on.
    pub anchor: Option<&'a AnchorName>,
}

impl Rule {
    /// What it says of who calls, the rules of [`Rule::any_of`] left aside.
    pub fn says_of(&self, who: &Who<'_>) -> Says {
        let spoken = self.via.as_ref().map(|via| match who.speaker {
            Some(speaker) => via.matches(speaker, who.anchor),
            None => false,
        });
        // The anchor is that of the connection, and so of the speaker.
        let anchor = who.anchor.filter(|_| who.speaker.is_none());
        let known = match (&self.callers, who.caller) {
            (Callers::Unsaid, _) => None,
            (Callers::Anonymous, caller) => Some(caller.is_none()),
            (Callers::Matching(pattern), Some(caller)) => Some(pattern.matches(caller, anchor)),
            (Callers::Matching(_), None) => Some(false),
        };
        match (known, spoken) {
            (Some(false), _) | (_, Some(false)) => Says::No,
            (None, None) => Says::Nothing,
            _ => Says::Yes,
        }
    }

    /// Whether it is for requests with this method and path that come from this
    /// source, the rules of [`Rule::any_of`] left aside; `None`: it has no
    /// address (a unix socket), and is in no network.
    pub fn takes(&self, method: &str, path: &str, source: Option<IpAddr>) -> bool {
        let methods = self.methods.as_ref();
        let in_network = |networks: &Vec<IpNet>| {
            let source = source.map(|address| address.to_canonical());
            source.is_some_and(|address| networks.iter().any(|net| net.contains(&address)))
        };
        methods.is_none_or(|methods| methods.iter().any(|known| known == method))
            && self.path.as_ref().is_none_or(|own| is_within(own, path))
            && self.from.as_ref().is_none_or(in_network)
    }

    /// The ways in which it can match: itself, or each rule of [`Rule::any_of`]
    /// together with itself.
    pub fn ways(&self) -> impl Iterator<Item = [Option<&Self>; 2]> {
        let others = self.any_of.as_ref();
        let alone = others.is_none().then_some([Some(self), None]);
        let others = others.into_iter().flat_map(|others| &others.rules);
        alone
            .into_iter()
            .chain(others.map(move |other| [Some(self), Some(other)]))
    }

    /// Whether it matches every request there is.
    pub(in crate::config) fn is_bare(&self) -> bool {
        self.callers == Callers::Unsaid
            && self.via.is_none()
            && self.methods.is_none()
            && self.path.is_none()
            && self.from.is_none()
            && self.when.is_none()
    }

    /// Whether it says who calls, the rules of [`Rule::any_of`] left aside.
    pub(in crate::config) fn says_who(&self) -> bool {
        let looks =
            |when: &Expression| when.looks_at(Party::Caller) || when.looks_at(Party::Speaker);
        self.callers != Callers::Unsaid
            || self.via.is_some()
            || self.when.as_ref().is_some_and(looks)
    }
}

/// Whether `prefix` ends where a segment of `path` ends: `/api` and `/api/`
/// both hold `/api` and `/api/orders`, and neither holds `/apiary`.
pub fn is_within(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    match path.strip_prefix(prefix) {
        None => false,
        // `*` (OPTIONS) belongs to the whole server.
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.is_empty(),
    }
}

impl fmt::Display for Rule {
    /// Writes the rule as it stands in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let list = |texts: &mut dyn Iterator<Item = String>| {
            let quoted: Vec<_> = texts.map(|text| format!("\"{text}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        if let Some(name) = &self.name {
            parts.push(format!("name = \"{name}\""));
        }
        match &self.callers {
            Callers::Anonymous => parts.push("anonymous = true".to_owned()),
            Callers::Matching(pattern) => {
                parts.extend(pattern.conditions().iter().map(ToString::to_string));
            }
            Callers::Unsaid => {}
        }
        if let Some(via) = &self.via {
            parts.push(format!("via = {via}"));
        }
        if let Some(methods) = &self.methods {
            parts.push(format!("methods = {}", list(&mut methods.iter().cloned())));
        }
        if let Some(path) = &self.path {
            parts.push(format!("path = \"{path}\""));
        }
        if let Some(from) = &self.from {
            let texts = &mut from.iter().map(ToString::to_string);
            parts.push(format!("from = {}", list(texts)));
        }
        if let Some(when) = &self.when {
            parts.push(format!("when = {}", quoted_text(when.text())));
        }
        if let Some(rules) = &self.any_of {
            parts.push(format!("rule = \"{}\"", rules.name));
        }
        if !self.enforce {
            parts.push("enforce = false".to_owned());
        }
        write!(f, "{{ {} }}", parts.join(", "))
    }
}

/// A text as a string of TOML, in the quotes that it needs no escapes for.
fn quoted_text(text: &str) -> String {
    match text.contains(['\'', '\n', '\r']) {
        false => format!("'{text}'"),
        true => format!("{text:?}"),
    }
}
