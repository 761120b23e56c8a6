//! Gives a loaded generation to every worker.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::load::Loaded;
use crate::config::Config;
use crate::listener::{
    Address, Life, ListenerBindError, Published, Publisher, SocketPlan, Sockets, Workers,
};
use crate::proxy::Site;
use crate::telemetry::metrics::{
    AnchorUse, CertificateExpiry, CertificateKind, RevocationListExpiry, UnenforcedLists,
};
use crate::telemetry::{AccessLog, LogControl, MetricNames, Metrics, events};
use crate::tls::{Material, Peers};

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
    log: LogControl,
    peers: Arc<Peers>,
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
    ) -> Result<(Self, Workers, Vec<(String, Address)>), StartError> {
        let config = loaded.config();
        let metrics = Metrics::new(names(config));
        metrics.include_access_log(access);
        let peers = Arc::clone(&loaded.material().peers);
        let counted = Arc::clone(&peers);
        metrics.include_peers(move || counted.len());
        let mut sockets = Sockets::default();
        let plan = sockets.plan(config)?;
        let site = site(1, loaded, Arc::clone(&metrics));
        let published = Published::new(site, plan.serving());
        let workers = config.server().workers.get();
        let (mut workers, mut publisher) = Workers::start(workers, &published, access, life)?;
        workers.all_ready().await?;
        let addresses = addresses(&plan, config)?;
        let new = sockets.adopt(plan, config);
        publisher.publish(&published, new).await?;
        describe(&metrics, loaded);
        metrics.generation_published(1, SystemTime::now());
        let publishing = Self {
            publisher,
            sockets,
            metrics,
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
        let metrics = self.metrics.with_names(names(config));
        let site = site(*generation, loaded, Arc::clone(&metrics));
        self.judge(loaded).await;
        let published = Published::new(site, plan.serving());
        let new = self.sockets.adopt(plan, config);
        if let Err(cause) = self.publisher.publish(&published, new).await {
            tracing::error!(event = events::ACCEPT_FAILED, %cause, "a new listener cannot accept");
        }
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

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

fn site(generation: u64, loaded: &Loaded, metrics: Arc<Metrics>) -> Arc<Site> {
    Arc::new(Site::new(
        generation,
        Arc::clone(loaded.config()),
        loaded.plans().to_vec(),
        (
            loaded.material().servers.clone(),
            loaded.material().bundles.clone(),
            loaded.accepted().to_vec(),
        ),
        metrics,
    ))
}

fn names(config: &Config) -> MetricNames {
    MetricNames {
        listeners: config.listeners().iter().map(|l| l.name.clone()).collect(),
        routes: config.routes().iter().map(|r| r.name.clone()).collect(),
        upstreams: config.upstreams().iter().map(|u| u.name.clone()).collect(),
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
