//! One request to one upstream: endpoint, connection, response head.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use tokio::time::Instant;

use super::balance::Balance;
use super::body::{Tracked, Upload, UpstreamBody};
use super::connect::connect;
use super::endpoint::{Endpoint, InFlight};
use super::fault::{SendFault, SendFaultKind};
use super::h1::{self, H1, Unanswered};
use super::plan::Plan;
use super::request::UpstreamRequest;
use super::{UploadBody, h2};
use crate::config::{Protocol, UpstreamId};
use crate::telemetry::{Metrics, events};

/// The most endpoints that one request is offered to.
const MAX_ATTEMPTS: usize = 4;
/// From how long a rest a connection is looked at before it is used: a close
/// that has arrived meanwhile is then seen, and nothing is lost on it.
const LOOK_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

/// One upstream, as one worker reaches it.
#[derive(Debug)]
pub struct Upstream<B: UploadBody> {
    plan: Arc<Plan>,
    endpoints: Vec<Rc<Endpoint<B>>>,
    balance: Balance,
    metrics: Arc<Metrics>,
    id: UpstreamId,
}

/// A response head, and the body that follows.
#[derive(Debug)]
pub struct Answer<B: UploadBody> {
    /// The response.
    pub response: Response<UpstreamBody<B>>,
    /// The index of the endpoint that gave it.
    pub endpoint: usize,
}

/// What came of one attempt.
enum Attempt<B: UploadBody> {
    Answered(Response<UpstreamBody<B>>),
    /// Nothing of it was processed; here it is again. `refused`: the endpoint
    /// took no connection, so another one should be asked.
    Again {
        request: Request<Tracked<B>>,
        fault: SendFault,
        refused: bool,
    },
    Failed(SendFault),
}

/// How a request is sent, the same in every attempt.
struct Manner<'a, B> {
    upload: Option<&'a Rc<Upload>>,
    replay: Option<Request<Tracked<B>>>,
    upgrade: bool,
    now: Instant,
    /// Whether a connection from the pool may be used.
    pooled: bool,
}

impl<B: UploadBody> Upstream<B> {
    /// An upstream with nothing in its pools.
    pub fn new(id: UpstreamId, plan: Arc<Plan>, metrics: Arc<Metrics>) -> Self {
        let endpoints = plan
            .endpoints()
            .iter()
            .enumerate()
            .map(|(index, endpoint)| Endpoint::new(index, &endpoint.text, plan.idle_timeout()))
            .collect();
        Self {
            plan,
            endpoints,
            balance: Balance::default(),
            metrics,
            id,
        }
    }

    /// What is known of it.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Sends a request and waits for its response head.
    ///
    /// `now` is the time at which the request came; one reading of the clock
    /// serves the whole way.
    ///
    /// # Errors
    ///
    /// [`SendFault`], when every attempt that was safe to make has failed.
    pub async fn send(
        &self,
        request: UpstreamRequest<B>,
        now: Instant,
    ) -> Result<Answer<B>, SendFault> {
        let upgrade = request.is_upgrade();
        let replay = if upgrade || self.plan.protocol() == Protocol::Http2 {
            None
        } else {
            request.replay()
        };
        let (mut request, upload) = request.into_parts();
        let mut manner = Manner {
            upload: upload.as_ref(),
            replay,
            upgrade,
            now,
            pooled: !upgrade,
        };
        let mut tried = Vec::new();
        let mut last = None;
        while tried.len() < MAX_ATTEMPTS {
            let Some(endpoint) = self.balance.choose(&self.endpoints, &tried, now) else {
                break;
            };
            match self.attempt(endpoint, request, &mut manner).await {
                Attempt::Answered(response) => {
                    return Ok(Answer {
                        response,
                        endpoint: endpoint.index,
                    });
                }
                Attempt::Again {
                    request: returned,
                    fault,
                    refused,
                } => {
                    if refused {
                        tried.push(endpoint.index);
                    } else if !manner.pooled {
                        return Err(fault.at(&endpoint.text));
                    }
                    // Once is enough: the next connection is a new one.
                    manner.pooled = manner.pooled && refused;
                    request = returned;
                    last = Some(fault.at(&endpoint.text));
                }
                Attempt::Failed(fault) => return Err(fault.at(&endpoint.text)),
            }
        }
        Err(last.unwrap_or_else(|| {
            SendFault::plain(SendFaultKind::ConnectRefused, "no endpoint is left to try")
        }))
    }

    async fn attempt(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        request: Request<Tracked<B>>,
        manner: &mut Manner<'_, B>,
    ) -> Attempt<B> {
        let in_flight = endpoint.enter();
        if self.plan.protocol() == Protocol::Http2 {
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
        let stream = match self.connect(endpoint).await {
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
            let limit = self.plan.response_timeout();
            return match h1::exchange_once(stream, request, limit).await {
                Ok(response) => Attempt::Answered(
                    response.map(|incoming| UpstreamBody::new(incoming, None, in_flight)),
                ),
                Err(fault) => Attempt::Failed(fault),
            };
        }
        match H1::begin(stream).await {
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
        request: Request<Tracked<B>>,
        manner: &mut Manner<'_, B>,
    ) -> Attempt<B> {
        let limit = self.plan.response_timeout();
        let reused = connection.is_reused();
        match connection.exchange(request, manner.upload, limit).await {
            Ok(response) => {
                Attempt::Answered(self.answered(response, connection, in_flight, manner))
            }
            Err(Unanswered::Unsent(request, e)) => Attempt::Again {
                request: *request,
                fault: SendFault::of_http(e),
                refused: false,
            },
            Err(Unanswered::Lost(e)) => {
                // A connection that served before and now ends without a byte
                // of a response was closed for its age, not for this request.
                match manner.replay.take().filter(|_| reused && is_close(&e)) {
                    Some(request) => Attempt::Again {
                        request,
                        fault: SendFault::of_http(e),
                        refused: false,
                    },
                    None => Attempt::Failed(SendFault::of_http(e)),
                }
            }
            Err(Unanswered::Timeout) => Attempt::Failed(SendFault::timeout(limit)),
        }
    }

    /// Binds a response to the connection that its body comes over.
    fn answered(
        &self,
        response: Response<hyper::body::Incoming>,
        connection: H1<B>,
        mut in_flight: InFlight<B>,
        manner: &Manner<'_, B>,
    ) -> Response<UpstreamBody<B>> {
        let driven = match manner.upload.filter(|upload| !upload.is_finished()) {
            Some(upload) => {
                let response = in_flight.watched();
                let upload = (Rc::clone(upload), self.plan.response_timeout());
                let endpoint = in_flight.endpoint();
                endpoint.give_back_later(connection, upload, response);
                None
            }
            None => Some(connection),
        };
        response.map(|incoming| UpstreamBody::new(incoming, driven, in_flight))
    }

    async fn attempt_h2(
        &self,
        in_flight: InFlight<B>,
        request: Request<Tracked<B>>,
        manner: &Manner<'_, B>,
    ) -> Attempt<B> {
        let endpoint = in_flight.endpoint();
        let mut sender = match endpoint.multiplexed().filter(|_| manner.pooled) {
            Some(sender) => {
                self.count("reused");
                sender
            }
            None => match self.connect_h2(endpoint).await {
                Ok(sender) => sender,
                Err(fault) => {
                    return Attempt::Again {
                        request,
                        fault,
                        refused: true,
                    };
                }
            },
        };
        let limit = self.plan.response_timeout();
        let answer = h1::within(sender.try_send_request(request), manner.upload, limit).await;
        match answer {
            None => Attempt::Failed(SendFault::timeout(limit)),
            Some(Ok(response)) => Attempt::Answered(
                response.map(|incoming| UpstreamBody::new(incoming, None, in_flight)),
            ),
            Some(Err(mut e)) => match e.take_message() {
                Some(request) => Attempt::Again {
                    request,
                    fault: SendFault::of_http(e.into_error()),
                    refused: false,
                },
                None => Attempt::Failed(SendFault::of_http(e.into_error())),
            },
        }
    }

    async fn connect_h2(
        &self,
        endpoint: &Rc<Endpoint<B>>,
    ) -> Result<hyper::client::conn::http2::SendRequest<Tracked<B>>, SendFault> {
        let stream = self.connect(endpoint).await?;
        let sender = h2::begin(stream).await.map_err(SendFault::of_http)?;
        endpoint.set_multiplexed(sender.clone());
        Ok(sender)
    }

    /// Counts how a request got its connection, or why it did not.
    fn count(&self, result: &'static str) {
        self.metrics.upstream(self.id.0).connection(result);
    }

    /// A new connection; the endpoint's health follows from it.
    async fn connect(&self, endpoint: &Rc<Endpoint<B>>) -> Result<crate::tls::Stream, SendFault> {
        let Some(config) = self.plan.endpoints().get(endpoint.index) else {
            return Err(SendFault::unknown_endpoint());
        };
        match connect(&self.plan, config).await {
            Ok(stream) => {
                self.count("opened");
                if endpoint.restore() {
                    tracing::info!(
                        event = events::ENDPOINT_BACK,
                        upstream = self.plan.name(),
                        endpoint = endpoint.text,
                        "the endpoint takes connections again"
                    );
                }
                Ok(stream)
            }
            Err(fault) => {
                self.count(fault.kind.code());
                if let Some(pause) = endpoint.eject(Instant::now()) {
                    tracing::warn!(
                        event = events::ENDPOINT_EJECTED,
                        upstream = self.plan.name(),
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

/// A connection from the pool. One that has rested for a while is looked at
/// first, and any one for a request that could not be sent again: the turn of
/// the runtime lets a close that has arrived be seen.
async fn rested<B: UploadBody>(endpoint: &Endpoint<B>, manner: &Manner<'_, B>) -> Option<H1<B>> {
    loop {
        let mut connection = endpoint.take_idle(manner.now)?;
        let rest = manner
            .now
            .saturating_duration_since(connection.idle_since());
        if rest < LOOK_AFTER && manner.replay.is_some() {
            return Some(connection);
        }
        tokio::task::yield_now().await;
        let alive = std::future::poll_fn(|cx| std::task::Poll::Ready(connection.drive(cx))).await;
        if alive {
            return Some(connection);
        }
    }
}

/// Whether the upstream closed, rather than answered something wrong.
fn is_close(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(error)
}

fn is_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|e| {
            matches!(
                e.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            )
        })
}
