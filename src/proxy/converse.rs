//! One conversation with an upstream: a permitted request is sent, and sent
//! again where the service does not accept what authenticates it.

use std::sync::Mutex;

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Request, StatusCode, request};
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;

use super::authentication::{Authentication, Refused, owner};
use super::caller::Caller;
use super::exchange::Exchange;
use super::fault::Fault;
use super::handle::{Passing, Proxy, Way};
use super::outbound;
use super::party::Party;
use super::request_body::{Kept, RequestBody};
use super::tunnel;
use crate::config::{Protocol, UpstreamId};
use crate::upstream::{Answer, Plan, SendFault, UpstreamRequest};

/// A permitted request whose head is ready to go up.
pub(super) struct Ready {
    /// What was decided of it.
    pub(super) passing: Passing,
    /// Its head, in which all is written but its message layer.
    pub(super) head: Box<request::Parts>,
    /// Its body.
    pub(super) incoming: Incoming,
}

/// How a permitted request is sent, each time.
struct Sending<'a> {
    caller: &'a Caller,
    party: &'a Party,
    way: Way,
    /// Whether it asks for another protocol.
    upgrade: bool,
}

/// What it takes to send a request again.
struct Again {
    head: Box<request::Parts>,
    body: Kept,
}

impl Again {
    /// The request as it was; `None`: its body is not there as a whole.
    fn of(again: Option<&Self>) -> Option<(Box<request::Parts>, RequestBody)> {
        let Self { head, body } = again?;
        Some((head.clone(), body.again()?))
    }
}

impl Proxy {
    /// Sends a request with what authenticates it in the message layer, and
    /// again where the service does not accept that: first what a lost session
    /// stood for, then the credential as its file is by then.
    pub(super) async fn converse(
        &self,
        caller: &Caller,
        ready: Ready,
        exchange: &mut Exchange,
    ) -> Result<Answer<RequestBody>, Fault> {
        let (passing, mut head) = (ready.passing, ready.head);
        let (way, party) = (passing.way, passing.party);
        let upstream = self.upstream(way.upstream)?;
        let plan = upstream.plan();
        let now = exchange.started();
        let mut authentication =
            Authentication::of(party.peer(), upstream, (&head, &way.authority), now);
        let mut body = RequestBody::new(
            ready.incoming,
            self.site().identity_fields(),
            self.body_limits(caller),
            exchange.received(),
        )?;
        let upgrade = fit(
            &mut head,
            plan,
            body.is_end_stream(),
            passing.written.hop.upgrade,
        );
        let sending = Sending {
            caller,
            party: &party,
            way,
            upgrade,
        };
        let mut again = None;
        if authentication.may_be_refused() {
            let (kept_body, kept) = body.kept(plan.replay_limit());
            body = kept_body;
            again = Some(Again {
                head: head.clone(),
                body: kept,
            });
        }
        loop {
            let means = authentication.write(&mut head)?;
            let rank = outbound::rank(passing.written.asserted, means, plan);
            exchange.asserted(rank);
            upstream.metrics().request(rank);
            let mut answer = self.send(&sending, (head, body), exchange).await?;
            exchange.answered(answer.endpoint);
            // Before the answer is let go: what still goes up of this body stops.
            let next = match authentication.judge(means, &mut answer) {
                Ok(None) => return Ok(answer),
                Ok(Some(refused)) => Again::of(again.as_ref())
                    .map(|request| (refused, request))
                    .ok_or_else(|| authentication.fault(refused, TOO_LONG)),
                Err(fault) => Err(fault),
            };
            // Apart, since they are rare, and the state of a request is moved about.
            Box::pin(answer.discard()).await;
            let (refused, request) = next?;
            (head, body) = request;
            upstream.metrics().repeated(refused.code());
            if refused == Refused::Credential {
                Box::pin(upstream.reread_credential()).await;
            }
        }
    }

    async fn send(
        &self,
        sending: &Sending<'_>,
        (head, mut body): (Box<request::Parts>, RequestBody),
        exchange: &mut Exchange,
    ) -> Result<Answer<RequestBody>, Fault> {
        let way = &sending.way;
        let upstream = self.upstream(way.upstream)?;
        let gate = head.headers.contains_key(EXPECT).then(oneshot::channel);
        let request = match gate {
            Some((open, opened)) => {
                body.wait_for(opened);
                let mut request = Request::from_parts(*head, body);
                open_on_continue(&mut request, open);
                request
            }
            None => Request::from_parts(*head, body),
        };
        let owner = owner((sending.caller, sending.party), upstream.plan().pool_per());
        let request =
            UpstreamRequest::new(way.permit.clone(), request, sending.upgrade).owned_by(owner);
        upstream
            .send(request, exchange.started())
            .await
            .map_err(|fault| self.unanswered(way.upstream, &fault, exchange))
    }

    /// A fault of the upstream, or of the body that was on its way to it.
    fn unanswered(&self, id: UpstreamId, fault: &SendFault, exchange: &mut Exchange) -> Fault {
        if let (Ok(upstream), Some(endpoint)) = (self.upstream(id), &fault.endpoint) {
            let index = upstream
                .plan()
                .endpoints()
                .iter()
                .position(|known| known.text == *endpoint);
            if let Some(index) = index {
                exchange.answered(index);
            }
        }
        let excess = exchange.received().excess().map(Fault::from);
        excess.unwrap_or_else(|| Fault::unanswered(fault))
    }
}

/// Makes a head fit for the protocol of the upstream. Whether it asks for
/// another one.
pub(super) fn fit(
    head: &mut request::Parts,
    plan: &Plan,
    has_no_body: bool,
    upgrade: Option<HeaderValue>,
) -> bool {
    // What came with the request for this side of the connection stays here.
    head.extensions.clear();
    if plan.protocol() != Protocol::Http1 {
        return false;
    }
    // Without a length a body is chunked. The library assumes that some
    // methods have none, unless they say so.
    if !has_no_body && !head.headers.contains_key(CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(TRANSFER_ENCODING, chunked);
    }
    let asks = upgrade.is_some();
    if let Some(protocol) = upgrade {
        tunnel::request(&mut head.headers, protocol);
    }
    asks
}

/// Opens the request's body when the upstream says `100 Continue`.
fn open_on_continue(request: &mut Request<RequestBody>, open: oneshot::Sender<()>) {
    // The library wants a callback that could be called from anywhere, twice.
    let open = Mutex::new(Some(open));
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE
            && let Ok(mut open) = open.lock()
            && let Some(open) = open.take()
            && open.send(()).is_err()
        {
            tracing::trace!("the body did not wait for 100 Continue");
        }
    });
}

/// Why a request is not sent again.
const TOO_LONG: &str = "and its body was too long to be kept for another time (replay_limit)";
