//! Bodies on their way up and down.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::UploadBody;
use super::endpoint::InFlight;
use super::h1::H1;
use super::read_ahead::{Ahead, Room};
use super::wire::LinkFault;

/// What is known of an upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    finished: Cell<bool>,
    last_piece: Cell<Instant>,
    /// The connection has asked for a piece and waits for the client.
    waiting: Cell<bool>,
    /// It broke off on the client's side.
    broken: Cell<bool>,
}

impl Upload {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            finished: Cell::new(false),
            last_piece: Cell::new(Instant::now()),
            waiting: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    /// Whether the next piece is the client's to send; its patience is bounded
    /// where the body comes from.
    pub(super) fn is_waiting_for_client(&self) -> bool {
        self.waiting.get() && !self.finished.get()
    }

    /// Whether it broke off on the client's side.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// When the last piece was taken from the body.
    pub(super) fn last_piece(&self) -> Instant {
        self.last_piece.get()
    }
}

/// A request body that tells how its upload goes.
#[derive(Debug)]
pub(super) struct Tracked<B> {
    body: B,
    upload: Option<Rc<Upload>>,
}

impl<B> Tracked<B> {
    /// The upload of its body, unless it is empty.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        self.upload.clone()
    }
}

impl<B: UploadBody> Tracked<B> {
    pub(super) fn new(body: B) -> Self {
        let upload = (!body.is_end_stream()).then(Upload::new);
        Self { body, upload }
    }

    /// The service wants it.
    pub(super) fn go_on(&mut self) {
        self.body.go_on();
    }

    /// The same body from its beginning, for an upload of its own.
    pub(super) fn again(&self) -> Option<Self> {
        let body = match &self.upload {
            Some(_) => self.body.again()?,
            None => B::default(),
        };
        Some(Self::new(body))
    }
}

impl<B> Drop for Tracked<B> {
    /// Whoever sends a body drops it when there is no more to send, or when it
    /// gives up.
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.finished.set(true);
        }
    }
}

impl<B: UploadBody> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(upload) = &self.upload {
            upload.waiting.set(frame.is_pending());
            match &frame {
                Poll::Ready(Some(Err(_))) => upload.broken.set(true),
                Poll::Ready(_) => upload.last_piece.set(Instant::now()),
                Poll::Pending => {}
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body on its way down.
#[derive(Debug)]
pub struct UpstreamBody<B: UploadBody>(Source<B>);

#[derive(Debug)]
enum Source<B: UploadBody> {
    /// It is read when it is asked for; with room, only up to its first piece.
    Asked(Arriving<B>, Option<Box<Room>>),
    /// It is read ahead.
    Ahead(Ahead),
    /// While one becomes the other.
    Nothing,
}

impl<B: UploadBody> UpstreamBody<B> {
    /// A body that is read ahead as far as there is `room`.
    pub(super) fn new(body: Arriving<B>, room: Option<Box<Room>>) -> Self {
        Self(Source::Asked(body, room))
    }

    /// From here on it is read ahead, where there is room for it.
    fn go_ahead(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, Source::Nothing) {
            Source::Asked(body, Some(room)) => Source::Ahead(Ahead::new(body, *room)),
            other => other,
        };
    }
}

impl<B: UploadBody> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = LinkFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkFault>>> {
        let frame = match &mut self.0 {
            Source::Asked(body, room) => {
                let frame = Pin::new(&mut *body).poll_frame(cx);
                if room.is_none() || body.is_over() {
                    return frame;
                }
                frame
            }
            Source::Ahead(ahead) => return ahead.poll_frame(cx),
            Source::Nothing => return Poll::Ready(None),
        };
        if let Poll::Ready(Some(Ok(_))) = &frame {
            self.go_ahead();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Asked(body, _) => body.is_end_stream(),
            Source::Ahead(ahead) => ahead.is_end_stream(),
            Source::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Asked(body, _) => body.size_hint(),
            Source::Ahead(ahead) => ahead.size_hint(),
            Source::Nothing => SizeHint::with_exact(0),
        }
    }
}

/// A response body on its way here.
#[derive(Debug)]
pub(super) struct Arriving<B: UploadBody> {
    from: From<B>,
    in_flight: Option<InFlight<B>>,
}

/// Where a response body comes from.
#[derive(Debug)]
enum From<B: UploadBody> {
    /// An HTTP/1.1 connection, which goes back to its pool at the end.
    Connection(H1<B>),
    /// One that the library drives.
    Library(Incoming),
    /// It is complete, or broken off.
    Nowhere,
}

impl<B: UploadBody> Arriving<B> {
    /// The body of a response whose head came over this connection.
    pub(super) fn over(connection: H1<B>, in_flight: InFlight<B>) -> Self {
        let mut body = Self {
            from: From::Connection(connection),
            in_flight: Some(in_flight),
        };
        // Nobody asks for a body that is not there: it ends here.
        if body.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// The body of a response over a connection that drives itself.
    pub(super) fn by_library(incoming: Incoming, in_flight: InFlight<B>) -> Self {
        Self {
            from: From::Library(incoming),
            in_flight: Some(in_flight),
        }
    }

    /// Whether it is complete, or broken off.
    fn is_over(&self) -> bool {
        self.in_flight.is_none()
    }

    /// The response is complete: its connection may serve another request, unless
    /// the one before still goes up; then whoever sends that gives it back.
    fn give_back(&mut self) {
        if let From::Connection(connection) = &self.from
            && connection.is_sent()
            && let Some(in_flight) = &self.in_flight
            && let From::Connection(connection) = std::mem::replace(&mut self.from, From::Nowhere)
        {
            in_flight.endpoint().give_back(connection);
        }
    }
}

impl<B: UploadBody> Body for Arriving<B> {
    type Data = Bytes;
    type Error = LinkFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkFault>>> {
        let this = &mut *self;
        let frame = match &mut this.from {
            From::Connection(connection) => connection.poll_body(cx),
            From::Library(incoming) => {
                let frame = Pin::new(incoming).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(LinkFault::Library)))
            }
            From::Nowhere => Poll::Ready(None),
        };
        let is_over = match &frame {
            Poll::Ready(None) => true,
            // Nobody asks for anything after trailers.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || this.is_end_stream(),
            Poll::Ready(Some(Err(_))) => {
                this.from = From::Nowhere;
                true
            }
            Poll::Pending => false,
        };
        if is_over {
            this.give_back();
            this.in_flight = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Connection(connection) => connection.is_read(),
            From::Library(incoming) => incoming.is_end_stream(),
            From::Nowhere => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Connection(connection) => connection.size_hint(),
            From::Library(incoming) => incoming.size_hint(),
            From::Nowhere => SizeHint::with_exact(0),
        }
    }
}
