//! The connections of one pool that rest, and how many they are.
//!
//! An HTTP/1.1 connection rests while it lies in the pool. One of HTTP/2 always
//! does, and rests while no request is under way on it.

use std::cell::{Cell, Ref, RefCell};
use std::rc::{Rc, Weak};

use super::UploadBody;
use super::h1::H1;
use crate::telemetry::metrics::Resting;

/// HTTP/1.1 connections that rest.
#[derive(Debug)]
pub(super) struct Idle<B: UploadBody> {
    /// The one that was used last stands last.
    all: RefCell<Vec<H1<B>>>,
    tally: Rc<Tally>,
}

/// How many connections of one pool rest.
#[derive(Debug)]
pub(super) struct Tally {
    now: Cell<usize>,
    told: Resting,
}

/// The requests on one HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Streams {
    under_way: Cell<usize>,
    /// Whether the pool has it still.
    is_kept: Cell<bool>,
    tally: Rc<Tally>,
}

/// A request on an HTTP/2 connection, until it is dropped.
#[derive(Debug)]
pub(super) struct OnStream(Rc<Streams>);

/// Whoever knows an HTTP/2 connection to be alive and for others to use; once one
/// of them is gone, it does not rest any more, whoever still uses it.
#[derive(Debug)]
pub(super) struct Kept(Rc<Streams>);

impl<B: UploadBody> Idle<B> {
    /// None.
    pub(super) fn new(tally: &Rc<Tally>) -> Self {
        Self {
            all: RefCell::default(),
            tally: Rc::clone(tally),
        }
    }

    /// Those that there are.
    pub(super) fn all(&self) -> Ref<'_, Vec<H1<B>>> {
        self.all.borrow()
    }

    /// Puts some there, or takes some away.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Vec<H1<B>>) -> R) -> R {
        let mut all = self.all.borrow_mut();
        let before = all.len();
        let result = change(&mut all);
        self.tally.change(before, all.len());
        result
    }
}

impl Tally {
    /// None.
    pub(super) fn new(told: Resting) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(0),
            told,
        })
    }

    fn change(&self, before: usize, after: usize) {
        let now = self.now.get().saturating_add(after).saturating_sub(before);
        self.now.set(now);
        self.told.set(now);
    }
}

impl Streams {
    /// Those of a new connection, for the pool and for whoever drives it; and the
    /// first request on it.
    pub(super) fn begin(tally: &Rc<Tally>) -> ([Kept; 2], OnStream) {
        let streams = Rc::new(Self {
            under_way: Cell::new(1),
            is_kept: Cell::new(true),
            tally: Rc::clone(tally),
        });
        let kept = [Rc::clone(&streams), Rc::clone(&streams)].map(Kept);
        (kept, OnStream(streams))
    }

    fn rests(&self) -> bool {
        self.is_kept.get() && self.under_way.get() == 0
    }

    /// Something happens that may send it to rest, or wake it.
    fn change(&self, change: impl FnOnce(&Self)) {
        let before = self.rests();
        change(self);
        self.tally.change(before.into(), self.rests().into());
    }
}

impl Kept {
    /// One more request on it.
    pub(super) fn enter(&self) -> OnStream {
        let more = |streams: &Streams| streams.under_way.set(streams.under_way.get() + 1);
        self.0.change(more);
        OnStream(Rc::clone(&self.0))
    }

    /// Whether no request is under way on it.
    pub(super) fn is_unused(&self) -> bool {
        self.0.under_way.get() == 0
    }
}

impl OnStream {
    /// Which connection it is on, for [`OnStream::is_on`].
    pub(super) fn connection(&self) -> Weak<Streams> {
        Rc::downgrade(&self.0)
    }

    /// Whether it is on this one.
    pub(super) fn is_on(&self, connection: &Weak<Streams>) -> bool {
        Weak::as_ptr(connection) == Rc::as_ptr(&self.0)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.change(|streams| streams.is_kept.set(false));
    }
}

impl Drop for OnStream {
    fn drop(&mut self) {
        let less = |streams: &Streams| {
            let left = streams.under_way.get().saturating_sub(1);
            streams.under_way.set(left);
        };
        self.0.change(less);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::metrics::UpstreamMetrics;

    fn tally() -> Rc<Tally> {
        Tally::new(Arc::<UpstreamMetrics>::default().pool())
    }

    #[test]
    fn connection_rests_between_its_requests() {
        let tally = tally();
        let ([pool, _driver], first) = Streams::begin(&tally);
        assert_eq!((tally.now.get(), pool.is_unused()), (0, false));
        let second = pool.enter();
        drop(first);
        assert_eq!(tally.now.get(), 0);
        drop(second);
        assert_eq!((tally.now.get(), pool.is_unused()), (1, true));
        let _third = pool.enter();
        assert_eq!(tally.now.get(), 0);
    }

    #[test]
    fn connection_that_has_ended_or_left_the_pool_does_not_rest() {
        for which in [0, 1] {
            let tally = tally();
            let (kept, first) = Streams::begin(&tally);
            drop(first);
            assert_eq!(tally.now.get(), 1);
            let mut kept: Vec<_> = kept.into();
            drop(kept.remove(which));
            assert_eq!(tally.now.get(), 0);
            drop(kept);
            assert_eq!(tally.now.get(), 0);
        }
        let tally = tally();
        let (kept, first) = Streams::begin(&tally);
        drop(kept);
        drop(first);
        assert_eq!(tally.now.get(), 0);
    }

    #[test]
    fn request_knows_its_connection_from_another() {
        let tally = tally();
        let ([one, _], first) = Streams::begin(&tally);
        let (_other, second) = Streams::begin(&tally);
        assert!(one.enter().is_on(&first.connection()));
        assert!(!first.is_on(&second.connection()));
    }
}
