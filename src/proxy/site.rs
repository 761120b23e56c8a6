//! What a generation says about requests, the same for every worker.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;

use super::accepted::Accepted;
use super::quota::{Quota, quotas};
use super::rewrite::Rewriting;
use super::route::Routes;
use super::tally::Tally;
use crate::config::{Config, FieldRules, ListenerId, TrustBundle};
use crate::identity::IdentityFields;
use crate::telemetry::{Metrics, Refusals};
use crate::tls::{Bundle, ServerTls};
use crate::upstream::Plan;
use crate::upstream::assertion::{self, Asserter};

/// One generation's routes, policy and upstreams. Immutable; workers share it.
#[derive(Debug)]
pub struct Site {
    generation: u64,
    config: Arc<Config>,
    /// For each route: what its rules decided.
    tallies: Vec<Tally>,
    /// For each route with a rate: what its callers have used up.
    quotas: Vec<Option<Arc<Quota>>>,
    routes: Routes,
    /// For each route: what it changes in requests and responses.
    rewritings: Vec<Option<Rewriting>>,
    /// The identity fields, and those that no caller may add to them in trailers.
    trailer_fields: Arc<IdentityFields>,
    /// Apart, since an upload needs nothing else of it and may take long.
    identity_fields: Arc<IdentityFields>,
    plans: Vec<Arc<Plan>>,
    servers: Vec<Option<Arc<ServerTls>>>,
    bundles: Vec<Arc<Bundle>>,
    accepted: Vec<Option<Arc<Accepted>>>,
    /// The public keys of the assertions of all upstreams, as JSON.
    key_set: Bytes,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
}

/// Where it is recorded what happens: the counters, and the refusals.
pub type Records = (Arc<Metrics>, Arc<Refusals>);

/// The TLS sides of listeners, the bundles, and what listeners accept of peers
/// that speak for others.
pub type Sides = (
    Vec<Option<Arc<ServerTls>>>,
    Vec<Arc<Bundle>>,
    Vec<Option<Arc<Accepted>>>,
);

impl Site {
    /// Puts a generation together. `plans`, `servers` and `bundles` stand in the
    /// order of the config's upstreams, listeners and bundles, `accepted` in that
    /// of the listeners, and `metrics` count by the same places.
    pub fn new(
        generation: u64,
        config: Arc<Config>,
        plans: Vec<Arc<Plan>>,
        (servers, bundles, accepted): Sides,
        (metrics, refusals): Records,
    ) -> Self {
        let configured = plans
            .iter()
            .flat_map(|plan| plan.encodings())
            .flat_map(|encoding| encoding.field_names());
        let asserters = || plans.iter().filter_map(|plan| plan.asserter());
        // Callers of other upstreams may send credentials; for those with an
        // assertion in this field there are none, and it is emptied (see `config`).
        let signed = asserters()
            .map(Asserter::field)
            .filter(|field| **field != AUTHORIZATION);
        let read = accepted.iter().flatten().flat_map(|one| one.fields());
        let read = read.filter(|field| **field != AUTHORIZATION);
        let rules = || {
            config
                .routes()
                .iter()
                .map(|route| &route.rewriting.request_headers)
        };
        // What one route says of the caller, no caller says on another.
        let names = configured.chain(signed).chain(read);
        let names = names.chain(rules().flat_map(FieldRules::naming_callers));
        let names: Vec<_> = names.collect();
        let replaced = rules().flat_map(FieldRules::replaced);
        let trailer_fields = IdentityFields::new(names.iter().copied().chain(replaced)).into();
        let identity_fields = Arc::new(IdentityFields::new(names));
        let key_set = assertion::key_set(asserters().map(Asserter::keys)).into();
        let routes = Routes::new(&config);
        let tallies = config.routes().iter().enumerate();
        let tallies = tallies.map(|(index, route)| Tally::new(route, metrics.route(index)));
        let tallies = tallies.collect();
        let rewritings = config.routes().iter().enumerate();
        let rewritings = rewritings.map(|(index, route)| {
            let upstream = config.upstream(route.upstream)?;
            Rewriting::new(index, route, upstream)
        });
        let rewritings = rewritings.collect();
        Self {
            generation,
            quotas: quotas(&config, &[]),
            config,
            tallies,
            routes,
            rewritings,
            trailer_fields,
            identity_fields,
            plans,
            servers,
            bundles,
            accepted,
            key_set,
            metrics,
            refusals,
        }
    }

    /// Goes on with what callers have used up, in the order of the routes.
    #[must_use]
    pub fn going_on_with(self, quotas: Vec<Option<Arc<Quota>>>) -> Self {
        Self { quotas, ..self }
    }

    /// Its number, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Counts what the rules of a route decided.
    pub(super) fn tally(&self, route: usize) -> Option<&Tally> {
        self.tallies.get(route)
    }

    /// What a route changes in requests and responses; `None`: nothing.
    pub(super) fn rewriting(&self, route: Option<usize>) -> Option<&Rewriting> {
        self.rewritings.get(route?)?.as_ref()
    }

    /// What the callers of a route have used up; `None`: it has no rate.
    pub(super) fn quota(&self, route: usize) -> Option<&Quota> {
        self.quotas.get(route)?.as_deref()
    }

    /// The TLS side of a listener; `None` for a plaintext one.
    pub fn server(&self, listener: ListenerId) -> Option<&Arc<ServerTls>> {
        self.servers.get(listener.0).and_then(Option::as_ref)
    }

    /// What is accepted of peers that speak for others; `None`: nothing.
    pub(super) fn accepted(&self, listener: ListenerId) -> Option<&Arc<Accepted>> {
        self.accepted.get(listener.0).and_then(Option::as_ref)
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

    /// What is known of refusals, in every generation.
    pub fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// The upstreams.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }

    /// Whether the public keys of assertions are served there.
    pub(super) fn serves_keys_at(&self, listener: ListenerId, path: &str) -> bool {
        let listener = self.config.listener(listener);
        listener.is_some_and(|listener| listener.jwks_path.as_deref() == Some(path))
    }

    /// The public keys of assertions, a JWK Set (RFC 7517 §5).
    pub(super) fn key_set(&self) -> &Bytes {
        &self.key_set
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The fields that do not go up in trailers.
    pub(super) fn trailer_fields(&self) -> &Arc<IdentityFields> {
        &self.trailer_fields
    }

    pub(super) fn identity_fields(&self) -> &Arc<IdentityFields> {
        &self.identity_fields
    }
}
