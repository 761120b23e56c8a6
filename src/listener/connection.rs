//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::activity::{Activity, Overdue};
use super::deal::{Arrival, ArrivedSocket};
use super::io::{Counted, Watched};
use super::refusal;
use super::watch::{EXPIRED, Ended, Watch};
use super::worker::Worker;
use crate::config::{Limits, Listener, ListenerId, Protocol};
use crate::proxy::{Caller, Downstream, Tunnel};
use crate::telemetry::events;
use crate::tls::{Handshaken, Socket, Stream};
use crate::upstream::Local;

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Nobody keeps a connection for longer.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The most fields in a request head.
const MAX_FIELDS: usize = 128;
/// Requests at one time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 200;
/// Streams that an HTTP/2 client may have had reset before it is cut off.
const MAX_RESETS: usize = 256;
/// How long an HTTP/2 client may be silent before it is asked whether it is
/// still there, and how long it may take to say so.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The fault of a connection that outlived its peer's certificate.
const CERTIFICATE_EXPIRED: &str = "downstream/connection/certificate_expired";
const EXPIRED_CAUSE: &str = "the peer's certificate expired while its connection was open";

/// A connection that is ready for HTTP.
struct Established {
    stream: Stream,
    downstream: Rc<Downstream>,
    /// What was read to tell which protocol this is.
    ahead: Vec<u8>,
    /// When the peer's certificate expires.
    expires: Option<Instant>,
}

/// Serves an accepted connection until it has ended.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival {
        socket,
        address,
        listener: id,
        slot,
        load,
    } = arrival;
    let site = Arc::clone(worker.site());
    let Some(listener) = site.config().listener(id) else {
        return;
    };
    let _counted = Counting::begin(&worker, id);
    let established = match register(socket) {
        // Apart from the serving that follows, so that its room is given back.
        Ok(socket) => Box::pin(establish(&worker, listener, (id, address), socket)).await,
        Err(cause) => {
            tracing::debug!(%cause, "an accepted connection could not be used");
            return;
        }
    };
    if let Some(established) = established {
        let downstream = Rc::clone(&established.downstream);
        let expires = established.expires;
        carry_http(&worker, (id, listener), established).await;
        if let Some(tunnel) = downstream.take_tunnel()
            && !finished(expires, tunnel, &downstream).await
        {
            log_fault(
                (listener, &downstream),
                CERTIFICATE_EXPIRED,
                EXPIRED_CAUSE,
                0,
            );
        }
    }
    drop((slot, load));
}

fn register(socket: ArrivedSocket) -> std::io::Result<Socket> {
    Ok(match socket {
        ArrivedSocket::Tcp(socket) => Socket::Tcp(tokio::net::TcpStream::from_std(socket)?),
        ArrivedSocket::Unix(socket) => Socket::Unix(tokio::net::UnixStream::from_std(socket)?),
    })
}

/// The handshake, where there is one.
async fn establish(
    worker: &Worker,
    listener: &Listener,
    (id, address): (ListenerId, Option<SocketAddr>),
    socket: Socket,
) -> Option<Established> {
    let site = worker.site();
    let Some(tls) = site.server(id) else {
        let known = prior_knowledge(worker, listener, socket).await;
        let http2 = known.as_ref().is_ok_and(|(_, http2, _)| *http2);
        let downstream = Downstream::plaintext(address, http2);
        let (socket, _, ahead) = known
            .map_err(|ended| record_end(worker, (listener, &downstream), ended))
            .ok()?;
        let stream = Stream::Plain(socket);
        return Some(Established {
            stream,
            downstream,
            ahead,
            expires: None,
        });
    };

    let deadline = Instant::now() + listener.limits.handshake_timeout;
    if !has_begun(worker, &socket, deadline).await {
        return None;
    }
    match tls.accept(socket, deadline).await {
        Ok(done) => {
            let Handshaken {
                stream,
                peer,
                good_until,
                http2,
                resumed,
                ..
            } = done;
            worker.metrics().listener(id.0).handshake_accepted(resumed);
            let expires = good_until.and_then(instant_of);
            Some(Established {
                stream,
                downstream: Downstream::tls(address, peer, http2),
                ahead: Vec::new(),
                expires,
            })
        }
        Err(refused) => {
            refusal::record(worker, (id, listener), address, &refused);
            refusal::explain(refused, deadline).await;
            None
        }
    }
}

/// Waits for the client's first byte. False: the drain began before it came,
/// so nobody needs to wait for it. At the deadline it may as well begin, for
/// whatever waits next to find that it is too late.
async fn has_begun(worker: &Worker, socket: &Socket, deadline: Instant) -> bool {
    let readable = async {
        // A broken socket is found out by reading from it.
        let ready = match socket {
            Socket::Tcp(socket) => socket.readable().await,
            Socket::Unix(socket) => socket.readable().await,
        };
        ready.is_ok()
    };
    tokio::select! {
        biased;
        _ = readable => true,
        () = worker.life().wait_for_end() => false,
        () = tokio::time::sleep_until(deadline) => true,
    }
}

/// Without ALPN the first bytes tell the protocol: an HTTP/2 client with prior
/// knowledge begins with its preface (RFC 9113 §3.4), which no request does.
async fn prior_knowledge(
    worker: &Worker,
    listener: &Listener,
    mut socket: Socket,
) -> Result<(Socket, bool, Vec<u8>), Ended> {
    if !listener.protocols.contains(&Protocol::Http2) {
        return Ok((socket, false, Vec::new()));
    }
    if !listener.protocols.contains(&Protocol::Http1) {
        return Ok((socket, true, Vec::new()));
    }
    let deadline = Instant::now() + listener.limits.header_timeout;
    if !has_begun(worker, &socket, deadline).await {
        return Err(Ended::Well);
    }
    let mut ahead = Vec::with_capacity(PREFACE.len());
    let read = async {
        while ahead.len() < PREFACE.len() && PREFACE.starts_with(&ahead) {
            let left = PREFACE.len().saturating_sub(ahead.len());
            let mut bounded = AsyncReadExt::take(&mut socket, left as u64);
            if bounded.read_buf(&mut ahead).await? == 0 {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    match tokio::time::timeout_at(deadline, read).await {
        Ok(Ok(())) => {}
        // It went away.
        Ok(Err(_)) => return Err(Ended::Well),
        Err(_) => return Err(Ended::Overdue(Overdue::Head)),
    }
    let http2 = ahead == PREFACE;
    Ok((socket, http2, ahead))
}

/// The moment at which a certificate that ends `unix` seconds after 1970 ends;
/// `None`: more than a year ahead, when no connection will be there to see it.
fn instant_of(unix: i64) -> Option<Instant> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    let left = end.saturating_sub(now);
    (left <= A_YEAR).then(|| Instant::now() + left)
}

/// HTTP on an established connection, until it has ended.
async fn carry_http(
    worker: &Rc<Worker>,
    (id, listener): (ListenerId, &Listener),
    established: Established,
) {
    let Established {
        stream,
        downstream,
        ahead,
        expires,
    } = established;
    let http2 = downstream.is_http2();
    let caller = Caller::new(worker.proxy(), id, Rc::clone(&downstream));
    let activity = Activity::new(http2);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity), http2, ahead));
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let open = activity.request();
            let ambiguity = activity.ambiguity();
            let handling = Rc::clone(&caller).handle(request, ambiguity);
            async move {
                let response: Response<Counted> =
                    handling.await.map(|body| Counted::new(body, open));
                Ok::<_, Infallible>(response)
            }
        }
    });
    let watch = Watch::new(&activity, listener.limits, expires, &downstream);
    let outcome = if http2 {
        let connection = http2_builder(&listener.limits).serve_connection(io, service);
        let connection = Box::pin(connection);
        watch
            .run(connection, worker, http2::Connection::graceful_shutdown)
            .await
    } else {
        let connection = http1_builder(&listener.limits)
            .serve_connection(io, service)
            .with_upgrades();
        let connection = Box::pin(connection);
        watch
            .run(
                connection,
                worker,
                http1::UpgradeableConnection::graceful_shutdown,
            )
            .await
    };
    activity.end_http();
    record_end(worker, (listener, &downstream), outcome);
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own header timeout is left off: it runs between requests too,
    // where the idle timeout applies. `Watch` keeps both.
    builder
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .max_headers(MAX_FIELDS)
        .max_header_size(usize::try_from(limits.max_header_bytes.get()).unwrap_or(usize::MAX));
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(limits.max_header_bytes.get())
        .max_concurrent_streams(MAX_STREAMS)
        .max_local_error_reset_streams(MAX_RESETS);
    builder
}

/// Carries a tunnel to its end, or until the certificate that it rests on
/// expires, and tells which. What it carries has no end that the drain could
/// ask for: it goes on until then, and is cut at the drain's deadline.
async fn finished(expires: Option<Instant>, mut tunnel: Tunnel, downstream: &Downstream) -> bool {
    match expires {
        Some(expires) => {
            let ended = tokio::time::timeout_at(expires, &mut tunnel).await.is_ok();
            if !ended {
                // Before the tunnel is dropped, which writes its line.
                downstream.cut(EXPIRED);
            }
            ended
        }
        None => {
            tunnel.await;
            true
        }
    }
}

/// One line for a connection that ended in a fault outside any request.
fn record_end(worker: &Worker, (listener, downstream): (&Listener, &Downstream), ended: Ended) {
    let (fault, cause, status) = match ended {
        Ended::Well => return,
        Ended::Overdue(Overdue::Idle) => return,
        Ended::Overdue(Overdue::Head) => (
            "downstream/request_head/header_timeout",
            "no complete request head within limits.header_timeout".to_owned(),
            0,
        ),
        Ended::Overdue(Overdue::Blocked) => (
            "downstream/response_body/body_timeout",
            "the client took nothing of the response within limits.body_timeout".to_owned(),
            0,
        ),
        Ended::Expired => (CERTIFICATE_EXPIRED, EXPIRED_CAUSE.to_owned(), 0),
        Ended::Faulty(error) if error.is_timeout() => (
            "downstream/connection/ping_timeout",
            format!("the client did not answer a ping within {PING_TIMEOUT:?}"),
            0,
        ),
        Ended::Faulty(error) if error.is_parse_too_large() => {
            ("downstream/request_head/too_large", error.to_string(), 431)
        }
        Ended::Faulty(error) if error.is_parse() => {
            ("downstream/request_head/malformed", error.to_string(), 400)
        }
        // The client went away, or a request failed that has a line of its own.
        Ended::Faulty(error) => {
            tracing::debug!(listener = listener.name, client = %downstream, cause = %error, "a connection ended");
            return;
        }
    };
    if status != 0 {
        worker
            .metrics()
            .no_route()
            .request(status, Some("downstream"), Duration::ZERO);
    }
    log_fault((listener, downstream), fault, &cause, status);
}

fn log_fault(
    (listener, downstream): (&Listener, &Downstream),
    fault: &str,
    cause: &str,
    status: u16,
) {
    tracing::info!(
        event = events::CONNECTION_FAULT,
        listener = listener.name,
        client = %downstream,
        peer = downstream.peer().map(crate::identity::PeerIdentity::primary),
        fault,
        cause,
        status,
    );
}

/// Counts a connection as open until it is dropped.
struct Counting<'a> {
    worker: &'a Worker,
    listener: ListenerId,
}

impl<'a> Counting<'a> {
    fn begin(worker: &'a Worker, listener: ListenerId) -> Self {
        worker.metrics().listener(listener.0).connection_opened();
        Self { worker, listener }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.worker
            .metrics()
            .listener(self.listener.0)
            .connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::io::AsyncWriteExt;

    use super::super::activity::tests::limits;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn http2_client_that_has_vanished_is_found_out() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(PREFACE).await.unwrap();
        // Empty settings (RFC 9113 §6.5), and then nothing any more.
        client
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let service =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
        let connection = http2_builder(&limits()).serve_connection(TokioIo::new(server), service);
        let patience = PING_AFTER + PING_TIMEOUT + Duration::from_secs(1);
        let ended = tokio::time::timeout(patience, connection).await.unwrap();
        assert!(ended.unwrap_err().is_timeout());
    }
}
