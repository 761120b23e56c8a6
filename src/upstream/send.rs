//! One request to one upstream: to which endpoint, and how often.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use super::UploadBody;
use super::answer::Answer;
use super::assertion::Tokens;
use super::attempt::{Attempt, Manner, Why};
use super::balance::Balance;
use super::condition::Condition;
use super::credential::Credential;
use super::endpoint::Endpoint;
use super::fault::{SendFault, SendFaultKind};
use super::plan::Plan;
use super::renewal::Renewal;
use super::request::UpstreamRequest;
use super::retry::Budget;
use super::sessions::Sessions;
use crate::config::Protocol;
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
    budget: Budget,
    metrics: Arc<UpstreamMetrics>,
}

/// How it has gone with a request so far.
#[derive(Default)]
struct Course {
    /// The endpoints that took no connection.
    tried: Vec<usize>,
    /// Those that others are preferred to: they are given no more at one time,
    /// or have just failed.
    passed: Vec<usize>,
    /// How many HTTP/2 connections did not take it.
    unprocessed: usize,
    last: Option<SendFault>,
}

impl Course {
    /// Whether the request is sent again; then `manner` says how.
    fn goes_on(&mut self, why: Why, endpoint: usize, manner: &mut Manner) -> bool {
        match why {
            Why::Refused => self.tried.push(endpoint),
            // Once is enough: the next connection is a new one.
            Why::Ended if !manner.pooled => return false,
            Why::Ended => manner.pooled = false,
            Why::Unprocessed(connection) => {
                self.unprocessed += 1;
                manner.spoiled = Some(connection);
            }
        }
        self.unprocessed < MAX_ATTEMPTS
    }
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
                let gate = plan.in_use().gate(index).cloned();
                let condition = Condition::new(&plan, standing);
                let place = (index, endpoint.text.as_str());
                let pool = (plan.idle_timeout(), metrics.pool());
                Endpoint::new(place, pool, gate, condition)
            })
            .collect();
        let balance = Balance::new(&plan);
        let sessions = plan.sessions().cloned();
        let sessions = sessions.map(|settings| Sessions::new(settings, &metrics));
        Self {
            plan,
            endpoints,
            balance,
            tokens: Tokens::counted_by(&metrics),
            sessions,
            renewal: Renewal::default(),
            budget: Budget::default(),
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

    /// What is left for requests that are sent again.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What it counts in.
    pub fn metrics(&self) -> &Arc<UpstreamMetrics> {
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
        let mut manner = self.manner(&request, now);
        let mut request = request.into_request();
        let mut course = Course::default();
        let mut retrial = self.retrial(&manner);
        while let Some(endpoint) = self.next(&mut manner, &mut course) {
            if let Some(retrial) = &mut retrial {
                retrial.keep(&request);
            }
            let span = self.begin_span(endpoint, &mut request, &manner);
            let attempt = self.attempt(endpoint, request, &manner).await;
            if let Some(span) = span {
                attempt.end_span(*span);
            }
            self.judge(endpoint, &attempt);
            let attempt = match &mut retrial {
                Some(retrial) => Box::pin(retrial.judge(self, endpoint.index, attempt)).await,
                None => attempt,
            };
            match attempt {
                Attempt::Answered(response) => {
                    return Ok(Answer {
                        response,
                        endpoint: endpoint.index,
                    });
                }
                Attempt::Elsewhere(returned) => {
                    course.passed.push(endpoint.index);
                    request = returned;
                }
                Attempt::Again {
                    request: returned,
                    fault,
                    why,
                } => {
                    let fault = fault.at(&endpoint.text);
                    if !course.goes_on(why, endpoint.index, &mut manner) {
                        return Err(fault);
                    }
                    request = returned;
                    course.last = Some(fault);
                }
                Attempt::Failed(fault) => return Err(fault.at(&endpoint.text)),
            }
        }
        Err(course.last.unwrap_or_else(|| {
            SendFault::plain(SendFaultKind::ConnectRefused, "no endpoint is left to try")
        }))
    }

    /// How a request that came at `now` is sent.
    fn manner(&self, request: &UpstreamRequest<B>, now: Instant) -> Manner {
        let upgrade = request.is_upgrade();
        // Over HTTP/2 it takes a stream, and no connection of its own.
        let alone = upgrade && self.plan.protocol() == Protocol::Http1;
        let copyable = !alone && request.is_copyable();
        let limit = request.response_timeout();
        Manner {
            copyable,
            idempotent: request.is_idempotent(),
            upgrade,
            now,
            owner: request.owner(),
            announcement: request.announcement(),
            affinity: request.affinity(),
            pooled: !alone,
            spoiled: None,
            waits: self.endpoints.len() == 1,
            limit: limit.unwrap_or_else(|| self.plan.response_timeout()),
            attempts: request.attempts(),
        }
    }

    /// The endpoint of the next attempt; `None`: there is none left.
    ///
    /// Where all that are left are given no more at one time, or have just
    /// failed, the best of them is asked all the same, and waited for.
    fn next(&self, manner: &mut Manner, course: &mut Course) -> Option<&Rc<Endpoint<B>>> {
        if course.tried.len() >= MAX_ATTEMPTS {
            return None;
        }
        if course.passed.is_empty() {
            return self.choose(manner, &course.tried);
        }
        let mut out = course.tried.clone();
        out.extend(&course.passed);
        self.choose(manner, &out).or_else(|| {
            course.passed.clear();
            manner.waits = true;
            self.choose(manner, &course.tried)
        })
    }

    /// The endpoint to try next. Where connections are somebody's, that with
    /// one of theirs: what a service knows of them is bound to it.
    fn choose(&self, manner: &Manner, tried: &[usize]) -> Option<&Rc<Endpoint<B>>> {
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
