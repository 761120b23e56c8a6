//! The names that the operator gives to bundles, listeners and upstreams.

use std::collections::HashMap;

use super::model::Place;
use super::nearest::nearest;
use super::problem::Problem;
use super::section::{Field, Read, Reported, Section};
use super::units::quoted;
use super::values::one_of;

/// Names become metric labels, so they are short and plain.
const LONGEST_NAME: usize = 64;

/// The names of one kind, with the index of each that is legal.
pub(super) struct Names {
    kind: &'static str,
    /// What to do where a name is not there.
    declare: String,
    /// In the order of the file.
    entries: Vec<(String, Option<usize>)>,
    /// Where in `entries` each name stands first.
    places: HashMap<String, usize>,
}

impl Names {
    /// The index of the thing that `field` names.
    ///
    /// A name of a thing that is not legal itself gives no problem of its own.
    pub(super) fn resolve(&self, field: &Field<'_>) -> Read<usize> {
        let written = field.text()?;
        let known = self.places.get(written);
        if let Some((_, index)) = known.and_then(|at| self.entries.get(*at)) {
            return index.ok_or(Reported);
        }
        let Self { kind, declare, .. } = self;
        let problem = Problem::new(format!("there is no {kind} {}", quoted(written)));
        let known: Vec<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
        Err(field.refuse(match nearest(written, known.iter().copied()) {
            Some(near) => problem.remedy(format!("did you mean \"{near}\"?")),
            None if known.is_empty() => problem.remedy(declare),
            None => problem.remedy(format!("write {}, or {declare}", one_of(&known))),
        }))
    }

    /// No names yet, of things of this kind; `declare` says how there would be one.
    pub(super) fn of(kind: &'static str, declare: impl Into<String>) -> Self {
        Self {
            kind,
            declare: declare.into(),
            entries: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Sees that a name can be one.
    pub(super) fn check(&self, name: &str, place: Place, field: &Field<'_>) -> Read<()> {
        match is_illegal(name) {
            Some(problem) => Err(field.reader.report(problem.of_key(place, field.shown()))),
            None => Ok(()),
        }
    }

    /// Adds a name, and where its thing is; `None`: it is not legal.
    pub(super) fn add(&mut self, name: &str, index: Option<usize>) {
        let place = self.entries.len();
        self.places.entry(name.to_owned()).or_insert(place);
        self.entries.push((name.to_owned(), index));
    }

    /// Whether everything that was named is legal.
    pub(super) fn all_legal(&self) -> bool {
        self.entries.iter().all(|(_, index)| index.is_some())
    }

    /// Whether nothing was named, legal or not.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Reads a table of named tables, such as all of `[listeners.NAME]`.
pub(super) fn named<'r, T>(
    root: &mut Section<'r>,
    (table, kind): (&'static str, &'static str),
    read: impl Fn(&mut Section<'r>, &str) -> Read<T>,
) -> (Vec<T>, Names) {
    let mut names = Names::of(kind, format!("declare it in a table [{table}.NAME]"));
    let mut things = Vec::new();
    let entries = root.optional(table, |field| field.entries("NAME"));
    for (name, place, field) in entries.ok().flatten().unwrap_or_default() {
        let legal = names.check(&name, place, &field);
        let thing = field.section(|section| read(section, &name));
        match (thing, legal) {
            (Ok(thing), Ok(())) => {
                names.add(&name, Some(things.len()));
                things.push(thing);
            }
            _ => names.add(&name, None),
        }
    }
    (things, names)
}

/// Reads a name that is a value.
pub(super) fn name(field: &Field<'_>) -> Read<String> {
    let name = field.text()?;
    match is_illegal(name) {
        Some(problem) => Err(field.refuse(problem)),
        None => Ok(name.to_owned()),
    }
}

fn is_illegal(name: &str) -> Option<Problem> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(legal);
    (!good).then(|| {
        Problem::new(format!("{} is not a legal name", quoted(name)))
            .causes("names become labels of metrics")
            .remedy(format!(
                "write 1 to {LONGEST_NAME} letters, digits, `-` and `_`"
            ))
    })
}
