//! One request to one upstream: endpoint, connection, response head.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Body;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::announcement::{Announcement, header};
use super::answer::Answer;
use super::assertion::Tokens;
use super::balance::Balance;
use super::body::{Tracked, Upload, UpstreamBody};
use super::connect::connect;
use super::credential::Credential;
use super::endpoint::{Endpoint, InFlight};
use super::fault::{SendFault, SendFaultKind, is_close};
use super::h1::{self, H1, Unanswered};
use super::owner::Owner;
use super::plan::Plan;
use super::renewal::Renewal;
use super::request::{UpstreamRequest, copy_of};
use super::sessions::Sessions;
use super::{UploadBody, h2};
use crate::config::Protocol;
use crate::identity::PeerIdentity;
use crate::telemetry::events;
use crate::telemetry::metrics::UpstreamMetrics;
use crate::tls::Stream;

/// The most endpoints that one request is offered to.
const MAX_ATTEMPTS: usize = 4;

/// One upstream, as one worker reaches it.
#[derive(Debug)]
pub struct Upstream<B: UploadBody> {
    plan: Arc<Plan>,
    endpoints: Vec<Rc<Endpoint<B>>>,
    balance: Balance,
    tokens: Tokens,
    /// `None`: no sessions are kept.
    sessions: Option<Sessions>,
    renewal: Renewal,
    metrics: Arc<UpstreamMetrics>,
}

/// What came of one attempt.
enum Attempt<B: UploadBody> {
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
struct Manner<'a> {
    upload: Option<&'a Rc<Upload>>,
    /// Whether it has no body, so that a copy of it can be sent again.
    copyable: bool,
    /// Whether it means the same when it is processed twice.
    idempotent: bool,
    upgrade: bool,
    now: Instant,
    /// Whose connections it may go over, and what new ones begin with.
    owner: Owner,
    announcement: Option<Announcement>,
    /// Whether a connection from the pool may be used.
    pooled: bool,
    /// How long the response head may take.
    limit: Duration,
}

impl<B: UploadBody> Upstream<B> {
    /// An upstream with nothing in its pools.
    pub fn new(plan: Arc<Plan>, metrics: Arc<UpstreamMetrics>) -> Self {
        let endpoints = plan
            .endpoints()
            .iter()
            .enumerate()
            .map(|(index, endpoint)| Endpoint::new(index, &endpoint.text, plan.idle_timeout()))
            .collect();
        let sessions = plan.sessions().cloned().map(Sessions::new);
        Self {
            plan,
            endpoints,
            balance: Balance::default(),
            tokens: Tokens::default(),
            sessions,
            renewal: Renewal::default(),
            metrics,
        }
    }

    /// What is known of it.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The signed assertions that it can be sent again.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The sessions that it has opened; `None`: none are kept.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// What is sent for this caller in place of its own credential: as the
    /// plan has it, or as it has been read since.
    pub fn credential_for(&self, caller: Option<&PeerIdentity>) -> Option<HeaderValue> {
        let value = |credential: &Credential| credential.for_caller(caller).cloned();
        match self.plan.credential() {
            Credential::Forward | Credential::Never => None,
            planned => self.renewal.with(planned, value),
        }
    }

    /// Reads the credential's file again, at most once a second: the service
    /// may know of a change before countersign has looked.
    pub async fn reread_credential(&self) {
        let plan = Arc::clone(&self.plan);
        self.renewal.look(move || plan.reread_credential()).await;
    }

    /// What it counts in.
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Its time is over: nothing more is meant to come to it.
    ///
    /// Connections that rest are closed now, and those in use when their
    /// requests have finished. Requests under way are not disturbed: one that
    /// must be sent again gets a new connection.
    pub fn retire(&self) {
        for endpoint in &self.endpoints {
            endpoint.retire();
        }
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
        let copyable = !upgrade && request.is_copyable();
        let idempotent = request.is_idempotent();
        let (owner, announcement) = request.owner();
        let (mut request, upload) = request.into_parts();
        let mut manner = Manner {
            upload: upload.as_ref(),
            copyable,
            idempotent,
            upgrade,
            now,
            owner,
            announcement,
            pooled: !upgrade,
            limit: self.plan.response_timeout(),
        };
        let mut tried = Vec::new();
        let mut last = None;
        while tried.len() < MAX_ATTEMPTS {
            let Some(endpoint) = self.choose(&manner, &tried) else {
                break;
            };
            match self.attempt(endpoint, request, &manner).await {
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

    /// The endpoint to try next. Where connections are somebody's, that with
    /// one of theirs: what a service knows of them is bound to it.
    fn choose(&self, manner: &Manner<'_>, tried: &[usize]) -> Option<&Rc<Endpoint<B>>> {
        if manner.pooled && !manner.owner.is_everybody() {
            let mut endpoints = self.endpoints.iter();
            let theirs =
                endpoints.find(|one| !tried.contains(&one.index) && one.knows(&manner.owner));
            if theirs.is_some() {
                return theirs;
            }
        }
        self.balance.choose(&self.endpoints, tried, manner.now)
    }

    async fn attempt(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner<'_>,
    ) -> Attempt<B> {
        let in_flight = endpoint.enter();
        if self.plan.protocol() == Protocol::Http2 {
            return self.attempt_h2(in_flight, request, manner).await;
        }
        if manner.pooled
            && let Some(connection) = endpoint
                .rested(
                    &manner.owner,
                    manner.now,
                    manner.copyable && manner.idempotent,
                )
                .await
        {
            self.count("reused");
            return self
                .attempt_h1(in_flight, connection, request, manner)
                .await;
        }
        // Apart, as all that is rare here: the path of a request is short, and
        // its state is moved about with it.
        let stream = match Box::pin(self.connect(endpoint, manner)).await {
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
        let stream = self.connect(endpoint, manner).await?;
        let sender = h2::begin(stream).await.map_err(SendFault::of_http)?;
        let in_use = endpoint.set_multiplexed(manner.owner.clone(), sender.clone());
        Ok((sender, in_use))
    }

    /// Counts how a request got its connection, or why it did not.
    fn count(&self, result: &'static str) {
        self.metrics.connection(result);
    }

    /// A new connection; the endpoint's health follows from it.
    async fn connect(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        manner: &Manner<'_>,
    ) -> Result<Stream, SendFault> {
        let config = self.plan.endpoints().get(endpoint.index);
        let config = config.ok_or_else(SendFault::unknown_endpoint)?;
        let header = header(&self.plan, manner.announcement.as_ref(), &self.metrics);
        match connect(&self.plan, config, header.as_deref()).await {
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
                // What this machine lacks is no fault of the endpoint.
                let ejected = (fault.kind != SendFaultKind::Exhausted)
                    .then(|| endpoint.eject(Instant::now()))
                    .flatten();
                if let Some(pause) = ejected {
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

#[cfg(test)]
mod tests;
