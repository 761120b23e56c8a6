//! Connections that change their protocol, such as WebSockets (RFC 9110 §7.8).

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use crate::upstream::UpstreamBody;

/// Asks the upstream for the protocol that the client asked for.
pub(super) fn request(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Carries bytes both ways once both sides have changed their protocol, and
/// then accounts for the request that began it.
pub(super) async fn carry(
    downstream: OnUpgrade,
    response: Response<UpstreamBody<RequestBody>>,
    mut exchange: Box<Exchange>,
) {
    // The body counts the request as under way at its endpoint: it stays.
    let (mut head, _under_way) = response.into_parts();
    let mut promise = Response::new(());
    std::mem::swap(promise.extensions_mut(), &mut head.extensions);
    let upstream = hyper::upgrade::on(promise);
    let (downstream, upstream) = match tokio::try_join!(downstream, upstream) {
        Ok((downstream, upstream)) => (downstream, upstream),
        Err(cause) => {
            exchange.note(Fault::new(
                Side::Proxy,
                Phase::ResponseBody,
                Kind::ClientGone,
                format!("the change of protocol failed: {cause}"),
            ));
            return;
        }
    };
    let mut downstream = TokioIo::new(downstream);
    let mut upstream = TokioIo::new(upstream);
    match tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await {
        Ok((up, down)) => {
            exchange.received().add(up);
            exchange.sent(down);
            exchange.complete();
        }
        Err(cause) => exchange.note(Fault::new(
            Side::Downstream,
            Phase::ResponseBody,
            Kind::ClientGone,
            format!("the tunnel broke off: {cause}"),
        )),
    }
}
