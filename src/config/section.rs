//! Reads tables key by key, and leaves no key unread.
//!
//! # Rules
//!
//! * A reader that meets a problem reports it and goes on, so that one run finds
//!   them all; [`Reported`] stands where the value would be.
//! * Every key that no reader asked for is an unknown key.
//! * What a message says about a key (an example, what happens without it) comes
//!   from the registry in [`super::options`], as the manual does.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::model::{Located, Place};
use super::nearest::nearest;
use super::options;
use super::places::Places;
use super::problem::Problem;
use super::units::quoted;

/// Stands for a value that is not there because its problem has been reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// What reading a value or a table gives.
pub(super) type Read<T> = Result<T, Reported>;

/// What every section of one file shares.
pub(super) struct Reader<'r> {
    text: &'r str,
    places: Places,
    /// The directory of the file, which relative paths start from.
    pub(super) directory: &'r Path,
    /// Looks up an environment variable.
    pub(super) environment: &'r dyn Fn(&str) -> Option<OsString>,
    problems: RefCell<Vec<Problem>>,
    empty: DeTable<'r>,
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<String>>,
}

/// A value, where it stands and under which key.
#[derive(Clone)]
pub(super) struct Field<'r> {
    pub(super) reader: &'r Reader<'r>,
    path: KeyPath,
    value: &'r Spanned<DeValue<'r>>,
}

/// A table that is being read.
pub(super) struct Section<'r> {
    pub(super) reader: &'r Reader<'r>,
    path: KeyPath,
    place: Place,
    table: &'r DeTable<'r>,
    known: Vec<&'static str>,
    /// Keys that must be there and are not. Reported last, since a key that was
    /// only misspelt is not missing as well.
    lacking: Vec<(&'static str, Problem)>,
}

/// A key with all that stand above it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyPath {
    /// As messages show it: `listeners.public.tls`.
    shown: String,
    /// As the registry has it: `listeners.NAME.tls`.
    pattern: String,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        text: &'r str,
        directory: &'r Path,
        environment: &'r dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self {
            text,
            places: Places::new(text),
            directory,
            environment,
            problems: RefCell::default(),
            empty: DeTable::new(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// The line and column of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        self.places.of(offset)
    }

    pub(super) fn report(&self, problem: Problem) -> Reported {
        self.problems.borrow_mut().push(problem);
        Reported
    }

    pub(super) fn take_problems(&self) -> Vec<Problem> {
        self.problems.take()
    }

    pub(super) fn text(&self) -> &'r str {
        self.text
    }
}

impl<'r> Field<'r> {
    pub(super) fn place(&self) -> Place {
        self.reader.place(self.value.span().start)
    }

    /// The key as messages show it.
    pub(super) fn shown(&self) -> &str {
        &self.path.shown
    }

    /// The key's registry path.
    pub(super) fn pattern(&self) -> &str {
        &self.path.pattern
    }

    /// The same field, whose keys the registry has under another table.
    pub(super) fn described_as(&self, pattern: &'static str) -> Self {
        let mut field = self.clone();
        pattern.clone_into(&mut field.path.pattern);
        field
    }

    pub(super) fn value(&self) -> &'r DeValue<'r> {
        self.value.get_ref()
    }

    /// Reports a problem of this value.
    pub(super) fn refuse(&self, problem: Problem) -> Reported {
        let problem = problem.of_key(self.place(), &self.path.shown);
        self.reader.report(problem)
    }

    /// Reports a problem of what stands at a byte of the file.
    pub(super) fn refuse_at(&self, offset: usize, problem: Problem) -> Reported {
        let problem = problem.of_key(self.reader.place(offset), &self.path.shown);
        self.reader.report(problem)
    }

    /// The value as it is written, and at which byte of the file.
    pub(super) fn written(&self) -> (usize, &'r str) {
        let span = self.value.span();
        let text = self.reader.text().get(span.clone());
        (span.start, text.unwrap_or(""))
    }

    pub(super) fn located<T>(&self, value: T) -> Located<T> {
        Located {
            value,
            place: self.place(),
        }
    }

    /// Reports that the value is not `wanted`, and shows what to write.
    pub(super) fn mismatch(&self, wanted: &str, remedy: Option<String>) -> Reported {
        let found = describe(self.value());
        let problem = Problem::new(format!("found {found} where {wanted} is wanted"));
        let remedy = remedy.or_else(|| match options::find(&self.path.pattern) {
            Some(option) if ["FIELD", "NAME"].contains(&option.key()) => {
                Some(format!("write {}", option.example))
            }
            // Whoever writes something here wants something else than the default.
            Some(option) if option.example == "false" => {
                let key = option.key();
                Some(format!("write {key} = true or {key} = false"))
            }
            Some(option) => Some(format!("write {} = {}", option.key(), option.example)),
            None => None,
        });
        self.refuse(match remedy {
            Some(remedy) => problem.remedy(remedy),
            None => problem,
        })
    }

    /// Reads a table with `read`, then reports the keys that it did not ask for.
    pub(super) fn section<T>(&self, read: impl FnOnce(&mut Section<'r>) -> Read<T>) -> Read<T> {
        let DeValue::Table(table) = self.value() else {
            let remedy = match options::find(&self.path.pattern) {
                Some(_) => None,
                None => Some(format!("write a table [{}]", self.path.shown)),
            };
            return Err(self.mismatch("a table", remedy));
        };
        Section::new(self.reader, self.path.clone(), self.place(), table).read(read)
    }

    /// The members of a list, each with its own place.
    pub(super) fn members(&self) -> Read<Vec<Self>> {
        let DeValue::Array(array) = self.value() else {
            return Err(self.mismatch("a list", self.as_list()));
        };
        let member = |(index, value)| Self {
            reader: self.reader,
            path: self.path.member(index),
            value,
        };
        Ok(array.iter().enumerate().map(member).collect())
    }

    /// The proposal to put a lone string into brackets.
    fn as_list(&self) -> Option<String> {
        let text = self.value().as_str()?;
        Some(format!("write [{}]", quoted(text)))
    }

    /// The entries of a table whose keys are names, in the order of the file.
    pub(super) fn entries(&self, placeholder: &str) -> Read<Vec<(String, Place, Self)>> {
        let DeValue::Table(table) = self.value() else {
            let remedy = format!("write a table [{}.{placeholder}]", self.path.shown);
            return Err(self.mismatch("a table", Some(remedy)));
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'r Spanned<_>, _)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let field = Self {
                reader: self.reader,
                path: self.path.named(name, placeholder),
                value,
            };
            #[cfg(test)]
            self.reader
                .asked
                .borrow_mut()
                .insert(field.path.pattern.clone());
            (name.to_string(), self.reader.place(key.span().start), field)
        };
        Ok(entries.into_iter().map(entry).collect())
    }
}

impl<'r> Section<'r> {
    pub(super) fn root(reader: &'r Reader<'r>, table: &'r DeTable<'r>) -> Self {
        Self::new(
            reader,
            KeyPath::default(),
            Place { line: 1, column: 1 },
            table,
        )
    }

    fn new(reader: &'r Reader<'r>, path: KeyPath, place: Place, table: &'r DeTable<'r>) -> Self {
        Self {
            reader,
            path,
            place,
            table,
            known: Vec::new(),
            lacking: Vec::new(),
        }
    }

    /// Reads with `read`, then reports the keys that are missing or unknown.
    pub(super) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let value = read(&mut self);
        self.finish();
        value
    }

    /// Where the table stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The path of a key of this table, as messages show it.
    pub(super) fn shown(&self, key: &str) -> String {
        self.path.child(key).shown
    }

    /// The table's own path, as messages show it.
    pub(super) fn own_path(&self) -> &str {
        &self.path.shown
    }

    /// The value of a key, if it is there.
    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'r>> {
        self.known.push(key);
        let path = self.path.child(key);
        #[cfg(test)]
        self.reader.asked.borrow_mut().insert(path.pattern.clone());
        let value = self.table.get(key)?;
        Some(Field {
            reader: self.reader,
            path,
            value,
        })
    }

    /// Reads a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Field<'r>) -> Read<T>,
    ) -> Read<T> {
        match self.field(key) {
            Some(field) => read(&field),
            None => Err(self.lack(key)),
        }
    }

    /// Reads a key that may be there.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Field<'r>) -> Read<T>,
    ) -> Read<Option<T>> {
        self.field(key).map(|field| read(&field)).transpose()
    }

    /// Reads a key that has a default.
    pub(super) fn defaulted<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'r>) -> Read<T>,
    ) -> Read<T> {
        self.field(key).map_or(Ok(default), |field| read(&field))
    }

    /// Reads a table all of whose keys have defaults, so that it may be left out.
    pub(super) fn subsection<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        match self.field(key) {
            Some(field) => field.section(read),
            None => Self::new(
                self.reader,
                self.path.child(key),
                self.place,
                &self.reader.empty,
            )
            .read(read),
        }
    }

    /// Reports that a key must be there and is not.
    pub(super) fn lack(&mut self, key: &'static str) -> Reported {
        let path = self.path.child(key);
        let problem = Problem::new("missing");
        let problem = match options::find(&path.pattern) {
            Some(option) => problem
                .causes(format!("without it {}", option.without))
                .remedy(format!("write {key} = {}", option.example)),
            None => problem,
        };
        self.lack_with(key, problem)
    }

    /// Reports that a key must be there and is not, in words of its own.
    pub(super) fn lack_with(&mut self, key: &'static str, problem: Problem) -> Reported {
        let problem = problem.of_key(self.place, &self.path.child(key).shown);
        self.lacking.push((key, problem));
        Reported
    }

    /// Reports that something is missing from the file as a whole.
    pub(super) fn lack_of(&mut self, key: &'static str, problem: Problem) {
        self.lacking.push((key, problem));
    }

    /// Reports a problem of the whole table.
    pub(super) fn refuse(&self, problem: Problem) -> Reported {
        self.reader
            .report(problem.of_key(self.place, &self.path.shown))
    }

    /// Reports a problem of a key, at its value or else at the table.
    pub(super) fn refuse_key(&self, key: &str, problem: Problem) -> Reported {
        let value = self.table.get(key);
        let place = value.map_or(self.place, |value| self.reader.place(value.span().start));
        self.reader.report(problem.of_key(place, &self.shown(key)))
    }

    /// Whether a key is there and is no table.
    pub(super) fn holds_a_value(&self, key: &str) -> bool {
        self.table
            .get(key)
            .is_some_and(|value| !value.get_ref().is_table())
    }

    fn finish(mut self) {
        let mut unknown: Vec<_> = self.table.keys().collect();
        unknown.retain(|key| !self.known.contains(&key.get_ref().as_ref()));
        for key in unknown {
            let absent = self
                .known
                .iter()
                .filter(|known| !self.table.contains_key(**known));
            let meant = nearest(key.get_ref(), absent.copied());
            self.lacking.retain(|(lacking, _)| Some(*lacking) != meant);
            let problem = self.unknown(key.get_ref(), meant);
            let place = self.reader.place(key.span().start);
            self.reader
                .report(problem.of_key(place, &self.shown(key.get_ref())));
        }
        for (_, problem) in self.lacking {
            self.reader.report(problem);
        }
    }

    fn unknown(&self, key: &str, meant: Option<&str>) -> Problem {
        let problem = Problem::new("unknown key");
        let Some(meant) = meant else {
            return match nearest(key, self.known.iter().copied()) {
                Some(set) if self.holds_a_value(set) => {
                    problem.remedy(format!("did you mean `{set}`? it is already set"))
                }
                Some(table) => problem.remedy(format!("did you mean `{table}`?")),
                None => problem.remedy(format!("known here: {}", self.known.join(", "))),
            };
        };
        let did_you_mean = format!("did you mean `{meant}`?");
        match options::find(&self.path.child(meant).pattern) {
            Some(option) => problem
                .causes(format!("without it {}", option.without))
                .remedy(did_you_mean),
            None => problem.remedy(did_you_mean),
        }
    }
}

impl KeyPath {
    fn child(&self, key: &str) -> Self {
        self.named(key, key)
    }

    /// A key that is a name of the operator's choice.
    fn named(&self, name: &str, placeholder: &str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        Self {
            shown: format!("{}{dot}{}", self.shown, as_key(name)),
            pattern: format!("{}{dot}{placeholder}", self.pattern),
        }
    }

    fn member(&self, index: usize) -> Self {
        Self {
            shown: format!("{}[{index}]", self.shown),
            pattern: format!("{}[]", self.pattern),
        }
    }
}

/// A key as TOML would have it.
fn as_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// What a value is, for a message.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
