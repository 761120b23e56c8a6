//! Serves health, readiness and metrics, on an address of its own.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 when ready; 503 with the reason while starting or draining |
//! | `/metrics` | the counters as OpenMetrics text |
//!
//! # Rules
//!
//! * It only tells: there is no request that changes anything.
//! * One request for each connection, each under one deadline, and a bounded
//!   number at a time: whoever can reach it cannot hold it up for long.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::events;
use super::metrics::{self, Metrics};

mod socket;

pub use socket::{AdminSocket, AdminSocketError};
use socket::{Listener, Stream};

/// Where the admin server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminAddress {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    /// Writes `ADDRESS:PORT` or `unix:PATH`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the admin server tells.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Whether traffic is welcome.
    pub readiness: Arc<Readiness>,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// Whether the process wants traffic. It starts, is ready, drains, and never
/// goes back.
#[derive(Debug)]
pub struct Readiness(AtomicU8);

/// A stage of [`Readiness`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Stage {
    /// Not every listener is ready yet.
    Starting,
    /// Traffic is welcome.
    Ready,
    /// The process is about to end.
    Draining,
}

impl Readiness {
    /// Begins as [`Stage::Starting`].
    pub fn starting() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(Stage::Starting as u8)))
    }

    /// Traffic is welcome from now on, unless the drain has begun.
    pub fn ready(&self) {
        self.advance(Stage::Ready);
    }

    /// The drain has begun.
    pub fn draining(&self) {
        self.advance(Stage::Draining);
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            STARTING => Stage::Starting,
            READY => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    fn advance(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }
}

/// Answers on `socket` until `shutdown` turns true or its sender is gone, then
/// removes a unix socket's file and gives the answers under way 1 s to finish.
///
/// Logs [`events::ADMIN_READY`] with the address. Must run on a `LocalRuntime`
/// or in a `LocalSet`: connections are local tasks.
///
/// # Errors
///
/// [`AdminSocketError::Register`]: the runtime cannot watch the socket. Errors
/// of `accept` are logged and retried after a pause.
pub async fn serve(
    socket: AdminSocket,
    state: AdminState,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), AdminSocketError> {
    tracing::info!(event = events::ADMIN_READY, address = %socket.address());
    let mut listener = Listener::new(socket)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(_) = connections.join_next() => {}
            stream = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn_local(answer_one(stream, state.clone()));
            }
        }
    }
    drop(listener);
    let farewell = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL_TIMEOUT, farewell)
        .await
        .is_err()
    {
        tracing::debug!(event = events::STOPPING, "admin connections were cut");
    }
    Ok(())
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the process is ending anyway.
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// Serves one connection, which carries one request.
async fn answer_one(stream: Stream, state: AdminState) {
    let service = service_fn(move |request| {
        let response = answer(&request, &state);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(event = events::CONNECTION_FAULT, listener = "admin", %error);
        }
        Err(_) => {
            tracing::debug!(
                event = events::CONNECTION_FAULT,
                listener = "admin",
                "deadline"
            );
        }
    }
}

fn answer<B>(request: &Request<B>, state: &AdminState) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match state.readiness.stage() {
            Stage::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Stage::Ready => text(StatusCode::OK, "ready\n"),
            Stage::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        "/metrics" => match state.metrics.encode() {
            Ok(body) => response(StatusCode::OK, metrics::CONTENT_TYPE, body.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode\n"),
        },
        _ => text(StatusCode::NOT_FOUND, PATHS),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(body.as_bytes()),
    )
}

fn response(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

/// What is served, for who asked for something else.
const PATHS: &str = "not found; there is:\n/healthz\n/readyz\n/metrics\n";

const STARTING: u8 = Stage::Starting as u8;
const READY: u8 = Stage::Ready as u8;

/// Connections at a time; more wait in the system's queue. Probes and scrapers
/// are few, and a slot is free again after [`CONNECTION_TIMEOUT`].
const MAX_CONNECTIONS: usize = 64;

/// From accept to the end of the request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From accept to the end of the answer. Prometheus itself gives up after 10 s.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of accepting to the end of the last answer.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a request's head; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests;
