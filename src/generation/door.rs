//! Who may come to the admin address, where it speaks TLS.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::reload::InForce;
use crate::telemetry::admin::{AdminStream, Admission, Door, Io};
use crate::telemetry::metrics::{AdminMetrics, Metrics};
use crate::telemetry::{ReferenceIds, Refusals, Refused, events};
use crate::tls::{self, Connected, Refusal, RefusedHandshake, Socket, Stream};

/// Makes the handshakes of the admin address, each under the generation in force.
#[derive(Clone, Debug)]
pub(super) struct AdminDoor(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    in_force: Rc<RefCell<InForce>>,
    refusals: Arc<Refusals>,
    metrics: Arc<AdminMetrics>,
    references: ReferenceIds,
}

impl AdminDoor {
    /// The door of an admin address that speaks TLS; `None`: it does not.
    pub(super) fn of(
        in_force: &Rc<RefCell<InForce>>,
        (refusals, metrics): (&Arc<Refusals>, &Metrics),
    ) -> Option<Self> {
        let speaks_tls = in_force.borrow().loaded.material().admin.is_some();
        speaks_tls.then(|| Self::new(in_force, refusals, metrics.admin()))
    }

    fn new(
        in_force: &Rc<RefCell<InForce>>,
        refusals: &Arc<Refusals>,
        metrics: Arc<AdminMetrics>,
    ) -> Self {
        Self(Rc::new(Inner {
            in_force: Rc::clone(in_force),
            refusals: Arc::clone(refusals),
            metrics,
            references: ReferenceIds::new(),
        }))
    }
}

impl Door for AdminDoor {
    fn admit(&self, stream: AdminStream, deadline: Instant) -> Admission {
        let door = Rc::clone(&self.0);
        Box::pin(async move { door.shake_hands(stream, deadline).await })
    }
}

impl Inner {
    async fn shake_hands(&self, stream: AdminStream, deadline: Instant) -> Option<Box<dyn Io>> {
        let tls = self.in_force.borrow().loaded.material().admin.clone()?;
        let (socket, client) = match stream {
            AdminStream::Tcp(stream) => {
                let client = stream.peer_addr().ok();
                (Socket::Tcp(stream), client)
            }
            AdminStream::Unix(stream) => (Socket::Unix(stream), None),
        };
        match tls.accept(socket, deadline).await {
            // The config has no terms for those who are not accepted.
            Ok(done) if done.not_accepted.is_none() => {
                self.metrics.handshake_accepted(done.resumed);
                Some(Box::new(Admitted {
                    stream: done.stream,
                    _peer: done.peer.map(|peer| peer.known),
                }))
            }
            Ok(done) => {
                if let Some(not_accepted) = done.not_accepted {
                    self.count(not_accepted.let_in.reason);
                }
                None
            }
            Err(refused) => {
                self.count(refused.reason);
                self.tell(&refused, client);
                let mut socket = refused.socket?;
                let farewell = tls::linger(&mut socket);
                if tokio::time::timeout_at(deadline, farewell).await.is_err() {
                    tracing::trace!("a refused client did not take its alert");
                }
                None
            }
        }
    }

    /// Counts a refusal as listeners do.
    fn count(&self, reason: Refusal) {
        match reason {
            Refusal::HttpOnTlsPort | Refusal::NotTls | Refusal::Probe | Refusal::ProxyProtocol => {
                self.metrics.not_tls(reason.code());
            }
            reason => self.metrics.handshake_refused(reason.code()),
        }
    }

    /// Says who was refused, and why, as listeners do.
    fn tell(&self, refused: &RefusedHandshake, client: Option<SocketAddr>) {
        let reason = refused.reason;
        let address = client.map(|client| client.ip());
        let per_minute = {
            let in_force = self.in_force.borrow();
            in_force.loaded.config().log().refusals_per_minute
        };
        if !reason.is_noteworthy() || !self.refusals.is_told(address, reason.code(), per_minute) {
            return;
        }
        let diagnosis = refused.evidence.diagnose();
        let found = diagnosis.as_ref();
        let cause = found.map_or(&refused.cause, |found| &found.cause);
        let remedy = found.map_or(reason.remedy(), |found| &found.remedy);
        let certificate = refused.evidence.certificate();
        let subject = certificate
            .as_ref()
            .and_then(|known| known.subject.as_deref());
        let fingerprint = certificate
            .as_ref()
            .map(|known| known.fingerprint.to_string());
        let reference = self.references.next();
        tracing::info!(
            event = events::HANDSHAKE_REFUSED,
            listener = "admin",
            client = client.map(tracing::field::display),
            reason = reason.code(),
            cause,
            remedy,
            sni = refused.server_name,
            subject,
            fingerprint,
            reference = %reference,
        );
        let known = json!({
            "listener": "admin",
            "client": client.map(|client| client.to_string()),
            "sni": refused.server_name,
            "reason": reason.code(),
            "cause": cause,
            "remedy": remedy,
            "certificate": { "subject": subject, "fingerprint": fingerprint },
        });
        let key = (address, reason.code());
        self.refusals
            .keep(Refused::Handshake, key, reference, known);
    }
}

/// What was let in, and who it is for as long as it is there.
#[derive(Debug)]
struct Admitted {
    stream: Stream,
    _peer: Option<Connected>,
}

impl AsyncRead for Admitted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
