//! What makes a connection ready for HTTP: whose it is, the handshake, the protocol.

use std::rc::Rc;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::accept::{enter, tell};
use super::activity::Overdue;
use super::closing::record_end;
use super::crowd::Place;
use super::linger::Linger;
use super::open::Open;
use super::origin::Origin;
use super::refusal::{self, Post};
use super::slots::{Slot, Turn};
use super::strike::Strike;
use super::summons::FIRST_WORD;
use super::watch::Ended;
use super::worker::{Current, Worker};
use crate::config::{Listener, ListenerId, Protocol};
use crate::proxy::{Caller, Downstream, TlsSession};
use crate::tls::{Handshaken, Peer, Socket, Stream};

/// The first bytes of an HTTP/2 connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that is ready for HTTP.
pub(super) struct Established {
    /// The generation that it was established under.
    pub(super) under: Rc<Current>,
    pub(super) stream: Stream,
    pub(super) http2: bool,
    /// What was read to tell which protocol this is.
    pub(super) ahead: Vec<u8>,
    pub(super) open: Open,
    /// Its place among the connections of its identity.
    pub(super) place: Option<Place>,
}

/// The handshake, where there is one.
pub(super) async fn establish(
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
        Ok(done) => welcome((&current, &post), (origin, slot), done, deadline).await,
        Err(refused) => {
            post.refused(&refused);
            refusal::explain(refused, deadline).await;
            None
        }
    }
}

/// What becomes of a client that may go on after its handshake; `None`: its identity
/// has as many connections as it may have.
async fn welcome(
    (current, post): (&Rc<Current>, &Post<'_>),
    (origin, slot): (Origin, &Slot),
    mut done: Handshaken,
    deadline: Instant,
) -> Option<Established> {
    let (id, _) = post.listener;
    let not_accepted = done.not_accepted.take();
    let let_in = not_accepted.as_ref().map(|known| known.let_in);
    let why = not_accepted.and_then(|known| post.let_in(known, &done));
    if let_in.is_none() {
        let counters = current.site().metrics().listener(id.0);
        counters.handshake_accepted(done.resumed);
        if let Some(peer) = &done.peer {
            counters.certificate_accepted(peer.good_until, SystemTime::now());
        }
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
    let Ok(place) = identified(post, slot, peer.as_ref()) else {
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
        under: Rc::clone(current),
        stream,
        http2,
        ahead: Vec::new(),
        open: Open::new(origin.socket, caller, (known, let_in), expires),
        place,
    })
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

/// Waits for the client's first byte. False: the drain has begun, and it did not
/// come soon after, so nobody needs to wait for it. At the deadline it may as well begin, for
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
        () = async {
            worker.life().wait_for_end().await;
            tokio::time::sleep(FIRST_WORD).await;
        } => false,
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
