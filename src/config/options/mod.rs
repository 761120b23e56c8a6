//! The registry: every option, with what the manual and the messages say about it.
//!
//! One entry makes the option's part of `config/README.md`, its lines in
//! `config/reference.toml`, and the remedies that problems propose. Tests hold
//! the registry equal to what the readers ask for.

mod admin;
mod assertions;
mod balancing;
mod chain;
mod confinement;
mod crowd;
mod delivery;
mod limits;
mod listeners;
mod manual;
mod outcomes;
mod process;
mod proxy_protocol;
mod redirect;
mod reference;
mod rewriting;
mod routes;
mod rules;
mod trace;
mod upstreams;
mod wire;

pub use manual::manual;
pub use reference::reference;

/// A table of the config and its options.
pub(super) struct Table {
    /// Its path, with placeholders: `listeners.NAME.tls`, `routes[]`.
    pub(super) path: &'static str,
    /// Its header in the reference: `[listeners.public.tls]`; empty for a table
    /// that is written within a line.
    header: &'static str,
    /// Whether the reference shows the whole table as a comment.
    left_out: bool,
    /// What it is for.
    summary: &'static str,
    /// Its options, in the order of the reference.
    options: &'static [Opt],
}

/// An option.
pub(super) struct Opt {
    /// The path, with placeholders.
    path: &'static str,
    /// What can be written.
    value: &'static str,
    default: Default,
    /// What it is, in one sentence.
    summary: &'static str,
    /// What it protects, or how it can do harm.
    protects: &'static str,
    /// Completes the sentence "without it ...".
    pub(super) without: &'static str,
    pub(super) see: &'static [&'static str],
    /// A value as TOML, for the reference and for messages.
    pub(super) example: &'static str,
}

/// What holds when an option is not written.
#[derive(Clone, Copy)]
enum Default {
    /// It must be written.
    Required,
    /// Nothing; `without` says what that means.
    Unset,
    /// This value, as TOML.
    Is(&'static str),
}

impl Opt {
    /// The last part of the path.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The key where a name of the operator's choice stands for it.
    pub(super) fn shown_key(&self) -> &'static str {
        match self.key() {
            "FIELD" if self.path.ends_with(".set.FIELD") => "\"X-Env\"",
            "FIELD" if self.path.ends_with(".add.FIELD") => "\"X-Tag\"",
            "FIELD" => "\"X-Client-Subject\"",
            "NAME" => "staff",
            key => key,
        }
    }

    /// Whether it must be written.
    pub(super) fn is_required(&self) -> bool {
        matches!(self.default, Default::Required)
    }
}

/// Finds an option by its path with placeholders.
pub(super) fn find(path: &str) -> Option<&'static Opt> {
    let mut options = tables().flat_map(|table| table.options);
    options.find(|option| option.path == path)
}

/// All tables, in the order of the reference.
fn tables() -> impl Iterator<Item = &'static Table> {
    let all = [
        process::TABLES,
        confinement::TABLES,
        listeners::TABLES,
        outcomes::TABLES,
        routes::TABLES,
        rewriting::TABLES,
        rules::TABLES,
        upstreams::TABLES,
        balancing::TABLES,
        assertions::TABLES,
        trace::TABLES,
    ];
    all.into_iter().flatten()
}

#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    tables()
        .flat_map(|table| table.options)
        .map(|option| option.path)
}
