//! Asks the admin address of a running countersign.
//!
//! Whoever answers there may be anybody: a whole conversation is under one
//! deadline, and what is read of an answer has a bound.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::admin_tls::{Believed, Secured};
use crate::config::{Bind, Config};
use crate::telemetry::admin::AdminAddress;

/// Where to ask, and for what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// An unspecified address (`0.0.0.0`, `[::]`) is asked on loopback.
    pub(super) address: AdminAddress,
    /// The path, beginning with `/`.
    pub(super) path: String,
    /// TLS, if it is spoken there.
    pub(super) tls: Option<Secured>,
}

/// Why a text does not say where to ask.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// It does not begin with `http://` or `unix:`.
    #[error("`{0}` is neither http://ADDRESS:PORT[/PATH] nor unix:PATH")]
    Form(String),

    /// There is no such host, or no port.
    #[error("`{0}` is not an address and port that can be asked")]
    Host(String, #[source] io::Error),

    /// Who is meant, and what to present, stands in the config alone.
    #[error(
        "`{0}`: an admin address that speaks TLS is asked with --config FILE, whose [admin.tls] says how"
    )]
    Secured(String),

    /// The path holds what cannot stand in a request line.
    #[error("`{0}` has a space, a control character or a letter beyond ASCII in its path")]
    Path(String),
}

/// Why there is not the answer that was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The connection ended before the answer did.
    #[error("{target} closed the connection after {got} of {promised} bytes")]
    CutShort {
        /// Who was asked.
        target: Target,
        /// The bytes of the body that came.
        got: usize,
        /// The bytes that were promised.
        promised: usize,
    },

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
    Status {
        /// Who was asked.
        target: Target,
        /// The status.
        status: u16,
        /// The first line of the body.
        reason: String,
    },

    /// Its answer is longer than anybody's should be.
    #[error("{target} answers with more than {MAX_BODY} bytes, which are not read")]
    TooLarge {
        /// Who was asked.
        target: Target,
    },

    /// It says in no way that is read here how long its answer is.
    #[error("{target} does not say how long its answer is (Content-Length)")]
    Unbounded {
        /// Who was asked.
        target: Target,
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

impl Target {
    /// Asks the admin address of a config, or says why that cannot be done.
    pub(super) fn of(config: &Config, path: &str, believed: Believed) -> Result<Self, String> {
        let file = config.path().display();
        let address = match config.admin().map(|admin| &admin.bind.value) {
            Some(Bind::Tcp(address)) if address.port() == 0 => {
                return Err(format!(
                    "{file}: admin.bind has port 0, so nobody knows where to ask; write a port"
                ));
            }
            Some(Bind::Tcp(address)) => AdminAddress::Tcp(*address),
            Some(Bind::Systemd(name)) => {
                return Err(format!(
                    "{file}: admin.bind is the socket \"{name}\" from systemd, whose unit alone says where it is (ListenStream=)"
                ));
            }
            Some(Bind::Unix(socket)) => AdminAddress::Unix(socket.clone()),
            None => {
                return Err(format!(
                    "{file}: there is no [admin] table, so there is nothing to ask; add one with bind = \"127.0.0.1:9901\""
                ));
            }
        };
        let target = Self {
            address,
            path: path.to_owned(),
            tls: None,
        };
        target.secured_as(config, believed)
    }

    /// The same, asked as the admin address of a config is, with TLS or without.
    pub(super) fn secured_as(self, config: &Config, believed: Believed) -> Result<Self, String> {
        let tls = config.admin().and_then(|admin| admin.tls.as_ref());
        let tls = tls.map(|tls| Secured::of(tls, believed)).transpose();
        let file = config.path().display();
        Ok(Self {
            tls: tls.map_err(|cause| format!("{file}: admin.tls: {cause}"))?,
            ..self
        })
    }

    /// Reads `ADDRESS:PORT` or `unix:PATH`. A name is looked up, and its first
    /// address is asked.
    ///
    /// # Errors
    ///
    /// The host cannot be resolved, or there is no port.
    pub(super) fn from_address(address: &str, path: &str) -> Result<Self, TargetError> {
        let unresolved = |cause| TargetError::Host(address.to_owned(), cause);
        let address = match unix_socket(address) {
            Some(socket) => socket,
            None => AdminAddress::Tcp(resolve(address).map_err(unresolved)?),
        };
        let path = path.to_owned();
        Ok(Self {
            address,
            path,
            tls: None,
        })
    }

    /// Reads `http://ADDRESS[:PORT][/PATH]` or `unix:PATH`. Without a port it
    /// is 80, without a path `default`. A name is looked up, and its first
    /// address is asked.
    ///
    /// # Errors
    ///
    /// The text has another form, its host cannot be resolved, or its path
    /// cannot stand in a request.
    pub(super) fn from_url(url: &str, default: &str) -> Result<Self, TargetError> {
        if let Some(address) = unix_socket(url) {
            let path = default.to_owned();
            return Ok(Self {
                address,
                path,
                tls: None,
            });
        }
        if url.starts_with("https://") {
            return Err(TargetError::Secured(url.to_owned()));
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
            "" | "/" => default,
            path => path,
        };
        let address =
            resolve_or_80(host).map_err(|cause| TargetError::Host(host.to_owned(), cause))?;
        Ok(Self {
            address: AdminAddress::Tcp(address),
            path: path.to_owned(),
            tls: None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            AdminAddress::Tcp(address) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{address}{}", self.path)
            }
            AdminAddress::Unix(_) => write!(f, "{} {}", self.address, self.path),
        }
    }
}

/// Asks `target` and returns the body of its answer.
///
/// # Errors
///
/// [`AskError`]: there is no whole answer of status 200 within [`TIMEOUT`], or
/// it is over [`MAX_BODY`].
pub(super) fn get(target: &Target) -> Result<Vec<u8>, AskError> {
    let unreachable = |cause| AskError::Unreachable {
        target: target.clone(),
        cause,
    };
    let mut conversation = Conversation::open(target, TIMEOUT).map_err(unreachable)?;
    let mut answer = Vec::new();
    let body = loop {
        let ended = conversation.read(&mut answer).map_err(unreachable)? == 0;
        match end_of_head(&answer) {
            Some(body) => break body,
            None if ended || answer.len() > MAX_HEAD => return Err(refused(target, &answer)),
            None => {}
        }
    };
    let head = answer.get(..body).unwrap_or_default();
    let promised = content_length(head);
    if status(head) != Some(200) {
        // Its first line is wanted; where that does not come, the status does.
        conversation.read_until(&mut answer, body + MAX_LINE).ok();
        return Err(refused(target, &answer));
    }
    let asked = || target.clone();
    let promised = match promised {
        Some(promised) if promised <= MAX_BODY => promised,
        Some(_) => return Err(AskError::TooLarge { target: asked() }),
        None => return Err(AskError::Unbounded { target: asked() }),
    };
    let read = conversation.read_until(&mut answer, body + promised);
    read.map_err(unreachable)?;
    let mut content = answer.split_off(body);
    if content.len() < promised {
        return Err(AskError::CutShort {
            target: asked(),
            got: content.len(),
            promised,
        });
    }
    content.truncate(promised);
    Ok(content)
}

/// Where the body begins.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(head + 4)
}

/// How long the body is (RFC 9112 §6.2).
fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

/// A connection whose every step is under one deadline.
pub(super) struct Conversation {
    /// To set timeouts by.
    socket: Socket,
    stream: Box<dyn Stream>,
    deadline: Instant,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Conversation {
    /// Connects and sends the request. Everything until the end of the answer
    /// has `timeout`.
    pub(super) fn open(target: &Target, timeout: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + timeout;
        let (domain, address) = match &target.address {
            AdminAddress::Tcp(address) => {
                let address = SocketAddr::new(reachable(address.ip()), address.port());
                (Domain::for_address(address), SockAddr::from(address))
            }
            AdminAddress::Unix(socket) => (Domain::UNIX, SockAddr::unix(socket)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect_timeout(&address, timeout)?;
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(socket.try_clone()?),
            Some(tls) => Box::new(tls.around(socket.try_clone()?)?),
        };
        let mut conversation = Self {
            socket,
            stream,
            deadline,
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            target.path
        );
        let left = conversation.left()?;
        conversation.socket.set_write_timeout(Some(left))?;
        // A handshake reads as well.
        conversation.socket.set_read_timeout(Some(left))?;
        conversation.stream.write_all(request.as_bytes())?;
        conversation.stream.flush()?;
        Ok(conversation)
    }

    /// Appends what came next to `answer`; 0: that was all.
    pub(super) fn read(&mut self, answer: &mut Vec<u8>) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Reads until `answer` has so many bytes, or there are no more.
    fn read_until(&mut self, answer: &mut Vec<u8>, enough: usize) -> io::Result<()> {
        while answer.len() < enough && self.read(answer)? > 0 {}
        Ok(())
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// The status of an answer whose status line is whole (RFC 9112 §4).
pub(super) fn status(answer: &[u8]) -> Option<u16> {
    let line_end = answer.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(answer.get(..line_end)?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?;
    let is_http = version.starts_with("HTTP/1.") && code.len() == 3;
    code.parse().ok().filter(|_| is_http)
}

/// What an answer says that is not the one that was asked for.
pub(super) fn refused(target: &Target, answer: &[u8]) -> AskError {
    let target = target.clone();
    match status(answer) {
        // A head of 200 alone is no answer.
        Some(status) if status != 200 => AskError::Status {
            target,
            status,
            reason: first_line_of_body(answer),
        },
        _ => AskError::NotHttp {
            target,
            answer: first_line(answer),
        },
    }
}

fn unix_socket(text: &str) -> Option<AdminAddress> {
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty())?;
    Some(AdminAddress::Unix(PathBuf::from(path)))
}

fn resolve_or_80(host: &str) -> io::Result<SocketAddr> {
    match resolve(host) {
        Err(_) if !has_port(host) => resolve(&format!("{host}:80")),
        resolved => resolved,
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// Whether something follows the last colon that is not inside `[…]`.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'))
}

/// A server that is bound to every address is asked on loopback.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

fn first_line_of_body(answer: &[u8]) -> String {
    let body = end_of_head(answer).and_then(|body| answer.get(body..));
    first_line(body.unwrap_or_default())
}

/// At most 200 characters: enough for a person to see who answered.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..MAX_LINE).unwrap_or(text));
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// From the first packet to the last of an answer: more than the admin address
/// itself gives an answer.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Bytes of an answer's head that are read.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes of an answer's body that are read: some 50,000 peers with long chains.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// Bytes in which a line is looked for.
const MAX_LINE: usize = 8 * 1024;

#[cfg(test)]
mod tests;
