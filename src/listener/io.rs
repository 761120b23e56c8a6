//! A byte stream that tells what its connection is doing, and a body that
//! tells when its request has ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, OpenRequest};
use crate::proxy::{BodyFault, Framing, ResponseBody};
use crate::tls::Stream;

/// A connection's stream, watched.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
    /// Reads along on HTTP/1.1 connections.
    framing: Option<Framing>,
    /// What was read before it was clear which protocol this is.
    ahead: Vec<u8>,
}

impl Watched {
    /// `ahead`: bytes that came before, and are to be read first.
    pub(super) fn new(
        stream: Stream,
        activity: Arc<Activity>,
        http2: bool,
        ahead: Vec<u8>,
    ) -> Self {
        let framing = (!http2).then(Framing::default);
        Self {
            stream,
            activity,
            framing,
            ahead,
        }
    }

    fn read_along(&mut self, bytes: &[u8]) {
        self.activity.received();
        if let Some(framing) = &mut self.framing
            && let Err(reason) = framing.read(bytes)
        {
            self.activity.ambiguous(reason);
        }
    }

    /// Hands out what was read ahead.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let now = self.ahead.len().min(buf.remaining());
        let rest = self.ahead.split_off(now);
        let first = std::mem::replace(&mut self.ahead, rest);
        buf.put_slice(&first);
        self.read_along(&first);
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.took(written.is_ready());
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
        if !this.ahead.is_empty() {
            this.take_ahead(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        match buf.filled().get(before..) {
            Some(fresh) if !fresh.is_empty() => this.read_along(fresh),
            _ => {}
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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

/// The most that an HTTP/2 response hands out in one piece: what the client
/// must take within `limits.body_timeout`, so that slow is not taken for stuck.
const PIECE: usize = 16 * 1024;

/// A response body that counts its request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    body: ResponseBody,
    /// What of a piece is yet to be handed out.
    rest: Bytes,
    open: OpenRequest,
    http2: bool,
}

impl Counted {
    pub(super) fn new(body: ResponseBody, mut open: OpenRequest, http2: bool) -> Self {
        if http2 {
            // The library asks for nothing before the client has room for it.
            open.wait();
        }
        Self {
            body,
            rest: Bytes::new(),
            open,
            http2,
        }
    }

    /// Keeps back what is more than a piece.
    fn cut(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                self.rest = data.split_off(data.len().min(PIECE));
                Frame::data(data)
            }
            Err(frame) => frame,
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        if !this.http2 {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        this.open.go_on();
        let rest = std::mem::take(&mut this.rest);
        let frame = if rest.is_empty() {
            std::task::ready!(Pin::new(&mut this.body).poll_frame(cx))
        } else {
            Some(Ok(Frame::data(rest)))
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map(|frame| this.cut(frame));
            this.open.wait();
            frame
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
