//! The accept loop.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::bind::Socket;
use super::deal::{Arrival, ArrivedSocket, Dealer};
use super::sockets::{NewSocket, SocketId};
use super::worker::Worker;
use crate::telemetry::{SocketFile, Sparing, events, unreserved};

/// How often an accept loop that holds back for want of memory looks again.
const MEMORY_PAUSE: Duration = Duration::from_millis(250);

/// The connections that one listener may have at one time.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    most: Arc<watch::Sender<usize>>,
}

impl Slots {
    /// `most`: `limits.max_connections`.
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most: Arc::new(watch::Sender::new(most)),
        }
    }

    /// `limits.max_connections` has changed. Where there are more connections
    /// by now, none is accepted until enough have ended. Must be called on a
    /// local runtime, and on one thread only.
    pub(super) fn resize(&self, most: usize) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let former = *self.most.borrow();
        if most >= former {
            self.free.add_permits(most.saturating_sub(former));
        } else {
            let fewer = u32::try_from(former.saturating_sub(most)).unwrap_or(u32::MAX);
            let mut taking = Box::pin(Arc::clone(&self.free).acquire_many_owned(fewer));
            // It stands in line before the accept loop hears of it, and gives
            // the slot back that it holds for the next connection.
            let at_once = taking
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            match at_once {
                Poll::Ready(taken) => forget(taken.ok()),
                Poll::Pending => {
                    tokio::task::spawn_local(async move { forget(taking.await.ok()) });
                }
            }
        }
        self.most.send_replace(most);
    }

    async fn take(
        &self,
        listener: &dyn Fn() -> String,
        full: &mut Sparing,
    ) -> Option<OwnedSemaphorePermit> {
        if self.free.available_permits() == 0
            && let Some(left_out) = full.may_say()
        {
            tracing::warn!(
                event = events::LISTENER_FULL,
                listener = listener(),
                max_connections = *self.most.borrow(),
                left_out,
                "as many connections are open as limits.max_connections allows; others wait in the kernel"
            );
        }
        // It is never closed.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// The limit is lower for good by what was taken.
fn forget(taken: Option<OwnedSemaphorePermit>) {
    if let Some(taken) = taken {
        taken.forget();
    }
}

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
    let (mut full, mut refused) = (Sparing::default(), Sparing::default());
    let name = || listener_name(&worker, id);
    let mut most = slots.most.subscribe();
    while let Some(slot) = slots.take(&name, &mut full).await {
        while is_short_of_memory(&worker) {
            tokio::time::sleep(MEMORY_PAUSE).await;
        }
        let next = tokio::select! {
            biased;
            // The slot may be one too many now.
            Ok(()) = most.changed() => continue,
            next = socket.next() => next,
        };
        match next {
            Ok((stream, address)) => {
                failures = 0;
                dealer.deal(|load| Arrival {
                    stream,
                    address,
                    socket: id,
                    slot,
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
                        listener = name(),
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
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the file when dropped")] SocketFile,
    ),
}

impl Listening {
    /// Puts a bound socket on the runtime that this is called on.
    pub(super) fn on_runtime(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket, file) => Self::Unix(UnixListener::from_std(socket)?, file),
        })
    }

    /// The next connection, free of this worker's runtime: another worker may
    /// be the one to serve it.
    async fn next(&self) -> io::Result<(ArrivedSocket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listening) => {
                let (socket, address) = poll_fn(|cx| listening.poll_accept(cx)).await?;
                let socket = unreserved(socket)?.into_std()?;
                Ok((ArrivedSocket::Tcp(socket), Some(address)))
            }
            Self::Unix(listening, _) => {
                let (socket, _) = poll_fn(|cx| listening.poll_accept(cx)).await?;
                let socket = unreserved(socket)?.into_std()?;
                Ok((ArrivedSocket::Unix(socket), None))
            }
        }
    }
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
