//! Reads what concerns the whole process: `[server]`, `[log]` and `[trust.NAME]`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::OnceLock;
use std::time::Duration;

use super::confinement::confinement;
use super::defaults;
use super::model::{
    CrlCheck, Log, LogFormat, LogLevel, OnCrlFault, OnWithdrawal, Server, TrustBundle,
};
use super::problem::Problem;
use super::scoped;
use super::section::{Read, Section};
use super::{access_log, trace};
use crate::telemetry;

/// More threads than any machine has cores for.
const MOST_WORKERS: usize = 1024;

/// More lines than this are no limit on what strangers write into the log.
const MOST_REFUSALS: usize = 10_000;

/// More often would keep the disk busy; more seldom would not be live.
const POLL_INTERVAL: (&str, &str) = ("100ms", "1h");

pub(super) fn server(section: &mut Section<'_>) -> Read<Server> {
    let workers = section.optional("workers", |field| field.count(MOST_WORKERS));
    let drain_timeout = section.defaulted("drain_timeout", defaults::DRAIN_TIMEOUT, |field| {
        field.duration()
    });
    let drain_delay = drain_delay(section, &drain_timeout);
    let poll_interval = section.defaulted("poll_interval", defaults::POLL_INTERVAL, |field| {
        let (least, most) = POLL_INTERVAL;
        field.duration_within(least, most)
    });
    let session_ticket_keys = section.optional("session_ticket_keys", |field| field.path());
    let max_memory = section.optional("max_memory", |field| field.size("64MiB", "1024GiB"));
    let upgrade_socket = section.optional("upgrade_socket", |field| field.socket_path());
    let confinement = section.subsection("confinement", confinement);
    Ok(Server {
        workers: workers?.and_then(NonZeroUsize::new).unwrap_or_else(cores),
        drain_timeout: drain_timeout?,
        drain_delay: drain_delay?,
        poll_interval: poll_interval?,
        session_ticket_keys: session_ticket_keys?,
        max_memory: max_memory?,
        upgrade_socket: upgrade_socket?,
        confinement: confinement?,
    })
}

/// How long connections are accepted when the end has begun: a part of `timeout`.
fn drain_delay(section: &mut Section<'_>, timeout: &Read<Duration>) -> Read<Option<Duration>> {
    let Some(field) = section.field("drain_delay") else {
        return Ok(None);
    };
    let delay = field.duration()?;
    if timeout.as_ref().is_ok_and(|timeout| delay >= *timeout) {
        let problem = Problem::new("is not shorter than drain_timeout, which it is a part of")
            .causes("what is under way when it is over would be cut at once")
            .remedy("write less, or a longer drain_timeout");
        return Err(field.refuse(problem));
    }
    Ok(Some(delay))
}

/// Asked once: the quota of a container may change while it runs, its workers
/// cannot, and the config says the same as before.
fn cores() -> NonZeroUsize {
    static CORES: OnceLock<NonZeroUsize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().unwrap_or(defaults::WORKERS))
}

pub(super) fn log(section: &mut Section<'_>) -> Read<Log> {
    let format = section.defaulted("format", LogFormat::Text, |field| {
        field.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let access = section.defaulted("access", true, |field| field.boolean());
    let level = section.defaulted("level", LogLevel::Info, |field| {
        field.choice(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
        ])
    });
    let refusals = section.optional("refusals_per_minute", |field| field.count(MOST_REFUSALS));
    let refusals = refusals?.and_then(|count| u32::try_from(count).ok());
    let access_template = access_log::template(section, access.unwrap_or(true));
    let request_id_header = section.optional("request_id_header", trace::request_id_header);
    Ok(Log {
        format: format?,
        access: access?,
        level: level?,
        refusals_per_minute: refusals
            .and_then(NonZeroU32::new)
            .unwrap_or(defaults::REFUSALS_PER_MINUTE),
        access_template: access_template?,
        request_id_header: request_id_header?,
    })
}

pub(super) fn bundle(section: &mut Section<'_>, name: &str) -> Read<TrustBundle> {
    let ca = section.required("ca", |field| field.list(|path| path.path()));
    let crl = section.optional("crl", |field| field.list(|path| path.path()));
    let has_lists = !matches!(crl, Ok(None));
    let checks = [("chain", CrlCheck::Chain), ("leaf", CrlCheck::Leaf)];
    let crl_check = of_lists(section, "crl_check", &checks, has_lists);
    let faults = [
        ("reject", OnCrlFault::Reject),
        ("allow", OnCrlFault::Allow),
        ("log", OnCrlFault::Log),
    ];
    let crl_missing = of_lists(section, "crl_missing", &faults, has_lists);
    let crl_stale = of_lists(section, "crl_stale", &faults, has_lists);
    let enforce_crl = scoped::enforce_crl(section, has_lists);
    let remember_chains = section.defaulted("remember_chains", true, |field| field.boolean());
    let may_assert = scoped::may_assert(section);
    let spiffe_trust_domain = scoped::trust_domain(section);
    let max_shrink = section.defaulted("max_shrink", defaults::MAX_SHRINK, |field| field.share());
    let on_withdrawal = section.defaulted("on_withdrawal", OnWithdrawal::Drain, |field| {
        field.choice(&[
            ("drain", OnWithdrawal::Drain),
            ("cut", OnWithdrawal::Cut),
            ("keep", OnWithdrawal::Keep),
        ])
    });
    let grace = defaults::WITHDRAWAL_GRACE;
    let withdrawal_grace = section.defaulted("withdrawal_grace", grace, |field| field.duration());
    let enforce_withdrawal = section.defaulted("enforce_withdrawal", true, |field| field.boolean());
    if name == "system" {
        return Err(section.refuse(taken_name()));
    }
    Ok(TrustBundle {
        name: name.to_owned(),
        place: section.place(),
        ca: ca?,
        crl: crl?.unwrap_or_default(),
        crl_check: crl_check?,
        crl_missing: crl_missing?,
        crl_stale: crl_stale?,
        enforce_crl: enforce_crl?,
        remember_chains: remember_chains?,
        may_assert: may_assert?,
        spiffe_trust_domain: spiffe_trust_domain?,
        max_shrink: max_shrink?,
        on_withdrawal: on_withdrawal?,
        withdrawal_grace: withdrawal_grace?,
        enforce_withdrawal: enforce_withdrawal?,
    })
}

/// Reads a word about revocation lists, the first of which is the default.
fn of_lists<T: Copy, const N: usize>(
    section: &mut Section<'_>,
    key: &'static str,
    words: &[(&str, T); N],
    has_lists: bool,
) -> Read<T> {
    section.defaulted(key, words[0].1, |field| {
        let word = field.choice(words)?;
        if has_lists {
            return Ok(word);
        }
        let problem = Problem::new("has no meaning without crl")
            .causes("no certificate is looked up in a revocation list")
            .remedy("write crl = [\"trust/crl/\"], or remove it");
        Err(field.refuse(problem))
    })
}

fn taken_name() -> Problem {
    Problem::new("a trust bundle cannot have this name")
        .causes("`trust = \"system\"` names the machine's own certificate authorities")
        .remedy("choose another name")
}

impl From<LogFormat> for telemetry::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl From<LogLevel> for telemetry::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}
