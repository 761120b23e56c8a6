//! What a generation says about requests, the same for every worker.

use std::sync::Arc;

use super::route::Routes;
use crate::config::{Config, ListenerId, TrustBundle};
use crate::identity::IdentityFields;
use crate::telemetry::Metrics;
use crate::tls::{Bundle, ServerTls};
use crate::upstream::Plan;

/// One generation's routes, policy and upstreams. Immutable; workers share it.
#[derive(Debug)]
pub struct Site {
    generation: u64,
    config: Arc<Config>,
    routes: Routes,
    /// Apart, since an upload needs nothing else of it and may take long.
    identity_fields: Arc<IdentityFields>,
    plans: Vec<Arc<Plan>>,
    servers: Vec<Option<Arc<ServerTls>>>,
    bundles: Vec<Arc<Bundle>>,
    metrics: Arc<Metrics>,
}

impl Site {
    /// Puts a generation together. `plans`, `servers` and `bundles` stand in the
    /// order of the config's upstreams, listeners and bundles, and `metrics` count
    /// by the same places.
    pub fn new(
        generation: u64,
        config: Arc<Config>,
        plans: Vec<Arc<Plan>>,
        (servers, bundles): (Vec<Option<Arc<ServerTls>>>, Vec<Arc<Bundle>>),
        metrics: Arc<Metrics>,
    ) -> Self {
        let configured = plans
            .iter()
            .flat_map(|plan| plan.encodings())
            .flat_map(|encoding| encoding.field_names());
        let identity_fields = Arc::new(IdentityFields::new(configured));
        let routes = Routes::new(&config);
        Self {
            generation,
            config,
            routes,
            identity_fields,
            plans,
            servers,
            bundles,
            metrics,
        }
    }

    /// Its number, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The TLS side of a listener; `None` for a plaintext one.
    pub fn server(&self, listener: ListenerId) -> Option<&Arc<ServerTls>> {
        self.servers.get(listener.0).and_then(Option::as_ref)
    }

    /// The trust bundle of this name, and what the config says of it.
    pub fn bundle(&self, name: &str) -> Option<(&TrustBundle, &Arc<Bundle>)> {
        let mut all = self.config.bundles().iter().zip(&self.bundles);
        all.find(|(config, _)| config.name == name)
    }

    /// The counters, by the places of this generation.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The upstreams.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(super) fn identity_fields(&self) -> &Arc<IdentityFields> {
        &self.identity_fields
    }
}
