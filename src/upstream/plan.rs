//! What is to be known of an upstream, the same for every worker of a generation.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request};

use super::assertion::{Asserter, Role};
use super::credential::Credential;
use super::host::Host;
use super::in_use::{InUse, Portion};
use super::pauses::LeftAlone;
use super::standing::Standing;
use crate::config::{
    self, Balance, Config, Ejection, Files, HealthCheck, Inputs, LayerMode, Place, PoolPer,
    Problem, Protocol, RunAs, UpstreamTrust,
};
use crate::identity::proxy_header::Version;
use crate::identity::{Encoding, Identity, PeerIdentity};
use crate::telemetry::metrics::{EndpointHealth, Health};
use crate::tls::{ClientTls, Material};

/// One upstream, ready for use. Workers share it; it is immutable but for what
/// the process finds out about its endpoints.
#[derive(Debug)]
pub struct Plan {
    config: config::Upstream,
    tls: Option<Arc<ClientTls>>,
    credential: Credential,
    asserter: Option<Asserter>,
    host: Host,
    /// What the credential and the keys of assertions were made of.
    inputs: Inputs,
    in_use: InUse,
    /// One for each endpoint.
    standings: Vec<Arc<Standing>>,
}

/// Puts the upstreams of a config together with what `tls` has loaded for them
/// and the credentials that are read through `files`.
///
/// A plan whose settings, TLS side and credential are those of one in `former`
/// is the same [`Arc`] again.
///
/// # Errors
///
/// A problem for each credential and each key that cannot be loaded.
pub fn load(
    config: &Config,
    files: &Files,
    material: Option<&Material>,
    former: &[Arc<Plan>],
) -> Result<Vec<Arc<Plan>>, Vec<Problem>> {
    let former: HashMap<&str, &Arc<Plan>> = former.iter().map(|p| (p.name(), p)).collect();
    let mut plans = Vec::new();
    let mut problems = Vec::new();
    for (index, upstream) in config.upstreams().iter().enumerate() {
        let tls = material.and_then(|m| m.clients.get(index).cloned().flatten());
        let former = former.get(upstream.name.as_str()).copied();
        if let Some(plan) = former.filter(|plan| plan.is_of(upstream, tls.as_ref(), files)) {
            plans.push(Arc::clone(plan));
            continue;
        }
        let (secrets, inputs) = files.inputs_of(|| Secrets::load(upstream, files));
        let own = tls.as_ref().and_then(|tls| tls.own_identity());
        let unfit = own.and_then(|own| unfit(upstream, own));
        match secrets {
            Ok(_) if unfit.is_some() => problems.extend(unfit),
            Ok(Secrets {
                credential,
                asserter,
            }) => plans.push(Arc::new(Plan {
                host: Host::new(upstream),
                config: upstream.clone(),
                tls,
                credential,
                asserter,
                inputs,
                in_use: in_use(upstream, former),
                standings: standings(upstream, former),
            })),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(plans)
    } else {
        Err(problems)
    }
}

/// What is in use of an upstream, what its former plan has in use included.
fn in_use(upstream: &config::Upstream, former: Option<&Arc<Plan>>) -> InUse {
    InUse::new(upstream, former.map(|plan| (&plan.config, &plan.in_use)))
}

/// What is known of each endpoint, or was known of it in `former`: another
/// credential makes an endpoint neither well nor unwell.
fn standings(upstream: &config::Upstream, former: Option<&Arc<Plan>>) -> Vec<Arc<Standing>> {
    let health = upstream.balancing.health.as_ref();
    let former = former.filter(|plan| plan.health() == health);
    let known = |endpoint: &config::Endpoint| {
        let all = former.map(|plan| plan.endpoints().iter().zip(&plan.standings));
        let mut all = all.into_iter().flatten();
        all.find(|(known, _)| *known == endpoint)
            .map(|(_, standing)| Arc::clone(standing))
    };
    let endpoints = upstream.endpoints.iter();
    endpoints
        .map(|endpoint| known(endpoint).unwrap_or_else(|| Arc::new(Standing::new(endpoint))))
        .collect()
}

/// A problem if `own` is whom the upstream is told of, and cannot be.
fn unfit(upstream: &config::Upstream, own: &Identity) -> Option<Problem> {
    let outbound = &upstream.outbound;
    if outbound.run_as != RunAs::System || outbound.assertion == LayerMode::Never {
        return None;
    }
    let why = outbound.inexpressible(own, Some(own))?;
    let name = &upstream.name;
    let what = format!(
        "upstreams.{name}.outbound.run_as: \"system\", and countersign's own certificate cannot be asserted: {why}"
    );
    let problem = Problem::at(upstream.place, what).causes("no request could ever be sent");
    Some(problem.remedy("write other encodings, or present another certificate"))
}

/// What makes an upstream believe countersign, read from files.
struct Secrets {
    credential: Credential,
    asserter: Option<Asserter>,
}

impl Secrets {
    fn load(upstream: &config::Upstream, files: &Files) -> Result<Self, Vec<Problem>> {
        let (name, outbound) = (&upstream.name, &upstream.outbound);
        let credential = Credential::load(name, outbound, files);
        let signed = outbound.signed.as_ref();
        let asserter = signed.map(|signed| Asserter::load(name, signed, files));
        match (credential, asserter.transpose()) {
            (Ok(credential), Ok(asserter)) => Ok(Self {
                credential,
                asserter,
            }),
            (credential, asserter) => {
                Err(credential.err().into_iter().chain(asserter.err()).collect())
            }
        }
    }
}

impl Plan {
    /// Whether these settings would make the same plan again.
    fn is_of(
        &self,
        config: &config::Upstream,
        tls: Option<&Arc<ClientTls>>,
        files: &Files,
    ) -> bool {
        let same_tls = match (&self.tls, tls) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        same_tls && without_index(&self.config) == without_index(config) && self.inputs.hold(files)
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The HTTP version spoken to it.
    pub fn protocol(&self) -> Protocol {
        self.config.protocol
    }

    /// Whether HTTP/1.1 is too new for it.
    pub fn is_http10(&self) -> bool {
        self.config.http10
    }

    /// Whether any of its endpoints speaks TLS; then `https` is the scheme that
    /// its HTTP/2 requests name.
    pub fn is_tls(&self) -> bool {
        self.config.endpoints.iter().any(|endpoint| endpoint.tls)
    }

    /// Whether countersign has a certificate to present when it asks.
    pub fn presents_certificate(&self) -> bool {
        let layer = self.config.outbound.client_certificate;
        layer != LayerMode::Never
            && self
                .config
                .tls
                .as_ref()
                .is_some_and(|tls| tls.certificate.is_some())
    }

    /// Whom it is told of in a request for `peer`, and in which role; `None`:
    /// the caller is anonymous, and nobody stands in for it.
    pub fn asserts<'p>(
        &'p self,
        peer: Option<&'p PeerIdentity>,
    ) -> Option<(&'p Identity, Role<'p>)> {
        match &self.config.outbound.run_as {
            RunAs::Client => {
                let speaker = peer?.speaker();
                Some((peer?.identity(), Role::OfAnother { speaker }))
            }
            RunAs::Specified(identity) => {
                Some((&identity.value, Role::OfAnother { speaker: None }))
            }
            RunAs::System => Some((self.own_identity()?, Role::Own)),
        }
    }

    /// Who countersign is to it: whom the certificate names that it is presented.
    pub fn own_identity(&self) -> Option<&Identity> {
        self.tls.as_ref().and_then(|tls| tls.own_identity())
    }

    /// The host that its requests name before an endpoint is chosen for them;
    /// `None`: the one that their caller asked for.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.before_choice()
    }

    /// Has a request name the host of the endpoint that it goes to, where each
    /// has its own.
    pub(super) fn name_endpoint<B>(&self, endpoint: usize, request: &mut Request<B>) {
        self.host.name_endpoint(endpoint, request);
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> &[config::Endpoint] {
        &self.config.endpoints
    }

    /// By what an endpoint is chosen.
    pub fn balance(&self) -> Balance {
        self.config.balancing.method
    }

    /// For how long an endpoint that came back has less than its share.
    pub(super) fn slow_start(&self) -> Option<Duration> {
        self.config.balancing.slow_start
    }

    /// When an endpoint that fails is left alone.
    pub(super) fn ejection(&self) -> &Ejection {
        &self.config.balancing.ejection
    }

    /// How its endpoints are probed; `None`: they are not.
    pub(super) fn health(&self) -> Option<&HealthCheck> {
        self.config.balancing.health.as_ref()
    }

    /// How often the names of its endpoints are resolved again.
    pub(super) fn resolve_interval(&self) -> Duration {
        self.config.balancing.resolve_interval
    }

    /// An endpoint, and what the whole process knows of it.
    pub(super) fn standing(&self, index: usize) -> Option<(&config::Endpoint, &Arc<Standing>)> {
        self.endpoints().get(index).zip(self.standings.get(index))
    }

    /// What the whole process knows of each endpoint.
    pub(super) fn standings(&self) -> &[Arc<Standing>] {
        &self.standings
    }

    /// How each of its endpoints does.
    pub fn endpoint_health(&self) -> impl Iterator<Item = EndpointHealth> {
        let all = self.endpoints().iter().zip(&self.standings);
        all.map(|(endpoint, standing)| EndpointHealth {
            upstream: self.name().to_owned(),
            endpoint: endpoint.text.clone(),
            is_probed: self.health().is_some(),
            health: Arc::clone(standing) as Arc<dyn Health>,
        })
    }

    /// What is to be said of each of its endpoints, in words: why probes find it
    /// unwell, if they do, and how workers leave it alone, if any does.
    pub fn endpoint_troubles(&self) -> impl Iterator<Item = (Option<String>, Option<LeftAlone>)> {
        let standings = self.standings.iter();
        standings.map(|standing| {
            let unwell = standing.cause().filter(|_| !standing.is_well());
            (unwell, standing.left_alone())
        })
    }

    /// The message layer.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whether no request goes up without a credential.
    pub fn requires_credential(&self) -> bool {
        self.config.outbound.credential == LayerMode::Required
    }

    /// The credential as its file is now; `None`: it cannot be used. Blocks on
    /// the disk.
    pub(super) fn reread_credential(&self) -> Option<Credential> {
        Credential::load(&self.config.name, &self.config.outbound, &Files::new()).ok()
    }

    /// How the sessions of the service are kept; `None`: they are not.
    pub fn sessions(&self) -> Option<&config::StatefulSessions> {
        self.config.outbound.sessions.as_ref()
    }

    /// Whether a request is sent again when the service does not accept a
    /// session or credential.
    pub fn retries_authentication(&self) -> bool {
        self.config.outbound.authentication_retry
    }

    /// The most bytes of a body that are kept for that.
    pub fn replay_limit(&self) -> usize {
        self.config.outbound.replay_limit
    }

    /// Who may share a connection to it.
    pub fn pool_per(&self) -> PoolPer {
        match self.config.proxy_protocol {
            // What a connection begins with says whose it is.
            Some(_) => PoolPer::Connection,
            None => self.config.outbound.pool_per,
        }
    }

    /// The header that its connections begin with; `None`: none.
    pub fn proxy_protocol(&self) -> Option<Version> {
        self.config.proxy_protocol
    }

    /// Whether that header may say whose certificate was verified.
    pub(super) fn tells_certificates(&self) -> bool {
        let outbound = &self.config.outbound;
        outbound.assertion != LayerMode::Never && outbound.run_as == RunAs::Client
    }

    /// The attribute layer's mode.
    pub fn assertion(&self) -> LayerMode {
        self.config.outbound.assertion
    }

    /// The attribute layer's encodings.
    pub fn encodings(&self) -> &[Encoding] {
        &self.config.outbound.encodings
    }

    /// What signs its assertions, if `jwt` is among the encodings.
    pub fn asserter(&self) -> Option<&Asserter> {
        self.asserter.as_ref()
    }

    /// To set up a connection, TLS included.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout
    }

    /// From the request's last piece to the response head.
    pub(super) fn response_timeout(&self) -> Duration {
        self.config.response_timeout
    }

    /// How long an unused connection is kept.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.config.idle_timeout
    }

    /// What an endpoint is given at one time.
    pub(super) fn capacity(&self) -> &config::Capacity {
        &self.config.delivery.capacity
    }

    /// What is held for the sake of the service.
    pub fn buffering(&self) -> &config::Buffering {
        &self.config.delivery.buffering
    }

    /// When a request is sent once more; `None`: not for what the service answers.
    pub(super) fn retries(&self) -> Option<&config::Retries> {
        self.config.delivery.retries.as_ref()
    }

    /// How much is in use, by all workers together.
    pub(super) fn in_use(&self) -> &InUse {
        &self.in_use
    }

    /// Memory for messages that are held, within `buffer_memory`; none yet.
    pub fn memory(&self) -> Portion {
        self.in_use.memory(self.buffering().memory)
    }

    /// The same for responses, which leave half of it to requests: those fail
    /// without, and responses do not.
    pub(super) fn memory_for_responses(&self) -> Portion {
        let all = self.buffering().memory;
        self.in_use.memory(half(all))
    }

    pub(super) fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.tls.as_ref()
    }
}

fn half(all: NonZeroUsize) -> NonZeroUsize {
    NonZeroUsize::new(all.get() / 2).unwrap_or(all)
}

/// The settings without the index of the bundle, which changes when another
/// bundle is added; the bundle itself is compared with the TLS side.
fn without_index(config: &config::Upstream) -> config::Upstream {
    let mut config = config.clone();
    if let Some(tls) = &mut config.tls {
        tls.trust = UpstreamTrust::System(Place::default());
    }
    config
}

#[cfg(test)]
mod tests;
