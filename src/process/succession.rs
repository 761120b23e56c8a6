//! Hands the listening sockets to a successor, and takes them from a predecessor.
//!
//! # How it goes
//!
//! The successor connects to the predecessor's unix socket and is given a handle
//! on each socket that it listens on, one after the other. Both accept then.
//! Once every listener of the successor does, it says so; the predecessor tells
//! the service manager who the service is from now on, hands over what else is its
//! own (the files of unix sockets), and drains. The queue of a listening socket
//! belongs to the socket and not to a process, so no connection attempt is lost.
//!
//! Whatever goes wrong before the successor is ready leaves the predecessor as it
//! was.
//!
//! # Rules
//!
//! * Nobody is answered but processes of the same user and of root.
//! * Each line is at most 4 KiB, each wait has a timeout, and one successor is
//!   heard at a time.

mod conversation;
mod lines;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::{Host, Inherited, Listening, ServiceManager, Watchdog};
use crate::config::Bind;
use crate::telemetry::{SocketFile, SocketFileError, SocketFiles, events};
use conversation::Welcome;
use lines::Lines;

/// What the socket for successors is called among those that are passed on. No
/// listener can be called so.
const UPGRADE: &str = "[upgrade]";

/// How long a successor may take until it serves, from its first word on.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long either may take for anything else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why the sockets cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Nobody answers there, or not in this way.
    #[error(
        "nobody hands anything over at unix:{path}: {cause}\n  \
         is countersign running with this server.upgrade_socket? if it is not, start it without --take-over"
    )]
    NoPredecessor {
        /// The path in the config.
        path: String,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
    /// The config names no such socket.
    #[error(
        "the config has no server.upgrade_socket, so nobody can be asked for what listens\n  \
         write upgrade_socket = \"/run/countersign/upgrade.sock\" in [server], and restart once"
    )]
    NoSocket,
}

/// Where a successor asks for what listens.
#[derive(Debug)]
pub struct UpgradeSocket {
    listening: tokio::net::UnixListener,
    bind: Bind,
    /// Removed when this is dropped, unless it is another process's by then.
    _file: SocketFile,
}

/// A process that serves from now on, and waits for the word.
#[derive(Debug)]
pub struct Heir {
    lines: Lines,
    pid: u32,
}

/// The process that served until now, and waits to hear that this one does.
#[derive(Debug)]
pub struct Predecessor {
    lines: Lines,
}

impl UpgradeSocket {
    /// Binds it, or takes over that of the predecessor. Only the same user and root
    /// can connect. Must be called on a runtime.
    ///
    /// # Errors
    ///
    /// The system refuses, or somebody else listens there.
    pub fn open(path: &Path, inherited: &Inherited, files: &SocketFiles) -> io::Result<Self> {
        let bind = Bind::Unix(path.to_owned());
        let (listening, file) = match inherited.of_predecessor(UPGRADE, &bind) {
            Some(passed) => match passed? {
                Listening::Unix(socket) => (socket, SocketFile::adopt(path, files)?),
                Listening::Tcp(_) => return Err(io::Error::other("it is no unix socket")),
            },
            None => {
                let (listening, file) = bound(path)?;
                (listening, file.shares(files))
            }
        };
        listening.set_nonblocking(true)?;
        Ok(Self {
            listening: tokio::net::UnixListener::from_std(listening)?,
            bind,
            _file: file,
        })
    }

    /// Waits for a successor, and hands it `sockets`, which are asked for anew each
    /// time. Returns when one serves.
    pub async fn heir(
        &self,
        manager: &ServiceManager,
        watchdog: Option<Duration>,
        sockets: impl AsyncFn() -> io::Result<Inherited>,
    ) -> Heir {
        loop {
            let attempt = async {
                let (lines, pid) = self.next().await?;
                let mut sockets = sockets().await?;
                sockets.add_bound(UPGRADE, &self.bind, self.handle()?);
                let welcome = Welcome::new(manager, watchdog, sockets);
                let talk = tokio::task::spawn_blocking(move || welcome.say(lines));
                let lines = talk.await.map_err(io::Error::other)??;
                io::Result::Ok(Heir { lines, pid })
            };
            match attempt.await {
                Ok(heir) => return heir,
                Err(cause) => {
                    tracing::warn!(
                        event = events::NOT_HANDED_OVER,
                        %cause,
                        "a successor asked for what listens and did not come to serve; this process goes on as before"
                    );
                    // A socket that cannot be accepted on fails at once, again and again.
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The next process that connects and may.
    async fn next(&self) -> io::Result<(Lines, u32)> {
        let (stream, _) = std::future::poll_fn(|cx| self.listening.poll_accept(cx)).await?;
        let stream = stream.into_std()?;
        let pid = admitted(&stream)?;
        Ok((Lines::of(stream, ANSWER_WITHIN)?, pid))
    }

    fn handle(&self) -> io::Result<Listening> {
        use std::os::fd::AsFd;
        Listening::of(self.listening.as_fd().try_clone_to_owned()?)
    }
}

/// How long to wait after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(250);

impl Heir {
    /// Its process is the service from now on: the manager is told, and then it is.
    pub fn succeed(self, manager: &ServiceManager, files: &SocketFiles) {
        let Self { mut lines, pid } = self;
        files.keep();
        manager.succeeded_by(pid);
        tracing::info!(
            event = events::HANDED_OVER,
            successor = pid,
            "another process accepts from now on; this one finishes what is under way"
        );
        if let Err(cause) = lines.say("yours") {
            tracing::debug!(%cause, "the successor was not told");
        }
    }
}

impl Predecessor {
    /// This process serves. Returns when the predecessor has let go, which drains
    /// from then on. Blocks for up to 10 s.
    ///
    /// # Errors
    ///
    /// It has ended, or says something else.
    pub fn served(self) -> io::Result<()> {
        let Self { mut lines } = self;
        lines.say("ready")?;
        lines.expect("yours")
    }
}

impl Host {
    /// Takes over what listens from the process that serves at this socket, and
    /// whom it reports to. The files of sockets stay its own until it has let go.
    ///
    /// # Errors
    ///
    /// [`TakeOverError`]; the other process goes on as before.
    pub fn take_over(&mut self, path: &Path) -> Result<(), TakeOverError> {
        self.asked(path)
            .map_err(|cause| TakeOverError::NoPredecessor {
                path: path.display().to_string(),
                cause,
            })
    }

    fn asked(&mut self, path: &Path) -> io::Result<()> {
        let stream = UnixStream::connect(path)?;
        admitted(&stream)?;
        let mut lines = Lines::of(stream, ANSWER_WITHIN)?;
        let welcome = Welcome::hear(&mut lines)?;
        self.inherited = welcome.sockets;
        if let Some(address) = &welcome.manager {
            self.manager = ServiceManager::at(address);
            self.watchdog = Watchdog::within(welcome.watchdog);
        }
        self.files.keep();
        self.predecessor = Some(Predecessor { lines });
        Ok(())
    }
}

/// The process at the other end, if it is of the same user or of root.
fn admitted(stream: &UnixStream) -> io::Result<u32> {
    let peer = socket_peercred(stream)?;
    if peer.uid != geteuid() && !peer.uid.is_root() {
        let uid = peer.uid.as_raw();
        return Err(io::Error::other(format!(
            "the process at the other end belongs to user {uid}"
        )));
    }
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

fn bound(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let (listening, file) = SocketFile::bind(path).map_err(|cause| match cause {
        SocketFileError::System(cause) => cause,
        SocketFileError::InUse | SocketFileError::NotASocket => {
            io::Error::new(io::ErrorKind::AddrInUse, cause.to_string())
        }
    })?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok((listening, file))
}

#[cfg(test)]
mod tests;
