//! HTTP/2 to an upstream: one connection per endpoint and worker, driven by a task of its own.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::UploadBody;
use super::body::Tracked;
use crate::tls::Stream;

/// Between two pings on a connection with requests in flight.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response head, in bytes.
const MAX_HEAD: u32 = 256 * 1024;
/// How many streams are opened before the service has said its settings: a
/// number that services do not choose, which so tells that they have not.
const FIRST_STREAMS: usize = 99;
/// How long a service's settings are waited for (RFC 9113 §3.4): they are the
/// first that it sends …
const SETTINGS_PATIENCE: Duration = Duration::from_secs(5);
/// … and how often it is looked whether they have come.
const SETTINGS_LOOK: Duration = Duration::from_millis(5);

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

type Driven<B> = Connection<TokioIo<Stream>, Tracked<B>, Local>;

/// A handle to an HTTP/2 connection.
pub(super) struct H2<B: UploadBody> {
    sender: SendRequest<Tracked<B>>,
    /// It is its task's, and gone when that has ended.
    connection: Weak<RefCell<Driven<B>>>,
}

impl<B: UploadBody> Clone for H2<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            connection: Weak::clone(&self.connection),
        }
    }
}

impl<B: UploadBody> fmt::Debug for H2<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2").finish_non_exhaustive()
    }
}

impl<B: UploadBody> H2<B> {
    /// Whether it takes no more requests.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request.
    pub(super) fn try_send_request(
        &mut self,
        request: Request<Tracked<B>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Tracked<B>>>>> + use<B>
    {
        self.sender.try_send_request(request)
    }

    /// Whether its service says that it does not take extended CONNECT (RFC 8441
    /// §3); waits for its settings. A connection that has ended says nothing.
    pub(super) async fn refuses_extended_connect(&self) -> bool {
        let start = Instant::now();
        loop {
            let said = match self.connection.upgrade() {
                Some(connection) => said(&connection.borrow()),
                None => return false,
            };
            match said {
                Some(takes) => return !takes,
                None if start.elapsed() >= SETTINGS_PATIENCE => return true,
                None => tokio::time::sleep(SETTINGS_LOOK).await,
            }
        }
    }
}

/// Whether a service takes extended CONNECT; `None`: its settings have not come.
fn said<B: UploadBody>(connection: &Driven<B>) -> Option<bool> {
    let takes = connection.is_extended_connect_protocol_enabled();
    let come = connection.current_max_send_streams() != FIRST_STREAMS;
    (takes || come).then_some(takes)
}

/// Begins HTTP/2 with prior knowledge (RFC 9113 §3.3) on a connection. `held` is
/// dropped when it has ended.
pub(super) async fn begin<B: UploadBody>(
    stream: Stream,
    held: impl Sized + 'static,
) -> Result<H2<B>, hyper::Error> {
    let (sender, connection) = Builder::new(Local)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(MAX_HEAD)
        .initial_max_send_streams(FIRST_STREAMS)
        .adaptive_window(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let driven = Rc::new(RefCell::new(connection));
    let connection = Rc::downgrade(&driven);
    spawn(async move {
        if let Err(e) = poll_fn(|cx| Pin::new(&mut *driven.borrow_mut()).poll(cx)).await {
            tracing::debug!(cause = %e, "an HTTP/2 connection to an upstream ended");
        }
        drop((driven, held));
    });
    Ok(H2 { sender, connection })
}
