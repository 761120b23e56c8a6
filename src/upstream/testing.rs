//! A service for the tests of this and other rooms, on the worker that they run on.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::{Local, Plan, UploadBody, load};
use crate::config::{self, Files};

/// A body that is sent piece by piece; the default is empty.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Option<UnboundedReceiver<Bytes>>);

impl Pieces {
    pub(crate) fn channel() -> (UnboundedSender<Bytes>, Self) {
        let (sender, receiver) = unbounded_channel();
        (sender, Self(Some(receiver)))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Some(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

impl UploadBody for Pieces {
    fn again(&self) -> Option<Self> {
        self.0.is_none().then(Self::default)
    }

    fn go_on(&mut self) {}
}

/// A service on a port of its own, and what it has seen.
///
/// It answers at once; to `/held` when it is released, to `/long` with half of a
/// body until then; to `/lost`, when that is the second request, by giving it up;
/// to `/upload` before the body has come; to `/switch` with an echo.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Rc<Seen>,
}

#[derive(Debug)]
pub(crate) struct Seen {
    /// Connections so far, and now.
    pub(crate) opened: Cell<usize>,
    pub(crate) open: Cell<usize>,
    pub(crate) requests: Cell<usize>,
    pub(crate) uploaded: RefCell<Vec<u8>>,
    /// What holds requests for `/held`, `/long` and `/lost` back.
    gate: Semaphore,
}

impl Service {
    pub(crate) async fn start(protocol: &'static str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self {
            address: socket.local_addr().unwrap(),
            seen: Rc::new(Seen {
                opened: Cell::new(0),
                open: Cell::new(0),
                requests: Cell::new(0),
                uploaded: RefCell::default(),
                gate: Semaphore::new(0),
            }),
        };
        spawn_local(accept(socket, protocol, Rc::clone(&service.seen)));
        service
    }

    pub(crate) fn release(&self) {
        self.seen.gate.add_permits(100);
    }

    pub(crate) async fn sees_requests(&self, count: usize) {
        eventually("the requests", || self.seen.requests.get() == count).await;
    }

    pub(crate) async fn sees_no_connection(&self) {
        eventually("the end of the connections", || self.seen.open.get() == 0).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own service needs no back-off"
)]
async fn accept(socket: TcpListener, protocol: &'static str, seen: Rc<Seen>) {
    loop {
        let (stream, _) = socket.accept().await.unwrap();
        let seen = Rc::clone(&seen);
        spawn_local(async move {
            seen.opened.set(seen.opened.get() + 1);
            seen.open.set(seen.open.get() + 1);
            converse(stream, protocol, Rc::clone(&seen)).await;
            seen.open.set(seen.open.get() - 1);
        });
    }
}

async fn converse(stream: TcpStream, protocol: &str, seen: Rc<Seen>) {
    let service = service_fn(move |request| answer(request, Rc::clone(&seen)));
    let io = TokioIo::new(stream);
    // How it ended is for the tests to see on the other side.
    if protocol == "h2" {
        http2::Builder::new(Local)
            .serve_connection(io, service)
            .await
            .ok();
    } else {
        http1::Builder::new()
            .serve_connection(io, service)
            .with_upgrades()
            .await
            .ok();
    }
}

async fn answer(
    mut request: Request<Incoming>,
    seen: Rc<Seen>,
) -> Result<Response<Pieces>, std::io::Error> {
    seen.requests.set(seen.requests.get() + 1);
    let path = request.uri().path().to_owned();
    let (pieces, body) = Pieces::channel();
    let mut response = Response::new(body);
    match path.as_str() {
        "/held" => seen.gate.acquire().await.unwrap().forget(),
        "/long" => {
            pieces.send("begun, ".into()).unwrap();
            spawn_local(async move {
                seen.gate.acquire().await.unwrap().forget();
                pieces.send("ended".into()).unwrap();
            });
            return Ok(response);
        }
        // The first time it is given up without an answer.
        "/lost" if seen.requests.get() == 2 => {
            seen.gate.acquire().await.unwrap().forget();
            return Err(std::io::Error::other("lost"));
        }
        // Answered before it has come.
        "/upload" => {
            spawn_local(async move {
                let body = request.into_body().collect().await.unwrap();
                seen.uploaded.borrow_mut().extend(body.to_bytes());
            });
        }
        "/switch" => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            spawn_local(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
            *response.body_mut() = Pieces::default();
            return Ok(response);
        }
        _ => {}
    }
    pieces.send("done".into()).unwrap();
    Ok(response)
}

pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "no sign of {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Both protocols, each on a worker of its own.
pub(crate) fn in_both_protocols<F: Future<Output = ()>>(test: impl Fn(&'static str) -> F) {
    for protocol in ["http/1.1", "h2"] {
        on_a_worker(test(protocol));
    }
}

pub(crate) fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// The plan of an upstream with these endpoints; `more`: further lines of its table.
pub(crate) fn plan_of(endpoints: &[&str], more: &str) -> Arc<Plan> {
    let text = format!(
        "[listeners.local]\nbind = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"orders\"\n\
         [upstreams.orders]\nendpoints = {endpoints:?}\n{more}\n"
    );
    let config = config::parse(&text, Path::new("config.toml"));
    let config = config.finish(Vec::new()).unwrap();
    load(&config, &Files::new(), None, &[]).unwrap().remove(0)
}
