//! Who is at the other end of a connection, as one generation sees it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::assertion::Assertions;
use super::downstream::Downstream;
use super::forwarding::Origin;
use super::handle::Proxy;
use super::site::Site;
use crate::config::{Limits, ListenerId};
use crate::identity::PeerIdentity;
use crate::tls::ServerTls;

/// One [`Downstream`] connection under one generation. Everything that is the
/// same for each of its requests is made once, here.
///
/// A request is served to its end under the caller it began with. When the
/// generation changes, the connection is given a new one; whoever keeps the old
/// one keeps all of its generation in memory.
pub struct Caller {
    proxy: Rc<Proxy>,
    listener: ListenerId,
    downstream: Rc<Downstream>,
    tls: Option<Arc<ServerTls>>,
    origin: Origin,
    assertions: Assertions,
}

impl Caller {
    /// `listener`: the one it came to, by its place in the generation of `proxy`.
    pub fn new(proxy: &Rc<Proxy>, listener: ListenerId, downstream: Rc<Downstream>) -> Rc<Self> {
        let site = proxy.site();
        let address = downstream.address();
        let trusted = site.config().listener(listener).is_some_and(|config| {
            address.is_some_and(|address| {
                let ip = address.ip().to_canonical();
                config.trusted_proxies.iter().any(|net| net.contains(&ip))
            })
        });
        Rc::new(Self {
            listener,
            tls: site.server(listener).cloned(),
            origin: Origin::new(address, downstream.is_tls(), trusted),
            assertions: Assertions::new(site.plans().len()),
            proxy: Rc::clone(proxy),
            downstream,
        })
    }

    /// What serves its requests.
    pub fn proxy(&self) -> &Rc<Proxy> {
        &self.proxy
    }

    /// The generation it is served under.
    pub fn site(&self) -> &Site {
        self.proxy.site()
    }

    /// The limits of its listener.
    pub fn limits(&self) -> Option<Limits> {
        let listener = self.site().config().listener(self.listener)?;
        Some(listener.limits)
    }

    /// The listener it connected to.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Its connection.
    pub fn downstream(&self) -> &Rc<Downstream> {
        &self.downstream
    }

    /// Who it is; `None` is anonymous.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.downstream.peer()
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
        self.downstream.is_http2()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("generation", &self.proxy.site().generation())
            .field("listener", &self.listener)
            .field("downstream", &self.downstream)
            .finish_non_exhaustive()
    }
}
