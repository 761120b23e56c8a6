//! `countersign run`.

use std::io;
use std::path::Path;

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Exit, complain, upgrade, with_causes};
use crate::generation::{Prepared, prepare};
use crate::listener::{BindError, Ended, ListenerBindError};
use crate::process::{Host, TakeOverError, keep_pages_small, raise_descriptors};
use crate::telemetry::admin::AdminSocketError;
use crate::telemetry::{AccessLog, log};
use crate::{Addresses, Logs, RunError, Wishes, serve};

/// Serves what a config says until the process is told to stop.
///
/// `take_over`: in place of the process that does now. `report`: whoever has
/// started it waits to hear that it serves.
pub(super) fn run(path: &Path, take_over: bool, report: bool) -> Exit {
    keep_pages_small();
    raise_descriptors();
    // First of all: there is one thread yet.
    let mut host = match Host::of_environment() {
        Ok(host) => host,
        Err(cause) => {
            complain(format_args!("{cause}\nnothing was started"));
            return Exit::Failure;
        }
    };
    match prepare(path) {
        Ok(prepared) => {
            if take_over && let Err(cause) = succeed(&prepared, &mut host) {
                complain(format_args!("{cause}\nnothing was started"));
                return Exit::Failure;
            }
            // Before there is a second thread: each has what the one has that starts it.
            prepared.confine(&mut host);
            serve_prepared(prepared, host, report)
        }
        Err(problems) => {
            complain(problems);
            Exit::Usage
        }
    }
}

/// Takes the sockets over from the process that serves now.
fn succeed(prepared: &Prepared, host: &mut Host) -> Result<(), TakeOverError> {
    let socket = &prepared.loaded().config().server().upgrade_socket;
    match socket {
        Some(path) => host.take_over(&path.value),
        None => Err(TakeOverError::NoSocket),
    }
}

fn serve_prepared(prepared: Prepared, host: Host, report: bool) -> Exit {
    let settings = prepared.loaded().config().log().clone();
    let format = settings.format.into();
    // In this order, so that what the access log has to say at its end is still logged.
    let log = log::start(format, settings.level.into());
    host.confined.say();
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
                let ready = |_: &Addresses| {
                    if report {
                        upgrade::report();
                    }
                };
                serve(prepared, logs, wishes()?, host, ready).await
            });
            // A look at a file system that does not answer is not waited for.
            runtime.shutdown_background();
            served
        });
    match outcome {
        Ok(Ended::Drained) => Exit::Ok,
        Ok(Ended::Cut(_)) => Exit::Cut,
        Err(cause @ (RunError::Worker(_) | RunError::NotTheHeir(_))) => {
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
