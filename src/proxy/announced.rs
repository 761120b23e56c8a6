//! What an upstream is told of a downstream connection in a header of the PROXY
//! protocol.

use std::rc::Rc;

use super::caller::Caller;
use super::downstream::Downstream;
use super::party::Party;
use crate::identity::proxy_header::{TlsFacts, Told};
use crate::upstream::{Announcement, Announces, Plan};

/// A downstream connection, for those who are told of it.
struct Connection {
    downstream: Rc<Downstream>,
    /// Whether its requests are those of its own peer.
    own: bool,
}

/// What connections to this upstream begin with in a request of this party;
/// `None`: with nothing of it.
///
/// The certificate of the connection's peer is not that of somebody for whom it
/// speaks: of those only the addresses are told.
pub(super) fn announcement(plan: &Plan, caller: &Caller, party: &Party) -> Option<Announcement> {
    plan.proxy_protocol()?;
    Some(Announcement::new(Connection {
        downstream: Rc::clone(caller.downstream()),
        own: party.spoken_for().is_none(),
    }))
}

impl Announces for Connection {
    fn told(&self, tells_identity: bool, tell: &mut dyn FnMut(&Told<'_>)) {
        let downstream = &self.downstream;
        let peer = downstream.peer().filter(|_| tells_identity && self.own);
        let tls = downstream.session().map(|session| TlsFacts {
            version: session.version,
            cipher: session.cipher,
            protocol: Some(if downstream.is_http2() {
                "h2"
            } else {
                "http/1.1"
            }),
            server_name: downstream.server_name(),
            peer: peer.map(crate::identity::PeerIdentity::identity),
            resumed: session.resumed,
        });
        tell(&Told {
            source: downstream.source().address(),
            destination: downstream.source().destination(),
            tls,
        });
    }
}
