//! Bodies that are taken before their requests go up.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;

use super::{ClientBody, RequestBody, Source};
use crate::proxy::body::BodyFault;
use crate::upstream::Portion;

/// A body that is held whole; copies share its memory.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    held: Rc<Held>,
    given: bool,
    past_trailers: bool,
}

#[derive(Debug)]
struct Held {
    data: Bytes,
    trailers: Option<HeaderMap>,
    _memory: Portion,
}

/// Why a body could not be taken.
#[derive(Debug)]
pub(in crate::proxy) enum Gap {
    /// It broke off, or stood still.
    Broken(BodyFault),
    /// There is no memory left for it.
    NoRoom,
}

impl RequestBody {
    /// Takes the body, as one that is held whole. Of one with more than `limit`
    /// bytes so much is taken, and a piece; the rest comes as it comes.
    pub(in crate::proxy) async fn gather(self, limit: usize, memory: Portion) -> Result<Self, Gap> {
        match self.source {
            Source::Client(client) => Ok(Self::of(gather(client, limit, memory).await?)),
            _ => Ok(self),
        }
    }

    /// Whether trailers are held that follow it.
    pub(in crate::proxy) fn has_trailers(&self) -> bool {
        match &self.source {
            Source::Whole(whole) => whole.held.trailers.is_some(),
            _ => false,
        }
    }
}

async fn gather(
    mut client: Box<ClientBody>,
    limit: usize,
    mut memory: Portion,
) -> Result<Source, Gap> {
    let mut data = Vec::new();
    let mut trailers = None;
    while let Some(frame) = poll_fn(|cx| client.poll_frame(cx)).await {
        match frame.map_err(Gap::Broken)?.into_data() {
            Ok(piece) => {
                if !memory.grow(piece.len()) {
                    return Err(Gap::NoRoom);
                }
                data.extend_from_slice(&piece);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        // Nobody asks a body that is known to be at its end.
        if trailers.is_some() || client.is_end_stream() {
            break;
        }
        if data.len() > limit {
            client.begun = Some((Bytes::from(data), memory));
            return Ok(Source::Client(client));
        }
    }
    let trailers = trailers.filter(|trailers| !trailers.is_empty());
    if data.is_empty() && trailers.is_none() {
        return Ok(Source::Empty);
    }
    let held = Held {
        data: Bytes::from(data),
        trailers,
        _memory: memory,
    };
    Ok(Source::Whole(Whole {
        held: Rc::new(held),
        given: false,
        past_trailers: false,
    }))
}

impl Whole {
    /// The same from its beginning.
    pub(super) fn again(&self) -> Self {
        Self {
            held: Rc::clone(&self.held),
            given: false,
            past_trailers: false,
        }
    }

    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.left() > 0 {
            self.given = true;
            return Some(Frame::data(self.held.data.clone()));
        }
        if self.past_trailers {
            return None;
        }
        self.past_trailers = true;
        self.held.trailers.clone().map(Frame::trailers)
    }

    /// How many bytes are still to be given.
    pub(super) fn left(&self) -> u64 {
        if self.given {
            0
        } else {
            self.held.data.len() as u64
        }
    }

    pub(super) fn is_at_the_end(&self) -> bool {
        self.left() == 0 && (self.past_trailers || self.held.trailers.is_none())
    }
}
