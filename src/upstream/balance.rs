//! Which endpoint takes the next request.
//!
//! # Rules
//!
//! * Endpoints that are well and not left alone come first, then those that are
//!   left alone, then those that probes find unwell. When there is no better one
//!   such an endpoint is tried all the same, since an answer that may come beats
//!   an error that surely does.
//! * A hash gives each caller the endpoint that ranks highest for it (rendezvous
//!   hashing): when one leaves, only its own callers move, and every worker and
//!   every start of the process agree.
//! * An endpoint that came back gets a part of its share that grows for as long
//!   as `slow_start`: it takes its turn in a weighted round, and what is left is
//!   spread over the others as usual.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::UploadBody;
use super::endpoint::Endpoint;
use super::plan::Plan;
use crate::config::Balance as Method;

/// Chooses endpoints, for one worker.
#[derive(Debug)]
pub(super) struct Balance {
    method: Method,
    slow_start: Option<Duration>,
    /// The one that was chosen last.
    last: Cell<usize>,
    /// One for each endpoint.
    seats: Box<[Seat]>,
}

/// What the choice knows of one endpoint.
#[derive(Debug)]
struct Seat {
    hash: u64,
    /// What it is due in the weighted round.
    credit: Cell<i64>,
}

impl Balance {
    pub(super) fn new(plan: &Plan) -> Self {
        let seats = plan.endpoints().iter().map(|endpoint| Seat {
            hash: affinity(endpoint.text.as_bytes()),
            credit: Cell::new(0),
        });
        Self {
            method: plan.balance(),
            slow_start: plan.slow_start(),
            last: Cell::new(plan.endpoints().len().saturating_sub(1)),
            seats: seats.collect(),
        }
    }

    /// The endpoint for the next request of whoever has this `affinity`; `tried`
    /// are those that this very request has already found refusing.
    pub(super) fn choose<'a, B: UploadBody>(
        &self,
        endpoints: &'a [Rc<Endpoint<B>>],
        tried: &[usize],
        (affinity, now): (u64, Instant),
    ) -> Option<&'a Rc<Endpoint<B>>> {
        if let [only] = endpoints {
            return tried.is_empty().then_some(only);
        }
        let untried = || {
            endpoints
                .iter()
                .filter(|endpoint| !tried.contains(&endpoint.index))
        };
        let best = untried()
            .map(|endpoint| endpoint.condition.rank(now))
            .min()?;
        let eligible = || untried().filter(|endpoint| endpoint.condition.rank(now) == best);
        if matches!(self.method, Method::IpHash | Method::IdentityHash) {
            let rank = |endpoint: &&Rc<Endpoint<B>>| {
                let seat = self.seats.get(endpoint.index);
                seat.map(|seat| mix(seat.hash ^ affinity))
            };
            return eligible().max_by_key(rank);
        }
        if let Some(slow_start) = self.slow_start
            && let Some(due) = self.due(eligible, slow_start, now)
        {
            return Some(due);
        }
        let is_full = |endpoint: &&Rc<Endpoint<B>>| {
            self.slow_start
                .is_none_or(|slow_start| endpoint.condition.share(slow_start, now) >= 100)
        };
        let chosen = eligible()
            .filter(is_full)
            .min_by_key(|endpoint| (self.load(endpoint), self.distance(endpoint.index)))?;
        self.last.set(chosen.index);
        Some(chosen)
    }

    /// The endpoint that has come back and whose turn it is; `None`: it is the
    /// turn of one that has its full share.
    fn due<'a, B: UploadBody, I: Iterator<Item = &'a Rc<Endpoint<B>>>>(
        &self,
        eligible: impl Fn() -> I,
        slow_start: Duration,
        now: Instant,
    ) -> Option<&'a Rc<Endpoint<B>>> {
        let share = |endpoint: &Endpoint<B>| endpoint.condition.share(slow_start, now);
        let (mut sum, mut least_busy) = (0, None);
        for endpoint in eligible() {
            let share = share(endpoint);
            sum += share;
            if share >= 100 {
                let load = self.load(endpoint);
                least_busy = Some(least_busy.map_or(load, |least: usize| least.min(load)));
            }
        }
        if eligible().all(|endpoint| share(endpoint) >= 100) {
            return None;
        }
        for endpoint in eligible() {
            let credit = self.credit(endpoint.index)?;
            credit.set((credit.get() + share(endpoint)).min(sum));
        }
        let next = eligible().max_by_key(|endpoint| self.credit(endpoint.index).map(Cell::get))?;
        let is_busy = least_busy.is_some_and(|least| self.load(next) > least);
        let returning = share(next) < 100;
        if returning && is_busy {
            return None;
        }
        let credit = self.credit(next.index)?;
        credit.set(credit.get() - sum);
        returning.then_some(next)
    }

    fn credit(&self, index: usize) -> Option<&Cell<i64>> {
        self.seats.get(index).map(|seat| &seat.credit)
    }

    /// What counts against an endpoint.
    fn load<B: UploadBody>(&self, endpoint: &Endpoint<B>) -> usize {
        match self.method {
            Method::LeastRequests => endpoint.in_flight(),
            Method::RoundRobin | Method::IpHash | Method::IdentityHash => 0,
        }
    }

    /// How far it is from the one behind the last.
    fn distance(&self, index: usize) -> usize {
        let count = self.seats.len();
        let ahead = index + count - self.last.get().min(count) + count - 1;
        ahead.checked_rem(count).unwrap_or(0)
    }
}

/// A number for whoever these bytes stand for: the same in every worker, on every
/// machine and in every start.
///
/// FNV-1a (64 bits), mixed. Whoever can choose the bytes can choose the endpoint;
/// that is all it is used for.
pub fn affinity(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    });
    mix(hash)
}

/// The finalizer of splitmix64: each bit of the outcome rests on each of `bits`.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests;
