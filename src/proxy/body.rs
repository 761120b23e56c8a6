//! Bodies on their way down, and what bodies both ways have in common: they are
//! bounded in time, counted, and cleared of trailers that must not pass.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use super::request_body::RequestBody;
use crate::upstream::UpstreamBody;

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyFault {
    /// The client sent no further piece in time.
    ClientStalled(Duration),
    /// The client's body is broken.
    Client(hyper::Error),
    /// The client's body is larger than so many bytes.
    ClientTooLarge(u64),
    /// The request is being sent again: what was made of its body before is void.
    SentAgain,
    /// The upstream sent no further piece in time.
    UpstreamStalled(Duration),
    /// The upstream's body is broken.
    Upstream(hyper::Error),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientStalled(limit) => {
                write!(
                    f,
                    "no piece of the request body within {limit:?} (limits.body_timeout)"
                )
            }
            Self::Client(cause) => write!(f, "the request body broke off: {cause}"),
            Self::ClientTooLarge(most) => {
                write!(
                    f,
                    "the request body is larger than {most} bytes (max_body_bytes)"
                )
            }
            Self::SentAgain => f.write_str("the request is being sent again"),
            Self::UpstreamStalled(limit) => {
                write!(
                    f,
                    "no piece of the response body within {limit:?} (limits.body_timeout)"
                )
            }
            Self::Upstream(cause) => write!(f, "the response body broke off: {cause}"),
        }
    }
}

impl std::error::Error for BodyFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(cause) | Self::Upstream(cause) => Some(cause),
            Self::ClientStalled(_)
            | Self::ClientTooLarge(_)
            | Self::SentAgain
            | Self::UpstreamStalled(_) => None,
        }
    }
}

/// What came of a request's body, told to its exchange.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Cell<u64>,
    stalled: Cell<bool>,
    /// How many bytes it may have, once there were more.
    exceeded: Cell<Option<u64>>,
}

impl Received {
    /// So many more bytes came.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// How many bytes came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// There were more bytes than `most`, which is what it may have.
    pub(super) fn exceed(&self, most: u64) {
        self.exceeded.set(Some(most));
    }

    /// How many bytes it may have, if there were more.
    pub(super) fn exceeded(&self) -> Option<u64> {
        self.exceeded.get()
    }

    /// The next piece did not come in time.
    pub(super) fn stall(&self) {
        self.stalled.set(true);
    }

    /// Whether the next piece did not come in time.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }
}

/// Bounds the time between two pieces. The timer exists only once there was
/// something to wait for.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    /// The next piece may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            waiting: false,
        }
    }

    /// How long a piece may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A piece came.
    pub(super) fn content(&mut self) {
        self.waiting = false;
    }

    /// None has come: whether the time is up.
    pub(super) fn is_exhausted(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let fresh = self.timer.is_none();
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting && !fresh {
            timer.as_mut().reset(Instant::now() + limit);
        }
        self.waiting = true;
        timer.as_mut().poll(cx).is_ready()
    }
}

/// A response body on its way down. When it is dropped, its request has ended,
/// and the line that says so is written.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    patience: Patience,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Source {
    Upstream(UpstreamBody<RequestBody>),
    /// A text of countersign's own; empty once it was handed out.
    Own(Bytes),
}

impl ResponseBody {
    /// The upstream's body; its pieces may be `limit` apart.
    pub(super) fn upstream(
        body: UpstreamBody<RequestBody>,
        limit: Duration,
        exchange: Box<Exchange>,
    ) -> Self {
        Self {
            source: Source::Upstream(body),
            patience: Patience::new(limit),
            exchange: Some(exchange),
        }
    }

    /// A text of countersign's own. Without an `exchange` it belongs to one
    /// that is accounted for elsewhere.
    pub(super) fn own(text: Bytes, exchange: Option<Box<Exchange>>) -> Self {
        Self {
            source: Source::Own(text),
            patience: Patience::new(Duration::MAX),
            exchange,
        }
    }

    /// A piece that goes down, accounted for; or trailers, cleared.
    fn passed(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let frame = frame.into_trailers().map(|mut trailers| {
            headers::strip_response_trailers(&mut trailers);
            Frame::trailers(trailers)
        });
        if let Some(exchange) = &mut self.exchange {
            match &frame {
                // Nobody asks for anything after trailers.
                Ok(_) => exchange.complete(),
                Err(piece) => exchange.sent(piece.data_ref().map_or(0, |data| data.len() as u64)),
            }
        }
        frame.unwrap_or_else(|piece| piece)
    }

    fn note(&mut self, fault: BodyFault) -> BodyFault {
        if let Some(exchange) = &mut self.exchange {
            // The service cannot be blamed for what was not sent to its end.
            if let Some(most) = exchange.received().exceeded() {
                exchange.struck("max_body_bytes");
                exchange.note(Fault::body_too_large(Phase::ResponseBody, most));
                return fault;
            }
            let kind = match fault {
                BodyFault::UpstreamStalled(_) => Kind::BodyTimeout,
                _ => Kind::UpstreamLost,
            };
            exchange.note(Fault::new(
                Side::Upstream,
                Phase::ResponseBody,
                kind,
                fault.to_string(),
            ));
        }
        fault
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Own(text) => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        let Poll::Ready(frame) = frame else {
            if this.patience.is_exhausted(cx) {
                let stalled = BodyFault::UpstreamStalled(this.patience.limit);
                return Poll::Ready(Some(Err(this.note(stalled))));
            }
            return Poll::Pending;
        };
        this.patience.content();
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(this.passed(frame))),
            Some(Err(cause)) => Some(Err(this.note(BodyFault::Upstream(cause)))),
            None => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.complete();
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_empty(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.len() as u64),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // Nobody asks a body that has said it is at its end, nor one that has
        // given all that Content-Length promises.
        let is_whole = self.is_end_stream() || self.size_hint().exact() == Some(0);
        if is_whole && let Some(exchange) = &mut self.exchange {
            exchange.complete();
        }
    }
}
