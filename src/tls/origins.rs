//! What each part of a generation was made of, so that the next one keeps the
//! parts that would be the same again.
//!
//! What is kept is the same [`Arc`]: connections, sessions and pools that rest on
//! it need no other sign that nothing has changed for them.

use std::ops::Deref;
use std::sync::Arc;

use super::bundle::Bundle;
use super::client::ClientTls;
use super::own_certificate::OwnChain;
use super::server::ServerTls;
use super::sessions::TicketKeys;
use crate::config::{
    self, ChainLimits, Files, Inputs, LayerMode, ListenerTls, OwnCertificate, Place, Protocol,
    TrustBundle, UpstreamTls, UpstreamTrust,
};

/// What everything that was loaded was made of.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub(super) bundles: Loaded<TrustBundle, Bundle>,
    pub(super) chains: Loaded<OwnCertificate, OwnChain>,
    pub(super) servers: Built<ServerRecipe, ServerTls>,
    pub(super) clients: Built<ClientRecipe, ClientTls>,
    /// The machine's own authorities, if any upstream is verified against them.
    pub(super) system: Option<Arc<Bundle>>,
}

/// Things that were made of files.
#[derive(Debug)]
pub(super) struct Loaded<C, T>(Vec<(C, Inputs, Arc<T>)>);

impl<C: PartialEq, T> Loaded<C, T> {
    /// What a config and the files it names would make again, if it is here.
    ///
    /// What can change without a file is not looked at: a certificate of our own
    /// that has expired since is kept. It is warned of, and refusing it would
    /// hold up every other change, a revocation perhaps.
    pub(super) fn find(&self, config: &C, files: &Files) -> Option<(Inputs, Arc<T>)> {
        let (_, inputs, made) = self
            .0
            .iter()
            .find(|(known, inputs, _)| known == config && inputs.hold(files))?;
        Some((inputs.clone(), Arc::clone(made)))
    }

    /// Any of those that `is_wanted` holds for, whatever its files hold now.
    pub(super) fn any(&self, is_wanted: impl Fn(&C) -> bool) -> Option<&T> {
        self.entry(is_wanted).map(|(_, _, made)| &**made)
    }

    /// The same, with what it was made of.
    pub(super) fn entry(&self, is_wanted: impl Fn(&C) -> bool) -> Option<&(C, Inputs, Arc<T>)> {
        self.0.iter().find(|(config, _, _)| is_wanted(config))
    }

    pub(super) fn push(&mut self, config: C, inputs: Inputs, made: Arc<T>) {
        self.0.push((config, inputs, made));
    }
}

impl<C, T> Default for Loaded<C, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Things that were made of settings and of other things.
#[derive(Debug)]
pub(super) struct Built<R, T>(Vec<(R, Arc<T>)>);

impl<R: PartialEq, T> Built<R, T> {
    /// What a recipe would make again, if it is here.
    pub(super) fn find(&self, recipe: &R) -> Option<Arc<T>> {
        let (_, made) = self.0.iter().find(|(known, _)| known == recipe)?;
        Some(Arc::clone(made))
    }

    pub(super) fn push(&mut self, recipe: R, made: Arc<T>) {
        self.0.push((recipe, made));
    }
}

impl<R, T> Default for Built<R, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What a listener's [`ServerTls`] is made of.
#[derive(Debug, PartialEq)]
pub(super) struct ServerRecipe {
    listener: String,
    tls: ListenerTls,
    protocols: Vec<Protocol>,
    limits: ChainLimits,
    /// In the order of the config.
    pub(super) chains: Vec<Same<OwnChain>>,
    /// For each of its policies, in the order of [`ListenerTls::policies`], what
    /// client certificates are verified against; `None`: they are not asked for.
    pub(super) trust: Vec<Option<Same<Bundle>>>,
    /// What its sessions are sealed with.
    pub(super) ticket_keys: Same<TicketKeys>,
}

impl ServerRecipe {
    pub(super) fn new(
        listener: &config::Listener,
        tls: &ListenerTls,
        chains: Vec<Arc<OwnChain>>,
        (trust, ticket_keys): (Vec<Option<Arc<Bundle>>>, &Arc<TicketKeys>),
    ) -> Self {
        // Indexes; the bundles themselves are compared.
        let mut tls = tls.clone();
        tls.trust = None;
        for named in &mut tls.names {
            named.policy.trust = None;
        }
        Self {
            listener: listener.name.clone(),
            tls,
            protocols: listener.protocols.clone(),
            limits: listener.limits.chain,
            chains: chains.into_iter().map(Same).collect(),
            trust: trust.into_iter().map(|bundle| bundle.map(Same)).collect(),
            ticket_keys: Same(Arc::clone(ticket_keys)),
        }
    }
}

/// What an upstream's [`ClientTls`] is made of.
#[derive(Debug, PartialEq)]
pub(super) struct ClientRecipe {
    upstream: String,
    tls: UpstreamTls,
    protocol: Protocol,
    layer: LayerMode,
    pub(super) certificate: Option<Same<OwnChain>>,
    pub(super) trust: Same<Bundle>,
}

impl ClientRecipe {
    pub(super) fn new(
        upstream: &config::Upstream,
        tls: &UpstreamTls,
        certificate: Option<Arc<OwnChain>>,
        trust: Arc<Bundle>,
    ) -> Self {
        Self {
            upstream: upstream.name.clone(),
            tls: UpstreamTls {
                // An index, or not even that; the bundle itself is compared.
                trust: UpstreamTrust::System(Place::default()),
                ..tls.clone()
            },
            protocol: upstream.protocol,
            layer: upstream.outbound.client_certificate,
            certificate: certificate.map(Same),
            trust: Same(trust),
        }
    }
}

/// Something that equals only itself.
#[derive(Debug)]
pub(super) struct Same<T>(pub(super) Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Same<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
