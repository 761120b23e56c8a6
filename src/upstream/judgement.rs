//! What an attempt says of the endpoint that it went to.

use super::UploadBody;
use super::attempt::Attempt;
use super::endpoint::Endpoint;
use super::fault::SendFaultKind;
use super::send::Upstream;
use crate::telemetry::events;

impl<B: UploadBody> Upstream<B> {
    /// Notes what an attempt says of its endpoint. Connections that could not be
    /// set up were noted where they were tried.
    pub(super) fn judge(&self, endpoint: &Endpoint<B>, attempt: &Attempt<B>) {
        match attempt {
            Attempt::Answered(response) => {
                let status = response.status().as_u16();
                if self.plan().ejection().failure_status.contains(status) {
                    self.failed(endpoint, &format!("it answered with {status}"));
                } else if endpoint.condition.succeeded() {
                    tracing::info!(
                        event = events::ENDPOINT_BACK,
                        upstream = self.plan().name(),
                        endpoint = endpoint.text,
                        "the endpoint serves requests again"
                    );
                }
            }
            Attempt::Failed(fault) => match fault.kind {
                SendFaultKind::Lost | SendFaultKind::Malformed | SendFaultKind::ResponseTimeout => {
                    self.failed(endpoint, &fault.cause);
                }
                // The client's fault, this machine's, or noted already.
                _ => {}
            },
            Attempt::Again { .. } | Attempt::Elsewhere(_) => {}
        }
    }

    fn failed(&self, endpoint: &Endpoint<B>, cause: &str) {
        let now = tokio::time::Instant::now();
        let may_be = || {
            let all = self.endpoints().iter();
            let alone = all.filter(|one| one.condition.is_left_alone(now)).count();
            let share = self.plan().ejection().max_share;
            !share.is_exceeded_by(alone + 1, self.endpoints().len())
        };
        if let Some(pause) = endpoint.condition.failed(now, may_be) {
            endpoint.condition.explain(cause);
            tracing::warn!(
                event = events::ENDPOINT_EJECTED,
                upstream = self.plan().name(),
                endpoint = endpoint.text,
                cause,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "the endpoint failed several requests in a row; others are preferred for a while"
            );
        }
    }
}
