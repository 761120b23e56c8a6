//! One HTTP/1.1 connection, driven by whoever waits for its response.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, Version};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::UploadBody;
use super::body::{Tracked, Upload};
use super::fault::{SendFault, SendFaultKind};
use super::gate::Placed;
use super::owner::Owner;
use super::prelude::Prelude;
use super::quiet::QuietWaker;

/// The largest response head, in bytes; and the most it is read in one go.
const MAX_HEAD: usize = 256 * 1024;
/// The most fields in a response head.
const MAX_FIELDS: usize = 256;

/// A connection and the handle to send requests on it.
pub(super) struct H1<B: UploadBody> {
    /// In one place, since a connection is moved about.
    link: Box<Link<B>>,
}

struct Link<B: UploadBody> {
    sender: SendRequest<Tracked<B>>,
    /// `None` once it has ended. Dropping it then matters: it holds requests
    /// that were handed to it and never looked at.
    connection: Option<Connection<TokioIo<Placed>, Tracked<B>>>,
    /// Both are polled by one task at a time: who uses the connection, or who
    /// looks after those that rest.
    waker: QuietWaker,
    owner: Owner,
    prelude: Prelude,
    /// Where it leads.
    address: Option<SocketAddr>,
    /// Whether a request has been answered on it before.
    reused: bool,
    /// Whether none is to be sent on it any more.
    last: bool,
    idle_since: Instant,
}

impl<B: UploadBody> std::fmt::Debug for H1<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H1")
            .field("reused", &self.link.reused)
            .finish_non_exhaustive()
    }
}

/// Why there is no response head.
pub(super) enum Unanswered<B> {
    /// Not a byte of the request was sent; here it is again.
    Unsent(Box<Request<Tracked<B>>>, hyper::Error),
    /// It was, or may have been.
    Lost(hyper::Error),
    /// Nothing came within the time.
    Timeout,
}

impl<B: UploadBody> H1<B> {
    /// Begins HTTP/1.1 on a connection.
    pub(super) async fn begin(stream: Placed, owner: Owner) -> Result<Self, hyper::Error> {
        let address = stream.peer_address();
        let prelude = stream.prelude();
        let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
        let link = Box::new(Link {
            address,
            sender,
            connection: Some(connection),
            waker: QuietWaker::new(),
            owner,
            prelude,
            reused: false,
            last: false,
            idle_since: Instant::now(),
        });
        Ok(Self { link })
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> &Owner {
        &self.link.owner
    }

    /// Where it leads; `None`: to a unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.link.address
    }

    /// Whether a request has been answered on it before.
    pub(super) fn is_reused(&self) -> bool {
        self.link.reused
    }

    /// Since when nobody has used it.
    pub(super) fn idle_since(&self) -> Instant {
        self.link.idle_since
    }

    /// Lets the connection do what it can; whether it is still alive.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Link {
            connection, waker, ..
        } = &mut *self.link;
        // Ready or not, it has done what it can.
        let _ended = waker.poll(cx, |cx| drive(connection, cx));
        connection.is_some()
    }

    /// Polls `incoming`, which comes over this connection, driving it meanwhile.
    pub(super) fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Link {
            connection, waker, ..
        } = &mut *self.link;
        waker.poll(cx, |cx| {
            let frame = Pin::new(&mut *incoming).poll_frame(cx);
            if frame.is_ready() {
                return frame;
            }
            // Asking tells the connection that a piece is wanted; driving it then
            // may bring the piece.
            let _ended = drive(connection, cx);
            Pin::new(&mut *incoming).poll_frame(cx)
        })
    }

    /// After a response: whether it can take another request now.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) -> bool {
        self.link.reused = true;
        self.link.idle_since = Instant::now();
        self.drive(cx) && self.link.sender.is_ready() && !self.link.last
    }

    /// Waits until a request can be sent, driving the connection meanwhile;
    /// whether one can.
    pub(super) async fn settle(&mut self) -> bool {
        let Link {
            connection,
            sender,
            waker,
            ..
        } = &mut *self.link;
        std::future::poll_fn(|cx| {
            waker.poll(cx, |cx| {
                let alive = drive(connection, cx).is_pending();
                match sender.poll_ready(cx) {
                    Poll::Ready(ready) => Poll::Ready(ready.is_ok() && alive),
                    Poll::Pending if !alive => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await
    }

    /// Sends a request and waits for the response head, for at most `limit`
    /// after the last piece of the request.
    pub(super) async fn exchange(
        &mut self,
        request: Box<Request<Tracked<B>>>,
        upload: Option<&Rc<Upload>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Unanswered<B>> {
        let version = request.version();
        let Link {
            connection,
            sender,
            waker,
            prelude,
            last,
            ..
        } = &mut *self.link;
        prelude.begin();
        // Else this would wake whoever used the connection last.
        waker.hush();
        let mut answer = pin!(sender.try_send_request(*request));
        let exchange = std::future::poll_fn(|cx| {
            waker.poll(cx, |cx| {
                let _ended = drive(connection, cx);
                answer.as_mut().poll(cx)
            })
        });
        match within(exchange, upload, limit).await {
            Some(Ok(response)) => {
                prelude.end();
                *last = !is_kept(version, &response);
                Ok(response)
            }
            Some(Err(error)) => Err(unanswered(error)),
            None => Err(Unanswered::Timeout),
        }
    }
}

/// Whether another request may be sent after this response to one of `version`.
///
/// After a response of HTTP/1.0 the library speaks that too, and sends a body
/// without a length as none at all. And HTTP/1.0 keeps a connection only where
/// both sides say so (RFC 9112 §C.2.2).
fn is_kept<B>(version: Version, response: &Response<B>) -> bool {
    if version != Version::HTTP_10 {
        return response.version() != Version::HTTP_10;
    }
    let mut options = response.headers().get_all(CONNECTION).iter();
    options.any(|options| {
        let mut words = options.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
    })
}

/// Lets a connection do what it can; ready once it has ended.
fn drive<B: UploadBody>(
    connection: &mut Option<Connection<TokioIo<Placed>, Tracked<B>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(living) = connection else {
        return Poll::Ready(());
    };
    // How it has ended is told by what it was to carry.
    let _outcome = std::task::ready!(Pin::new(living).poll(cx));
    *connection = None;
    Poll::Ready(())
}

/// Waits for an answer, for at most `limit` after the last piece of the upload
/// (or after now). While the client is to send the next piece, the upstream's
/// time does not run. `None`: it did not come.
pub(super) async fn within<F: Future>(
    answer: F,
    upload: Option<&Rc<Upload>>,
    limit: Duration,
) -> Option<F::Output> {
    let mut answer = pin!(answer);
    let mut last_sign = Instant::now();
    loop {
        match tokio::time::timeout_at(last_sign + limit, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) => match upload {
                Some(upload) if upload.is_waiting_for_client() => last_sign = Instant::now(),
                Some(upload) if upload.last_piece() > last_sign => last_sign = upload.last_piece(),
                _ => return None,
            },
        }
    }
}

fn unanswered<B>(mut error: TrySendError<Request<Tracked<B>>>) -> Unanswered<B> {
    match error.take_message() {
        Some(request) => Unanswered::Unsent(Box::new(request), error.into_error()),
        None => Unanswered::Lost(error.into_error()),
    }
}

/// Sends a request that asks for another protocol over a connection of its own,
/// which a task drives: after the switch it belongs to the tunnel.
pub(super) async fn exchange_once<B: UploadBody>(
    stream: Placed,
    request: Box<Request<Tracked<B>>>,
    limit: Duration,
) -> Result<Response<Incoming>, SendFault> {
    let lost = |e: hyper::Error| SendFault::new(SendFaultKind::Lost, &e);
    let prelude = stream.prelude();
    prelude.begin();
    let (mut sender, connection) = builder()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    super::h2::spawn(async move {
        if let Err(e) = connection.with_upgrades().await {
            tracing::debug!(cause = %e, "an upstream connection for an upgrade ended");
        }
    });
    match tokio::time::timeout(limit, sender.send_request(*request)).await {
        Ok(answer) => {
            prelude.end();
            answer.map_err(lost)
        }
        Err(_) => Err(SendFault::timeout(limit)),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.max_headers(MAX_FIELDS).max_header_size(MAX_HEAD);
    builder
}
