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
//! was. Who serves is the predecessor's to say: it answers `ready` with `yours`, or,
//! once it has given up waiting, with why not, and then the successor ends. Where it
//! says nothing at all and is gone, the successor serves.
//!
//! From the first socket that is handed on to the end of the attempt, nobody removes
//! the files of unix sockets: a predecessor that is told to end meanwhile leaves them
//! to whoever it has begun to hand them to.
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
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::unix::UCred;

use super::{Host, Inherited, Listening, ServiceManager, Watchdog};
use crate::config::Bind;
use crate::telemetry::{SocketFile, SocketFileError, SocketFiles, events};
use conversation::Welcome;
use lines::Lines;

/// What the socket for successors is called among those that are passed on. No
/// listener can be called so.
const UPGRADE: &str = "[upgrade]";

/// How long a successor may take until it serves, from the last socket on.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a predecessor may take for its first word. It may have to finish a
/// reload, which says anew which sockets there are.
const WELCOMED_WITHIN: Duration = Duration::from_secs(30);
/// How long it waits for that itself: it can then say why it does not go on.
const SOCKETS_WITHIN: Duration = Duration::from_secs(25);
/// How long either may take for anything else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why the sockets cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Somebody answers there, and says why not.
    #[error("the process that serves does not hand anything over: {cause}\n  it goes on as before")]
    Refused {
        /// What it says.
        cause: String,
    },
    /// Nobody answers there, or not in this way.
    #[error(
        "nobody hands anything over at unix:{path}: {cause}\n  \
         is countersign running with this server.upgrade_socket? if it is not, start it: countersign run --config FILE"
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
    /// `None`: it is in a PID namespace that this process does not see.
    pid: Option<u32>,
}

/// The process that served until now, and waits to hear that this one does.
#[derive(Debug)]
pub struct Predecessor {
    lines: Lines,
}

/// What a predecessor makes of a successor that is ready.
#[derive(Debug)]
pub enum Verdict {
    /// It has let go, and drains from then on.
    LetGo,
    /// It is gone, or silent.
    Silent(io::Error),
    /// It goes on alone, for this reason. This process must end.
    GoesOn(String),
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
    /// time. Returns when one serves. Dropped while one is on its way, it leaves the
    /// files of sockets to that one.
    pub async fn heir(
        &self,
        (manager, files): (&ServiceManager, &SocketFiles),
        watchdog: Option<Duration>,
        sockets: impl AsyncFn() -> io::Result<Inherited>,
    ) -> Heir {
        loop {
            let attempt = async {
                let (stream, pid) = self.next().await?;
                let lines = Lines::of(stream.try_clone()?, ANSWER_WITHIN)?;
                let sockets = self.sockets_for(pid, manager, &sockets).await;
                let welcome = sockets.map(|sockets| Welcome::new(manager, watchdog, sockets));
                files.keep();
                let conversation = Conversation(Some(stream));
                let talk = tokio::task::spawn_blocking(move || match welcome {
                    Ok(welcome) => welcome.say(lines, READY_WITHIN),
                    Err(cause) => Err(conversation::refuse(lines, cause)),
                });
                let lines = talk.await.map_err(io::Error::other)??;
                conversation.goes_on();
                io::Result::Ok(Heir { lines, pid })
            };
            match attempt.await {
                Ok(heir) => return heir,
                Err(cause) => {
                    files.own();
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

    /// The next process that connects and may, and its number.
    async fn next(&self) -> io::Result<(UnixStream, Option<u32>)> {
        let (stream, _) = std::future::poll_fn(|cx| self.listening.poll_accept(cx)).await?;
        let pid = admitted(stream.peer_cred()?)?;
        Ok((stream.into_std()?, pid))
    }

    /// What a successor of this number is given.
    async fn sockets_for(
        &self,
        pid: Option<u32>,
        manager: &ServiceManager,
        sockets: &impl AsyncFn() -> io::Result<Inherited>,
    ) -> io::Result<Inherited> {
        if pid.is_none() && manager.is_there() {
            return Err(io::Error::other(OTHER_NAMESPACE));
        }
        let sockets = tokio::time::timeout(SOCKETS_WITHIN, sockets()).await;
        let mut sockets = sockets.map_err(|_| io::Error::other(BUSY))??;
        sockets.add_bound(UPGRADE, &self.bind, self.handle()?);
        Ok(sockets)
    }

    fn handle(&self) -> io::Result<Listening> {
        use std::os::fd::AsFd;
        Listening::of(self.listening.as_fd().try_clone_to_owned()?)
    }
}

/// A conversation on a thread of its own. It breaks off where nobody waits for what
/// comes of it any more, so that the other side does not wait either.
struct Conversation(Option<UnixStream>);

impl Conversation {
    fn goes_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            // It may be over already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Why a process cannot succeed that the manager cannot be told of.
const OTHER_NAMESPACE: &str = "the successor is in another PID namespace, so that the service manager cannot be told which process it is; start it where the process that serves was started";
/// Why a successor is given nothing for now.
const BUSY: &str = "a reload is under way and does not come to an end; ask again when the log says what came of it";

/// How long to wait after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(250);

impl Heir {
    /// Its process is the service from now on: the manager is told, and then it is.
    pub fn succeed(self, manager: &ServiceManager, files: &SocketFiles) {
        let Self { mut lines, pid } = self;
        files.keep();
        if let Some(pid) = pid {
            manager.succeeded_by(pid);
        }
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
    /// This process serves. Returns what the predecessor makes of it. Blocks for up
    /// to 10 s.
    pub fn served(self) -> Verdict {
        let Self { mut lines } = self;
        // Where it has given up before, it hears nothing, and has said why.
        lines.say("ready").ok();
        let heard = lines.hear().map(|(line, _)| line);
        match heard.as_deref().map(conversation::refusal) {
            Ok(Some(cause)) => Verdict::GoesOn(cause),
            Ok(None) if heard.as_deref().is_ok_and(|line| line == "yours") => Verdict::LetGo,
            Ok(None) => Verdict::Silent(io::Error::other("\"yours\" was expected")),
            Err(_) => Verdict::Silent(heard.err().unwrap_or(io::ErrorKind::Other.into())),
        }
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
        self.asked(path).map_err(|cause| {
            let said = cause.get_ref().and_then(|said| said.downcast_ref());
            if let Some(conversation::Refusal(said)) = said {
                let cause = said.clone();
                return TakeOverError::Refused { cause };
            }
            let path = path.display().to_string();
            TakeOverError::NoPredecessor { path, cause }
        })
    }

    fn asked(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = Lines::of(connected(path)?, ANSWER_WITHIN)?;
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

/// A connection to the process that listens there, if that one may be believed.
fn connected(path: &Path) -> io::Result<UnixStream> {
    // For the while of a connect, on this thread: there is no other yet.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(path).await?;
        admitted(stream.peer_cred()?)?;
        stream.into_std()
    })
}

/// The number of the process at the other end, if it is of the same user or of
/// root; `None`: it is in a PID namespace that this process does not see (0 in
/// `SO_PEERCRED`, unix(7)).
fn admitted(peer: UCred) -> io::Result<Option<u32>> {
    let uid = peer.uid();
    if uid != geteuid().as_raw() && uid != 0 {
        return Err(io::Error::other(format!(
            "the process at the other end belongs to user {uid}"
        )));
    }
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok(pid.filter(|pid| *pid != 0))
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
