//! The byte streams under HTTP: a socket, bare or with TLS around it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix stream socket.
    Unix(UnixStream),
}

/// A connected socket, with TLS around it or bare.
///
/// One type for both directions, so that the HTTP codec is compiled once.
#[derive(Debug)]
pub enum Stream {
    /// No TLS.
    Plain(Socket),
    /// countersign is the TLS server.
    Server(Box<tokio_rustls::server::TlsStream<Socket>>),
    /// countersign is the TLS client.
    Client(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl Socket {
    /// Reads and drops what has already arrived, without waiting, up to 64 KiB.
    ///
    /// A socket that is closed with unread bytes in it makes the kernel send a
    /// reset, which can overtake the alert that explains a refusal.
    pub fn discard_received(&self) {
        let mut scratch = [0u8; 4096];
        for _ in 0..16 {
            let read = match self {
                Self::Tcp(socket) => socket.try_read(&mut scratch),
                Self::Unix(socket) => socket.try_read(&mut scratch),
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }
}

impl Stream {
    /// Ready when something can be read, or its end; at times when nothing can, on
    /// a bare socket. Nothing is taken from it.
    ///
    /// # Errors
    ///
    /// It is broken. Nobody says so a second time.
    pub fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(Socket::Tcp(socket)) => socket.poll_read_ready(cx),
            Self::Plain(Socket::Unix(socket)) => socket.poll_read_ready(cx),
            Self::Server(stream) => Pin::new(stream).poll_fill_buf(cx).map_ok(drop),
            Self::Client(stream) => Pin::new(stream).poll_fill_buf(cx).map_ok(drop),
        }
    }

    /// Says that this side will send no more, where TLS has a word for it. The
    /// socket stays as it is: for a stream that is dropped then.
    pub fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => {}
            Self::Server(stream) => stream.get_mut().1.send_close_notify(),
            Self::Client(stream) => stream.get_mut().1.send_close_notify(),
        }
        Pin::new(self).poll_flush(cx)
    }

    /// Who is at the other end; `None`: it came over a unix socket, or is gone.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Server(stream) => stream.get_ref().0,
            Self::Client(stream) => stream.get_ref().0,
        };
        match socket {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }
}

/// Calls one poll method on whichever stream this is.
macro_rules! delegate {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => $call,
            Self::Server($stream) => $call,
            Self::Client($stream) => $call,
        }
    };
}

macro_rules! delegate_socket {
    ($self:expr, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($socket) => $call,
            Self::Unix($socket) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate_socket!(self, socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate_socket!(self, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate_socket!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate_socket!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate_socket!(self, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
