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
//! 9. [`generation`] loads generations aside, publishes them, tells what came of it.
//!
//! This file is the only wiring: [`prepare`] makes a generation of what a
//! config names, [`serve`] runs it to the end of the process. `cli` has the
//! commands.

pub mod cli;
pub mod config;
pub mod generation;
pub mod identity;
pub mod listener;
pub mod policy;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod upstream;

use std::io;
use std::panic::AssertUnwindSafe;
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
    /// A worker has failed while it served; the others have finished their work.
    #[error("a worker has failed: {0}")]
    Worker(#[source] io::Error),
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
/// [`RunError`]: before `ready` was called, except for [`RunError::Worker`],
/// which is returned after a drain.
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
    announce_generation(&site, &metrics);
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
    workers.all_ready().await?;
    // The admin server has its turn, and says where it is before "started" is said.
    tokio::task::yield_now().await;
    readiness.ready();
    announce(&addresses, &config);
    ready(&addresses);

    tokio::select! {
        _ = stop.recv() => {}
        () = workers.failure() => {}
    }
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
    if let Some(cause) = workers.failed {
        return Err(RunError::Worker(cause));
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
    /// How many are not ready yet.
    starting: usize,
    /// How many still run.
    running: usize,
    /// How many connections were cut by those that have ended.
    cut: usize,
    /// Why the first of those that failed did.
    failed: Option<io::Error>,
    news: mpsc::UnboundedReceiver<News>,
}

/// What a worker thread tells.
#[derive(Debug)]
enum News {
    /// It accepts for its listeners.
    Ready,
    /// It has ended: how many connections it has cut, or why it failed.
    Ended(io::Result<usize>),
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
        let (teller, news) = mpsc::unbounded_channel();
        for (index, (inbox, accepts)) in inboxes.into_iter().zip(accepts).enumerate() {
            let parts = WorkerParts {
                site: Arc::clone(site),
                access: access.for_worker(),
                metrics: Arc::clone(metrics),
                inbox,
                accepts,
                life: life.clone(),
            };
            let teller = teller.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run_worker(parts, &teller))?;
        }
        Ok(Self {
            starting: count,
            running: count,
            cut: 0,
            failed: None,
            news,
        })
    }

    /// Waits until every worker accepts.
    async fn all_ready(&mut self) -> Result<(), RunError> {
        while self.starting > 0 {
            self.hear().await;
            if let Some(cause) = self.failed.take() {
                return Err(RunError::System(cause));
            }
        }
        Ok(())
    }

    /// Waits until a worker has failed.
    async fn failure(&mut self) {
        while self.failed.is_none() {
            self.hear().await;
        }
    }

    /// Waits for the next news.
    async fn hear(&mut self) {
        let lost = || News::Ended(Err(io::Error::other("no worker is left")));
        match self.news.recv().await.unwrap_or_else(lost) {
            News::Ready => self.starting = self.starting.saturating_sub(1),
            News::Ended(outcome) => {
                self.running = self.running.saturating_sub(1);
                match outcome {
                    Ok(cut) => self.cut = self.cut.saturating_add(cut),
                    Err(cause) => {
                        tracing::error!(event = events::STOPPED, %cause, "a worker has failed");
                        self.failed.get_or_insert(cause);
                    }
                }
            }
        }
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
        tokio::select! {
            () = self.all() => {}
            () = tokio::time::sleep_until(deadline) => control.end(),
            _ = stop.recv() => control.end(),
        }
        self.all().await;
        match self.cut {
            0 => Ended::Drained,
            cut => Ended::Cut(cut),
        }
    }

    /// Waits until every worker has ended.
    async fn all(&mut self) {
        while self.running > 0 {
            self.hear().await;
        }
    }
}

/// The life of a worker thread. Its end is told however it comes.
fn run_worker(parts: WorkerParts, teller: &mpsc::UnboundedSender<News>) {
    // The main thread listens; if it does not, the process ends.
    let tell = |news| drop(teller.send(news));
    let run = AssertUnwindSafe(|| Worker::run(parts, || tell(News::Ready)));
    let outcome = std::panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
    tell(News::Ended(outcome));
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

/// Says in the log and in the metrics what is in force.
fn announce_generation(site: &Site, metrics: &Metrics) {
    metrics.generation_published(site.generation());
    tracing::info!(
        event = events::GENERATION,
        generation = site.generation(),
        "everything that the config names was loaded and is in force"
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of which nothing is known but what a test tells.
    fn workers(count: usize) -> (mpsc::UnboundedSender<News>, Workers) {
        let (teller, news) = mpsc::unbounded_channel();
        let workers = Workers {
            starting: count,
            running: count,
            cut: 0,
            failed: None,
            news,
        };
        (teller, workers)
    }

    fn broken() -> News {
        News::Ended(Err(io::Error::other("broken")))
    }

    #[tokio::test]
    async fn worker_that_fails_before_all_are_ready_refuses_the_start() {
        let (teller, mut workers) = workers(2);
        teller.send(News::Ready).unwrap();
        teller.send(broken()).unwrap();
        let outcome = workers.all_ready().await;
        assert!(matches!(outcome, Err(RunError::System(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn worker_that_fails_while_it_serves_is_noticed_and_the_others_are_waited_for() {
        let (teller, mut workers) = workers(2);
        teller.send(News::Ready).unwrap();
        teller.send(News::Ready).unwrap();
        workers.all_ready().await.unwrap();
        teller.send(broken()).unwrap();
        workers.failure().await;
        teller.send(News::Ended(Ok(3))).unwrap();
        workers.all().await;
        assert_eq!((workers.running, workers.cut), (0, 3));
        assert!(workers.failed.is_some());
    }

    #[tokio::test]
    async fn workers_that_vanish_without_a_word_have_failed() {
        let (teller, mut workers) = workers(1);
        teller.send(News::Ready).unwrap();
        workers.all_ready().await.unwrap();
        drop(teller);
        workers.failure().await;
    }
}
