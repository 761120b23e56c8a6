//! What a span says of a request: what its line says, without what the line has of
//! its query.
//!
//! # Sources
//!
//! OpenTelemetry, semantic conventions for HTTP spans 1.36 (server), for the
//! attributes that do not begin with `countersign.`.

use super::AccessRecord;
use crate::telemetry::spans::{Span, known_method};

impl AccessRecord<'_> {
    /// The span of the request; `None`: none is made.
    pub(super) fn as_span(&self) -> Option<Span> {
        let (trace, (id, parent)) = self.trace.zip(self.span)?;
        let name = match self.route {
            Some(route) => format!("{} {route}", known_method(self.method)),
            None => known_method(self.method).to_owned(),
        };
        let mut span = Span::ended((trace, id, parent), name, self.duration);
        self.tell_request(&mut span);
        self.tell_outcome(&mut span);
        let is_callers = self.fault_side() == Some("downstream");
        if self.status >= 500 || (self.status == 0 && !is_callers) {
            span.fail();
        }
        Some(span)
    }

    fn tell_request(&self, span: &mut Span) {
        span.tell_method(self.method);
        let path = self.path.split('?').next().unwrap_or_default();
        span.with("url.path", path);
        span.with_some("server.address", self.host);
        span.with("client.address", &*self.client.to_string());
        let version = self.protocol.strip_prefix("HTTP/");
        span.with("network.protocol.name", "http");
        span.with_some("network.protocol.version", version);
        span.with("http.request.body.size", self.bytes_received);
        span.with("countersign.request_id", &*self.request_id.to_string());
        span.with("countersign.listener", self.listener);
        span.with_some("countersign.peer", self.peer);
        span.with_some("countersign.for", self.spoken_for);
    }

    fn tell_outcome(&self, span: &mut Span) {
        if self.status != 0 {
            let status = u64::from(self.status);
            span.with("http.response.status_code", status);
        }
        span.with("http.response.body.size", self.bytes_sent);
        span.with_some("countersign.route", self.route);
        span.with_some("countersign.rule", self.rule);
        span.with_some("countersign.upstream", self.upstream);
        span.with_some("countersign.endpoint", self.endpoint);
        span.with_some("countersign.asserted", self.asserted);
        span.with("countersign.generation", self.generation);
        if let Some(fault) = self.fault.map(ToString::to_string) {
            let kind = fault.rsplit('/').next().unwrap_or_default();
            span.with("error.type", kind);
            span.with("countersign.fault", &*fault);
            span.with_some("countersign.cause", self.cause);
        }
    }

    fn fault_side(&self) -> Option<&'static str> {
        let fault = self.fault?.to_string();
        let mut sides = ["downstream", "upstream", "proxy"].into_iter();
        sides.find(|side| fault.starts_with(side))
    }
}
