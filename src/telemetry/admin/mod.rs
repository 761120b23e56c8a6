//! Serves health, readiness and metrics, and takes requests to the program, on
//! an address of its own.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the status page, for people |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 when ready; 503 with the reason while starting or draining |
//! | `GET /metrics` | the counters as OpenMetrics text |
//! | `GET /jwks.json` | the public keys of what is signed, a JWK Set (RFC 7517) |
//! | `GET /refusals` | the last handshakes and requests that were refused, as JSON |
//! | `GET /refusals/REFERENCE` | the one with this reference, as JSON |
//! | `GET /trust` | what is in force and what was refused, as JSON |
//! | `GET /trust/peers` | who is connected or was lately, as JSON |
//! | `POST /reload` | what came of putting in force what is on the disk, as JSON |
//! | `POST /trust/preview` | who would then be refused, as JSON |
//! | `POST /actions` | what a form of the status page asks for; leads back to it |
//!
//! # Rules
//!
//! * What GET and HEAD ask for changes nothing. `POST /reload` alone changes
//!   something: it puts in force what the config and the files on the disk say,
//!   which a change of theirs does as well, and with `accept_shrink=NAME` also a
//!   bundle that was held back. No request brings a setting, a path or a
//!   certificate with it, and none has a body.
//! * A POST that a browser sends on behalf of a web page is refused, so that a
//!   page cannot use its reader's access. Nobody else is asked who they are:
//!   whoever can reach the address may ask for everything here.
//! * Whoever asks under a name that others may own is refused, but for health
//!   and readiness (`host`).
//! * The status page changes nothing unless `admin.allow_changes` is set, and then
//!   only what its own forms ask for (`actions`).
//! * One request for each connection, each under one deadline, and a bounded
//!   number at a time: whoever can reach it cannot hold it up for long. Of those
//!   that wait for the program fewer are let in, and what all answers hold is
//!   bounded (`held`), so that health and metrics are always answered.
//! * Readiness knows nothing of reloads: one that fails leaves the last good
//!   generation in force, which serves.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::events;
use super::metrics::{self, Metrics};
use super::page::{Facts, Program};
use super::refusals::Refusals;

mod actions;
mod command;
mod door;
mod held;
mod host;
mod page;
mod socket;

use command::{ANSWER_TIMEOUT, Desk};
pub use command::{AdminAnswer, AdminCommand, AdminRequest};
pub use door::{Admission, Door, Io};
use held::{Room, Taken};
use host::Asked;
use page::StatusPage;
use socket::Listener;
pub use socket::{AdminSocket, AdminSocketError, Stream as AdminStream};

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

/// What the admin server tells, and whom it asks.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Whether traffic is welcome.
    pub readiness: Arc<Readiness>,
    /// The counters; any view of them.
    pub metrics: Arc<Metrics>,
    /// The last refusals.
    pub refusals: Arc<Refusals>,
    /// Where requests to the program go. When nobody takes them they are
    /// answered 503.
    pub commands: mpsc::Sender<AdminCommand>,
    /// Who knows how things stand.
    pub program: Rc<dyn Program>,
    /// Where it is said that the process is to drain and end.
    pub drain: mpsc::Sender<()>,
    /// Under which names, and for what it may be asked.
    pub access: AdminAccess,
    /// Who makes the handshakes; `None`: there are none.
    pub door: Option<Rc<dyn Door>>,
    /// What else the status page shows: names and values.
    pub sections: Vec<Facts>,
}

/// Under which names the admin address may be asked, and for what.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdminAccess {
    /// Names beside those of this machine.
    pub hosts: Vec<String>,
    /// Whether the status page may have something changed.
    pub allow_changes: bool,
}

impl AdminState {
    /// Of whom a request asks. Under TLS a browser has seen that the certificate
    /// carries the name.
    fn asked<B>(&self, request: &Request<B>) -> Asked {
        match self.door {
            Some(_) => Asked::Sure,
            None => host::asked(request, &self.access.hosts),
        }
    }
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
    let desk = Desk::new(state.commands.clone());
    let page = Rc::new(StatusPage::new());
    let room = Rc::new(Room::new());
    let metrics = Arc::clone(&state.metrics);
    let mut history = pin!(page.keep_history(&metrics));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            () = &mut history => {}
            Some(_) = connections.join_next() => {}
            stream = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let served = (Rc::clone(&page), desk.clone(), Rc::clone(&room));
                connections.spawn_local(answer_one(stream, state.clone(), served));
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
async fn answer_one(
    stream: AdminStream,
    state: AdminState,
    (page, desk, room): (Rc<StatusPage>, Desk, Rc<Room>),
) {
    let begun = Instant::now();
    let stream: Box<dyn Io> = match &state.door {
        None => Box::new(stream),
        Some(door) => match door.admit(stream, begun + HEADER_TIMEOUT).await {
            Some(admitted) => admitted,
            None => return,
        },
    };
    let deadline = Rc::new(Cell::new(begun + CONNECTION_TIMEOUT));
    // Until all of the answer is sent: what is written is copied on the way.
    let taken = Rc::new(Cell::new(Taken::default()));
    let service = service_fn({
        let (deadline, taken) = (Rc::clone(&deadline), Rc::clone(&taken));
        move |request: Request<Incoming>| {
            let (state, desk, deadline) = (state.clone(), desk.clone(), Rc::clone(&deadline));
            let (page, room, taken) = (Rc::clone(&page), Rc::clone(&room), Rc::clone(&taken));
            async move {
                let asked = Asking {
                    state: &state,
                    desk: &desk,
                    page: &page,
                    deadline: &deadline,
                };
                let path = request.uri().path().to_owned();
                let (answer, takes) = room.give(&path, asked.answer(request).await);
                taken.set(takes);
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match before(&deadline, connection).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::debug!(event = events::CONNECTION_FAULT, listener = "admin", %error);
        }
        None => {
            tracing::debug!(
                event = events::CONNECTION_FAULT,
                listener = "admin",
                "deadline"
            );
        }
    }
}

/// Runs `work` until a deadline that it may put off; `None` when that has passed.
async fn before<T>(deadline: &Cell<Instant>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let until = deadline.get();
        match tokio::time::timeout_at(until, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if deadline.get() > until => {}
            Err(_) => return None,
        }
    }
}

/// What a request is answered from.
struct Asking<'a> {
    state: &'a AdminState,
    desk: &'a Desk,
    page: &'a StatusPage,
    deadline: &'a Cell<Instant>,
}

impl Asking<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let tells_little = path == "/healthz" || path == "/readyz";
        if !tells_little && self.state.asked(&request) == Asked::Foreign {
            return text(StatusCode::MISDIRECTED_REQUEST, FOREIGN);
        }
        match (path, request.method()) {
            ("/", _) if is_read => self.page.show(&request, self.state),
            ("/actions", &Method::POST) => {
                let (desk, deadline) = (self.desk, self.deadline);
                self.page.act(request, self.state, (desk, deadline)).await
            }
            ("/healthz", _) if is_read => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) if is_read => readiness(&self.state.readiness),
            ("/metrics", _) if is_read => exposition(&self.state.metrics),
            ("/refusals", _) if is_read => json(StatusCode::OK, &self.state.refusals.describe()),
            (path, _) if is_read && path.starts_with(REFUSAL) => {
                refusal(&self.state.refusals, path)
            }
            ("/jwks.json", _) if is_read => self.ask(Ok(AdminRequest::Keys)).await,
            ("/trust", _) if is_read => self.ask(Ok(AdminRequest::Trust)).await,
            ("/trust/peers", _) if is_read => self.ask(Ok(AdminRequest::Peers)).await,
            ("/reload", &Method::POST) => self.ask(AdminRequest::reload(&request)).await,
            ("/trust/preview", &Method::POST) => self.ask(AdminRequest::preview(&request)).await,
            (path, _) if READ_ONLY.contains(&path) || path.starts_with(REFUSAL) => {
                not_allowed("only GET and HEAD\n", "GET, HEAD")
            }
            ("/reload" | "/trust/preview" | "/actions", _) => not_allowed("only POST\n", "POST"),
            _ => text(StatusCode::NOT_FOUND, PATHS),
        }
    }

    /// Asks the program, unless the request is refused.
    async fn ask(&self, asked: Result<AdminRequest, command::Refused>) -> Response<Full<Bytes>> {
        let asked = match asked {
            Ok(asked) => asked,
            Err(refused) => return text(refused.status(), format!("{refused}\n")),
        };
        self.deadline.set(self.deadline.get() + ANSWER_TIMEOUT);
        let asked = self.desk.ask(asked).await;
        // It came sooner, as a rule; the rest of the time is not for who reads it.
        self.deadline.set(Instant::now() + CONNECTION_TIMEOUT);
        match asked {
            Ok(answer) => {
                let body = ended(answer.json);
                response(answer.status, "application/json", body)
            }
            Err(cause) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n")),
        }
    }
}

fn readiness(readiness: &Readiness) -> Response<Full<Bytes>> {
    match readiness.stage() {
        Stage::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Stage::Ready => text(StatusCode::OK, "ready\n"),
        Stage::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

fn exposition(metrics: &Metrics) -> Response<Full<Bytes>> {
    match metrics.encode() {
        Ok(body) => response(StatusCode::OK, metrics::CONTENT_TYPE, body.into()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode\n"),
    }
}

/// `path`: `/refusals/REFERENCE`.
fn refusal(refusals: &Refusals, path: &str) -> Response<Full<Bytes>> {
    let reference = path.strip_prefix(REFUSAL).unwrap_or_default();
    match refusals.find(reference) {
        Some(known) => json(StatusCode::OK, &known),
        None => {
            let what = "no refusal with this reference is kept here; the log may have it";
            json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": what }))
        }
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    response(status, "application/json", ended(value.to_string()))
}

/// With an end of line: a terminal shows the next thing below it.
fn ended(mut text: String) -> Bytes {
    text.push('\n');
    text.into()
}

fn not_allowed(sentence: &'static str, allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, sentence);
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.into())
}

fn response(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is served, for who asked for something else.
const PATHS: &str = "not found; there is:
GET /
GET /healthz
GET /readyz
GET /metrics
GET /jwks.json
GET /refusals
GET /refusals/REFERENCE
GET /trust
GET /trust/peers
POST /reload
POST /trust/preview
";

/// Why a request under a name that others may own is refused.
const FOREIGN: &str = "this address was asked for under a name that others may own, as web pages do to read what is not theirs; ask by IP address, as localhost, or list the name in admin.hosts\n";

/// What is only asked for.
const READ_ONLY: [&str; 8] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/jwks.json",
    "/refusals",
    "/trust",
    "/trust/peers",
];
/// What the path of one refusal begins with.
const REFUSAL: &str = "/refusals/";

const STARTING: u8 = Stage::Starting as u8;
const READY: u8 = Stage::Ready as u8;

/// Connections at a time; more wait in the system's queue. Probes and scrapers
/// are few, and a slot is free again after [`CONNECTION_TIMEOUT`]; those that
/// wait for the program take fewer of them, for longer.
const MAX_CONNECTIONS: usize = 64;

/// From accept to the end of the request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From accept to the end of the answer, without [`ANSWER_TIMEOUT`] for what is
/// asked of the program. Prometheus itself gives up after 10 s.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of accepting to the end of the last answer.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a request's head; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests;
