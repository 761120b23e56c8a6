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
pub mod process;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod upstream;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Bind, Config};
use crate::generation::{Begun, CurrentConfig, OpenSockets, Prepared, StartError};
use crate::listener::{Address, Ended, Life, ListenerBindError};
use crate::process::{Heir, Host, InheritedError, Listening, ServiceManager, UpgradeSocket};
use crate::telemetry::admin::AdminAddress;
use crate::telemetry::{
    AccessLog, AdminSocket, AdminState, LogControl, Metrics, Readiness, SocketFile, admin, events,
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
    /// What systemd passes is not what `admin.bind` asks for.
    #[error("admin.bind: {0}")]
    AdminInherited(#[source] InheritedError),
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
    let Begun {
        mut workers,
        addresses,
        metrics,
        refusals,
        current,
        following,
    } = generation::begin(prepared, &logs.access, logs.control, &life, &mut host).await?;
    let (commands, commanded) = mpsc::channel(16);
    let state = AdminState {
        readiness: Arc::clone(&readiness),
        metrics: Arc::clone(&metrics),
        refusals: Arc::clone(&refusals),
        commands,
    };
    let admin = AdminServer::begin(admin_socket, state);
    let addresses = Addresses {
        listeners: addresses,
        admin: admin_address,
    };
    // The admin server has its turn, and says where it is before "started" is said.
    tokio::task::yield_now().await;
    readiness.ready();
    announce(&addresses, &config);
    take_place(&mut host).await;
    host.manager.ready(&current.line());
    let watchdog = std::mem::take(&mut host.watchdog);
    let watching = tokio::task::spawn_local(watchdog.watch(host.manager.clone()));
    ready(&addresses);

    let open_sockets = following.open_sockets();
    let heir = tokio::select! {
        _ = stop.recv() => None,
        () = workers.failure() => None,
        heir = estate.heir(&host.manager, &open_sockets) => Some(heir),
        () = refusals.summarise() => None,
        () = generation::watch_memory(&current, &metrics) => None,
        () = tell_status(&host.manager, &current, &metrics) => None,
        // It ends with what is said to it.
        () = following.run(commanded, reload) => None,
    };
    readiness.draining();
    leave(heir, &host, &admin, &watching);
    // Nobody can succeed who ends; and not before, or the socket's file would go.
    drop(estate);
    let ended = workers
        .drain(&control, &mut stop, current.get().server().drain_timeout)
        .await;
    refusals.tell_all_left_out();
    admin.end().await;
    if let Some(cause) = workers.into_failure() {
        return Err(RunError::Worker(cause));
    }
    say_ended(ended);
    Ok(ended)
}

/// Says who the service is from now on, or that it ends.
fn leave(heir: Option<Heir>, host: &Host, admin: &AdminServer, watching: &JoinHandle<()>) {
    let Some(heir) = heir else {
        return host.manager.stopping();
    };
    // From here on another process speaks for it.
    watching.abort();
    admin.shut();
    heir.succeed(&host.manager, &host.files);
}

/// The admin server, if there is one, and the way to end it.
struct AdminServer {
    shutdown: watch::Sender<bool>,
    server: Option<JoinHandle<Result<(), admin::AdminSocketError>>>,
}

impl AdminServer {
    fn begin(socket: Option<AdminSocket>, state: AdminState) -> Self {
        let (shutdown, life) = watch::channel(false);
        let serve = |socket| tokio::task::spawn_local(admin::serve(socket, state, life));
        Self {
            shutdown,
            server: socket.map(serve),
        }
    }

    /// It accepts no more.
    fn shut(&self) {
        self.shutdown.send_replace(true);
    }

    async fn end(self) {
        self.shut();
        if let Some(server) = self.server
            && let Err(cause) = server.await
        {
            tracing::debug!(%cause, "the admin server did not end well");
        }
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

/// Has the predecessor, if there is one, let go of what this process serves now.
async fn take_place(host: &mut Host) {
    let Some(predecessor) = host.predecessor.take() else {
        return;
    };
    let told = tokio::task::spawn_blocking(move || predecessor.served()).await;
    host.files.own();
    match told.map_err(io::Error::other).flatten() {
        Ok(()) => tracing::info!(
            event = events::TAKEN_OVER,
            "the process that served until now finishes what is under way there"
        ),
        Err(cause) => tracing::warn!(
            event = events::TAKEN_OVER,
            %cause,
            "the process that served until now does not answer; if it still runs, both accept: end it"
        ),
    }
}

/// What a successor can have.
struct Estate {
    upgrade: Option<UpgradeSocket>,
    admin: Option<(Bind, Listening)>,
    watchdog: Option<Duration>,
}

impl Estate {
    fn new(config: &Config, host: &Host, admin: Option<&AdminSocket>) -> Result<Self, RunError> {
        let path = config.server().upgrade_socket.as_ref();
        let upgrade = path
            .map(|path| UpgradeSocket::open(&path.value, &host.inherited, &host.files))
            .transpose()
            .map_err(RunError::Upgrade)?;
        let bind = config.admin().map(|admin| admin.bind.value.clone());
        let admin = bind.zip(admin).map(|(bind, socket)| {
            let handle = Listening::of(socket.as_fd().try_clone_to_owned()?)?;
            io::Result::Ok((bind, handle))
        });
        Ok(Self {
            upgrade,
            admin: admin.transpose()?,
            watchdog: host.watchdog.time(),
        })
    }

    /// Waits for who takes this process's place; for ever where nobody can.
    async fn heir(&self, manager: &ServiceManager, open: &OpenSockets) -> Heir {
        let Some(upgrade) = &self.upgrade else {
            return std::future::pending().await;
        };
        let sockets = async || {
            let mut all = open.handles().await?;
            match &self.admin {
                // It is among those that systemd has passed.
                None | Some((Bind::Systemd(_), _)) => {}
                Some((bind, handle)) => all.add_bound(ADMIN, bind, handle.try_clone()?),
            }
            Ok(all)
        };
        upgrade.heir(manager, self.watchdog, sockets).await
    }
}

/// Tells the service manager how things stand, when they stand differently.
async fn tell_status(manager: &ServiceManager, current: &CurrentConfig, metrics: &Metrics) {
    if !manager.is_there() {
        return std::future::pending().await;
    }
    let mut told = String::new();
    loop {
        let open = metrics.open_connections();
        let status = format!("{open} connections; {}", current.line());
        if status != told {
            manager.status(&status);
            told = status;
        }
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

/// How old the status may be that the service manager shows.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The admin socket: one that is bound already, or a new one.
fn open_admin(config: &Config, host: &Host) -> Result<Option<AdminSocket>, RunError> {
    let Some(admin) = config.admin() else {
        return Ok(None);
    };
    let bind = &admin.bind.value;
    let address = match bind {
        Bind::Systemd(name) => {
            let passed = host
                .inherited
                .named(name)
                .map_err(RunError::AdminInherited)?;
            return Ok(Some(admin_on(passed, None)?));
        }
        Bind::Tcp(address) => AdminAddress::Tcp(*address),
        Bind::Unix(path) => AdminAddress::Unix(path.clone()),
    };
    if let Some(passed) = host.inherited.of_predecessor(ADMIN, bind) {
        let file = match &address {
            AdminAddress::Unix(path) => Some(SocketFile::adopt(path)?),
            AdminAddress::Tcp(_) => None,
        };
        return Ok(Some(admin_on(passed?, file)?.sharing(&host.files)));
    }
    Ok(Some(AdminSocket::bind(&address)?.sharing(&host.files)))
}

fn admin_on(socket: Listening, file: Option<SocketFile>) -> io::Result<AdminSocket> {
    match socket {
        Listening::Tcp(socket) => AdminSocket::of_tcp(socket),
        Listening::Unix(socket) => AdminSocket::of_unix(socket, file),
    }
}

/// What the admin socket is called among those that are passed on. No listener
/// can be called so.
const ADMIN: &str = "[admin]";

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
