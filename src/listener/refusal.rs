//! What becomes of a client whose handshake was refused: one line, one count,
//! and an explanation where it can read one.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::config::{Listener, ListenerId};
use crate::identity::CertificateNames;
use crate::telemetry::{Metrics, events};
use crate::tls::{self, Refusal, RefusedHandshake};

/// What plain HTTP on a TLS port is answered with.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: 68\r\n\r\n400 Bad Request\nThis port speaks TLS: use https:// in place of http\n";

/// Counts a refusal, and says in one line who was refused and why.
pub(super) fn record(
    metrics: &Metrics,
    (id, listener): (ListenerId, &Listener),
    address: Option<SocketAddr>,
    refused: &RefusedHandshake,
) {
    let metrics = metrics.listener(id.0);
    match refused.reason {
        Refusal::HttpOnTlsPort | Refusal::NotTls | Refusal::Probe => {
            metrics.not_tls(refused.reason.code());
        }
        reason => metrics.handshake_refused(reason.code()),
    }
    if !refused.reason.is_noteworthy() {
        return;
    }
    let presented = refused.presented.as_deref();
    tracing::info!(
        event = events::HANDSHAKE_REFUSED,
        listener = listener.name,
        client = address.map(tracing::field::display),
        reason = refused.reason.code(),
        cause = refused.cause,
        sni = refused.server_name,
        subject = presented.map(CertificateNames::subject),
        issuer = presented.map(CertificateNames::issuer),
        serial = presented.map(CertificateNames::serial),
        fingerprint = presented.map(|names| tracing::field::display(names.fingerprint())),
        remedy = refused.remedy(),
    );
}

/// Lets the client read why: the alert that was sent, or, where it speaks plain
/// HTTP, an answer in its own language.
pub(super) async fn explain(refused: RefusedHandshake, deadline: Instant) {
    let Some(mut socket) = refused.socket else {
        return;
    };
    let farewell = async {
        let plain = refused.reason == Refusal::HttpOnTlsPort;
        if !plain || socket.write_all(USE_HTTPS.as_bytes()).await.is_ok() {
            tls::linger(&mut socket).await;
        }
    };
    if tokio::time::timeout_at(deadline, farewell).await.is_err() {
        tracing::trace!("a refused client did not take its answer");
    }
}

#[cfg(test)]
mod tests {
    use super::USE_HTTPS;

    #[test]
    fn answer_to_plain_http_has_the_length_it_says() {
        let (head, body) = USE_HTTPS.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
