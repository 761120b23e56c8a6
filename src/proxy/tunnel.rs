//! Connections that change their protocol, such as WebSockets (RFC 9110 §7.8).

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::pace::BodyLimits;
use super::request_body::RequestBody;
use crate::upstream::UpstreamBody;

/// The most bytes of a tunnel that are held each way.
const PIECE: usize = 8 * 1024;
/// How often it is looked whether a tunnel is silent, within its time.
const LOOKS: u32 = 8;

/// Asks the upstream for the protocol that the client asked for.
pub(super) fn request(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Carries bytes both ways once both sides have changed their protocol, and
/// then accounts for the request that began it.
///
/// A WebSocket is not half open: when one side has ended, the other has
/// `limits.timeout` to end too. Else a client that hangs up would hold its slot
/// for as long as the service is silent. While neither has, both may be silent
/// for `limits.tunnel_idle`.
pub(super) async fn carry(
    downstream: OnUpgrade,
    response: Response<UpstreamBody<RequestBody>>,
    limits: BodyLimits,
    exchange: Box<Exchange>,
) {
    let mut tunnel = Tunnel {
        exchange,
        received: Cell::new(0),
        sent: Cell::new(0),
    };
    // The body counts the request as under way at its endpoint: it stays.
    let (mut head, _under_way) = response.into_parts();
    let mut promise = Response::new(());
    std::mem::swap(promise.extensions_mut(), &mut head.extensions);
    let upstream = hyper::upgrade::on(promise);
    let (downstream, upstream) = match tokio::try_join!(downstream, upstream) {
        Ok((downstream, upstream)) => (downstream, upstream),
        Err(cause) => {
            tunnel.exchange.note(Fault::new(
                Side::Proxy,
                Phase::ResponseBody,
                Kind::ClientGone,
                format!("the change of protocol failed: {cause}"),
            ));
            return;
        }
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(downstream));
    let (from_service, to_service) = tokio::io::split(TokioIo::new(upstream));
    let outcome = {
        let (received, sent) = (&tunnel.received, &tunnel.sent);
        let (client, service) = (End::Client, End::Service);
        let mut up: Way<'_> = pin!(pass((from_client, client), (to_service, service), received));
        let mut down: Way<'_> = pin!(pass((from_service, service), (to_client, client), sent));
        let bytes = || received.get().wrapping_add(sent.get());
        let ended = tokio::select! {
            ended = &mut up => Some((ended, down)),
            ended = &mut down => Some((ended, up)),
            () = silence(bytes, limits.tunnel_idle) => None,
        };
        match ended {
            Some((Ok(()), other)) => Some(timeout(limits.timeout, other).await.unwrap_or(Ok(()))),
            Some((Err(cause), _)) => Some(Err(cause)),
            None => None,
        }
    };
    match outcome {
        Some(Ok(())) => tunnel.exchange.complete(),
        Some(Err((end, cause))) => tunnel.exchange.note(end.broke_off(&cause)),
        None => tunnel.exchange.note(Fault::new(
            Side::Proxy,
            Phase::ResponseBody,
            Kind::TunnelIdle,
            "both sides were silent for limits.tunnel_idle_timeout",
        )),
    }
}

/// What is accounted for at the end of a tunnel, however it ends: with the
/// client's connection, it is dropped.
struct Tunnel {
    exchange: Box<Exchange>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.exchange.received().add(self.received.get());
        self.exchange.sent(self.sent.get());
    }
}

/// One of the two ends of a tunnel.
#[derive(Clone, Copy)]
enum End {
    Client,
    Service,
}

impl End {
    /// The tunnel broke off here.
    fn broke_off(self, cause: &io::Error) -> Fault {
        let (side, kind, whose) = match self {
            Self::Client => (Side::Downstream, Kind::ClientGone, "client"),
            Self::Service => (Side::Upstream, Kind::UpstreamLost, "service"),
        };
        let cause = format!("the tunnel broke off at the {whose}'s end: {cause}");
        Fault::new(side, Phase::ResponseBody, kind, cause)
    }
}

/// Waits until nothing was carried for `limit`, or for an eighth of it more: the
/// clock is looked at in eighths, and not for each piece.
async fn silence(bytes: impl Fn() -> u64, limit: Duration) {
    let (mut known, mut quiet) = (bytes(), 0);
    while quiet < LOOKS {
        tokio::time::sleep(limit / LOOKS).await;
        let now = bytes();
        quiet = if now == known { quiet + 1 } else { 0 };
        known = now;
    }
}

/// One of the two ways through a tunnel.
type Way<'a> = Pin<&'a mut dyn Future<Output = Result<(), (End, io::Error)>>>;

/// Carries bytes one way to their end, and counts them. `Err`: at which end it
/// broke off.
async fn pass(
    (mut from, source): (impl AsyncRead + Unpin, End),
    (mut to, target): (impl AsyncWrite + Unpin, End),
    count: &Cell<u64>,
) -> Result<(), (End, io::Error)> {
    let at = |end: End| move |cause: io::Error| (end, cause);
    let mut buffer = Vec::with_capacity(PIECE);
    while from.read_buf(&mut buffer).await.map_err(at(source))? > 0 {
        to.write_all(&buffer).await.map_err(at(target))?;
        to.flush().await.map_err(at(target))?;
        count.set(count.get().saturating_add(buffer.len() as u64));
        buffer.clear();
    }
    to.shutdown().await.map_err(at(target))
}
