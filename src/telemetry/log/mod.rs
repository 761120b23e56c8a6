//! The log of events, on standard error.
//!
//! Events are written with the macros of `tracing`, their name first:
//!
//! ```
//! use countersign::telemetry::events;
//!
//! tracing::info!(event = events::LISTENER_READY, listener = "public", address = %"[::]:8443");
//! ```
//!
//! That makes `… level=INFO event=listener.ready listener=public address=[::]:8443`.
//! An event without a name goes by its target, the module.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use super::events;
use super::line::{Head, Line, Value};
use super::writer::{Lane, Settings, Writer, WriterGuard};

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// One flat object a line (RFC 8259), for machines.
    Json,
    /// `key=value`, for people.
    Text,
}

/// The least important event that is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// For finding a fault in countersign.
    Debug,
    /// What failed in countersign itself.
    Error,
    /// Life, refusals and faults.
    Info,
    /// What is about to fail.
    Warn,
}

/// Writes what is still to be written when dropped, for at most 2 s. Events
/// after that are written directly, so that the last words are never lost.
#[must_use = "dropping the guard ends the thread that writes the log"]
pub struct LogGuard {
    control: LogControl,
    _writer: Option<WriterGuard>,
}

impl LogGuard {
    /// What changes this log while it runs.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// Changes how the log looks and how much of it there is, while it runs.
#[derive(Clone, Debug)]
pub struct LogControl {
    shape: Arc<Shape>,
    filter: reload::Handle<Targets, Registry>,
}

impl LogControl {
    /// Every event from now on is written like this, if it is important enough;
    /// one that is being written meanwhile may still go by the old settings.
    ///
    /// What is not logged costs as little as if it had been so from the start.
    /// The control of a log that was not the first of its process, or has ended
    /// with it, changes nothing.
    pub fn set(&self, format: Format, level: Level) {
        self.shape.set(format);
        // Fails only when there is no such log (any more).
        self.filter.reload(filter(level)).ok();
    }
}

/// Starts the log on standard error, for the whole process.
///
/// Of the libraries underneath only warnings and errors are logged. Levels are
/// coloured when standard error is a terminal, `NO_COLOR` is unset or empty and
/// `TERM` is not `dumb`. A second call in one process changes nothing.
///
/// Where the system refuses a thread, lines are written by those who log.
pub fn start(format: Format, level: Level) -> LogGuard {
    let (lane, guard) = start_writer().unzip();
    let layer = LogLayer {
        shape: Shape::of(format),
        coloured: wants_colour(),
        lane,
        direct: own_standard_error(),
    };
    let (subscriber, control) = subscriber(layer, level);
    // Fails only when a log was started before, which then goes on.
    tracing::subscriber::set_global_default(subscriber).ok();
    LogGuard {
        control,
        _writer: guard,
    }
}

/// A subscriber that writes what is important enough, and what changes it.
fn subscriber(layer: LogLayer, level: Level) -> (impl Subscriber + Send + Sync, LogControl) {
    let shape = Arc::clone(&layer.shape);
    let (filter, handle) = reload::Layer::new(filter(level));
    let control = LogControl {
        shape,
        filter: handle,
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    (subscriber, control)
}

fn start_writer() -> Option<(Arc<Lane>, WriterGuard)> {
    let (writer, guard) = Writer::start(Settings {
        name: "log",
        output: own_standard_error()?,
        gather: Duration::ZERO,
        on_loss: |lines| tracing::warn!(event = events::LOG_DROPPED, lines),
    })
    .ok()?;
    Some((writer.lane_in_order(), guard))
}

/// Standard error without the lock of [`io::stderr`], which a write that is
/// stuck would hold for ever.
fn own_standard_error() -> Option<File> {
    let descriptor = io::stderr().as_fd().try_clone_to_owned();
    descriptor.ok().map(File::from)
}

/// Writes each event as one line.
struct LogLayer {
    shape: Arc<Shape>,
    /// Levels are coloured where the format allows it.
    coloured: bool,
    lane: Option<Arc<Lane>>,
    /// Where lines go when the lane's writer has finished, or never was.
    direct: Option<File>,
}

/// The format of the next line.
#[derive(Debug)]
struct Shape {
    json: AtomicBool,
}

impl Shape {
    fn of(format: Format) -> Arc<Self> {
        let json = AtomicBool::new(format == Format::Json);
        Arc::new(Self { json })
    }

    fn format(&self) -> Format {
        if self.json.load(Ordering::Relaxed) {
            Format::Json
        } else {
            Format::Text
        }
    }

    fn set(&self, format: Format) {
        self.json.store(format == Format::Json, Ordering::Relaxed);
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Not in the lane's own buffer: a value may log while it is shown.
        let line = self.line(event);
        let taken = self
            .lane
            .as_ref()
            .is_some_and(|lane| lane.put(|out| out.extend_from_slice(&line)));
        if !taken && let Some(mut output) = self.direct.as_ref() {
            // If this fails too, there is nobody left to tell.
            output.write_all(&line).ok();
        }
    }
}

impl LogLayer {
    fn line(&self, event: &Event<'_>) -> Vec<u8> {
        let mut words = Words::default();
        event.record(&mut words);
        let level = *event.metadata().level();
        let format = self.shape.format();
        let coloured = self.coloured && format == Format::Text;
        let head = Head {
            at: SystemTime::now(),
            level: level.as_str(),
            colour: if coloured { colour(level) } else { "" },
            event: words.event.as_deref().unwrap_or(event.metadata().target()),
        };
        let mut out = Vec::new();
        let mut fields = Fields(Line::begin(&mut out, format, &head));
        event.record(&mut fields);
        if let Some(message) = &words.message {
            fields
                .0
                .field(MESSAGE, Value::Quoted(message, MESSAGE_LIMIT));
        }
        fields.0.end();
        out
    }
}

/// Finds the name and the message, which have their own places in the line.
#[derive(Default)]
struct Words {
    event: Option<String>,
    message: Option<String>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            EVENT => self.event = Some(format!("{value:?}")),
            MESSAGE => self.message = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes every field but the name and the message.
struct Fields<'a>(Line<'a>);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: Value<'_>) {
        if !matches!(field.name(), EVENT | MESSAGE) {
            self.0.field(field.name(), value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Value::Shown(&format_args!("{value:?}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::Shown(&Causes(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Signed(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Word(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Unsigned(value));
    }
}

/// An error and what caused it, as `error: cause: cause`.
struct Causes<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn filter(level: Level) -> Targets {
    let (own, others) = match level {
        Level::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        Level::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        Level::Info => (LevelFilter::INFO, LevelFilter::WARN),
        Level::Warn => (LevelFilter::WARN, LevelFilter::WARN),
    };
    Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), own)
        .with_default(others)
}

/// <https://no-color.org>: set and not empty means none.
fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && io::stderr().is_terminal()
}

fn colour(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "\x1b[31m",
        tracing::Level::WARN => "\x1b[33m",
        tracing::Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// The field that names an event.
const EVENT: &str = "event";
/// The field in which `tracing` puts the text after the fields.
const MESSAGE: &str = "message";
/// Bytes of a message that are written.
const MESSAGE_LIMIT: usize = 4096;

#[cfg(test)]
mod tests;
