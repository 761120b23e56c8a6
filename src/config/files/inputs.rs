//! What one loaded thing rests on.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{Digest, Files};

/// The files and directories that something was made from, as they were then.
#[derive(Clone, Debug, Default)]
pub struct Inputs(Vec<Input>);

#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) question: Question,
    pub(super) answer: Answer,
}

/// What was asked about a path.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Question {
    Contents { limit: u64 },
    Listing,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Contents(Digest),
    Listing(Digest),
    NoFolder,
    /// An error.
    Nothing,
}

impl Inputs {
    /// Of the same question only the first is kept: the others had its answer.
    pub(super) fn of(asked: &[Input]) -> Self {
        let mut questions = HashSet::new();
        let mut inputs = Vec::new();
        for input in asked {
            if questions.insert((input.path.as_path(), input.question)) {
                inputs.push(input.clone());
            }
        }
        Self(inputs)
    }

    /// Whether the same work would find the same again in `files`, so that what
    /// came of it can be kept. Never, where something could not be read.
    ///
    /// Blocks as [`Files::read`] does.
    pub fn hold(&self, files: &Files) -> bool {
        self.0.iter().all(|input| input.holds(files))
    }
}

impl Input {
    fn holds(&self, files: &Files) -> bool {
        match (self.question, self.answer) {
            (Question::Contents { limit }, Answer::Contents(digest)) => files
                .read(&self.path, limit)
                .is_ok_and(|contents| contents.digest() == digest),
            (Question::Listing, Answer::Listing(digest)) => files
                .list(&self.path)
                .is_ok_and(|found| found.is_some_and(|f| Digest::of_listing(&f) == digest)),
            (Question::Listing, Answer::NoFolder) => {
                files.list(&self.path).is_ok_and(|found| found.is_none())
            }
            _ => false,
        }
    }
}
