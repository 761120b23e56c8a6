//! `countersign upgrade`.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Exit, complain, print, read};
use crate::process::TakeOverError;

/// How long a successor may take until it serves: longer than it waits for its
/// predecessor's first word, and that one then for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a successor says when it serves, before the number of its process.
const SERVES: &str = "serves ";

/// Starts this program as the successor of the one that runs, and waits until it
/// serves.
pub(super) fn upgrade(path: &Path) -> Exit {
    let config = match read(path) {
        Ok(config) => config,
        Err(problems) => {
            complain(problems);
            return Exit::Usage;
        }
    };
    if config.server().upgrade_socket.is_none() {
        complain(TakeOverError::NoSocket);
        return Exit::Usage;
    }
    match started(path) {
        Ok(Some(pid)) => print(
            format!("process {pid} serves now; the one before finishes what is under way\n")
                .as_bytes(),
        ),
        Ok(None) => {
            complain(
                "the successor has ended before it served, and said why; a process that runs goes on as before",
            );
            Exit::Failure
        }
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            complain(format_args!(
                "the successor was started, and has not said within {} s that it serves; the logs of both say what came of it",
                PATIENCE.as_secs()
            ));
            Exit::Failure
        }
        Err(cause) => {
            complain(format_args!(
                "the successor cannot be started: {cause}; the process that runs goes on as before"
            ));
            Exit::Failure
        }
    }
}

/// Starts the successor and returns at once, so that it is nobody's child but the
/// system's: a service manager can then see to it.
pub(super) fn start_successor(path: &Path) -> Exit {
    let started = std::env::current_exe().and_then(|program| {
        let mut successor = Command::new(program);
        successor.args(["run", "--take-over", "--report", "--config"]);
        // What ends this terminal's programs does not end it.
        successor.arg(path).process_group(0).spawn()
    });
    match started {
        Ok(_) => Exit::Ok,
        Err(cause) => {
            complain(format_args!("{cause}"));
            Exit::Failure
        }
    }
}

/// Says to who has started this process as a successor that it serves.
pub(super) fn report() {
    let words = format!("{SERVES}{}\n", std::process::id());
    let input = io::stdin();
    // Who has gone meanwhile needs no word.
    rustix::io::write(input.as_fd(), words.as_bytes()).ok();
}

/// The number of the successor's process once it serves; `None`: it has ended.
fn started(path: &Path) -> io::Result<Option<u32>> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut starter = Command::new(std::env::current_exe()?);
    starter.args(["upgrade", "--detach", "--config"]).arg(path);
    // Its standard input is what it answers on: it is open in nobody else.
    starter.stdin(Stdio::from(OwnedFd::from(theirs)));
    let started = starter.spawn()?.wait()?;
    // With it goes the other end, which must be open in the successor alone.
    drop(starter);
    if !started.success() {
        return Ok(None);
    }
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(ours.take(LONGEST)).read_line(&mut line)?;
    let number = line
        .strip_prefix(SERVES)
        .and_then(|rest| rest.trim_end().parse().ok());
    Ok(number)
}

/// The longest answer.
const LONGEST: u64 = 100;
