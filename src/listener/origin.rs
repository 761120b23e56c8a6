//! Where a connection comes from: the other end of its socket, or whom that
//! announces in a header of the PROXY protocol.
//!
//! A listed sender must announce: with a header that may be left out, whoever
//! gets past the sender could write one. Of others none is read.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::establish::has_begun;
use super::refusal::Post;
use super::sockets::SocketId;
use super::worker::{Current, Worker};
use crate::config::{Listener, ListenerId};
use crate::identity::proxy_header::{self, Announced, Step};
use crate::proxy::Source;
use crate::tls::{Refusal, RefusedHandshake, Socket};

/// Where a connection came from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) socket: SocketId,
    pub(super) source: Source,
}

impl Origin {
    pub(super) fn new(id: SocketId, address: Option<SocketAddr>, socket: &Socket) -> Self {
        let local = match socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        Self {
            socket: id,
            source: Source::from(address).to(local),
        }
    }

    /// The same, once its sender has announced whose connection it is, where it
    /// must. `None`: it has not, and is refused; or the drain began before.
    pub(super) async fn announced(
        self,
        (worker, arrived): (&Worker, &Current),
        (id, listener): (ListenerId, &Listener),
        socket: &mut Socket,
    ) -> Option<Self> {
        let address = self.source.address().map(|address| address.ip());
        if !listener.announcers.list(address) {
            return Some(self);
        }
        let timeout = listener.limits.handshake_timeout;
        let deadline = Instant::now() + timeout;
        if !has_begun(worker, socket, deadline).await {
            return None;
        }
        let read = tokio::time::timeout_at(deadline, read_off(socket)).await;
        let announced = read.unwrap_or_else(|_| {
            let cause = format!("no whole header of the PROXY protocol within {timeout:?}");
            Err((Refusal::Timeout, cause))
        });
        match announced {
            Ok(announced) => Some(Self {
                source: match announced {
                    Announced::Own => self.source,
                    Announced::Unknown => self.source.announces(None),
                    Announced::Ends {
                        source,
                        destination,
                    } => self.source.announces(Some((source, destination))),
                },
                ..self
            }),
            Err(why) => {
                self.refuse(arrived, (id, listener), why);
                // So that what it sends does not turn the close into a reset.
                socket.discard_received();
                None
            }
        }
    }

    /// Counts and tells that a connection is refused for its header, or for
    /// what stands in its place.
    pub(super) fn refuse(
        self,
        current: &Current,
        listener: (ListenerId, &Listener),
        (reason, cause): (Refusal, String),
    ) {
        let post = Post {
            current,
            listener,
            source: self.source,
        };
        post.refused(&RefusedHandshake {
            reason,
            cause,
            server_name: None,
            evidence: Box::default(),
            socket: None,
        });
    }

    /// Sees that a sender that is not listed does not begin with a header.
    /// False: it does, and is refused.
    pub(super) fn writes_none(
        self,
        current: &Current,
        listener: (ListenerId, &Listener),
        first: &[u8],
    ) -> bool {
        let begins_one = proxy_header::begins_one(first);
        if begins_one {
            let cause = "a header of the PROXY protocol, from a sender that is not listed in proxy_protocol_from";
            self.refuse(
                current,
                listener,
                (Refusal::ProxyProtocol, cause.to_owned()),
            );
        }
        !begins_one
    }
}

/// Reads a header, and not a byte of what follows it.
async fn read_off(socket: &mut Socket) -> Result<Announced, (Refusal, String)> {
    let mut header = Vec::new();
    loop {
        let more = match proxy_header::read(&header) {
            Ok(Step::Whole(announced)) => return Ok(announced),
            Ok(Step::More(more)) => more,
            Err(why) => {
                let cause = format!(
                    "the sender is listed in proxy_protocol_from, and its header of the PROXY protocol cannot be taken: {why}"
                );
                return Err((Refusal::ProxyProtocol, cause));
            }
        };
        let mut bounded = AsyncReadExt::take(&mut *socket, more as u64);
        match bounded.read_buf(&mut header).await {
            Ok(1..) => {}
            Ok(0) => return Err(gone(&header, "it closed")),
            Err(cause) => return Err(gone(&header, &cause.to_string())),
        }
    }
}

/// The sender has gone. Without a byte, as health checks and scanners do.
fn gone(header: &[u8], how: &str) -> (Refusal, String) {
    if header.is_empty() {
        return (Refusal::Probe, format!("no byte came: {how}"));
    }
    let cause = format!("no whole header of the PROXY protocol came: {how}");
    (Refusal::ClientGone, cause)
}
