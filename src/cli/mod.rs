//! The commands of the command line.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Files};
use admin_client::Target;
use admin_tls::Believed;
use healthcheck::{LIVENESS, READINESS, healthcheck};
use trust::Form;

mod admin_client;
mod admin_tls;
mod check;
mod demo;
mod explain;
mod healthcheck;
mod run;
mod terminal;
mod trust;
mod upgrade;

/// How the process ends; documented in deploy/README.md.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// All went well; after `run`: everything under way was finished.
    Ok,
    /// What was asked for failed.
    Failure,
    /// The command line or the config is wrong; nothing was started.
    Usage,
    /// Connections were cut before they were finished.
    Cut,
    /// `trust preview`: somebody would be refused. `explain`: the caller would be.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Cut => 3,
            Exit::Refused => 4,
        })
    }
}

/// Terminates mutual TLS in front of HTTP services, decides by client
/// certificate, and tells the service who is calling.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop: SIGTERM drains, a second one ends at once.
    Run {
        /// The config file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Take the listening sockets over from the process that runs with this
        /// config (server.upgrade_socket), which then drains.
        #[arg(long)]
        take_over: bool,
        /// Say on standard input when it serves.
        #[arg(long, hide = true)]
        report: bool,
    },
    /// Start this program in place of the one that runs with this config: it takes
    /// over the listening sockets (server.upgrade_socket), and the other one
    /// drains. Returns when it serves. Exit code 0: it does; 1: it does not, and
    /// the other one goes on as before.
    Upgrade {
        /// The config file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Start it and return at once.
        #[arg(long, hide = true)]
        detach: bool,
    },
    /// Load a config and everything that it names, open no port, and say what
    /// was found or everything that is wrong.
    Check {
        /// The config file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show mutual TLS at work, with throwaway certificates and a backend of its own.
    Demo {
        /// Make the requests, print what came of them, and end.
        #[arg(long)]
        once: bool,
        /// Keep the files here, config included, as a start for a setup of your
        /// own. The folder is made if it is missing; no file is overwritten.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Ask the admin address whether countersign is ready, or alive; exit code 0 or 1.
    #[command(group = ArgGroup::new("target").required(true))]
    Healthcheck {
        /// The config file whose admin address is asked.
        #[arg(long, value_name = "FILE", group = "target")]
        config: Option<PathBuf>,
        /// What to ask, such as http://127.0.0.1:9901/readyz or unix:/run/admin.sock.
        #[arg(long, group = "target")]
        url: Option<String>,
        /// Ask whether it is alive (/healthz) where no path says what to ask: it
        /// is while it drains, and while no service can be reached.
        #[arg(long)]
        live: bool,
    },
    /// Say what would become of a request, and why: the handshake, the route,
    /// the rule, and the very fields that the upstream would get; or where it
    /// is refused, and what to do about it. Opens no port and sends nothing.
    /// Exit code 0: it would be permitted; 4: it would be refused.
    Explain(Box<explain::Question>),
    /// Look at trust before it is in force.
    Trust {
        #[command(subcommand)]
        command: TrustCommand,
    },
    /// Print the annotated reference config.
    Reference,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Say who of the peers of a running countersign would be refused by a new
    /// config and the files that it names, and what becomes of each trust
    /// bundle. Changes nothing. Exit code 0: nobody would; 4: somebody would.
    Preview {
        /// The new config file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where the running countersign is asked, ADDRESS:PORT or unix:PATH,
        /// if not at the admin address of the new config.
        #[arg(long, value_name = "ADDRESS")]
        admin: Option<String>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Does what the command line asks for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => dispatch(arguments.command).into(),
        Err(message) => {
            let usage = message.use_stderr();
            // With standard output or error closed there is nobody to tell.
            message.print().ok();
            if usage {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            }
        }
    }
}

fn dispatch(command: Command) -> Exit {
    match command {
        Command::Run {
            config,
            take_over,
            report,
        } => run::run(&config, take_over, report),
        Command::Upgrade { config, detach } => match detach {
            true => upgrade::start_successor(&config),
            false => upgrade::upgrade(&config),
        },
        Command::Check { config } => check::check(&config),
        Command::Demo { once, dir } => demo::demo(once, dir.as_deref()),
        Command::Healthcheck { config, url, live } => {
            let path = if live { LIVENESS } else { READINESS };
            ask(config.as_deref(), url.as_deref(), path)
        }
        Command::Explain(question) => explain::explain(&question),
        Command::Trust { command } => match command {
            TrustCommand::Preview {
                config,
                admin,
                json,
            } => {
                let form = if json { Form::Json } else { Form::Text };
                trust::preview(&config, admin.as_deref(), form)
            }
        },
        Command::Reference => print(config::reference().as_bytes()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "countersign", &mut script);
            print(&script)
        }
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn print(bytes: &[u8]) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        // A reader that has read enough (`| head`) needs no word about it.
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Exit::Failure,
        Err(cause) => {
            complain(format_args!("standard output cannot be written: {cause}"));
            Exit::Failure
        }
    }
}

/// Says something on standard error; with that closed there is nobody to tell.
fn complain(what: impl std::fmt::Display) {
    writeln!(std::io::stderr().lock(), "{what}").ok();
}

fn ask(config: Option<&Path>, url: Option<&str>, path: &str) -> Exit {
    let target = match (config, url) {
        (_, Some(url)) => Target::from_url(url, path).map_err(|e| e.to_string()),
        (Some(config), None) => {
            read(config).and_then(|config| Target::of(&config, path, Believed::Anybody))
        }
        (None, None) => Err("give --config or --url".to_owned()),
    };
    let target = match target {
        Ok(target) => target,
        Err(cause) => {
            complain(cause);
            return Exit::Usage;
        }
    };
    match healthcheck(&target) {
        Ok(()) => Exit::Ok,
        Err(cause) => {
            complain(with_causes(&cause));
            Exit::Failure
        }
    }
}

/// An error and what caused it, in one line. Some errors repeat their source
/// in their own text; it is not said twice.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// Asks for `path` at this admin address, or else at that of the config.
fn target_of_admin(
    config: Option<&Path>,
    admin: Option<&str>,
    path: &str,
) -> Result<Target, String> {
    match (admin, config) {
        (Some(address), _) => admin_target(address, path),
        (None, Some(config)) => Target::of(&read(config)?, path, Believed::Named)
            .map_err(|cause| format!("{cause}, or say with --admin where to ask")),
        (None, None) => Err("give --config or --admin".to_owned()),
    }
}

/// Asks for `path` at the address that `--admin` says.
fn admin_target(address: &str, path: &str) -> Result<Target, String> {
    Target::from_address(address, path).map_err(|e| {
        let what = with_causes(&e);
        format!("--admin: {what}; write ADDRESS:PORT or unix:PATH")
    })
}

fn read(path: &Path) -> Result<config::Config, String> {
    let draft = config::read(path, &Files::new());
    draft.finish(Vec::new()).map_err(|e| e.to_string())
}
