//! One look at the disk, and what makes two looks agree.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::{Contents, Digest, FileError};

/// The most files that one directory may hold.
const MAX_FILES: usize = 10_000;
/// Room for a file that has no size, such as those that a program makes up as
/// they are read.
const UNTOLD: u64 = 64 * 1024;
/// How much is read at a time where contents are only compared.
const PIECE: usize = 64 * 1024;
/// How old the last change must be to be the last for now. Longer than the tick
/// in which the kernel counts file times (10 ms at most): two writes within one
/// tick leave the same times behind.
const SETTLED: Duration = Duration::from_millis(25);
/// How often a file that changes is read; with the pauses between at most 250 ms.
const TRIES: usize = 10;

/// What the system says of a file, without its contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// The same of its name, owner and mode too; nobody can set it back.
    changed: (i64, i64),
    /// Who may do what.
    mode: u32,
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode() & PERMISSIONS,
        }
    }

    /// The permission bits, without the kind of file.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    /// Whether the last change was at least `age` before `moment`. Never, if it
    /// is yet to come by this machine's clock.
    pub(super) fn is_older(&self, age: Duration, moment: SystemTime) -> bool {
        let (Ok(seconds), Ok(nanoseconds)) = (
            u64::try_from(self.changed.0),
            u32::try_from(self.changed.1.min(999_999_999)),
        ) else {
            // Before 1970.
            return true;
        };
        UNIX_EPOCH
            .checked_add(Duration::new(seconds, nanoseconds))
            .and_then(|changed| moment.duration_since(changed).ok())
            .is_some_and(|past| past >= age)
    }
}

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// What one look has found.
#[derive(Debug)]
pub(super) struct Look<T> {
    pub(super) found: T,
    /// When it began, by this machine's clock.
    pub(super) began: SystemTime,
    /// As it was when the look began.
    pub(super) stat: Stat,
    /// Whether it was the same when the look ended.
    pub(super) held: bool,
}

/// Why a look has found nothing.
#[derive(Debug)]
pub(super) enum Miss {
    /// Another look would find the same.
    Lasting(FileError),
    /// Somebody is at work; another look may find something else.
    Passing(FileError),
}

/// Looks until what is found is not under somebody's hands.
///
/// That is when nothing has changed during the look, nor in the moment before
/// it. What did change in that moment is settled when the next look, after
/// `pause`, finds the very same: it may be the work of a writer who is still at it.
pub(super) fn settle<T: PartialEq>(
    mut look: impl FnMut() -> Result<Look<T>, Miss>,
    pause: &dyn Fn(Duration),
) -> Result<Look<T>, FileError> {
    let mut former: Option<Look<T>> = None;
    let mut cause = FileError::Changing;
    for _ in 0..TRIES {
        match look() {
            Err(Miss::Lasting(cause)) => return Err(cause),
            Err(Miss::Passing(passing)) => (former, cause) = (None, passing),
            Ok(now) => {
                let confirmed = former
                    .is_some_and(|before| before.stat == now.stat && before.found == now.found);
                if now.held && (confirmed || now.stat.is_older(SETTLED, now.began)) {
                    return Ok(now);
                }
                cause = FileError::Changing;
                former = Some(now).filter(|now| now.held);
            }
        }
        pause(SETTLED);
    }
    Err(cause)
}

/// Reads a file once.
pub(super) fn read(path: &Path, limit: u64) -> Result<Look<Contents>, Miss> {
    let opened = Opened::new(path, limit).map_err(Miss::Lasting)?;
    let lasting = |cause| Miss::Lasting(FileError::system(cause));
    // In one piece: what grows leaves copies of a key behind. A byte more than
    // there should be, so that growth is seen.
    let size = match opened.stat.size {
        0 => UNTOLD.min(limit),
        size => size,
    };
    let room = usize::try_from(size.saturating_add(1))
        .map_err(|_| Miss::Lasting(FileError::TooLarge { limit }))?;
    let mut bytes = Zeroizing::new(vec![0; room]);
    let mut length = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(length..) {
        match (&opened.file).read(rest) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(lasting(cause)),
        }
    }
    if length as u64 > limit {
        return Err(Miss::Lasting(FileError::TooLarge { limit }));
    }
    if length == room {
        return Err(Miss::Passing(FileError::Changing));
    }
    bytes.truncate(length);
    let held = opened.holds().map_err(Miss::Lasting)?;
    Ok(opened.look(Contents::new(bytes), held))
}

/// Hashes what a file holds, without keeping it.
///
/// # Errors
///
/// As [`read`]; also when the file was changed meanwhile.
pub(super) fn hash(path: &Path, limit: u64) -> Result<Look<Digest>, FileError> {
    let opened = Opened::new(path, limit)?;
    let mut context = Context::new(&SHA256);
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    let mut length: u64 = 0;
    loop {
        match (&opened.file).read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                context.update(piece.get(..count).unwrap_or_default());
                length = length.saturating_add(count as u64);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(FileError::system(cause)),
        }
        if length > limit {
            return Err(FileError::TooLarge { limit });
        }
    }
    if !opened.holds()? {
        return Err(FileError::Changing);
    }
    Ok(opened.look(Digest::finish(context), true))
}

/// What a path is that may be read.
pub(super) fn stat(path: &Path, limit: u64) -> Result<Stat, FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::system)?;
    if metadata.is_dir() {
        return Err(FileError::Directory);
    }
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    if metadata.len() > limit {
        return Err(FileError::TooLarge { limit });
    }
    Ok(Stat::of(&metadata))
}

/// A file that is being read.
struct Opened {
    file: File,
    stat: Stat,
    began: SystemTime,
}

impl Opened {
    fn new(path: &Path, limit: u64) -> Result<Self, FileError> {
        let began = SystemTime::now();
        // Before it is opened: opening a pipe waits for somebody to write to it.
        stat(path, limit)?;
        let file = File::open(path).map_err(FileError::system)?;
        // Of what was opened: another file may have the path by now.
        let metadata = file.metadata().map_err(FileError::system)?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile);
        }
        if metadata.len() > limit {
            return Err(FileError::TooLarge { limit });
        }
        let stat = Stat::of(&metadata);
        Ok(Self { file, stat, began })
    }

    /// Whether nobody has changed it since it was opened.
    fn holds(&self) -> Result<bool, FileError> {
        let metadata = self.file.metadata().map_err(FileError::system)?;
        Ok(Stat::of(&metadata) == self.stat)
    }

    fn look<T>(&self, found: T, held: bool) -> Look<T> {
        Look {
            found,
            began: self.began,
            stat: self.stat,
            held,
        }
    }
}

/// Whether a path is a directory.
pub(super) fn is_folder(path: &Path) -> Result<bool, FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::system)?;
    Ok(metadata.is_dir())
}

/// The regular files directly in a directory, in the order of their names.
///
/// Names that begin with a dot are passed over: editors' and Kubernetes' own
/// entries (`..data`) are not the operator's.
pub(super) fn list(path: &Path) -> Result<Look<Rc<[PathBuf]>>, Miss> {
    let began = SystemTime::now();
    let lasting = |cause| Miss::Lasting(FileError::system(cause));
    // A link without a target: it may be one that is about to be removed, as
    // Kubernetes does when a file leaves a volume.
    let passing = |cause| Miss::Passing(FileError::system(cause));
    let stat = Stat::of(&std::fs::metadata(path).map_err(lasting)?);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(lasting)? {
        let entry = entry.map_err(lasting)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // Through the link: Kubernetes' files are links to files.
        if !hidden && std::fs::metadata(entry.path()).map_err(passing)?.is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(Miss::Lasting(FileError::TooMany));
        }
    }
    files.sort();
    let held = Stat::of(&std::fs::metadata(path).map_err(lasting)?) == stat;
    Ok(Look {
        found: files.into(),
        began,
        stat,
        held,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A look at something that was changed `milliseconds` before.
    fn look(found: u32, milliseconds: u64, held: bool) -> Look<u32> {
        let began = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let changed = Duration::from_secs(1_000_000) - Duration::from_millis(milliseconds);
        Look {
            found,
            began,
            stat: Stat {
                device: 1,
                inode: 1,
                size: 1,
                modified: (0, 0),
                changed: (
                    i64::try_from(changed.as_secs()).unwrap(),
                    i64::from(changed.subsec_nanos()),
                ),
                mode: 0o600,
            },
            held,
        }
    }

    /// What settling comes to, and how many pauses it took. The last look repeats.
    fn settled(looks: Vec<Result<Look<u32>, Miss>>) -> (Result<u32, String>, usize) {
        let looks = RefCell::new(looks.into_iter().peekable());
        let pauses = Cell::new(0);
        let next = || {
            let mut looks = looks.borrow_mut();
            looks.next().unwrap_or_else(|| Ok(look(0, 0, false)))
        };
        let outcome = settle(next, &|_| pauses.set(pauses.get() + 1));
        (
            outcome.map(|look| look.found).map_err(|e| e.to_string()),
            pauses.get(),
        )
    }

    #[test]
    fn what_has_rested_is_taken_at_once_and_what_is_fresh_only_when_found_again() {
        assert_eq!(settled(vec![Ok(look(1, 25, true))]), (Ok(1), 0));
        let fresh = vec![Ok(look(1, 24, true)), Ok(look(1, 24, true))];
        assert_eq!(settled(fresh), (Ok(1), 1));
    }

    #[test]
    fn same_times_with_other_contents_are_no_confirmation() {
        let looks = vec![
            Ok(look(1, 5, true)),
            Ok(look(2, 5, true)),
            Ok(look(2, 5, true)),
        ];
        assert_eq!(settled(looks), (Ok(2), 2));
    }

    #[test]
    fn same_contents_with_other_times_are_no_confirmation() {
        let looks = vec![
            Ok(look(1, 9, true)),
            Ok(look(1, 5, true)),
            Ok(look(1, 5, true)),
        ];
        assert_eq!(settled(looks), (Ok(1), 2));
    }

    #[test]
    fn what_changes_during_a_look_is_looked_at_again() {
        let looks = vec![Ok(look(1, 9999, false)), Ok(look(2, 9999, true))];
        assert_eq!(settled(looks), (Ok(2), 1));
        // Nor does it confirm another.
        let looks = vec![
            Ok(look(1, 5, false)),
            Ok(look(1, 5, true)),
            Ok(look(1, 5, true)),
        ];
        assert_eq!(settled(looks), (Ok(1), 2));
    }

    #[test]
    fn what_never_rests_is_an_error_after_a_bounded_time() {
        let (outcome, pauses) = settled(Vec::new());
        assert_eq!(outcome, Err(FileError::Changing.to_string()));
        assert!(SETTLED * u32::try_from(pauses).unwrap() <= Duration::from_millis(250));
    }

    #[test]
    fn passing_miss_is_looked_at_again_and_a_lasting_one_is_not() {
        let missing = || FileError::system(std::io::ErrorKind::NotFound.into());
        let looks = vec![Err(Miss::Passing(missing())), Ok(look(1, 9999, true))];
        assert_eq!(settled(looks), (Ok(1), 1));
        let looks = vec![Err(Miss::Lasting(missing())), Ok(look(1, 9999, true))];
        assert_eq!(settled(looks), (Err(missing().to_string()), 0));
    }

    #[test]
    fn change_that_is_yet_to_come_is_not_old_and_one_before_1970_is() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut stat = look(1, 0, true).stat;
        stat.changed = (1_000_001, 0);
        assert!(!stat.is_older(Duration::ZERO, now));
        stat.changed = (-1, 0);
        assert!(stat.is_older(SETTLED, now));
    }
}
