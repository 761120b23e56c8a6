//! What came of a question.

use std::rc::Rc;
use std::sync::Arc;

use super::case::Case;
use super::remedy;
use crate::config::{self, Config, Listener, Route};
use crate::generation::Loaded;
use crate::identity::PeerIdentity;
use crate::proxy;
use crate::proxy::{Caller, Destination, Downstream, Fault, Proxy, Sent};
use crate::telemetry::{AccessLog, Metrics};
use crate::tls::{RefusedHandshake, Rehearsal, RehearsedPeer};
use crate::upstream::Plan;

/// What came of a question: of the handshake, and of the request if it came
/// that far.
pub(super) struct Account<'a> {
    pub(super) case: Case,
    pub(super) loaded: &'a Loaded,
    /// `None`: the listener speaks no TLS.
    pub(super) handshake: Option<Rehearsal>,
    pub(super) end: End,
}

/// Where it ended.
pub(super) enum End {
    /// In the handshake.
    Handshake(Box<RefusedHandshake>),
    /// At the request.
    Request(Rc<Caller>, Box<proxy::Rehearsal>),
}

/// Why the caller would not be served.
pub(super) struct Refused {
    /// The stable code of the reason.
    pub(super) reason: &'static str,
    /// `side/phase/kind`; `None`: in the handshake.
    pub(super) fault: Option<String>,
    /// What the caller is told; `None`: it gets a TLS alert.
    pub(super) status: Option<u16>,
    pub(super) cause: String,
    pub(super) remedy: String,
}

impl<'a> Account<'a> {
    /// Lets a case go the way that it would go.
    pub(super) fn of(case: Case, loaded: &'a Loaded) -> Self {
        let server = loaded.material().servers.get(case.listener.0);
        let server = server.and_then(Option::as_ref);
        let mut handshake = server.map(|tls| {
            let name = case.server_name.as_deref();
            tls.rehearse(name, case.chain(), case.at)
        });
        let outcome = match &mut handshake {
            Some(rehearsal) => std::mem::replace(&mut rehearsal.outcome, Ok(None)),
            None => Ok(None),
        };
        let end = match outcome {
            Err(refused) => End::Handshake(Box::new(refused)),
            Ok(peer) => {
                let name = handshake.as_ref().map(|it| it.server_name.clone());
                let caller = caller(&case, loaded, (peer, name));
                let rehearsal = caller.rehearse(case.head.clone());
                End::Request(caller, Box::new(rehearsal))
            }
        };
        Self {
            case,
            loaded,
            handshake,
            end,
        }
    }

    /// The configuration.
    pub(super) fn config(&self) -> &'a Config {
        self.loaded.config()
    }

    /// The listener; there is one, or there would be no case.
    pub(super) fn listener(&self) -> Option<&'a Listener> {
        self.config().listener(self.case.listener)
    }

    /// Who is at the other end; `None`: anonymous.
    pub(super) fn peer(&self) -> Option<&PeerIdentity> {
        match &self.end {
            End::Handshake(_) => None,
            End::Request(caller, _) => caller.peer(),
        }
    }

    /// What came of the request; `None`: it was never sent.
    pub(super) fn request(&self) -> Option<&proxy::Rehearsal> {
        match &self.end {
            End::Handshake(_) => None,
            End::Request(_, rehearsal) => Some(rehearsal),
        }
    }

    /// The request as it goes up.
    pub(super) fn sent(&self) -> Option<&Sent> {
        match &self.request()?.outcome {
            Ok(Destination::Upstream(sent)) => Some(sent),
            _ => None,
        }
    }

    /// The fault of the request.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.request()?.outcome.as_ref().err()
    }

    /// The route, and its place among the routes.
    pub(super) fn route(&self) -> Option<(usize, &'a Route)> {
        let index = self.request()?.route?;
        Some((index, self.config().routes().get(index)?))
    }

    /// The upstream of the route.
    pub(super) fn upstream(&self) -> Option<(&'a config::Upstream, &'a Arc<Plan>)> {
        let (_, route) = self.route()?;
        let plan = self.loaded.plans().get(route.upstream.0)?;
        Some((self.config().upstream(route.upstream)?, plan))
    }

    /// Why the caller would not be served; `None`: it would be.
    pub(super) fn refusal(&self) -> Option<Refused> {
        if let End::Handshake(refused) = &self.end {
            return Some(Refused {
                reason: refused.reason.code(),
                fault: None,
                status: None,
                cause: refused.cause.clone(),
                remedy: refused.remedy().to_owned(),
            });
        }
        let fault = self.fault()?;
        Some(Refused {
            reason: fault.kind.code(),
            fault: Some(fault.to_string()),
            status: fault.status().map(|status| status.as_u16()),
            cause: fault.cause.clone(),
            remedy: remedy::of(self, fault.kind),
        })
    }
}

/// What the request would come from.
fn caller(
    case: &Case,
    loaded: &Loaded,
    (peer, handshake): (Option<RehearsedPeer>, Option<Option<String>>),
) -> Rc<Caller> {
    let site = loaded.site(1, Metrics::new(loaded.metric_names()));
    let proxy = Proxy::new(site, &AccessLog::disabled(), None);
    let (identity, anchor) = peer.map(|peer| (peer.identity, peer.anchor)).unzip();
    let downstream = match handshake {
        Some(name) => Downstream::tls(case.from, (identity, name), case.http2),
        None => Downstream::plaintext(case.from, case.http2),
    };
    Caller::new(&proxy, case.listener, downstream, anchor)
}
