//! What came of a question.

use std::rc::Rc;
use std::sync::Arc;

use super::case::Case;
use crate::config::{self, Config, Listener, Outcome, Route};
use crate::generation::Loaded;
use crate::identity::PeerIdentity;
use crate::proxy;
use crate::proxy::{Caller, Destination, Downstream, Fault, Kind, NotServed, Proxy, Sent};
use crate::telemetry::{AccessLog, Metrics, Refusals};
use crate::tls::{LetIn, Refusal, RefusedHandshake, Rehearsal, RehearsedPeer};
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
    /// What would nearly have made it pass.
    pub(super) nearest_miss: Option<String>,
    pub(super) remedy: String,
}

/// Why a client that is let in is nobody.
pub(super) struct Unaccepted {
    pub(super) reason: Refusal,
    /// What the listener makes of it; never [`Outcome::Alert`].
    pub(super) outcome: Outcome,
    pub(super) cause: String,
    pub(super) nearest_miss: Option<String>,
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
                let why = handshake.as_ref().and_then(|it| it.not_accepted.as_ref());
                let why = why.map(|client| client.let_in);
                let why = why.filter(|let_in| let_in.outcome == Outcome::Http);
                let caller = caller(&case, loaded, (peer, name, why));
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
            let found = refused.evidence.diagnose();
            return Some(Refused {
                reason: refused.reason.code(),
                fault: None,
                status: None,
                cause: match &found {
                    Some(found) => found.cause.clone(),
                    None => refused.cause.clone(),
                },
                nearest_miss: found.as_ref().and_then(|found| found.nearest_miss.clone()),
                remedy: match found {
                    Some(found) => found.remedy,
                    None => refused.reason.remedy().to_owned(),
                },
            });
        }
        let fault = self.fault()?;
        // Who is let in only to be told so has the remedy of the handshake.
        let in_handshake = matches!(
            fault.kind,
            Kind::CertificateRefused | Kind::CertificateRequired
        );
        let in_handshake = self.not_accepted().filter(|_| in_handshake);
        Some(Refused {
            reason: fault.kind.code(),
            fault: Some(fault.to_string()),
            status: fault.status().map(|status| status.as_u16()),
            cause: fault.cause.clone(),
            nearest_miss: None,
            remedy: match in_handshake {
                Some(found) => found.remedy,
                None => fault.remedy().to_owned(),
            },
        })
    }

    /// What is wrong with a client that is let in although it is not accepted.
    pub(super) fn not_accepted(&self) -> Option<Unaccepted> {
        let client = self.handshake.as_ref()?.not_accepted.as_ref()?;
        let LetIn { reason, outcome } = client.let_in;
        let found = client.evidence.diagnose();
        let (cause, remedy) = match &found {
            Some(found) => (found.cause.clone(), found.remedy.clone()),
            None => (reason.meaning().to_owned(), reason.remedy().to_owned()),
        };
        Some(Unaccepted {
            reason,
            outcome,
            cause,
            nearest_miss: found.and_then(|found| found.nearest_miss),
            remedy,
        })
    }
}

/// What the request would come from.
fn caller(
    case: &Case,
    loaded: &Loaded,
    (peer, handshake, why): (Option<RehearsedPeer>, Option<Option<String>>, Option<LetIn>),
) -> Rc<Caller> {
    let records = (Metrics::new(loaded.metric_names()), Refusals::new());
    let site = loaded.site(1, records);
    let proxy = Proxy::new(site, &AccessLog::disabled(), None);
    let (identity, anchor) = peer.map(|peer| (peer.identity, peer.anchor)).unzip();
    let downstream = match (handshake, why) {
        (Some(name), Some(why)) => {
            let why = NotServed::new(proxy.next_reference(), why.reason, None);
            Downstream::not_served(case.from, (why, name), case.http2)
        }
        (Some(name), None) => Downstream::tls(case.from, (identity, name), case.http2),
        (None, _) => Downstream::plaintext(case.from, case.http2),
    };
    Caller::new(&proxy, case.listener, downstream, anchor)
}
