//! The fixtures: certificates, upstreams, clients and the real binary.
//!
//! # Rules
//!
//! * Each test starts from a baseline that works and changes one thing.
//! * Nothing sleeps for a fixed time: [`eventually`] polls and [`within`] bounds.
//! * Every port is 0, every file lies in a temporary folder of the test.
//! * What goes wrong in a fixture ends the test, with what the binary wrote.

pub(crate) mod body;
pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod disk;
pub(crate) mod documented;
pub(crate) mod everywhere;
pub(crate) mod frames;
mod lenient;
pub(crate) mod pki;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod scene;
pub(crate) mod secrets;
pub(crate) mod things;
pub(crate) mod tokens;
pub(crate) mod trust;
pub(crate) mod upstream;
pub(crate) mod witness;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before the test fails.
///
/// Long, since a debug build shares its cores with other tests; a test that
/// passes never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `probe` until it has something, at most for [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe).await
}

/// Polls `probe` until it has something, at most for so long.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Awaits `future`, at most for [`PATIENCE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("took too long: {what}"),
    }
}

/// A byte stream of any kind: TCP, unix or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a client connects.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
    /// Another one, on which these bytes are written first.
    After(Box<Self>, Vec<u8>),
    /// A connection that is made already.
    Made(Arc<std::net::TcpStream>),
}

impl Target {
    /// The same, with these bytes before anything else.
    pub(crate) fn after(self, bytes: impl AsRef<[u8]>) -> Self {
        Self::After(Box::new(self), bytes.as_ref().to_vec())
    }

    /// Opens a byte stream to it.
    pub(crate) async fn open(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Made(stream) => {
                let stream = stream.try_clone()?;
                stream.set_nonblocking(true)?;
                Box::new(TcpStream::from_std(stream)?)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::After(target, bytes) => {
                let mut stream = Box::pin(target.open()).await?;
                stream.write_all(bytes).await?;
                stream
            }
        })
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<std::net::TcpStream> for Target {
    fn from(stream: std::net::TcpStream) -> Self {
        Self::Made(Arc::new(stream))
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}
