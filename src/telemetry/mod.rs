//! Names and records what happened, and serves it.
//!
//! * [`events`] holds the name of every event, [`log`] writes events to
//!   standard error.
//! * [`access`] writes one line for each request to standard output.
//! * [`metrics`] counts, and [`admin`] serves the counts, health and readiness,
//!   and hands requests to the program; [`page`] draws them for people.
//!
//! * [`Refusals`] says how often the log is told of refusals, and keeps the last.
//!
//! # Rules
//!
//! * What came from the wire is escaped and cut before it is written: no peer
//!   can forge a line, a field or a terminal's escape sequence.
//! * Nobody who records waits for a reader: lines are handed to a thread of
//!   their own, and what does not fit is dropped and counted.
//! * Metric labels come from the config and from the code, never from the wire.
//! * There are no globals but the subscriber of `tracing`: logs, counters and
//!   readiness are values that are handed around.

pub mod access;
pub mod admin;
pub mod events;
pub mod log;
pub mod metrics;
pub mod page;
pub mod spans;

mod descriptors;
#[cfg(test)]
mod documents;
mod line;
mod reference;
mod refusals;
mod socket_file;
mod sparing;
mod timestamp;
mod writer;

pub use access::{AccessLog, AccessLogGuard, AccessRecord};
pub use admin::{AdminAnswer, AdminCommand, AdminRequest, AdminSocket, AdminState, Readiness};
pub use descriptors::unreserved;
pub use log::{Format, Level, LogControl};
pub use metrics::{MetricNames, Metrics};
pub use reference::{MalformedReference, ReferenceId, ReferenceIds};
pub use refusals::{Refusals, Refused, Source};
pub use socket_file::{SocketFile, SocketFileError, SocketFiles};
pub use sparing::Sparing;
pub use timestamp::rfc3339;
