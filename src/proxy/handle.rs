//! The path of a request, from its head to its response's head.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::admission::facts;
use super::assertion::Told;
use super::body::ResponseBody;
use super::caller::Caller;
use super::converse::Ready;
use super::exchange::Exchange;
use super::fault::{Fault, Kind, Phase, Side};
use super::ledger::Ledger;
use super::outbound::{Outbound, Written};
use super::party::Party;
use super::redirect::{self, Redirected};
use super::request_body::RequestBody;
use super::respond::{Awaited, refusal};
use super::rewrite::Asked;
use super::site::Site;
use super::target::{self, Target};
use super::websocket::{self, WebSocket};
use super::{field_names, keys, paths, readings};
use crate::config::{Route, UpstreamId};
use crate::policy::Permit;
use crate::telemetry::ReferenceId;
use crate::telemetry::access::AccessLog;
use crate::tls::Misdirected;
use crate::upstream::{Plan, Upstream};

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
        let access = access.with_template(log.access_template.clone());
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
            trail: exchange.trail(),
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

    fn can_carry(&self, asked: &WebSocket, ready: &Ready) -> Result<(), Fault> {
        let upstream = self.upstream(ready.passing.way.upstream)?;
        asked.can_go_to(upstream.plan())
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

#[cfg(test)]
mod tests;
