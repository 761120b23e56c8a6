//! countersign terminates mutual TLS in front of HTTP services that know
//! nothing of certificates, decides who may call them, and tells them who does.
//!
//! The floors, from the ground up; each uses only those above it in this list:
//!
//! 1. [`telemetry`] names and records what happened, and serves it.
//! 2. [`identity`] reads names out of a verified leaf, matches and writes them.
//! 3. [`config`] turns a file into a [`config::Config`] whose values are legal.
//! 4. [`process`] deals with the system that the process runs on.
//! 5. [`policy`] decides what a caller may do, and names the rule.
//! 6. [`tls`] loads, verifies, publishes and presents certificates.
//! 7. [`upstream`] gets a connection to an endpoint and authenticates on it.
//! 8. [`proxy`] carries one permitted request to one upstream and back.
//! 9. [`listener`] accepts within limits, completes handshakes in time, drains.
//! 10. [`generation`] loads generations aside, publishes them, tells what came of it.
//!
//! This file is the wiring, with `admin_server` and `estate` for its two sides:
//! [`serve`] runs what [`generation::prepare`] has loaded to the end of the process.
//! `cli` has the commands.

mod admin_server;
pub mod cli;
pub mod config;
mod estate;
pub mod generation;
pub mod identity;
#[cfg(feature = "inside")]
#[doc(hidden)]
pub mod inside;
pub mod listener;
pub mod policy;
pub mod process;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod upstream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin_server::{AdminServer, Told, open_admin};
use crate::config::Config;
use crate::estate::{Estate, is_not_the_heir, stand_in, tell_status};
use crate::generation::{Begun, CurrentConfig, Exporter, Prepared, StartError};
use crate::listener::{
    Address, Ended, Leave, Life, LifeControl, ListenerBindError, Workers, serve_until_drain,
};
use crate::process::{Host, InheritedError};
use crate::telemetry::admin::AdminAddress;
use crate::telemetry::spans::Spans;
use crate::telemetry::{AccessLog, LogControl, Readiness, admin, events};

/// Why countersign could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin address cannot be served.
    #[error(transparent)]
    Admin(#[from] admin::AdminSocketError),
    /// A listener's address cannot be bound.
    #[error(transparent)]
    Bind(ListenerBindError),
    /// What systemd passes is not what `admin.bind` asks for.
    #[error("admin.bind: {0}")]
    AdminInherited(#[source] InheritedError),
    /// The process whose place it was to take goes on alone.
    #[error(
        "the process that served until now goes on alone: {0}\n  this one has finished what it had accepted, and ends"
    )]
    NotTheHeir(String),
    /// The socket for successors cannot be served.
    #[error("server.upgrade_socket cannot be served: {0}")]
    Upgrade(#[source] io::Error),
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

impl Addresses {
    fn of(listeners: Vec<(String, Address)>, admin: Option<AdminAddress>) -> Self {
        Self { listeners, admin }
    }
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
/// [`RunError`]: before `ready` was called, except for [`RunError::Worker`].
/// That one and [`RunError::NotTheHeir`] are returned after a drain.
pub async fn serve(
    prepared: Prepared,
    logs: Logs,
    wishes: Wishes,
    mut host: Host,
    ready: impl FnOnce(&Addresses),
) -> Result<Ended, RunError> {
    let Wishes { mut stop, reload } = wishes;
    let config = Arc::clone(prepared.loaded().config());
    let readiness = Readiness::starting();
    let admin_socket = open_admin(&config, &host)?;
    let admin_address = admin_socket.as_ref().map(|socket| socket.address().clone());
    let estate = Estate::new(&config, &host, admin_socket.as_ref())?;
    let (control, life) = Life::begin();
    let (access, mut exporter) = with_spans(logs.access);
    let Begun {
        mut workers,
        addresses,
        metrics,
        refusals,
        current,
        program,
        door,
        following,
    } = generation::begin(prepared, &access, logs.control, &life, &mut host).await?;
    let (commands, commanded) = mpsc::channel(16);
    let (drain_wish, mut asked_to_drain) = mpsc::channel(1);
    let told = Told {
        counted: (&metrics, &refusals),
        asked: (program, door),
        wishes: (commands, drain_wish),
        confined: &host.confined,
    };
    let admin = AdminServer::begin(admin_socket, told.state(&config, &readiness));
    let addresses = Addresses::of(addresses, admin_address);
    // The admin server has its turn, and says where it is before "started" is said.
    tokio::task::yield_now().await;
    readiness.ready();
    announce(&addresses, &config);
    let watching = stand_in(&mut host, &current, || ready(&addresses)).await;

    let open_sockets = following.open_sockets();
    let mut heir = None;
    let serving = async {
        heir = tokio::select! {
            () = is_not_the_heir(&watching) => None,
            () = workers.failure() => None,
            heir = estate.heir(&host, &open_sockets) => Some(heir),
            () = refusals.summarise() => None,
            () = generation::watch_memory(&current, &metrics) => None,
            () = tell_status(&host.manager, &current, &metrics) => None,
            never = exporter.run(&current) => match never {},
            // It ends with what is said to it.
            () = following.run(commanded, reload) => None,
        };
    };
    let leaving = || leave(&readiness, &current.get());
    let left = serve_until_drain(serving, (&mut stop, &mut asked_to_drain), leaving).await;
    let was_the_service = estate.leave_to(heir, &host, (watching, &admin));
    let spans = (&current, &mut exporter);
    let ended = drain((&mut workers, &control), (&mut stop, left), spans).await;
    refusals.tell_all_left_out();
    admin.end().await;
    let failure = workers.into_failure();
    failure.map_or(Ok(()), |cause| Err(RunError::Worker(cause)))?;
    was_the_service?;
    say_ended(ended);
    Ok(ended)
}

/// No more is wanted from now on. Returns how long the end may take, by what is in force.
fn leave(readiness: &Readiness, config: &Config) -> Leave {
    readiness.draining();
    Leave {
        delay: config.server().drain_delay,
        timeout: config.server().drain_timeout,
    }
}

/// Spans are recorded where requests are, and handed over from there.
fn with_spans(access: AccessLog) -> (AccessLog, Exporter) {
    let (spans, queue) = Spans::queue();
    (access.with_spans(spans), Exporter::new(queue))
}

/// Has everything that is under way finished, and says it to the collector.
async fn drain(
    (workers, control): (&mut Workers, &LifeControl),
    (stop, time): (&mut mpsc::Receiver<()>, Duration),
    (current, exporter): (&CurrentConfig, &mut Exporter),
) -> Ended {
    let ended = tokio::select! {
        ended = workers.drain(control, stop, time) => ended,
        never = exporter.run(current) => match never {},
    };
    exporter.finish(current).await;
    ended
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
