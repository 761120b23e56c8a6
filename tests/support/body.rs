//! A message body that a test feeds piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A body of known or unknown length.
pub(crate) struct Body {
    frames: UnboundedReceiver<io::Result<Frame<Bytes>>>,
    length: Option<u64>,
}

/// The end of a [`Body`] that a test writes to; dropping it ends the body.
pub(crate) struct BodyWriter {
    frames: UnboundedSender<io::Result<Frame<Bytes>>>,
}

impl Body {
    /// No content at all.
    pub(crate) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Content that is there at once; its length is announced.
    pub(crate) fn full(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let (writer, body) = Self::streaming();
        let length = u64::try_from(content.len()).unwrap();
        if length > 0 {
            writer.push(Ok(Frame::data(content)));
        }
        Self {
            length: Some(length),
            ..body
        }
    }

    /// Content that comes when the test writes it.
    pub(crate) fn streaming() -> (BodyWriter, Self) {
        let (sender, receiver) = unbounded_channel();
        (
            BodyWriter { frames: sender },
            Self {
                frames: receiver,
                length: None,
            },
        )
    }
}

impl BodyWriter {
    /// Sends one piece.
    pub(crate) fn piece(&self, content: impl Into<Bytes>) {
        self.push(Ok(Frame::data(content.into())));
    }

    /// Ends the body with trailers.
    pub(crate) fn trailers(self, trailers: HeaderMap) {
        self.push(Ok(Frame::trailers(trailers)));
    }

    /// Breaks the message off, so that its receiver cannot take it for whole.
    pub(crate) fn break_off(self) {
        self.push(Err(io::Error::other("broken off by the test")));
    }

    fn push(&self, frame: io::Result<Frame<Bytes>>) {
        if self.frames.send(frame).is_err() {
            eprintln!("the body was dropped before it was whole");
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.frames.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
