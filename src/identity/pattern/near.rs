//! How near a name came to a condition that does not hold for it.

use std::borrow::Cow;

use super::super::claim::Names;
use super::glob::Glob;
use super::{Matcher, NameKind, NamePattern, units};

/// How near somebody came to a condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NearMiss {
    /// `*` would have to go on over a separator.
    Separator {
        /// The name that would match then.
        name: String,
    },
    /// What is asked for is there, as a name of another kind.
    OtherKind {
        /// The kind that it is of.
        kind: NameKind,
        /// The name.
        name: String,
    },
    /// There is no name of this kind at all.
    NoneOfKind,
}

impl NamePattern {
    /// How near these names, none of which matches, came to this; `None`: not
    /// near, or the condition is not about a text of the leaf.
    pub fn near_miss(&self, names: &Names) -> Option<NearMiss> {
        let Matcher::Glob(glob) = &self.matcher else {
            return None;
        };
        if !SPOKEN.contains(&self.kind) {
            return None;
        }
        if let Some(name) = first(self.kind, &glob.over_separators(), names) {
            return Some(NearMiss::Separator { name });
        }
        let mut others = SPOKEN.into_iter().filter(|kind| *kind != self.kind);
        let other = others.find_map(|kind| {
            if names.of_kind(kind).is_empty() {
                return None;
            }
            let same = Self::parse(kind, &self.written).ok()?;
            match &same.matcher {
                Matcher::Glob(glob) => Some((kind, first(kind, glob, names)?)),
                Matcher::Fingerprint(_) => None,
            }
        });
        if let Some((kind, name)) = other {
            return Some(NearMiss::OtherKind { kind, name });
        }
        let is_there = !names.of_kind(self.kind).is_empty();
        (!is_there).then_some(NearMiss::NoneOfKind)
    }
}

impl Names {
    /// The texts of one kind; none for a kind that is no text of the leaf.
    pub fn of_kind(&self, kind: NameKind) -> Vec<Cow<'_, str>> {
        match kind {
            NameKind::Dns => borrowed(self.dns()),
            NameKind::Email => borrowed(self.email()),
            NameKind::Uri => borrowed(self.uri()),
            NameKind::Subject => self.subject().map(Cow::Borrowed).into_iter().collect(),
            other => self.subject_values(other),
        }
    }
}

fn borrowed(names: &[String]) -> Vec<Cow<'_, str>> {
    let names = names.iter().map(String::as_str);
    names.map(Cow::Borrowed).collect()
}

/// The first name of a kind that matches, of the first few.
fn first(kind: NameKind, glob: &Glob, names: &Names) -> Option<String> {
    let of = |all: &[String], matches: fn(&Glob, &str) -> bool| {
        let mut some = all.iter().take(MOST_NAMES);
        let found = some.find(|name| glob.may_match(name) && matches(glob, name));
        found.cloned()
    };
    match kind {
        NameKind::Dns => of(names.dns(), |glob, name| glob.matches(units::dns(name))),
        NameKind::Email => of(names.email(), |glob, name| glob.matches(units::email(name))),
        NameKind::Uri => of(names.uri(), |glob, name| glob.matches(units::uri(name))),
        NameKind::Subject => names
            .subject()
            .filter(|subject| glob.may_match(subject) && glob.matches(units::subject(subject)))
            .map(ToOwned::to_owned),
        other => {
            let mut values = units::values(names.subject()?, other.attribute()?);
            let value =
                values.find(|value| glob.may_match(value) && glob.matches(units::value(value)))?;
            units::text(value).map(Cow::into_owned)
        }
    }
}

/// So many names of a kind are looked at: a leaf can have thousands.
const MOST_NAMES: usize = 16;

/// The kinds that are texts of the leaf, in the order in which they are named.
const SPOKEN: [NameKind; 7] = [
    NameKind::Uri,
    NameKind::Dns,
    NameKind::Email,
    NameKind::CommonName,
    NameKind::OrganizationalUnit,
    NameKind::Organization,
    NameKind::Subject,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::TestLeaf;

    #[test]
    fn condition_tells_how_near_names_came_to_it() {
        use NameKind::{CommonName, Dns, Email, Subject, Uri};
        let identity = TestLeaf::new()
            .uri("spiffe://prod.example/team/billing")
            .subject("billing.prod.example")
            .identity();
        let separator = |name: &str| Some(NearMiss::Separator { name: name.into() });
        let other = |kind, name: &str| {
            let name = name.into();
            Some(NearMiss::OtherKind { kind, name })
        };
        let own = "spiffe://prod.example/team/billing";
        for (kind, pattern, miss) in [
            (Uri, "spiffe://prod.example/*", separator(own)),
            (Uri, "spiffe://*/billing", separator(own)),
            (Uri, "spiffe://prod.example/sales", None),
            (Uri, "spiffe://other.example/*", None),
            (
                Dns,
                "billing.prod.example",
                other(CommonName, "billing.prod.example"),
            ),
            (
                Dns,
                "*.prod.example",
                other(CommonName, "billing.prod.example"),
            ),
            (Dns, "sales.prod.example", Some(NearMiss::NoneOfKind)),
            (Email, "*@prod.example", Some(NearMiss::NoneOfKind)),
            (Subject, "CN=other", None),
            (CommonName, "sales", None),
        ] {
            let condition = NamePattern::parse(kind, pattern).unwrap();
            assert_eq!(condition.near_miss(identity.names()), miss, "{condition}");
        }
    }
}
