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
//! * A body that is taken whole before it goes up is one piece of memory, within
//!   the upstream's bounds, and can be sent as often as need be.
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
use tokio::time::Sleep;

use super::body::BodyFault;
use super::headers;
use super::pace::{BodyLimits, Excess, Patience, Received};
use crate::config::FieldNames;
use crate::identity::IdentityFields;
use crate::upstream::{Portion, UploadBody};

mod whole;

pub(super) use whole::Gap;
use whole::Whole;

/// How long a client that expects `100 Continue` waits for the upstream's own;
/// then it is told to go on, as RFC 9110 §10.1.1 lets a client do by itself.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request body on its way up.
#[derive(Debug, Default)]
pub struct RequestBody {
    source: Source,
    /// Closed until the upstream wants the body.
    gate: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Default)]
enum Source {
    /// The empty body.
    #[default]
    Empty,
    /// What the client sends. Boxed, since most requests have no body, and what
    /// is known of a request is moved about.
    Client(Box<ClientBody>),
    /// What it sends, and has sent before.
    Tape(Reader),
    /// What it has sent, all of it.
    Whole(Whole),
}

/// What of a body is kept, to send it again.
#[derive(Debug)]
pub(super) struct Kept(Keeping);

#[derive(Debug)]
enum Keeping {
    /// There is nothing to keep.
    Nothing,
    Tape(Rc<RefCell<Tape>>),
    Whole(Whole),
}

impl RequestBody {
    /// A body within `limits`. `received` counts its bytes.
    pub(super) fn new(
        incoming: Incoming,
        (identity_fields, names): (&Arc<IdentityFields>, FieldNames),
        limits: BodyLimits,
        received: &Rc<Received>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::default();
        }
        Self::of(Source::Client(Box::new(ClientBody {
            incoming,
            patience: Patience::with_rate(limits.timeout, limits.rate),
            most: limits.most,
            identity_fields: Arc::clone(identity_fields),
            names,
            received: Rc::clone(received),
            begun: None,
        })))
    }

    fn of(source: Source) -> Self {
        Self { source, gate: None }
    }

    /// Has its first `limit` bytes kept as it passes.
    pub(super) fn keep(&mut self, limit: usize) -> Kept {
        match std::mem::take(&mut self.source) {
            Source::Client(client) => {
                let tape = Rc::new(RefCell::new(Tape::new(client, limit)));
                self.source = Source::Tape(Reader::new(&tape));
                Kept(Keeping::Tape(tape))
            }
            Source::Whole(whole) => {
                let kept = Kept(Keeping::Whole(whole.again()));
                self.source = Source::Whole(whole);
                kept
            }
            source => {
                self.source = source;
                Kept(Keeping::Nothing)
            }
        }
    }

    /// Keeps the body back until the upstream has said `100 Continue`, or for a
    /// second.
    ///
    /// The client's `100 Continue` is sent when the body is first asked for:
    /// so the client hears it when the upstream has said it.
    pub(super) fn wait_for_continue(&mut self) {
        if !matches!(self.source, Source::Empty) {
            self.gate = Some(Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)));
        }
    }
}

impl Kept {
    /// The body from its beginning; the one before it is void from now on.
    /// `None`: it is not there as a whole.
    pub(super) fn again(&self) -> Option<RequestBody> {
        let tape = match &self.0 {
            Keeping::Nothing => return Some(RequestBody::default()),
            Keeping::Whole(whole) => return Some(RequestBody::of(Source::Whole(whole.again()))),
            Keeping::Tape(tape) => tape,
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
            ready!(gate.as_mut().poll(cx));
            self.gate = None;
        }
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Client(client) => client.poll_frame(cx),
            Source::Tape(reader) => reader.poll_frame(cx),
            Source::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Client(client) => client.is_end_stream(),
            Source::Tape(reader) => reader.is_at_the_end(),
            Source::Whole(whole) => whole.is_at_the_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Client(client) => client.size_hint(),
            Source::Tape(reader) => reader.size_hint(),
            Source::Whole(whole) => SizeHint::with_exact(whole.left()),
        }
    }
}

impl UploadBody for RequestBody {
    fn again(&self) -> Option<Self> {
        match &self.source {
            Source::Empty => Some(Self::default()),
            Source::Whole(whole) => Some(Self::of(Source::Whole(whole.again()))),
            Source::Client(_) | Source::Tape(_) => None,
        }
    }

    fn go_on(&mut self) {
        self.gate = None;
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
    names: FieldNames,
    received: Rc<Received>,
    /// What was taken of it before, and the memory for that.
    begun: Option<(Bytes, Portion)>,
}

impl ClientBody {
    fn is_end_stream(&self) -> bool {
        self.begun.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = self.begun.as_ref().map_or(0, |(begun, _)| begun.len());
        plus(&self.incoming.size_hint(), begun)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some((begun, _)) = self.begun.take() {
            return Poll::Ready(Some(Ok(Frame::data(begun))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            let excess = self.patience.poll(cx, self.received.bytes());
            return excess.map_or(Poll::Pending, |excess| {
                Poll::Ready(Some(Err(self.exceeds(excess))))
            });
        };
        self.patience.content();
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.checked(frame)),
            Some(Err(cause)) => Some(Err(BodyFault::Client(cause))),
            None => None,
        })
    }

    fn exceeds(&self, excess: Excess) -> BodyFault {
        self.received.exceed(excess);
        BodyFault::Limit(excess)
    }

    fn checked(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                let known = (&*self.identity_fields, self.names);
                headers::strip_trailers(&mut trailers, known)
                    .map_err(|refused| BodyFault::Trailers(refused.cause))?;
                Frame::trailers(trailers)
            }
            Err(frame) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.received.add(length);
                if self.received.bytes() > self.most {
                    return Err(self.exceeds(Excess::TooLarge));
                }
                frame
            }
        })
    }
}

/// A client's body, and what has been read of it.
#[derive(Debug)]
struct Tape {
    client: Box<ClientBody>,
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
    fn new(client: Box<ClientBody>, limit: usize) -> Self {
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
        self.ended = self.client.is_end_stream();
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
        let ended = tape.ended || tape.client.is_end_stream();
        let past_trailers = tape.trailers.is_none() || self.past_trailers;
        tape.turn == self.turn && self.at >= tape.data.len() && ended && past_trailers
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.tape.borrow();
        let kept = tape.data.len().saturating_sub(self.at);
        if tape.ended {
            return SizeHint::with_exact(kept as u64);
        }
        plus(&tape.client.size_hint(), kept)
    }
}

/// The size of what is to come and of what is here already.
fn plus(rest: &SizeHint, here: usize) -> SizeHint {
    let here = here as u64;
    match rest.upper() {
        Some(most) if most == rest.lower() => SizeHint::with_exact(most.saturating_add(here)),
        _ => {
            let mut hint = SizeHint::new();
            hint.set_lower(rest.lower().saturating_add(here));
            hint
        }
    }
}
