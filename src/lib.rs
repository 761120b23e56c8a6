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
//! This file is the only wiring: [`serve`] runs what [`generation::prepare`] has
//! loaded to the end of the process. `cli` has the commands.

pub mod cli;
pub mod config;
pub mod generation;
pub mod identity;
#[cfg(feature = "inside")]
#[doc(hidden)]
pub mod inside;
pub mod listener;
pub mod policy;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod upstream;

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Bind, Config};
use crate::generation::{Begun, CurrentConfig, Exporter, Prepared, StartError};
use crate::listener::{Address, Ended, Life, LifeControl, ListenerBindError, Workers};
use crate::telemetry::admin::AdminAddress;
use crate::telemetry::spans::Spans;
use crate::telemetry::{AccessLog, AdminSocket, AdminState, LogControl, Readiness, admin, events};

/// Why countersign could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin address cannot be served.
    #[error(transparent)]
    Admin(#[from] admin::AdminSocketError),
    /// A listener's address cannot be bound.
    #[error(transparent)]
    Bind(ListenerBindError),
    /// The system gives no thread, no runtime or no socket.
    #[error("the system refuses what is needed to run: {0}")]
    System(#[from] io::Error),
    /// A worker has failed while it served; the others have finished their work.
    #[error("a worker has failed: {0}")]
    Worker(#[source] io::Error),
}

impl From<StartError> for RunError {
    fn from(cause: StartError) -> Self {
        match cause {
            StartError::Bind(cause) => Self::Bind(cause),
            StartError::System(cause) => Self::System(cause),
        }
    }
}

/// Where everything is bound, once it is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The listeners' names and addresses, in the order of the config.
    pub listeners: Vec<(String, Address)>,
    /// The admin address.
    pub admin: Option<AdminAddress>,
}

/// What whoever runs countersign wants of it meanwhile.
#[derive(Debug)]
pub struct Wishes {
    /// The first message begins the drain; a second one, or the end of the
    /// channel, cuts what is left.
    pub stop: mpsc::Receiver<()>,
    /// A message has the files looked at now.
    pub reload: mpsc::Receiver<()>,
}

/// Where it says what it does.
#[derive(Debug)]
pub struct Logs {
    /// Requests.
    pub access: AccessLog,
    /// Events.
    pub control: LogControl,
}

/// Runs until it is told to stop, on the calling thread and one for each
/// worker. What changes on disk is put in force meanwhile.
///
/// `ready` is called when every listener accepts.
///
/// Must run on a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
///
/// [`RunError`]: before `ready` was called, except for [`RunError::Worker`],
/// which is returned after a drain.
pub async fn serve(
    prepared: Prepared,
    logs: Logs,
    wishes: Wishes,
    ready: impl FnOnce(&Addresses),
) -> Result<Ended, RunError> {
    let Wishes { mut stop, reload } = wishes;
    let config = Arc::clone(prepared.loaded().config());
    let readiness = Readiness::starting();
    let admin_socket = bind_admin(&config)?;
    let admin_address = admin_socket.as_ref().map(|socket| socket.address().clone());
    let (control, life) = Life::begin();
    let (access, mut exporter) = with_spans(logs.access);
    let Begun {
        mut workers,
        addresses,
        metrics,
        refusals,
        current,
        following,
    } = generation::begin(prepared, &access, logs.control, &life).await?;
    let (commands, commanded) = mpsc::channel(16);
    let (shutdown, admin_life) = watch::channel(false);
    let admin = admin_socket.map(|socket| {
        let state = AdminState {
            readiness: Arc::clone(&readiness),
            metrics: Arc::clone(&metrics),
            refusals: Arc::clone(&refusals),
            commands,
        };
        tokio::task::spawn_local(admin::serve(socket, state, admin_life))
    });
    let addresses = Addresses {
        listeners: addresses,
        admin: admin_address,
    };
    // The admin server has its turn, and says where it is before "started" is said.
    tokio::task::yield_now().await;
    readiness.ready();
    announce(&addresses, &config);
    ready(&addresses);

    tokio::select! {
        _ = stop.recv() => {}
        () = workers.failure() => {}
        () = refusals.summarise() => {}
        () = generation::watch_memory(&current, &metrics) => {}
        never = exporter.run(&current) => match never {},
        // It ends with what is said to it.
        () = following.run(commanded, reload) => {}
    }
    readiness.draining();
    let ended = drain(
        (&mut workers, &control),
        &mut stop,
        (&current, &mut exporter),
    )
    .await;
    refusals.tell_all_left_out();
    end_admin(admin, &shutdown).await;
    if let Some(cause) = workers.into_failure() {
        return Err(RunError::Worker(cause));
    }
    say_ended(ended);
    Ok(ended)
}

/// Spans are recorded where requests are, and handed over from there.
fn with_spans(access: AccessLog) -> (AccessLog, Exporter) {
    let (spans, queue) = Spans::queue();
    (access.with_spans(spans), Exporter::new(queue))
}

/// Has everything that is under way finished, and says it to the collector.
async fn drain(
    (workers, control): (&mut Workers, &LifeControl),
    stop: &mut mpsc::Receiver<()>,
    (current, exporter): (&CurrentConfig, &mut Exporter),
) -> Ended {
    let time = current.get().server().drain_timeout;
    let ended = tokio::select! {
        ended = workers.drain(control, stop, time) => ended,
        never = exporter.run(current) => match never {},
    };
    exporter.finish(current).await;
    ended
}

/// Has the admin server finish what is under way.
async fn end_admin<T>(admin: Option<JoinHandle<T>>, life: &watch::Sender<bool>) {
    life.send_replace(true);
    if let Some(admin) = admin
        && let Err(cause) = admin.await
    {
        tracing::debug!(%cause, "the admin server did not end well");
    }
}

fn say_ended(ended: Ended) {
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

/// Says in the log where everything is, one line each.
fn announce(addresses: &Addresses, config: &Config) {
    generation::announce(&addresses.listeners, config);
    tracing::info!(
        event = events::STARTED,
        version = env!("CARGO_PKG_VERSION"),
        workers = config.server().workers.get(),
        config = %config.path().display(),
    );
}
