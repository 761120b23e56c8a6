//! What a trace records of a request's way up: a span for each attempt.
//!
//! A span ends with the head of the answer: its body is carried while others read
//! it, and is told of by the request's own span.
//!
//! # Sources
//!
//! OpenTelemetry, semantic conventions for HTTP spans 1.36 (client), for the
//! attributes that do not begin with `countersign.`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::{Kind, Span, Spans, TraceContext, known_method};
use crate::telemetry::ReferenceIds;

/// The attempts of one request, whose spans belong to its own.
#[derive(Debug)]
pub struct Attempts {
    /// As the request itself hands it on: its span is the parent.
    context: TraceContext,
    spans: Spans,
    ids: ReferenceIds,
    /// How many there were.
    made: Cell<u64>,
}

/// To what an attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// The endpoint, as the config writes it.
    pub endpoint: &'a str,
    /// Its name or address, or the path of its socket.
    pub address: &'a str,
    /// `None`: it is a unix socket.
    pub port: Option<u16>,
    /// That of HTTP.
    pub version: &'static str,
}

/// An attempt that is under way. It is recorded when it is dropped.
#[derive(Debug)]
pub struct AttemptSpan {
    attempts: Rc<Attempts>,
    /// `None`: there was no attempt after all.
    span: Option<Span>,
    id: u64,
    begun: Instant,
    error: &'static str,
}

impl Attempts {
    /// None so far. `context`: as the request hands it on.
    pub fn of(context: TraceContext, spans: &Spans) -> Rc<Self> {
        Rc::new(Self {
            context,
            spans: spans.clone(),
            ids: ReferenceIds::new(),
            made: Cell::new(0),
        })
    }

    /// One more begins, of a request with this method and path (without its query).
    pub fn begin(
        self: &Rc<Self>,
        (method, path): (&str, &str),
        service: Service<'_>,
    ) -> AttemptSpan {
        let id = self.ids.next().number().max(1);
        let ids = (self.context.trace(), id, Some(self.context.parent()));
        let known = known_method(method);
        let mut span = Span::begun(Kind::Client, ids, known.to_owned());
        span.tell_method(method);
        span.with("server.address", service.address);
        match service.port {
            Some(port) => {
                span.with("server.port", u64::from(port));
                let endpoint = service.endpoint.trim_end_matches('/');
                span.with("url.full", &*format!("{endpoint}{path}"));
            }
            None => span.with("network.transport", "unix"),
        }
        span.with("network.protocol.name", "http");
        span.with("network.protocol.version", service.version);
        span.with("countersign.upstream", service.upstream);
        span.with("countersign.endpoint", service.endpoint);
        let before = self.made.replace(self.made.get().saturating_add(1));
        span.with_some("http.request.resend_count", (before > 0).then_some(before));
        AttemptSpan {
            attempts: Rc::clone(self),
            span: Some(span),
            id,
            begun: Instant::now(),
            error: ABANDONED,
        }
    }
}

impl AttemptSpan {
    /// The request's context, as this attempt hands it on in place of `written`,
    /// which may be of an attempt before it; `None`: that is of another trace, and
    /// stays.
    pub fn context(&self, written: &[u8]) -> Option<TraceContext> {
        let own = self.attempts.context;
        let written = TraceContext::read(written)?;
        (written.trace() == own.trace()).then(|| own.through(self.id))
    }

    /// The head of an answer came.
    pub fn answered(mut self, status: u16) {
        if let Some(span) = &mut self.span {
            span.with("http.response.status_code", u64::from(status));
            // What the conventions have for clients, and not for servers.
            if status >= 400 {
                span.with("error.type", &*status.to_string());
                span.fail();
            }
        }
        self.error = "";
    }

    /// None came; `why`: a word from the code.
    pub fn failed(mut self, why: &'static str) {
        self.error = why;
    }

    /// Nothing was attempted after all.
    pub fn never_began(mut self) {
        self.span = None;
        let made = &self.attempts.made;
        made.set(made.get().saturating_sub(1));
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        if !self.error.is_empty() {
            span.with("error.type", self.error);
            span.fail();
        }
        span.end_after(self.begun.elapsed());
        self.attempts.spans.record(span);
    }
}

/// Whoever waited for the answer did so no more.
const ABANDONED: &str = "abandoned";

#[cfg(test)]
mod tests {
    use super::super::AttributeValue;
    use super::*;

    const SERVICE: Service<'_> = Service {
        upstream: "orders",
        endpoint: "https://[::1]:8443/",
        address: "::1",
        port: Some(8443),
        version: "1.1",
    };

    fn value(span: &Span, key: &str) -> Option<AttributeValue> {
        let mut all = span.attributes.iter();
        let found = all.find(|(known, _)| *known == key);
        found.map(|(_, value)| value.clone())
    }

    #[test]
    fn each_attempt_is_a_span_of_its_own_under_that_of_the_request() {
        let (spans, queue) = Spans::queue();
        let context = TraceContext::begin(7, 9, true);
        let attempts = Attempts::of(context, &spans);
        let first = attempts.begin(("GET", "/a"), SERVICE);
        let handed_on = first.context(context.to_string().as_bytes()).unwrap();
        first.failed("connect_refused");
        attempts.begin(("GET", "/a"), SERVICE).never_began();
        attempts.begin(("BREW", "/a"), SERVICE).answered(404);
        drop(attempts.begin(("GET", "/a"), SERVICE));
        let all = queue.batch();
        let [first, second, third] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!((first.trace, first.parent), (context.trace(), Some(9)));
        assert_eq!(
            (handed_on.trace(), handed_on.parent()),
            (context.trace(), first.id)
        );
        assert!(first.id != second.id && second.id != third.id);
        let text = |text: &str| Some(AttributeValue::from(text));
        assert_eq!(value(first, "error.type"), text("connect_refused"));
        assert_eq!(value(first, "url.full"), text("https://[::1]:8443/a"));
        assert_eq!(value(first, "http.request.resend_count"), None);
        assert_eq!(second.name, "_OTHER");
        assert_eq!(value(second, "http.request.method_original"), text("BREW"));
        assert_eq!(value(second, "error.type"), text("404"));
        assert_eq!(value(second, "http.request.resend_count"), Some(1.into()));
        assert_eq!(value(third, "error.type"), text(ABANDONED));
        assert_eq!(value(third, "http.request.resend_count"), Some(2.into()));
        assert!(all.iter().all(|span| span.failed));
    }

    #[test]
    fn context_that_somebody_else_has_written_stays() {
        let (spans, _queue) = Spans::queue();
        let attempts = Attempts::of(TraceContext::begin(7, 9, true), &spans);
        let attempt = attempts.begin(("GET", "/"), SERVICE);
        let other = TraceContext::begin(8, 9, true).to_string();
        assert_eq!(attempt.context(other.as_bytes()), None);
        assert_eq!(attempt.context(b"malformed"), None);
        // Of the attempt before.
        let before = TraceContext::begin(7, 8, true).to_string();
        assert!(attempt.context(before.as_bytes()).is_some());
    }
}
