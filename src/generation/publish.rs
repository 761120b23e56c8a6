//! Gives a loaded generation to every worker.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::load::Loaded;
use crate::config::Config;
use crate::listener::{
    Address, Life, ListenerBindError, Published, Publisher, SocketPlan, Sockets, Workers,
};
use crate::process::{Host, Inherited};
use crate::telemetry::metrics::{
    AnchorUse, CertificateExpiry, CertificateKind, RevocationListExpiry, UnenforcedLists,
};
use crate::telemetry::{AccessLog, LogControl, Metrics, Refusals, events};
use crate::tls::{Material, Peers};
use crate::upstream::Lookout;

/// A generation on its way to the workers.
pub(super) struct Publication {
    pub(super) generation: u64,
    pub(super) loaded: Arc<Loaded>,
}

/// What it takes to put a generation in force.
pub(super) struct Publishing {
    publisher: Publisher,
    sockets: Sockets,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    log: LogControl,
    peers: Arc<Peers>,
    lookout: Lookout,
}

/// Why the first generation could not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error(transparent)]
    Bind(#[from] ListenerBindError),
    /// The system gives no thread, no runtime or no socket.
    #[error("the system refuses what is needed to run: {0}")]
    System(#[from] io::Error),
}

impl Publishing {
    /// Binds the listeners, starts the workers, and has them serve the first
    /// generation. Returns the listeners' names and addresses, in the order of
    /// the config.
    pub(super) async fn start(
        loaded: &Loaded,
        access: &AccessLog,
        log: LogControl,
        life: &Life,
        host: &mut Host,
    ) -> Result<(Self, Workers, Vec<(String, Address)>), StartError> {
        let config = loaded.config();
        let metrics = Metrics::new(loaded.metric_names());
        metrics.include_access_log(access);
        let confined = host.confined.parts().iter();
        metrics.confinement(
            confined
                .map(|part| (part.name, part.state.is_in_force()))
                .collect(),
        );
        let peers = Arc::clone(&loaded.material().peers);
        let counted = Arc::clone(&peers);
        metrics.include_peers(move || counted.len());
        let mut sockets = Sockets::new(std::mem::take(&mut host.inherited), host.files.clone());
        let plan = sockets.plan(config)?;
        let refusals = Refusals::new();
        let site = loaded.site(1, (Arc::clone(&metrics), Arc::clone(&refusals)));
        let published = Published::new(site, plan.serving());
        let workers = config.server().workers.get();
        let (mut workers, mut publisher) =
            Workers::start(workers, &published, access, life, &host.watchdog)?;
        workers.all_ready().await?;
        let addresses = addresses(&plan, config)?;
        let new = sockets.adopt(plan);
        publisher.publish(&published, new).await?;
        describe(&metrics, loaded);
        metrics.generation_published(1, SystemTime::now());
        let mut lookout = Lookout::default();
        lookout.follow(loaded.plans());
        let publishing = Self {
            lookout,
            publisher,
            sockets,
            metrics,
            refusals,
            log,
            peers,
        };
        Ok((publishing, workers, addresses))
    }

    /// Puts a generation in force. When this returns, every worker has taken it
    /// and has judged its open connections by it.
    ///
    /// # Errors
    ///
    /// A sentence: what it cannot have. Nothing has changed then.
    pub(super) async fn publish(&mut self, publication: &Publication) -> Result<(), String> {
        let Publication { generation, loaded } = publication;
        let config = loaded.config();
        let plan = self.sockets.plan(config).map_err(|cause| {
            format!("{cause}\nthe new address cannot be served; give another one, or free it")
        })?;
        let opened = addresses(&plan, config).map_err(|cause| cause.to_string())?;
        let metrics = self.metrics.with_names(loaded.metric_names());
        let records = (Arc::clone(&metrics), Arc::clone(&self.refusals));
        let site = loaded.site(*generation, records);
        self.judge(loaded).await;
        let published = Published::new(site, plan.serving());
        let new = self.sockets.adopt(plan);
        if let Err(cause) = self.publisher.publish(&published, new).await {
            tracing::error!(event = events::ACCEPT_FAILED, %cause, "a new listener cannot accept");
        }
        self.sockets.resize(config);
        self.lookout.follow(loaded.plans());
        let log = config.log();
        self.log.set(log.format.into(), log.level.into());
        self.metrics = metrics;
        describe(&self.metrics, loaded);
        self.metrics
            .generation_published(*generation, SystemTime::now());
        announce(&opened, config);
        Ok(())
    }

    /// Has everybody who is known judged, away from those who serve requests.
    async fn judge(&self, loaded: &Arc<Loaded>) {
        let (peers, loaded) = (Arc::clone(&self.peers), Arc::clone(loaded));
        let judging = tokio::task::spawn_blocking(move || {
            peers.judge(&loaded.material().bundles);
        });
        if let Err(cause) = judging.await {
            // Each worker judges by itself who was not judged here.
            tracing::debug!(%cause, "peers were not judged in advance");
        }
    }

    /// Where each listener of the generation in force is reached, in the order of
    /// its config.
    ///
    /// # Errors
    ///
    /// The system does not say where one is bound.
    pub(super) fn addresses(&self) -> io::Result<Vec<Address>> {
        self.sockets.addresses()
    }

    /// A handle on each open socket, for a successor.
    ///
    /// # Errors
    ///
    /// The system gives no further descriptor.
    pub(super) fn sockets_to_pass_on(&self) -> io::Result<Inherited> {
        self.sockets.to_pass_on()
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }
}

fn addresses(plan: &SocketPlan, config: &Config) -> io::Result<Vec<(String, Address)>> {
    let all = plan.new_addresses()?.into_iter();
    let named = all.filter_map(|(id, address)| Some((config.listener(id)?.name.clone(), address)));
    Ok(named.collect())
}

/// Says in the log where listeners are reached, one line each.
pub(crate) fn announce(addresses: &[(String, Address)], config: &Config) {
    for (name, address) in addresses {
        let listener = config.listeners().iter().find(|l| l.name == *name);
        let tls = listener.and_then(|listener| listener.tls.as_ref());
        tracing::info!(
            event = events::LISTENER_READY,
            listener = name,
            address = %address,
            tls = tls.is_some(),
            client_auth = tls.map(|tls| format!("{:?}", tls.client_auth).to_lowercase()),
            names = tls.map(|tls| tls.names.len()).filter(|names| *names > 0),
        );
    }
}

/// Says in the metrics what is in force.
fn describe(metrics: &Metrics, loaded: &Loaded) {
    let material = loaded.material();
    let certificates = material.expiries.iter().map(|expiry| CertificateExpiry {
        kind: match expiry.kind {
            "anchor" => CertificateKind::Anchor,
            _ => CertificateKind::Own,
        },
        name: expiry.name.clone(),
        index: expiry.index,
        not_after: expiry.not_after,
    });
    metrics.certificates(certificates.collect());
    metrics.revocation_lists(revocation_lists(material));
    metrics.anchors(anchors(material));
    let plans = loaded.plans().iter();
    let endpoints = plans.flat_map(|plan| plan.endpoint_health());
    metrics.endpoints(endpoints.collect());
    let bundles = material.bundles.iter();
    let unenforced = bundles.map(|bundle| UnenforcedLists {
        bundle: bundle.name().to_owned(),
        would_refuse: Arc::clone(bundle.would_refuse()),
    });
    metrics.unenforced_lists(unenforced.collect());
}

fn revocation_lists(material: &Material) -> Vec<RevocationListExpiry> {
    let mut all = Vec::new();
    for bundle in &material.bundles {
        for (index, list) in bundle.revocation_lists().enumerate() {
            all.push(RevocationListExpiry {
                bundle: bundle.name().to_owned(),
                index,
                next_update: list.next_update,
            });
        }
    }
    all
}

fn anchors(material: &Material) -> Vec<AnchorUse> {
    let mut all = Vec::new();
    for bundle in &material.bundles {
        for (index, anchor) in bundle.anchors().iter().enumerate() {
            all.push(AnchorUse {
                bundle: bundle.name().to_owned(),
                index,
                fingerprint: anchor.fingerprint.to_string(),
                uses: Arc::clone(&anchor.in_use) as _,
            });
        }
    }
    all
}
