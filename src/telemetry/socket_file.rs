//! Unix sockets that are bound, and their files.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a bound unix socket; removed when dropped, if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    fate: SocketFiles,
}

/// What becomes of the files of sockets when these are closed.
///
/// Two processes may hold one socket while the one takes the other's place. The
/// file is then removed by neither until it is clear whose it is.
#[derive(Clone, Debug, Default)]
pub struct SocketFiles {
    kept: Arc<AtomicBool>,
}

impl SocketFiles {
    /// From now on they stay: they are another process's.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Whether they are another process's.
    pub fn are_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// From now on they go with their sockets: they are this process's.
    pub fn own(&self) {
        self.kept.store(false, Ordering::Relaxed);
    }
}

/// Why a unix socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketFileError {
    /// Another process listens there.
    #[error("another process is listening there")]
    InUse,
    /// Something that is not a socket has this name.
    #[error("it exists and is not a socket")]
    NotASocket,
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl SocketFile {
    /// Binds a unix socket that does not block, and listens.
    ///
    /// The file of a socket on which nobody listens is replaced: it was left
    /// behind by a process that was killed.
    ///
    /// # Errors
    ///
    /// [`SocketFileError`]; whatever is at the path is still there then.
    pub fn bind(path: &Path) -> Result<(UnixListener, Self), SocketFileError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketFileError::NotASocket);
            }
            Ok(_) if is_answered(path)? => return Err(SocketFileError::InUse),
            Ok(_) => std::fs::remove_file(path).map_err(left_behind)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(path)?;
        let file = Self::of(path)?;
        listener.set_nonblocking(true)?;
        Ok((listener, file))
    }

    /// Removes the file of a socket on which nobody listens, if there is one: for who
    /// may not do so later. What cannot be removed is found when it is bound.
    pub fn clear(path: &Path) {
        let found = std::fs::symlink_metadata(path);
        let is_socket = found.is_ok_and(|found| found.file_type().is_socket());
        if is_socket && is_answered(path).is_ok_and(|answered| !answered) {
            std::fs::remove_file(path).ok();
        }
    }

    /// The file of a socket that somebody else has bound, and which is served
    /// from now on; its fate is that of all of these.
    ///
    /// # Errors
    ///
    /// There is no such file.
    pub fn adopt(path: &Path, fate: &SocketFiles) -> io::Result<Self> {
        Ok(Self::of(path)?.shares(fate))
    }

    /// The same, whose fate is that of all of these.
    pub fn shares(self, fate: &SocketFiles) -> Self {
        let fate = fate.clone();
        // Not with `..self`: this is dropped, and would take the file with it.
        self.fate.keep();
        let (path, device, inode) = (self.path.clone(), self.device, self.inode);
        Self {
            path,
            device,
            inode,
            fate,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
            fate: SocketFiles::default(),
        })
    }
}

/// Why a file that was left behind stays.
fn left_behind(error: io::Error) -> io::Error {
    let cause = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "a socket that is closed has left its file there, and this process may not remove it; remove it, and give unix sockets a folder of their own"
        }
        _ => return error,
    };
    io::Error::new(io::ErrorKind::PermissionDenied, cause)
}

/// Whether somebody listens. Without waiting: a listener whose queue is full
/// would hold a connection up until it has time (`EAGAIN` in unix(7)).
fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.fate.kept.load(Ordering::Relaxed) {
            return;
        }
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        let removed = if ours {
            std::fs::remove_file(&self.path)
        } else {
            Ok(())
        };
        match removed {
            Ok(()) => {}
            // It was said at the start, and the next one to bind it removes it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(path = %self.path.display(), "the file of a socket stays behind");
            }
            Err(error) => tracing::warn!(
                event = super::events::SOCKET_LEFT_BEHIND,
                path = %self.path.display(),
                cause = %error,
                "cannot remove the file of a socket"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        (folder, path)
    }

    #[test]
    fn socket_is_bound_and_its_file_goes_with_it() {
        let (_folder, path) = folder();
        let (listener, file) = SocketFile::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn file_that_nobody_listens_on_is_replaced() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        let bound = SocketFile::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(bound);
    }

    #[test]
    fn file_is_cleared_only_of_a_socket_that_nobody_listens_on() {
        let (_folder, path) = folder();
        SocketFile::clear(&path);
        let listening = UnixListener::bind(&path).unwrap();
        SocketFile::clear(&path);
        assert!(path.exists());
        drop(listening);
        SocketFile::clear(&path);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        SocketFile::clear(&path);
        assert!(path.exists());
    }

    #[test]
    fn socket_of_another_process_is_left_alone_even_when_its_queue_is_full() {
        let (_folder, path) = folder();
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        busy.listen(0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        for _ in 0..2 {
            let refused = SocketFile::bind(&path);
            assert!(
                matches!(refused, Err(SocketFileError::InUse)),
                "{refused:?}"
            );
        }
        assert!(path.exists());
    }

    #[test]
    fn file_stays_while_it_is_another_process_s_and_goes_when_it_is_ours() {
        let (_folder, path) = folder();
        let files = SocketFiles::default();
        let (listening, file) = SocketFile::bind(&path).unwrap();
        files.keep();
        drop(file.shares(&files));
        assert!(path.exists());
        let adopted = SocketFile::adopt(&path, &files).unwrap();
        files.own();
        drop(adopted);
        assert!(!path.exists());
        drop(listening);
        assert!(SocketFile::adopt(&path, &files).is_err());
    }

    #[test]
    fn file_that_is_no_socket_is_left_alone() {
        let (_folder, path) = folder();
        std::fs::write(&path, "precious").unwrap();
        let refused = SocketFile::bind(&path);
        assert!(
            matches!(refused, Err(SocketFileError::NotASocket)),
            "{refused:?}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn path_that_cannot_be_looked_at_is_refused() {
        let (_folder, path) = folder();
        std::fs::write(&path, "").unwrap();
        let refused = SocketFile::bind(&path.join("below"));
        assert!(
            matches!(refused, Err(SocketFileError::System(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn file_of_somebody_else_at_the_same_path_is_not_removed() {
        let (_folder, path) = folder();
        let bound = SocketFile::bind(&path).unwrap();
        // Renamed into place, so that the first file's inode is not used again.
        let other = path.with_extension("other");
        let _theirs = UnixListener::bind(&other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        drop(bound);
        assert!(path.exists());
    }
}
