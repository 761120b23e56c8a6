//! Everything that a load reads from disk, each path once.
//!
//! # Rules
//!
//! * Within one [`Files`] a path has one content, however often it is asked for
//!   and whatever becomes of it on disk.
//! * What is being written is read again until it rests, for at most 250 ms.
//! * Only regular files are read, each up to a limit that its reader sets.
//! * Contents may be keys: they are wiped when the last who holds them lets go.
//! * What was looked at is remembered ([`Seen`]), also what was not there: its
//!   coming is a change like any other.

mod disk;
mod inputs;
mod seen;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{Access, access};
use zeroize::Zeroizing;

use super::Reach;
use disk::Look;
pub use inputs::Inputs;
use inputs::{Answer, Input, Question};
pub use seen::Seen;

/// Why a file gave nothing, in words that continue "it cannot be read:".
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// Somebody writes to it, and does not come to an end.
    #[error("it keeps changing while it is read")]
    Changing,
    /// It is a directory, where one file is wanted.
    #[error("it is a directory")]
    Directory,
    /// The process had the right to read in its folder, and another folder has the
    /// name now.
    #[error(
        "{} is not the folder that had this name when this process confined itself at its start; restart countersign, or name the folder above it in server.confinement.also_readable before the next start", .folder.display()
    )]
    Exchanged {
        /// The folder.
        folder: PathBuf,
    },
    /// The process has given up its right to read it.
    #[error(
        "this process has confined itself at its start to the folders that the config named then; restart countersign, or name the folder in server.confinement.also_readable before the next start"
    )]
    OutOfReach,
    /// It is a pipe, a socket or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// What the system says.
    #[error("{0}")]
    System(Arc<io::Error>),
    /// It is larger than its reader allows.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// It is a directory that holds more than a directory of certificates should.
    #[error("more than 10,000 files")]
    TooMany,
}

impl FileError {
    fn system(cause: io::Error) -> Self {
        Self::System(Arc::new(cause))
    }

    /// Whether nothing has changed between two looks that ended so.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::System(ours), Self::System(theirs)) => {
                ours.kind() == theirs.kind() && ours.raw_os_error() == theirs.raw_os_error()
            }
            (Self::Changing, _) => false,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// The SHA-256 digest of what a file holds, or of a directory's listing.
///
/// Not to be shown: that of a password is half of the way to it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self::finish(context)
    }

    fn of_listing(files: &[PathBuf]) -> Self {
        let mut context = Context::new(&SHA256);
        for file in files {
            context.update(file.as_os_str().as_encoded_bytes());
            // No path holds it.
            context.update(&[0]);
        }
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// What a file holds. Cheap to clone; wiped when the last clone is dropped.
#[derive(Clone)]
pub struct Contents {
    bytes: Rc<Zeroizing<Vec<u8>>>,
    digest: Digest,
}

impl Contents {
    fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes: Rc::new(bytes),
        }
    }

    /// The digest of the whole.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Contents {
    /// How much it is, and nothing of what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents({} bytes)", self.bytes.len())
    }
}

/// The disk as one load sees it. Stays on the thread that loads.
pub struct Files {
    known: RefCell<BTreeMap<PathBuf, Known>>,
    /// Every question and its answer, in order.
    asked: RefCell<Vec<Input>>,
    pause: Box<dyn Fn(Duration)>,
    /// What the process has confined itself to; `None`: it has not.
    reach: Option<Arc<Reach>>,
}

/// What is known of one path.
#[derive(Debug, Default)]
struct Known {
    contents: Option<KnownContents>,
    /// `None` inside: it is no directory.
    listing: Option<Result<Option<Rc<[PathBuf]>>, FileError>>,
}

#[derive(Debug)]
struct KnownContents {
    /// The largest limit that it was read under.
    limit: u64,
    outcome: Result<Rc<Look<Contents>>, FileError>,
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// Nothing has been looked at yet.
    pub fn new() -> Self {
        Self::pausing(std::thread::sleep)
    }

    /// The same in a process that can read no more than this.
    pub fn within(reach: Option<Arc<Reach>>) -> Self {
        Self {
            reach,
            ..Self::new()
        }
    }

    /// As [`new`](Self::new), with `pause` in place of sleep.
    fn pausing(pause: impl Fn(Duration) + 'static) -> Self {
        Self {
            known: RefCell::default(),
            asked: RefCell::default(),
            pause: Box::new(pause),
            reach: None,
        }
    }

    /// What a regular file of at most `limit` bytes holds.
    ///
    /// Blocks: on the disk, and for up to 250 ms more while somebody writes.
    ///
    /// # Errors
    ///
    /// Every [`FileError`] except [`TooMany`](FileError::TooMany); the same
    /// again when the path is asked for again.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Contents, FileError> {
        let outcome = self.contents(path, limit).map(|look| look.found.clone());
        let answer = outcome.as_ref().map_or(Answer::Nothing, |contents| {
            Answer::Contents(contents.digest)
        });
        self.note(path, Question::Contents { limit }, answer);
        outcome.map_err(|cause| self.explained(path, cause))
    }

    /// The regular files directly in a directory, hidden ones left out, in the
    /// order of their names; `None` if the path is no directory.
    ///
    /// Blocks as [`read`](Self::read) does.
    ///
    /// # Errors
    ///
    /// [`FileError::System`], [`FileError::TooMany`] and
    /// [`FileError::Changing`]; the same again when it is asked for again.
    pub fn list(&self, path: &Path) -> Result<Option<Rc<[PathBuf]>>, FileError> {
        let outcome = self.listing(path);
        let answer = match &outcome {
            Ok(Some(files)) => Answer::Listing(Digest::of_listing(files)),
            Ok(None) => Answer::NoFolder,
            Err(_) => Answer::Nothing,
        };
        self.note(path, Question::Listing, answer);
        outcome.map_err(|cause| self.explained(path, cause))
    }

    /// The permission bits of a file that was read; `None`: it was not.
    pub fn mode(&self, path: &Path) -> Option<u32> {
        let known = self.known.borrow();
        let contents = known.get(path)?.contents.as_ref()?;
        Some(contents.outcome.as_ref().ok()?.stat.mode())
    }

    /// What a directory that was listed held; `None`: it was not, or is none.
    pub fn listed(&self, path: &Path) -> Option<Rc<[PathBuf]>> {
        let known = self.known.borrow();
        known.get(path)?.listing.clone()?.ok()?
    }

    /// Every path that was looked at, whatever was there.
    pub fn looked_at(&self) -> Vec<PathBuf> {
        self.known.borrow().keys().cloned().collect()
    }

    /// Does `work`, and says which files and directories it rests on.
    pub fn inputs_of<T>(&self, work: impl FnOnce() -> T) -> (T, Inputs) {
        let from = self.asked.borrow().len();
        let made = work();
        let asked = self.asked.borrow();
        (made, Inputs::of(asked.get(from..).unwrap_or_default()))
    }

    /// What was looked at, to look again whether it has changed. The contents go.
    pub fn into_seen(self) -> Seen {
        let mut seen = Seen::default();
        for (path, known) in self.known.into_inner() {
            if let Some(KnownContents { limit, outcome }) = known.contents {
                seen.add_contents(path.clone(), limit, outcome.as_deref());
            }
            if let Some(outcome) = known.listing {
                let digest = |files: Option<Rc<[PathBuf]>>| files.map(|f| Digest::of_listing(&f));
                seen.add_listing(path, outcome.map(digest));
            }
        }
        seen
    }

    fn contents(&self, path: &Path, limit: u64) -> Result<Rc<Look<Contents>>, FileError> {
        let too_large = |bytes: &[u8]| bytes.len() as u64 > limit;
        if let Some(known) = self.known.borrow().get(path)
            && let Some(known) = &known.contents
        {
            match &known.outcome {
                Ok(look) if too_large(&look.found) => return Err(FileError::TooLarge { limit }),
                // It was asked for with less.
                Err(FileError::TooLarge { limit: less }) if *less < limit => {}
                Err(FileError::TooLarge { .. }) => return Err(FileError::TooLarge { limit }),
                outcome => return outcome.clone(),
            }
        }
        let outcome = disk::settle(|| disk::read(path, limit), &*self.pause).map(Rc::new);
        let mut known = self.known.borrow_mut();
        known.entry(path.to_owned()).or_default().contents = Some(KnownContents {
            limit,
            outcome: outcome.clone(),
        });
        outcome
    }

    fn listing(&self, path: &Path) -> Result<Option<Rc<[PathBuf]>>, FileError> {
        if let Some(known) = self.known.borrow().get(path)
            && let Some(outcome) = &known.listing
        {
            return outcome.clone();
        }
        let outcome = disk::is_folder(path).and_then(|folder| {
            folder
                .then(|| disk::settle(|| disk::list(path), &*self.pause).map(|look| look.found))
                .transpose()
        });
        let mut known = self.known.borrow_mut();
        known.entry(path.to_owned()).or_default().listing = Some(outcome.clone());
        outcome
    }

    /// Why a path that the process has put out of its own reach gave nothing: the
    /// system says only that it is forbidden. What is kept is what the system says:
    /// later looks are compared with it.
    fn explained(&self, path: &Path, cause: FileError) -> FileError {
        let is_forbidden = matches!(&cause, FileError::System(cause) if cause.kind() == io::ErrorKind::PermissionDenied);
        let Some(reach) = &self.reach else {
            return cause;
        };
        // That is asked of the rights of files alone, and so tells what else stands
        // in the way.
        let is_forbidden_by_itself = access(path, Access::READ_OK).is_err();
        if !is_forbidden || is_forbidden_by_itself || reach.may_read(path) {
            return cause;
        }
        match reach.exchanged(path) {
            Some(folder) => FileError::Exchanged { folder },
            None => FileError::OutOfReach,
        }
    }

    fn note(&self, path: &Path, question: Question, answer: Answer) {
        self.asked.borrow_mut().push(Input {
            path: path.to_owned(),
            question,
            answer,
        });
    }
}

#[cfg(test)]
mod tests;
