//! Reads a client's first message and tells TLS from what is not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::handshake::RefusedHandshake;
use super::refusal::Refusal;
use super::stream::Socket;
use super::words;
use crate::identity::proxy_header;

/// So many bytes tell what something is that is not TLS.
const BEGINNING: usize = 12;
/// The record type of a TLS handshake message (RFC 9846 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// First letters of the methods that HTTP clients begin with (RFC 9110 §9.1,
/// RFC 5789), and of HTTP/2's preface. Others have words of their own, such as
/// `SSH-2.0`, and would not read an answer in HTTP.
const BEGINS_A_METHOD: &[u8] = b"CDGHOPT";

/// Reads up to the end of the ClientHello.
///
/// The first byte decides whether this is TLS at all, before the TLS library
/// sees it: it would answer plain HTTP with an alert that no HTTP client reads.
pub(super) async fn client_hello(socket: &mut Socket) -> Result<Accepted, RefusedHandshake> {
    let mut acceptor = Acceptor::default();
    let mut first = Vec::new();
    loop {
        match read_into(socket, &mut acceptor, &mut first).await {
            Ok(0) if first.is_empty() => {
                return Err(RefusedHandshake::early(
                    Refusal::Probe,
                    "the client closed without a byte",
                ));
            }
            Ok(0) => {
                return Err(RefusedHandshake::early(
                    Refusal::ClientGone,
                    "the client closed in its first message",
                ));
            }
            Ok(_) => {}
            Err(cause) => return Err(unreadable(&cause, &first)),
        }
        if let Some(byte) = first.first().filter(|byte| **byte != HANDSHAKE_RECORD) {
            return Err(not_tls(*byte, &first));
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((cause, alert)) => {
                send(socket, alert).await;
                return Err(RefusedHandshake::early(
                    Refusal::of(&cause),
                    words::of_error(&cause),
                ));
            }
        }
    }
}

fn unreadable(cause: &io::Error, first: &[u8]) -> RefusedHandshake {
    // A scanner that resets instead of closing is a scanner still.
    let reason = if first.is_empty() {
        Refusal::Probe
    } else {
        Refusal::ClientGone
    };
    RefusedHandshake::early(reason, cause.to_string())
}

fn not_tls(first: u8, bytes: &[u8]) -> RefusedHandshake {
    if proxy_header::begins_one(bytes) {
        RefusedHandshake::early(
            Refusal::ProxyProtocol,
            "a header of the PROXY protocol, from a sender that is not listed in proxy_protocol_from",
        )
    } else if BEGINS_A_METHOD.contains(&first) {
        RefusedHandshake::early(
            Refusal::HttpOnTlsPort,
            "the client speaks plain HTTP, and this port speaks TLS",
        )
    } else {
        RefusedHandshake::early(
            Refusal::NotTls,
            format!("the first byte is {first:#04x}, which begins no TLS handshake"),
        )
    }
}

/// Sends an alert as far as the socket takes it; the refusal does not depend on it.
async fn send(socket: &mut Socket, mut alert: AcceptedAlert) {
    let mut bytes = Vec::new();
    if alert.write_all(&mut bytes).is_ok() && socket.write_all(&bytes).await.is_err() {
        tracing::trace!("the client did not wait for its alert");
    }
}

/// Feeds what the socket has to the acceptor; the number of bytes, 0 at the end.
async fn read_into(
    socket: &mut Socket,
    acceptor: &mut Acceptor,
    first: &mut Vec<u8>,
) -> io::Result<usize> {
    std::future::poll_fn(|cx| {
        let mut reader = Polled { socket, cx, first };
        match acceptor.read_tls(&mut reader) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    })
    .await
}

/// A socket as a blocking reader that says `WouldBlock` and arranges to be woken.
struct Polled<'a, 'b> {
    socket: &'a mut Socket,
    cx: &'a mut Context<'b>,
    /// The beginning of what came first.
    first: &'a mut Vec<u8>,
}

impl io::Read for Polled<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.socket).poll_read(self.cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                let filled = buf.filled();
                if self.first.is_empty() {
                    self.first.extend(filled.iter().take(BEGINNING));
                }
                Ok(filled.len())
            }
            Poll::Ready(Err(e)) => Err(e),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
