//! Reads what concerns the whole process: `[server]`, `[log]`, `[admin]` and `[trust.NAME]`.

use std::num::NonZeroUsize;

use super::defaults;
use super::model::{Admin, Log, LogFormat, LogLevel, OnWithdrawal, Server, TrustBundle};
use super::problem::Problem;
use super::section::{Read, Section};

/// More threads than any machine has cores for.
const MOST_WORKERS: usize = 1024;

pub(super) fn server(section: &mut Section<'_>) -> Read<Server> {
    let workers = section.optional("workers", |field| field.count(MOST_WORKERS));
    let drain_timeout = section.defaulted("drain_timeout", defaults::DRAIN_TIMEOUT, |field| {
        field.duration()
    });
    Ok(Server {
        workers: workers?.and_then(NonZeroUsize::new).unwrap_or_else(cores),
        drain_timeout: drain_timeout?,
    })
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(defaults::WORKERS)
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
    Ok(Log {
        format: format?,
        access: access?,
        level: level?,
    })
}

pub(super) fn admin(section: &mut Section<'_>) -> Read<Admin> {
    let bind = section.required("bind", |field| field.bind());
    Ok(Admin { bind: bind? })
}

pub(super) fn bundle(section: &mut Section<'_>, name: &str) -> Read<TrustBundle> {
    let ca = section.required("ca", |field| field.list(|path| path.path()));
    let crl = section.defaulted("crl", Vec::new(), |field| field.list(|path| path.path()));
    let on_withdrawal = section.defaulted("on_withdrawal", OnWithdrawal::Drain, |field| {
        field.choice(&[
            ("drain", OnWithdrawal::Drain),
            ("cut", OnWithdrawal::Cut),
            ("keep", OnWithdrawal::Keep),
        ])
    });
    if name == "system" {
        let problem = Problem::new("a trust bundle cannot have this name")
            .causes("`trust = \"system\"` names the machine's own certificate authorities")
            .remedy("choose another name");
        return Err(section.refuse(problem));
    }
    Ok(TrustBundle {
        name: name.to_owned(),
        place: section.place(),
        ca: ca?,
        crl: crl?,
        on_withdrawal: on_withdrawal?,
    })
}
