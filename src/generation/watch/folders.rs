//! Which folders lead to a path.
//!
//! A path is followed name by name, as the system does it. Each folder in which
//! an exchange of the next name would lead elsewhere, or to other contents,
//! belongs to the answer:
//!
//! * the folder of every symbolic link on the way, wherever it stands in the path;
//! * the folder that holds the file at the end, which is both the parent of the
//!   path and, behind links, that of the file itself;
//! * a folder at the end;
//! * where a name is missing, the folder that would hold it.
//!
//! The folders above these do not: to exchange one of them as a whole is seen by
//! polling alone, and to watch them all would be to watch `/`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// A device and an inode.
pub(super) type FolderId = (u64, u64);

/// Folders, each with a path to it that has no links.
pub(super) type Folders = BTreeMap<FolderId, PathBuf>;

/// As many symbolic links as the system itself follows (`MAXSYMLINKS` in Linux).
const MOST_LINKS: usize = 40;

/// Returns the folders that lead to these paths.
///
/// What cannot be looked at is taken for missing.
pub(super) fn folders(paths: &[PathBuf]) -> Folders {
    let mut folders = Folders::new();
    for path in paths {
        // Fails for an empty path alone, and where the process's directory is gone.
        if let Ok(path) = std::path::absolute(path) {
            Walk::along(&path).collect(&mut folders);
        }
    }
    folders
}

/// A way that has been gone in part.
struct Walk {
    /// Where it has come to: a folder, by a path without links.
    here: PathBuf,
    /// What is still ahead.
    ahead: VecDeque<Step>,
    links: usize,
}

enum Step {
    Root,
    Up,
    Name(OsString),
}

impl Walk {
    fn along(path: &Path) -> Self {
        Self {
            here: PathBuf::from("/"),
            ahead: steps(path).collect(),
            links: 0,
        }
    }

    fn collect(mut self, folders: &mut Folders) {
        while let Some(step) = self.ahead.pop_front() {
            match step {
                Step::Root => self.here = PathBuf::from("/"),
                Step::Up => {
                    self.here.pop();
                }
                Step::Name(name) => {
                    if self.enter(&name, folders).is_none() {
                        return;
                    }
                }
            }
        }
        // It ends at a folder.
        if let Some(parent) = self.here.parent() {
            insert(folders, parent);
        }
        insert(folders, &self.here);
    }

    /// Takes one step; `None` where the way ends.
    fn enter(&mut self, name: &OsString, folders: &mut Folders) -> Option<()> {
        let next = self.here.join(name);
        let kind = fs::symlink_metadata(&next).map(|found| found.file_type());
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            self.here = next;
            return Some(());
        }
        insert(folders, &self.here);
        if !kind.is_ok_and(|kind| kind.is_symlink()) || self.links >= MOST_LINKS {
            return None;
        }
        self.links += 1;
        let target = fs::read_link(&next).ok()?;
        let ahead = std::mem::take(&mut self.ahead);
        self.ahead = steps(&target).chain(ahead).collect();
        Some(())
    }
}

/// The steps of a path. A link's target without a root starts from the link's folder.
fn steps(path: &Path) -> impl Iterator<Item = Step> {
    path.components().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

/// One that is gone by now is left out; its removal is an event of the one above.
fn insert(folders: &mut Folders, folder: &Path) {
    if let Ok(found) = fs::metadata(folder) {
        folders.insert((found.dev(), found.ino()), folder.to_owned());
    }
}
