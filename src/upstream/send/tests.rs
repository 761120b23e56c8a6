//! What becomes of connections and requests when an upstream is retired.

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
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::{Answer, Upstream};
use crate::config;
use crate::policy;
use crate::telemetry::{MetricNames, Metrics};
use crate::upstream::{Local, SendFault, UpstreamRequest, load};

/// A body that is sent piece by piece; the default is empty.
#[derive(Debug, Default)]
struct Pieces(Option<UnboundedReceiver<Bytes>>);

impl Pieces {
    fn channel() -> (UnboundedSender<Bytes>, Self) {
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

/// A service, and what it has seen.
struct Service {
    address: SocketAddr,
    seen: Rc<Seen>,
}

#[derive(Debug)]
struct Seen {
    opened: Cell<usize>,
    open: Cell<usize>,
    requests: Cell<usize>,
    uploaded: RefCell<Vec<u8>>,
    /// What holds requests for `/held`, `/long` and `/lost` back.
    gate: Semaphore,
}

impl Service {
    async fn start(protocol: &'static str) -> Self {
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

    /// An upstream whose only endpoint it is.
    fn upstream(&self, protocol: &str) -> Upstream<Pieces> {
        let config = config_of(self.address, protocol);
        let plan = load(&config, None).unwrap().remove(0);
        let metrics = Metrics::new(MetricNames::default());
        Upstream::new(plan, metrics.upstream_of(0))
    }

    fn release(&self) {
        self.seen.gate.add_permits(100);
    }

    async fn sees_requests(&self, count: usize) {
        eventually("the requests", || self.seen.requests.get() == count).await;
    }

    async fn sees_no_connection(&self) {
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

fn config_of(address: SocketAddr, protocol: &str) -> config::Config {
    let text = format!(
        r#"
        [listeners.local]
        bind = "127.0.0.1:0"
        [[routes]]
        upstream = "orders"
        [upstreams.orders]
        endpoints = ["http://{address}"]
        protocol = "{protocol}"
        "#
    );
    config::parse(&text, Path::new("config.toml"))
        .finish(Vec::new())
        .unwrap()
}

/// A request as it goes up in `protocol`.
fn request(protocol: &str, path: &str, body: Pieces) -> UpstreamRequest<Pieces> {
    let config = config_of("127.0.0.1:1".parse().unwrap(), protocol);
    let permit = policy::decide(&config.routes()[0], None).unwrap();
    let upgrade = path == "/switch";
    let mut request = Request::builder().method("POST");
    if upgrade {
        request = request
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "echo");
    } else if body.is_end_stream() {
        request = request.method("GET");
    }
    let request = if protocol == "h2" {
        request.uri(format!("http://orders.test{path}"))
    } else {
        request.uri(path).header("host", "orders.test")
    };
    UpstreamRequest::new(permit, request.body(body).unwrap(), upgrade)
}

async fn send(
    upstream: &Upstream<Pieces>,
    path: &str,
    body: Pieces,
) -> Result<Answer<Pieces>, SendFault> {
    let protocol = match upstream.plan().protocol() {
        config::Protocol::Http1 => "http/1.1",
        config::Protocol::Http2 => "h2",
    };
    upstream
        .send(request(protocol, path, body), Instant::now())
        .await
}

/// The body of the answer to a request without one.
async fn get(upstream: &Upstream<Pieces>, path: &str) -> Bytes {
    body_of(send(upstream, path, Pieces::default()).await).await
}

async fn body_of(answer: Result<Answer<Pieces>, SendFault>) -> Bytes {
    let body = answer.unwrap().response.into_body();
    body.collect().await.unwrap().to_bytes()
}

async fn eventually(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "no sign of {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Both protocols, each on a worker of its own.
fn in_both_protocols<F: Future<Output = ()>>(test: impl Fn(&'static str) -> F) {
    for protocol in ["http/1.1", "h2"] {
        on_a_worker(test(protocol));
    }
}

fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn upstream_that_is_not_retired_keeps_its_connection_for_the_next_request() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        for _ in 0..3 {
            assert_eq!(get(&upstream, "/").await, "done");
        }
        assert_eq!((service.seen.opened.get(), service.seen.open.get()), (1, 1));
    });
}

#[test]
fn resting_connection_of_a_retired_upstream_is_closed_at_once() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        get(&upstream, "/").await;
        assert_eq!(service.seen.open.get(), 1);
        upstream.retire();
        service.sees_no_connection().await;
    });
}

#[test]
fn response_under_way_in_retirement_is_finished_and_then_its_connection_is_closed() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        let answer = send(&upstream, "/long", Pieces::default()).await;
        upstream.retire();
        // Nothing has ended it meanwhile.
        assert_eq!(get(&upstream, "/").await, "done");
        assert_eq!(
            (service.seen.opened.get(), service.seen.requests.get()),
            (2, 2)
        );
        service.release();
        assert_eq!(body_of(answer).await, "begun, ended");
        service.sees_no_connection().await;
    });
}

#[test]
fn request_that_waits_for_its_response_in_retirement_is_answered() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        let retire = async {
            service.sees_requests(1).await;
            upstream.retire();
            service.release();
        };
        let (body, ()) = tokio::join!(get(&upstream, "/held"), retire);
        assert_eq!(body, "done");
        service.sees_no_connection().await;
        assert_eq!(service.seen.opened.get(), 1);
    });
}

#[test]
fn upload_that_outlives_its_response_goes_on_in_retirement() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        let (pieces, body) = Pieces::channel();
        pieces.send("first, ".into()).unwrap();
        assert_eq!(
            body_of(send(&upstream, "/upload", body).await).await,
            "done"
        );
        upstream.retire();
        tokio::time::sleep(Duration::from_millis(20)).await;
        pieces.send("last".into()).unwrap();
        drop(pieces);
        eventually("the upload", || {
            *service.seen.uploaded.borrow() == b"first, last"
        })
        .await;
        service.sees_no_connection().await;
    });
}

#[test]
fn request_in_retirement_is_still_sent_again_when_its_connection_was_lost() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        get(&upstream, "/").await;
        let retire = async {
            service.sees_requests(2).await;
            upstream.retire();
            service.release();
        };
        let (answer, ()) = tokio::join!(send(&upstream, "/lost", Pieces::default()), retire);
        if protocol == "h2" {
            // Its service resets the stream, which is an answer and no loss.
            answer.unwrap_err();
        } else {
            assert_eq!(body_of(answer).await, "done");
            assert_eq!(
                (service.seen.opened.get(), service.seen.requests.get()),
                (2, 3)
            );
        }
        service.sees_no_connection().await;
    });
}

#[test]
fn requests_that_wait_for_one_http2_connection_share_it_in_retirement() {
    on_a_worker(async {
        let service = Service::start("h2").await;
        let upstream = Rc::new(service.upstream("h2"));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let upstream = Rc::clone(&upstream);
                spawn_local(async move { get(&upstream, "/").await })
            })
            .collect();
        // Each has begun, and none has its connection yet.
        while upstream.endpoints[0].in_flight() < waiting.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(service.seen.requests.get(), 0);
        upstream.retire();
        for request in waiting {
            assert_eq!(request.await.unwrap(), "done");
        }
        service.sees_no_connection().await;
        assert_eq!(service.seen.opened.get(), 1);
    });
}

#[test]
fn tunnel_goes_on_in_retirement() {
    on_a_worker(async {
        let service = Service::start("http/1.1").await;
        let upstream = service.upstream("http/1.1");
        let answer = send(&upstream, "/switch", Pieces::default()).await.unwrap();
        assert_eq!(answer.response.status(), 101);
        upstream.retire();
        let upgraded = hyper::upgrade::on(answer.response).await.unwrap();
        let mut tunnel = TokioIo::new(upgraded);
        tunnel.write_all(b"echo").await.unwrap();
        let mut echo = [0; 4];
        tunnel.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"echo");
    });
}

#[test]
fn retired_upstream_leaves_nothing_behind() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = service.upstream(protocol);
        get(&upstream, "/").await;
        let endpoint = Rc::downgrade(&upstream.endpoints[0]);
        let plan = Arc::downgrade(upstream.plan());
        upstream.retire();
        drop(upstream);
        eventually("the end of what cares for the endpoint", || {
            endpoint.strong_count() == 0
        })
        .await;
        assert_eq!(plan.strong_count(), 0);
    });
}
