//! Whose requests go to the same endpoint.

use std::net::IpAddr;

use super::caller::Caller;
use super::party::Party;
use crate::config::Balance;
use crate::upstream::{Plan, affinity};

/// What tells callers apart in the choice of an endpoint; the same for all where
/// the upstream's `balance` does not ask who they are.
pub(super) fn of((caller, party): (&Caller, &Party), plan: &Plan) -> u64 {
    match plan.balance() {
        Balance::LeastRequests | Balance::RoundRobin => 0,
        Balance::IpHash => of_address(caller),
        Balance::IdentityHash => match party.peer() {
            Some(peer) => affinity(peer.primary().as_bytes()),
            None => of_address(caller),
        },
    }
}

/// Clients on a unix socket have no address, and are one.
fn of_address(caller: &Caller) -> u64 {
    let address = caller.downstream().address();
    match address.map(|address| address.ip().to_canonical()) {
        Some(IpAddr::V4(ip)) => affinity(&ip.octets()),
        Some(IpAddr::V6(ip)) => affinity(&ip.octets()),
        None => 0,
    }
}
