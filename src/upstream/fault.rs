//! Why a request has no response from its upstream.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::wire::LinkFault;

/// What went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SendFaultKind {
    /// The request's own body failed: its sender's fault, not the upstream's.
    Body,
    /// The endpoint refused the connection, or it could not be reached.
    ConnectRefused,
    /// It did not answer in time to a connection attempt.
    ConnectTimeout,
    /// This machine has no descriptor, port or memory left for a connection.
    Exhausted,
    /// TLS with it failed.
    Handshake,
    /// It closed the connection before its response head was complete.
    Lost,
    /// What it sent is not HTTP.
    Malformed,
    /// It does not take WebSockets over HTTP/2.
    NoWebSockets,
    /// It did not ask for the certificate that must be presented.
    NotAsked,
    /// It is given no more at one time, and it was not the request's turn.
    Overloaded,
    /// Its name could not be resolved.
    Resolve,
    /// Its response head did not come in time.
    ResponseTimeout,
}

impl SendFaultKind {
    /// The stable code in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Exhausted => "exhausted",
            Self::Handshake => "handshake",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::NoWebSockets => "no_web_sockets",
            Self::NotAsked => "not_asked",
            Self::Overloaded => "overloaded",
            Self::Resolve => "unresolved",
            Self::ResponseTimeout => "response_timeout",
        }
    }
}

/// Why a request has no response from its upstream.
#[derive(Debug)]
pub struct SendFault {
    /// What went wrong.
    pub kind: SendFaultKind,
    /// The cause in words, innermost last.
    pub cause: String,
    /// What to do about it, where more is known than the kind.
    pub remedy: Option<String>,
    /// Which endpoint it was, as written in the config.
    pub endpoint: Option<String>,
}

impl SendFault {
    pub(super) fn new(kind: SendFaultKind, cause: &(dyn Error + 'static)) -> Self {
        Self {
            kind,
            cause: chain(cause),
            endpoint: None,
            remedy: None,
        }
    }

    pub(super) fn timeout(limit: Duration) -> Self {
        Self {
            kind: SendFaultKind::ResponseTimeout,
            cause: format!("no response head within {limit:?} of the request's last piece"),
            endpoint: None,
            remedy: None,
        }
    }

    /// A service of this upstream that does not take WebSockets over HTTP/2.
    pub(super) fn no_web_sockets(upstream: &str) -> Self {
        let cause = "the service takes no WebSockets over HTTP/2: it has not said SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)";
        let remedy = format!(
            "have the service of upstreams.{upstream} enable extended CONNECT (RFC 8441), or give the route an upstream with protocol = \"http/1.1\""
        );
        Self {
            remedy: Some(remedy),
            ..Self::plain(SendFaultKind::NoWebSockets, cause)
        }
    }

    /// An index that no endpoint has; it cannot come about.
    pub(super) fn unknown_endpoint() -> Self {
        Self::plain(SendFaultKind::ConnectRefused, "there is no such endpoint")
    }

    /// A fault with a cause of our own words.
    pub(super) fn plain(kind: SendFaultKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
            endpoint: None,
            remedy: None,
        }
    }

    /// Sorts what the system says to a connection attempt.
    pub(super) fn of_connect(error: &std::io::Error) -> Self {
        let kind = if is_exhausted(error) {
            SendFaultKind::Exhausted
        } else {
            SendFaultKind::ConnectRefused
        };
        Self::new(kind, error)
    }

    /// Sorts why a connection carried a message no further.
    pub(super) fn of_link(fault: &LinkFault) -> Self {
        let kind = if fault.is_of_upload() {
            SendFaultKind::Body
        } else if fault.is_malformed() {
            SendFaultKind::Malformed
        } else {
            SendFaultKind::Lost
        };
        Self::new(kind, fault)
    }

    pub(super) fn at(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }
}

impl fmt::Display for SendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// Whether the system lacks what a connection needs (errno(3)): ENFILE, EMFILE,
/// EADDRNOTAVAIL, ENOBUFS, ENOMEM.
fn is_exhausted(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 99 | 105 | 12))
}

/// An error and its sources, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat the source in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
