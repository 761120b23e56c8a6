//! The path of a request, from its head to its response's head.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::admission::facts;
use super::assertion::Told;
use super::body::ResponseBody;
use super::caller::Caller;
use super::converse::Ready;
use super::downstream::Downstream;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::ledger::Ledger;
use super::outbound::{Outbound, Written};
use super::pace::BodyLimits;
use super::party::Party;
use super::redirect::{self, Redirected};
use super::request_body::RequestBody;
use super::rewrite::Asked;
use super::site::Site;
use super::target::{self, Target};
use super::websocket::{self, WebSocket};
use super::{field_names, grpc, headers, keys, paths, readings, tunnel};
use crate::config::{Route, UpstreamId};
use crate::policy::Permit;
use crate::telemetry::ReferenceId;
use crate::telemetry::access::AccessLog;
use crate::tls::Misdirected;
use crate::upstream::{Answer, Plan, Upstream, UpstreamBody};

/// One worker's side of a generation: what handles its requests.
#[derive(Debug)]
pub struct Proxy {
    site: Arc<Site>,
    upstreams: Vec<Rc<Upstream<RequestBody>>>,
    ledger: Rc<Ledger>,
}

/// What becomes of a request that may be served.
enum Admitted {
    /// It asks for the public keys of assertions.
    Keys,
    Elsewhere(Redirected),
    OnItsWay(Way),
}

/// A request that may be served, before anything of it is sent.
pub(super) enum Readied {
    /// It asks for the public keys of assertions.
    Keys,
    /// It is led elsewhere.
    Elsewhere(Redirected),
    OnItsWay(Passing),
}

/// A permitted request whose head says all but its message layer.
pub(super) struct Passing {
    /// Where it goes.
    pub(super) way: Way,
    /// For whom it is made.
    pub(super) party: Rc<Party>,
    /// What was written into its head.
    pub(super) written: Written,
}

/// A permitted request's way: to which upstream, and for which host.
pub(super) struct Way {
    /// The upstream of its route.
    pub(super) upstream: UpstreamId,
    /// What allows it.
    pub(super) permit: Permit,
    /// The host it is for, as it goes up.
    pub(super) authority: HeaderValue,
}

/// What the response to a request has to know of it.
struct Awaited {
    /// The way to another protocol, if it was asked for over HTTP/1.1 …
    changed: Option<OnUpgrade>,
    /// … or over HTTP/2.
    web_socket: Option<WebSocket>,
    /// What is rewritten back, where its route rewrites.
    asked: Option<Asked>,
}

impl Proxy {
    /// A worker's proxy. `access` is the worker's own.
    ///
    /// `former` is that of the generation before, whose place it takes: an
    /// upstream with the very same [`Plan`] is taken over with its connections
    /// and what is known of its endpoints. The others of `former` are retired:
    /// requests under way finish there, and nothing is kept for later.
    pub fn new(site: Arc<Site>, access: &AccessLog, former: Option<&Self>) -> Rc<Self> {
        let log = site.config().log();
        let access = access.with(log.format.into(), log.access);
        let metrics = site.metrics();
        let mut inherited: HashMap<*const Plan, &Rc<Upstream<RequestBody>>> = former
            .iter()
            .flat_map(|former| &former.upstreams)
            .map(|upstream| (Arc::as_ptr(upstream.plan()), upstream))
            .collect();
        let upstreams = site
            .plans()
            .iter()
            .enumerate()
            .map(|(index, plan)| match inherited.remove(&Arc::as_ptr(plan)) {
                Some(upstream) => Rc::clone(upstream),
                None => Rc::new(Upstream::new(Arc::clone(plan), metrics.upstream_of(index))),
            })
            .collect();
        for upstream in inherited.into_values() {
            upstream.retire();
        }
        let ledger = Ledger::new(&site, access, former.map(|former| &*former.ledger));
        Rc::new(Self {
            site,
            upstreams,
            ledger,
        })
    }

    /// What is under way ends here, in this and every other generation of the
    /// worker: its requests' lines say that it was countersign who ended them.
    pub fn cut(&self) {
        self.ledger.cut();
    }

    /// The generation it serves.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// A reference that no other refusal or request of the worker has.
    pub fn next_reference(&self) -> ReferenceId {
        self.ledger.references.next()
    }

    pub(super) fn ledger(&self) -> &Rc<Ledger> {
        &self.ledger
    }
}

impl Caller {
    /// Carries one request to its upstream and gives the response.
    ///
    /// It does not fail: what goes wrong is a response too. `ambiguity` is what
    /// makes the bytes of this request readable in two ways, if anything does.
    pub async fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        ambiguity: Option<&'static str>,
    ) -> Response<ResponseBody> {
        let proxy = self.proxy();
        let (head, incoming) = request.into_parts();
        let mut head = Box::new(head);
        let mut exchange = Exchange::begin(&self, &head);
        let mut web_socket = None;
        let begun = match ambiguity {
            Some(rule) => Err(Fault::malformed(rule)),
            None => proxy
                .fits(&self, &head)
                .and_then(|()| websocket::translate(&mut head))
                .map(|asked| web_socket = asked),
        };
        let readied = begun.and_then(|()| self.ready(&mut head, &mut exchange));
        let passing = match readied {
            Ok(Readied::OnItsWay(passing)) => passing,
            Ok(Readied::Keys) => {
                return keys::answer(&head.method, proxy.site.key_set(), exchange);
            }
            Ok(Readied::Elsewhere(to)) => return redirect::answer(to, exchange),
            Err(fault) => return refusal(fault, exchange),
        };
        let changed = head
            .extensions
            .remove::<OnUpgrade>()
            .filter(|_| passing.written.hop.upgrade.is_some());
        let rewriting = proxy.site.rewriting(exchange.route());
        let asked = rewriting.map(|_| Asked::of(&head.headers));
        let ready = Ready {
            passing,
            head,
            incoming,
        };
        if let Some(asked) = &web_socket
            && let Err(fault) = proxy.can_carry(asked, &ready)
        {
            return refusal(fault, exchange);
        }
        match proxy.converse(&self, ready, &mut exchange).await {
            Ok(answer) => {
                let awaited = Awaited {
                    changed,
                    web_socket,
                    asked,
                };
                proxy.respond(&self, answer, awaited, exchange)
            }
            Err(fault) => refusal(fault, exchange),
        }
    }

    /// Everything that is decided of a request, and written into its head,
    /// before there is anything to wait for.
    ///
    /// # Errors
    ///
    /// It is refused. What is known of it by then stands in `exchange`.
    pub(super) fn ready(
        &self,
        head: &mut request::Parts,
        exchange: &mut Exchange,
    ) -> Result<Readied, Fault> {
        self.downstream().admit()?;
        let proxy = self.proxy();
        field_names::check(&head.headers, self.field_names())?;
        paths::settle(self.path_form(), head)?;
        proxy.check_room(exchange)?;
        let party = self.party(&mut head.headers)?;
        exchange.is_for(&party);
        let way = match proxy.admit((self, &party), head, exchange)? {
            Admitted::Keys => return Ok(Readied::Keys),
            Admitted::Elsewhere(to) => return Ok(Readied::Elsewhere(to)),
            Admitted::OnItsWay(way) => way,
        };
        let upstream = proxy.upstream(way.upstream)?;
        let written = Outbound {
            site: proxy.site(),
            caller: self,
            party: &party,
            upstream: Told {
                id: way.upstream,
                plan: upstream.plan(),
                tokens: upstream.tokens(),
            },
            rewriting: proxy.site.rewriting(exchange.route()),
        }
        .write(head, &way.authority)?;
        proxy.check_rate(self, &party, exchange)?;
        Ok(Readied::OnItsWay(Passing {
            way,
            party,
            written,
        }))
    }
}

impl Proxy {
    /// Sees that a head has no more fields than it may: over HTTP/2, since the
    /// library sees to it over HTTP/1.1.
    fn fits(&self, caller: &Caller, head: &request::Parts) -> Result<(), Fault> {
        let listener = self.site.config().listener(caller.listener());
        let most = listener.map_or(0, |listener| listener.limits.traffic.fields.get());
        if head.headers.len() <= most {
            return Ok(());
        }
        Err(Fault::new(
            Side::Downstream,
            Phase::RequestHead,
            Kind::TooManyFields,
            format!("a head with {} fields", head.headers.len()),
        ))
    }

    /// Target, route, decision.
    fn admit(
        &self,
        (caller, party): (&Caller, &Party),
        head: &request::Parts,
        exchange: &mut Exchange,
    ) -> Result<Admitted, Fault> {
        let target = target::read(head, caller.downstream().is_tls())?;
        if let Some(redirect) = caller.redirect() {
            let to = redirect::redirected(&self.site, redirect, (head, &target))?;
            return Ok(Admitted::Elsewhere(to));
        }
        caller
            .may_ask_for(&target.host)
            .map_err(|why| misdirected((&target.host, caller.downstream().server_name()), why))?;
        if self.site.serves_keys_at(caller.listener(), target.path) {
            return Ok(Admitted::Keys);
        }
        let Some((index, route)) = self.site.routes().find(
            self.site.config(),
            caller.listener(),
            &target.host,
            target.path,
        ) else {
            return Err(no_route(&target));
        };
        let readings = readings::other_readings(target.path);
        self.check_routes(caller, &target, (index, &readings))?;
        exchange.routed(index, route);
        let facts = facts((caller, party), head, &target);
        let permit = self.decide((index, route), (&facts, head), (&readings, exchange));
        let permit = permit.map_err(|fault| {
            let (config, listener) = (self.site.config(), caller.listener());
            let (taken, asked) = ((index, route), (&*target.host, target.path));
            match self.site.routes().closer(config, listener, asked, taken) {
                Some(closer) => passed_over(fault, route, closer),
                None => fault,
            }
        })?;
        self.check_served((caller, route), head, exchange)?;
        let authority = target_authority(&target)?;
        Ok(Admitted::OnItsWay(Way {
            upstream: route.upstream,
            permit,
            authority,
        }))
    }

    /// Makes the upstream's response into the one that goes down.
    fn respond(
        &self,
        caller: &Caller,
        answer: Answer<RequestBody>,
        awaited: Awaited,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        let Awaited {
            changed,
            web_socket,
            asked,
        } = awaited;
        exchange.answered(answer.endpoint);
        let mut response = answer.response;
        let status = response.status();
        exchange.status(status);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let limits = self.body_limits(caller, &exchange);
            self.rewrite_back(response.headers_mut(), asked.as_ref(), &exchange);
            let response = (response, web_socket);
            return switch(caller.downstream(), (response, changed), limits, exchange);
        }
        if web_socket.is_some() && status.is_success() {
            // It would be taken for the beginning of a tunnel.
            return refusal(unreadable("neither a WebSocket nor a refusal"), exchange);
        }
        if let Err(rule) = headers::settle_length(response.headers_mut()) {
            return refusal(unreadable(rule), exchange);
        }
        headers::strip_response(response.headers_mut());
        self.rewrite_back(response.headers_mut(), asked.as_ref(), &exchange);
        headers::settle_vary(response.headers_mut(), caller.site().identity_fields());
        let limit = self.body_limits(caller, &exchange).timeout;
        let (mut head, body) = response.into_parts();
        // What came with the response for that side of the connection stays there.
        head.extensions.clear();
        head.version = Version::default();
        Response::from_parts(head, ResponseBody::upstream(body, limit, exchange))
    }

    fn can_carry(&self, asked: &WebSocket, ready: &Ready) -> Result<(), Fault> {
        let upstream = self.upstream(ready.passing.way.upstream)?;
        asked.can_go_to(upstream.plan())
    }

    /// Makes the changes of the request's route in its response.
    fn rewrite_back(&self, head: &mut HeaderMap, asked: Option<&Asked>, exchange: &Exchange) {
        let rewriting = self.site.rewriting(exchange.route());
        if let (Some(rewriting), Some(asked), Some(party)) = (rewriting, asked, exchange.party()) {
            rewriting.write_back((party.peer(), party.filled()), asked, head);
        }
    }

    pub(super) fn upstream(&self, id: UpstreamId) -> Result<&Upstream<RequestBody>, Fault> {
        self.upstreams.get(id.0).map(Rc::as_ref).ok_or_else(|| {
            Fault::new(
                Side::Proxy,
                Phase::Route,
                Kind::NoRoute,
                "the route has no upstream",
            )
        })
    }
}

/// The authority in the form in which it goes up.
fn target_authority(target: &Target<'_>) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(target.authority)
        .map_err(|_| Fault::malformed("Host is not printable ASCII"))
}

fn misdirected((host, asked): (&str, Option<&str>), why: Misdirected) -> Fault {
    let asked = asked.unwrap_or("no name");
    let cause = match why {
        Misdirected::AnotherPolicy => format!(
            "{host} demands other client certificates than {asked}, for which the connection was opened (SNI); the client must open one for {host}"
        ),
        Misdirected::NotServed => format!(
            "no certificate of this listener covers {host} (the connection was opened for {asked}); add one, or use another listener"
        ),
    };
    Fault::new(Side::Proxy, Phase::Route, Kind::AuthorityNotServed, cause)
}

/// A denial by a route that comes before one that was perhaps meant.
fn passed_over(fault: Fault, taken: &Route, (index, closer): (usize, &Route)) -> Fault {
    let unnamed = format!("routes[{index}]");
    let name = if closer.name == unnamed {
        format!("`{unnamed}`")
    } else {
        format!("`{}` ({unnamed})", closer.name)
    };
    let (first, line) = (&taken.name, closer.place.line);
    let remedy = fault.remedy();
    let own_remedy = format!(
        "if route {name} was meant, move it up before route `{first}`: the first route that matches is taken; else {remedy}"
    );
    Fault {
        cause: format!(
            "{}; route {name} in line {line} is for this request, too, and comes after it",
            fault.cause
        ),
        own_remedy: Some(own_remedy),
        ..fault
    }
}

fn no_route(target: &Target<'_>) -> Fault {
    Fault::new(
        Side::Proxy,
        Phase::Route,
        Kind::NoRoute,
        format!(
            "no route of this listener is for host {} and path {}",
            target.host, target.path
        ),
    )
}

/// A change of protocol, and the WebSocket that was asked for over HTTP/2.
type Switched = (Response<UpstreamBody<RequestBody>>, Option<WebSocket>);

/// Passes on the upstream's change of protocol.
fn switch(
    downstream: &Downstream,
    ((response, web_socket), changed): (Switched, Option<OnUpgrade>),
    limits: BodyLimits,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let Some(changed) = changed else {
        let what = "a change of protocol (101) that the request did not ask for";
        return refusal(unreadable(what), exchange);
    };
    let Some(protocol) = websocket::agreed(response.headers()) else {
        return refusal(
            unreadable("a change to another protocol than was asked for"),
            exchange,
        );
    };
    let mut answer = Response::new(ResponseBody::own(Bytes::new(), None));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = response.headers().clone();
    headers::strip_response(answer.headers_mut());
    if let Some(asked) = web_socket {
        if let Err(rule) = asked.settle(answer.headers_mut()) {
            return refusal(unreadable(rule), exchange);
        }
        *answer.status_mut() = StatusCode::OK;
        exchange.status(StatusCode::OK);
    } else {
        tunnel::request(answer.headers_mut(), protocol);
    }
    downstream.set_tunnel(Box::pin(tunnel::carry(changed, response, limits, exchange)));
    answer
}

/// A response that cannot be passed on.
fn unreadable(what: &str) -> Fault {
    Fault::new(
        Side::Upstream,
        Phase::ResponseHead,
        Kind::UpstreamMalformed,
        what,
    )
}

/// What a caller is told whose request failed: the status, and a reference
/// under which the log has the cause.
fn refusal(fault: Fault, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    let status = fault.status().unwrap_or(StatusCode::BAD_GATEWAY);
    let told = exchange.explanation().or(fault.told.as_deref());
    let text = format!(
        "{} {}\nreference: {}\n{}{}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        exchange.id(),
        told.unwrap_or_default(),
        fault.told.as_ref().map_or("", |_| "\n"),
    );
    let retry_after = fault.retry_after();
    // HTTP/2 has no such field; its streams end one by one.
    let close = fault.ends_connection() && !exchange.is_http2();
    exchange.status(status);
    exchange.note(fault);
    exchange.complete();
    if exchange.is_grpc() {
        let nothing = ResponseBody::own(Bytes::new(), Some(exchange));
        return grpc::refusal(status, &text, nothing);
    }
    let length = text.len();
    // Over HTTP/2 the library would send what nobody reads after a HEAD, and
    // the client would reset the stream.
    let text = if exchange.is_head() {
        Bytes::new()
    } else {
        Bytes::from(text)
    };
    let mut response = Response::new(ResponseBody::own(text, Some(exchange)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.get().into());
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
