//! Which endpoint takes the next request.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

use super::UploadBody;
use super::endpoint::Endpoint;

/// Chooses the endpoint with the fewest requests under way; among equals, in turn.
#[derive(Debug, Default)]
pub(super) struct Balance {
    turn: Cell<usize>,
}

impl Balance {
    /// The endpoint for the next request; `tried` are those that this very
    /// request has already found refusing.
    ///
    /// Ejected endpoints are passed over as long as there is another; when all
    /// are, they are tried all the same, since an answer that may come beats
    /// an error that surely does.
    pub(super) fn choose<'a, B: UploadBody>(
        &self,
        endpoints: &'a [Rc<Endpoint<B>>],
        tried: &[usize],
        now: Instant,
    ) -> Option<&'a Rc<Endpoint<B>>> {
        if let [only] = endpoints {
            return tried.is_empty().then_some(only);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let untried = || {
            endpoints
                .iter()
                .filter(|endpoint| !tried.contains(&endpoint.index))
        };
        let rank = |endpoint: &&Rc<Endpoint<B>>| {
            let distance = endpoint.index.wrapping_sub(turn) % endpoints.len().max(1);
            (endpoint.in_flight(), distance)
        };
        untried()
            .filter(|endpoint| !endpoint.is_ejected(now))
            .min_by_key(rank)
            .or_else(|| untried().min_by_key(rank))
    }
}
