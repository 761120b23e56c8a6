//! What is wrong with a config, in words that an operator can act on.

use std::fmt;
use std::path::{Path, PathBuf};

use super::model::Place;

/// One thing that is wrong: where, what, what it would cause and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The line and the column, since two places do not compare.
    position: Option<(u32, u32)>,
    what: String,
    causes: Option<String>,
    remedy: Option<String>,
}

/// Everything that is wrong with one file; prints itself in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problem {
    /// A problem at `place`; `what` is in lower case and without a final dot.
    pub fn at(place: Place, what: impl Into<String>) -> Self {
        Self {
            position: Some(place.position()),
            ..Self::new(what)
        }
    }

    /// A problem of the whole file, or of a lone value whose place is not known yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            position: None,
            what: what.into(),
            causes: None,
            remedy: None,
        }
    }

    /// Adds what the problem would cause if it were let pass.
    #[must_use]
    pub fn causes(mut self, causes: impl Into<String>) -> Self {
        self.causes = Some(causes.into());
        self
    }

    /// Adds what to do, such as `write "30s"`; may have several lines.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Where it stands; `None` for a problem of the whole file.
    pub fn place(&self) -> Option<Place> {
        let (line, column) = self.position?;
        Some(Place { line, column })
    }

    /// Gives a problem that a parser found in a lone value its place and its key.
    pub(super) fn of_key(self, place: Place, path: &str) -> Self {
        Self {
            position: Some(place.position()),
            what: format!("{path}: {}", self.what),
            ..self
        }
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The problem in one line, as a warning: it refuses nothing.
    pub fn in_one_line(&self, file: &Path) -> String {
        let place = self.position;
        let place = place.map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
        let more = self.causes.iter().chain(&self.remedy);
        let more: String = more
            .flat_map(|text| text.lines())
            .map(|line| format!("; {line}"))
            .collect();
        format!("{}:{place} {}{more}", file.display(), self.what)
    }

    fn write(&self, file: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", file.display())?;
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        writeln!(f, " {}", self.what)?;
        let more = self.causes.iter().chain(&self.remedy);
        for line in more.flat_map(|text| text.lines()) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl Problems {
    pub(super) fn new(file: &Path, list: Vec<Problem>) -> Self {
        let mut problems = Self {
            file: file.to_owned(),
            list: Vec::new(),
        };
        problems.extend(list);
        problems
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How much is wrong.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Each problem as a text of its own, in the order of the file.
    pub fn each(&self) -> Vec<String> {
        let text = |problem: &Problem| {
            let text = InFile {
                problem,
                file: &self.file,
            };
            text.to_string().trim_end().to_owned()
        };
        self.list.iter().map(text).collect()
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    pub(super) fn extend(&mut self, more: Vec<Problem>) {
        self.list.extend(more);
        self.list.sort_by_key(|problem| problem.position);
    }
}

/// A problem with the name of its file.
struct InFile<'a> {
    problem: &'a Problem,
    file: &'a Path,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.write(self.file, f)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            problem.write(&self.file, f)?;
        }
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(
            f,
            "{} problem{plural}; nothing was started",
            self.list.len()
        )
    }
}

impl std::error::Error for Problems {}
