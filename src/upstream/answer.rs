//! A response head, and the body that follows.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::Response;
use hyper::body::Body;

use super::UploadBody;
use super::body::UpstreamBody;

/// The most of an unwanted body that is read for its connection's sake.
const DISCARDED: usize = 8 * 1024;
/// How long that may take: a new connection is soon cheaper than the wait.
const DISCARD_TIME: Duration = Duration::from_millis(250);

/// A response head, and the body that follows.
#[derive(Debug)]
pub struct Answer<B: UploadBody> {
    /// The response.
    pub response: Response<UpstreamBody<B>>,
    /// The index of the endpoint that gave it.
    pub endpoint: usize,
}

impl<B: UploadBody> Answer<B> {
    /// Lets go of a response that goes nowhere. Where little of it is left it is
    /// read to its end, and its connection serves the next request.
    pub async fn discard(self) {
        let mut body = self.response.into_body();
        let read_to_its_end = async {
            let mut room = DISCARDED;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let length = frame.data_ref().map_or(0, bytes::Bytes::len);
                match room.checked_sub(length) {
                    Some(left) => room = left,
                    None => return,
                }
            }
        };
        // Whatever it came to, the rest is dropped here.
        tokio::time::timeout(DISCARD_TIME, read_to_its_end)
            .await
            .ok();
    }
}
