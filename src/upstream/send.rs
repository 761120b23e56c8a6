//! One request to one upstream: to which endpoint, and how often.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use super::UploadBody;
use super::answer::Answer;
use super::assertion::Tokens;
use super::attempt::{Attempt, Manner};
use super::balance::Balance;
use super::condition::Condition;
use super::credential::Credential;
use super::endpoint::Endpoint;
use super::fault::{SendFault, SendFaultKind};
use super::plan::Plan;
use super::renewal::Renewal;
use super::request::UpstreamRequest;
use super::sessions::Sessions;
use crate::identity::PeerIdentity;
use crate::telemetry::metrics::UpstreamMetrics;

/// The most endpoints that one request is offered to.
const MAX_ATTEMPTS: usize = 4;

/// One upstream, as one worker reaches it.
#[derive(Debug)]
pub struct Upstream<B: UploadBody> {
    plan: Arc<Plan>,
    endpoints: Vec<Rc<Endpoint<B>>>,
    balance: Balance,
    tokens: Tokens,
    /// `None`: no sessions are kept.
    sessions: Option<Sessions>,
    renewal: Renewal,
    metrics: Arc<UpstreamMetrics>,
}

impl<B: UploadBody> Upstream<B> {
    /// An upstream with nothing in its pools.
    pub fn new(plan: Arc<Plan>, metrics: Arc<UpstreamMetrics>) -> Self {
        let endpoints = plan
            .endpoints()
            .iter()
            .zip(plan.standings())
            .enumerate()
            .map(|(index, (endpoint, standing))| {
                let condition = Condition::new(&plan, standing);
                Endpoint::new(index, &endpoint.text, plan.idle_timeout(), condition)
            })
            .collect();
        let balance = Balance::new(&plan);
        let sessions = plan.sessions().cloned().map(Sessions::new);
        Self {
            plan,
            endpoints,
            balance,
            tokens: Tokens::default(),
            sessions,
            renewal: Renewal::default(),
            metrics,
        }
    }

    /// What is known of it.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Its endpoints, in the order of the plan.
    pub(super) fn endpoints(&self) -> &[Rc<Endpoint<B>>] {
        &self.endpoints
    }

    /// The signed assertions that it can be sent again.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The sessions that it has opened; `None`: none are kept.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// What is sent for this caller in place of its own credential: as the
    /// plan has it, or as it has been read since.
    pub fn credential_for(&self, caller: Option<&PeerIdentity>) -> Option<HeaderValue> {
        let value = |credential: &Credential| credential.for_caller(caller).cloned();
        match self.plan.credential() {
            Credential::Forward | Credential::Never => None,
            planned => self.renewal.with(planned, value),
        }
    }

    /// Reads the credential's file again, at most once a second: the service
    /// may know of a change before countersign has looked.
    pub async fn reread_credential(&self) {
        let plan = Arc::clone(&self.plan);
        self.renewal.look(move || plan.reread_credential()).await;
    }

    /// What it counts in.
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Its time is over: nothing more is meant to come to it.
    ///
    /// Connections that rest are closed now, and those in use when their
    /// requests have finished. Requests under way are not disturbed: one that
    /// must be sent again gets a new connection.
    pub fn retire(&self) {
        for endpoint in &self.endpoints {
            endpoint.retire();
        }
    }

    /// Sends a request and waits for its response head.
    ///
    /// `now` is the time at which the request came; one reading of the clock
    /// serves the whole way.
    ///
    /// # Errors
    ///
    /// [`SendFault`], when every attempt that was safe to make has failed.
    pub async fn send(
        &self,
        request: UpstreamRequest<B>,
        now: Instant,
    ) -> Result<Answer<B>, SendFault> {
        let upgrade = request.is_upgrade();
        let copyable = !upgrade && request.is_copyable();
        let idempotent = request.is_idempotent();
        let (owner, affinity) = (request.owner(), request.affinity());
        let (mut request, upload) = request.into_parts();
        let mut manner = Manner {
            upload: upload.as_ref(),
            copyable,
            idempotent,
            upgrade,
            now,
            owner,
            affinity,
            pooled: !upgrade,
            limit: self.plan.response_timeout(),
        };
        let mut tried = Vec::new();
        let mut last = None;
        while tried.len() < MAX_ATTEMPTS {
            let Some(endpoint) = self.choose(&manner, &tried) else {
                break;
            };
            let attempt = self.attempt(endpoint, request, &manner).await;
            self.judge(endpoint, &attempt);
            match attempt {
                Attempt::Answered(response) => {
                    return Ok(Answer {
                        response,
                        endpoint: endpoint.index,
                    });
                }
                Attempt::Again {
                    request: returned,
                    fault,
                    refused,
                } => {
                    if refused {
                        tried.push(endpoint.index);
                    } else if !manner.pooled {
                        return Err(fault.at(&endpoint.text));
                    }
                    // Once is enough: the next connection is a new one.
                    manner.pooled = manner.pooled && refused;
                    request = returned;
                    last = Some(fault.at(&endpoint.text));
                }
                Attempt::Failed(fault) => return Err(fault.at(&endpoint.text)),
            }
        }
        Err(last.unwrap_or_else(|| {
            SendFault::plain(SendFaultKind::ConnectRefused, "no endpoint is left to try")
        }))
    }

    /// The endpoint to try next. Where connections are somebody's, that with
    /// one of theirs: what a service knows of them is bound to it.
    fn choose(&self, manner: &Manner<'_>, tried: &[usize]) -> Option<&Rc<Endpoint<B>>> {
        if manner.pooled && !manner.owner.is_everybody() {
            let mut endpoints = self.endpoints.iter();
            let theirs = endpoints.find(|one| {
                let keeps = one.condition.keeps_its_own(manner.now);
                keeps && !tried.contains(&one.index) && one.knows(&manner.owner)
            });
            if theirs.is_some() {
                return theirs;
            }
        }
        let whom = (manner.affinity, manner.now);
        self.balance.choose(&self.endpoints, tried, whom)
    }
}

#[cfg(test)]
mod tests;
