//! The access log: one line for each request, on standard output.
//!
//! A worker formats its lines into a buffer of its own; a thread writes the
//! buffers, at the latest 200 ms after the first line. A worker never waits
//! for it.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::events;
use super::line::{Head, Line, Value};
use super::log::Format;
use super::reference::ReferenceId;
use super::spans::{Spans, TraceId};
use super::writer::{Lane, Settings, Writer, WriterGuard};

mod span;
mod template;

pub use template::{AccessTemplate, AccessTemplateError};

/// Where requests are recorded. Each worker takes [`AccessLog::for_worker`], and
/// of that [`AccessLog::with`] for each generation.
#[derive(Clone)]
pub struct AccessLog {
    /// There, a log could write; enabled, it does.
    running: Option<Running>,
    format: Format,
    enabled: bool,
    template: Option<AccessTemplate>,
    spans: Option<Spans>,
}

/// Writes what is still to be written when dropped, for at most 2 s.
#[must_use = "dropping the guard ends the thread that writes the access log"]
pub struct AccessLogGuard {
    _writer: WriterGuard,
}

/// What one line says of one request.
///
/// Texts may be whatever the peer sent: they are escaped and cut.
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// What the caller was told, when it was told a reference.
    pub request_id: ReferenceId,
    /// The id that a believed sender has given it.
    pub given_id: Option<&'a str>,
    /// The trace that it belongs to.
    pub trace: Option<TraceId>,
    /// The span that is made of it, and the one that it belongs to.
    pub span: Option<(u64, Option<u64>)>,
    /// The listener's name.
    pub listener: &'a str,
    /// The address at the other end of the connection.
    pub client: &'a dyn Display,
    /// The sender that has told that address, if it is not the socket's own.
    pub via: Option<&'a dyn Display>,
    /// Who is at the other end of the connection; `None` is anonymous.
    pub peer: Option<&'a str>,
    /// For whom that peer speaks; `None`: for itself.
    pub spoken_for: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The authority asked for.
    pub host: Option<&'a str>,
    /// Path and query.
    pub path: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// The status sent; 0 when none was.
    pub status: u16,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The endpoint, as the config writes it.
    pub endpoint: Option<&'a str>,
    /// The rule that permitted or denied.
    pub rule: Option<&'a str>,
    /// The rule that would have permitted, were it enforced.
    pub would_allow: Option<&'a str>,
    /// The rule that would have denied, were it enforced, and why.
    pub would_deny: Option<(&'a str, &'a str)>,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// Bytes of the response's body.
    pub bytes_sent: u64,
    /// From the request's head to the end of the response.
    pub duration: Duration,
    /// The generation under which it was decided.
    pub generation: u64,
    /// Who ended it, in which phase and why: `side/phase/kind`.
    pub fault: Option<&'a dyn Display>,
    /// The fault's cause, for the operator alone.
    pub cause: Option<&'a str>,
    /// What to do about it, for the operator alone.
    pub remedy: Option<&'a str>,
    /// Which layer told the upstream who is calling.
    pub asserted: Option<&'a str>,
}

#[derive(Clone)]
struct Running {
    writer: Writer,
    lane: Arc<Lane>,
}

impl AccessLog {
    /// Starts the access log on standard output. Not `enabled`, it records
    /// nothing until [`AccessLog::with`] says otherwise: its thread sleeps, and
    /// a request costs nothing.
    ///
    /// # Errors
    ///
    /// The system refuses another descriptor or thread.
    pub fn start(format: Format, enabled: bool) -> io::Result<(Self, AccessLogGuard)> {
        // Without the buffer and the lock of `io::stdout`.
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        let (log, guard) = Self::start_to(File::from(output), format)?;
        Ok((log.with(format, enabled), guard))
    }

    /// An access log that never records anything.
    pub fn disabled() -> Self {
        Self {
            running: None,
            format: Format::Text,
            enabled: false,
            template: None,
            spans: None,
        }
    }

    /// Returns this log as another generation wants it: with the same buffer,
    /// lines of another form, or none at all.
    #[must_use]
    pub fn with(&self, format: Format, enabled: bool) -> Self {
        Self {
            running: self.running.clone(),
            format,
            enabled: enabled && self.running.is_some(),
            template: None,
            spans: self.spans.clone(),
        }
    }

    /// Returns this log, with lines of this form in place of its format.
    #[must_use]
    pub fn with_template(self, template: Option<AccessTemplate>) -> Self {
        Self { template, ..self }
    }

    /// Returns this log, with spans recorded there.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Self {
        Self {
            spans: Some(spans),
            ..self
        }
    }

    /// Where spans are recorded, if anywhere.
    pub fn spans(&self) -> Option<&Spans> {
        self.spans.as_ref()
    }

    /// Whether lines are written, for those who would gather in vain.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns this log with a buffer of its own, for one thread; its lines
    /// then never wait for those of others. Buffers live as long as the log:
    /// take one for each worker, and clone that.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let running = self.running.as_ref().map(|running| Running {
            lane: running.writer.lane_for_one_thread(),
            ..running.clone()
        });
        Self {
            running,
            format: self.format,
            enabled: self.enabled,
            template: self.template.clone(),
            spans: self.spans.clone(),
        }
    }

    /// Writes one line, if lines are written, and records a span, if one is made.
    ///
    /// When the reader of the log is too slow or gone, the line is dropped and
    /// counted ([`AccessLog::dropped`], [`events::ACCESS_LOG_DROPPED`]).
    pub fn record(&self, record: &AccessRecord<'_>) {
        if self.enabled
            && let Some(running) = &self.running
        {
            let at = SystemTime::now();
            let lane = &running.lane;
            lane.put(|out| match &self.template {
                None => record.append(out, self.format, at),
                Some(template) => template.append(out, record, at),
            });
        }
        if let Some(spans) = &self.spans
            && let Some(span) = record.as_span()
        {
            spans.record(span);
        }
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.running
            .as_ref()
            .map_or(0, |running| running.writer.lost())
    }

    fn start_to(
        output: impl Write + Send + 'static,
        format: Format,
    ) -> io::Result<(Self, AccessLogGuard)> {
        let (writer, guard) = Writer::start(Settings {
            name: "access-log",
            output,
            gather: GATHER,
            on_loss: |lines| tracing::warn!(event = events::ACCESS_LOG_DROPPED, lines),
        })?;
        let running = Running {
            lane: writer.lane_for_one_thread(),
            writer,
        };
        let log = Self {
            running: Some(running),
            format,
            enabled: true,
            template: None,
            spans: None,
        };
        Ok((log, AccessLogGuard { _writer: guard }))
    }
}

impl fmt::Debug for AccessLog {
    /// Leaves out the lines that wait.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

impl AccessRecord<'_> {
    fn append(&self, out: &mut Vec<u8>, format: Format, at: SystemTime) {
        let head = Head {
            at,
            level: "INFO",
            colour: "",
            event: events::REQUEST_END,
        };
        let mut line = Line::begin(out, format, &head);
        self.append_request(&mut line);
        self.append_outcome(&mut line);
        line.end();
    }

    fn append_request(&self, line: &mut Line<'_>) {
        line.field("listener", Value::Word(self.listener));
        line.field("client", Value::Shown(self.client));
        if let Some(via) = self.via {
            line.field("via", Value::Shown(via));
        }
        line.field("peer", wire(self.peer, TEXT_LIMIT));
        if self.spoken_for.is_some() {
            line.field("for", wire(self.spoken_for, TEXT_LIMIT));
        }
        line.field("method", Value::Word(self.method));
        line.field("host", wire(self.host, HOST_LIMIT));
        line.field("path", Value::Quoted(self.path, PATH_LIMIT));
        line.field("protocol", Value::Word(self.protocol));
    }

    fn append_outcome(&self, line: &mut Line<'_>) {
        line.field("status", Value::Unsigned(self.status.into()));
        line.field("route", word(self.route));
        line.field("upstream", word(self.upstream));
        line.field("endpoint", word(self.endpoint));
        line.field("rule", wire(self.rule, TEXT_LIMIT));
        if self.would_allow.is_some() {
            line.field("would_allow", wire(self.would_allow, TEXT_LIMIT));
        }
        if let Some((rule, why)) = self.would_deny {
            line.field("would_deny", wire(Some(rule), TEXT_LIMIT));
            line.field("would_deny_cause", wire(Some(why), TEXT_LIMIT));
        }
        line.field("asserted", wire(self.asserted, TEXT_LIMIT));
        line.field("fault", self.fault.map_or(Value::Absent, Value::Shown));
        line.field("cause", wire(self.cause, TEXT_LIMIT));
        if self.remedy.is_some() {
            line.field("remedy", wire(self.remedy, TEXT_LIMIT));
        }
        line.field("bytes_received", Value::Unsigned(self.bytes_received));
        line.field("bytes_sent", Value::Unsigned(self.bytes_sent));
        line.field("duration_ms", Value::Milliseconds(self.duration));
        line.field("request_id", Value::Shown(&self.request_id));
        if self.given_id.is_some() {
            line.field("given_id", wire(self.given_id, TEXT_LIMIT));
        }
        if let Some(trace) = &self.trace {
            line.field("trace_id", Value::Shown(trace));
        }
        line.field("generation", Value::Unsigned(self.generation));
    }
}

fn wire(text: Option<&str>, limit: usize) -> Value<'_> {
    text.map_or(Value::Absent, |text| Value::Quoted(text, limit))
}

fn word(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Absent, Value::Word)
}

/// How long lines are gathered: short enough to watch, long enough that a busy
/// worker's lines share a system call.
const GATHER: Duration = Duration::from_millis(200);

/// Bytes of a path and query that are written.
const PATH_LIMIT: usize = 2048;
/// Bytes of a host that are written: the longest DNS name (RFC 1035 §2.3.4) and a port.
const HOST_LIMIT: usize = 261;
/// Bytes of any other text that are written.
const TEXT_LIMIT: usize = 1024;

#[cfg(test)]
mod tests;
