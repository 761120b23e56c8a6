//! Who is at the other end of a connection, as one generation sees it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::accepted::Spoken;
use super::downstream::Downstream;
use super::fault::Fault;
use super::forwarding::Origin;
use super::handle::Proxy;
use super::party::Party;
use super::site::Site;
use crate::config::{FieldNames, Limits, ListenerId, PathForm, Redirect};
use crate::identity::{AnchorName, PeerIdentity};
use crate::tls::{Misdirected, ServerTls};

/// The longest name of a host (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;

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
    /// The host that was asked for last and may be; a connection rarely asks for
    /// another.
    covered: RefCell<Option<Box<str>>>,
    /// What the chain of the peer itself rests on.
    anchor: Option<Arc<AnchorName>>,
    /// What becomes of fields and paths that can be read in several ways.
    reading: (FieldNames, PathForm),
    /// The peer itself.
    party: Rc<Party>,
    /// Those for whom the peer speaks; `None`: it may not.
    spoken: Option<Spoken>,
}

impl Caller {
    /// `listener`: the one it came to, by its place in the generation of `proxy`;
    /// `anchor`: what the chain of the connection's peer rests on in it.
    pub fn new(
        proxy: &Rc<Proxy>,
        listener: ListenerId,
        downstream: Rc<Downstream>,
        anchor: Option<Arc<AnchorName>>,
    ) -> Rc<Self> {
        let site = proxy.site();
        let address = downstream.address();
        let trusted = site.config().listener(listener).is_some_and(|config| {
            address.is_some_and(|address| {
                let ip = address.ip().to_canonical();
                config.trusted_proxies.iter().any(|net| net.contains(&ip))
            })
        });
        let upstreams = site.plans().len();
        let reading = site.config().listener(listener);
        Rc::new(Self {
            listener,
            reading: reading.map_or_else(Default::default, |one| (one.field_names, one.path)),
            tls: site.server(listener).cloned(),
            covered: RefCell::default(),
            origin: Origin::new(address, downstream.is_tls(), trusted),
            party: Party::new(downstream.shared_peer().cloned(), upstreams),
            spoken: site
                .accepted(listener)
                .zip(downstream.shared_peer())
                .filter(|(accepted, peer)| accepted.lists(peer, anchor.as_deref()))
                .map(|(accepted, peer)| Spoken::of(accepted, peer, upstreams)),
            anchor,
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

    /// What becomes of fields whose names some services take for others.
    pub(super) fn field_names(&self) -> FieldNames {
        self.reading.0
    }

    /// What becomes of paths that can be read in several ways.
    pub(super) fn path_form(&self) -> PathForm {
        self.reading.1
    }

    /// Where its listener leads every request to; `None`: they are served.
    pub(super) fn redirect(&self) -> Option<&Redirect> {
        // There are none over TLS, where most requests come.
        let plaintext = self.tls.is_none();
        let listener = plaintext.then(|| self.site().config().listener(self.listener));
        listener.flatten()?.redirect.as_ref()
    }

    /// The listener it connected to.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Its connection.
    pub fn downstream(&self) -> &Rc<Downstream> {
        &self.downstream
    }

    /// Who is at the other end; `None` is anonymous.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.downstream.peer()
    }

    /// What the chain of whoever is at the other end rests on.
    pub(super) fn anchor(&self) -> Option<&AnchorName> {
        self.anchor.as_deref()
    }

    /// Sees whether requests for `host` may come over this connection.
    ///
    /// # Errors
    ///
    /// They may not, and why.
    pub(super) fn may_ask_for(&self, host: &str) -> Result<(), Misdirected> {
        let Some(tls) = &self.tls else { return Ok(()) };
        if self.covered.borrow().as_deref() == Some(host) {
            return Ok(());
        }
        tls.covers(host, self.downstream.server_name())?;
        if host.len() <= LONGEST_NAME {
            self.covered.replace(Some(host.into()));
        }
        Ok(())
    }

    /// Whether its sender is believed who or what a request belongs to: it may say
    /// where requests came from, or for whom they are made.
    pub(super) fn is_believed(&self) -> bool {
        self.origin.is_trusted() || self.spoken.is_some()
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// For whom a request with this head is made. What is no credential but an
    /// assertion is taken out.
    ///
    /// # Errors
    ///
    /// The peer says for whom, and that cannot be taken.
    pub(super) fn party(&self, headers: &mut HeaderMap) -> Result<Rc<Party>, Fault> {
        let Some(spoken) = &self.spoken else {
            return Ok(Rc::clone(&self.party));
        };
        let counters = self.site().metrics().listener(self.listener.0);
        match spoken.party(headers) {
            Ok(None) => Ok(Rc::clone(&self.party)),
            Ok(Some(party)) => {
                counters.assertion_received(true);
                Ok(party)
            }
            Err(refused) => {
                counters.assertion_received(false);
                Err(refused)
            }
        }
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
