//! countersign terminates mutual TLS in front of HTTP services that know
//! nothing of certificates, decides who may call them, and tells them who does.
//!
//! The floors, from the ground up; each uses only those above it in this list:
//!
//! 1. [`telemetry`] names and records what happened, and serves it.
//! 2. [`identity`] reads names out of a verified leaf, matches and writes them.
//! 3. [`config`] turns a file into a [`config::Config`] whose values are legal.
//! 4. [`policy`] decides what a caller may do, and names the rule.
//! 5. [`tls`] loads, verifies, publishes and presents certificates.
//! 6. [`upstream`] gets a connection to an endpoint and authenticates on it.
//! 7. [`proxy`] carries one permitted request to one upstream and back.
//! 8. [`listener`] accepts within limits, completes handshakes in time, drains.
//!
//! This file is the only wiring: [`prepare`] makes a generation of what a
//! config names, [`serve`] runs it to the end of the process. `cli` has the
//! commands.

pub mod cli;
pub mod config;
pub mod identity;
pub mod listener;
pub mod policy;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod upstream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::{Bind, Config, Draft, ListenerId, LogFormat, LogLevel, Problem, Problems};
use crate::listener::{
    Address, BindError, Dealer, Lane, Life, LifeControl, Slots, Socket, Worker, WorkerParts,
};
use crate::proxy::Site;
use crate::telemetry::admin::AdminAddress;
use crate::telemetry::metrics::CertificateKind;
use crate::telemetry::{
    AccessLog, AdminSocket, AdminState, Format, Level, MetricNames, Metrics, Readiness, admin,
    events,
};
use crate::tls::{Expiry, Material};
use crate::upstream::Plan;

/// A config and everything that it names on disk, loaded and found to fit together.
#[derive(Debug)]
pub struct Prepared {
    config: Arc<Config>,
    material: Material,
    plans: Vec<Arc<Plan>>,
}

/// Loads everything that a config names on disk.
///
/// # Errors
///
/// Every problem of the config and of the files, together.
pub fn prepare(draft: Draft) -> Result<Prepared, Problems> {
    let loaded = tls::load(&draft.config);
    let (material, mut problems) = match loaded {
        Ok(material) => (Some(material), Vec::new()),
        Err(problems) => (None, problems),
    };
    let plans = upstream::load(&draft.config, material.as_ref());
    let plans = plans.unwrap_or_else(|more| {
        problems.extend(more);
        Vec::new()
    });
    if material.is_none() && problems.is_empty() {
        problems.push(Problem::new("nothing could be loaded"));
    }
    let config = Arc::new(draft.finish(problems)?);
    Ok(Prepared {
        config,
        material: material.unwrap_or_default(),
        plans,
    })
}

impl Prepared {
    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was loaded for TLS.
    pub fn material(&self) -> &Material {
        &self.material
    }
}

/// Why countersign could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin address cannot be served.
    #[error(transparent)]
    Admin(#[from] admin::AdminSocketError),
    /// A listener's address cannot be bound.
    #[error("listeners.{listener}: {cause}")]
    Bind {
        /// The listener.
        listener: String,
        /// Why.
        cause: BindError,
    },
    /// The system gives no thread, no runtime or no socket.
    #[error("the system refuses what is needed to run: {0}")]
    System(#[from] io::Error),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Everything that was under way was finished.
    Drained,
    /// So many connections were cut, at the deadline or on demand.
    Cut(usize),
}

/// Where everything is bound, once it is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The listeners' names and addresses, in the order of the config.
    pub listeners: Vec<(String, Address)>,
    /// The admin address.
    pub admin: Option<AdminAddress>,
}

/// Runs until it is told to stop, on the calling thread and one for each worker.
///
/// The first message on `stop` begins the drain; a second one, or its end, cuts
/// what is left. `ready` is called when every listener accepts.
///
/// Must run on a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
///
/// [`RunError`], before any connection was accepted.
pub async fn serve(
    prepared: Prepared,
    access: &AccessLog,
    mut stop: mpsc::Receiver<()>,
    ready: impl FnOnce(&Addresses),
) -> Result<Ended, RunError> {
    let Prepared {
        config,
        material,
        plans,
    } = prepared;
    let readiness = Readiness::starting();
    let metrics = metrics_of(&config, &material, access);
    let admin_socket = bind_admin(&config)?;
    let sockets = bind_listeners(&config)?;
    let addresses = Addresses {
        listeners: addresses_of(&config, &sockets)?,
        admin: admin_socket.as_ref().map(|socket| socket.address().clone()),
    };
    let site = Arc::new(Site::new(1, Arc::clone(&config), plans, material.servers));
    metrics.generation_published(site.generation());
    let (shutdown, admin_life) = watch::channel(false);
    let admin = admin_socket.map(|socket| {
        let state = AdminState {
            readiness: Arc::clone(&readiness),
            metrics: Arc::clone(&metrics),
        };
        tokio::task::spawn_local(admin::serve(socket, state, admin_life))
    });
    let (control, life) = Life::begin();
    let mut workers = Workers::start(&site, sockets, access, &metrics, &life)?;
    // The admin server has its turn, and says where it is before "started" is said.
    tokio::task::yield_now().await;
    readiness.ready();
    announce(&addresses, &config);
    ready(&addresses);

    stop.recv().await;
    readiness.draining();
    let ended = workers
        .drain(&control, &mut stop, config.server().drain_timeout)
        .await;
    shutdown.send_replace(true);
    if let Some(admin) = admin
        && let Err(cause) = admin.await
    {
        tracing::debug!(%cause, "the admin server did not end well");
    }
    match ended {
        Ended::Drained => tracing::info!(event = events::STOPPED, "everything was finished"),
        Ended::Cut(cut) => {
            tracing::warn!(
                event = events::STOPPED,
                cut,
                "connections were cut before they were finished"
            );
        }
    }
    Ok(ended)
}

/// The worker threads, as the main thread sees them.
struct Workers {
    /// How many still run.
    running: usize,
    /// How many connections each that ended has cut.
    done: mpsc::UnboundedReceiver<usize>,
}

impl Workers {
    fn start(
        site: &Arc<Site>,
        sockets: Vec<(ListenerId, Socket)>,
        access: &AccessLog,
        metrics: &Arc<Metrics>,
        life: &Life,
    ) -> Result<Self, RunError> {
        let count = site.config().server().workers.get();
        let (inboxes, lanes): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (sender, inbox) = mpsc::unbounded_channel();
                (inbox, Lane::new(sender))
            })
            .unzip();
        let mut accepts: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for (turn, (id, socket)) in sockets.into_iter().enumerate() {
            let most = site
                .config()
                .listener(id)
                .map_or(1, |l| l.limits.max_connections.get());
            let dealer = Dealer::new(lanes.clone(), turn);
            if let Some(worker) = accepts.get_mut(turn % count) {
                worker.push((id, socket, Slots::new(most), dealer));
            }
        }
        drop(lanes);
        let (finished, done) = mpsc::unbounded_channel();
        for (index, (inbox, accepts)) in inboxes.into_iter().zip(accepts).enumerate() {
            let parts = WorkerParts {
                site: Arc::clone(site),
                access: access.for_worker(),
                metrics: Arc::clone(metrics),
                inbox,
                accepts,
                life: life.clone(),
            };
            let finished = finished.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let cut = Worker::run(parts).unwrap_or_else(|cause| {
                        tracing::error!(event = events::STOPPED, %cause, "a worker has no runtime");
                        0
                    });
                    // The main thread waits for it; if it does not, the process ends.
                    finished.send(cut).ok();
                })?;
        }
        Ok(Self {
            running: count,
            done,
        })
    }

    /// Lets what is under way finish, until `timeout` or another word on `stop`.
    async fn drain(
        &mut self,
        control: &LifeControl,
        stop: &mut mpsc::Receiver<()>,
        timeout: Duration,
    ) -> Ended {
        tracing::info!(
            event = events::STOPPING,
            drain_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            "no more connections are accepted; what is under way is finished"
        );
        control.drain();
        let deadline = Instant::now() + timeout;
        let cut = tokio::select! {
            cut = self.all() => cut,
            () = tokio::time::sleep_until(deadline) => self.cut(control).await,
            _ = stop.recv() => self.cut(control).await,
        };
        if cut == 0 {
            Ended::Drained
        } else {
            Ended::Cut(cut)
        }
    }

    async fn cut(&mut self, control: &LifeControl) -> usize {
        control.end();
        self.all().await
    }

    /// Waits for every worker.
    async fn all(&mut self) -> usize {
        let mut cut = 0;
        while self.running > 0 {
            // A worker that broke has dropped its end without a word.
            let Some(more) = self.done.recv().await else {
                break;
            };
            self.running -= 1;
            cut += more;
        }
        cut
    }
}

fn bind_admin(config: &Config) -> Result<Option<AdminSocket>, RunError> {
    let Some(admin) = config.admin() else {
        return Ok(None);
    };
    let address = match &admin.bind.value {
        Bind::Tcp(address) => AdminAddress::Tcp(*address),
        Bind::Unix(path) => AdminAddress::Unix(path.clone()),
    };
    Ok(Some(AdminSocket::bind(&address)?))
}

fn bind_listeners(config: &Config) -> Result<Vec<(ListenerId, Socket)>, RunError> {
    config
        .listeners()
        .iter()
        .enumerate()
        .map(|(index, listener)| {
            let socket = Socket::bind(&listener.bind.value).map_err(|cause| RunError::Bind {
                listener: listener.name.clone(),
                cause,
            })?;
            Ok((ListenerId(index), socket))
        })
        .collect()
}

fn addresses_of(
    config: &Config,
    sockets: &[(ListenerId, Socket)],
) -> Result<Vec<(String, Address)>, RunError> {
    config
        .listeners()
        .iter()
        .zip(sockets)
        .map(|(listener, (_, socket))| Ok((listener.name.clone(), socket.address()?)))
        .collect()
}

fn metrics_of(config: &Config, material: &Material, access: &AccessLog) -> Arc<Metrics> {
    let metrics = Metrics::new(MetricNames {
        listeners: config.listeners().iter().map(|l| l.name.clone()).collect(),
        routes: config.routes().iter().map(|r| r.name.clone()).collect(),
        upstreams: config.upstreams().iter().map(|u| u.name.clone()).collect(),
    });
    metrics.include_access_log(access);
    for Expiry {
        kind,
        name,
        index,
        not_after,
        ..
    } in &material.expiries
    {
        let kind = match *kind {
            "anchor" => CertificateKind::Anchor,
            _ => CertificateKind::Own,
        };
        metrics.certificate_expires(kind, name, *index, *not_after);
    }
    for warning in material.expiries.iter().filter_map(Expiry::warning) {
        tracing::warn!(event = events::CERTIFICATE_EXPIRING, "{warning}");
    }
    metrics
}

/// Says in the log where everything is, one line each.
fn announce(addresses: &Addresses, config: &Config) {
    for ((name, address), listener) in addresses.listeners.iter().zip(config.listeners()) {
        let client_auth = listener
            .tls
            .as_ref()
            .map(|tls| format!("{:?}", tls.client_auth).to_lowercase());
        tracing::info!(
            event = events::LISTENER_READY,
            listener = name,
            address = %address,
            tls = listener.tls.is_some(),
            client_auth,
        );
    }
    tracing::info!(
        event = events::STARTED,
        version = env!("CARGO_PKG_VERSION"),
        workers = config.server().workers.get(),
        config = %config.path().display(),
    );
}

/// How the log looks, in telemetry's own words.
pub fn log_format(format: LogFormat) -> Format {
    match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

/// How much is logged, in telemetry's own words.
pub fn log_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    }
}
