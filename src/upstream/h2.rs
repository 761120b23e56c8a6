//! HTTP/2 to an upstream: one connection per endpoint and worker, driven by a task of its own.

use std::future::Future;
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::UploadBody;
use super::body::Tracked;
use crate::tls::Stream;

/// Between two pings on a connection with requests in flight.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response head, in bytes.
const MAX_HEAD: u32 = 256 * 1024;

/// Starts tasks on the worker they are started from; for HTTP/2 on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn(future);
    }
}

/// Starts a task on this worker. It ends with its connection, or with the worker.
pub(super) fn spawn<F: Future<Output: 'static> + 'static>(future: F) {
    drop(tokio::task::spawn_local(future));
}

/// Whether the upstream says that it has not processed the request at all
/// (RFC 9113 §8.7): it refused the stream, or went away before it.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<::h2::Error>())
        .is_some_and(|e| {
            e.reason() == Some(::h2::Reason::REFUSED_STREAM) || (e.is_go_away() && e.is_remote())
        })
}

/// Begins HTTP/2 with prior knowledge (RFC 9113 §3.3) on a connection.
pub(super) async fn begin<B: UploadBody>(
    stream: Stream,
) -> Result<SendRequest<Tracked<B>>, hyper::Error> {
    let (sender, connection) = Builder::new(Local)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(MAX_HEAD)
        .adaptive_window(true)
        .handshake(TokioIo::new(stream))
        .await?;
    spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(cause = %e, "an HTTP/2 connection to an upstream ended");
        }
    });
    Ok(sender)
}
