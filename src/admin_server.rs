//! The admin server: where it listens, what it tells, and how it ends.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::RunError;
use crate::config::{Bind, Config};
use crate::process::{Confined, Host, Listening};
use crate::telemetry::admin::{self, AdminAccess, AdminAddress, AdminCommand, Door};
use crate::telemetry::page::{Facts, Program};
use crate::telemetry::{AdminSocket, AdminState, Metrics, Readiness, Refusals, SocketFile};

/// The admin server, if there is one, and the way to end it.
pub(crate) struct AdminServer {
    shutdown: watch::Sender<bool>,
    server: Option<JoinHandle<Result<(), admin::AdminSocketError>>>,
}

impl AdminServer {
    pub(crate) fn begin(socket: Option<AdminSocket>, state: AdminState) -> Self {
        let (shutdown, life) = watch::channel(false);
        let serve = |socket| tokio::task::spawn_local(admin::serve(socket, state, life));
        Self {
            shutdown,
            server: socket.map(serve),
        }
    }

    /// It accepts no more.
    pub(crate) fn shut(&self) {
        self.shutdown.send_replace(true);
    }

    /// Has it finish what is under way.
    pub(crate) async fn end(self) {
        self.shut();
        if let Some(server) = self.server
            && let Err(cause) = server.await
        {
            tracing::debug!(%cause, "the admin server did not end well");
        }
    }
}

/// What the admin server tells, and whom it asks.
pub(crate) struct Told<'a> {
    pub(crate) counted: (&'a Arc<Metrics>, &'a Arc<Refusals>),
    pub(crate) asked: (Rc<dyn Program>, Option<Rc<dyn Door>>),
    /// Commands, and the wish to drain.
    pub(crate) wishes: (mpsc::Sender<AdminCommand>, mpsc::Sender<()>),
    pub(crate) confined: &'a Confined,
}

impl Told<'_> {
    pub(crate) fn state(self, config: &Config, readiness: &Arc<Readiness>) -> AdminState {
        let (metrics, refusals) = self.counted;
        let (program, door) = self.asked;
        let (commands, drain) = self.wishes;
        AdminState {
            readiness: Arc::clone(readiness),
            metrics: Arc::clone(metrics),
            refusals: Arc::clone(refusals),
            commands,
            program,
            drain,
            access: access(config),
            door,
            sections: vec![given_up(self.confined)],
        }
    }
}

/// What the process has given up at its start, as it is shown.
fn given_up(confined: &Confined) -> Facts {
    let parts = confined.parts().iter();
    Facts {
        title: "What the process has given up".to_owned(),
        lines: parts
            .map(|part| (part.name.to_owned(), part.state.to_string()))
            .collect(),
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

/// The admin socket: one that is bound already, or a new one.
pub(crate) fn open_admin(config: &Config, host: &Host) -> Result<Option<AdminSocket>, RunError> {
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
            AdminAddress::Unix(path) => Some(SocketFile::adopt(path, &host.files)?),
            AdminAddress::Tcp(_) => None,
        };
        return Ok(Some(admin_on(passed?, file)?));
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
pub(crate) const ADMIN: &str = "[admin]";
