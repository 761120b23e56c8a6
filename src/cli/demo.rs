//! `countersign demo`: mutual TLS at work, in under a minute and without a trace.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use super::{Exit, complain, print, run};
use crate::telemetry::{AccessLog, Format, Level, log};
use crate::{Ended, config, prepare, serve};

mod backend;
mod files;
mod visits;

use files::Files;

/// What the demo could not do.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the demo's files cannot be written: {0}")]
    Files(#[from] files::FilesError),
    #[error("the demo's own config is refused:\n{0}")]
    Config(#[from] config::Problems),
    #[error(transparent)]
    Run(#[from] crate::RunError),
    #[error("the system refuses what the demo needs: {0}")]
    System(#[from] io::Error),
}

/// Runs the demo. `once`: it makes its requests itself and ends. `dir`: its
/// files stay there.
pub(super) fn demo(once: bool, dir: Option<&Path>) -> Exit {
    match stage(once, dir) {
        Ok(exit) => exit,
        Err(cause) => {
            complain(cause);
            Exit::Failure
        }
    }
}

/// The addresses of the demo, all on this machine's loopback.
#[derive(Clone, Copy, Debug)]
struct Ports {
    proxy: SocketAddr,
    backend: SocketAddr,
    admin: SocketAddr,
}

fn stage(once: bool, dir: Option<&Path>) -> Result<Exit, DemoError> {
    let temporary = match dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("countersign-demo-")
                .tempdir()?,
        ),
    };
    let dir: PathBuf = dir
        .map(Path::to_owned)
        .or_else(|| {
            temporary
                .as_ref()
                .map(|temporary| temporary.path().to_owned())
        })
        .unwrap_or_default();
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ports = Ports {
        backend: backend.local_addr()?,
        proxy: free_address()?,
        admin: free_address()?,
    };
    let files = Files::write(&dir, ports)?;
    let prepared = prepare(config::read(&files.config))?;
    // Alone, the demo shows what happens; with `--once` its own words suffice.
    let _log = log::start(Format::Text, if once { Level::Error } else { Level::Info });
    let (access, _guard) = AccessLog::start(Format::Text, !once)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        tokio::task::spawn_local(backend::serve(backend));
        if once {
            visit(prepared, &access, &files, ports.proxy).await
        } else {
            let stop = run::signals()?;
            let ended = serve(prepared, &access, stop, |_| {
                print(
                    files
                        .invitation(ports.proxy, temporary.is_none())
                        .as_bytes(),
                );
            })
            .await?;
            Ok(if ended == Ended::Drained {
                Exit::Ok
            } else {
                Exit::Cut
            })
        }
    })
}

/// An address that nobody uses at the moment.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Makes the demo's requests, and says of each whether it ended as it should.
async fn visit(
    prepared: crate::Prepared,
    access: &AccessLog,
    files: &Files,
    proxy: SocketAddr,
) -> Result<Exit, DemoError> {
    let (stop, stopped) = mpsc::channel(1);
    let (open, opened) = oneshot::channel();
    let visits = {
        let files = files.clone();
        tokio::task::spawn_local(async move {
            let report = match opened.await {
                Ok(()) => visits::make(&files, proxy).await,
                Err(_) => visits::Report::unopened(),
            };
            // The end of the channel stops the proxy as well.
            stop.send(()).await.ok();
            report
        })
    };
    serve(prepared, access, stopped, |_| {
        open.send(()).ok();
    })
    .await?;
    let report = visits.await.unwrap_or_else(|_| visits::Report::unopened());
    print(report.text.as_bytes());
    Ok(if report.as_expected {
        Exit::Ok
    } else {
        Exit::Failure
    })
}
