//! `countersign run`.

use std::io;
use std::path::Path;

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Exit, complain, with_causes};
use crate::generation::{Prepared, prepare};
use crate::listener::{BindError, Ended, ListenerBindError};
use crate::telemetry::admin::AdminSocketError;
use crate::telemetry::{AccessLog, log};
use crate::{Logs, RunError, Wishes, serve};

/// Serves what a config says until the process is told to stop.
pub(super) fn run(path: &Path) -> Exit {
    match prepare(path) {
        Ok(prepared) => serve_prepared(prepared),
        Err(problems) => {
            complain(problems);
            Exit::Usage
        }
    }
}

fn serve_prepared(prepared: Prepared) -> Exit {
    let settings = prepared.loaded().config().log().clone();
    let format = settings.format.into();
    // In this order, so that what the access log has to say at its end is still logged.
    let log = log::start(format, settings.level.into());
    let started = AccessLog::start(format, settings.access);
    let outcome = started
        .map_err(RunError::from)
        .and_then(|(access, _guard)| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())?;
            let served = runtime.block_on(async {
                let logs = Logs {
                    access,
                    control: log.control(),
                };
                serve(prepared, logs, wishes()?, |_| {}).await
            });
            // A look at a file system that does not answer is not waited for.
            runtime.shutdown_background();
            served
        });
    match outcome {
        Ok(Ended::Drained) => Exit::Ok,
        Ok(Ended::Cut(_)) => Exit::Cut,
        Err(cause @ RunError::Worker(_)) => {
            complain(cause);
            Exit::Failure
        }
        Err(cause) => {
            complain(format_args!(
                "{}{}\nnothing was started",
                with_causes(&cause),
                remedy(&cause)
            ));
            Exit::Failure
        }
    }
}

/// What can be done where the system refuses an address; empty for anything else.
fn remedy(cause: &RunError) -> &'static str {
    let kind = match cause {
        RunError::Admin(AdminSocketError::Bind { cause, .. })
        | RunError::Bind(ListenerBindError {
            cause: BindError::System { cause, .. },
            ..
        }) => cause.kind(),
        _ => return "",
    };
    match kind {
        io::ErrorKind::AddrInUse => {
            "\n  another process has this address: `ss -ltnp` shows which; end it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "\n  no interface of this machine has this address: `ip address` shows which there are"
        }
        io::ErrorKind::NotFound => "\n  make the directory of the unix socket first",
        io::ErrorKind::PermissionDenied => {
            "\n  this user may not: a port below 1024 takes CAP_NET_BIND_SERVICE, a unix socket a directory that can be written"
        }
        _ => "",
    }
}

/// What signals say: SIGTERM and SIGINT end it, SIGHUP has the files looked at.
/// As PID 1 a process has no other way to be ended by them.
pub(super) fn wishes() -> io::Result<Wishes> {
    Ok(Wishes {
        stop: messages([SignalKind::terminate(), SignalKind::interrupt()])?,
        reload: messages([SignalKind::hangup()])?,
    })
}

/// A message for each of these signals.
fn messages<const N: usize>(kinds: [SignalKind; N]) -> io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(4);
    for kind in kinds {
        let mut signal = signal(kind)?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while signal.recv().await.is_some() {
                // Full: it has been told more often than it can act.
                sender.try_send(()).ok();
            }
        });
    }
    Ok(receiver)
}
