//! Whether a request may take its route, in every reading of its path.
//!
//! A service may undo percent-encoding, merge slashes or drop parameters after
//! countersign has decided. So a path that can be read in several ways must take
//! one route, and be decided in one way, in all of them; else it is refused:
//! what is permitted in one reading must not be served in another. So it is with
//! a method whose case a service may fold, or for which it may take a header field.

use std::num::NonZeroU32;

use http::request;

use super::caller::Caller;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::handle::Proxy;
use super::party::Party;
use super::readings;
use super::target::Target;
use crate::config::Route;
use crate::policy::{self, Facts, Permit};

/// Memory comes back when requests end; it is looked at once a second.
const RETRY_AFTER_SHORTAGE: u32 = 5;

/// What a decision on a request is made from.
pub(super) fn facts<'a>(
    (caller, party): (&'a Caller, &'a Party),
    head: &'a request::Parts,
    target: &'a Target<'_>,
) -> Facts<'a> {
    let listener = caller.site().config().listener(caller.listener());
    let address = caller.downstream().address();
    Facts {
        caller: party.peer(),
        speaker: party.spoken_for().and(caller.peer()),
        anchor: caller.anchor(),
        method: head.method.as_str(),
        path: target.path,
        host: &target.host,
        source: address.map(|address| address.ip().to_canonical()),
        listener: listener.map_or("-", |listener| &listener.name),
    }
}

impl Proxy {
    /// Sees that there is memory for more work.
    pub(super) fn check_room(&self, exchange: &Exchange) -> Result<(), Fault> {
        if !self.site().metrics().memory().is_short() {
            return Ok(());
        }
        exchange.struck("max_memory");
        Err(Fault {
            retry_after: NonZeroU32::new(RETRY_AFTER_SHORTAGE),
            ..Fault::new(
                Side::Proxy,
                Phase::RequestHead,
                Kind::Overloaded,
                "the process holds more memory than server.max_memory",
            )
        })
    }

    /// Sees that every other reading of the path takes the route with this index.
    pub(super) fn check_routes(
        &self,
        caller: &Caller,
        target: &Target<'_>,
        (index, readings): (usize, &[String]),
    ) -> Result<(), Fault> {
        let (site, listener) = (self.site(), caller.listener());
        for reading in readings {
            let other = site
                .routes()
                .find(site.config(), listener, &target.host, reading);
            if other.map(|(other, _)| other) != Some(index) {
                return Err(Fault::malformed(
                    "the path can be read in two ways, and they take different routes",
                ));
            }
        }
        Ok(())
    }

    /// The decision on the route with this index. It is counted, and the line of
    /// the request says who made it.
    pub(super) fn decide(
        &self,
        (index, route): (usize, &Route),
        (facts, head): (&Facts<'_>, &request::Parts),
        (readings, exchange): (&[String], &mut Exchange),
    ) -> Result<Permit, Fault> {
        let decision = policy::decide(route, facts);
        if decision.is_ok() {
            check_methods(route, (facts, head), readings)?;
        }
        for reading in readings {
            let facts = Facts {
                path: reading,
                ..*facts
            };
            if policy::decide(route, &facts).is_ok() != decision.is_ok() {
                return Err(Fault::malformed(
                    "the path can be read in two ways, and policy permits one of them",
                ));
            }
        }
        if let Some(tally) = self.site().tally(index) {
            tally.count(&decision);
        }
        match decision {
            Ok(permit) => {
                exchange.permitted(&permit);
                Ok(permit)
            }
            Err(denial) => {
                let fault = Fault::denied(&denial);
                exchange.denied(denial);
                Err(fault)
            }
        }
    }
}

/// Sees that a permitted request is permitted as well with the method that a
/// service may take it for, in every reading of its path.
fn check_methods(
    route: &Route,
    (facts, head): (&Facts<'_>, &request::Parts),
    readings: &[String],
) -> Result<(), Fault> {
    for method in readings::other_methods(head)? {
        let paths = std::iter::once(facts.path).chain(readings.iter().map(String::as_str));
        for path in paths {
            let facts = Facts {
                method: &method,
                path,
                ..*facts
            };
            if policy::decide(route, &facts).is_err() {
                return Err(Fault::malformed(
                    "the method can be read in two ways, and policy permits one of them",
                ));
            }
        }
    }
    Ok(())
}
