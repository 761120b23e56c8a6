//! Asks a running countersign whether it is ready, for images without a shell.
//!
//! The whole conversation is under one deadline of [`TIMEOUT`].

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Where to ask, and for what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// Over TCP.
    Tcp {
        /// The address; an unspecified one (`0.0.0.0`, `[::]`) is asked on loopback.
        address: SocketAddr,
        /// The path, beginning with `/`.
        path: String,
    },
    /// Over a unix socket.
    Unix {
        /// The socket.
        socket: PathBuf,
        /// The path, beginning with `/`.
        path: String,
    },
}

/// Why a `--url` cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// It does not begin with `http://` or `unix:`.
    #[error("`{0}` is neither http://ADDRESS:PORT[/PATH] nor unix:PATH")]
    Form(String),

    /// There is no such host, or no port.
    #[error("`{0}` is not an address and port that can be asked")]
    Host(String, #[source] io::Error),

    /// The path holds what cannot stand in a request line.
    #[error("`{0}` has a space, a control character or a letter beyond ASCII in its path")]
    Path(String),
}

/// Why the answer is not "ready".
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    /// What answers does not speak HTTP.
    #[error("{target} answered what is not HTTP: `{}`", .answer.escape_default())]
    NotHttp {
        /// Who was asked.
        target: Target,
        /// How the answer begins.
        answer: String,
    },

    /// It answered, but not with 200.
    #[error("{target} answered {status}: {}", .reason.escape_default())]
    NotReady {
        /// Who was asked.
        target: Target,
        /// The status.
        status: u16,
        /// The first line of the body.
        reason: String,
    },

    /// Nobody answered in time.
    #[error("{target} gave no answer")]
    Unreachable {
        /// Who was asked.
        target: Target,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
}

/// Asks `target` and returns when it answered 200.
///
/// # Errors
///
/// * [`HealthcheckError::Unreachable`]: no connection or no whole status line
///   within 3 s.
/// * [`HealthcheckError::NotHttp`]: there was an answer without a status.
/// * [`HealthcheckError::NotReady`]: the status is not 200.
pub(crate) fn healthcheck(target: &Target) -> Result<(), HealthcheckError> {
    let answer = Conversation::open(target)
        .and_then(|mut conversation| conversation.ask(target))
        .map_err(|cause| HealthcheckError::Unreachable {
            target: target.clone(),
            cause,
        })?;
    match status(&answer) {
        Some(200) => Ok(()),
        Some(status) => Err(HealthcheckError::NotReady {
            target: target.clone(),
            status,
            reason: first_line_of_body(&answer),
        }),
        None => Err(HealthcheckError::NotHttp {
            target: target.clone(),
            answer: first_line(&answer),
        }),
    }
}

impl Target {
    /// Asks for readiness at a TCP address.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::Tcp {
            address,
            path: READINESS.to_owned(),
        }
    }

    /// Asks for readiness at a unix socket.
    pub(crate) fn unix(socket: &Path) -> Self {
        Self::Unix {
            socket: socket.to_owned(),
            path: READINESS.to_owned(),
        }
    }

    /// Reads `http://ADDRESS[:PORT][/PATH]` or `unix:PATH`. Without a port it
    /// is 80, without a path `/readyz`. A name is looked up, and its first
    /// address is asked.
    ///
    /// # Errors
    ///
    /// The text has another form, its host cannot be resolved, or its path
    /// cannot stand in a request.
    pub(crate) fn from_url(url: &str) -> Result<Self, TargetError> {
        if let Some(socket) = url.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::unix(Path::new(socket)));
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| TargetError::Form(url.to_owned()))?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TargetError::Path(url.to_owned()));
        }
        let path = match path {
            "" | "/" => READINESS,
            path => path,
        };
        Ok(Self::Tcp {
            address: resolve(host).map_err(|cause| TargetError::Host(host.to_owned(), cause))?,
            path: path.to_owned(),
        })
    }

    fn path(&self) -> &str {
        match self {
            Self::Tcp { path, .. } | Self::Unix { path, .. } => path,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, path } => write!(f, "http://{address}{path}"),
            Self::Unix { socket, path } => write!(f, "unix:{} {path}", socket.display()),
        }
    }
}

fn resolve(host: &str) -> io::Result<SocketAddr> {
    let mut addresses = match host.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(_) if !has_port(host) => format!("{host}:80").to_socket_addrs()?,
        Err(error) => return Err(error),
    };
    addresses
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// Whether something follows the last colon that is not inside `[…]`.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'))
}

/// A connection whose every step is under one deadline.
struct Conversation {
    socket: Socket,
    deadline: Instant,
}

impl Conversation {
    fn open(target: &Target) -> io::Result<Self> {
        let deadline = Instant::now() + TIMEOUT;
        let (domain, address) = match target {
            Target::Tcp { address, .. } => {
                let address = SocketAddr::new(reachable(address.ip()), address.port());
                (Domain::for_address(address), SockAddr::from(address))
            }
            Target::Unix { socket, .. } => (Domain::UNIX, SockAddr::unix(socket)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect_timeout(&address, TIMEOUT)?;
        Ok(Self { socket, deadline })
    }

    /// Sends the request and returns the answer: of a 200 the beginning, of any
    /// other all that comes in time, up to [`MAX_ANSWER`].
    fn ask(&mut self, target: &Target) -> io::Result<Vec<u8>> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            target.path()
        );
        self.socket.set_write_timeout(Some(self.left()?))?;
        (&self.socket).write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        loop {
            match self.read(&mut answer) {
                Ok(0) => return Ok(answer),
                Ok(_) if status(&answer) == Some(200) => return Ok(answer),
                Ok(_) if answer.len() >= MAX_ANSWER => return Ok(answer),
                Ok(_) => {}
                // The reason is incomplete, the status is known.
                Err(_) if status(&answer).is_some() => return Ok(answer),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&self, answer: &mut Vec<u8>) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        let mut piece = [0; 1024];
        let count = (&self.socket).read(&mut piece)?;
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// A server that is bound to every address is asked on loopback.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The status of an answer whose status line is whole (RFC 9112 §4).
fn status(answer: &[u8]) -> Option<u16> {
    let line_end = answer.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(answer.get(..line_end)?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?;
    let is_http = version.starts_with("HTTP/1.") && code.len() == 3;
    code.parse().ok().filter(|_| is_http)
}

fn first_line_of_body(answer: &[u8]) -> String {
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n");
    first_line(body.and_then(|at| answer.get(at + 4..)).unwrap_or_default())
}

/// At most 200 characters: enough for a person to see who answered.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// What is asked when no path is given.
const READINESS: &str = "/readyz";

/// From the first packet to the answer: well within the interval of any probe.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 8 * 1024;

#[cfg(test)]
mod tests;
