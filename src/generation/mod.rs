//! Loads generations aside, publishes them, and tells what came of it.
//!
//! # Rules
//!
//! * What is on disk is put in force as a whole or not at all. While it cannot
//!   be, the last generation that could stays in force.
//! * Whether anything has changed is decided by the content of the files;
//!   notifications of the system are only a hint to look at once.
//! * A generation is said to be in force when every worker has taken it and has
//!   judged its open connections by it, and not before.

mod answers;
mod door;
mod load;
mod memory;
mod overview;
mod publish;
mod reload;
mod secrets;
mod spans;
mod status;
mod watch;
mod withhold;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, Files, Problems, Seen};
use crate::listener::{Address, Life, Workers};
use crate::process::{Host, Inherited, ServiceManager};
use crate::telemetry::admin::{AdminCommand, Door};
use crate::telemetry::page::Program;
use crate::telemetry::{AccessLog, LogControl, Metrics, Refusals, events};

use answers::Answers;
use door::AdminDoor;
pub use load::Loaded;
pub(crate) use memory::watch as watch_memory;
use overview::InForceProgram;
use publish::Publishing;
pub use publish::StartError;
pub(crate) use publish::announce;
use reload::{InForce, Reloader, Request};
pub(crate) use spans::Exporter;
use status::Status;
pub(crate) use status::moment;
use watch::Watch;
pub(crate) use withhold::{Withheld, loss};

/// The first generation, loaded, and what was looked at on the way.
#[derive(Debug)]
pub struct Prepared {
    loaded: Loaded,
    seen: Seen,
}

impl Prepared {
    /// What was loaded.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Has the process give up what it does not need for this.
    pub fn confine(&self, host: &mut Host) {
        host.confine(self.loaded.config(), self.seen.paths());
    }
}

/// Loads the config at `path` and everything that it names on disk.
///
/// # Errors
///
/// Every problem of the config and of the files, together.
pub fn prepare(path: &Path) -> Result<Prepared, Problems> {
    let (seen, outcome) = load::load(path, Files::new(), (None, &[]));
    outcome.map(|loaded| Prepared { loaded, seen })
}

/// What the first generation has brought into being.
pub(crate) struct Begun {
    pub(crate) workers: Workers,
    /// The listeners' names and addresses, in the order of the config.
    pub(crate) addresses: Vec<(String, Address)>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<Refusals>,
    /// What is in force, from now on.
    pub(crate) current: CurrentConfig,
    /// Who tells of what is in force, for as long as it is asked.
    pub(crate) program: Rc<dyn Program>,
    /// Who makes the handshakes of the admin address, if it speaks TLS.
    pub(crate) door: Option<Rc<dyn Door>>,
    /// What follows the files, until it is dropped.
    pub(crate) following: Following,
}

/// The config in force, whichever that is.
pub(crate) struct CurrentConfig(Rc<RefCell<InForce>>);

impl CurrentConfig {
    /// As it is now.
    pub(crate) fn get(&self) -> Arc<Config> {
        Arc::clone(self.0.borrow().loaded.config())
    }

    /// How things stand, in one line for whoever watches the service.
    pub(crate) fn line(&self) -> String {
        let in_force = self.0.borrow();
        in_force.status.line(&in_force.loaded, SystemTime::now())
    }
}

/// What follows the files and puts what they become in force.
pub(crate) struct Following {
    reloader: Reloader,
    answers: Answers,
    requests: mpsc::Sender<Request>,
    asked: mpsc::Receiver<Request>,
    hints: mpsc::Receiver<()>,
    manager: ServiceManager,
}

/// Puts the first generation in force: binds its listeners and starts the workers.
///
/// # Errors
///
/// [`StartError`]; nothing goes on then.
pub(crate) async fn begin(
    prepared: Prepared,
    access: &AccessLog,
    log: LogControl,
    life: &Life,
    host: &mut Host,
) -> Result<Begun, StartError> {
    let Prepared { loaded, seen } = prepared;
    let (publishing, workers, addresses) =
        Publishing::start(&loaded, access, log, life, host).await?;
    let metrics = Arc::clone(publishing.metrics());
    let refusals = Arc::clone(publishing.refusals());
    tracing::info!(
        event = events::GENERATION,
        generation = 1,
        "everything that the config names was loaded and is in force"
    );
    let path = loaded.config().path().to_owned();
    let peers = Arc::clone(&loaded.material().peers);
    let in_force = Rc::new(RefCell::new(InForce {
        loaded: Arc::new(loaded),
        status: Status::new(SystemTime::now()),
        addresses: publishing.addresses()?,
    }));
    let (hint, hints) = mpsc::channel(1);
    let (requests, asked) = mpsc::channel(8);
    let reloader = Reloader::new(
        path.clone(),
        Rc::clone(&in_force),
        publishing,
        (Watch::start(hint), seen, host.reach.clone()),
    );
    let answers = Answers {
        path,
        in_force,
        peers,
        requests: requests.clone(),
        reach: host.reach.clone(),
        confined: Arc::clone(&host.confined),
    };
    let program = Rc::new(InForceProgram {
        in_force: Rc::clone(&answers.in_force),
        peers: Arc::clone(&answers.peers),
    });
    let door = AdminDoor::of(&answers.in_force, (&refusals, &metrics));
    let current = CurrentConfig(Rc::clone(&answers.in_force));
    Ok(Begun {
        program,
        door: door.map(|door| Rc::new(door) as _),
        current,
        workers,
        addresses,
        metrics,
        refusals,
        following: Following {
            reloader,
            answers,
            requests,
            asked,
            hints,
            manager: host.manager.clone(),
        },
    })
}

/// A way to ask for the sockets that are open, also while files are followed.
#[derive(Clone)]
pub(crate) struct OpenSockets(mpsc::Sender<Request>);

impl OpenSockets {
    /// A handle on each.
    ///
    /// # Errors
    ///
    /// The system gives no further descriptor, or nobody knows any more.
    pub(crate) async fn handles(&self) -> io::Result<Inherited> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send(Request::Sockets { answer }).await;
        let lost = || io::Error::other("the process ends");
        asked.map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }
}

impl Following {
    /// The way to ask for the sockets that are open.
    pub(crate) fn open_sockets(&self) -> OpenSockets {
        OpenSockets(self.requests.clone())
    }

    /// Follows the files until it is dropped. `commands`: what the admin
    /// address is asked; `reload`: a message for each time that somebody wants
    /// the files looked at now.
    pub(crate) async fn run(
        self,
        commands: mpsc::Receiver<AdminCommand>,
        mut reload: mpsc::Receiver<()>,
    ) {
        let requests = self.requests;
        let status = CurrentConfig(Rc::clone(&self.answers.in_force));
        let forced = async move {
            while reload.recv().await.is_some() {
                tracing::info!(
                    event = events::RELOAD_REQUESTED,
                    "the files are looked at now"
                );
                self.manager.reloading();
                let (done, is_done) = oneshot::channel();
                if requests.send(Request::Reload { done }).await.is_err() {
                    return;
                }
                // Given up only with everything else here.
                is_done.await.ok();
                self.manager.ready(&status.line());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.reloader.run(self.hints, self.asked) => {}
            () = async { tokio::join!(forced, self.answers.run(commands)); } => {}
        }
    }
}
