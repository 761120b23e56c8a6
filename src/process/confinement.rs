//! Gives up what the process does not need, for the case that somebody else comes
//! to decide what it does.
//!
//! Threads inherit it from the one that starts them, so it is done before there
//! is a second one. What the system does not know how to hold back stays open,
//! and that is said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use super::system_calls;
use crate::config::{Confinement, Reach};
use crate::telemetry::events;

/// What is in force of the confinement, each part in words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Confined {
    parts: Vec<Part>,
}

/// One thing that is held back from the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its name: a label of metrics.
    pub name: &'static str,
    /// Whether it is in force.
    pub state: State,
}

/// How far a part of the confinement is in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// Wholly.
    InForce,
    /// As far as this system knows how.
    InPart(String),
    /// Not, and why.
    Open(String),
    /// Not, as the config says, in this option.
    SwitchedOff(&'static str),
}

/// The newest rights and scopes that are asked for; of these the system takes
/// those that it knows.
const NEWEST: ABI = ABI::V6;

/// What every process needs to find names, and its own state. `/etc` as a whole:
/// `resolv.conf` is replaced by a rename, which the right to a single file does
/// not survive.
const SYSTEM: [&str; 12] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/proc",
    "/dev/urandom",
];

impl Confined {
    /// Gives up what `confinement` says, of the calling thread and of those that it
    /// will start. It cannot be taken back.
    pub fn now(confinement: &Confinement, reach: &Reach) -> Self {
        let mut parts = vec![part("core_dumps", core_dumps(confinement))];
        parts.push(part("no_new_privileges", no_new_privileges(confinement)));
        parts.push(part("landlock", landlock(confinement, reach)));
        parts.push(part("seccomp", system_calls::filter(confinement)));
        Self { parts }
    }

    /// Each part.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Says it in the log, in one line; what could not be is a warning.
    pub fn say(&self) {
        let words: Vec<_> = self.parts.iter().map(Part::to_string).collect();
        let words = words.join("; ");
        let is_open = |part: &Part| matches!(part.state, State::Open(_) | State::SwitchedOff(_));
        if self.parts.iter().any(is_open) {
            tracing::warn!(event = events::CONFINED, "{words}");
        } else {
            tracing::info!(event = events::CONFINED, "{words}");
        }
    }
}

impl State {
    /// Whether any of it is in force.
    pub fn is_in_force(&self) -> bool {
        matches!(self, Self::InForce | Self::InPart(_))
    }

    /// What came of asking the system for it.
    pub(super) fn of<E: fmt::Display>(outcome: Result<(), E>) -> Self {
        match outcome {
            Ok(()) => Self::InForce,
            Err(cause) => Self::Open(cause.to_string()),
        }
    }
}

impl fmt::Display for Part {
    /// Writes `NAME in force`, or what else is so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state } = self;
        write!(f, "{name} {state}")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce => f.write_str("in force"),
            Self::InPart(what) => write!(f, "in force in part ({what})"),
            Self::Open(cause) => write!(f, "NOT in force: {cause}"),
            Self::SwitchedOff(option) => write!(f, "NOT in force: {option} = true"),
        }
    }
}

fn part(name: &'static str, state: State) -> Part {
    Part { name, state }
}

/// No dump, and nobody of the same user looks into the process.
fn core_dumps(confinement: &Confinement) -> State {
    if confinement.core_dumps {
        return State::SwitchedOff("unsafe_core_dumps");
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Whoever has started it may have seen to that, and forbidden to change limits.
    let limited = match getrlimit(Resource::Core) {
        Rlimit {
            maximum: Some(0), ..
        } => Ok(()),
        _ => setrlimit(Resource::Core, none),
    };
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    State::of(dumpable.and(limited).map_err(io::Error::from))
}

fn no_new_privileges(confinement: &Confinement) -> State {
    if confinement.new_privileges {
        return State::SwitchedOff("unsafe_new_privileges");
    }
    State::of(rustix::thread::set_no_new_privs(true).map_err(io::Error::from))
}

fn landlock(confinement: &Confinement, reach: &Reach) -> State {
    if !confinement.landlock {
        return State::SwitchedOff("unsafe_no_landlock");
    }
    let outcome = rules(reach).and_then(RulesetCreated::restrict_self);
    match outcome.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => State::InForce,
        Ok(RulesetStatus::PartiallyEnforced) => {
            State::InPart("this kernel does not know all of it".to_owned())
        }
        Ok(RulesetStatus::NotEnforced) => {
            State::Open("this kernel has no Landlock, or it is switched off".to_owned())
        }
        Err(cause) => State::Open(cause.to_string()),
    }
}

/// Everything is held back but to read here, and to make sockets there.
fn rules(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let ruleset = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::Signal)?;
    let ruleset = ruleset.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let system = SYSTEM.iter().map(Path::new);
    let names = folders_of_names();
    let names = names.iter().map(PathBuf::as_path);
    let ruleset = allow(ruleset, system.chain(names).chain(reach.readable()), read)?;
    let ruleset = allow(ruleset, reach.socket_folders(), AccessFs::MakeSock.into())?;
    // There is no right to remove sockets alone.
    let remove = AccessFs::RemoveFile.into();
    allow(ruleset, reach.folders_of_sockets_alone(), remove)
}

/// The folders that the files by which names are found lead to: on some systems
/// these are links to wherever the network's own service writes.
fn folders_of_names() -> Vec<PathBuf> {
    let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
    let targets = files
        .iter()
        .filter_map(|file| Path::new(file).canonicalize().ok());
    let folders = targets.filter_map(|target| target.parent().map(Path::to_owned));
    folders.filter(|folder| folder.parent().is_some()).collect()
}

fn allow<'p>(
    ruleset: RulesetCreated,
    paths: impl Iterator<Item = &'p Path>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    paths.into_iter().try_fold(ruleset, |ruleset, path| {
        // What is not there cannot be used either.
        let Ok(opened) = PathFd::new(path) else {
            return Ok(ruleset);
        };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(NEWEST)
        };
        if access.is_empty() {
            return Ok(ruleset);
        }
        ruleset.add_rule(PathBeneath::new(opened, access))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::config;

    /// What one thread can do that is confined to what a config needs.
    fn confined<T: Send + 'static>(
        folder: &Path,
        options: &str,
        work: impl FnOnce(State) -> T + Send + 'static,
    ) -> T {
        let file = folder.join("here/config.toml");
        let text = format!("{CONFIG}{options}");
        let config = config::parse(&text, &file).finish(Vec::new()).unwrap();
        let read = folder.join("here/trust.pem");
        let reach = Reach::of(&config, [read.as_path()]);
        let confinement = config.server().confinement.clone();
        let thread = std::thread::spawn(move || work(landlock(&confinement, &reach)));
        thread.join().unwrap()
    }

    const CONFIG: &str = r#"
[admin]
bind = "unix:../sockets/admin.sock"
[listeners.a]
bind = "127.0.0.1:0"
tls = { certificates = [{ chain = "c", key = "k" }], client_auth = "none" }
[[routes]]
upstream = "a"
[upstreams.a]
endpoints = ["http://127.0.0.1"]
"#;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["here", "sockets", "elsewhere"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("trust.pem"), "").unwrap();
        }
        folder
    }

    fn is_forbidden<T: fmt::Debug>(outcome: io::Result<T>) -> bool {
        outcome.unwrap_err().kind() == io::ErrorKind::PermissionDenied
    }

    #[test]
    fn confined_process_reads_what_its_config_needs_and_nothing_else() {
        let folder = folder();
        let root = folder.path().to_owned();
        confined(folder.path(), "", move |state| {
            assert_eq!(
                state,
                State::InForce,
                "this is tested where there is Landlock"
            );
            fs::read(root.join("here/trust.pem")).unwrap();
            fs::read("/etc/hosts").unwrap();
            fs::read("/proc/self/status").unwrap();
            assert!(is_forbidden(fs::read(root.join("elsewhere/trust.pem"))));
            assert!(is_forbidden(fs::write(root.join("here/new"), "")));
            assert!(is_forbidden(fs::remove_file(root.join("here/trust.pem"))));
            UnixListener::bind(root.join("sockets/admin.sock")).unwrap();
            fs::remove_file(root.join("sockets/admin.sock")).unwrap();
            assert!(is_forbidden(UnixListener::bind(root.join("here/a.sock"))));
            let program = std::process::Command::new("/bin/true").status();
            assert!(is_forbidden(program));
        });
    }

    #[test]
    fn confined_process_removes_nothing_where_there_is_more_than_sockets() {
        let folder = folder();
        let root = folder.path().to_owned();
        let beside = "[listeners.b]\nbind = \"unix:b.sock\"\n";
        confined(folder.path(), beside, move |state| {
            assert_eq!(state, State::InForce);
            let socket = root.join("here/b.sock");
            UnixListener::bind(&socket).unwrap();
            for name in ["here/b.sock", "here/trust.pem"] {
                assert!(is_forbidden(fs::remove_file(root.join(name))), "{name}");
            }
        });
    }

    #[test]
    fn what_is_named_for_later_is_within_reach_and_nothing_is_forbidden_where_it_is_off() {
        let folder = folder();
        let elsewhere = folder.path().join("elsewhere");
        let name = format!(
            "[server.confinement]\nalso_readable = [\"{}\"]\n",
            elsewhere.display()
        );
        let file = elsewhere.join("trust.pem");
        confined(folder.path(), &name, move |state| {
            assert_eq!(state, State::InForce);
            fs::read(file).unwrap();
        });
        let file = elsewhere.join("trust.pem");
        let off = "server.confinement.unsafe_no_landlock = true\n";
        let text = format!("{off}{CONFIG}");
        let config = config::parse(&text, Path::new("/x/config.toml"));
        let config = config.finish(Vec::new()).unwrap();
        let state = landlock(&config.server().confinement, &Reach::default());
        assert_eq!(state, State::SwitchedOff("unsafe_no_landlock"));
        fs::read(file).unwrap();
    }

    #[test]
    fn what_is_not_in_force_is_said_with_its_cause() {
        let confined = Confined {
            parts: vec![
                part("a", State::InForce),
                part("b", State::Open("no such thing".to_owned())),
                part("c", State::SwitchedOff("unsafe_no_c")),
            ],
        };
        let words: Vec<_> = confined.parts().iter().map(Part::to_string).collect();
        assert_eq!(
            words,
            [
                "a in force",
                "b NOT in force: no such thing",
                "c NOT in force: unsafe_no_c = true"
            ]
        );
    }
}
