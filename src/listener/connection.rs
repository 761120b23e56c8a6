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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::accept::{enter, tell};
use super::activity::{Activity, Overdue};
use super::closing::{log_dismissal, record_end};
use super::crowd::Place;
use super::deal::{Arrival, ArrivedSocket};
use super::flood;
use super::io::{Counted, Watched};
use super::linger::Linger;
use super::open::{Due, Open};
use super::origin::Origin;
use super::refusal::{self, Post};
use super::slots::{Slot, Turn};
use super::strike::Strike;
use super::summons::Summons;
use super::tunnels::Tunnels;
use super::watch::{Ended, Watch};
use super::worker::{Current, Worker};
use crate::config::{Limits, Listener, ListenerId, Protocol};
use crate::identity::PeerIdentity;
use crate::proxy::{Caller, Downstream, TlsSession, Tunnel};
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls::{Handshaken, Peer, Socket, Stream};
use crate::upstream::Local;

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams that an HTTP/2 client may have had reset before it is cut off.
const MAX_RESETS: usize = 256;
/// How long an HTTP/2 client may be silent before it is asked whether it is
/// still there, and how long it may take to say so.
const PING_AFTER: Duration = Duration::from_secs(30);
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that is ready for HTTP.
struct Established {
    /// The generation that it was established under.
    under: Rc<Current>,
    stream: Stream,
    http2: bool,
    /// What was read to tell which protocol this is.
    ahead: Vec<u8>,
    open: Open,
    /// Its place among the connections of its identity.
    place: Option<Place>,
}

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
            open.summon(Summons::to_drain());
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

/// The handshake, where there is one.
async fn establish(
    worker: &Worker,
    arrived: Rc<Current>,
    (id, origin): (ListenerId, Origin),
    (slot, mut turn): (&mut Slot, Turn),
    mut socket: Socket,
) -> Option<Established> {
    let listener = arrived.site().config().listener(id)?;
    let announced = origin.announced((worker, &arrived), (id, listener), &mut socket);
    let origin = announced.await?;
    if origin.source.via().is_some() {
        let client = origin.source.address();
        if let Err(limit) = enter(listener, client, (slot, &mut turn)) {
            tell(&arrived, id, client, limit);
            return None;
        }
    }
    if arrived.site().server(id).is_some() {
        let deadline = Instant::now() + listener.limits.handshake_timeout;
        if !has_begun(worker, &socket, deadline).await {
            return None;
        }
        return shake_hands(worker.current(), (origin, slot), socket, deadline).await;
    }
    drop(turn);
    let known = prior_knowledge(worker, listener, socket).await;
    let http2 = known.as_ref().is_ok_and(|(_, http2, _)| *http2);
    if let Ok((_, _, ahead)) = &known
        && !origin.writes_none(&arrived, (id, listener), ahead)
    {
        return None;
    }
    let downstream = Downstream::plaintext(origin.source, http2);
    let caller = Caller::new(arrived.proxy(), id, downstream, None);
    let (socket, http2, ahead) = known.map_err(|ended| record_end(&caller, ended)).ok()?;
    Some(Established {
        under: arrived,
        stream: Stream::Plain(socket),
        http2,
        ahead,
        open: Open::new(origin.socket, caller, (None, None), None),
        place: None,
    })
}

/// A handshake under `current`, the generation of its first byte: clients may
/// have connected long before. `None`: it was refused, or its listener has gone
/// or speaks no TLS any more.
async fn shake_hands(
    current: Rc<Current>,
    (origin, slot): (Origin, &Slot),
    socket: Socket,
    deadline: Instant,
) -> Option<Established> {
    let site = current.site();
    let id = current.listener_of(origin.socket)?;
    let listener = site.config().listener(id)?;
    let post = Post {
        current: &current,
        listener: (id, listener),
        source: origin.source,
    };
    match site.server(id)?.accept(socket, deadline).await {
        Ok(mut done) => {
            let not_accepted = done.not_accepted.take();
            let let_in = not_accepted.as_ref().map(|known| known.let_in);
            let why = not_accepted.and_then(|known| post.let_in(known, &done));
            if let_in.is_none() {
                let resumed = done.resumed;
                site.metrics().listener(id.0).handshake_accepted(resumed);
            }
            let Handshaken {
                mut stream,
                peer,
                server_name,
                http2,
                version,
                cipher,
                resumed,
                ..
            } = done;
            let Ok(place) = identified(&post, slot, peer.as_ref()) else {
                part(&mut stream, deadline).await;
                return None;
            };
            let expires = peer.as_ref().map(|peer| peer.good_until);
            let (identity, known) = peer.map(|peer| (peer.identity, peer.known)).unzip();
            let anchor = known.as_ref().map(|known| known.anchor_name());
            let source = origin.source;
            let downstream = match why {
                Some(why) => Downstream::not_served(source, (why, server_name), http2),
                None => Downstream::tls(source, (identity, server_name), http2),
            };
            downstream.note_session(TlsSession {
                version,
                cipher,
                resumed,
            });
            let caller = Caller::new(current.proxy(), id, downstream, anchor);
            Some(Established {
                under: Rc::clone(&current),
                stream,
                http2,
                ahead: Vec::new(),
                open: Open::new(origin.socket, caller, (known, let_in), expires),
                place,
            })
        }
        Err(refused) => {
            post.refused(&refused);
            refusal::explain(refused, deadline).await;
            None
        }
    }
}

/// A place among the connections of an identity; `None`: the client is nobody.
///
/// # Errors
///
/// It has as many as it may have.
fn identified(post: &Post<'_>, slot: &Slot, peer: Option<&Peer>) -> Result<Option<Place>, Full> {
    let Some(peer) = peer else { return Ok(None) };
    let (id, listener) = post.listener;
    let name = peer.identity.primary();
    let place = slot.identified(name, &listener.limits.crowd);
    place.map(Some).ok_or_else(|| {
        let cause = format!("{name} has as many connections as one identity may have; the newest was closed after its handshake");
        Strike {
            limit: "max_connections_per_identity",
            client: post.source.address(),
            peer: Some(name),
            cause: &cause,
            remedy: "see why it opens so many; raise the limit where many instances share a certificate",
        }
        .tell(post.current.site(), id);
        Full
    })
}

/// An identity has as many connections as it may have.
struct Full;

/// Ends a connection on which nothing was asked for, in order: the client reads
/// that it has ended, and no error.
async fn part(stream: &mut Stream, deadline: Instant) {
    let farewell = async {
        if stream.shutdown().await.is_ok() {
            Linger::begin().finish(stream).await;
        }
    };
    if tokio::time::timeout_at(deadline, farewell).await.is_err() {
        tracing::trace!("a client did not take its farewell");
    }
}

/// Waits for the client's first byte. False: the drain began before it came,
/// so nobody needs to wait for it. At the deadline it may as well begin, for
/// whatever waits next to find that it is too late.
pub(super) async fn has_begun(worker: &Worker, socket: &Socket, deadline: Instant) -> bool {
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
            if is_last {
                renew(&open, &caller, under_way.count() == most);
            }
            let handling = caller.handle(request, ambiguity);
            let tunnels = tunnels.clone();
            async move {
                let mut response: Response<Counted> =
                    handling.await.map(|body| Counted::new(body, under_way));
                if let Some(tunnels) = tunnels {
                    tunnels.carry();
                }
                if is_last && !http2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
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
        let connection = http1_builder(&limits)
            .serve_connection(io, service)
            .with_upgrades();
        let connection = Box::pin(connection);
        watch
            .run(connection, http1::UpgradeableConnection::graceful_shutdown)
            .await
    };
    activity.end_http();
    if let Some(tunnels) = tunnels {
        tunnels.end();
        flood::note(&open.caller(), &outcome, activity.is_flooded());
    }
    record_end(&open.caller(), outcome);
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
        .timer(TokioTimer::new())
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
    use super::super::activity::tests::limits;
    use super::*;
    use bytes::Bytes;
    use http_body_util::Empty;

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
