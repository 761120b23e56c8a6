//! What a load has looked at, and whether it has changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::disk::{self, Look, Miss, Stat};
use super::{Contents, Digest, FileError};

/// How long before a look the last change must have been for the times alone to
/// tell of another one. Coarse file systems count in steps of 2 s (FAT), and the
/// clock of a file server may be a little off.
const TELLING: Duration = Duration::from_secs(2);

/// What one or several loads have looked at, also where there was nothing.
#[derive(Debug, Default)]
pub struct Seen {
    paths: BTreeMap<PathBuf, Vec<Sight>>,
}

/// What was seen at a path.
#[derive(Debug)]
enum Sight {
    Contents {
        limit: u64,
        outcome: Result<Print, FileError>,
    },
    /// `None`: it is no directory.
    Listing(Result<Option<Digest>, FileError>),
}

/// What is kept of a file's contents.
#[derive(Debug)]
struct Print {
    digest: Digest,
    stat: Stat,
    /// When the look began that found the digest.
    began: SystemTime,
}

impl Print {
    fn of<T>(digest: Digest, look: &Look<T>) -> Self {
        Self {
            digest,
            stat: look.stat,
            began: look.began,
        }
    }
}

impl Seen {
    pub(super) fn add_contents(
        &mut self,
        path: PathBuf,
        limit: u64,
        outcome: Result<&Look<Contents>, &FileError>,
    ) {
        let outcome = match outcome {
            Ok(look) => Ok(Print::of(look.found.digest(), look)),
            Err(cause) => Err(cause.clone()),
        };
        let sights = self.paths.entry(path).or_default();
        sights.push(Sight::Contents { limit, outcome });
    }

    pub(super) fn add_listing(
        &mut self,
        path: PathBuf,
        outcome: Result<Option<Digest>, FileError>,
    ) {
        let sights = self.paths.entry(path).or_default();
        sights.push(Sight::Listing(outcome));
    }

    /// Adds what another load has looked at. A path that the two have found
    /// differently counts as changed from then on.
    pub fn merge(&mut self, other: Self) {
        for (path, sights) in other.paths {
            self.paths.entry(path).or_default().extend(sights);
        }
    }

    /// Every path that was looked at: files, directories, and what was missing.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.keys().map(PathBuf::as_path)
    }

    /// The digest of what a file held; `None` if it was not read.
    pub fn digest(&self, path: &Path) -> Option<Digest> {
        self.paths.get(path)?.iter().find_map(|sight| match sight {
            Sight::Contents { outcome, .. } => outcome.as_ref().ok().map(|print| print.digest),
            Sight::Listing(_) => None,
        })
    }

    /// Whether a load would now find anything else than what was seen.
    ///
    /// A file whose size and times are as they were, and were not fresh then, is
    /// not read again; any other is. Blocks on the disk.
    pub fn has_changed(&mut self) -> bool {
        self.differs(Sight::has_changed)
    }

    /// As [`has_changed`](Self::has_changed), but every file is read: for file
    /// systems whose times tell nothing.
    pub fn has_changed_in_content(&mut self) -> bool {
        self.differs(Sight::has_changed_in_content)
    }

    fn differs(&mut self, has_changed: fn(&mut Sight, &Path) -> bool) -> bool {
        self.paths
            .iter_mut()
            .any(|(path, sights)| sights.iter_mut().any(|sight| has_changed(sight, path)))
    }
}

impl Sight {
    fn has_changed(&mut self, path: &Path) -> bool {
        if let Self::Contents {
            limit,
            outcome: Ok(print),
        } = self
            && print.stat.is_older(TELLING, print.began)
            && disk::stat(path, *limit).is_ok_and(|stat| stat == print.stat)
        {
            return false;
        }
        self.has_changed_in_content(path)
    }

    fn has_changed_in_content(&mut self, path: &Path) -> bool {
        match self {
            Self::Contents { limit, outcome } => match (outcome, disk::hash(path, *limit)) {
                (Ok(print), Ok(look)) => {
                    let same = print.digest == look.found;
                    if same {
                        *print = Print::of(look.found, &look);
                    }
                    !same
                }
                (Err(then), Err(now)) => !then.is_like(&now),
                _ => true,
            },
            Self::Listing(then) => match (then, listing(path)) {
                (Ok(then), Ok(now)) => *then != now,
                (Err(then), Err(now)) => !then.is_like(&now),
                _ => true,
            },
        }
    }
}

/// The digest of a directory's listing; `None` if the path is no directory.
fn listing(path: &Path) -> Result<Option<Digest>, FileError> {
    if !disk::is_folder(path)? {
        return Ok(None);
    }
    match disk::list(path) {
        Ok(look) if look.held => Ok(Some(Digest::of_listing(&look.found))),
        Ok(_) => Err(FileError::Changing),
        Err(Miss::Lasting(cause) | Miss::Passing(cause)) => Err(cause),
    }
}

#[cfg(test)]
mod tests;
