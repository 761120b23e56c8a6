//! One downstream connection, for as long as it lasts.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::fault::{Fault, Kind, Phase, Side};
use super::source::Source;
use crate::identity::PeerIdentity;
use crate::telemetry::ReferenceId;
use crate::tls::Refusal;

/// A connection that has changed its protocol, carried to its end.
pub type Tunnel = Pin<Box<dyn Future<Output = ()>>>;

/// One downstream connection: what does not change while it lasts, and how it
/// stands. What a generation makes of it is a [`Caller`](super::Caller).
pub struct Downstream {
    /// Gone when it is: for what belongs to it.
    token: Rc<()>,
    source: Source,
    /// How many bytes of its requests' bodies are held.
    held: Rc<Cell<usize>>,
    peer: Option<Rc<PeerIdentity>>,
    /// The name that the client asked for, as names are compared; `None`: it
    /// asked for none.
    server_name: Option<Box<str>>,
    not_served: Option<NotServed>,
    tls: bool,
    session: OnceCell<TlsSession>,
    http2: bool,
    standing: RefCell<Standing>,
    tunnel: RefCell<Option<Tunnel>>,
}

/// What was agreed on in the handshake of a connection.
#[derive(Clone, Copy, Debug)]
pub struct TlsSession {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
    /// Whether it goes on with an earlier session.
    pub resumed: bool,
}

/// Why nothing is served on a connection: its client is not accepted, and was
/// let in to be told so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotServed {
    /// That of its handshake, which all answers have.
    pub reference: ReferenceId,
    /// Whether it has shown no certificate, rather than one that is not accepted.
    pub shows_none: bool,
    /// Why, in words for the log that say nothing of who it claims to be.
    pub cause: String,
    /// What the client is told beside the reference.
    pub explanation: Option<String>,
}

impl NotServed {
    /// Of a client that is not accepted for this reason.
    pub fn new(reference: ReferenceId, reason: Refusal, explanation: Option<String>) -> Self {
        Self {
            reference,
            shows_none: reason == Refusal::NoCertificate,
            cause: format!(
                "{} ({reason}); handshake.refused has the same reference",
                reason.meaning()
            ),
            explanation,
        }
    }
}

/// How a connection stands. It never gets better: a client whose trust was
/// given back comes with a new connection.
///
/// Causes are shared: one withdrawal may concern many connections.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// Its requests are served.
    #[default]
    Good,
    /// Its peer is no longer trusted: what is under way goes on, and every new
    /// request is refused with 403.
    Withdrawn {
        /// Why, in words for the log.
        cause: Arc<str>,
    },
    /// What is under way is being dropped.
    Cut {
        /// Why, in words for the log.
        cause: Arc<str>,
    },
}

impl Downstream {
    /// A plaintext connection.
    pub fn plaintext(source: impl Into<Source>, http2: bool) -> Rc<Self> {
        Rc::new(Self::new(source.into(), http2))
    }

    /// A connection after its TLS handshake. `peer`: who it is; `None` is
    /// anonymous. `server_name`: what it asked for, as names are compared.
    pub fn tls(
        source: impl Into<Source>,
        (peer, server_name): (Option<PeerIdentity>, Option<String>),
        http2: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            peer: peer.map(Rc::new),
            server_name: server_name.map(String::into_boxed_str),
            tls: true,
            ..Self::new(source.into(), http2)
        })
    }

    /// A connection after its TLS handshake, on which every request is refused.
    pub fn not_served(
        source: impl Into<Source>,
        (why, server_name): (NotServed, Option<String>),
        http2: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            server_name: server_name.map(String::into_boxed_str),
            not_served: Some(why),
            tls: true,
            ..Self::new(source.into(), http2)
        })
    }

    fn new(source: Source, http2: bool) -> Self {
        Self {
            token: Rc::new(()),
            source,
            held: Rc::default(),
            peer: None,
            server_name: None,
            not_served: None,
            tls: false,
            session: OnceCell::new(),
            http2,
            standing: RefCell::default(),
            tunnel: RefCell::default(),
        }
    }

    /// How many bytes of its requests' bodies are held before they go up.
    pub(super) fn held(&self) -> &Rc<Cell<usize>> {
        &self.held
    }

    /// What tells it from every other connection of its worker, and is gone
    /// when it is.
    pub(super) fn token(&self) -> &Rc<()> {
        &self.token
    }

    /// The client's address; `None` on a unix socket, and where its sender does
    /// not know it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.source.address()
    }

    /// Where it comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Who it is; `None` is anonymous.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_deref()
    }

    /// The same, to be kept.
    pub(super) fn shared_peer(&self) -> Option<&Rc<PeerIdentity>> {
        self.peer.as_ref()
    }

    /// The name that its client asked for in the handshake (SNI), as names are
    /// compared; `None`: it asked for none.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Why nothing is served on it; `None`: requests are.
    pub fn why_not_served(&self) -> Option<&NotServed> {
        self.not_served.as_ref()
    }

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// What was agreed on in its handshake. The first word counts.
    pub fn note_session(&self, session: TlsSession) {
        self.session.get_or_init(|| session);
    }

    /// What was agreed on in its handshake, as far as it was noted.
    pub(super) fn session(&self) -> Option<TlsSession> {
        self.session.get().copied()
    }

    /// Whether it came over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Its peer is no longer trusted: what is under way goes on, what comes now
    /// is refused. The first cause is the one that counts; none on a connection
    /// that is being cut.
    pub fn withdraw(&self, cause: impl Into<Arc<str>>) {
        let mut standing = self.standing.borrow_mut();
        if *standing == Standing::Good {
            *standing = Standing::Withdrawn {
                cause: cause.into(),
            };
        }
    }

    /// What is under way ends here; to be called before it is dropped, so that
    /// the lines of its requests say why. The first cause is the one that counts.
    /// A tunnel that has not been taken ends with it.
    pub fn cut(&self, cause: impl Into<Arc<str>>) {
        if !matches!(*self.standing.borrow(), Standing::Cut { .. }) {
            self.standing.replace(Standing::Cut {
                cause: cause.into(),
            });
        }
        drop(self.take_tunnel());
    }

    /// Why what is under way is being dropped, if it is.
    pub(super) fn cut_cause(&self) -> Option<Arc<str>> {
        match &*self.standing.borrow() {
            Standing::Good | Standing::Withdrawn { .. } => None,
            Standing::Cut { cause } => Some(Arc::clone(cause)),
        }
    }

    /// Whether a request may begin.
    ///
    /// # Errors
    ///
    /// Its peer is not, or no longer, trusted.
    pub(super) fn admit(&self) -> Result<(), Fault> {
        if let Some(why) = &self.not_served {
            let kind = if why.shows_none {
                Kind::CertificateRequired
            } else {
                Kind::CertificateRefused
            };
            let cause = why.cause.as_str();
            return Err(Fault::new(Side::Downstream, Phase::Policy, kind, cause));
        }
        match &*self.standing.borrow() {
            Standing::Good => Ok(()),
            Standing::Withdrawn { cause } | Standing::Cut { cause } => Err(Fault::new(
                Side::Downstream,
                Phase::Policy,
                Kind::Withdrawn,
                &**cause,
            )),
        }
    }

    /// The protocol change that a request has brought about, to be carried once
    /// HTTP on the connection has ended.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }

    pub(super) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }
}

impl fmt::Display for Downstream {
    /// Where it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream")
            .field("source", &self.source)
            .field("peer", &self.peer)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(downstream: &Downstream) -> Option<String> {
        downstream.admit().err().map(|fault| fault.cause)
    }

    #[test]
    fn connection_in_good_standing_admits_requests() {
        let downstream = Downstream::plaintext(None, false);
        assert_eq!(downstream.standing(), Standing::Good);
        assert_eq!(downstream.admit(), Ok(()));
        assert_eq!(downstream.cut_cause(), None);
    }

    #[test]
    fn withdrawn_connection_refuses_requests_and_cuts_none() {
        let downstream = Downstream::plaintext(None, false);
        downstream.withdraw("its authority was removed");
        downstream.withdraw("it was revoked, too");
        assert_eq!(
            downstream.admit(),
            Err(Fault::new(
                Side::Downstream,
                Phase::Policy,
                Kind::Withdrawn,
                "its authority was removed"
            ))
        );
        assert_eq!(downstream.cut_cause(), None);
    }

    #[test]
    fn cut_counts_more_than_withdrawal_and_the_first_cut_counts() {
        let downstream = Downstream::plaintext(None, false);
        downstream.withdraw("its authority was removed");
        downstream.cut("the time to finish is over");
        downstream.cut("it has expired");
        downstream.withdraw("it was revoked");
        let first = "the time to finish is over";
        assert_eq!(downstream.cut_cause().as_deref(), Some(first));
        assert_eq!(cause_of(&downstream).as_deref(), Some(first));
    }

    #[test]
    fn tunnel_that_was_not_taken_ends_with_its_connection_and_one_that_was_goes_on() {
        let downstream = Downstream::plaintext(None, false);
        let carried = Rc::new(());
        let tunnel = |carried| -> Tunnel {
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop::<Rc<()>>(carried);
            })
        };
        downstream.set_tunnel(tunnel(Rc::clone(&carried)));
        let taken = downstream.take_tunnel();
        downstream.set_tunnel(tunnel(Rc::clone(&carried)));
        downstream.cut("revoked");
        assert_eq!(Rc::strong_count(&carried), 2);
        assert!(taken.is_some());
        assert!(downstream.take_tunnel().is_none());
    }
}
