//! The accept loop.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::bind::Socket;
use super::deal::{Arrival, ArrivedSocket, Dealer};
use super::slots::{Full, Slot, Slots, Turn};
use super::sockets::{NewSocket, SocketId};
use super::strike::Strike;
use super::worker::{Current, Worker};
use crate::config::{Listener, ListenerId};
use crate::telemetry::{SocketFile, Source, Sparing, events, unreserved};

/// How often an accept loop that holds back for want of memory looks again.
const MEMORY_PAUSE: Duration = Duration::from_millis(250);

/// Accepts on `socket` for as long as it is polled, and deals out what comes.
///
/// # Errors
///
/// The runtime cannot watch the socket.
pub(super) fn accept(
    worker: &Rc<Worker>,
    socket: NewSocket,
    dealer: Dealer,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let NewSocket { id, socket, slots } = socket;
    let listening = Listening::on_runtime(socket)?;
    Ok(accept_all(
        Rc::clone(worker),
        (id, listening),
        slots,
        dealer,
    ))
}

async fn accept_all(
    worker: Rc<Worker>,
    (id, socket): (SocketId, Listening),
    slots: Slots,
    mut dealer: Dealer,
) {
    let mut failures = 0u32;
    let mut refused = Sparing::default();
    let full = Cell::new(Sparing::default());
    let say = |full_of: Full| say_full(&worker, id, &full, full_of);
    let mut resized = slots.resized();
    while let Some((mut slot, mut turn)) = slots.take(&say).await {
        while is_short_of_memory(&worker) {
            tokio::time::sleep(MEMORY_PAUSE).await;
        }
        let next = tokio::select! {
            biased;
            // The slot, or the turn, may be one too many now.
            () = resized.heard() => continue,
            next = socket.next() => next,
        };
        match next {
            Ok((stream, address)) => {
                failures = 0;
                if !is_welcome(&worker, id, address, (&mut slot, &mut turn)) {
                    continue;
                }
                dealer.deal(|load| Arrival {
                    stream,
                    address,
                    socket: id,
                    slot,
                    turn,
                    load,
                });
            }
            Err(cause) if is_about_one_connection(&cause) => {}
            Err(cause) => {
                failures = failures.saturating_add(1);
                let pause = accept_pause(NonZeroU32::new(failures).unwrap_or(NonZeroU32::MIN));
                if let Some(left_out) = refused.may_say() {
                    tracing::error!(
                        event = events::ACCEPT_FAILED,
                        listener = listener_name(&worker, id),
                        cause = %cause,
                        left_out,
                        "connections cannot be accepted; trying again (is LimitNOFILE or ulimit -n too low?)"
                    );
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Whether the source of a connection may have another. Of a sender that announces
/// whose connections they are, it is known only later.
fn is_welcome(
    worker: &Worker,
    socket: SocketId,
    address: Option<SocketAddr>,
    places: (&mut Slot, &mut Turn),
) -> bool {
    let current = worker.current();
    let Some(id) = current.listener_of(socket) else {
        return true;
    };
    let Some(listener) = current.site().config().listener(id) else {
        return true;
    };
    if listener
        .announcers
        .list(address.map(|address| address.ip()))
    {
        return true;
    }
    let entered = enter(listener, address, places);
    entered
        .inspect_err(|limit| tell(&current, id, address, limit))
        .is_ok()
}

/// Sees that a client's source has no more than its part, and counts it with it.
///
/// # Errors
///
/// It has; the option that says so.
pub(super) fn enter(
    listener: &Listener,
    address: Option<SocketAddr>,
    (slot, turn): (&mut Slot, &mut Turn),
) -> Result<(), &'static str> {
    let Some(address) = address else {
        return Ok(());
    };
    let (source, limits) = (Source::of(Some(address.ip())), &listener.limits.crowd);
    slot.enter(source, limits)?;
    if listener.tls.is_some() {
        turn.enter(slot, source, limits)?;
    }
    Ok(())
}

/// A connection is closed since its source has its part already.
pub(super) fn tell(
    current: &Current,
    id: ListenerId,
    client: Option<SocketAddr>,
    limit: &'static str,
) {
    Strike {
        limit,
        client,
        peer: None,
        cause: "its source has as many connections, or handshakes under way, as this limit gives to one; the connection was closed before its handshake",
        remedy: "find out who that is; raise the limit where many clients share an address",
    }
    .tell(current.site(), id);
}

/// Nothing is accepted until a place is free.
fn say_full(worker: &Worker, socket: SocketId, said: &Cell<Sparing>, full: Full) {
    match full {
        Full::Connections(most) => {
            let mut sparing = said.take();
            if let Some(left_out) = sparing.may_say() {
                tracing::warn!(
                    event = events::LISTENER_FULL,
                    listener = listener_name(worker, socket),
                    max_connections = most,
                    left_out,
                    "as many connections are open as limits.max_connections allows; others wait in the kernel"
                );
            }
            said.set(sparing);
        }
        Full::Handshakes => {
            let current = worker.current();
            if let Some(id) = current.listener_of(socket) {
                Strike {
                    limit: "max_handshakes",
                    client: None,
                    peer: None,
                    cause: "as many handshakes are under way as may be; further connections wait in the kernel",
                    remedy: "raise it if the processor has time to spare; see handshake.refused for those that do not get on",
                }
                .tell(current.site(), id);
            }
        }
    }
}

/// Whether connections are to wait in the kernel for want of memory.
fn is_short_of_memory(worker: &Worker) -> bool {
    let current = worker.current();
    current.site().metrics().memory().is_short()
}

/// What the listener is called now.
fn listener_name(worker: &Worker, socket: SocketId) -> String {
    let current = worker.current();
    let listener = current.listener_of(socket);
    let listener = listener.and_then(|id| current.site().config().listener(id));
    listener.map_or_else(String::new, |listener| listener.name.clone())
}

/// A listening socket that is asked by polling.
///
/// The runtime's own would register each connection with this worker, which is not
/// the one to serve it.
pub(super) enum Listening {
    Tcp(AsyncFd<TcpListener>),
    Unix(
        AsyncFd<UnixListener>,
        #[expect(dead_code, reason = "removes the file when dropped")] Option<SocketFile>,
    ),
}

impl Listening {
    /// Puts a bound socket on the runtime that this is called on.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types whose descriptor may change; those of the standard library keep theirs"
    )]
    pub(super) fn on_runtime(socket: Socket) -> io::Result<Self> {
        const COMES: Interest = Interest::READABLE;
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(AsyncFd::with_interest(socket, COMES)?),
            Socket::Unix(socket, file) => Self::Unix(AsyncFd::with_interest(socket, COMES)?, file),
        })
    }

    /// The next connection, free of this worker's runtime: another worker may
    /// be the one to serve it.
    async fn next(&self) -> io::Result<(ArrivedSocket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listening) => {
                let (socket, address) = next_of(listening).await?;
                let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                // Nobody is served of whom it is not known where they come from.
                let address = address.ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok((ArrivedSocket::Tcp(socket.into()), Some(address)))
            }
            Self::Unix(listening, _) => {
                let (socket, _) = next_of(listening).await?;
                Ok((ArrivedSocket::Unix(socket.into()), None))
            }
        }
    }
}

/// The next connection, which does not block.
async fn next_of<T: AsFd + AsRawFd>(
    listening: &AsyncFd<T>,
) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
    let accept = |socket: &T| acceptfrom_with(socket, FLAGS).map_err(io::Error::from);
    let (socket, address) = listening.async_io(Interest::READABLE, accept).await?;
    Ok((unreserved(socket)?, address))
}

/// Whether the failure is that of one connection, which has gone meanwhile, and
/// says nothing of the next (accept(2)).
fn is_about_one_connection(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Returns how long the accept loop waits before it tries again.
///
/// `failures` is the number of failed accepts in a row, counted from 1. The
/// pause starts at 5 ms and doubles to at most 1 s, so a full descriptor table
/// (`EMFILE`), where `accept` fails at once, does not become a busy loop. A
/// successful accept resets the count.
///
/// The bounds are those of Go's `net/http.Server.Serve`.
fn accept_pause(failures: NonZeroU32) -> Duration {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    let doublings = failures.get().saturating_sub(1);
    1u32.checked_shl(doublings)
        .map_or(LONGEST, |factor| FIRST.saturating_mul(factor).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_five_milliseconds_to_one_second() {
        let pause = |failures| accept_pause(NonZeroU32::new(failures).unwrap()).as_millis();
        assert_eq!(
            [1, 2, 3, 8, 9, 40, u32::MAX].map(pause),
            [5, 10, 20, 640, 1000, 1000, 1000]
        );
    }
}
