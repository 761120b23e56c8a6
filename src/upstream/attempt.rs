//! One attempt to send a request: a connection to an endpoint, and the response head.

use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use super::UploadBody;
use super::announcement::{Announcement, header};
use super::body::{Arriving, Tracked, Upload, UpstreamBody};
use super::connect::connect;
use super::endpoint::{Endpoint, InFlight};
use super::fault::{SendFault, SendFaultKind};
use super::gate::{Place, Placed};
use super::h1::{self, H1, Unanswered};
use super::h2::{self, H2};
use super::owner::Owner;
use super::read_ahead::Room;
use super::request::copy_of;
use super::resting::{OnStream, Streams};
use super::send::Upstream;
use super::turn::{Full, Turn};
use super::wire::LinkFault;
use crate::config::Protocol;
use crate::telemetry::events;
use crate::telemetry::metrics::Present;
use crate::telemetry::spans::Attempts;
use crate::tls::Stream;

/// From how long a rest a connection is looked at before it is used: a close
/// that has arrived meanwhile is then seen, and nothing is lost on it.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// What came of one attempt.
pub(super) enum Attempt<B: UploadBody> {
    Answered(Response<UpstreamBody<B>>),
    /// Nothing of it was processed; here it is again.
    Again {
        request: Box<Request<Tracked<B>>>,
        fault: SendFault,
        why: Why,
    },
    /// Another endpoint should be asked, if there is one: this one is given no
    /// more at one time, or has just failed.
    Elsewhere(Box<Request<Tracked<B>>>),
    Failed(SendFault),
}

/// Why a request can be sent again.
pub(super) enum Why {
    /// The endpoint took no connection, so another one should be asked.
    Refused,
    /// The connection ended before it.
    Ended,
    /// This HTTP/2 connection takes it no more.
    Unprocessed(Weak<Streams>),
}

/// How a request is sent, the same in every attempt.
pub(super) struct Manner {
    /// Whether a copy of it is easily kept, to be sent again.
    pub(super) copyable: bool,
    /// Whether it means the same when it is processed twice.
    pub(super) idempotent: bool,
    pub(super) upgrade: bool,
    pub(super) now: Instant,
    /// Whose connections it may go over …
    pub(super) owner: Owner,
    /// … and what new ones begin with.
    pub(super) announcement: Option<Announcement>,
    /// What its endpoint is chosen by, where callers have theirs.
    pub(super) affinity: u64,
    /// Whether a connection from the pool may be used.
    pub(super) pooled: bool,
    /// The HTTP/2 connection that did not take it; any other may be used.
    pub(super) spoiled: Option<Weak<Streams>>,
    /// Whether it waits where an endpoint is given no more at one time.
    pub(super) waits: bool,
    /// How long the response head may take.
    pub(super) limit: Duration,
    /// Where a trace is told of each attempt.
    pub(super) attempts: Option<Rc<Attempts>>,
}

impl Manner {
    /// Whether it may go over the HTTP/2 connection that this would be on.
    fn may_share(&self, stream: &OnStream) -> bool {
        match &self.spoiled {
            Some(spoiled) => !stream.is_on(spoiled),
            None => self.pooled,
        }
    }
}

impl<B: UploadBody> Upstream<B> {
    /// Sends a request over a connection to `endpoint`, and waits for the head
    /// of its response.
    pub(super) async fn attempt(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        mut request: Box<Request<Tracked<B>>>,
        manner: &Manner,
    ) -> Attempt<B> {
        let mut in_flight = endpoint.enter();
        self.plan().name_endpoint(endpoint.index, &mut request);
        let http2 = self.plan().protocol() == Protocol::Http2;
        if !http2
            && manner.pooled
            && let Some(connection) = rested(endpoint, manner).await
        {
            self.count("reused");
            return self
                .attempt_h1(in_flight, connection, request, manner)
                .await;
        }
        let turn = match self.turn_at_once(endpoint) {
            Ok(turn) => turn,
            Err(Full) if !manner.waits => return Attempt::Elsewhere(request),
            // Apart, as all that is rare here: the path of a request is short,
            // and its state is moved about with it.
            Err(Full) => match Box::pin(self.turn(endpoint, manner)).await {
                Ok(turn) => turn,
                Err(fault) => return Attempt::Failed(fault),
            },
        };
        let place = match turn {
            Turn::Place(place) => place,
            Turn::Connection(connection) => {
                self.count("reused");
                let attempt = self.attempt_h1(in_flight, connection, request, manner);
                return Box::pin(attempt).await;
            }
        };
        if http2 {
            in_flight.takes(place);
            return self.attempt_h2(in_flight, request, manner).await;
        }
        Box::pin(self.attempt_new(in_flight, place, request, manner)).await
    }

    /// Sends a request over a new connection, which takes `place`.
    async fn attempt_new(
        &self,
        in_flight: InFlight<B>,
        place: Option<Place>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner,
    ) -> Attempt<B> {
        let stream = match self.connect(in_flight.endpoint(), manner).await {
            Ok((stream, present)) => Placed::new(stream, place).counted(present),
            Err(fault) => {
                return Attempt::Again {
                    request,
                    fault,
                    why: Why::Refused,
                };
            }
        };
        if manner.upgrade {
            let limit = manner.limit;
            return match h1::exchange_once(stream, request, limit).await {
                Ok(response) => Attempt::Answered(response.map(|incoming| {
                    UpstreamBody::new(Arriving::by_library(incoming, in_flight), None)
                })),
                Err(fault) => Attempt::Failed(fault),
            };
        }
        let connection = H1::begin(stream, manner.owner.clone());
        self.attempt_h1(in_flight, connection, request, manner)
            .await
    }

    async fn attempt_h1(
        &self,
        in_flight: InFlight<B>,
        connection: H1<B>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner,
    ) -> Attempt<B> {
        let limit = manner.limit;
        // Only on a connection that served before is there something to repair.
        let repairable = manner.copyable && manner.idempotent && connection.is_reused();
        let upload = request.body().upload();
        let upload = upload.as_ref();
        match connection.exchange(request, repairable, limit).await {
            Ok(response) => {
                let body = answered(connection, in_flight, (upload, limit));
                Attempt::Answered(response.map(|()| UpstreamBody::new(body, self.room())))
            }
            Err(Unanswered::Unsent(request, fault)) => Attempt::Again {
                request,
                fault: SendFault::of_link(&fault),
                why: Why::Ended,
            },
            Err(Unanswered::Lost(fault, again)) => {
                // A connection that served before and now ends without a
                // response was closed for its age, not for this request.
                match again.filter(|_| fault.is_close()) {
                    Some(request) => Attempt::Again {
                        request,
                        fault: SendFault::of_link(&fault),
                        why: Why::Ended,
                    },
                    None => Attempt::Failed(lost(&fault, upload)),
                }
            }
            Err(Unanswered::Timeout) => Attempt::Failed(SendFault::timeout(limit)),
        }
    }

    async fn attempt_h2(
        &self,
        mut in_flight: InFlight<B>,
        request: Box<Request<Tracked<B>>>,
        manner: &Manner,
    ) -> Attempt<B> {
        let endpoint = in_flight.endpoint();
        let ((mut sender, stream), reused) = match endpoint
            .multiplexed(&manner.owner, manner.now)
            .filter(|(_, stream)| manner.may_share(stream))
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
                        why: Why::Refused,
                    };
                }
            },
        };
        let spoiled = stream.connection();
        in_flight.uses(stream);
        if manner.upgrade && Box::pin(sender.refuses_extended_connect()).await {
            return Attempt::Failed(SendFault::no_web_sockets(self.plan().name()));
        }
        // A new connection as well may be one that the service gives up at once.
        let copy = manner.copyable.then(|| copy_of(&request)).flatten();
        let limit = manner.limit;
        let upload = request.body().upload();
        let upload = upload.as_ref();
        let mut answer = pin!(sender.try_send_request(*request));
        let answer = h1::within(answer.as_mut(), upload, limit).await;
        let again = |request, fault| Attempt::Again {
            request,
            fault: SendFault::of_link(&fault),
            why: Why::Unprocessed(spoiled),
        };
        match answer {
            None => Attempt::Failed(SendFault::timeout(limit)),
            Some(Ok(response)) => Attempt::Answered(response.map(|incoming| {
                UpstreamBody::new(Arriving::by_library(incoming, in_flight), self.room())
            })),
            Some(Err(mut e)) => match e.take_message() {
                Some(request) => again(Box::new(request), e.into_error().into()),
                None => {
                    let e = e.into_error();
                    let unprocessed = h2::is_unprocessed(&e);
                    let fault = LinkFault::Library(e);
                    let was_closed = reused && manner.idempotent && fault.is_close();
                    match copy.filter(|_| unprocessed || was_closed) {
                        Some(request) => again(request, fault),
                        None => Attempt::Failed(lost(&fault, upload)),
                    }
                }
            },
        }
    }

    /// The room for a response that is read ahead; `None`: it is not.
    fn room(&self) -> Option<Box<Room>> {
        let limit = self.plan().buffering().response?.get();
        let memory = self.plan().memory_for_responses();
        Some(Box::new(Room { limit, memory }))
    }

    /// One request sets up the connection, and those that come meanwhile wait
    /// for it.
    async fn connect_h2(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        manner: &Manner,
    ) -> Result<(H2<B>, OnStream), SendFault> {
        let turn = endpoint.turn_to_connect(&manner.owner);
        let _turn = turn.lock().await;
        // Not the one that this request has just found closed.
        if let Some(sender) = endpoint
            .multiplexed(&manner.owner, manner.now)
            .filter(|(_, stream)| manner.may_share(stream))
        {
            return Ok(sender);
        }
        let (stream, present) = self.connect(endpoint, manner).await?;
        let address = stream.peer_address();
        let ([kept, alive], first) = endpoint.streams();
        let begun = h2::begin(stream, (present, alive)).await;
        let sender = begun.map_err(|e| SendFault::of_link(&e.into()))?;
        let place = (manner.owner.clone(), address);
        endpoint.set_multiplexed(place, sender.clone(), kept);
        Ok((sender, first))
    }

    /// Counts how a request got its connection, or why it did not.
    fn count(&self, result: &'static str) {
        self.metrics().connection(result);
    }

    /// A new connection, and what counts it; the endpoint's health follows from it.
    async fn connect(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        manner: &Manner,
    ) -> Result<(Stream, Present), SendFault> {
        let header = header(self.plan(), manner.announcement.as_ref(), self.metrics());
        match connect(self.plan(), endpoint.index, header.as_deref()).await {
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
                Ok((stream, self.metrics().open_connection()))
            }
            Err(fault) => {
                self.count(fault.kind.code());
                // What this machine lacks is no fault of the endpoint.
                let ejected = (fault.kind != SendFaultKind::Exhausted)
                    .then(|| endpoint.condition.refused(Instant::now()))
                    .flatten();
                if let Some(pause) = ejected {
                    endpoint.condition.explain(&fault.cause);
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

/// Binds the body of a response to the connection that it comes over.
fn answered<B: UploadBody>(
    connection: H1<B>,
    mut in_flight: InFlight<B>,
    (upload, limit): (Option<&Rc<Upload>>, Duration),
) -> Arriving<B> {
    // A head alone that is not sent to its end before its answer is left at that:
    // its connection serves no other request.
    if let Some(upload) = upload.filter(|_| !connection.is_sent()) {
        let response = in_flight.watched();
        let upload = (Rc::clone(upload), limit);
        let half = connection.other_half();
        in_flight.endpoint().give_back_later(half, upload, response);
    }
    Arriving::over(connection, in_flight)
}

/// The fault of a request whose connection ended: the client's, if its body
/// broke off.
fn lost(fault: &LinkFault, upload: Option<&Rc<Upload>>) -> SendFault {
    let mut fault = SendFault::of_link(fault);
    if upload.is_some_and(|upload| upload.is_broken()) {
        fault.kind = SendFaultKind::Body;
    }
    fault
}

/// A connection from the pool. One that has rested for a while is looked at
/// first, and any one for a request that could not be sent again: the turn of
/// the runtime lets a close that has arrived be seen.
async fn rested<B: UploadBody>(endpoint: &Endpoint<B>, manner: &Manner) -> Option<H1<B>> {
    loop {
        let connection = endpoint.take_idle(&manner.owner, manner.now)?;
        let rest = manner
            .now
            .saturating_duration_since(connection.idle_since());
        if rest < LOOK_AFTER && manner.copyable && manner.idempotent {
            return Some(connection);
        }
        tokio::task::yield_now().await;
        if connection.look().await {
            return Some(connection);
        }
    }
}
