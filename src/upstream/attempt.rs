//! One attempt to send a request: a connection to an endpoint, and the response head.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Body;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::body::{Tracked, Upload, UpstreamBody};
use super::connect::connect;
use super::endpoint::{Endpoint, InFlight};
use super::fault::{SendFault, SendFaultKind, is_close};
use super::h1::{self, H1, Unanswered};
use super::owner::Owner;
use super::request::copy_of;
use super::send::Upstream;
use super::{UploadBody, h2};
use crate::config::Protocol;
use crate::telemetry::events;

/// From how long a rest a connection is looked at before it is used: a close
/// that has arrived meanwhile is then seen, and nothing is lost on it.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// What came of one attempt.
pub(super) enum Attempt<B: UploadBody> {
    Answered(Response<UpstreamBody<B>>),
    /// Nothing of it was processed; here it is again. `refused`: the endpoint
    /// took no connection, so another one should be asked.
    Again {
        request: Box<Request<Tracked<B>>>,
        fault: SendFault,
        refused: bool,
    },
    Failed(SendFault),
}

/// How a request is sent, the same in every attempt.
pub(super) struct Manner<'a> {
    pub(super) upload: Option<&'a Rc<Upload>>,
    /// Whether it has no body, so that a copy of it can be sent again.
    pub(super) copyable: bool,
    /// Whether it means the same when it is processed twice.
    pub(super) idempotent: bool,
    pub(super) upgrade: bool,
    pub(super) now: Instant,
    /// Whose connections it may go over.
    pub(super) owner: Owner,
    /// What its endpoint is chosen by, where callers have theirs.
    pub(super) affinity: u64,
    /// Whether a connection from the pool may be used.
    pub(super) pooled: bool,
    /// How long the response head may take.
    pub(super) limit: Duration,
}

impl<B: UploadBody> Upstream<B> {
    /// Sends a request over a connection to `endpoint`, and waits for the head
    /// of its response.
    pub(super) async fn attempt(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner<'_>,
    ) -> Attempt<B> {
        let in_flight = endpoint.enter();
        if self.plan().protocol() == Protocol::Http2 {
            return self.attempt_h2(in_flight, request, manner).await;
        }
        if manner.pooled
            && let Some(connection) = rested(endpoint, manner).await
        {
            self.count("reused");
            return self
                .attempt_h1(in_flight, connection, request, manner)
                .await;
        }
        // Apart, as all that is rare here: the path of a request is short, and
        // its state is moved about with it.
        let stream = match Box::pin(self.connect(endpoint)).await {
            Ok(stream) => stream,
            Err(fault) => {
                return Attempt::Again {
                    request,
                    fault,
                    refused: true,
                };
            }
        };
        if manner.upgrade {
            let limit = manner.limit;
            return match Box::pin(h1::exchange_once(stream, request, limit)).await {
                Ok(response) => Attempt::Answered(
                    response.map(|incoming| UpstreamBody::new(incoming, None, in_flight)),
                ),
                Err(fault) => Attempt::Failed(fault),
            };
        }
        match Box::pin(H1::begin(stream, manner.owner.clone())).await {
            Ok(connection) => {
                self.attempt_h1(in_flight, connection, request, manner)
                    .await
            }
            Err(e) => Attempt::Failed(SendFault::of_http(e)),
        }
    }

    async fn attempt_h1(
        &self,
        in_flight: InFlight<B>,
        mut connection: H1<B>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner<'_>,
    ) -> Attempt<B> {
        let limit = manner.limit;
        // Only on a connection that served before is there something to repair.
        let repairable = manner.copyable && manner.idempotent && connection.is_reused();
        let replay = repairable.then(|| copy_of(&request));
        match connection.exchange(request, manner.upload, limit).await {
            Ok(response) => {
                Attempt::Answered(answered(response, connection, in_flight, manner).await)
            }
            Err(Unanswered::Unsent(request, e)) => Attempt::Again {
                request,
                fault: SendFault::of_http(e),
                refused: false,
            },
            Err(Unanswered::Lost(e)) => {
                // A connection that served before and now ends without a
                // response was closed for its age, not for this request.
                match replay.filter(|_| is_close(&e)) {
                    Some(request) => Attempt::Again {
                        request,
                        fault: SendFault::of_http(e),
                        refused: false,
                    },
                    None => Attempt::Failed(lost(e, manner)),
                }
            }
            Err(Unanswered::Timeout) => Attempt::Failed(SendFault::timeout(limit)),
        }
    }

    async fn attempt_h2(
        &self,
        mut in_flight: InFlight<B>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner<'_>,
    ) -> Attempt<B> {
        let endpoint = in_flight.endpoint();
        let ((mut sender, in_use), reused) = match endpoint
            .multiplexed(&manner.owner, manner.now)
            .filter(|_| manner.pooled)
        {
            Some(sender) => {
                self.count("reused");
                (sender, true)
            }
            None => match Box::pin(self.connect_h2(endpoint, manner)).await {
                Ok(sender) => (sender, false),
                Err(fault) => {
                    return Attempt::Again {
                        request,
                        fault,
                        refused: true,
                    };
                }
            },
        };
        in_flight.uses(in_use);
        let copy = (manner.copyable && reused).then(|| copy_of(&request));
        let limit = manner.limit;
        let answer = h1::within(sender.try_send_request(*request), manner.upload, limit).await;
        match answer {
            None => Attempt::Failed(SendFault::timeout(limit)),
            Some(Ok(response)) => Attempt::Answered(
                response.map(|incoming| UpstreamBody::new(incoming, None, in_flight)),
            ),
            Some(Err(mut e)) => match e.take_message() {
                Some(request) => Attempt::Again {
                    request: Box::new(request),
                    fault: SendFault::of_http(e.into_error()),
                    refused: false,
                },
                None => {
                    let e = e.into_error();
                    let again = h2::is_unprocessed(&e) || (manner.idempotent && is_close(&e));
                    match copy.filter(|_| again) {
                        Some(request) => Attempt::Again {
                            request,
                            fault: SendFault::of_http(e),
                            refused: false,
                        },
                        None => Attempt::Failed(lost(e, manner)),
                    }
                }
            },
        }
    }

    /// One request sets up the connection, and those that come meanwhile wait
    /// for it.
    async fn connect_h2(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        manner: &Manner<'_>,
    ) -> Result<(SendRequest<Tracked<B>>, Rc<()>), SendFault> {
        let turn = endpoint.turn_to_connect(&manner.owner);
        let _turn = turn.lock().await;
        // Not the one that this request has just found closed.
        if let Some(sender) = endpoint
            .multiplexed(&manner.owner, manner.now)
            .filter(|_| manner.pooled)
        {
            return Ok(sender);
        }
        let stream = self.connect(endpoint).await?;
        let address = stream.peer_address();
        let sender = h2::begin(stream).await.map_err(SendFault::of_http)?;
        let in_use = endpoint.set_multiplexed(manner.owner.clone(), sender.clone(), address);
        Ok((sender, in_use))
    }

    /// Counts how a request got its connection, or why it did not.
    fn count(&self, result: &'static str) {
        self.metrics().connection(result);
    }

    /// A new connection; the endpoint's health follows from it.
    async fn connect(&self, endpoint: &Rc<Endpoint<B>>) -> Result<crate::tls::Stream, SendFault> {
        match connect(self.plan(), endpoint.index).await {
            Ok(stream) => {
                self.count("opened");
                if endpoint.condition.connected(Instant::now()) {
                    tracing::info!(
                        event = events::ENDPOINT_BACK,
                        upstream = self.plan().name(),
                        endpoint = endpoint.text,
                        "the endpoint takes connections again"
                    );
                }
                Ok(stream)
            }
            Err(fault) => {
                self.count(fault.kind.code());
                // What this machine lacks is no fault of the endpoint.
                let ejected = (fault.kind != SendFaultKind::Exhausted)
                    .then(|| endpoint.condition.refused(Instant::now()))
                    .flatten();
                if let Some(pause) = ejected {
                    tracing::warn!(
                        event = events::ENDPOINT_EJECTED,
                        upstream = self.plan().name(),
                        endpoint = endpoint.text,
                        cause = fault.cause,
                        pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                        "no connection to the endpoint; others are preferred for a while"
                    );
                }
                Err(fault)
            }
        }
    }
}

/// Binds a response to the connection that its body comes over.
async fn answered<B: UploadBody>(
    response: Response<hyper::body::Incoming>,
    connection: H1<B>,
    mut in_flight: InFlight<B>,
    manner: &Manner<'_>,
) -> Response<UpstreamBody<B>> {
    let uploading = manner.upload.filter(|upload| !upload.is_finished());
    let mut connection = Some(connection);
    if let Some(upload) = uploading {
        let response = in_flight.watched();
        if let Some(connection) = connection.take() {
            let upload = (Rc::clone(upload), manner.limit);
            in_flight
                .endpoint()
                .give_back_later(connection, upload, response);
        }
    } else if response.body().is_end_stream() {
        // Nobody asks for a body that is not there: it ends here.
        poll_fn(|cx| {
            if let Some(connection) = connection.take() {
                in_flight.endpoint().give_back(connection, cx);
            }
            Poll::Ready(())
        })
        .await;
    }
    response.map(|incoming| UpstreamBody::new(incoming, connection, in_flight))
}

/// The fault of a request whose connection ended: the client's, if its body
/// broke off.
fn lost(error: hyper::Error, manner: &Manner<'_>) -> SendFault {
    let mut fault = SendFault::of_http(error);
    if manner.upload.is_some_and(|upload| upload.is_broken()) {
        fault.kind = SendFaultKind::Body;
    }
    fault
}

/// A connection from the pool. One that has rested for a while is looked at
/// first, and any one for a request that could not be sent again: the turn of
/// the runtime lets a close that has arrived be seen.
async fn rested<B: UploadBody>(endpoint: &Endpoint<B>, manner: &Manner<'_>) -> Option<H1<B>> {
    loop {
        let mut connection = endpoint.take_idle(&manner.owner, manner.now)?;
        let rest = manner
            .now
            .saturating_duration_since(connection.idle_since());
        if rest < LOOK_AFTER && manner.copyable && manner.idempotent {
            return Some(connection);
        }
        tokio::task::yield_now().await;
        let alive = poll_fn(|cx| Poll::Ready(connection.drive(cx))).await;
        if alive {
            return Some(connection);
        }
    }
}
