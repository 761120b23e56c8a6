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
use crate::process::{Heir, Host, Listening, ServiceManager, UpgradeSocket, Verdict};
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
    pub(crate) async fn heir(&self, host: &Host, open: &OpenSockets) -> Heir {
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
        let told = (&host.manager, &host.files);
        upgrade.heir(told, self.watchdog, sockets).await
    }

    /// Says who the service is from now on, or that it ends; `watching` speaks for
    /// this process until then. Nobody can succeed who ends, and not before: the
    /// socket's file would go.
    ///
    /// # Errors
    ///
    /// This process has not become the service at all; nobody is told anything.
    pub(crate) fn leave_to(
        self,
        heir: Option<Heir>,
        host: &Host,
        (watching, admin): (Standing, &AdminServer),
    ) -> Result<(), RunError> {
        // Asked from here on, the admin address speaks of the process that serves.
        let watching = watching.inspect_err(|_| admin.shut())?;
        match heir {
            Some(heir) => {
                watching.abort();
                admin.shut();
                heir.succeed(&host.manager, &host.files);
            }
            None => {
                if host.files.are_kept() {
                    admin.shut();
                }
                host.manager.stopping();
            }
        }
        Ok(())
    }
}

/// What says again and again that this process is the service; or why it is not.
pub(crate) type Standing = Result<JoinHandle<()>, RunError>;

/// Takes the place that this process is to have: from now on it speaks for the
/// service. `ready` is called then.
///
/// # Errors
///
/// [`RunError::NotTheHeir`]: this process must end.
pub(crate) async fn stand_in(
    host: &mut Host,
    current: &CurrentConfig,
    ready: impl FnOnce(),
) -> Standing {
    take_place(host).await?;
    host.manager.ready(&current.line());
    ready();
    let watchdog = std::mem::take(&mut host.watchdog);
    Ok(tokio::task::spawn_local(
        watchdog.watch(host.manager.clone()),
    ))
}

/// Returns if this process must end; otherwise never.
pub(crate) async fn is_not_the_heir(standing: &Standing) {
    if standing.is_ok() {
        std::future::pending().await
    }
}

/// Has the predecessor, if there is one, let go of what this process serves now.
async fn take_place(host: &mut Host) -> Result<(), RunError> {
    let Some(predecessor) = host.predecessor.take() else {
        return Ok(());
    };
    let told = tokio::task::spawn_blocking(move || predecessor.served()).await;
    let verdict = told.unwrap_or_else(|cause| Verdict::Silent(io::Error::other(cause)));
    match verdict {
        // Its files stay its own.
        Verdict::GoesOn(cause) => return Err(RunError::NotTheHeir(cause)),
        Verdict::LetGo => tracing::info!(
            event = events::TAKEN_OVER,
            "the process that served until now finishes what is under way there"
        ),
        Verdict::Silent(cause) => tracing::warn!(
            event = events::TAKEN_OVER,
            %cause,
            "the process that served until now does not answer: it ends, or was ended; if it should still accept, end it"
        ),
    }
    host.files.own();
    Ok(())
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
