//! The places of one listener: how many connections it has at one time, and how
//! many handshakes. The sockets of a listener share them, and so do all workers.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::crowd::{Crowd, Member, Place};
use crate::config::{CrowdLimits, Limits};
use crate::telemetry::Source;

/// The places of one listener.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    connections: Places,
    handshakes: Places,
    crowd: Crowd,
}

/// Of what there is as much as there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Full {
    /// Of connections: so many.
    Connections(usize),
    /// Of handshakes.
    Handshakes,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    // Given back first: whoever takes the permit finds the place free.
    source: Option<Place>,
    crowd: Crowd,
    _permit: OwnedSemaphorePermit,
}

/// The turn of one connection to make its handshake, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // As that of a slot.
    source: Option<Place>,
    _permit: OwnedSemaphorePermit,
}

/// Hears of it when there may be more, or fewer.
pub(super) struct Resized([watch::Receiver<usize>; 2]);

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: Places::new(limits.max_connections.get()),
            handshakes: Places::new(limits.crowd.handshakes.get()),
            crowd: Crowd::default(),
        }
    }

    /// The limits have changed. Where there are more by now, none is accepted
    /// until enough have ended. Must be called on a local runtime, and on one
    /// thread only.
    pub(super) fn resize(&self, limits: &Limits) {
        self.connections.resize(limits.max_connections.get());
        self.handshakes.resize(limits.crowd.handshakes.get());
    }

    /// Waits until there is a place for another connection. `full` is told when
    /// there is none.
    pub(super) async fn take(&self, full: &dyn Fn(Full)) -> Option<(Slot, Turn)> {
        if self.connections.are_taken() {
            full(Full::Connections(*self.connections.most.borrow()));
        }
        let slot = self.connections.take().await?;
        if self.handshakes.are_taken() {
            full(Full::Handshakes);
        }
        let turn = self.handshakes.take().await?;
        let slot = Slot {
            _permit: slot,
            source: None,
            crowd: self.crowd.clone(),
        };
        let turn = Turn {
            _permit: turn,
            source: None,
        };
        Some((slot, turn))
    }

    pub(super) fn resized(&self) -> Resized {
        let places = [&self.connections, &self.handshakes];
        Resized(places.map(|places| places.most.subscribe()))
    }
}

impl Slot {
    /// It is taken by a client of this source.
    ///
    /// # Errors
    ///
    /// The source has as many as it may have: the option that says so.
    pub(super) fn enter(
        &mut self,
        source: Source,
        limits: &CrowdLimits,
    ) -> Result<(), &'static str> {
        let most = limits.connections_per_source.get();
        let place = self.crowd.enter(Member::Connection(source), most);
        self.source = Some(place.ok_or("max_connections_per_source")?);
        Ok(())
    }

    /// A place for one of the connections of an identity. `None`: it has as many
    /// as it may have.
    pub(super) fn identified(&self, name: &str, limits: &CrowdLimits) -> Option<Place> {
        let most = limits.connections_per_identity.get();
        self.crowd.enter(Member::Identity(name.into()), most)
    }
}

impl Turn {
    /// It is that of a client of this source.
    ///
    /// # Errors
    ///
    /// As [`Slot::enter`].
    pub(super) fn enter(
        &mut self,
        slot: &Slot,
        source: Source,
        limits: &CrowdLimits,
    ) -> Result<(), &'static str> {
        let most = limits.handshakes_per_source.get();
        let place = slot.crowd.enter(Member::Handshake(source), most);
        self.source = Some(place.ok_or("max_handshakes_per_source")?);
        Ok(())
    }
}

impl Resized {
    pub(super) async fn heard(&mut self) {
        let Self([connections, handshakes]) = self;
        tokio::select! {
            Ok(()) = connections.changed() => {}
            Ok(()) = handshakes.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// So many places.
#[derive(Clone, Debug)]
struct Places {
    free: Arc<Semaphore>,
    most: Arc<watch::Sender<usize>>,
}

impl Places {
    fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most: Arc::new(watch::Sender::new(most)),
        }
    }

    fn resize(&self, most: usize) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let former = *self.most.borrow();
        if most >= former {
            self.free.add_permits(most.saturating_sub(former));
        } else {
            let fewer = u32::try_from(former.saturating_sub(most)).unwrap_or(u32::MAX);
            let mut taking = Box::pin(Arc::clone(&self.free).acquire_many_owned(fewer));
            // It stands in line before the accept loop hears of it, and gives
            // the place back that it holds for the next connection.
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

    fn are_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// It is never closed.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// The limit is lower for good by what was taken.
fn forget(taken: Option<OwnedSemaphorePermit>) {
    if let Some(taken) = taken {
        taken.forget();
    }
}
