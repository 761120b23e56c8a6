//! Prints the annotated reference config.

use std::fmt::Write as _;

use super::{Default, Opt, Table, redirect, tables};

/// The width that comments are wrapped to.
const WIDTH: usize = 88;

/// Returns the reference config: a file that loads, in which every option appears.
///
/// A line that begins with `#` and no space behind it is an option that is off
/// unless it is written; with the `#` taken away from all of them the file loads
/// as well.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for table in tables().filter(|table| !table.header.is_empty()) {
        text.push_str(&section(table));
        if table.path == "trust.NAME" {
            text.push_str(SECOND_BUNDLE);
        }
    }
    text.push_str(SECOND_UPSTREAM);
    text.push_str(THIRD_UPSTREAM);
    text.push_str(redirect::SECOND_LISTENER);
    text
}

fn section(table: &Table) -> String {
    let off = if table.left_out { "#" } else { "" };
    let mut text = format!("\n{}{off}{}\n", comment(table.summary), table.header);
    for option in table.options {
        // These belong to other sources, which further upstreams show.
        if !["token_file", "file"].contains(&option.key()) {
            text.push_str(&lines(option, is_off(table, option)));
        }
    }
    text
}

/// Whether the option stands in the reference as a comment.
///
/// What nothing stands for is a comment, except where the rest needs it; and so
/// is what has a meaning only beside such an option.
fn is_off(table: &Table, option: &Opt) -> bool {
    const NEEDED: [&str; 6] = [
        "trust.NAME.crl",
        "routes[].listener",
        "listeners.NAME.tls.trust",
        "upstreams.NAME.tls.certificate",
        "upstreams.NAME.outbound.credential.user",
        "upstreams.NAME.outbound.credential.password_file",
    ];
    const BESIDE: [&str; 7] = [
        "upstreams.NAME.buffer_memory",
        "upstreams.NAME.retries",
        "upstreams.NAME.retry_budget",
        "upstreams.NAME.outbound.session_lost",
        "upstreams.NAME.outbound.session_lifetime",
        "upstreams.NAME.outbound.max_sessions",
        "upstreams.NAME.outbound.session_per",
    ];
    let unset = matches!(option.default, Default::Unset);
    table.left_out || (unset && !NEEDED.contains(&option.path)) || BESIDE.contains(&option.path)
}

fn lines(option: &Opt, off: bool) -> String {
    let (summary, default) = match option.default {
        Default::Required => (format!("{} Required.", option.summary), None),
        Default::Unset => (
            format!("{} Without it {}.", option.summary, option.without),
            None,
        ),
        Default::Is(value) => (option.summary.to_owned(), Some(value)),
    };
    let default = default.map(|value| format!("# Default: {value}\n"));
    format!(
        "{}{}{}{} = {}\n",
        comment(&summary),
        default.unwrap_or_default(),
        if off { "#" } else { "" },
        option.shown_key(),
        option.example
    )
}

/// Wraps a sentence into comment lines.
fn comment(sentence: &str) -> String {
    let mut text = String::new();
    let mut column = WIDTH;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        if column + 1 + length > WIDTH {
            text.push_str(if text.is_empty() { "#" } else { "\n#" });
            column = 1;
        }
        // Writing to a string cannot fail.
        write!(text, " {word}").ok();
        column += 1 + length;
    }
    text.push('\n');
    text
}

const HEAD: &str = "\
# countersign's reference config: every option, with its default.
# Printed by `countersign reference`; README.md beside it is the manual.
#
# A line that begins with `#` and no space behind it is an option that is off unless it is
# written. Durations (ms, s, m, h) and sizes (B, KiB, MiB, GiB) carry units. Paths start
# from the directory of this file; ${NAME} in them comes from the environment.
";

const SECOND_BUNDLE: &str = "
# A second bundle, which the upstreams below are checked against.
[trust.internal]
ca = [\"trust/internal.pem\"]
";

const SECOND_UPSTREAM: &str = "
# A second upstream, for what excludes something above: a bearer token, header fields
# with names of their own, and a signed assertion.
[upstreams.billing]
endpoints = [\"https://billing.internal:8443\"]

[upstreams.billing.tls]
trust = \"internal\"

[upstreams.billing.outbound.credential]
source = \"bearer\"
# The file that holds the token (RFC 6750).
token_file = \"secrets/billing.token\"

[upstreams.billing.outbound.assertion]
encode = [\"headers\", \"jwt\"]

# A header field and what it holds.
[upstreams.billing.outbound.assertion.headers]
\"X-Client-Subject\" = \"{subject}\"

# The signed assertion, which the service verifies with the keys of /jwks.json.
[upstreams.billing.outbound.assertion.jwt]
# PEM files with a private key each: the first signs. Required.
keys = [\"keys/assertion.pem\"]
# Who signs. Required.
issuer = \"https://edge.example\"
# Who is calling.
# Default: \"{uri}\"
subject = \"{uri}\"
# For whom it is. Without it the audience is the upstream's name.
#audience = \"billing\"
# From the signature to the end; half of it is used.
# Default: \"60s\"
lifetime = \"60s\"
# The field that carries it.
# Default: \"X-Client-Assertion\"
header = \"X-Client-Assertion\"
# What stands before it in the field. Without it the field holds the assertion alone.
#scheme = \"Bearer\"
";

const THIRD_UPSTREAM: &str = "
# A third upstream, with credentials by caller, and one identity for all of them.
[upstreams.reports]
endpoints = [\"http://127.0.0.1:8090\"]

[upstreams.reports.outbound]
run_as = \"specified\"

# The identity that is asserted.
[upstreams.reports.outbound.identity]
subject = \"CN=gateway,O=Example\"
uri = \"spiffe://prod.example/gateway\"
dns = \"gateway.example\"
email = \"gateway@example.com\"

[upstreams.reports.outbound.credential]
source = \"per_caller\"
# The file that maps callers to credentials: entries such as
#   [[callers]]
#   uri = \"spiffe://prod.example/billing\"
#   user = \"billing\"
#   password = \"...\"
file = \"secrets/callers.toml\"
";
