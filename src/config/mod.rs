//! Turns a file into a [`Config`] in which every value is already legal.
//!
//! # Rules
//!
//! * Every problem is found in one go and reported as `file:line:column`, what
//!   is wrong, what it would cause and what to write ([`Problem`]).
//! * An unknown key is refused, with the nearest known one.
//! * Durations and sizes carry units; there is no "0 means for ever".
//! * Nothing here reads a file other than the config itself, and nothing here
//!   knows sockets or TLS libraries. Paths that the room `tls` loads later carry
//!   their place in the file ([`Located`]), so that its problems point there too.
//! * Whatever a load reads, it reads through one [`Files`], so that afterwards
//!   there is one answer to what was looked at and whether it has changed.
//!
//! # How to add an option
//!
//! A field in `model`, a line in the reader of its section, an entry in
//! `options`; then `BLESS=1 cargo test --lib config` writes it into
//! `config/reference.toml` and `config/README.md`.

mod accepted;
mod access_log;
mod admin;
mod algorithms;
mod announcers;
mod balancing;
mod confinement;
mod defaults;
mod delivery;
mod doubts;
mod encodings;
mod expression;
mod field_rules;
mod files;
mod fitting;
#[cfg(test)]
mod golden;
mod limits;
mod listeners;
mod model;
mod named_policies;
mod names;
mod nearest;
mod options;
mod outbound;
mod outcomes;
mod places;
mod problem;
mod process;
mod reach;
mod redirect;
mod rewriting;
mod route_index;
mod route_limits;
mod routes;
mod rules;
mod run_as;
mod scoped;
mod section;
mod signed;
mod stateful;
mod syntax;
#[cfg(test)]
mod tests;
mod trace;
mod units;
mod upstreams;
mod values;
mod whole;
mod wire;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use expression::{
    Attribute, Attributes, EvaluationError, Expression, ExpressionError, Party, PartyList,
    PartyText, RequestText,
};
pub use files::{Contents, Digest, FileError, Files, Inputs, Seen};
pub use model::{
    AcceptedAssertions, Admin, AdminTls, Announcers, Balance, Balancing, Bind, Buffering, BundleId,
    Callers, Capacity, ChainLimits, CipherSuite, ClientAuth, ClientPolicy, Confinement,
    CookieChanges, CredentialSource, CrlCheck, CrowdLimits, Delivery, Ejection, Endpoint,
    EndpointAddress, FieldNames, FieldRule, FieldRules, HealthCheck, HostPattern, KeyExchange,
    LayerMode, Limits, Listener, ListenerId, ListenerTls, Located, Log, LogFormat, LogLevel,
    Maintenance, NamedPolicy, NamedRules, OnCrlFault, OnWithdrawal, Outbound, Outcome, Outcomes,
    OwnCertificate, PathForm, Place, PoolPer, Protocol, Rate, RatePer, Redirect, Retries, RetryOn,
    Rewriting, Route, RouteLimits, Rule, RunAs, Says, Server, SessionLost, SessionPer, Share,
    StatefulSessions, Statuses, TlsVersion, TlsVersions, Trace, TraceContext, TrafficLimits,
    TrustBundle, UnknownSni, Upstream, UpstreamHost, UpstreamId, UpstreamTls, UpstreamTrust, Who,
    is_within,
};
pub use options::{manual, reference};
pub use problem::{Problem, Problems};
pub use reach::Reach;
pub use route_index::RouteIndex;
pub use signed::{AcceptedJwt, SignedAssertion};

use section::{Reader, Section};

/// The largest config file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// A whole configuration; legal once it has passed [`Draft::finish`].
///
/// Two are equal when they mean the same: comments, blank lines and the order
/// of the keys in a table make no difference. Each of its parts compares so too.
#[derive(Debug, Eq, PartialEq)]
pub struct Config {
    path: PathBuf,
    server: Server,
    log: Log,
    admin: Option<Admin>,
    trace: Option<Trace>,
    bundles: Vec<TrustBundle>,
    listeners: Vec<Listener>,
    rules: Vec<Arc<NamedRules>>,
    routes: Vec<Route>,
    upstreams: Vec<Upstream>,
}

/// What was read from a file: the sections that are legal, and what is wrong with the others.
///
/// The files that the legal sections name can be loaded before
/// [`finish`](Self::finish), so that one run finds their problems too.
#[derive(Debug)]
pub struct Draft {
    /// The legal sections. Each is whole; others may be absent.
    pub config: Config,
    /// What is wrong.
    pub problems: Problems,
}

/// Reads a config file of at most 1 MiB through `files`.
///
/// Relative paths in it start from its own directory; `${NAME}` in a path is
/// taken from the environment of this process.
pub fn read(path: &Path, files: &Files) -> Draft {
    match text_of(path, files) {
        Ok(text) => parse(&text, path),
        Err(problem) => {
            let draft = parse("", path);
            Draft {
                problems: Problems::new(path, vec![problem]),
                ..draft
            }
        }
    }
}

/// Reads `text` as if it were the file at `path`.
pub fn parse(text: &str, path: &Path) -> Draft {
    parse_with(text, path, &|name| std::env::var_os(name))
}

/// Reads `text` with variables that `environment` looks up.
fn parse_with(text: &str, path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Draft {
    let directory = path.parent().unwrap_or(Path::new(""));
    let reader = Reader::new(text, directory, environment);
    let (table, errors) = DeTable::parse_recoverable(text);
    let config = whole::config(Section::root(&reader, table.get_ref()), path);
    let found = reader.take_problems();
    Draft {
        config,
        problems: Problems::new(path, syntax::with_syntax(&reader, &errors, found)),
    }
}

impl Draft {
    /// Makes the draft a config, unless there is a problem here or in `more`.
    ///
    /// # Errors
    ///
    /// All problems together.
    pub fn finish(self, more: Vec<Problem>) -> Result<Config, Problems> {
        let Self {
            config,
            mut problems,
        } = self;
        problems.extend(more);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }
}

impl Config {
    /// The file it was read from, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What concerns the whole process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What is written where.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where health and metrics are served, if anywhere.
    pub fn admin(&self) -> Option<&Admin> {
        self.admin.as_ref()
    }

    /// Whose traces are continued, and where spans go; `None`: fields about traces
    /// pass as they came.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The trust bundles, in the order of the file.
    pub fn bundles(&self) -> &[TrustBundle] {
        &self.bundles
    }

    /// The listeners, in the order of the file.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The named lists of rules, in the order of the file.
    pub fn rules(&self) -> &[Arc<NamedRules>] {
        &self.rules
    }

    /// The routes, in the order of the file, which is the order they are tried in.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The upstreams, in the order of the file.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// What is legal and likely wrong, such as rules that are never reached.
    pub fn doubts(&self) -> Problems {
        doubts::doubts(self)
    }

    /// The bundle of an id of this config; `None` for one of another.
    pub fn bundle(&self, id: BundleId) -> Option<&TrustBundle> {
        self.bundles.get(id.0)
    }

    /// The listener of an id of this config; `None` for one of another.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(id.0)
    }

    /// The upstream of an id of this config; `None` for one of another.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.get(id.0)
    }
}

fn text_of(path: &Path, files: &Files) -> Result<String, Problem> {
    let contents = files
        .read(path, LARGEST_FILE)
        .map_err(|error| match error {
            FileError::TooLarge { .. } => {
                Problem::new("is larger than 1 MiB").remedy("give the config file itself")
            }
            other => Problem::new(format!("cannot be read: {other}"))
                .remedy("give the file with --config, and see that this user may read it"),
        })?;
    match std::str::from_utf8(&contents) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let good = contents.get(..at).unwrap_or_default();
            let text = String::from_utf8_lossy(good);
            let place = Reader::new(&text, Path::new(""), &|_| None).place(at);
            Err(Problem::at(place, "is not UTF-8").remedy("save the file as UTF-8"))
        }
    }
}
