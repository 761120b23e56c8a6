//! Folders as what they are, and not by their names alone.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folders and single files that something may be done in.
///
/// A right is to the folder that had the name when the right was given
/// (landlock(7)): where that one was renamed, or another was mounted on it, the
/// name leads to a folder without the right.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Held(BTreeMap<PathBuf, Option<Identity>>);

/// What tells one folder from another of the same name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Held {
    /// What is at this path now, if anything is.
    pub(super) fn insert(&mut self, path: PathBuf) {
        let identity = Identity::of(&path);
        self.0.insert(path, identity);
    }

    /// The paths, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether what is at this path, links resolved, is in one of them by now.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let mut way = path.ancestors().filter_map(Identity::of);
        way.any(|identity| self.0.values().flatten().any(|held| *held == identity))
    }

    /// The folder on the way to this path, links resolved, that is another than
    /// the one of its name that was there once.
    pub(super) fn exchanged(&self, path: &Path) -> Option<&Path> {
        let on_the_way = self.0.iter().filter(|(known, _)| path.starts_with(known));
        let mut exchanged = on_the_way.filter(|(known, held)| Identity::of(known) != **held);
        exchanged.next().map(|(known, _)| known.as_path())
    }
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let identity = |found: Metadata| Self {
            device: found.dev(),
            inode: found.ino(),
        };
        path.metadata().ok().map(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folder_is_held_under_any_name_and_another_of_its_name_is_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (keys, former) = (root.join("keys"), root.join("former"));
        fs::create_dir(&keys).unwrap();
        let mut held = Held::default();
        held.insert(keys.clone());
        assert!(held.holds(&keys.join("new.pem")), "not there yet");
        assert_eq!(held.exchanged(&keys.join("new.pem")), None);
        fs::rename(&keys, &former).unwrap();
        fs::create_dir(&keys).unwrap();
        assert!(held.holds(&former.join("a.pem")));
        assert!(!held.holds(&keys.join("a.pem")));
        assert_eq!(held.exchanged(&keys.join("a.pem")), Some(&*keys));
        assert_eq!(held.exchanged(&root.join("a.pem")), None, "never held");
    }

    #[test]
    fn folder_that_came_later_is_not_held() {
        let root = tempfile::tempdir().unwrap();
        let late = root.path().join("late");
        let mut held = Held::default();
        held.insert(late.clone());
        fs::create_dir(&late).unwrap();
        assert!(!held.holds(&late.join("a.pem")));
        assert_eq!(held.exchanged(&late.join("a.pem")), Some(&*late));
    }
}
