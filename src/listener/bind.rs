//! The sockets that listeners accept on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::config::Bind;
use crate::process::{Inherited, InheritedError, Listening};
use crate::telemetry::{SocketFile, SocketFileError, SocketFiles};

/// How many connections the kernel holds ready for a listener that is busy.
const BACKLOG: i32 = 4096;
/// A client that answers none of four probes, the first after a minute of
/// silence, has vanished.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// A bound socket that does not block.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket; its file, if it is this process's, is removed when this is
    /// dropped.
    Unix(UnixListener, Option<SocketFile>),
}

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
    /// What systemd passes is not what the config asks for.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
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
    /// Binds and listens, or takes what is bound already: by systemd, or by the
    /// predecessor for the listener of this name.
    ///
    /// # Errors
    ///
    /// [`BindError`]; a unix socket that nobody serves any more is replaced.
    pub(super) fn open(
        (listener, bind): (&str, &Bind),
        inherited: &Inherited,
        files: &SocketFiles,
    ) -> Result<Self, BindError> {
        let system = |cause| BindError::System {
            address: bind.to_string(),
            cause,
        };
        if let Bind::Systemd(name) = bind {
            let socket = inherited.named(name)?;
            return take_over(socket, None).map_err(system);
        }
        if let Some(socket) = inherited.of_predecessor(listener, bind) {
            let file = match bind {
                Bind::Unix(path) => Some(SocketFile::adopt(path, files).map_err(system)?),
                Bind::Tcp(_) | Bind::Systemd(_) => None,
            };
            return socket.and_then(|one| take_over(one, file)).map_err(system);
        }
        match bind {
            Bind::Tcp(address) => tcp(*address).map_err(system),
            Bind::Unix(path) => unix(path, files),
            Bind::Systemd(_) => Err(system(io::ErrorKind::NotFound.into())),
        }
    }

    /// One more handle on it, which keeps it open and bound.
    ///
    /// # Errors
    ///
    /// The system gives no further descriptor.
    pub(super) fn handle(&self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(socket) => Listening::Tcp(socket.try_clone()?),
            Self::Unix(socket, _) => Listening::Unix(socket.try_clone()?),
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub(super) fn address(&self) -> io::Result<Address> {
        Address::of(&self.handle()?)
    }
}

impl Address {
    /// Where a socket is bound.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub(super) fn of(socket: &Listening) -> io::Result<Self> {
        match socket {
            Listening::Tcp(socket) => socket.local_addr().map(Self::Tcp),
            Listening::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().map(Path::to_owned);
                // One in the abstract namespace has no path.
                Ok(Self::Unix(path.unwrap_or_else(|| "@".into())))
            }
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
    // For tunnels, which have no deadline of their own: a client that has
    // vanished gives back its slot.
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Socket::Tcp(socket.into()))
}

/// Has a socket that others have bound behave as one that was bound here.
fn take_over(socket: Listening, file: Option<SocketFile>) -> io::Result<Socket> {
    Ok(match socket {
        Listening::Tcp(socket) => {
            let options = SockRef::from(&socket);
            options.set_tcp_nodelay(true)?;
            options.set_tcp_keepalive(&KEEPALIVE)?;
            options.set_nonblocking(true)?;
            Socket::Tcp(socket)
        }
        Listening::Unix(socket) => {
            socket.set_nonblocking(true)?;
            Socket::Unix(socket, file)
        }
    })
}

fn unix(path: &Path, files: &SocketFiles) -> Result<Socket, BindError> {
    let system = |cause| BindError::System {
        address: format!("unix:{}", path.display()),
        cause,
    };
    let (socket, file) = SocketFile::bind(path).map_err(|error| match error {
        SocketFileError::InUse => BindError::InUse(path.into()),
        SocketFileError::NotASocket => BindError::NotASocket(path.into()),
        SocketFileError::System(cause) => system(cause),
    })?;
    Ok(Socket::Unix(socket, Some(file.shares(files))))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_find_out_that_their_client_has_vanished() {
        let Ok(Socket::Tcp(listening)) = tcp(SocketAddr::from(([127, 0, 0, 1], 0))) else {
            panic!("loopback can be bound");
        };
        listening.set_nonblocking(false).unwrap();
        let client = std::net::TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        let accepted = listening.incoming().next().unwrap().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(
            accepted.tcp_keepalive_time().unwrap(),
            Duration::from_secs(60)
        );
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(15)
        );
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        drop(client);
    }
}
