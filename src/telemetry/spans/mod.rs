//! Spans: what a trace records of the requests that come through here.
//!
//! # Rules
//!
//! * Whoever records a span never waits: there is a queue with a bound, and what
//!   does not fit is dropped and counted.
//! * A span has no header field, no query and no body, and what comes from the
//!   wire is cut.
//! * Recording wakes nobody: who takes the spans looks from time to time.

mod attempts;
mod context;
mod otlp;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::metrics::ReasonCounts;
pub use attempts::{AttemptSpan, Attempts, Service};
pub use context::{TraceContext, TraceId};

/// What one request was to a trace, or one attempt to have it answered.
#[derive(Debug)]
pub struct Span {
    kind: Kind,
    trace: TraceId,
    id: u64,
    parent: Option<u64>,
    name: String,
    start_nanoseconds: u64,
    end_nanoseconds: u64,
    attributes: Vec<(&'static str, AttributeValue)>,
    failed: bool,
}

/// On which side of a request a span stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// That of whoever answers it.
    Server,
    /// That of whoever makes it.
    Client,
}

/// What an attribute of a span says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeValue {
    /// A number that is not negative.
    Number(u64),
    /// A text of at most 1 KiB.
    Text(String),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        let kept = text.get(..text.floor_char_boundary(TEXT_LIMIT));
        Self::Text(kept.unwrap_or_default().to_owned())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Span {
    /// The span of a request with this id, which ends now and took so long.
    /// `parent`: the span that it belongs to, in the same trace.
    pub fn ended(ids: (TraceId, u64, Option<u64>), name: String, duration: Duration) -> Self {
        let mut span = Self::begun(Kind::Server, ids, name);
        span.end_nanoseconds = span.start_nanoseconds;
        span.start_nanoseconds = span.end_nanoseconds.saturating_sub(whole(duration));
        span
    }

    /// A span that begins now.
    fn begun(kind: Kind, (trace, id, parent): (TraceId, u64, Option<u64>), name: String) -> Self {
        let now = SystemTime::now();
        let now = whole(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        Self {
            kind,
            trace,
            id,
            parent,
            name,
            start_nanoseconds: now,
            end_nanoseconds: now,
            attributes: Vec::with_capacity(24),
            failed: false,
        }
    }

    /// It ends, so long after it began.
    fn end_after(&mut self, duration: Duration) {
        self.end_nanoseconds = self.start_nanoseconds.saturating_add(whole(duration));
    }

    /// Says the method of the request.
    pub fn tell_method(&mut self, method: &str) {
        let known = known_method(method);
        self.with("http.request.method", known);
        if known != method {
            self.with("http.request.method_original", method);
        }
    }

    /// Says something of it.
    pub fn with(&mut self, key: &'static str, value: impl Into<AttributeValue>) {
        self.attributes.push((key, value.into()));
    }

    /// Says something of it, where there is something to say.
    pub fn with_some(&mut self, key: &'static str, value: Option<impl Into<AttributeValue>>) {
        if let Some(value) = value {
            self.with(key, value);
        }
    }

    /// What it tells of did not go well, and not by the fault of who asked.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

/// Where spans are recorded; every worker has the same.
#[derive(Clone)]
pub struct Spans {
    /// Boxed, since its room is there from the beginning.
    sender: SyncSender<Box<Span>>,
    counts: Arc<ReasonCounts>,
}

/// Takes the spans that are recorded, a batch at a time.
pub struct SpanQueue {
    receiver: Receiver<Box<Span>>,
    counts: Arc<ReasonCounts>,
}

impl Spans {
    /// A queue with nothing in it.
    pub fn queue() -> (Self, SpanQueue) {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let counts = Arc::<ReasonCounts>::default();
        let spans = Self {
            sender,
            counts: Arc::clone(&counts),
        };
        (spans, SpanQueue { receiver, counts })
    }

    /// Records a span, or drops it if there are too many.
    pub fn record(&self, span: Span) {
        if self.sender.try_send(Box::new(span)).is_err() {
            self.counts.add(DROPPED);
        }
    }

    /// How many became what: `exported`, `dropped`, `refused`.
    pub fn counts(&self) -> &Arc<ReasonCounts> {
        &self.counts
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spans")
    }
}

impl SpanQueue {
    /// The spans that wait, up to as many as one request to a collector has.
    pub fn batch(&self) -> Vec<Span> {
        let waiting = self.receiver.try_iter().take(BATCH);
        waiting.map(|span| *span).collect()
    }

    /// A request's body that hands over these spans, and its media type.
    pub fn body(service_name: &str, spans: &[Span]) -> (Vec<u8>, &'static str) {
        (otlp::export(service_name, spans), "application/x-protobuf")
    }

    /// So many were taken by a collector.
    pub fn exported(&self, spans: usize) {
        (0..spans).for_each(|_| self.counts.add("exported"));
    }

    /// So many were not.
    pub fn refused(&self, spans: usize) {
        (0..spans).for_each(|_| self.counts.add("refused"));
    }

    /// So many are wanted by nobody any more.
    pub fn dropped(&self, spans: usize) {
        (0..spans).for_each(|_| self.counts.add(DROPPED));
    }
}

/// In nanoseconds.
fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A method, or what the conventions have for those that anybody can make up.
pub fn known_method(method: &str) -> &str {
    match method {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT"
        | "TRACE" | "QUERY") => known,
        _ => "_OTHER",
    }
}

const DROPPED: &str = "dropped";

/// Spans that wait: of one second, unless more requests are recorded than a
/// collector is likely to want; each has two. A span takes about 1 KiB, and 16 KiB
/// at most.
const MOST_WAITING: usize = 8192;
/// Spans of one request to a collector, as OpenTelemetry's own libraries have it.
const BATCH: usize = 512;
/// Bytes of a text of a span.
const TEXT_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        let trace = TraceContext::begin(1, 2, true).trace();
        Span::ended((trace, 3, None), "GET all".to_owned(), Duration::ZERO)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (spans, queue) = Spans::queue();
        for _ in 0..MOST_WAITING + 3 {
            spans.record(span());
        }
        let counted: Vec<_> = spans.counts().each().collect();
        assert_eq!(counted, [("dropped", 3)]);
        assert_eq!(queue.batch().len(), BATCH);
        spans.record(span());
        assert_eq!(spans.counts().each().count(), 1);
    }

    #[test]
    fn text_from_the_wire_is_cut() {
        let long = "é".repeat(TEXT_LIMIT);
        let AttributeValue::Text(kept) = AttributeValue::from(long.as_str()) else {
            panic!("it is a text");
        };
        assert_eq!(kept.len(), TEXT_LIMIT);
    }
}
