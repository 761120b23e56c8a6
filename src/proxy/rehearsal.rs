//! What would become of a request, told without sending it.

use std::borrow::Cow;
use std::rc::Rc;

use http::request;

use super::authentication::Authentication;
use super::caller::Caller;
use super::converse::fit;
use super::exchange::Exchange;
use super::fault::Fault;
use super::handle::Readied;
use super::outbound;
use super::redirect::Redirected;
use crate::config::UpstreamId;

/// What would become of a request without a body, up to the moment at which
/// something would be sent.
#[derive(Debug)]
pub struct Rehearsal {
    /// Its route, by its place in the config; `None`: it was refused before, or
    /// there is none.
    pub route: Option<usize>,
    /// The rule that decided, as the access log names it.
    pub rule: Option<String>,
    /// The rule that would have denied, were it enforced, and the cause in words.
    pub would_deny: Option<(String, String)>,
    /// The rule that would have permitted, were it enforced.
    pub would_allow: Option<String>,
    /// For whom the peer of its connection speaks; `None`: for itself.
    pub spoken_for: Option<String>,
    /// Where it would go, or why it would not.
    pub outcome: Result<Destination, Fault>,
}

/// Where a request would go.
#[derive(Debug)]
pub enum Destination {
    /// Nowhere: countersign answers it with the public keys of its assertions.
    Keys,
    /// Nowhere: countersign leads it elsewhere.
    Elsewhere(Redirected),
    /// To an upstream.
    Upstream(Box<Sent>),
}

/// A request as it would be sent.
#[derive(Debug)]
pub struct Sent {
    /// To which upstream.
    pub upstream: UpstreamId,
    /// Its head, secrets included.
    pub head: request::Parts,
    /// Whether an identity is asserted in it.
    pub asserted: bool,
    /// The layer by which the upstream knows the caller, as the access log
    /// names it.
    pub rank: &'static str,
    /// Whom it is told of, if an identity is asserted.
    pub whom: Option<String>,
}

impl Caller {
    /// Says what would become of a request with this head and no body. Nothing
    /// is sent; of an upstream's sessions none is known.
    pub fn rehearse(self: &Rc<Self>, mut head: request::Parts) -> Rehearsal {
        let mut exchange = Exchange::begin(self, &head);
        let outcome = self.rehearsed(&mut head, &mut exchange);
        // It did not break off: it was never meant to be sent.
        exchange.complete();
        let outcome = outcome.map(|found| match found {
            Found::Keys => Destination::Keys,
            Found::Elsewhere(to) => Destination::Elsewhere(to),
            Found::Upstream(upstream, written) => Destination::Upstream(Box::new(Sent {
                upstream,
                head,
                asserted: written.asserted,
                rank: written.rank,
                whom: written.whom,
            })),
        });
        if let Err(fault) = &outcome {
            exchange.note(fault.clone());
        }
        Rehearsal {
            route: exchange.route(),
            rule: exchange.rule().map(Cow::into_owned),
            would_deny: exchange
                .would_deny()
                .map(|denial| (denial.rule().to_owned(), denial.to_string())),
            would_allow: exchange.would_allow().map(ToOwned::to_owned),
            spoken_for: exchange.spoken_for().map(ToOwned::to_owned),
            outcome,
        }
    }

    fn rehearsed(
        &self,
        head: &mut request::Parts,
        exchange: &mut Exchange,
    ) -> Result<Found, Fault> {
        let passing = match self.ready(head, exchange)? {
            Readied::Keys => return Ok(Found::Keys),
            Readied::Elsewhere(to) => return Ok(Found::Elsewhere(to)),
            Readied::OnItsWay(passing) => passing,
        };
        let upstream = self.proxy().upstream(passing.way.upstream)?;
        let (plan, peer) = (upstream.plan(), passing.party.peer());
        let authority = &passing.way.authority;
        let authentication =
            Authentication::of(peer, upstream, (head, authority), exchange.started());
        fit(head, plan, true, passing.written.hop.upgrade)?;
        let means = authentication.write(head)?;
        let asserted = passing.written.asserted;
        let whom = plan.asserts(peer).filter(|_| asserted);
        let written = Written {
            asserted,
            rank: outbound::rank(asserted, means, plan),
            whom: whom.map(|(identity, _)| identity.primary().to_owned()),
        };
        Ok(Found::Upstream(passing.way.upstream, written))
    }
}

/// Where it would go, before its head is told.
enum Found {
    Keys,
    Elsewhere(Redirected),
    Upstream(UpstreamId, Written),
}

struct Written {
    asserted: bool,
    rank: &'static str,
    whom: Option<String>,
}
