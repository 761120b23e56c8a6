//! Asks endpoints whether they are well.
//!
//! # Rules
//!
//! * The process sends one probe, however many workers it has: what it finds is a
//!   number that they read.
//! * A probe goes the way of a request: a new connection, TLS with the
//!   certificate of the upstream, its protocol. Only the head of the answer
//!   counts.
//! * An endpoint is taken for well until its first probe, which decides alone:
//!   nothing else is known then. Later it takes several in a row.
//! * What this machine lacks for a probe says nothing of the endpoint.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use tokio::time::Instant;

use super::UploadBody;
use super::body::Tracked;
use super::fault::{SendFault, SendFaultKind};
use super::own_request;
use super::plan::Plan;
use crate::config::{Endpoint, HealthCheck, Protocol};
use crate::telemetry::events;
use crate::telemetry::metrics::Health;

/// Who asks, as services see it in their logs.
const AGENT: HeaderValue = HeaderValue::from_static("countersign-health");

/// Probes the endpoint at `index` of a plan again and again, and says what
/// changes. It has no end.
pub(super) async fn watch(plan: &Plan, index: usize) {
    let Some((check, (endpoint, standing))) = plan.health().zip(plan.standing(index)) else {
        return;
    };
    let mut row = Row::new(standing.is_well());
    loop {
        let begun = Instant::now();
        let next = begun + jittered(check.interval);
        let found = tokio::time::timeout(check.timeout, probe(plan, (index, endpoint), check));
        let found = found.await.unwrap_or_else(|_| Err(late(check)));
        let exhausted = |fault: &SendFault| fault.kind == SendFaultKind::Exhausted;
        if !found.as_ref().is_err_and(exhausted)
            && let Some(well) = row.count(found.is_ok(), check)
        {
            standing.tell(found.as_ref().err().map(ToString::to_string));
            standing.found(well);
            say(plan, endpoint, found.err());
        }
        tokio::time::sleep_until(next).await;
    }
}

/// What is known of an endpoint by its probes.
#[derive(Debug)]
struct Row {
    well: bool,
    /// How many in a row said otherwise; `None`: there was no probe yet.
    otherwise: Option<u32>,
}

impl Row {
    fn new(well: bool) -> Self {
        Self {
            well,
            otherwise: None,
        }
    }

    /// Another probe found it `well` or not: what it is now, if that has changed.
    fn count(&mut self, well: bool, check: &HealthCheck) -> Option<bool> {
        let before = self.otherwise.replace(0);
        if well == self.well {
            return None;
        }
        let enough = if well { check.healthy } else { check.unhealthy };
        let otherwise = before.map(|before| before.saturating_add(1));
        if otherwise.is_some_and(|otherwise| otherwise < enough.get()) {
            self.otherwise = otherwise;
            return None;
        }
        self.well = well;
        Some(well)
    }
}

/// A probe has no body.
type Nothing = Empty<Bytes>;

impl UploadBody for Nothing {
    fn again(&self) -> Option<Self> {
        Some(Self::new())
    }

    fn go_on(&mut self) {}
}

/// One probe.
async fn probe(
    plan: &Plan,
    (index, endpoint): (usize, &Endpoint),
    check: &HealthCheck,
) -> Result<(), SendFault> {
    let request = Box::new(request(plan.protocol(), endpoint, check)?);
    let response = own_request::ask(plan, index, request, check.timeout).await;
    let response = response.map_err(|fault| match fault.kind {
        SendFaultKind::ResponseTimeout => late(check),
        _ => fault,
    })?;
    let status = response.status();
    if check.status.contains(status.as_u16()) {
        return Ok(());
    }
    let cause = format!("GET {} was answered with {}", check.path, status.as_u16());
    Err(SendFault {
        remedy: Some(
            "see the service's own log, or correct path, host and status of its health table"
                .to_owned(),
        ),
        ..SendFault::plain(SendFaultKind::Malformed, cause)
    })
}

fn request(
    protocol: Protocol,
    endpoint: &Endpoint,
    check: &HealthCheck,
) -> Result<Request<Tracked<Nothing>>, SendFault> {
    let mut request = Request::new(Tracked::new(Nothing::new()));
    request.headers_mut().insert(USER_AGENT, AGENT);
    let host = check.host.as_ref();
    own_request::address(&mut request, protocol, (endpoint, &check.path), host)?;
    Ok(request)
}

fn late(check: &HealthCheck) -> SendFault {
    let cause = format!("no answer to GET {} within {:?}", check.path, check.timeout);
    SendFault::plain(SendFaultKind::ResponseTimeout, cause)
}

fn say(plan: &Plan, endpoint: &Endpoint, fault: Option<SendFault>) {
    let (upstream, endpoint) = (plan.name(), endpoint.text.as_str());
    let Some(fault) = fault else {
        tracing::info!(
            event = events::ENDPOINT_HEALTHY,
            upstream,
            endpoint,
            "the endpoint is well again"
        );
        return;
    };
    tracing::warn!(
        event = events::ENDPOINT_UNHEALTHY,
        upstream,
        endpoint,
        cause = fault.cause,
        remedy = fault.remedy.as_deref().unwrap_or(remedy(fault.kind)),
        "the endpoint is not well; it gets no requests while another one is"
    );
}

fn remedy(kind: SendFaultKind) -> &'static str {
    match kind {
        SendFaultKind::ConnectRefused | SendFaultKind::ConnectTimeout => {
            "start the service, see whether its network answers, or correct endpoints of the upstream"
        }
        SendFaultKind::Resolve => {
            "correct the host in endpoints of the upstream, or the resolver of this machine"
        }
        SendFaultKind::Handshake | SendFaultKind::NotAsked => {
            "compare the service's TLS with the tls and outbound tables of the upstream"
        }
        SendFaultKind::Malformed => {
            "compare endpoints and protocol of the upstream with what the service speaks"
        }
        SendFaultKind::ResponseTimeout => {
            "see what the service waits for, or raise timeout of its health table"
        }
        _ => "see the service's own log",
    }
}

/// About as long, give or take a tenth: so that probes of many endpoints, and of
/// many instances, do not march in step.
pub(super) fn jittered(time: Duration) -> Duration {
    // Seeded anew each time.
    let random = RandomState::new().build_hasher().finish();
    let percent = u32::try_from(random % 21).unwrap_or(10);
    time.saturating_mul(90 + percent) / 100
}

#[cfg(test)]
mod tests;
