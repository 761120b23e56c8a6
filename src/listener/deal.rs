//! Deals accepted connections out to workers.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::ListenerId;

/// An accepted connection on its way to its worker.
#[derive(Debug)]
pub struct Arrival {
    pub(super) socket: ArrivedSocket,
    pub(super) address: Option<SocketAddr>,
    pub(super) listener: ListenerId,
    /// Its slot among the listener's connections.
    pub(super) slot: OwnedSemaphorePermit,
    /// Counts it with its worker.
    pub(super) load: Load,
}

/// The socket of an accepted connection; it does not block.
#[derive(Debug)]
pub(super) enum ArrivedSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The way to one worker, and how many connections it has.
#[derive(Clone, Debug)]
pub struct Lane {
    inbox: UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
}

/// Counts one connection with its worker until it is dropped.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

/// Deals connections out so that workers stay level.
#[derive(Debug)]
pub struct Dealer {
    lanes: Vec<Lane>,
    turn: usize,
}

impl Lane {
    /// A lane that ends in `inbox`. What waits in it is bounded by the
    /// listeners' slots, so the channel itself needs no bound.
    pub fn new(inbox: UnboundedSender<Arrival>) -> Self {
        Self {
            inbox,
            open: Arc::default(),
        }
    }

    /// The number of connections on it, for its worker.
    pub fn open(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }
}

impl Load {
    fn on(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dealer {
    /// Deals out to these workers, beginning with number `turn`.
    pub fn new(lanes: Vec<Lane>, turn: usize) -> Self {
        Self { lanes, turn }
    }

    /// Sends a connection to the worker with the fewest; among equals, in turn.
    pub(super) fn deal(&mut self, make: impl FnOnce(Load) -> Arrival) {
        let count = self.lanes.len().max(1);
        let turn = self.turn;
        self.turn = (turn + 1) % count;
        let lane = self
            .lanes
            .iter()
            .enumerate()
            .min_by_key(|(index, lane)| {
                (
                    lane.open.load(Ordering::Relaxed),
                    (index + count - turn % count) % count,
                )
            })
            .map(|(_, lane)| lane);
        if let Some(lane) = lane
            && lane.inbox.send(make(Load::on(&lane.open))).is_err()
        {
            // The worker is gone, which it is only when the process ends.
            tracing::debug!("a connection came after its worker had ended");
        }
    }
}
