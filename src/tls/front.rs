//! What a TLS side towards clients is made for: a listener, or the admin address.

use std::sync::Arc;

use super::bundle::Bundle;
use super::origins::ServerRecipe;
use super::peers::Peers;
use super::server::{Demand, ServerTls};
use super::sessions::Sessions;
use super::trust::Trust;
use crate::config::{
    Admin, ChainLimits, ClientAuth, ClientPolicy, Listener, ListenerTls, Protocol,
};

/// A place where clients come, as far as their handshakes are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a> {
    /// The table in the config.
    table: &'static str,
    /// Its name; there, and where its certificates are told of.
    pub(super) name: &'a str,
    pub(super) tls: &'a ListenerTls,
    pub(super) protocols: &'a [Protocol],
    pub(super) limits: ChainLimits,
}

impl<'a> Front<'a> {
    /// That of a listener; `None`: it is plaintext.
    pub(super) fn of_listener(listener: &'a Listener) -> Option<Self> {
        Some(Self {
            table: "listeners.",
            name: &listener.name,
            tls: listener.tls.as_ref()?,
            protocols: &listener.protocols,
            limits: listener.limits.chain,
        })
    }

    /// That of the admin address; `None`: it is plaintext.
    pub(super) fn of_admin(admin: &'a Admin) -> Option<Self> {
        let tls = admin.tls.as_ref()?;
        Some(Self {
            table: "",
            name: "admin",
            tls: &tls.server,
            protocols: &[Protocol::Http1],
            limits: tls.limits,
        })
    }

    /// Its table in the config.
    pub(super) fn whose(&self) -> String {
        format!("{}{}.tls", self.table, self.name)
    }

    /// Puts it together.
    pub(super) fn build(
        &self,
        recipe: &ServerRecipe,
        peers: &Arc<Peers>,
    ) -> Result<ServerTls, rustls::Error> {
        let demand = |index: usize, policy: ClientPolicy| {
            let client_auth = policy.client_auth;
            let bundle = recipe.trust.get(index).and_then(Option::as_ref);
            let bundle = bundle.map(|bundle| Arc::clone(&bundle.0));
            if bundle.is_some() != (client_auth != ClientAuth::None) {
                let cause = "there is no trust bundle for what clients would be asked for";
                return Err(rustls::Error::General(cause.to_owned()));
            }
            let trust = bundle.map(|bundle| {
                Arc::new(Trust {
                    bundle,
                    required: client_auth == ClientAuth::Require,
                    limits: self.limits,
                    peers: Arc::clone(peers),
                })
            });
            let keys = &recipe.ticket_keys.0;
            let checked = (client_auth, trust.clone());
            let sessions = || Sessions::new(keys, self.name, self.tls, checked);
            Ok(Demand {
                sessions: self.tls.session_resumption.then(sessions),
                trust,
            })
        };
        let chains: Vec<_> = recipe.chains.iter().map(|chain| &**chain).collect();
        ServerTls::new(self.tls, self.protocols, &chains, demand)
    }
}

/// What a policy checks certificates against; the inner `None`: it asks for
/// none. `None`: it would have to, and there is nothing.
pub(super) fn bundle_of(
    policy: ClientPolicy,
    bundles: &[Option<Arc<Bundle>>],
) -> Option<Option<Arc<Bundle>>> {
    match (policy.client_auth, policy.trust) {
        (ClientAuth::None, _) => Some(None),
        (_, Some(bundle)) => Some(Some(Arc::clone(bundles.get(bundle.0)?.as_ref()?))),
        (_, None) => None,
    }
}
