//! One line for a connection that ended in a fault outside any request.

use std::time::Duration;

use super::activity::Overdue;
use super::connection::PING_TIMEOUT;
use super::strike;
use super::summons::Dismissal;
use super::watch::Ended;
use crate::identity::PeerIdentity;
use crate::proxy::Caller;
use crate::telemetry::events;
use crate::tls::Refusal;

/// How a connection ended, as its line says it.
struct Closing {
    fault: &'static str,
    cause: String,
    /// Of the answer; 0: there was none.
    status: u16,
    /// The limit that struck.
    limit: Option<&'static str>,
}

/// Counts how HTTP on a connection ended, and says it if that is a fault.
pub(super) fn record_end(caller: &Caller, ended: Ended) {
    let closing = match ended {
        Ended::Well | Ended::Overdue(Overdue::Idle) => return,
        Ended::Overdue(overdue) => overdue_for(overdue),
        Ended::Dismissed(dismissal) => return log_dismissal(caller, &dismissal),
        Ended::Faulty(error) if error.is_timeout() => Closing {
            fault: "downstream/connection/ping_timeout",
            cause: format!("the client did not answer a ping within {PING_TIMEOUT:?}"),
            status: 0,
            limit: None,
        },
        Ended::Faulty(error) if error.is_parse_too_large() => Closing {
            fault: "downstream/request_head/too_large",
            cause: format!(
                "{error}: it is larger than limits.max_header_bytes, or has more fields than limits.max_fields"
            ),
            status: 431,
            limit: Some("max_header_bytes"),
        },
        Ended::Faulty(error) if error.is_parse() => Closing {
            fault: "downstream/request_head/malformed",
            cause: error.to_string(),
            status: 400,
            limit: None,
        },
        // The client went away, or a request failed that has a line of its own.
        Ended::Faulty(error) => {
            tracing::debug!(client = %caller.downstream(), cause = %error, "a connection ended");
            return;
        }
    };
    if closing.status != 0 {
        let metrics = caller.site().metrics();
        metrics.request_begun();
        let unrouted = metrics.no_route();
        unrouted.request(closing.status, Some("downstream"), Duration::ZERO);
    }
    if let Some(limit) = closing.limit {
        strike::count(caller.site(), caller.listener(), limit);
    }
    // Whoever can connect can do this as often as they like, so each source has
    // a few lines a minute for each fault.
    let site = caller.site();
    let address = caller.downstream().address().map(|address| address.ip());
    let per_minute = site.config().log().refusals_per_minute;
    if site.refusals().is_told(address, closing.fault, per_minute) {
        let remedy = remedy(closing.fault);
        log_fault(
            caller,
            closing.fault,
            &closing.cause,
            remedy,
            closing.status,
        );
    }
}

fn overdue_for(overdue: Overdue) -> Closing {
    let (fault, cause, limit) = match overdue {
        Overdue::Head => (
            "downstream/request_head/header_timeout",
            "no complete request head within limits.header_timeout",
            "header_timeout",
        ),
        Overdue::Idle => (
            "downstream/connection/idle_timeout",
            "no request within limits.idle_timeout",
            "idle_timeout",
        ),
        Overdue::Blocked => (
            "downstream/response_body/body_timeout",
            "the client took nothing of the response within limits.body_timeout",
            "body_timeout",
        ),
        Overdue::Slow => (
            "downstream/response_body/body_too_slow",
            "the client took the response more slowly than limits.min_body_rate",
            "min_body_rate",
        ),
    };
    Closing {
        fault,
        cause: cause.to_owned(),
        status: 0,
        limit: Some(limit),
    }
}

/// One line for the end of a connection whose peer is trusted no more.
pub(super) fn log_dismissal(caller: &Caller, dismissal: &Dismissal) {
    let fault = match dismissal.reason {
        Refusal::Expired => "downstream/connection/certificate_expired",
        _ => "downstream/connection/withdrawn",
    };
    log_fault(
        caller,
        fault,
        &dismissal.cause,
        dismissal.reason.remedy(),
        0,
    );
}

/// What the operator, or the client's owner, can do about it.
fn remedy(fault: &str) -> &'static str {
    match fault {
        "downstream/request_head/header_timeout" => {
            "see why the client sends so slowly, or opens connections that it does not use; one that does so on purpose is bounded by limits.max_connections_per_source"
        }
        "downstream/request_head/malformed" => {
            "see what it is that connects: it does not speak HTTP/1.1"
        }
        "downstream/request_head/too_large" => {
            "have the client send less in its head (cookies, tokens), or raise the limit"
        }
        "downstream/response_body/body_timeout" | "downstream/response_body/body_too_slow" => {
            "see what holds the client up, or raise the limit that the cause names"
        }
        _ => "see the client's own log, and the network",
    }
}

fn log_fault(caller: &Caller, fault: &str, cause: &str, remedy: &str, status: u16) {
    let listener = caller.site().config().listener(caller.listener());
    tracing::info!(
        event = events::CONNECTION_FAULT,
        listener = listener.map(|listener| listener.name.as_str()),
        client = %caller.downstream(),
        via = caller.downstream().source().via().map(tracing::field::display),
        peer = caller.peer().map(PeerIdentity::primary),
        fault,
        cause,
        remedy,
        status,
    );
}
