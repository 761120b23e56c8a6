//! Who is at the other end of one downstream connection, and what follows from it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::assertion::Assertions;
use super::forwarding::Origin;
use super::site::Site;
use crate::config::ListenerId;
use crate::identity::PeerIdentity;
use crate::tls::ServerTls;

/// A connection that has changed its protocol, carried to its end.
pub type Tunnel = Pin<Box<dyn Future<Output = ()>>>;

/// The other end of one downstream connection. Everything that is the same for
/// each of its requests is made once, here.
pub struct Caller {
    listener: ListenerId,
    address: Option<SocketAddr>,
    peer: Option<PeerIdentity>,
    tls: Option<Arc<ServerTls>>,
    http2: bool,
    origin: Origin,
    assertions: Assertions,
    tunnel: RefCell<Option<Tunnel>>,
    /// Whether it is cut off because its certificate has expired.
    expired: Cell<bool>,
}

impl Caller {
    /// `address`: of the client; `None` on a unix socket. `peer`: who it is;
    /// `None` is anonymous.
    pub fn new(
        site: &Site,
        listener: ListenerId,
        address: Option<SocketAddr>,
        peer: Option<PeerIdentity>,
        http2: bool,
    ) -> Rc<Self> {
        let tls = site.server(listener).cloned();
        let trusted = site.config().listener(listener).is_some_and(|config| {
            address.is_some_and(|address| {
                let ip = address.ip().to_canonical();
                config.trusted_proxies.iter().any(|net| net.contains(&ip))
            })
        });
        Rc::new(Self {
            listener,
            address,
            peer,
            origin: Origin::new(address, tls.is_some(), trusted),
            assertions: Assertions::new(site.plans().len()),
            tls,
            http2,
            tunnel: RefCell::new(None),
            expired: Cell::new(false),
        })
    }

    /// The listener it connected to.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Who it is; `None` is anonymous.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// The protocol change that a request of this connection has brought about,
    /// to be carried once HTTP on it has ended.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }

    /// What is under way ends here, since the certificate has expired: the
    /// lines of its requests say so.
    pub fn cut_as_expired(&self) {
        self.expired.set(true);
    }

    pub(super) fn is_cut_as_expired(&self) -> bool {
        self.expired.get()
    }

    pub(super) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    /// Whether requests for `host` may come over this connection.
    pub(super) fn may_ask_for(&self, host: &str) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.covers(host))
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn assertions(&self) -> &Assertions {
        &self.assertions
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2
    }
}

impl fmt::Display for Caller {
    /// The address, or `unix` where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("listener", &self.listener)
            .field("address", &self.address)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
