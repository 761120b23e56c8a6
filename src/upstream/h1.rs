//! One HTTP/1.1 connection, driven by whoever waits for its response.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::UploadBody;
use super::body::{Tracked, Upload};
use super::fault::{SendFault, SendFaultKind};
use super::gate::Placed;
use super::owner::Owner;
use super::prelude::Prelude;
use super::wire::{LinkFault, Wire};

/// The largest response head of a connection that changes its protocol, in bytes;
/// and the most it is read in one go.
const MAX_HEAD: usize = 256 * 1024;
/// The most fields in it.
const MAX_FIELDS: usize = 256;

/// One HTTP/1.1 connection.
pub(super) struct H1<B: UploadBody> {
    /// In one place, since a connection is moved about; and shared by the two who
    /// send and read where a service answers before it has read all.
    link: Rc<Link<B>>,
}

struct Link<B: UploadBody> {
    wire: RefCell<Wire<B>>,
    owner: Owner,
    prelude: Prelude,
    /// Where it leads.
    address: Option<SocketAddr>,
    /// Whether a request has been answered on it before.
    reused: Cell<bool>,
    idle_since: Cell<Instant>,
}

impl<B: UploadBody> std::fmt::Debug for H1<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H1")
            .field("reused", &self.link.reused.get())
            .finish_non_exhaustive()
    }
}

/// Why there is no response head.
pub(super) enum Unanswered<B> {
    /// Not a byte of the request was sent; here it is again.
    Unsent(Box<Request<Tracked<B>>>, LinkFault),
    /// It was, or may have been; here it is again, if it was to be given back.
    Lost(LinkFault, Option<Box<Request<Tracked<B>>>>),
    /// Nothing came within the time.
    Timeout,
}

impl<B: UploadBody> H1<B> {
    /// Begins HTTP/1.1 on a connection.
    pub(super) fn begin(stream: Placed, owner: Owner) -> Self {
        Self {
            link: Rc::new(Link {
                address: stream.peer_address(),
                prelude: stream.prelude(),
                wire: RefCell::new(Wire::new(stream)),
                owner,
                reused: Cell::new(false),
                idle_since: Cell::new(Instant::now()),
            }),
        }
    }

    /// The same connection, for whoever sends while another one reads.
    pub(super) fn other_half(&self) -> Self {
        Self {
            link: Rc::clone(&self.link),
        }
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
        self.link.reused.get()
    }

    /// Since when nobody has used it.
    pub(super) fn idle_since(&self) -> Instant {
        self.link.idle_since.get()
    }

    /// Whether nothing has happened on it since it came to rest.
    pub(super) fn is_alive(&self, cx: &mut Context<'_>) -> bool {
        self.link.wire.borrow_mut().rests_on(cx)
    }

    /// Whether nothing more of a response is expected.
    pub(super) fn is_read(&self) -> bool {
        self.link.wire.borrow().is_read()
    }

    /// Whether all of the request has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.link.wire.borrow().is_sent()
    }

    /// How much of a response is still expected.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.link.wire.borrow().size_hint()
    }

    /// The next piece of a response's body; `None`: it is complete.
    pub(super) fn poll_body(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkFault>>> {
        self.link.wire.borrow_mut().poll_body(cx)
    }

    /// After a response: whether it can take another request now.
    pub(super) fn rest(&self) -> bool {
        self.link.reused.set(true);
        self.link.idle_since.set(Instant::now());
        self.link.wire.borrow().is_at_rest()
    }

    /// Sends what is left of a request; whether the service took it.
    pub(super) async fn send_on(&self) -> bool {
        let sent = poll_fn(|cx| self.link.wire.borrow_mut().poll_upload(cx));
        sent.await.is_ok()
    }

    /// Sends a request and waits for the response head, for at most `limit`
    /// after the last piece of the request. `again`: it is given back if it may
    /// be sent another time.
    pub(super) async fn exchange(
        &self,
        mut request: Box<Request<Tracked<B>>>,
        again: bool,
        limit: Duration,
    ) -> Result<Response<()>, Unanswered<B>> {
        let upload = request.body().upload();
        let spare = if again { request.body().again() } else { None };
        let empty = || Tracked::new(B::default());
        // What came while it rested is no answer to this.
        if self.is_reused() && !poll_fn(|cx| Poll::Ready(self.is_alive(cx))).await {
            return Err(Unanswered::Unsent(request, LinkFault::Closed));
        }
        let body = std::mem::replace(request.body_mut(), empty());
        let begun = self.link.wire.borrow_mut().begin(&request, body);
        begun.map_err(|fault| Unanswered::Lost(fault, None))?;
        self.link.prelude.begin();
        let fields = request.headers_mut();
        let answer = poll_fn(|cx| self.link.wire.borrow_mut().poll_head(fields, cx));
        match within(answer, upload.as_ref(), limit).await {
            Some(Ok(response)) => {
                self.link.prelude.end();
                Ok(response)
            }
            Some(Err(fault)) => {
                let mut wire = self.link.wire.borrow_mut();
                if !wire.has_begun() && !fault.is_of_upload() {
                    *request.body_mut() = wire.take_body().unwrap_or_else(empty);
                    return Err(Unanswered::Unsent(request, fault));
                }
                let again = spare.map(|body| {
                    *request.body_mut() = body;
                    request
                });
                Err(Unanswered::Lost(fault, again))
            }
            None => Err(Unanswered::Timeout),
        }
    }
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
