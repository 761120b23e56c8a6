//! What a route demands of requests that policy has permitted.
//!
//! In this order: maintenance, the size of the body, and, once nothing else is
//! left that could refuse the request before it goes up, its rate. So what is
//! refused for another reason uses up nothing, and who may not use a route is
//! not told that somebody is at work there.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::request;

use super::caller::Caller;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::handle::Proxy;
use super::pace::{BodyLimits, Excess};
use super::party::Party;
use super::quota::Counted;
use crate::config::{RatePer, Route, RouteLimits};
use crate::telemetry::Source;

impl Proxy {
    /// Sees that a route is served, to a request with this head.
    pub(super) fn check_served(
        &self,
        (caller, route): (&Caller, &Route),
        head: &request::Parts,
        exchange: &Exchange,
    ) -> Result<(), Fault> {
        if let Some(maintenance) = &route.maintenance {
            let text = maintenance.text.as_str();
            return Err(Fault {
                told: (!text.is_empty()).then(|| Arc::from(text)),
                retry_after: Some(whole_seconds(maintenance.retry_after)),
                ..Fault::new(
                    Side::Proxy,
                    Phase::Policy,
                    Kind::Maintenance,
                    format!("route `{}` is in maintenance", route.name),
                )
            });
        }
        let most = self.body_limits(caller, exchange).most;
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(Fault {
                phase: Phase::RequestHead,
                ..Excess::TooLarge.into()
            });
        }
        Ok(())
    }

    /// Takes one request from what its caller may send on its route.
    pub(super) fn check_rate(
        &self,
        caller: &Caller,
        party: &Party,
        exchange: &Exchange,
    ) -> Result<(), Fault> {
        let quota = exchange.route().and_then(|route| self.site().quota(route));
        let Some(quota) = quota else {
            return Ok(());
        };
        let rate = quota.rate();
        let by_identity = rate.per == RatePer::Identity;
        let identity = by_identity.then(|| party.key_of_names()).flatten();
        let (counted, whose) = match identity {
            Some(key) => (Counted::Identity(*key), "identity"),
            None => {
                let address = caller.downstream().address();
                let source = Source::of(address.map(|address| address.ip()));
                (Counted::Source(source), "source")
            }
        };
        quota.take(&counted, exchange.started()).map_err(|wait| {
            let cause = format!("the caller's {whose} has used up its {rate} on this route");
            Fault {
                retry_after: Some(whole_seconds(wait)),
                ..Fault::new(Side::Proxy, Phase::Policy, Kind::RateExceeded, cause)
            }
        })
    }

    /// What bounds the requests of the route that was taken.
    pub(super) fn limits_of(&self, exchange: &Exchange) -> Option<&RouteLimits> {
        let route = self.site().config().routes().get(exchange.route()?)?;
        Some(&route.limits)
    }

    /// What bounds the bodies of a request and its response: what its route says,
    /// else what its listener does.
    pub(super) fn body_limits(&self, caller: &Caller, exchange: &Exchange) -> BodyLimits {
        let listener = self.site().config().listener(caller.listener());
        listener.map_or(BodyLimits::NOTHING, |listener| {
            BodyLimits::of(&listener.limits, self.limits_of(exchange))
        })
    }
}

/// As `Retry-After` has it, rounded up.
fn whole_seconds(wait: Duration) -> NonZeroU32 {
    let seconds = wait
        .as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0));
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN)
}
