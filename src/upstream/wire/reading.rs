//! Where in what a service says the reading stands.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version};
use hyper::body::Frame;

use super::LinkFault;
use super::chunks::{Chunk, Chunks};
use super::response_head::{Length, Parsed, Stated};

/// What is expected of the service.
#[derive(Debug)]
pub(super) enum Reading {
    /// Nothing.
    Idle,
    /// The head of a response, to a request of this version; whether its method
    /// is `HEAD`.
    Head { of_head: bool, version: Version },
    /// A body that ends after so many bytes.
    Sized(u64),
    /// One that says where it ends.
    Chunked(Chunks),
    /// One that ends with the connection.
    ToTheEnd,
}

/// What there is of a body.
#[derive(Debug)]
pub(super) enum Next {
    Frame(Frame<Bytes>),
    /// It has come to its end.
    End,
    /// More has to be received first.
    More,
}

impl Reading {
    /// Goes on behind the head of a response. Whether another request may be sent
    /// after it.
    ///
    /// # Errors
    ///
    /// The head does not say in one way how far its body goes.
    pub(super) fn go_on(&mut self, head: &Parsed, fields: &HeaderMap) -> Result<bool, LinkFault> {
        let Self::Head { of_head, version } = *self else {
            return Err(LinkFault::Malformed("a response that nobody has asked for"));
        };
        let stated = Stated::of(head, fields);
        let length = stated.length(of_head)?;
        let is_kept = length != Length::ToTheEnd && stated.is_kept(version);
        *self = match length {
            Length::Sized(0) => Self::Idle,
            Length::Sized(left) => Self::Sized(left),
            Length::Chunked => Self::Chunked(Chunks::default()),
            Length::ToTheEnd => Self::ToTheEnd,
        };
        Ok(is_kept)
    }

    /// How many bytes of a body are still expected; `None`: nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Idle => Some(0),
            Self::Sized(left) => Some(*left),
            Self::Head { .. } | Self::Chunked(_) | Self::ToTheEnd => None,
        }
    }

    /// What there is of a body in what was received.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Next, LinkFault> {
        let next = match self {
            Self::Idle => return Ok(Next::End),
            Self::Head { .. } => {
                return Err(LinkFault::Malformed(
                    "the body of a response that has no head",
                ));
            }
            Self::Chunked(chunks) => match chunks.next(received)? {
                Chunk::Data(data) => Next::Frame(Frame::data(data)),
                Chunk::More => Next::More,
                Chunk::End(trailers) => {
                    *self = Self::Idle;
                    trailers.map_or(Next::End, |trailers| Next::Frame(Frame::trailers(trailers)))
                }
            },
            _ if received.is_empty() => Next::More,
            Self::ToTheEnd => Next::Frame(Frame::data(received.split().freeze())),
            Self::Sized(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let here = here.min(received.len());
                *left = left.saturating_sub(here as u64);
                if *left == 0 {
                    *self = Self::Idle;
                }
                Next::Frame(Frame::data(received.split_to(here).freeze()))
            }
        };
        Ok(next)
    }
}
