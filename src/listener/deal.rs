//! Deals accepted connections out to workers.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::slots::{Slot, Turn};
use super::sockets::SocketId;

/// An accepted connection on its way to its worker.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: ArrivedSocket,
    pub(super) address: Option<SocketAddr>,
    /// The socket that it came over.
    pub(super) socket: SocketId,
    /// Its slot among the listener's connections.
    pub(super) slot: Slot,
    /// Its turn to make a handshake.
    pub(super) turn: Turn,
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
pub(super) struct Lane {
    inbox: UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
}

/// Counts one connection with its worker until it is dropped.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

/// Deals connections out so that workers stay level.
#[derive(Debug)]
pub(super) struct Dealer {
    lanes: Vec<Lane>,
    turn: usize,
}

impl Lane {
    /// A lane that ends in `inbox`. What waits in it is bounded by the
    /// listeners' slots, so the channel itself needs no bound.
    pub(super) fn new(inbox: UnboundedSender<Arrival>) -> Self {
        Self {
            inbox,
            open: Arc::default(),
        }
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
    pub(super) fn new(lanes: Vec<Lane>, turn: usize) -> Self {
        Self { lanes, turn }
    }

    /// Sends a connection to the worker with the fewest; among equals, in turn.
    /// A worker that has ended is left out from then on.
    pub(super) fn deal(&mut self, make: impl FnOnce(Load) -> Arrival) {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        let Some((mut index, mut lane)) = self.emptiest(turn) else {
            return;
        };
        let mut arrival = make(Load::on(&lane.open));
        while let Err(returned) = lane.inbox.send(arrival) {
            self.lanes.remove(index);
            let Some(next) = self.emptiest(turn) else {
                tracing::debug!("a connection came after every worker had ended");
                return;
            };
            (index, lane) = next;
            arrival = returned.0;
            arrival.load = Load::on(&lane.open);
        }
    }

    fn emptiest(&self, turn: usize) -> Option<(usize, Lane)> {
        let count = self.lanes.len().max(1);
        self.lanes
            .iter()
            .enumerate()
            .min_by_key(|(index, lane)| {
                (
                    lane.open.load(Ordering::Relaxed),
                    (index + count - turn % count) % count,
                )
            })
            .map(|(index, lane)| (index, lane.clone()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::slots::Slots;
    use super::*;
    use crate::config::Limits;

    async fn deal_one(dealer: &mut Dealer) {
        let (socket, _) = UnixStream::pair().unwrap();
        let slots = Slots::new(&Limits::defaults());
        let (slot, turn) = slots.take(&|_| {}).await.unwrap();
        dealer.deal(|load| Arrival {
            stream: ArrivedSocket::Unix(socket),
            address: None,
            socket: SocketId::default(),
            slot,
            turn,
            load,
        });
    }

    #[tokio::test]
    async fn connections_go_to_the_worker_with_the_fewest_and_in_turn() {
        let (first, mut to_first) = unbounded_channel();
        let (second, mut to_second) = unbounded_channel();
        let mut dealer = Dealer::new(vec![Lane::new(first), Lane::new(second)], 0);
        for _ in 0..4 {
            deal_one(&mut dealer).await;
        }
        assert_eq!((to_first.len(), to_second.len()), (2, 2));
        drop((to_second.try_recv(), to_second.try_recv()));
        deal_one(&mut dealer).await;
        deal_one(&mut dealer).await;
        assert_eq!((to_first.len(), to_second.len()), (2, 2));
        drop(to_first.try_recv());
    }

    #[tokio::test]
    async fn dead_worker_gets_no_connection() {
        let (dead, inbox) = unbounded_channel();
        let (alive, mut to_alive) = unbounded_channel();
        let dead = Lane::new(dead);
        let load_of_the_dead = Arc::clone(&dead.open);
        let mut dealer = Dealer::new(vec![dead, Lane::new(alive)], 0);
        drop(inbox);
        for _ in 0..3 {
            deal_one(&mut dealer).await;
        }
        assert_eq!(to_alive.len(), 3);
        let arrival = to_alive.try_recv().unwrap();
        assert_eq!(arrival.load.0.load(Ordering::Relaxed), 3);
        assert_eq!(load_of_the_dead.load(Ordering::Relaxed), 0);
    }
}
