//! How much an endpoint is given at one time, by all workers together.
//!
//! # Rules
//!
//! * A place is taken before a connection is opened (over HTTP/2: before a
//!   request is sent) and is free again when the connection is closed (when the
//!   request has ended). It is held by a value: nothing that is given up, cut or
//!   dropped keeps its place.
//! * Places are given in the order in which they were asked for, whatever worker
//!   asks.
//! * Whoever waits is counted, so that workers know when to let go of
//!   connections that rest.
//!
//! Workers share nothing else on the path of a request. They have to here: what
//! a service can take does not depend on how many workers there are. Where
//! nobody waits, it costs one exchange of a counter for each connection, and one
//! look at a counter when it comes to rest.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::prelude::Prelude;
use crate::telemetry::metrics::Present;
use crate::tls::Stream;

/// The places at one endpoint.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    /// How many wait for one.
    waiting: AtomicUsize,
    /// Rung when one more waits.
    bell: Notify,
}

/// One place, taken until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Counts one who waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(places: u32) -> Arc<Self> {
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            bell: Notify::new(),
        })
    }

    /// A place, if one is free and nobody waits for it.
    pub(super) fn try_enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// A place, as soon as it is one's turn.
    pub(super) async fn enter(&self) -> Place {
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(permit) => Place { _permit: permit },
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Says that somebody waits, to all who could let go of something.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.bell.notify_waiters();
        Waiting(self)
    }

    /// How many wait, on all workers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Resolves when one more waits, from the time of this call on.
    pub(super) fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection with the place that it takes for as long as it is open.
#[derive(Debug)]
pub(super) struct Placed {
    // Closed first.
    stream: Stream,
    prelude: Prelude,
    _place: Option<Place>,
    _present: Option<Present>,
}

impl Placed {
    pub(super) fn new(stream: Stream, place: Option<Place>) -> Self {
        Self {
            stream,
            prelude: Prelude::default(),
            _place: place,
            _present: None,
        }
    }

    /// The same, counted for as long as it is open.
    pub(super) fn counted(self, present: Present) -> Self {
        Self {
            _present: Some(present),
            ..self
        }
    }

    /// What may come on it before the head of a response.
    pub(super) fn prelude(&self) -> Prelude {
        self.prelude.clone()
    }

    /// Where it leads; `None`: to a unix socket.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_address()
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let came = buf.filled().len().saturating_sub(before);
        Poll::Ready(self.prelude.came(came))
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_given_in_the_order_in_which_they_are_asked_for() {
        let gate = Gate::new(1);
        let held = gate.try_enter().unwrap();
        let (mut first, mut second) = (Box::pin(gate.enter()), Box::pin(gate.enter()));
        assert!(futures_now(&mut first).await.is_none());
        assert!(futures_now(&mut second).await.is_none());
        drop(held);
        // Nobody comes before those who wait.
        assert!(gate.try_enter().is_none());
        assert!(futures_now(&mut second).await.is_none());
        drop(futures_now(&mut first).await.unwrap());
        assert!(futures_now(&mut second).await.is_some());
    }

    #[tokio::test]
    async fn place_of_one_who_gives_up_waiting_goes_to_the_next() {
        let gate = Gate::new(1);
        let held = gate.try_enter().unwrap();
        let (mut first, mut second) = (Box::pin(gate.enter()), Box::pin(gate.enter()));
        assert!(futures_now(&mut first).await.is_none());
        assert!(futures_now(&mut second).await.is_none());
        // It has been given the place already, and does not take it.
        drop(held);
        drop(first);
        assert!(futures_now(&mut second).await.is_some());
    }

    #[test]
    fn those_who_wait_are_counted_as_long_as_they_do() {
        let gate = Gate::new(1);
        let (one, other) = (gate.wait(), gate.wait());
        assert_eq!(gate.waiting(), 2);
        drop(one);
        assert_eq!(gate.waiting(), 1);
        drop(other);
        assert_eq!(gate.waiting(), 0);
    }

    /// What a future has come to by now.
    async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
