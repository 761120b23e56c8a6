//! countersign as a TLS server: a listener's settings, and one handshake under them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::{Accepted, NoServerSessionStorage};
use rustls::{
    AlertDescription, HandshakeKind, ProtocolVersion, ServerConfig, SupportedProtocolVersion,
};
use rustls_pki_types::UnixTime;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_rustls::server::{StartHandshake, TlsStream};

use super::bundle::Bundle;
use super::choices;
use super::first_flight;
use super::handshake::{
    self, Handshaken, Peer, Record, RefusedHandshake, Unattested, VerifiedChain,
};
use super::own_certificate::OwnChain;
use super::peers::{KnownPeer, Peers, Withdrawal};
use super::refusal::{Refusal, alert_record};
use super::sessions::Sessions;
use super::sni::{Certificates, normalise};
use super::stream::{Socket, Stream};
use super::verifier::ClientVerifier;
use super::words;
use crate::config::{ListenerTls, Protocol};

/// How long a refused client may take to read its alert before it is dropped.
const LINGER: std::time::Duration = std::time::Duration::from_millis(500);

/// The TLS 1.3 tickets after a full handshake. A client that opens several
/// connections at once uses one for each (RFC 9846 §C.4).
const TICKETS: usize = 2;

/// The TLS side of one listener. Cheap to share; immutable.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    /// `None`: certificates are not asked for.
    trust: Option<Trust>,
}

/// What client certificates are checked against, and what for.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) bundle: Arc<Bundle>,
    /// Whether a client without one is refused.
    pub(super) required: bool,
    /// Where those whose chain is good are known.
    pub(super) peers: Arc<Peers>,
}

impl ServerTls {
    /// Puts a listener's settings together.
    ///
    /// `trust` is what client certificates are checked against; `None`: they are
    /// not asked for. `sessions` keeps what can be resumed; `None`: nothing.
    pub(super) fn new(
        tls: &ListenerTls,
        protocols: &[Protocol],
        chains: &[&OwnChain],
        trust: Option<Trust>,
        sessions: Option<Sessions>,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Certificates::new(chains));
        let versions: Vec<&'static SupportedProtocolVersion> = choices::versions(tls.versions);
        let builder = ServerConfig::builder_with_provider(Arc::new(choices::provider(tls)))
            .with_protocol_versions(&versions)?;
        let builder = match &trust {
            Some(trust) => {
                let bundle = Arc::clone(&trust.bundle);
                let verifier = ClientVerifier::new(bundle, trust.required);
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
            None => builder.with_no_client_auth(),
        };
        let resolver: Arc<Certificates> = Arc::clone(&certificates);
        let mut config = builder.with_cert_resolver(resolver);
        // The library's own store asks nobody before it resumes a session.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        if let Some(sessions) = sessions {
            config.ticketer = Arc::new(sessions);
            config.send_tls13_tickets = TICKETS;
            config.max_tls13_tickets = TICKETS;
        }
        config.alpn_protocols = protocols.iter().map(alpn).collect();
        Ok(Self {
            config: Arc::new(config),
            certificates,
            trust,
        })
    }

    /// Judges a client of an open connection as a handshake would now.
    ///
    /// Returns until when it may go on, in seconds since 1970; `None`: for ever.
    ///
    /// # Errors
    ///
    /// It would be refused, and why.
    pub fn judge(&self, peer: Option<&KnownPeer>) -> Result<Option<i64>, Withdrawal> {
        match (&self.trust, peer) {
            (None, None) => Ok(None),
            (Some(trust), Some(peer)) => peer.judge(&trust.bundle).map(Some),
            (Some(trust), None) if trust.required => Err(Withdrawal {
                reason: Refusal::NoCertificate,
                cause: "the listener demands a certificate now, and none was presented".to_owned(),
                remedy: None,
            }),
            (Some(_), None) => Ok(None),
            (None, Some(_)) => Err(Withdrawal {
                reason: Refusal::Untrusted,
                cause: "the listener asks for no certificate any more, and has nothing to check one against".to_owned(),
                remedy: None,
            }),
        }
    }

    /// Whether requests for `host` (lower case, no port) may come over a
    /// connection to this listener; else they get 421 (RFC 9110 §15.5.20).
    pub fn covers(&self, host: &str) -> bool {
        self.certificates.cover(host)
    }

    /// Completes a handshake, the ClientHello included, before `deadline`.
    ///
    /// # Errors
    ///
    /// [`RefusedHandshake`] for every way in which it can fail. Its alert has
    /// been sent by then; the socket that comes with it wants to [`linger`].
    pub async fn accept(
        &self,
        socket: Socket,
        deadline: Instant,
    ) -> Result<Handshaken, RefusedHandshake> {
        let record = Record::new();
        let attempt = self.attempt(socket, &record);
        let outcome = match tokio::time::timeout_at(deadline, attempt).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(RefusedHandshake::early(
                Refusal::Timeout,
                "the handshake was not complete at its deadline",
            )),
        };
        let record = record.take();
        match outcome {
            Ok(stream) => self.handshaken(stream, record),
            Err(refused) => Err(record.complete(refused)),
        }
    }

    async fn attempt(
        &self,
        mut socket: Socket,
        record: &Rc<RefCell<Record>>,
    ) -> Result<TlsStream<Socket>, RefusedHandshake> {
        let accepted = match first_flight::client_hello(&mut socket).await {
            Ok(accepted) => accepted,
            Err(mut refused) => {
                refused.socket = Some(socket);
                return Err(refused);
            }
        };
        let name = accepted.client_hello().server_name().map(normalise);
        if self.certificates.candidates(name.as_deref()).is_empty() {
            let refused = refuse_name(socket, name.as_deref()).await;
            record.borrow_mut().note_server_name(name);
            return Err(refused);
        }
        record.borrow_mut().note_server_name(name);
        self.finish(accepted, socket, record).await
    }

    /// The part of the handshake that the TLS library runs.
    async fn finish(
        &self,
        accepted: Accepted,
        socket: Socket,
        record: &Rc<RefCell<Record>>,
    ) -> Result<TlsStream<Socket>, RefusedHandshake> {
        let start = StartHandshake::from_parts(accepted, socket);
        // Both halves run with the record in place: the library asks for the
        // session in the first, and its verifier in the second.
        let config = Arc::clone(&self.config);
        let outcome = handshake::recorded(Rc::clone(record), async move {
            start.into_stream(config).into_fallible().await
        })
        .await;
        match outcome {
            Ok(stream) => Ok(stream),
            Err((cause, socket)) => Err(failed(&cause, socket)),
        }
    }

    /// A handshake that the library has completed, unless it has done so for
    /// somebody whom nobody here has verified.
    fn handshaken(
        &self,
        stream: TlsStream<Socket>,
        mut record: Record,
    ) -> Result<Handshaken, RefusedHandshake> {
        let server_name = record.take_server_name();
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificates = session.peer_certificates().unwrap_or_default();
        let peer = match record.into_peer(resumed, certificates) {
            Ok(None) if self.trust.as_ref().is_some_and(|trust| trust.required) => Err(Unattested),
            known => known,
        };
        let peer = match (peer, &self.trust) {
            (Ok(Some(peer)), Some(trust)) => Ok(Some(trust.admit(peer))),
            (Ok(None), _) => Ok(None),
            (Ok(Some(_)), None) => Err(Unattested),
            (Err(fault), _) => Err(fault),
        };
        let peer = match peer {
            Ok(peer) => peer,
            Err(fault) => {
                let mut refused = RefusedHandshake::early(Refusal::Internal, fault.to_string());
                refused.server_name = server_name;
                return Err(refused);
            }
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        Ok(Handshaken {
            stream: Stream::Server(Box::new(stream)),
            peer,
            server_name,
            resumed,
            http2,
            version,
        })
    }
}

impl Trust {
    /// A client whose handshake has succeeded.
    fn admit(&self, peer: VerifiedChain) -> Peer {
        let (mut identity, verdict, chain) = peer.attest();
        self.bundle.note_use(&verdict.path, UnixTime::now());
        self.bundle.note_unenforced(&verdict);
        let good_until = verdict.good_until;
        let known = self.peers.connect(&self.bundle, &identity, chain, verdict);
        identity.share_chain(known.shared_chain());
        Peer {
            identity,
            known,
            good_until,
        }
    }
}

fn alpn(protocol: &Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }
}

fn failed(cause: &std::io::Error, socket: Socket) -> RefusedHandshake {
    let library = cause
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (reason, text) = match library {
        Some(error) => (Refusal::of(error), words::of_error(error)),
        None => (
            Refusal::ClientGone,
            format!("the client went away: {cause}"),
        ),
    };
    let mut refused = RefusedHandshake::early(reason, text);
    refused.socket = Some(socket).filter(|_| reason != Refusal::ClientGone);
    refused
}

async fn refuse_name(mut socket: Socket, name: Option<&str>) -> RefusedHandshake {
    let alert = alert_record(AlertDescription::UnrecognisedName);
    let sent = socket.write_all(&alert).await.is_ok();
    let mut refused = RefusedHandshake::early(
        Refusal::UnknownName,
        format!(
            "no certificate of this listener carries the name {}",
            name.unwrap_or("-")
        ),
    );
    refused.socket = Some(socket).filter(|_| sent);
    refused
}

/// Lets the client read its alert: ends our side and waits a moment for its
/// end, so that bytes it has already sent do not turn our close into a reset.
pub async fn linger(socket: &mut Socket) {
    let wait = async {
        if socket.shutdown().await.is_ok() {
            let mut sink = tokio::io::sink();
            let mut bounded = tokio::io::AsyncReadExt::take(&mut *socket, 64 * 1024);
            return tokio::io::copy(&mut bounded, &mut sink).await.is_ok();
        }
        false
    };
    if tokio::time::timeout(LINGER, wait).await.is_err() {
        socket.discard_received();
    }
}

#[cfg(test)]
mod tests;
