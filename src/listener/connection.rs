//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::activity::Activity;
use super::closing::{log_dismissal, record_end};
use super::deal::{Arrival, ArrivedSocket};
use super::establish::{Established, establish};
use super::flood;
use super::io::{Counted, Watched};
use super::open::{Due, Open};
use super::origin::Origin;
use super::rest::Resting;
use super::strike::Strike;
use super::summons::Summons;
use super::tunnels::Tunnels;
use super::watch::Watch;
use super::worker::Worker;
use crate::config::Limits;
use crate::identity::PeerIdentity;
use crate::proxy::{Caller, Tunnel};
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls::{Socket, Stream};
use crate::upstream::Local;

/// Streams that an HTTP/2 client may have had reset before it is cut off.
const MAX_RESETS: usize = 256;
/// How long an HTTP/2 client may be silent before it is asked whether it is
/// still there, and how long it may take to say so.
const PING_AFTER: Duration = Duration::from_secs(30);
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves an accepted connection until it has ended.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival {
        stream,
        address,
        socket,
        mut slot,
        turn,
        load,
    } = arrival;
    let arrived = worker.current();
    // A listener that was removed while this was on its way.
    let Some(id) = arrived.listener_of(socket) else {
        return;
    };
    let _counted = Counting::begin(arrived.site().metrics().listener_of(id.0));
    let established = match register(stream) {
        // Apart from the serving that follows, so that its room is given back.
        Ok(stream) => {
            let origin = Origin::new(socket, address, &stream);
            let establishing = establish(&worker, arrived, (id, origin), (&mut slot, turn), stream);
            Box::pin(establishing).await
        }
        Err(cause) => {
            tracing::debug!(%cause, "an accepted connection could not be used");
            return;
        }
    };
    if let Some(established) = established {
        let Established {
            under,
            stream,
            http2,
            ahead,
            open,
            place: _place,
        } = established;
        let open = worker.open().register(open);
        // What has changed since the handshake began was said to those that
        // were registered by then.
        let now = worker.current();
        if !Rc::ptr_eq(&under, &now)
            && let Some(summons) = open.review(&now)
        {
            open.summon(summons);
        }
        if worker.life().is_ending() {
            open.drain();
        }
        carry_http(&worker, &open, (stream, http2, ahead)).await;
        let tunnel = open.caller().downstream().take_tunnel();
        if let Some(tunnel) = tunnel
            && !finished(&worker, &open, tunnel).await
            && let Some(dismissal) = open.dismissal()
        {
            log_dismissal(&open.caller(), &dismissal);
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

/// HTTP on an established connection, until it has ended.
async fn carry_http(
    worker: &Worker,
    open: &Rc<Open>,
    (stream, http2, ahead): (Stream, bool, Vec<u8>),
) {
    let Some(limits) = open.caller().limits() else {
        return;
    };
    let activity = Activity::new(http2);
    open.counts(&activity);
    let watched = Watched::new(stream, Arc::clone(&activity), &limits, (http2, ahead));
    let io = TokioIo::new(watched);
    let tunnels = http2.then(|| Tunnels::new(open, &activity));
    let service = service_fn({
        let (open, activity) = (Rc::clone(open), Arc::clone(&activity));
        let tunnels = tunnels.clone();
        let most = limits.traffic.requests_per_connection.get();
        move |request: Request<Incoming>| {
            let under_way = activity.request();
            let is_last = under_way.count() >= most;
            let ambiguity = under_way.ambiguity();
            let caller = open.caller();
            // Else it could go on asking for ever.
            if caller.downstream().why_not_served().is_some() {
                open.summon(Summons::to_part());
            }
            if under_way.count() == 1 {
                open.begins();
            }
            if is_last {
                renew(&open, &caller, under_way.count() == most);
            }
            let tunnels = tunnels.clone();
            let closes = is_last && !http2;
            async move {
                // Apart: the library moves what it is given, and keeps room for it
                // on every connection that is idle.
                let response = Box::pin(caller.handle(request, ambiguity)).await;
                let response = response.map(|body| Counted::new(body, under_way));
                Ok::<_, Infallible>(finish(response, tunnels, closes))
            }
        }
    });
    let watch = Watch::new(&activity, open, worker, limits);
    let outcome = if http2 {
        let connection = http2_builder(&limits).serve_connection(io, service);
        let connection = Box::pin(connection);
        watch
            .run(connection, http2::Connection::graceful_shutdown)
            .await
    } else {
        let builder = || http1_builder(&open.caller().limits().unwrap_or(limits));
        let connection = Resting::new((io, service), &activity, worker.awake(), builder);
        let connection = Box::pin(connection);
        watch.run(connection, Resting::graceful_shutdown).await
    };
    activity.end_http();
    if let Some(tunnels) = tunnels {
        tunnels.end();
        flood::note(&open.caller(), &outcome, activity.is_flooded());
    }
    record_end(&open.caller(), outcome);
}

/// The last touch on a response. `closes`: its connection ends with it.
fn finish(
    mut response: Response<Counted>,
    tunnels: Option<Rc<Tunnels>>,
    closes: bool,
) -> Response<Counted> {
    if let Some(tunnels) = tunnels {
        tunnels.carry();
    }
    if closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// A connection has had as many requests as it may have.
fn renew(open: &Open, caller: &Caller, first: bool) {
    open.summon(Summons::to_renew());
    if first {
        Strike {
            limit: "max_requests_per_connection",
            client: caller.downstream().address(),
            peer: caller.peer().map(PeerIdentity::primary),
            cause: "the connection has had as many requests as one may have; it ends when they are answered",
            remedy: "nothing to do: the client opens another one",
        }
        .tell(caller.site(), caller.listener());
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own header timeout is left off: it runs between requests too,
    // where the idle timeout applies. `Watch` keeps both.
    builder
        .header_read_timeout(None)
        .max_headers(limits.traffic.fields.get())
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
        .max_concurrent_streams(limits.max_concurrent_streams.get())
        .max_local_error_reset_streams(MAX_RESETS)
        .enable_connect_protocol();
    builder
}

/// Carries a tunnel to its end, or until it is cut, and tells which. What it
/// carries has no end that anybody could ask for: it goes on until its time is
/// over, or the drain's.
async fn finished(worker: &Worker, open: &Open, mut tunnel: Tunnel) -> bool {
    open.becomes_tunnel();
    let mut timer = pin!(tokio::time::sleep_until(open.next_due(true)));
    poll_fn(|cx| {
        if tunnel.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        while open.poll_change(cx).is_ready() || timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if open.due(worker, now) == Due::Cut {
                return Poll::Ready(false);
            }
            timer.as_mut().reset(open.next_due(true));
        }
        Poll::Pending
    })
    .await
}

/// Counts a connection as open until it is dropped.
struct Counting(Arc<ListenerMetrics>);

impl Counting {
    fn begin(listener: Arc<ListenerMetrics>) -> Self {
        listener.connection_opened();
        Self(listener)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::io::AsyncWriteExt;

    use super::super::activity::tests::limits;
    use super::super::establish::PREFACE;
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
