//! countersign as a TLS server: a listener's settings, and one handshake under them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_rustls::server::{StartHandshake, TlsStream};

use super::bundle::Bundle;
use super::first_flight;
use super::handshake::{self, Handshaken, LetIn, Record, RefusedHandshake};
use super::own_certificate::OwnChain;
use super::peers::{KnownPeer, Withdrawal};
use super::refusal::{Refusal, alert_record};
use super::sni::Certificates;
use super::stream::{Socket, Stream};
use super::words;
use crate::config::{ClientPolicy, ListenerTls, Protocol};
use crate::identity::canonical_dns;

pub(super) use policy::Demand;
use policy::{Policies, Policy};
pub use rehearsal::{Rehearsal, RehearsedPeer, TriedPath, client_chain};

mod policy;
mod rehearsal;

/// How long a refused client may take to read its alert before it is dropped.
const LINGER: std::time::Duration = std::time::Duration::from_millis(500);

/// The TLS side of one listener. Cheap to share; immutable.
#[derive(Debug)]
pub struct ServerTls {
    certificates: Arc<Certificates>,
    policies: Policies,
}

/// Why a host may not be asked for over a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misdirected {
    /// What is demanded of its clients is not what was demanded of this one.
    AnotherPolicy,
    /// The listener does not serve it at all.
    NotServed,
}

impl ServerTls {
    /// Puts a listener's settings together. `demand` says what each policy of
    /// [`ListenerTls::policies`], by its place there, is made of.
    pub(super) fn new(
        tls: &ListenerTls,
        protocols: &[Protocol],
        chains: &[&OwnChain],
        demand: impl Fn(usize, ClientPolicy) -> Result<Demand, rustls::Error>,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Certificates::new(chains, tls.unknown_sni));
        let policies = Policies::new(tls, |index, policy| {
            Policy::new(tls, protocols, &certificates, demand(index, policy)?)
        })?;
        Ok(Self {
            certificates,
            policies,
        })
    }

    /// Judges a client of an open connection, which asked for `server_name`, as
    /// a handshake would now. `let_in`: it is nobody, since it was not accepted.
    ///
    /// Returns until when it may go on, in seconds since 1970; `None`: for ever.
    ///
    /// # Errors
    ///
    /// It would be refused, and why.
    pub fn judge(
        &self,
        server_name: Option<&str>,
        peer: Option<&KnownPeer>,
        let_in: Option<LetIn>,
    ) -> Result<Option<i64>, Withdrawal> {
        let place = self.place_of_open(server_name);
        match place.and_then(|place| self.policies.get(place)) {
            Some(policy) => policy.judge(peer, let_in),
            None => Err(Withdrawal {
                reason: Refusal::UnknownName,
                cause: self.unknown_name(server_name),
                remedy: None,
            }),
        }
    }

    /// The trust bundle that clients which ask for `server_name` are checked
    /// against, if they are.
    pub fn bundle(&self, server_name: Option<&str>) -> Option<&Arc<Bundle>> {
        let policy = self.policies.get(self.place_of_open(server_name)?)?;
        Some(&policy.trust.as_ref()?.bundle)
    }

    /// Sees whether requests for `host` (lower case, no port, no final dot) may
    /// come over a connection whose client asked for `server_name`.
    ///
    /// They may if a client that had asked for `host` would have come under the
    /// very same policy. An address cannot be asked for in a handshake (RFC 6066
    /// §3), so it goes with no name.
    ///
    /// # Errors
    ///
    /// They may not, and why; they get 421 (RFC 9110 §15.5.20).
    pub fn covers(&self, host: &str, server_name: Option<&str>) -> Result<(), Misdirected> {
        let name = Some(host).filter(|host| host.parse::<IpAddr>().is_err());
        match self.place_of(name) {
            None => Err(Misdirected::NotServed),
            place if place == self.place_of_open(server_name) => Ok(()),
            Some(_) => Err(Misdirected::AnotherPolicy),
        }
    }

    /// Whether a certificate carries this host; not one that serves every name.
    pub fn names(&self, host: &str) -> bool {
        self.certificates.name(host)
    }

    /// Why a client that asks for `name` is refused.
    fn unknown_name(&self, name: Option<&str>) -> String {
        match name {
            Some(name) => format!(
                "no certificate of this listener carries the name {name}; they carry {}",
                self.certificates.told()
            ),
            None => "the client asked for no name (SNI), and what this listener demands depends on the name; unknown_sni = \"strictest\" would let it in".to_owned(),
        }
    }

    /// Which policy holds for a client that asks for `name`. `None`: it is refused.
    fn place_of(&self, name: Option<&str>) -> Option<usize> {
        let is_covered = |name: &str| self.certificates.cover(name);
        self.policies.place(name, is_covered)
    }

    /// The same for a client that has asked for it and was let in, perhaps
    /// before the certificates changed.
    fn place_of_open(&self, name: Option<&str>) -> Option<usize> {
        self.policies.only().or_else(|| self.place_of(name))
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
            Ok((stream, policy)) => handshaken(stream, policy, record),
            Err(refused) => Err(record.complete(refused)),
        }
    }

    async fn attempt(
        &self,
        mut socket: Socket,
        record: &Rc<RefCell<Record>>,
    ) -> Result<(TlsStream<Socket>, &Policy), RefusedHandshake> {
        let accepted = match first_flight::client_hello(&mut socket).await {
            Ok(accepted) => accepted,
            Err(mut refused) => {
                refused.socket = Some(socket);
                return Err(refused);
            }
        };
        let hello = accepted.client_hello();
        let name = hello.server_name().map(canonical_dns).map(Cow::into_owned);
        let place = self.place_of(name.as_deref());
        let Some(policy) = place.and_then(|place| self.policies.get(place)) else {
            let refused = refuse_name(socket, self.unknown_name(name.as_deref())).await;
            record.borrow_mut().note_server_name(name);
            return Err(refused);
        };
        record.borrow_mut().note_server_name(name);
        let stream = finish(policy, StartHandshake::from_parts(accepted, socket), record).await?;
        Ok((stream, policy))
    }
}

/// The part of the handshake that the TLS library runs.
async fn finish(
    policy: &Policy,
    start: StartHandshake<Socket>,
    record: &Rc<RefCell<Record>>,
) -> Result<TlsStream<Socket>, RefusedHandshake> {
    // Both halves run with the record in place: the library asks for the
    // session in the first, and its verifier in the second.
    let config = Arc::clone(&policy.config);
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
    stream: TlsStream<Socket>,
    policy: &Policy,
    mut record: Record,
) -> Result<Handshaken, RefusedHandshake> {
    let server_name = record.take_server_name();
    let session = stream.get_ref().1;
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let certificates = session.peer_certificates().unwrap_or_default();
    let client = record.into_client(resumed, certificates);
    let (peer, not_accepted) = match client.and_then(|client| policy.let_in(client, resumed)) {
        Ok(known) => known,
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
    let suite = session.negotiated_cipher_suite();
    let cipher = suite.map_or("", |suite| words::of_suite(suite.suite()));
    Ok(Handshaken {
        cipher,
        stream: Stream::Server(Box::new(stream)),
        peer,
        not_accepted,
        server_name,
        resumed,
        http2,
        version,
    })
}

fn failed(cause: &std::io::Error, socket: Socket) -> RefusedHandshake {
    let library = cause
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let mut refused = match library {
        Some(error) => refused_by(error),
        None => RefusedHandshake::early(
            Refusal::ClientGone,
            format!("the client went away: {cause}"),
        ),
    };
    refused.socket = Some(socket).filter(|_| refused.reason != Refusal::ClientGone);
    refused
}

fn refused_by(error: &rustls::Error) -> RefusedHandshake {
    RefusedHandshake::early(Refusal::of(error), words::of_error(error))
}

async fn refuse_name(mut socket: Socket, cause: String) -> RefusedHandshake {
    let alert = alert_record(AlertDescription::UnrecognisedName);
    let sent = socket.write_all(&alert).await.is_ok();
    let mut refused = RefusedHandshake::early(Refusal::UnknownName, cause);
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
