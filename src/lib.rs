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
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::{Bind, Config};
use crate::generation::{Begun, Prepared, StartError};
use crate::listener::{Address, Ended, Life, ListenerBindError};
use crate::telemetry::admin::{AdminAccess, AdminAddress, AdminCommand, Door};
use crate::telemetry::page::Program;
use crate::telemetry::{
    AccessLog, AdminSocket, AdminState, LogControl, Metrics, Readiness, Refusals, admin, events,
};

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
    let Begun {
        mut workers,
        addresses,
        metrics,
        refusals,
        current,
        program,
        door,
        following,
    } = generation::begin(prepared, &logs.access, logs.control, &life).await?;
    let (commands, commanded) = mpsc::channel(16);
    let (shutdown, admin_life) = watch::channel(false);
    let (drain, mut asked_to_drain) = mpsc::channel(1);
    let admin = admin_socket.map(|socket| {
        let counted = (&metrics, &refusals);
        let asked = (commands, drain);
        let state = admin_state(&config, &readiness, counted, (program, door), asked);
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
        Some(()) = asked_to_drain.recv() => {}
        () = workers.failure() => {}
        () = refusals.summarise() => {}
        () = generation::watch_memory(&current, &metrics) => {}
        // It ends with what is said to it.
        () = following.run(commanded, reload) => {}
    }
    readiness.draining();
    let ended = workers
        .drain(&control, &mut stop, current.get().server().drain_timeout)
        .await;
    refusals.tell_all_left_out();
    shutdown.send_replace(true);
    if let Some(admin) = admin
        && let Err(cause) = admin.await
    {
        tracing::debug!(%cause, "the admin server did not end well");
    }
    if let Some(cause) = workers.into_failure() {
        return Err(RunError::Worker(cause));
    }
    say_ended(ended);
    Ok(ended)
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

/// What the admin server tells, and whom it asks.
fn admin_state(
    config: &Config,
    readiness: &Arc<Readiness>,
    (metrics, refusals): (&Arc<Metrics>, &Arc<Refusals>),
    (program, door): (Rc<dyn Program>, Option<Rc<dyn Door>>),
    (commands, drain): (mpsc::Sender<AdminCommand>, mpsc::Sender<()>),
) -> AdminState {
    AdminState {
        readiness: Arc::clone(readiness),
        metrics: Arc::clone(metrics),
        refusals: Arc::clone(refusals),
        commands,
        program,
        drain,
        access: access(config),
        door,
        sections: Vec::new(),
    }
}

/// Under which names, and for what the admin address may be asked.
fn access(config: &Config) -> AdminAccess {
    let Some(admin) = config.admin() else {
        return AdminAccess::default();
    };
    AdminAccess {
        hosts: admin.hosts.clone(),
        allow_changes: admin.allow_changes,
    }
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
