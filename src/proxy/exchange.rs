//! One request from its head to the end of its response, and the line that is
//! written when it has ended, however it ended.

use std::borrow::Cow;
use std::fmt::Display;
use std::rc::Rc;

use http::header::HOST;
use http::{Method, Uri, Version, request};
use serde_json::json;
use tokio::time::Instant;

use super::caller::Caller;
use super::downstream::Downstream;
use super::fault::{Fault, Kind, Phase, Side};
use super::grpc;
use super::ledger::Ledger;
use super::pace::Received;
use super::party::Party;
use super::trail::Trail;
use crate::config::{ListenerId, Route, UpstreamId};
use crate::policy::{Denial, Permit, RuleId};
use crate::telemetry::access::AccessRecord;
use crate::telemetry::{ReferenceId, Refused, events};

/// What is known of one request. Dropping it writes its line and counts it.
pub(super) struct Exchange {
    ledger: Rc<Ledger>,
    downstream: Rc<Downstream>,
    listener: ListenerId,
    id: ReferenceId,
    trail: Option<Box<Trail>>,
    started: Instant,
    /// Whether its response has no body, whatever it says (RFC 9110 §9.3.2).
    is_head: bool,
    /// Whether its caller speaks gRPC.
    is_grpc: bool,
    /// Kept only when there is an access log to write it to, or a span is made.
    line: Option<Line>,
    party: Option<Rc<Party>>,
    route: Option<usize>,
    upstream: Option<UpstreamId>,
    endpoint: Option<usize>,
    decided: Option<Decided>,
    asserted: &'static str,
    status: u16,
    received: Rc<Received>,
    sent: u64,
    complete: bool,
    fault: Option<Fault>,
}

/// What policy made of it.
enum Decided {
    Denied(Denial),
    /// By this rule, or by none; and what would have denied it, were everything
    /// enforced.
    Permitted(Option<RuleId>, Option<Denial>),
}

/// What only the line needs to know.
struct Line {
    method: Method,
    uri: Uri,
    host: Option<http::HeaderValue>,
    version: Version,
}

impl Exchange {
    /// Begins with the head, as it came.
    pub(super) fn begin(caller: &Caller, head: &request::Parts) -> Box<Self> {
        let ledger = caller.proxy().ledger();
        ledger.metrics.request_begun();
        let id = match caller.downstream().why_not_served() {
            Some(why) => why.reference,
            None => ledger.references.next(),
        };
        let trail = Trail::of(caller, &head.headers, id);
        let makes_span = || trail.as_ref().is_some_and(|trail| trail.span().is_some());
        let line = (ledger.access.is_enabled() || makes_span()).then(|| Line {
            method: head.method.clone(),
            uri: head.uri.clone(),
            host: head.headers.get(HOST).cloned(),
            version: head.version,
        });
        Box::new(Self {
            ledger: Rc::clone(ledger),
            downstream: Rc::clone(caller.downstream()),
            listener: caller.listener(),
            id,
            trail,
            started: Instant::now(),
            is_head: head.method == Method::HEAD,
            is_grpc: grpc::is_call(head),
            line,
            party: None,
            route: None,
            upstream: None,
            endpoint: None,
            decided: None,
            asserted: "none",
            status: 0,
            received: Rc::default(),
            sent: 0,
            complete: false,
            fault: None,
        })
    }

    /// Its reference, told to the caller when it is refused.
    pub(super) fn id(&self) -> ReferenceId {
        self.id
    }

    /// What ties it to others.
    pub(super) fn trail(&self) -> Option<&Trail> {
        self.trail.as_deref()
    }

    /// What the client is told of why nothing is served on its connection.
    pub(super) fn explanation(&self) -> Option<&str> {
        let why = self.downstream.why_not_served()?;
        why.explanation.as_deref()
    }

    /// Whether it came over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.downstream.is_http2()
    }

    /// Whether its response has no body, whatever it says.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether its caller speaks gRPC, and is to be answered so.
    pub(super) fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// When its head had come.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// What came of its body.
    pub(super) fn received(&self) -> &Rc<Received> {
        &self.received
    }

    /// It is made for them.
    pub(super) fn is_for(&mut self, party: &Rc<Party>) {
        self.party = Some(Rc::clone(party));
    }

    /// For whom it is made, once that is known.
    pub(super) fn party(&self) -> Option<&Rc<Party>> {
        self.party.as_ref()
    }

    /// For whom the peer speaks; `None`: for itself.
    pub(super) fn spoken_for(&self) -> Option<&str> {
        self.party.as_ref()?.spoken_for()
    }

    /// It takes this route.
    pub(super) fn routed(&mut self, index: usize, route: &Route) {
        self.route = Some(index);
        self.upstream = Some(route.upstream);
    }

    /// It was permitted.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        let would_deny = permit.would_deny().cloned();
        self.decided = Some(Decided::Permitted(permit.rule(), would_deny));
    }

    /// It was denied.
    pub(super) fn denied(&mut self, denial: Denial) {
        self.decided = Some(Decided::Denied(denial));
    }

    /// The rule that decided, as the log names it.
    pub(super) fn rule(&self) -> Option<Cow<'_, str>> {
        match self.decided.as_ref()? {
            Decided::Denied(denial) => Some(denial.rule().into()),
            Decided::Permitted(rule, _) => {
                let route = self.ledger.config.routes().get(self.route?)?;
                Some((*rule)?.label(route))
            }
        }
    }

    /// What would have denied it, were everything enforced.
    pub(super) fn would_deny(&self) -> Option<&Denial> {
        match self.decided.as_ref()? {
            Decided::Denied(_) => None,
            Decided::Permitted(_, would_deny) => would_deny.as_ref(),
        }
    }

    /// What would have permitted it, were it enforced.
    pub(super) fn would_allow(&self) -> Option<&str> {
        match self.decided.as_ref()? {
            Decided::Denied(denial) => denial.would_allow(),
            Decided::Permitted(..) => None,
        }
    }

    /// What the upstream will take the caller to be rests on this layer.
    pub(super) fn asserted(&mut self, layer: &'static str) {
        self.asserted = layer;
    }

    /// This endpoint answered.
    pub(super) fn answered(&mut self, endpoint: usize) {
        self.endpoint = Some(endpoint);
    }

    /// This status goes down.
    pub(super) fn status(&mut self, status: http::StatusCode) {
        self.status = status.as_u16();
    }

    /// So many bytes of the response's body went down.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// The response is complete.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// It failed; the first cause is the one that counts.
    pub(super) fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Somebody gave it up before its response was complete: countersign at its
    /// own end or that of the trust in the connection, else the client, since
    /// whatever else can end it has noted a fault.
    pub(super) fn abandoned(&self) -> Option<Fault> {
        if self.complete || self.fault.is_some() {
            return None;
        }
        let phase = if self.status == 0 {
            Phase::ResponseHead
        } else {
            Phase::ResponseBody
        };
        let cut = |cause: &str| Some(Fault::new(Side::Proxy, phase, Kind::Cut, cause));
        if self.ledger.is_over() {
            return cut(
                "countersign was told to end, and the request was not finished within server.drain_timeout or before a second signal",
            );
        }
        if let Some(cause) = self.downstream.cut_cause() {
            return cut(&cause);
        }
        let gone = |cause: &str| Fault::new(Side::Downstream, phase, Kind::ClientGone, cause);
        if self.status != 0 {
            return Some(gone(
                "the client gave the request up, or its connection ended, before the response was complete",
            ));
        }
        let remedy = "if it had waited long (duration_ms), see why the service is slow; else see the client's own log, and its timeouts";
        Some(Fault {
            own_remedy: Some(remedy.to_owned()),
            ..gone(
                "the client gave the request up, or its connection ended, before there was an answer",
            )
        })
    }

    /// Without an access log a fault is a diagnostic: the caller was told a
    /// reference, and it leads to the cause.
    fn explain(&self) {
        let Some(fault) = &self.fault else {
            return self.explain_shadow();
        };
        let config = &self.ledger.config;
        let route = self.route.and_then(|index| config.routes().get(index));
        let listener = config.listener(self.listener);
        tracing::info!(
            event = events::REQUEST_END,
            listener = listener.map(|listener| listener.name.as_str()),
            client = %self.downstream,
            via = self.downstream.source().via().map(tracing::field::display),
            peer = self.downstream.peer().map(crate::identity::PeerIdentity::primary),
            r#for = self.spoken_for(),
            status = self.status,
            route = route.map(|route| route.name.as_str()),
            rule = self.rule().as_deref(),
            would_allow = self.would_allow(),
            would_deny = self.would_deny().map(Denial::rule),
            %fault,
            cause = fault.cause,
            remedy = fault.remedy(),
            request_id = %self.id,
        );
    }

    /// A limit ended it that its kind of fault does not tell. Its line says it.
    pub(super) fn struck(&self, limit: &'static str) {
        let metrics = &self.ledger.metrics;
        metrics.listener(self.listener.0).count_limit(limit);
    }

    /// The place of its route in the config, once it has one.
    pub(super) fn route(&self) -> Option<usize> {
        self.route
    }

    /// Without an access log nothing else would say that it would have been denied.
    fn explain_shadow(&self) {
        let Some(denial) = self.would_deny() else {
            return;
        };
        let config = &self.ledger.config;
        let route = self.route.and_then(|index| config.routes().get(index));
        let listener = config.listener(self.listener);
        tracing::info!(
            event = events::POLICY_WOULD_DENY,
            listener = listener.map(|listener| listener.name.as_str()),
            client = %self.downstream,
            via = self.downstream.source().via().map(tracing::field::display),
            peer = self.downstream.peer().map(crate::identity::PeerIdentity::primary),
            r#for = self.spoken_for(),
            status = self.status,
            route = route.map(|route| route.name.as_str()),
            rule = denial.rule(),
            cause = %denial,
            request_id = %self.id,
        );
    }

    /// Keeps a refusal for whoever asks by its reference. Where the handshake was
    /// refused, it is kept already.
    fn keep(&self) {
        let told = |fault: &&Fault| fault.status().map(|status| status.as_u16());
        let fault = self.fault.as_ref();
        let Some(fault) = fault.filter(|fault| told(fault) == Some(self.status)) else {
            return;
        };
        if self.downstream.why_not_served().is_some() {
            return;
        }
        let config = &self.ledger.config;
        let route = self.route.and_then(|index| config.routes().get(index));
        let listener = config.listener(self.listener);
        let line = self.line.as_ref();
        let known = json!({
            "listener": listener.map(|listener| listener.name.as_str()),
            "client": self.downstream.to_string(),
            "via": self.downstream.source().via().map(|via| via.to_string()),
            "peer": self.downstream.peer().map(|peer| cut(peer.primary())),
            "for": self.spoken_for().map(cut),
            "method": line.map(|line| cut(line.method.as_str())),
            "host": line.and_then(Line::host).map(cut),
            // Without the query, which may hold what is nobody else's business.
            "path": line.map(|line| cut(line.uri.path())),
            "status": self.status,
            "route": route.map(|route| route.name.as_str()),
            "fault": fault.to_string(),
            "reason": fault.kind.code(),
            "cause": cut(&fault.cause),
            "remedy": cut(fault.remedy()),
            "generation": self.ledger.generation,
        });
        let address = self.downstream.address().map(|address| address.ip());
        let key = (address, fault.kind.code());
        let refusals = &self.ledger.refusals;
        refusals.keep(Refused::Request, key, self.id, known);
    }

    fn write(&self, line: &Line) {
        let config = &self.ledger.config;
        let route = self.route.and_then(|index| config.routes().get(index));
        let upstream = self.upstream.and_then(|id| config.upstream(id));
        let endpoint = upstream
            .zip(self.endpoint)
            .and_then(|(upstream, index)| upstream.endpoints.get(index));
        let rule = self.rule();
        let would_deny = self.would_deny();
        let why = would_deny.map(ToString::to_string);
        let via = self.downstream.source().via();
        let trail = self.trail();
        self.ledger.access.record(&AccessRecord {
            request_id: self.id,
            given_id: trail.and_then(Trail::given_id),
            trace: trail.and_then(Trail::trace),
            span: trail.and_then(Trail::span),
            listener: config
                .listener(self.listener)
                .map_or("-", |l| l.name.as_str()),
            client: &*self.downstream,
            via: via.as_ref().map(|via| via as &dyn Display),
            peer: self.downstream.peer().map(|peer| peer.primary()),
            spoken_for: self.spoken_for(),
            method: line.method.as_str(),
            host: line.host(),
            path: line
                .uri
                .path_and_query()
                .map_or("", http::uri::PathAndQuery::as_str),
            protocol: match line.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            status: self.status,
            route: route.map(|route| route.name.as_str()),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            endpoint: endpoint.map(|endpoint| endpoint.text.as_str()),
            rule: rule.as_deref(),
            would_allow: self.would_allow(),
            would_deny: would_deny.map(Denial::rule).zip(why.as_deref()),
            bytes_received: self.received.bytes(),
            bytes_sent: self.sent,
            duration: self.started.elapsed(),
            generation: self.ledger.generation,
            fault: self.fault.as_ref().map(|fault| fault as &dyn Display),
            cause: self.fault.as_ref().map(|fault| fault.cause.as_str()),
            remedy: self.fault.as_ref().map(Fault::remedy),
            asserted: Some(self.asserted),
        });
    }
}

impl Line {
    fn host(&self) -> Option<&str> {
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        let authority = self.uri.authority().map(http::uri::Authority::as_str);
        authority.or(host)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(fault) = self.abandoned() {
            self.fault = Some(fault);
        }
        self.keep();
        let side = self.fault.as_ref().map(|fault| fault.side.code());
        let metrics = &self.ledger.metrics;
        if let Some(limit) = self.fault.as_ref().and_then(|fault| fault.kind.limit()) {
            // The request's own line says it.
            metrics.listener(self.listener.0).count_limit(limit);
        }
        let route = self.route;
        let route = route.map_or_else(|| metrics.no_route(), |index| metrics.route(index));
        route.request(self.status, side, self.started.elapsed());
        route.sizes(self.received.bytes(), self.sent);
        if let Some(Fault {
            side, phase, kind, ..
        }) = &self.fault
        {
            route.fault(side.code(), phase.code(), kind.code());
        }
        if let Some(line) = self.line.take() {
            self.write(&line);
        }
        if !self.ledger.access.is_enabled() {
            self.explain();
        }
    }
}

/// As much of a text as is kept.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(KEPT)).unwrap_or(text)
}

/// In bytes, of each text of a refusal that is kept.
const KEPT: usize = 1024;

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
