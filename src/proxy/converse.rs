//! One conversation with an upstream: a permitted request is sent, and sent
//! again where the service does not accept what authenticates it.

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, request};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::announced::announcement;
use super::authentication::{Authentication, Refused, owner};
use super::body::BodyFault;
use super::caller::Caller;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::handle::{Passing, Proxy, Way};
use super::headers;
use super::outbound;
use super::party::Party;
use super::request_body::{Gap, Kept, RequestBody};
use super::respond::unreadable;
use super::trail::Trail;
use super::websocket::{self, Extended};
use super::{affinity, tunnel};
use crate::config::Protocol;
use crate::upstream::{Answer, Plan, SendFault, Upstream, UpstreamRequest};

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
    /// What it asks for beside its answer.
    change: Change,
    /// When it was ready to go up.
    now: Instant,
}

/// Whether a request that goes up asks for another protocol.
#[derive(Debug)]
pub(super) enum Change {
    /// It does not.
    Nothing,
    /// With `Upgrade`.
    Upgrade,
    /// With an extended CONNECT.
    Connect(Extended),
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
        let mut body = self.body_of(caller, ready.incoming, exchange);
        let mut now = exchange.started();
        if holds(plan) && !body.is_end_stream() {
            now = Box::pin(hold((caller, upstream), &mut head, &mut body)).await?;
        }
        let mut authentication =
            Authentication::of(party.peer(), upstream, (&head, &way.authority), now);
        let change = fit(
            &mut head,
            plan,
            body.is_end_stream(),
            passing.written.hop.upgrade,
        )?;
        let sending = Sending {
            caller,
            party: &party,
            way,
            change,
            now,
        };
        let mut again = None;
        if authentication.may_be_refused() {
            again = Some(Again {
                head: head.clone(),
                body: body.keep(plan.replay_limit()),
            });
        }
        loop {
            let means = authentication.write(&mut head)?;
            let rank = outbound::rank(passing.written.asserted, means, plan);
            exchange.asserted(rank);
            upstream.metrics().request(rank);
            let request = self.outgoing(&sending, (head, body), exchange)?;
            let answer = upstream.send(request, sending.now).await;
            let mut answer = self.answered(&sending, answer, exchange)?;
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

    /// A request's body as it comes.
    fn body_of(&self, caller: &Caller, incoming: Incoming, exchange: &Exchange) -> RequestBody {
        RequestBody::new(
            incoming,
            (self.site().trailer_fields(), caller.field_names()),
            self.body_limits(caller, exchange),
            exchange.received(),
        )
    }

    /// A request as its upstream takes it.
    fn outgoing(
        &self,
        sending: &Sending<'_>,
        (head, mut body): (Box<request::Parts>, RequestBody),
        exchange: &Exchange,
    ) -> Result<UpstreamRequest<RequestBody>, Fault> {
        let way = &sending.way;
        let plan = self.upstream(way.upstream)?.plan();
        if head.headers.contains_key(EXPECT) {
            body.wait_for_continue();
        }
        let request = Request::from_parts(*head, body);
        let owner = owner((sending.caller, sending.party), plan.pool_per());
        let affinity = affinity::of((sending.caller, sending.party), plan);
        let announcement = announcement(plan, sending.caller, sending.party);
        let changes = !matches!(sending.change, Change::Nothing);
        Ok(UpstreamRequest::new(way.permit.clone(), request, changes)
            .owned_by(owner)
            .announced_by(announcement)
            .traced_by(exchange.trail().and_then(Trail::attempts))
            .answered_within(self.limits_of(exchange).and_then(|it| it.response_timeout))
            .near(affinity))
    }

    /// What came of a request that was sent.
    fn answered(
        &self,
        sending: &Sending<'_>,
        answer: Result<Answer<RequestBody>, SendFault>,
        exchange: &mut Exchange,
    ) -> Result<Answer<RequestBody>, Fault> {
        let mut answer = answer.map_err(|fault| self.unanswered(sending, &fault, exchange))?;
        exchange.answered(answer.endpoint);
        if let Change::Connect(extended) = &sending.change {
            let settled = extended.settle(&mut answer.response);
            settled.map_err(unreadable)?;
        }
        Ok(answer)
    }

    /// A fault of the upstream, or of the body that was on its way to it.
    fn unanswered(
        &self,
        sending: &Sending<'_>,
        fault: &SendFault,
        exchange: &mut Exchange,
    ) -> Fault {
        let upstream = self.upstream(sending.way.upstream);
        if let (Ok(upstream), Some(endpoint)) = (upstream, &fault.endpoint) {
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
///
/// # Errors
///
/// * Its body has no length, and HTTP/1.0 has no other way to say where it ends.
/// * It asks for a WebSocket of an HTTP/2 service and has no key.
pub(super) fn fit(
    head: &mut request::Parts,
    plan: &Plan,
    has_no_body: bool,
    upgrade: Option<HeaderValue>,
) -> Result<Change, Fault> {
    // What came with the request for this side of the connection stays here.
    head.extensions.clear();
    if plan.protocol() != Protocol::Http1 {
        // A WebSocket begins with a GET that has no body (RFC 6455 §4.1). There
        // is no other protocol that a request could ask for.
        let asks = upgrade.is_some() && has_no_body && head.method == Method::GET;
        return if asks {
            websocket::extend(head).map(Change::Connect)
        } else {
            Ok(Change::Nothing)
        };
    }
    let is_measured = has_no_body || head.headers.contains_key(CONTENT_LENGTH);
    if plan.is_http10() {
        return if is_measured {
            Ok(Change::Nothing)
        } else {
            Err(unmeasured())
        };
    }
    // Without a length a body is chunked; said here for the library, which carries
    // what changes its protocol, and assumes that some methods have none.
    if !is_measured {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(TRANSFER_ENCODING, chunked);
    }
    Ok(match upgrade {
        Some(protocol) => {
            tunnel::request(&mut head.headers, protocol);
            Change::Upgrade
        }
        None => Change::Nothing,
    })
}

fn unmeasured() -> Fault {
    Fault::new(
        Side::Downstream,
        Phase::RequestHead,
        Kind::LengthRequired,
        "a body without Content-Length, and the upstream speaks HTTP/1.0, which knows no other end (RFC 1945 section 7.2.2)",
    )
}

/// Whether something of a body is held before it goes up, or asked of it.
fn holds(plan: &Plan) -> bool {
    let buffering = plan.buffering();
    buffering.request.is_some() || buffering.require_length
}

/// Takes a body before it goes up, and says its length in the head where that is
/// known then. Returns the time, since a slow client takes long.
async fn hold(
    (caller, upstream): (&Caller, &Upstream<RequestBody>),
    head: &mut request::Parts,
    body: &mut RequestBody,
) -> Result<Instant, Fault> {
    let plan = upstream.plan();
    let buffering = plan.buffering();
    if let Some(limit) = buffering.request {
        // The client has been told to go on, and the service need not be asked.
        headers::drop_field(&mut head.headers, &EXPECT);
        // A quarter for one client, or else what one body needs.
        let all = buffering.memory.get();
        let most = (all / 4).max(limit.get().saturating_mul(2)).min(all);
        let memory = plan.memory();
        let memory = memory.of_connection(caller.downstream().held(), most);
        *body = std::mem::take(body)
            .gather(limit.get(), memory)
            .await
            .map_err(|gap| not_held(gap, upstream))?;
    }
    let with_trailers = body.has_trailers() && plan.protocol() == Protocol::Http1;
    // HTTP/1.0 has no trailers, and no end but the length.
    let needs_length = buffering.require_length || plan.is_http10();
    match body.size_hint().exact() {
        Some(length) if needs_length || !with_trailers => {
            head.headers.insert(CONTENT_LENGTH, length.into());
        }
        None if buffering.require_length => {
            return Err(Fault::new(
                Side::Downstream,
                Phase::RequestBody,
                Kind::LengthRequired,
                "the body has no length and does not fit into buffer_request, and the upstream has require_length",
            ));
        }
        _ => {}
    }
    Ok(Instant::now())
}

fn not_held(gap: Gap, upstream: &Upstream<RequestBody>) -> Fault {
    let (side, kind) = (Side::Downstream, Kind::BodyBroken);
    if let Gap::NoRoom = gap {
        // The line of the request says it.
        upstream.metrics().count_limit("buffer_memory");
    }
    match gap {
        Gap::Broken(BodyFault::Limit(excess)) => excess.into(),
        Gap::Broken(fault) => Fault::new(side, Phase::RequestBody, kind, fault.to_string()),
        Gap::NoRoom => Fault::new(
            Side::Proxy,
            Phase::RequestBody,
            Kind::Overloaded,
            "as many bytes of bodies are held as buffer_memory of the upstream allows, in all or for one connection",
        ),
    }
}

/// Why a request is not sent again.
const TOO_LONG: &str = "and its body was too long to be kept for another time (replay_limit)";
