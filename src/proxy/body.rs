//! Bodies on their way through: bounded in time, counted, and cleared of
//! trailers that must not pass.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use crate::identity::IdentityFields;
use crate::upstream::UpstreamBody;

/// How long a client that expects `100 Continue` waits for the upstream's own;
/// then it is told to go on, as RFC 9110 §10.1.1 lets a client do by itself.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyFault {
    /// The client sent no further piece in time.
    ClientStalled(Duration),
    /// The client's body is broken.
    Client(hyper::Error),
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
            Self::ClientStalled(_) | Self::UpstreamStalled(_) => None,
        }
    }
}

/// What came of a request's body, told to its exchange.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Cell<u64>,
    stalled: Cell<bool>,
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

    /// Whether the next piece did not come in time.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }
}

/// Bounds the time between two pieces. The timer exists only once there was
/// something to wait for.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            waiting: false,
        }
    }

    /// A piece came.
    fn content(&mut self) {
        self.waiting = false;
    }

    /// None has come: whether the time is up.
    fn is_exhausted(&mut self, cx: &mut Context<'_>) -> bool {
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

/// A request body on its way up.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// `None` is the empty body.
    inner: Option<Inner>,
}

#[derive(Debug)]
struct Inner {
    incoming: Incoming,
    patience: Patience,
    identity_fields: Arc<IdentityFields>,
    received: Rc<Received>,
    /// Closed until the upstream wants the body.
    gate: Option<Gate>,
}

/// Keeps the body back until the upstream has said `100 Continue`.
#[derive(Debug)]
struct Gate {
    opened: oneshot::Receiver<()>,
    patience: Pin<Box<Sleep>>,
}

impl RequestBody {
    /// A body whose pieces may be `limit` apart. `received` counts its bytes.
    pub(super) fn new(
        incoming: Incoming,
        identity_fields: &Arc<IdentityFields>,
        limit: Duration,
        received: &Rc<Received>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::default();
        }
        Self {
            inner: Some(Inner {
                incoming,
                patience: Patience::new(limit),
                identity_fields: Arc::clone(identity_fields),
                received: Rc::clone(received),
                gate: None,
            }),
        }
    }

    /// Keeps the body back until `opened` resolves, or for a second.
    ///
    /// The client's `100 Continue` is sent when the body is first asked for:
    /// so the client hears it when the upstream has said it.
    pub(super) fn wait_for(&mut self, opened: oneshot::Receiver<()>) {
        if let Some(inner) = &mut self.inner {
            let patience = Box::pin(tokio::time::sleep(CONTINUE_PATIENCE));
            inner.gate = Some(Gate { opened, patience });
        }
    }
}

impl Gate {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let opened = Pin::new(&mut self.opened).poll(cx).is_ready();
        if opened || self.patience.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Inner {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(gate) = &mut self.gate {
            std::task::ready!(gate.poll(cx));
            self.gate = None;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            if self.patience.is_exhausted(cx) {
                self.received.stalled.set(true);
                let stalled = BodyFault::ClientStalled(self.patience.limit);
                return Poll::Ready(Some(Err(stalled)));
            }
            return Poll::Pending;
        };
        self.patience.content();
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(self.checked(frame))),
            Some(Err(cause)) => Some(Err(BodyFault::Client(cause))),
            None => None,
        })
    }

    fn checked(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                headers::strip_trailers(&mut trailers, &self.identity_fields);
                Frame::trailers(trailers)
            }
            Err(frame) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.received.add(length);
                frame
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &mut self.inner {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(|inner| inner.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
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
        // Nobody asks a body that has said it is at its end.
        if self.is_end_stream()
            && let Some(exchange) = &mut self.exchange
        {
            exchange.complete();
        }
    }
}
