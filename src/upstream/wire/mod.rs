//! HTTP/1.1 as a client speaks it, on one connection.
//!
//! # Rules
//!
//! * A request is written from its parsed form, and where it ends is said in one
//!   way: by one `Content-Length`, or by `chunked` alone (RFC 9112 §6).
//! * A response whose end can be taken for two different ones, or for none, is
//!   malformed. What comes behind a response belongs to no request: its
//!   connection is not used again.
//! * Writing and reading go on side by side: a service may answer before it has
//!   read all, and what it said counts even where it then takes no more.
//! * Nothing here has a task, a channel or a timer of its own: whoever waits
//!   polls, and is woken by the socket or by the body that it sends.

use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use tokio::io::AsyncReadExt;

use super::UploadBody;
use super::body::Tracked;
use super::gate::Placed;

mod chunks;
mod fault;
#[cfg(feature = "inside")]
mod inside;
mod reading;
mod request_head;
mod response_head;
mod writing;

pub use fault::LinkFault;
#[cfg(feature = "inside")]
pub use inside::response;
use reading::{Next, Reading};
use response_head::Parsed;
use writing::Writing;

/// The most that is read at once: the first time, …
const FIRST_READ: usize = 8 * 1024;
/// … and where a long body comes in quickly.
const LARGEST_READ: usize = 256 * 1024;

/// A connection on which one request after the other is sent and answered.
#[derive(Debug)]
pub(super) struct Wire<B> {
    stream: Placed,
    writing: Writing<B>,
    reading: Reading,
    /// What was read and not looked at.
    received: BytesMut,
    /// How much is read next, at most.
    read_size: usize,
    /// Whether no request is to follow the one under way.
    last: bool,
    /// Why it could not be sent to its end.
    unsent: Option<LinkFault>,
    /// Whether its body broke off.
    is_void: bool,
    /// Reads while somebody else sends.
    reader: Option<Waker>,
}

impl<B: UploadBody> Wire<B> {
    pub(super) fn new(stream: Placed) -> Self {
        Self {
            stream,
            writing: Writing::default(),
            reading: Reading::Idle,
            received: BytesMut::new(),
            read_size: FIRST_READ,
            last: false,
            unsent: None,
            is_void: false,
            reader: None,
        }
    }

    /// Whether another request can be sent now: the one before is complete both
    /// ways, and the service has said nothing unasked. Whatever it said, it is not
    /// the answer to the next request.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.last && self.is_read() && self.writing.is_done() && self.received.is_empty()
    }

    /// The same, after a look at what has come since.
    pub(super) fn rests_on(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_at_rest() && self.poll_read(cx).is_pending()
    }

    /// Begins a request: from here on [`Self::poll_head`] sends it.
    ///
    /// # Errors
    ///
    /// Its head and its body do not say the same of its end.
    pub(super) fn begin<T>(
        &mut self,
        request: &Request<T>,
        body: Tracked<B>,
    ) -> Result<(), LinkFault> {
        self.reading = Reading::Head {
            of_head: *request.method() == Method::HEAD,
            version: request.version(),
        };
        self.writing.begin(request, body)
    }

    /// Whether a byte of the request has been sent.
    pub(super) fn has_begun(&self) -> bool {
        self.writing.has_begun()
    }

    /// The body of the request, where it has not been sent to its end.
    pub(super) fn take_body(&mut self) -> Option<Tracked<B>> {
        self.last = true;
        self.writing.give_up()
    }

    /// Sends what is to be sent, until all of it is.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkFault>> {
        let sent = self.writing.poll(&mut self.stream, cx);
        if let Poll::Ready(Err(fault)) = &sent {
            self.last = true;
            // Half of a request is none: what answers it is void.
            self.is_void = fault.is_of_upload();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        sent
    }

    /// Whether all of the request has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.writing.is_done()
    }

    /// Sends the request and waits for the head of its response. `fields`: a map
    /// that becomes that of the response, once its head is there.
    pub(super) fn poll_head(
        &mut self,
        fields: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, LinkFault>> {
        loop {
            match self.poll_upload(cx) {
                // A service that answers early may take no more: what it says counts.
                Poll::Ready(Err(fault)) if self.has_begun() && !fault.is_of_upload() => {
                    drop(self.take_body());
                    self.unsent = Some(fault);
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            let head = match ready!(self.poll_parsed(fields, cx)) {
                Ok(head) => head,
                Err(fault) => return Poll::Ready(Err(self.unsent.take().unwrap_or(fault))),
            };
            if !head.status.is_informational() {
                return Poll::Ready(self.answer(head, fields));
            }
            // Interim responses are passed over (RFC 9110 §15.2); of one the body
            // may take note.
            self.heed(head.status)?;
        }
    }

    /// The next head of a response, be it an interim one.
    fn poll_parsed(
        &mut self,
        fields: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Parsed, LinkFault>> {
        loop {
            if !self.received.is_empty()
                && let Some(head) = response_head::read(&mut self.received, fields)?
            {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(LinkFault::Closed));
            }
        }
    }

    /// An interim response.
    fn heed(&mut self, status: StatusCode) -> Result<(), LinkFault> {
        match status {
            StatusCode::CONTINUE => self.writing.go_on(),
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(LinkFault::Malformed(
                    "a change of protocol that was not asked for (RFC 9110 section 15.2.2)",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, head: Parsed, fields: &mut HeaderMap) -> Result<Response<()>, LinkFault> {
        let is_kept = self.reading.go_on(&head, fields)?;
        self.last |= !is_kept;
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = std::mem::take(fields);
        if let Some(reason) = head.reason
            && let Ok(reason) = ReasonPhrase::try_from(reason)
        {
            response.extensions_mut().insert(reason);
        }
        Ok(response)
    }

    /// Whether nothing more of a response is expected.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.reading, Reading::Idle)
    }

    /// How much of a response is still expected.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.reading.left() {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }

    /// The next piece of a response's body, as it came; `None`: it is complete.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkFault>>> {
        loop {
            match self.reading.next(&mut self.received) {
                Ok(Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(fault) => return Poll::Ready(Some(Err(self.broken(fault)))),
            }
            if self.is_void {
                return Poll::Ready(Some(Err(self.broken(LinkFault::Closed))));
            }
            if !self.is_sent() {
                self.reader = Some(cx.waker().clone());
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if matches!(self.reading, Reading::ToTheEnd) => {
                    self.reading = Reading::Idle;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(self.broken(LinkFault::Closed)))),
                Ok(_) => {}
                Err(fault) => return Poll::Ready(Some(Err(self.broken(fault)))),
            }
        }
    }

    /// Nothing more is expected of a connection with this fault.
    fn broken(&mut self, fault: LinkFault) -> LinkFault {
        self.reading = Reading::Idle;
        self.last = true;
        fault
    }

    /// Reads what has come, if there is anything; 0: the service has closed its side.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, LinkFault>> {
        let room = match self.reading {
            // Not more than this body needs, where that is known.
            Reading::Sized(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let room = room.clamp(FIRST_READ, self.read_size);
        self.received.reserve(room);
        let before = self.received.len();
        // Nothing is kept in it from one poll to the next.
        let read = ready!(pin!(self.stream.read_buf(&mut self.received)).poll(cx));
        let read = read.map_err(LinkFault::Broken)?;
        // Where as much came as there was room for, there may be more.
        if self.received.len().saturating_sub(before) >= room {
            self.read_size = self.read_size.saturating_mul(2).min(LARGEST_READ);
        }
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
mod tests;
