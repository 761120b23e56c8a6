//! Hands spans over to the collector that the config names.
//!
//! # Rules
//!
//! * Nobody waits for a collector: while it does not answer, spans wait in their
//!   queue, and those that do not fit are dropped.
//! * A batch that a collector has not taken is sent twice more, if it may take it
//!   then; after that it is given up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::CurrentConfig;
use crate::telemetry::events;
use crate::telemetry::spans::{Span, SpanQueue};
use crate::upstream::{Plan, SendFault, own_request};

/// Hands over what is in the queue.
pub(crate) struct Exporter {
    queue: SpanQueue,
    /// What is being handed over, and how often that was tried.
    batch: Vec<Span>,
    attempts: u32,
    failing: bool,
}

/// What a collector has said to a batch.
enum Reply {
    Taken,
    /// Not now.
    Later(String),
    Never(String),
}

impl Exporter {
    pub(crate) fn new(queue: SpanQueue) -> Self {
        Self {
            queue,
            batch: Vec::new(),
            attempts: 0,
            failing: false,
        }
    }

    /// Hands over once a second, for as long as it is polled.
    pub(crate) async fn run(&mut self, current: &CurrentConfig) -> Infallible {
        loop {
            tokio::time::sleep(APART).await;
            self.hand_over(current).await;
        }
    }

    /// Hands over what there is, at the end of everything.
    pub(crate) async fn finish(&mut self, current: &CurrentConfig) {
        if tokio::time::timeout(LAST, self.hand_over(current))
            .await
            .is_err()
        {
            tracing::debug!("the last spans were not taken in time");
        }
    }

    /// Hands over what there is, until the collector does not take it.
    async fn hand_over(&mut self, current: &CurrentConfig) {
        loop {
            if self.batch.is_empty() {
                self.batch = self.queue.batch();
                self.attempts = 0;
            }
            if self.batch.is_empty() {
                return;
            }
            let Some((service_name, plan)) = current.collector() else {
                self.queue.dropped(self.batch.len());
                self.batch.clear();
                continue;
            };
            let (body, media_type) = SpanQueue::body(&service_name, &self.batch);
            let body = Bytes::from(body);
            let answer = own_request::post(&plan, PATH, (&body, media_type)).await;
            self.attempts += 1;
            match reply(answer) {
                Reply::Taken => {
                    self.queue.exported(self.batch.len());
                    self.batch.clear();
                    self.goes_well(&plan);
                }
                Reply::Later(cause) if self.attempts < MOST_ATTEMPTS => {
                    return self.fails(&plan, &cause);
                }
                Reply::Later(cause) | Reply::Never(cause) => {
                    self.queue.refused(self.batch.len());
                    self.batch.clear();
                    return self.fails(&plan, &cause);
                }
            }
        }
    }

    fn goes_well(&mut self, plan: &Plan) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(
                event = events::TRACE_EXPORT_RECOVERED,
                upstream = plan.name(),
                "the collector takes spans again"
            );
        }
    }

    fn fails(&mut self, plan: &Plan, cause: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                event = events::TRACE_EXPORT_FAILED,
                upstream = plan.name(),
                cause,
                remedy = "see whether the collector runs and takes OTLP over HTTP at /v1/traces, or correct the upstream that trace.upstream names",
                "the collector does not take spans; they are dropped until it does"
            );
        }
    }
}

impl CurrentConfig {
    /// Where spans go, and by what name they say who made them; `None`: nowhere.
    fn collector(&self) -> Option<(String, Arc<Plan>)> {
        let in_force = self.0.borrow();
        let trace = in_force.loaded.config().trace()?;
        let plan = in_force.loaded.plans().get(trace.upstream?.0)?;
        Some((trace.service_name.clone(), Arc::clone(plan)))
    }
}

/// What an answer says (OTLP, "OTLP/HTTP Response").
fn reply(answer: Result<StatusCode, SendFault>) -> Reply {
    match answer {
        Ok(status) if status.is_success() => Reply::Taken,
        Ok(status) if [429, 502, 503, 504].contains(&status.as_u16()) => {
            Reply::Later(format!("it answers {status}"))
        }
        Ok(status) => Reply::Never(format!("it answers {status}")),
        Err(fault) => Reply::Later(fault.to_string()),
    }
}

/// Where collectors take spans over HTTP.
const PATH: &str = "/v1/traces";
/// How often spans are handed over.
const APART: Duration = Duration::from_secs(1);
/// How long the process waits for it at its end.
const LAST: Duration = Duration::from_secs(2);
/// How often a batch is sent.
const MOST_ATTEMPTS: u32 = 3;
