//! What a process passes on to the one that takes its place, and what it tells the
//! service manager of itself.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::RunError;
use crate::admin_server::{ADMIN, AdminServer};
use crate::config::{Bind, Config};
use crate::generation::{CurrentConfig, OpenSockets};
use crate::process::{Heir, Host, Listening, ServiceManager, UpgradeSocket};
use crate::telemetry::{AdminSocket, Metrics, events};

/// What a successor can have.
pub(crate) struct Estate {
    upgrade: Option<UpgradeSocket>,
    admin: Option<(Bind, Listening)>,
    watchdog: Option<Duration>,
}

impl Estate {
    pub(crate) fn new(
        config: &Config,
        host: &Host,
        admin: Option<&AdminSocket>,
    ) -> Result<Self, RunError> {
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
    pub(crate) async fn heir(&self, manager: &ServiceManager, open: &OpenSockets) -> Heir {
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

    /// Says who the service is from now on, or that it ends; `watching` speaks for
    /// this process until then. Nobody can succeed who ends, and not before: the
    /// socket's file would go.
    pub(crate) fn leave_to(
        self,
        heir: Option<Heir>,
        host: &Host,
        (watching, admin): (JoinHandle<()>, &AdminServer),
    ) {
        match heir {
            Some(heir) => {
                watching.abort();
                admin.shut();
                heir.succeed(&host.manager, &host.files);
            }
            None => host.manager.stopping(),
        }
    }
}

/// Takes the place that this process is to have: from now on it speaks for the
/// service. Returns the task that says so again and again.
pub(crate) async fn stand_in(host: &mut Host, current: &CurrentConfig) -> JoinHandle<()> {
    take_place(host).await;
    host.manager.ready(&current.line());
    let watchdog = std::mem::take(&mut host.watchdog);
    tokio::task::spawn_local(watchdog.watch(host.manager.clone()))
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

/// Tells the service manager how things stand, when they stand differently.
pub(crate) async fn tell_status(
    manager: &ServiceManager,
    current: &CurrentConfig,
    metrics: &Metrics,
) {
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
