//! What the workers share of an upstream beside its plan: how much of it is in use.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gate::Gate;
use crate::config;

/// How much of an upstream is in use, by all workers together.
///
/// It outlives the plan: what a former plan has in use counts in the next one of
/// the same name as well, so that a reload does not double what a service gets.
#[derive(Debug)]
pub(super) struct InUse {
    /// One for each endpoint; `None`: it is not counted.
    gates: Vec<Option<Arc<Gate>>>,
    /// How many requests wait.
    queue: Arc<AtomicUsize>,
    /// How many bytes of messages are held.
    memory: Arc<AtomicUsize>,
}

impl InUse {
    /// That of a new plan. `former`: that of the upstream's former one. Gates of
    /// endpoints with the same number of places are the same.
    pub(super) fn new(
        config: &config::Upstream,
        former: Option<(&config::Upstream, &Self)>,
    ) -> Self {
        let places = config.delivery.capacity.per_endpoint;
        let same = former.filter(|(former, _)| former.delivery.capacity.per_endpoint == places);
        let known = |text: &str| {
            let (former, in_use) = same?;
            let index = former.endpoints.iter().position(|one| one.text == text)?;
            in_use.gate(index).cloned()
        };
        let gate = |endpoint: &config::Endpoint| {
            let places = places?.get();
            Some(known(&endpoint.text).unwrap_or_else(|| Gate::new(places)))
        };
        let counts = former.map(|(_, in_use)| (&in_use.queue, &in_use.memory));
        Self {
            gates: config.endpoints.iter().map(gate).collect(),
            queue: counts.map_or_else(Arc::default, |(queue, _)| Arc::clone(queue)),
            memory: counts.map_or_else(Arc::default, |(_, memory)| Arc::clone(memory)),
        }
    }

    /// The places at an endpoint; `None`: they are not counted.
    pub(super) fn gate(&self, endpoint: usize) -> Option<&Arc<Gate>> {
        self.gates.get(endpoint)?.as_ref()
    }

    /// A seat in the queue; `None`: as many as `most` wait.
    pub(super) fn queue(&self, most: NonZeroUsize) -> Option<Portion> {
        let mut seat = Portion::new(&self.queue, most);
        seat.grow(1).then_some(seat)
    }

    /// Memory of which at most `most` bytes are used; none yet.
    pub(super) fn memory(&self, most: NonZeroUsize) -> Portion {
        Portion::new(&self.memory, most)
    }
}

/// One's own portion of a number that has a bound; given back when it is dropped.
#[derive(Debug)]
pub struct Portion {
    total: Arc<AtomicUsize>,
    most: usize,
    own: usize,
    /// Of one connection, which has a bound of its own.
    connection: Option<(Rc<Cell<usize>>, usize)>,
}

impl Portion {
    fn new(total: &Arc<AtomicUsize>, most: NonZeroUsize) -> Self {
        Self {
            total: Arc::clone(total),
            most: most.get(),
            own: 0,
            connection: None,
        }
    }

    /// Counts in the number of a connection as well, of which there are at most
    /// `most`. To be said before it grows.
    #[must_use]
    pub fn of_connection(mut self, number: &Rc<Cell<usize>>, most: usize) -> Self {
        self.connection = Some((Rc::clone(number), most));
        self
    }

    /// Takes `more`; whether there was so much left.
    pub fn grow(&mut self, more: usize) -> bool {
        if let Some((number, most)) = &self.connection
            && number.get().saturating_add(more) > *most
        {
            return false;
        }
        let before = self.total.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.most {
            self.total.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.own = self.own.saturating_add(more);
        if let Some((number, _)) = &self.connection {
            number.set(number.get().saturating_add(more));
        }
        true
    }

    /// Gives back `less` of it.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.own);
        self.own -= less;
        self.total.fetch_sub(less, Ordering::Relaxed);
        if let Some((number, _)) = &self.connection {
            number.set(number.get().saturating_sub(less));
        }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.shrink(self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portion_of_a_connection_has_a_bound_of_its_own() {
        let (total, number) = (Arc::default(), Rc::default());
        let portion = || Portion::new(&total, NonZeroUsize::new(10).unwrap());
        let mut one = portion().of_connection(&number, 4);
        let mut other = portion().of_connection(&number, 4);
        assert!(one.grow(3) && !other.grow(2) && other.grow(1));
        assert!(portion().grow(6), "of another connection");
        drop(one);
        assert!(other.grow(3) && !other.grow(1));
        drop(other);
        assert_eq!((number.get(), total.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn portion_is_bounded_and_given_back() {
        let total = Arc::default();
        let most = NonZeroUsize::new(10).unwrap();
        let (mut one, mut other) = (Portion::new(&total, most), Portion::new(&total, most));
        assert!(one.grow(6) && other.grow(4));
        assert!(!one.grow(1), "all is taken");
        other.shrink(1);
        assert!(one.grow(1) && !one.grow(1));
        drop(one);
        assert!(other.grow(7) && !other.grow(1));
        drop(other);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
