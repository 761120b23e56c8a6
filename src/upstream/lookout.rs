//! Looks after the endpoints of the upstreams in force, once for the whole process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::health::{self, jittered};
use super::plan::Plan;
use super::resolve::{Addresses, Learnt};
use crate::telemetry::events;

/// Looks after the endpoints of the upstreams in force: probes them, and resolves
/// their names again. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Lookout {
    watched: Vec<Watched>,
}

/// One upstream that is looked after, until this is dropped.
#[derive(Debug)]
struct Watched {
    plan: Arc<Plan>,
    tasks: Vec<AbortHandle>,
}

impl Lookout {
    /// From now on these plans are in force. What is looked after already goes on
    /// as it is; what is in force no more is left.
    ///
    /// Must run where local tasks can be started.
    pub fn follow(&mut self, plans: &[Arc<Plan>]) {
        self.watched
            .retain(|watched| plans.iter().any(|plan| Arc::ptr_eq(plan, &watched.plan)));
        for plan in plans {
            let is_known = |watched: &Watched| Arc::ptr_eq(plan, &watched.plan);
            if !self.watched.iter().any(is_known) {
                self.watched.push(Watched::begin(plan));
            }
        }
    }
}

impl Watched {
    fn begin(plan: &Arc<Plan>) -> Self {
        let mut tasks = Vec::new();
        for (index, standing) in plan.standings().iter().enumerate() {
            if plan.health().is_some() {
                let plan = Arc::clone(plan);
                let watch = async move { health::watch(&plan, index).await };
                tasks.push(tokio::task::spawn_local(watch).abort_handle());
            }
            if standing.addresses().is_some() {
                let resolving = keep_resolved(Arc::clone(plan), index);
                tasks.push(tokio::task::spawn_local(resolving).abort_handle());
            }
        }
        Self {
            plan: Arc::clone(plan),
            tasks,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Resolves the name of an endpoint again and again, and says what changes.
async fn keep_resolved(plan: Arc<Plan>, index: usize) {
    let Some((endpoint, standing)) = plan.standing(index) else {
        return;
    };
    let Some(addresses) = standing.addresses() else {
        return;
    };
    let (upstream, endpoint) = (plan.name(), endpoint.text.as_str());
    let say = |turn: Turn<'_>| match turn {
        Turn::Failed(cause) => tracing::warn!(
            event = events::ENDPOINT_UNRESOLVED,
            upstream,
            endpoint,
            %cause,
            remedy = "correct the host in endpoints of the upstream, or the resolver of this machine",
            "the endpoint's name cannot be resolved; what was known of it holds for a while"
        ),
        Turn::Found => tracing::info!(
            event = events::ENDPOINT_RESOLVED,
            upstream,
            endpoint,
            addresses = addresses.in_words(),
            "the endpoint has other addresses, or is found again"
        ),
    };
    let look_up = async || addresses.look_up().await;
    follow(addresses, plan.resolve_interval(), look_up, say).await;
}

/// What is worth a line.
#[derive(Debug)]
enum Turn<'a> {
    Failed(&'a io::Error),
    Found,
}

async fn follow(
    addresses: &Addresses,
    interval: Duration,
    look_up: impl AsyncFn() -> io::Result<Vec<SocketAddr>>,
    say: impl Fn(Turn<'_>),
) {
    let mut failing = false;
    loop {
        match look_up().await {
            Ok(found) => {
                let learnt = addresses.learn(found, Instant::now());
                if learnt == Learnt::Changed || failing {
                    say(Turn::Found);
                }
                failing = false;
            }
            Err(cause) => {
                if !failing {
                    say(Turn::Failed(&cause));
                }
                failing = true;
            }
        }
        tokio::time::sleep(jittered(interval)).await;
    }
}

#[cfg(test)]
mod tests;
