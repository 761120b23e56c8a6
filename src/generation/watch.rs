//! Hears from the system that files may have changed.
//!
//! What is heard is a hint: it says neither which file it was nor whether
//! anything is different now, and it may never come (network and overlay file
//! systems, a mount over a folder, an ancestor that was exchanged). So whoever
//! gets one looks at the files, and looks now and then without one.
//!
//! # Rules
//!
//! * Folders are watched, never files: a watch on a file is dead once another
//!   file was renamed over it. See [`folders()`] for which.
//! * A folder is known by its inode. The system has one watch for each,
//!   whatever the paths that lead there, so that the end of one path's watch
//!   would be the end of the other's.
//! * What was removed or renamed may have been a watched folder, whose watch is
//!   then dead without saying so. After each such event every watch is made
//!   anew; where there is one already, that changes nothing.
//! * To open a file is an event too. It is passed over, or the look at the
//!   files would be the cause of the next look.

mod folders;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use self::folders::{FolderId, Folders, folders};
use crate::telemetry::events;

/// Without a hint for this long, a change is taken to be complete.
///
/// `kubelet` and package managers are done within milliseconds; people who copy
/// one file after the other are not, and get a second look.
pub(super) const GATHER_QUIET: Duration = Duration::from_millis(100);

/// Changes that do not end are looked at after this long all the same, so that
/// what they mean is in force within a second of the first.
pub(super) const GATHER_AT_MOST: Duration = Duration::from_millis(400);

/// How often the folders are looked up again while they change under the lookup.
const ROUNDS: usize = 3;

/// Watches what leads to a set of paths, and gives a hint when it changes.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` where the system has no watch to give.
    notifier: Option<RecommendedWatcher>,
    /// Kept here so that the channel stays open where there is no notifier.
    hint: mpsc::Sender<()>,
    armed: Folders,
    /// Whether a watch may be dead.
    doubtful: Arc<AtomicBool>,
    /// What cannot be watched, and was told to the operator.
    unavailable: BTreeSet<PathBuf>,
}

impl Watch {
    /// Begins to watch nothing; [`follow`](Self::follow) says what.
    ///
    /// `hint` is sent to without waiting. It should have room for one: a hint
    /// that is still there says all that another would.
    ///
    /// Where the system has no watch to give (`fs.inotify.max_user_instances`),
    /// this is logged, and there will be no hint but those of
    /// [`follow`](Self::follow).
    pub(super) fn start(hint: mpsc::Sender<()>) -> Self {
        let doubtful = Arc::new(AtomicBool::new(false));
        let heard = (hint.clone(), Arc::clone(&doubtful));
        let notifier = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let (hint, doubtful) = &heard;
            if may_end_a_watch(&event) {
                doubtful.store(true, Ordering::Release);
            }
            if is_a_hint(&event) {
                give(hint);
            }
        });
        let notifier = notifier
            .map_err(|error| tell_unavailable(None, &error))
            .ok();
        Self {
            notifier,
            hint,
            armed: Folders::new(),
            doubtful,
            unavailable: BTreeSet::new(),
        }
    }

    /// Watches what leads to these paths, and no longer what led to others.
    ///
    /// Call it at the start and after each look at the files, whether it was a
    /// hint that led to it or the time. Where there is something new to watch,
    /// it gives a hint itself: what changed before it was watched would
    /// otherwise go unseen. A relative path starts from the directory of the
    /// process.
    ///
    /// It asks the file system and waits for it, so it belongs on a thread that
    /// may block.
    pub(super) fn follow(&mut self, paths: &[PathBuf]) {
        let mut wanted = folders(paths);
        for _ in 0..ROUNDS {
            self.arm(&wanted);
            let now = folders(paths);
            if now == wanted {
                break;
            }
            wanted = now;
        }
    }

    /// Makes the watches those of `wanted`, as far as they can be had.
    fn arm(&mut self, wanted: &Folders) {
        let Some(notifier) = &mut self.notifier else {
            return;
        };
        let doubtful = self.doubtful.swap(false, Ordering::AcqRel);
        let former = std::mem::take(&mut self.armed);
        // First, since it ends the watch of an inode, whatever path leads there now.
        for (_, path) in former.iter().filter(|armed| !contains(wanted, armed)) {
            // One that is dead already is not known there any more.
            notifier.unwatch(path).ok();
        }
        let mut is_new = doubtful;
        for folder in wanted {
            let is_armed = contains(&former, &folder);
            let (id, path) = folder;
            if (doubtful || !is_armed)
                && let Err(error) = notifier.watch(path, RecursiveMode::NonRecursive)
            {
                if self.unavailable.insert(path.clone()) {
                    tell_unavailable(Some(path), &error);
                }
                continue;
            }
            is_new |= !is_armed;
            self.unavailable.remove(path);
            self.armed.insert(*id, path.clone());
        }
        if !self.unavailable.is_empty() {
            let paths: BTreeSet<&PathBuf> = wanted.values().collect();
            self.unavailable.retain(|path| paths.contains(path));
        }
        if is_new {
            give(&self.hint);
        }
    }
}

fn contains(folders: &Folders, (id, path): &(&FolderId, &PathBuf)) -> bool {
    folders.get(id) == Some(path)
}

/// Waits until the change that a hint began is complete.
///
/// Call it after a hint came. It returns once there was none for `quiet`, or
/// after `at_most`, and takes those that came in between.
pub(super) async fn gather(hints: &mut mpsc::Receiver<()>, quiet: Duration, at_most: Duration) {
    let end = Instant::now() + at_most;
    loop {
        let now = Instant::now();
        if now >= end {
            return;
        }
        let next = timeout_at(end.min(now + quiet), hints.recv());
        if !matches!(next.await, Ok(Some(()))) {
            return;
        }
    }
}

fn give(hint: &mpsc::Sender<()>) {
    // Where it is full, one waits already; where it is closed, nobody wants any.
    hint.try_send(()).ok();
}

/// Whether a file may be different after this event.
///
/// An error, and an event that says that others were lost, may stand for anything.
fn is_a_hint(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else { return true };
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Other
        | EventKind::Remove(_) => true,
    }
}

/// Whether a watched folder may no longer be the one that its path leads to.
fn may_end_a_watch(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else { return true };
    match event.kind {
        EventKind::Any | EventKind::Other | EventKind::Remove(_) => true,
        EventKind::Modify(kind) => matches!(kind, ModifyKind::Name(_)),
        EventKind::Access(_) | EventKind::Create(_) => false,
    }
}

/// Says that changes of a folder, or all changes, are seen by polling alone.
fn tell_unavailable(folder: Option<&Path>, error: &notify::Error) {
    let folder = folder.map(|folder| tracing::field::display(folder.display()));
    tracing::warn!(
        event = events::WATCH_UNAVAILABLE,
        folder,
        cause = %error,
        "the system does not tell of changes here; they are seen every server.poll_interval"
    );
}
