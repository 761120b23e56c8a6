//! Tests of the whole room: from the text of a file to a config or to problems.

mod accepted;
mod documents;
mod doubts;
mod equality;
mod outbound;
mod reach;
mod refused;
mod routes;

use std::ffi::OsString;
use std::path::Path;

use super::{Config, Draft, parse_with};

/// A listener, a route and an upstream, with nothing to complain about.
///
/// Tests change one thing in it.
const BASELINE: &str = r#"
[trust.partners]
ca = ["ca.pem"]

[listeners.public]
bind = "0.0.0.0:8443"

[listeners.public.tls]
certificates = [{ chain = "server.pem", key = "server.key" }]
client_auth = "require"
trust = "partners"

[[routes]]
upstream = "orders"

[upstreams.orders]
endpoints = ["http://127.0.0.1:8080"]
"#;

/// Reads `text` as `/etc/cs/config.toml`, in an environment of one variable.
fn draft(text: &str) -> Draft {
    let environment = |name: &str| match name {
        "SECRETS" => Some(OsString::from("/run/secrets")),
        "EMPTY" => Some(OsString::new()),
        _ => None,
    };
    parse_with(text, Path::new("/etc/cs/config.toml"), &environment)
}

#[track_caller]
fn accepted(text: &str) -> Config {
    match draft(text).finish(Vec::new()) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}\nin\n{text}"),
    }
}

/// What an operator is told, with `config.toml` for the path.
#[track_caller]
fn refused(text: &str) -> String {
    match draft(text).finish(Vec::new()) {
        Ok(config) => panic!("accepted:\n{text}\nas {config:#?}"),
        Err(problems) => problems
            .to_string()
            .replace("/etc/cs/config.toml", "config.toml"),
    }
}

/// The baseline with `old` replaced by `new`; `old` must be there.
#[track_caller]
fn with(old: &str, new: &str) -> String {
    assert!(BASELINE.contains(old), "the baseline has no {old}");
    BASELINE.replacen(old, new, 1)
}
