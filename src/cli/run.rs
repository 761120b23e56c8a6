//! `countersign run`.

use std::io;
use std::path::Path;

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Exit, complain, with_causes};
use crate::config::Files;
use crate::listener::BindError;
use crate::telemetry::admin::AdminSocketError;
use crate::telemetry::{AccessLog, log};
use crate::{Ended, Prepared, RunError, log_format, log_level, prepare, serve};

/// Serves what a config says until the process is told to stop.
pub(super) fn run(path: &Path) -> Exit {
    match prepare(path, &Files::new()) {
        Ok(prepared) => serve_prepared(prepared),
        Err(problems) => {
            complain(problems);
            Exit::Usage
        }
    }
}

fn serve_prepared(prepared: Prepared) -> Exit {
    let settings = *prepared.config().log();
    let format = log_format(settings.format);
    // In this order, so that what the access log has to say at its end is still logged.
    let _log = log::start(format, log_level(settings.level));
    let started = AccessLog::start(format, settings.access);
    let outcome = started
        .map_err(RunError::from)
        .and_then(|(access, _guard)| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())?;
            runtime.block_on(async {
                let stop = signals()?;
                serve(prepared, &access, stop, |_| {}).await
            })
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
        | RunError::Bind {
            cause: BindError::System { cause, .. },
            ..
        } => cause.kind(),
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

/// A message for each SIGTERM and SIGINT. As PID 1 a process has no other way
/// to be ended by them.
pub(super) fn signals() -> io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(4);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
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
