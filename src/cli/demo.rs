//! `countersign demo`: mutual TLS at work, in under a minute and without a trace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use super::{Exit, complain, print, run};
use crate::config;
use crate::generation::{Prepared, prepare};
use crate::listener::Address;
use crate::listener::Ended;
use crate::process::Host;
use crate::telemetry::{AccessLog, Format, Level, log};
use crate::{Addresses, Logs, Wishes, serve};

mod backend;
mod files;
mod visits;

use files::{Binds, Files, FilesError};

/// What the demo could not do.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the demo's files cannot be written: {0}")]
    Files(#[from] FilesError),
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
            complain(&cause);
            match cause {
                // Another `--dir` is all that it takes, and nothing was done yet.
                DemoError::Files(FilesError::InTheWay(_)) => Exit::Usage,
                _ => Exit::Failure,
            }
        }
    }
}

fn stage(once: bool, dir: Option<&Path>) -> Result<Exit, DemoError> {
    let backend = TcpListener::bind(ANY_PORT)?;
    let service = backend.local_addr()?;
    // Kept until the end, which removes it.
    let mut _temporary = None;
    let files = match dir {
        Some(dir) => Files::write(dir, free_binds(service)?)?,
        None => {
            let made = tempfile::Builder::new()
                .prefix("countersign-demo-")
                .tempdir()?;
            let binds = Binds {
                service,
                proxy: ANY_PORT,
                admin: ANY_PORT,
            };
            Files::write(_temporary.insert(made).path(), binds)?
        }
    };
    let kept = dir.is_some();
    let prepared = prepare(&files.config)?;
    // Alone, the demo shows what happens; with `--once` its own words suffice.
    let log = log::start(Format::Text, if once { Level::Error } else { Level::Info });
    let (access, _guard) = AccessLog::start(Format::Text, !once)?;
    let logs = Logs {
        access,
        control: log.control(),
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        tokio::task::spawn_local(backend::serve(backend));
        if once {
            visit(prepared, logs, &files).await
        } else {
            let ended = serve(
                prepared,
                logs,
                run::wishes()?,
                Host::default(),
                |addresses| {
                    if let Some(proxy) = proxy_of(addresses) {
                        print(files.invitation(proxy, kept).as_bytes());
                    }
                },
            )
            .await?;
            Ok(if ended == Ended::Drained {
                Exit::Ok
            } else {
                Exit::Cut
            })
        }
    })
}

/// What a config that is kept binds: a person who runs it again, or reads it,
/// wants ports that stay. They are free now, which is the most that can be known.
fn free_binds(service: SocketAddr) -> io::Result<Binds> {
    // Both at once, so that they differ.
    let (proxy, admin) = (TcpListener::bind(ANY_PORT)?, TcpListener::bind(ANY_PORT)?);
    Ok(Binds {
        service,
        proxy: proxy.local_addr()?,
        admin: admin.local_addr()?,
    })
}

/// Where the demo's one listener is.
fn proxy_of(addresses: &Addresses) -> Option<SocketAddr> {
    match addresses.listeners.first() {
        Some((_, Address::Tcp(address))) => Some(*address),
        Some((_, Address::Unix(_))) | None => None,
    }
}

/// Makes the demo's requests, and says of each whether it ended as it should.
async fn visit(prepared: Prepared, logs: Logs, files: &Files) -> Result<Exit, DemoError> {
    let (stop, stopped) = mpsc::channel(1);
    let (open, opened) = oneshot::channel();
    let visits = {
        let files = files.clone();
        tokio::task::spawn_local(async move {
            let report = match opened.await {
                Ok(Some(proxy)) => visits::make(&files, proxy).await,
                Ok(None) | Err(_) => visits::Report::unopened(),
            };
            // The end of the channel stops the proxy as well.
            stop.send(()).await.ok();
            report
        })
    };
    let wishes = Wishes {
        stop: stopped,
        reload: mpsc::channel(1).1,
    };
    serve(prepared, logs, wishes, Host::default(), |addresses| {
        open.send(proxy_of(addresses)).ok();
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

/// The demo stays on this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
