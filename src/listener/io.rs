//! A byte stream that tells what its connection is doing, and a body that
//! tells when its request has ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, OpenRequest, Untaken};
use super::frames::Frames;
use super::linger::Linger;
use crate::config::Limits;
use crate::proxy::{BodyFault, Framing, ResponseBody};
use crate::tls::Stream;

/// A connection's stream, watched.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
    /// Reads along on HTTP/1.1 connections.
    framing: Option<Framing>,
    /// Reads along on HTTP/2 connections, until there were too many frames.
    frames: Option<Frames>,
    max_header_bytes: u32,
    /// What was read before it was clear which protocol this is.
    ahead: Vec<u8>,
    /// Of these, the first that were read along already.
    known: usize,
    /// What was found out about the stream before anybody read from it.
    fault: Option<io::Error>,
    /// The client has sent all that it will.
    ended: bool,
    /// Once writing has ended before the request.
    linger: Option<Linger>,
}

impl Watched {
    /// `ahead`: bytes that came before, and are to be read first.
    pub(super) fn new(
        stream: Stream,
        activity: Arc<Activity>,
        limits: &Limits,
        (http2, ahead): (bool, Vec<u8>),
    ) -> Self {
        let framing = (!http2).then(Framing::default);
        let frames = http2.then(|| Frames::new(limits.max_control_frames.get()));
        Self {
            stream,
            activity,
            framing,
            frames,
            max_header_bytes: limits.max_header_bytes.get(),
            ahead,
            known: 0,
            fault: None,
            ended: false,
            linger: None,
        }
    }

    /// Ready when something can be read: bytes, the end, or a fault.
    pub(super) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() || self.fault.is_some() {
            return Poll::Ready(());
        }
        let begun = std::task::ready!(self.stream.poll_begun(cx));
        self.fault = begun.err();
        Poll::Ready(())
    }

    /// What was read from it last, and nobody has made anything of, is to be read
    /// again.
    pub(super) fn take_back(&mut self, unused: &[u8]) {
        self.ahead.splice(..0, unused.iter().copied());
        self.known = self.known.saturating_add(unused.len());
    }

    /// Reads along.
    ///
    /// # Errors
    ///
    /// The body of a request that is under way cannot be read in one way only:
    /// nobody may take what has come for the whole of it. A request that has yet
    /// to be begun is refused when it is ([`OpenRequest::ambiguity`]).
    fn read_along(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(framing) = &mut self.framing
            && !self.activity.is_http_over()
        {
            let read = framing.read(bytes);
            self.activity.head(framing.in_head());
            self.activity.coming(!framing.is_between());
            if let Err(reason) = read {
                self.activity.ambiguous(reason);
                if reason.under_way {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason.rule));
                }
            }
        }
        Ok(())
    }

    /// Counts the frames in what was read behind `before`. Where there were too
    /// many of them, the library reads a farewell instead.
    fn count_frames(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let Some(frames) = &mut self.frames else {
            return Ok(());
        };
        let Some(end) = frames.read(fresh, || self.activity.requests()) else {
            return Ok(());
        };
        self.activity.flood();
        self.ahead = frames.farewell(self.max_header_bytes);
        self.frames = None;
        buf.set_filled(before.saturating_add(end));
        self.take_ahead(buf)
    }

    /// Whether the client is in the middle of a request, as far as is known.
    fn is_being_told(&self) -> bool {
        let between = self.framing.as_ref().is_none_or(Framing::is_between);
        !between && !self.ended && !self.activity.is_http_over()
    }

    /// Hands out what was read ahead.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let now = self.ahead.len().min(buf.remaining());
        let rest = self.ahead.split_off(now);
        let first = std::mem::replace(&mut self.ahead, rest);
        buf.put_slice(&first);
        let known = self.known.min(first.len());
        self.known = self.known.saturating_sub(known);
        self.read_along(first.get(known..).unwrap_or_default())
    }

    fn noted(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(frames), Poll::Ready(Ok(count))) = (&mut self.frames, &written) {
            frames.wrote(*count);
        }
        self.activity.took(written.is_ready());
        if let Poll::Ready(Ok(bytes)) = &written {
            self.activity.wrote(*bytes);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if !this.ahead.is_empty() {
            this.take_ahead(buf)?;
            this.count_frames(buf, before)?;
            return Poll::Ready(Ok(()));
        }
        if let Some(fault) = this.fault.take() {
            return Poll::Ready(Err(fault));
        }
        // Nobody asks what a client has to say that was cut off.
        if this.activity.is_flooded() {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        match buf.filled().get(before..) {
            Some(fresh) if !fresh.is_empty() => {
                this.read_along(fresh)?;
                this.count_frames(buf, before)?;
            }
            _ => this.ended |= read.is_ready() && buf.remaining() > 0,
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.took(flushed.is_ready());
        flushed
    }

    /// Ends writing; if the client is still sending its request, reads on for
    /// a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Whoever is ended does not rest.
        this.activity.coming(true);
        if this.linger.is_none() {
            if !this.is_being_told() && !this.activity.is_http_over() {
                // It is dropped next, which is the end of both directions.
                return this.stream.poll_farewell(cx);
            }
            std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.is_being_told() {
                return Poll::Ready(Ok(()));
            }
            // What comes is not waited for any more.
            this.activity.head(false);
        }
        let linger = this.linger.get_or_insert_with(Linger::begin);
        linger.poll(cx, &mut this.stream).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// A response body that counts its request as under way until it is dropped
/// and what it has handed out is written.
#[derive(Debug)]
pub(super) struct Counted {
    body: ResponseBody,
    open: OpenRequest,
    /// Whether something of it was handed out.
    begun: bool,
}

/// A piece of a response body, which tells when it is written.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    untaken: Untaken,
}

impl Counted {
    pub(super) fn new(body: ResponseBody, open: OpenRequest) -> Self {
        Self {
            body,
            open,
            begun: false,
        }
    }
}

impl Body for Counted {
    type Data = Piece;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyFault>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.begun = true;
        let counted = |frame: Frame<Bytes>| {
            frame.map_data(|bytes| Piece {
                bytes,
                untaken: this.open.hand_out(),
            })
        };
        Poll::Ready(frame.map(|frame| frame.map(counted)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.begun {
            self.open.end_body();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.untaken.moved(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.untaken.moved(length);
        self.bytes.copy_to_bytes(length)
    }
}
