//! A request body on its way up; kept as it passes where its request may have to
//! be sent again.
//!
//! # Rules
//!
//! * At most the first `replay_limit` bytes are kept, as one piece of memory.
//!   Once there was more, nothing is kept any more.
//! * What is sent again begins with what is kept, and goes on with what the
//!   client has yet to send: an upstream may refuse a request before its body
//!   has come.
//! * From then on whoever still has the former body gets an error from it, so
//!   that half of a request cannot be taken for the whole.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::body::BodyFault;
use super::headers;
use super::pace::{BodyLimits, Excess, Patience, Received};
use crate::identity::IdentityFields;

/// How long a client that expects `100 Continue` waits for the upstream's own;
/// then it is told to go on, as RFC 9110 §10.1.1 lets a client do by itself.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request body on its way up.
#[derive(Debug, Default)]
pub struct RequestBody {
    source: Source,
    /// Closed until the upstream wants the body.
    gate: Option<Gate>,
}

#[derive(Debug, Default)]
enum Source {
    /// The empty body.
    #[default]
    Empty,
    /// What the client sends.
    Client(ClientBody),
    /// What it sends, and has sent before.
    Tape(Reader),
}

/// What of a body is kept, to send it again.
#[derive(Debug)]
pub(super) struct Kept(Option<Rc<RefCell<Tape>>>);

impl RequestBody {
    /// A body within `limits`. `received` counts its bytes.
    ///
    /// # Errors
    ///
    /// It says by its length that it is larger: nothing of it goes up.
    pub(super) fn new(
        incoming: Incoming,
        identity_fields: &Arc<IdentityFields>,
        limits: BodyLimits,
        received: &Rc<Received>,
    ) -> Result<Self, Excess> {
        if incoming.is_end_stream() {
            return Ok(Self::default());
        }
        if incoming.size_hint().lower() > limits.most {
            return Err(Excess::TooLarge);
        }
        Ok(Self::of(Source::Client(ClientBody {
            incoming,
            patience: Patience::with_rate(limits.timeout, limits.rate),
            most: limits.most,
            identity_fields: Arc::clone(identity_fields),
            received: Rc::clone(received),
        })))
    }

    fn of(source: Source) -> Self {
        Self { source, gate: None }
    }

    /// Has its first `limit` bytes kept as it passes.
    pub(super) fn kept(self, limit: usize) -> (Self, Kept) {
        match self.source {
            Source::Client(client) => {
                let tape = Rc::new(RefCell::new(Tape::new(client, limit)));
                let body = Self::of(Source::Tape(Reader::new(&tape)));
                (body, Kept(Some(tape)))
            }
            source => (Self::of(source), Kept(None)),
        }
    }

    /// Keeps the body back until `opened` resolves, or for a second.
    ///
    /// The client's `100 Continue` is sent when the body is first asked for:
    /// so the client hears it when the upstream has said it.
    pub(super) fn wait_for(&mut self, opened: oneshot::Receiver<()>) {
        if !matches!(self.source, Source::Empty) {
            let patience = Box::pin(tokio::time::sleep(CONTINUE_PATIENCE));
            self.gate = Some(Gate { opened, patience });
        }
    }
}

impl Kept {
    /// The body from its beginning; the one before it is void from now on.
    /// `None`: it is not there as a whole.
    pub(super) fn again(&self) -> Option<RequestBody> {
        let Some(tape) = &self.0 else {
            return Some(RequestBody::default());
        };
        tape.borrow_mut().rewind()?;
        Some(RequestBody::of(Source::Tape(Reader::new(tape))))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.poll(cx));
            self.gate = None;
        }
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Client(client) => client.poll_frame(cx),
            Source::Tape(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Client(client) => client.incoming.is_end_stream(),
            Source::Tape(reader) => reader.is_at_the_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Client(client) => client.incoming.size_hint(),
            Source::Tape(reader) => reader.size_hint(),
        }
    }
}

/// Keeps the body back until the upstream has said `100 Continue`.
#[derive(Debug)]
struct Gate {
    opened: oneshot::Receiver<()>,
    patience: Pin<Box<Sleep>>,
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

/// What the client sends, cleared and counted.
#[derive(Debug)]
struct ClientBody {
    incoming: Incoming,
    patience: Patience,
    /// In bytes.
    most: u64,
    identity_fields: Arc<IdentityFields>,
    received: Rc<Received>,
}

impl ClientBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            let excess = self.patience.poll(cx, self.received.bytes());
            return excess.map_or(Poll::Pending, |excess| {
                Poll::Ready(Some(Err(self.exceeds(excess))))
            });
        };
        self.patience.content();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let frame = self.checked(frame);
                Some(if self.received.bytes() > self.most {
                    Err(self.exceeds(Excess::TooLarge))
                } else {
                    Ok(frame)
                })
            }
            Some(Err(cause)) => Some(Err(BodyFault::Client(cause))),
            None => None,
        })
    }

    fn exceeds(&self, excess: Excess) -> BodyFault {
        self.received.exceed(excess);
        BodyFault::Limit(excess)
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

/// A client's body, and what has been read of it.
#[derive(Debug)]
struct Tape {
    client: ClientBody,
    limit: usize,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether the client has sent all of it.
    ended: bool,
    /// Whether it cannot be sent again: there was more than is kept, or it broke off.
    lost: bool,
    /// Counts the readers: the last one alone may read.
    turn: u32,
    /// Of a reader that waits for the client.
    waiting: Option<Waker>,
}

impl Tape {
    fn new(client: ClientBody, limit: usize) -> Self {
        Self {
            client,
            limit,
            data: Vec::new(),
            trailers: None,
            ended: false,
            lost: false,
            turn: 0,
            waiting: None,
        }
    }

    /// Makes ready for another reader; `None`: the beginning is not there.
    fn rewind(&mut self) -> Option<()> {
        if self.lost {
            return None;
        }
        self.turn = self.turn.checked_add(1)?;
        // So that the one before learns of it.
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Some(())
    }

    /// The next piece from the client, which is kept.
    fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Poll::Ready(frame) = self.client.poll_frame(cx) else {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => self.keep(frame),
            Some(Err(_)) => self.lose(),
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.ended = true;
            return;
        }
        let piece = frame.data_ref().map_or(&[][..], |piece| piece);
        if self.data.len().saturating_add(piece.len()) > self.limit {
            self.lose();
        }
        if !self.lost {
            self.data.extend_from_slice(piece);
        }
        // Nobody asks a body that is known to be at its end.
        self.ended = self.client.incoming.is_end_stream();
    }

    fn lose(&mut self) {
        self.lost = true;
        self.data = Vec::new();
    }
}

/// Reads a tape from its beginning.
#[derive(Debug)]
struct Reader {
    tape: Rc<RefCell<Tape>>,
    turn: u32,
    /// How many of the kept bytes it has read.
    at: usize,
    /// Whether it has read the trailers.
    past_trailers: bool,
}

impl Reader {
    fn new(tape: &Rc<RefCell<Tape>>) -> Self {
        Self {
            turn: tape.borrow().turn,
            tape: Rc::clone(tape),
            at: 0,
            past_trailers: false,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let mut tape = self.tape.borrow_mut();
        if tape.turn != self.turn {
            return Poll::Ready(Some(Err(BodyFault::SentAgain)));
        }
        if let Some(kept @ [_, ..]) = tape.data.get(self.at..) {
            let piece = Bytes::copy_from_slice(kept);
            self.at = tape.data.len();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if tape.ended {
            let trailers = tape.trailers.clone().filter(|_| !self.past_trailers);
            self.past_trailers = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(tape.poll_client(cx));
        self.at = tape.data.len();
        self.past_trailers = tape.trailers.is_some();
        Poll::Ready(frame)
    }

    fn is_at_the_end(&self) -> bool {
        let tape = self.tape.borrow();
        let ended = tape.ended || tape.client.incoming.is_end_stream();
        let past_trailers = tape.trailers.is_none() || self.past_trailers;
        tape.turn == self.turn && self.at >= tape.data.len() && ended && past_trailers
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.tape.borrow();
        let kept = tape.data.len().saturating_sub(self.at) as u64;
        if tape.ended {
            return SizeHint::with_exact(kept);
        }
        let rest = tape.client.incoming.size_hint();
        match rest.upper() {
            Some(most) if most == rest.lower() => SizeHint::with_exact(most.saturating_add(kept)),
            _ => {
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(kept));
                hint
            }
        }
    }
}
