//! What is to be known of an upstream, the same for every worker of a generation.

use std::sync::Arc;
use std::time::Duration;

use super::credential::Credential;
use crate::config::{self, Config, Files, LayerMode, Problem, Protocol};
use crate::identity::Encoding;
use crate::tls::{ClientTls, Material};

/// One upstream, ready for use. Immutable; workers share it.
#[derive(Debug)]
pub struct Plan {
    config: config::Upstream,
    tls: Option<Arc<ClientTls>>,
    credential: Credential,
}

/// Puts the upstreams of a config together with what `tls` has loaded for them.
///
/// # Errors
///
/// A problem for each credential that cannot be loaded.
pub fn load(
    config: &Config,
    files: &Files,
    material: Option<&Material>,
) -> Result<Vec<Arc<Plan>>, Vec<Problem>> {
    let mut plans = Vec::new();
    let mut problems = Vec::new();
    for (index, upstream) in config.upstreams().iter().enumerate() {
        match Credential::load(&upstream.name, &upstream.outbound, files) {
            Ok(credential) => plans.push(Arc::new(Plan {
                config: upstream.clone(),
                tls: material.and_then(|m| m.clients.get(index).cloned().flatten()),
                credential,
            })),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(plans)
    } else {
        Err(problems)
    }
}

impl Plan {
    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The HTTP version spoken to it.
    pub fn protocol(&self) -> Protocol {
        self.config.protocol
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

    /// Its endpoints.
    pub fn endpoints(&self) -> &[config::Endpoint] {
        &self.config.endpoints
    }

    /// The message layer.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The attribute layer's mode.
    pub fn assertion(&self) -> LayerMode {
        self.config.outbound.assertion
    }

    /// The attribute layer's encodings.
    pub fn encodings(&self) -> &[Encoding] {
        &self.config.outbound.encodings
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

    pub(super) fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.tls.as_ref()
    }
}
