//! The sockets that listeners accept on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, TcpKeepalive, Type};

use crate::config::Bind;

/// How many connections the kernel holds ready for a listener that is busy.
const BACKLOG: i32 = 4096;

/// A bound socket that does not block.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket; its file is removed when this is dropped.
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// Where a socket is bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// With the port that the system chose, if it was left to it.
    Tcp(SocketAddr),
    /// The path.
    Unix(PathBuf),
}

/// Why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process serves this unix socket.
    #[error("another process is listening on unix:{}", .0.display())]
    InUse(PathBuf),
    /// Something that is not a socket has this name.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {address}: {cause}")]
    System {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

impl Socket {
    /// Binds and listens.
    ///
    /// # Errors
    ///
    /// [`BindError`]; a unix socket that nobody serves any more is replaced.
    pub fn bind(bind: &Bind) -> Result<Self, BindError> {
        match bind {
            Bind::Tcp(address) => tcp(*address).map_err(|cause| BindError::System {
                address: address.to_string(),
                cause,
            }),
            Bind::Unix(path) => unix(path),
        }
    }

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Self::Unix(_, file) => Ok(Address::Unix(file.0.clone())),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Socket::Tcp(socket.into()))
}

/// How a client is found out that has vanished without a word: a tunnel, where
/// nobody knows who ought to speak, would hold its slot for ever.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}

fn unix(path: &Path) -> Result<Socket, BindError> {
    let system = |cause| BindError::System {
        address: format!("unix:{}", path.display()),
        cause,
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.into()));
        }
        // Somebody answers: it is in use. Nobody does: a dead process left it.
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(BindError::InUse(path.into())),
        Ok(_) => std::fs::remove_file(path).map_err(system)?,
        Err(_) => {}
    }
    let socket = UnixListener::bind(path).map_err(system)?;
    let file = SocketFile(path.into());
    socket.set_nonblocking(true).map_err(system)?;
    Ok(Socket::Unix(socket, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %cause, "the socket file could not be removed");
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
