//! Reads on after a response that ended the connection before its request did.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// How long a client may take to notice that its request was answered.
const TIME: Duration = Duration::from_secs(2);
/// How much of its request is read and dropped meanwhile.
const BYTES: usize = 4 * 1024 * 1024;

/// Reads and drops what a client still sends, for a while.
///
/// A socket that is closed with unread bytes in it makes the kernel send a
/// reset, and a client that is still sending may never see its answer
/// (RFC 9112 §9.6).
#[derive(Debug)]
pub(super) struct Linger {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(super) fn begin() -> Self {
        Self {
            end: Box::pin(tokio::time::sleep(TIME)),
            left: BYTES,
        }
    }

    /// Waits until it is [`Self::poll`]'s time to end.
    pub(super) async fn finish(mut self, stream: &mut (impl AsyncRead + Unpin)) {
        poll_fn(|cx| self.poll(cx, stream)).await;
    }

    /// Ready when the client has hung up, or has had enough time or room.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<()> {
        while self.left > 0 {
            let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
            let mut dropped = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                    self.left = self.left.saturating_sub(dropped.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.end.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_client_hangs_up() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"the rest").await.unwrap();
        drop(client);
        let begun = Instant::now();
        let mut linger = Linger::begin();
        poll_fn(|cx| linger.poll(cx, &mut server)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_after_its_time_when_the_client_says_nothing() {
        let (_client, mut server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let mut linger = Linger::begin();
        poll_fn(|cx| linger.poll(cx, &mut server)).await;
        assert!(begun.elapsed() >= TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_after_so_many_bytes_when_the_client_never_stops() {
        let mut server = tokio::io::repeat(b'x');
        let begun = Instant::now();
        let mut linger = Linger::begin();
        poll_fn(|cx| linger.poll(cx, &mut server)).await;
        assert!(begun.elapsed() < TIME);
    }
}
