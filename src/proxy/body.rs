//! Bodies on their way down: bounded in time, counted, and cleared of trailers
//! that must not pass.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use super::pace::{Excess, Patience};
use super::request_body::RequestBody;
use crate::upstream::{LinkFault, UpstreamBody};

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyFault {
    /// The client's body is broken.
    Client(hyper::Error),
    /// The fields behind the client's body are refused, and why.
    Trailers(String),
    /// The client has gone beyond a limit with it.
    Limit(Excess),
    /// The request is being sent again: what was made of its body before is void.
    SentAgain,
    /// The upstream sent no further piece in time.
    UpstreamStalled(Duration),
    /// The upstream's body is broken.
    Upstream(LinkFault),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(cause) => write!(f, "the request body broke off: {cause}"),
            Self::Trailers(cause) => write!(f, "in the trailers, {cause}"),
            Self::Limit(excess) => excess.fmt(f),
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
            Self::Client(cause) => Some(cause),
            Self::Upstream(cause) => Some(cause),
            Self::Limit(_) | Self::SentAgain | Self::Trailers(_) | Self::UpstreamStalled(_) => None,
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
            // The response ends with a request that goes up beside it.
            let broken = exchange.received().excess().map(|excess| Fault {
                phase: Phase::ResponseBody,
                ..excess.into()
            });
            exchange.note(broken.unwrap_or_else(|| {
                Fault::new(Side::Upstream, Phase::ResponseBody, kind, fault.to_string())
            }));
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
            if this.patience.poll(cx, 0).is_some() {
                let stalled = BodyFault::UpstreamStalled(this.patience.limit());
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
