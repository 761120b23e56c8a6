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

    /// Whether the connection is done with the body, whole or not.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get()
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
    pub(super) fn new(body: B, upload: Option<Rc<Upload>>) -> Self {
        Self { body, upload }
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

/// A response body, which drives the HTTP/1.1 connection it comes from and
/// gives it back to its pool at the end.
#[derive(Debug)]
pub struct UpstreamBody<B: UploadBody> {
    incoming: Incoming,
    /// The connection, while it is this body's to drive.
    driven: Option<H1<B>>,
    in_flight: Option<InFlight<B>>,
}

impl<B: UploadBody> UpstreamBody<B> {
    /// The body of a response that came over `driven`, or over a connection
    /// that drives itself.
    pub(super) fn new(incoming: Incoming, driven: Option<H1<B>>, in_flight: InFlight<B>) -> Self {
        Self {
            incoming,
            driven,
            in_flight: Some(in_flight),
        }
    }

    /// The response is complete: the connection may serve another request.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if let (Some(connection), Some(in_flight)) = (self.driven.take(), &self.in_flight) {
            in_flight.endpoint().give_back(connection, cx);
        }
        self.in_flight = None;
    }
}

impl<B: UploadBody> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        // Asking tells the connection that a piece is wanted; driving it then
        // may bring the piece.
        if frame.is_pending()
            && let Some(connection) = &mut self.driven
        {
            connection.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        let complete = match &frame {
            Poll::Ready(None) => true,
            // Nobody asks for anything after trailers.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || self.incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) => {
                self.driven = None;
                false
            }
            Poll::Pending => false,
        };
        if complete {
            self.finish(cx);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
