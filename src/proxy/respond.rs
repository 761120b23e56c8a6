//! The way of a response: from the upstream's head to the one that goes down, and
//! what is said in place of one.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::body::ResponseBody;
use super::caller::Caller;
use super::downstream::Downstream;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::handle::Proxy;
use super::pace::BodyLimits;
use super::request_body::RequestBody;
use super::rewrite::Asked;
use super::websocket::{self, WebSocket};
use super::{grpc, headers, tunnel};
use crate::upstream::{Answer, UpstreamBody};

/// What the response to a request has to know of it.
pub(super) struct Awaited {
    /// The way to another protocol, if it was asked for over HTTP/1.1 …
    pub(super) changed: Option<OnUpgrade>,
    /// … or over HTTP/2.
    pub(super) web_socket: Option<WebSocket>,
    /// What is rewritten back, where its route rewrites.
    pub(super) asked: Option<Asked>,
}

impl Proxy {
    /// Makes the upstream's response into the one that goes down.
    pub(super) fn respond(
        &self,
        caller: &Caller,
        answer: Answer<RequestBody>,
        awaited: Awaited,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        let Awaited {
            changed,
            web_socket,
            asked,
        } = awaited;
        exchange.answered(answer.endpoint);
        let mut response = answer.response;
        let status = response.status();
        exchange.status(status);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let limits = self.body_limits(caller, &exchange);
            self.rewrite_back(response.headers_mut(), asked.as_ref(), &exchange);
            let response = (response, web_socket);
            return switch(caller.downstream(), (response, changed), limits, exchange);
        }
        if web_socket.is_some() && status.is_success() {
            // It would be taken for the beginning of a tunnel.
            return refusal(unreadable("neither a WebSocket nor a refusal"), exchange);
        }
        if let Err(rule) = headers::settle_length(response.headers_mut()) {
            return refusal(unreadable(rule), exchange);
        }
        headers::strip_response(response.headers_mut());
        self.rewrite_back(response.headers_mut(), asked.as_ref(), &exchange);
        headers::settle_vary(response.headers_mut(), caller.site().identity_fields());
        let limit = self.body_limits(caller, &exchange).timeout;
        let (mut head, body) = response.into_parts();
        // What came with the response for that side of the connection stays there.
        head.extensions.clear();
        head.version = Version::default();
        Response::from_parts(head, ResponseBody::upstream(body, limit, exchange))
    }

    /// Makes the changes of the request's route in its response.
    fn rewrite_back(&self, head: &mut HeaderMap, asked: Option<&Asked>, exchange: &Exchange) {
        let rewriting = self.site().rewriting(exchange.route());
        if let (Some(rewriting), Some(asked), Some(party)) = (rewriting, asked, exchange.party()) {
            rewriting.write_back((party.peer(), party.filled()), asked, head);
        }
    }
}

/// A change of protocol, and the WebSocket that was asked for over HTTP/2.
type Switched = (Response<UpstreamBody<RequestBody>>, Option<WebSocket>);

/// Passes on the upstream's change of protocol.
fn switch(
    downstream: &Downstream,
    ((response, web_socket), changed): (Switched, Option<OnUpgrade>),
    limits: BodyLimits,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let Some(changed) = changed else {
        let what = "a change of protocol (101) that the request did not ask for";
        return refusal(unreadable(what), exchange);
    };
    let Some(protocol) = websocket::agreed(response.headers()) else {
        return refusal(
            unreadable("a change to another protocol than was asked for"),
            exchange,
        );
    };
    let mut answer = Response::new(ResponseBody::own(Bytes::new(), None));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = response.headers().clone();
    headers::strip_response(answer.headers_mut());
    if let Some(asked) = web_socket {
        if let Err(rule) = asked.settle(answer.headers_mut()) {
            return refusal(unreadable(rule), exchange);
        }
        *answer.status_mut() = StatusCode::OK;
        exchange.status(StatusCode::OK);
    } else {
        tunnel::request(answer.headers_mut(), protocol);
    }
    downstream.set_tunnel(Box::pin(tunnel::carry(changed, response, limits, exchange)));
    answer
}

/// A response that cannot be passed on.
pub(super) fn unreadable(what: &str) -> Fault {
    Fault::new(
        Side::Upstream,
        Phase::ResponseHead,
        Kind::UpstreamMalformed,
        what,
    )
}

/// What a caller is told whose request failed: the status, and a reference
/// under which the log has the cause.
pub(super) fn refusal(fault: Fault, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    let status = fault.status().unwrap_or(StatusCode::BAD_GATEWAY);
    let told = exchange.explanation().or(fault.told.as_deref());
    let text = format!(
        "{} {}\nreference: {}\n{}{}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        exchange.id(),
        told.unwrap_or_default(),
        fault.told.as_ref().map_or("", |_| "\n"),
    );
    let retry_after = fault.retry_after();
    // HTTP/2 has no such field; its streams end one by one.
    let close = fault.ends_connection() && !exchange.is_http2();
    exchange.status(status);
    exchange.note(fault);
    exchange.complete();
    if exchange.is_grpc() {
        let nothing = ResponseBody::own(Bytes::new(), Some(exchange));
        return grpc::refusal(status, &text, nothing);
    }
    let length = text.len();
    // Over HTTP/2 the library would send what nobody reads after a HEAD, and
    // the client would reset the stream.
    let text = if exchange.is_head() {
        Bytes::new()
    } else {
        Bytes::from(text)
    };
    let mut response = Response::new(ResponseBody::own(text, Some(exchange)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.get().into());
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
