//! Responses that are read before the client takes them.
//!
//! # Rules
//!
//! * A response that is complete with its first piece is passed on as it is. For
//!   any other a task reads on, and the client's side takes from it.
//! * What is held is bounded, for each response and for all of an upstream; one
//!   piece more is held by whoever is about to put it there.
//! * Every piece is passed on as it came, without a copy, as soon as it is asked
//!   for.
//! * When the client's side is dropped, the reading ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::UploadBody;
use super::body::Arriving;
use super::in_use::Portion;
use super::wire::LinkFault;

/// What a piece costs beside its bytes, so that many small ones are bounded too.
const PIECE: usize = 256;

/// How much of a response may be held.
#[derive(Debug)]
pub(super) struct Room {
    /// Of this response, in bytes.
    pub(super) limit: usize,
    /// Of all.
    pub(super) memory: Portion,
}

/// The client's side of a response that is read ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    held: Rc<RefCell<Held>>,
    reading: AbortHandle,
}

/// What has been read and not been taken.
#[derive(Debug)]
struct Held {
    pieces: VecDeque<Result<Frame<Bytes>, LinkFault>>,
    /// Their bytes, and what they are charged with.
    bytes: usize,
    charged: usize,
    room: Room,
    /// The upstream's memory is used up.
    is_short: bool,
    /// What is still to be read.
    rest: SizeHint,
    ended: bool,
    /// Waits for a piece.
    taker: Option<Waker>,
    /// Waits for room.
    reader: Option<Waker>,
}

impl Ahead {
    /// Goes on reading a response.
    pub(super) fn new<B: UploadBody>(body: Arriving<B>, room: Room) -> Self {
        let held = Rc::new(RefCell::new(Held {
            pieces: VecDeque::new(),
            bytes: 0,
            charged: 0,
            room,
            is_short: false,
            rest: body.size_hint(),
            ended: false,
            taker: None,
            reader: None,
        }));
        let reading = tokio::task::spawn_local(read(body, Rc::clone(&held)));
        Self {
            held,
            reading: reading.abort_handle(),
        }
    }

    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkFault>>> {
        let mut held = self.held.borrow_mut();
        match held.take() {
            Some(piece) => Poll::Ready(Some(piece)),
            None if held.ended => Poll::Ready(None),
            None => {
                held.taker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let held = self.held.borrow();
        held.ended && held.pieces.is_empty()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let held = self.held.borrow();
        let here = u64::try_from(held.bytes).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(held.rest.lower().saturating_add(here));
        if let Some(most) = held.rest.upper() {
            hint.set_upper(most.saturating_add(here));
        }
        hint
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Held {
    fn put(&mut self, piece: Result<Frame<Bytes>, LinkFault>) {
        let bytes = length(&piece);
        self.bytes = self.bytes.saturating_add(bytes);
        let charge = bytes.saturating_add(PIECE);
        if self.room.memory.grow(charge) {
            self.charged = self.charged.saturating_add(charge);
        } else {
            self.is_short = true;
        }
        self.pieces.push_back(piece);
        self.tell();
    }

    /// Tells the client's side that something has changed.
    fn tell(&mut self) {
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
    }

    fn take(&mut self) -> Option<Result<Frame<Bytes>, LinkFault>> {
        let piece = self.pieces.pop_front()?;
        let bytes = length(&piece);
        self.bytes = self.bytes.saturating_sub(bytes);
        let charge = bytes.saturating_add(PIECE).min(self.charged);
        self.charged -= charge;
        self.room.memory.shrink(charge);
        if self.pieces.is_empty() {
            self.is_short = false;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Some(piece)
    }

    fn has_room(&self) -> bool {
        self.pieces.is_empty() || (!self.is_short && self.charged < self.room.limit)
    }
}

fn length(piece: &Result<Frame<Bytes>, LinkFault>) -> usize {
    let data = piece.as_ref().ok().and_then(Frame::data_ref);
    data.map_or(0, Bytes::len)
}

/// Reads a response to its end, as long as there is room.
async fn read<B: UploadBody>(mut body: Arriving<B>, held: Rc<RefCell<Held>>) {
    loop {
        let next = poll_fn(|cx| {
            {
                let mut held = held.borrow_mut();
                if !held.has_room() {
                    held.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            let next = ready!(Pin::new(&mut body).poll_frame(cx));
            Poll::Ready(next)
        })
        .await;
        let mut held = held.borrow_mut();
        let goes_on = match &next {
            Some(Ok(frame)) => !frame.is_trailers() && !body.is_end_stream(),
            Some(Err(_)) | None => false,
        };
        held.rest = body.size_hint();
        held.ended = !goes_on;
        match next {
            Some(piece) => held.put(piece),
            None => held.tell(),
        }
        if !goes_on {
            return;
        }
    }
}
