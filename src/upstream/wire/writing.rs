//! Sends a request: its head and its body, in as few writes as there can be.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Request};
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::LinkFault;
use super::request_head::{self, Measure};
use crate::upstream::UploadBody;
use crate::upstream::body::Tracked;
use crate::upstream::gate::Placed;

/// Up to this many bytes a piece is copied behind what stands before it: that
/// costs less than a write of several parts.
const COPIED: usize = 1024;
/// How much memory a connection that rests keeps for the next head.
const KEPT: usize = 8 * 1024;
/// So many pieces go in one write, where they are there already: frames of HTTP/2 have
/// 16 KiB, and come in runs.
const GATHERED: usize = 4;
/// With so many bytes no further piece is taken.
const ENOUGH: usize = 48 * 1024;

/// What is to be sent of a request.
#[derive(Debug)]
pub(super) struct Writing<B> {
    /// Head, sizes of chunks, small pieces; `at`: how much of it is sent.
    lines: Vec<u8>,
    at: usize,
    /// Pieces that go behind it, …
    pieces: VecDeque<Bytes>,
    /// … and what goes behind those.
    tail: &'static [u8],
    /// What is still to be taken from it.
    body: Option<Tracked<B>>,
    measure: Measure,
    /// Whether something was given to the stream that it may still hold.
    unflushed: bool,
}

impl<B> Default for Writing<B> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            at: 0,
            pieces: VecDeque::new(),
            tail: b"",
            body: None,
            measure: Measure::Length(0),
            unflushed: false,
        }
    }
}

impl<B: UploadBody> Writing<B> {
    /// Takes a request to be sent. What was sent before is complete.
    ///
    /// # Errors
    ///
    /// Its head and its body do not say the same of its end.
    pub(super) fn begin<T>(
        &mut self,
        request: &Request<T>,
        body: Tracked<B>,
    ) -> Result<(), LinkFault> {
        let has_no_body = body.is_end_stream();
        self.measure = request_head::write(request, has_no_body, &mut self.lines)?;
        self.body = (!has_no_body).then_some(body);
        Ok(())
    }

    /// Whether all of it has been sent.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && !self.holds() && !self.unflushed
    }

    /// The service wants the body.
    pub(super) fn go_on(&mut self) {
        if let Some(body) = &mut self.body {
            body.go_on();
        }
    }

    /// Nothing more of it is sent.
    pub(super) fn give_up(&mut self) {
        *self = Self::default();
    }

    /// Sends, until all is sent.
    pub(super) fn poll(
        &mut self,
        stream: &mut Placed,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LinkFault>> {
        loop {
            // Before anything is written, so that head and first piece go together.
            let waits = self.fill(cx)?;
            while self.holds() {
                ready!(self.write(stream, cx)).map_err(LinkFault::Broken)?;
            }
            if self.unflushed && (waits || self.body.is_none()) {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(LinkFault::Broken)?;
                self.unflushed = false;
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Whether something is to be written.
    fn holds(&self) -> bool {
        !(self.lines.is_empty() && self.pieces.is_empty() && self.tail.is_empty())
    }

    /// Takes the next pieces of the body, as far as there is room for them. Whether
    /// there is room for one that has yet to come.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkFault> {
        while self.has_room() {
            let Some(body) = &mut self.body else {
                return Ok(false);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                Poll::Ready(Some(Err(cause))) => return Err(LinkFault::Upload(cause.into())),
                Poll::Ready(None) => self.end(None)?,
            }
        }
        Ok(false)
    }

    /// Whether another piece may be taken before something is written.
    fn has_room(&self) -> bool {
        let held = self.pieces.iter().map(Bytes::len).sum::<usize>();
        self.tail.is_empty()
            && self.lines.len() <= KEPT
            && self.pieces.len() < GATHERED
            && held <= ENOUGH
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), LinkFault> {
        let piece = match frame.into_data() {
            Ok(piece) => piece,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        if piece.is_empty() {
            // It would be taken for the last chunk.
            return Ok(());
        }
        let tail: &'static [u8] = match &mut self.measure {
            Measure::Length(left) => {
                let rest = left.checked_sub(piece.len() as u64);
                *left = rest.ok_or_else(|| too("long"))?;
                if *left == 0 {
                    self.body = None;
                }
                b""
            }
            Measure::Chunked(_) => {
                let size = format_args!("{:x}\r\n", piece.len()).to_string();
                self.lines.extend_from_slice(size.as_bytes());
                let is_last = self.body.as_ref().is_some_and(Body::is_end_stream);
                if is_last {
                    self.body = None;
                    b"\r\n0\r\n\r\n"
                } else {
                    b"\r\n"
                }
            }
        };
        if piece.len() <= COPIED && self.pieces.is_empty() {
            self.lines.extend_from_slice(&piece);
            self.lines.extend_from_slice(tail);
        } else {
            self.pieces.push_back(piece);
            self.tail = tail;
        }
        Ok(())
    }

    /// There is no more of the body.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), LinkFault> {
        self.body = None;
        match &self.measure {
            Measure::Length(0) => Ok(()),
            Measure::Length(_) => Err(too("short")),
            Measure::Chunked(announced) => {
                self.lines.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    if announced.contains(name) && may_trail(name) {
                        let parts = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
                        parts
                            .iter()
                            .for_each(|part| self.lines.extend_from_slice(part));
                    }
                }
                self.lines.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    fn write(&mut self, stream: &mut Placed, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lines = self.lines.get(self.at..).unwrap_or_default();
        let mut stream = Pin::new(stream);
        let written = if self.pieces.is_empty() && self.tail.is_empty() {
            stream.as_mut().poll_write(cx, lines)
        } else {
            let mut parts = [IoSlice::new(b""); GATHERED + 2];
            let pieces = self.pieces.iter().map(|piece| &piece[..]);
            let all = std::iter::once(lines).chain(pieces).chain([self.tail]);
            for (part, bytes) in parts.iter_mut().zip(all) {
                *part = IoSlice::new(bytes);
            }
            stream.as_mut().poll_write_vectored(cx, &parts)
        };
        let written = ready!(written)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = true;
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    /// So many bytes have been written.
    fn advance(&mut self, written: usize) {
        let of_lines = written.min(self.lines.len().saturating_sub(self.at));
        self.at = self.at.saturating_add(of_lines);
        if self.at >= self.lines.len() {
            self.at = 0;
            self.lines.clear();
            self.lines.shrink_to(KEPT);
        }
        let mut rest = written.saturating_sub(of_lines);
        while let Some(piece) = self.pieces.front_mut() {
            let of_piece = rest.min(piece.len());
            rest = rest.saturating_sub(of_piece);
            piece.advance(of_piece);
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail = self.tail.get(rest..).unwrap_or_default();
    }
}

fn too(what: &str) -> LinkFault {
    LinkFault::Upload(format!("the body is too {what} for its Content-Length").into())
}

/// Whether a field may stand behind a body (RFC 9110 §6.5.1).
fn may_trail(name: &HeaderName) -> bool {
    !matches!(
        *name,
        AUTHORIZATION
            | CACHE_CONTROL
            | CONTENT_ENCODING
            | CONTENT_LENGTH
            | CONTENT_RANGE
            | CONTENT_TYPE
            | HOST
            | MAX_FORWARDS
            | SET_COOKIE
            | TE
            | TRAILER
            | TRANSFER_ENCODING
    )
}
