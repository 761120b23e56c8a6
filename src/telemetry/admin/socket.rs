//! The socket of the admin server: TCP or unix.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::AdminAddress;
use crate::telemetry::{SocketFile, SocketFileError, SocketFiles, events};

/// A bound socket, before anything is served on it.
///
/// Dropping it closes the socket and removes a unix socket's file.
#[derive(Debug)]
pub struct AdminSocket {
    address: AdminAddress,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    /// With its file, if that is this process's.
    Unix(std::os::unix::net::UnixListener, Option<SocketFile>),
}

/// Why the admin server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// The system refuses the address.
    #[error("cannot bind the admin address {address}")]
    Bind {
        /// What was asked for.
        address: AdminAddress,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },

    /// Another process answers at the path of the unix socket.
    #[error("cannot bind the admin address {address}: another process is listening there")]
    InUse {
        /// What was asked for.
        address: AdminAddress,
    },

    /// The runtime cannot watch the socket.
    #[error("cannot serve on the admin address {address}")]
    Register {
        /// Where it is bound.
        address: AdminAddress,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
}

impl AdminSocket {
    /// Binds `address`; connections queue from now on. Needs no runtime.
    ///
    /// The file of a unix socket on which nobody listens is replaced: it was
    /// left behind by a process that was killed.
    ///
    /// # Errors
    ///
    /// * [`AdminSocketError::Bind`]: the system refuses, or something that is
    ///   not a socket is at the path.
    /// * [`AdminSocketError::InUse`]: another process listens at the path.
    pub fn bind(address: &AdminAddress) -> Result<Self, AdminSocketError> {
        let refused = |cause| AdminSocketError::Bind {
            address: address.clone(),
            cause,
        };
        match address {
            AdminAddress::Tcp(wanted) => {
                let listener = std::net::TcpListener::bind(wanted).map_err(refused)?;
                listener.set_nonblocking(true).map_err(refused)?;
                Ok(Self {
                    address: AdminAddress::Tcp(listener.local_addr().map_err(refused)?),
                    bound: Bound::Tcp(listener),
                })
            }
            AdminAddress::Unix(path) => {
                let (listener, file) = SocketFile::bind(path).map_err(|error| match error {
                    SocketFileError::InUse => AdminSocketError::InUse {
                        address: address.clone(),
                    },
                    SocketFileError::NotASocket => refused(io::ErrorKind::AddrInUse.into()),
                    SocketFileError::System(cause) => refused(cause),
                })?;
                Ok(Self {
                    address: address.clone(),
                    bound: Bound::Unix(listener, Some(file)),
                })
            }
        }
    }

    /// Takes a TCP socket that somebody else has bound, and that listens.
    ///
    /// # Errors
    ///
    /// The system does not say where it is bound.
    pub fn of_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: AdminAddress::Tcp(listener.local_addr()?),
            bound: Bound::Tcp(listener),
        })
    }

    /// The same for a unix socket; `file`: if that is to go with it.
    ///
    /// # Errors
    ///
    /// The system does not say where it is bound.
    pub fn of_unix(
        listener: std::os::unix::net::UnixListener,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().unwrap_or(Path::new("@"));
        Ok(Self {
            address: AdminAddress::Unix(path.to_owned()),
            bound: Bound::Unix(listener, file),
        })
    }

    /// The same, whose file has the fate of all of these.
    pub fn sharing(self, files: &SocketFiles) -> Self {
        let Self { address, bound } = self;
        let bound = match bound {
            Bound::Unix(listener, file) => {
                Bound::Unix(listener, file.map(|file| file.shares(files)))
            }
            Bound::Tcp(listener) => Bound::Tcp(listener),
        };
        Self { address, bound }
    }

    /// Where it is bound, with the port that the system chose.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }
}

impl AsFd for AdminSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.bound {
            Bound::Tcp(listener) => listener.as_fd(),
            Bound::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// A socket on the runtime, that accepts.
pub(super) struct Listener {
    accepting: Accepting,
    pause: Duration,
}

enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(
        tokio::net::UnixListener,
        #[expect(dead_code, reason = "kept to be dropped")] Option<SocketFile>,
    ),
}

impl Listener {
    pub(super) fn new(socket: AdminSocket) -> Result<Self, AdminSocketError> {
        let accepting = match socket.bound {
            Bound::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Accepting::Tcp),
            Bound::Unix(listener, file) => tokio::net::UnixListener::from_std(listener)
                .map(|listener| Accepting::Unix(listener, file)),
        };
        let accepting = accepting.map_err(|cause| AdminSocketError::Register {
            address: socket.address,
            cause,
        })?;
        Ok(Self {
            accepting,
            pause: FIRST_PAUSE,
        })
    }

    /// Returns the next connection.
    ///
    /// After an error it waits 5 ms, then twice as long each time up to 1 s, so
    /// that a full descriptor table does not become a busy loop.
    pub(super) async fn accept(&mut self) -> Stream {
        loop {
            match poll_fn(|context| self.accepting.poll_accept(context)).await {
                Ok(stream) => {
                    self.pause = FIRST_PAUSE;
                    return stream;
                }
                Err(error) => {
                    tracing::warn!(event = events::ACCEPT_FAILED, listener = "admin", cause = %error);
                    tokio::time::sleep(self.pause).await;
                    self.pause = LAST_PAUSE.min(self.pause * 2);
                }
            }
        }
    }
}

impl Accepting {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                ready!(listener.poll_accept(context)).map(|(stream, _)| Stream::Tcp(stream))
            }
            Self::Unix(listener, _) => {
                ready!(listener.poll_accept(context)).map(|(stream, _)| Stream::Unix(stream))
            }
        })
    }
}

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(tokio::net::TcpStream),
    /// A unix stream socket.
    Unix(tokio::net::UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The pause after the first failed accept, and the longest: those of Go's `net/http`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);
