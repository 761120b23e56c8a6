//! Finds what a running countersign has refused, by the reference that it told.

use std::path::Path;

use serde_json::Value;

use crate::cli::admin_client::{AskError, Target, get};
use crate::cli::terminal::shown_in_full;
use crate::cli::{Exit, complain, print, target_of_admin, with_causes};

/// Asks the admin address for the refusal with this reference, and prints it.
pub(super) fn find(reference: &str, config: Option<&Path>, admin: Option<&str>) -> Exit {
    let is_one = reference.len() == LENGTH && reference.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_one {
        complain(format_args!(
            "--reference: \"{}\" is none; it has {LENGTH} hexadecimal digits",
            shown_in_full(reference)
        ));
        return Exit::Usage;
    }
    let path = format!("/refusals/{}", reference.to_ascii_lowercase());
    let target = match target_of_admin(config, admin, &path) {
        Ok(target) => target,
        Err(cause) => {
            complain(cause);
            return Exit::Usage;
        }
    };
    match ask(&target) {
        Ok(found) => print(found.as_bytes()),
        Err(cause) => {
            complain(cause);
            Exit::Failure
        }
    }
}

fn ask(target: &Target) -> Result<String, String> {
    match get(target) {
        Ok(body) => Ok(body),
        Err(AskError::Status { status: 404, .. }) => Err(format!(
            "{target}: no refusal with this reference is kept there any more, or it was another instance; the log may have it"
        )),
        Err(cause) => Err(with_causes(&cause)),
    }
    .and_then(|body| {
        serde_json::from_slice::<Value>(&body)
            .map_err(|cause| format!("{target} answered what is not JSON: {cause}"))
    })
    .map(|found| text(&found))
}

/// One line for each thing that is known, then the question that would explain it.
fn text(found: &Value) -> String {
    let mut lines = Vec::new();
    add(&mut lines, "", found);
    // In the order in which people ask; what is new stands at the end.
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    lines.sort_by_key(|(name, _)| {
        let name = name.split('.').next().unwrap_or_default();
        place(name).unwrap_or(ORDER.len())
    });
    let mut out = String::new();
    for (name, value) in &lines {
        out.push_str(&format!("{name:<24}  {}\n", shown_in_full(value)));
    }
    if found["kind"] == "request" {
        out.push_str(&format!(
            "\nfor the whole way, with the client's certificate:\n  {}\n",
            again(found)
        ));
    }
    out
}

fn add(lines: &mut Vec<(String, String)>, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                let name = match name {
                    "" => member.clone(),
                    name => format!("{name}.{member}"),
                };
                add(lines, &name, value);
            }
        }
        Value::Array(members) if members.is_empty() => {}
        Value::Array(members) => {
            let texts: Vec<_> = members.iter().map(plain).collect();
            lines.push((name.to_owned(), texts.join(", ")));
        }
        other => lines.push((name.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The same request, as a question to `explain`.
fn again(found: &Value) -> String {
    let mut command = "countersign explain --config FILE --cert FILE".to_owned();
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let value = shown_in_full(value).replace('\'', "'\\''");
            command.push_str(&format!(" --{name} '{value}'"));
        }
    };
    for name in ["listener", "host", "method", "path"] {
        option(name, found[name].as_str());
    }
    // Without its port; a unix socket has none.
    let client = found["client"].as_str();
    let address = client.and_then(|client| client.parse::<std::net::SocketAddr>().ok());
    let address = address.map(|address| address.ip().to_string());
    option("from", address.as_deref());
    command
}

/// The digits of a reference.
const LENGTH: usize = 16;

const ORDER: [&str; 26] = [
    "kind",
    "reference",
    "at",
    "listener",
    "client",
    "sni",
    "peer",
    "for",
    "method",
    "host",
    "path",
    "route",
    "status",
    "outcome",
    "reason",
    "fault",
    "step",
    "certificate",
    "sent",
    "bundle",
    "list",
    "generation",
    "rule",
    "cause",
    "nearest_miss",
    "remedy",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusal_is_told_in_the_order_in_which_people_ask_and_harmless_to_a_terminal() {
        let told = text(&json!({
            "cause": "no route of this listener is for host a\u{1b}[2J",
            "client": "192.0.2.1:4711",
            "kind": "request",
            "listener": "public",
            "method": "GET",
            "path": "/it's",
            "peer": null,
            "reference": "0123456789abcdef",
            "certificate": { "names": ["uri:a", "dns:b"], "subject": "CN=a" },
        }));
        let names: Vec<_> = told
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            names,
            [
                "kind",
                "reference",
                "listener",
                "client",
                "method",
                "path",
                "certificate.names",
                "certificate.subject",
                "cause",
                "",
                "for",
                ""
            ]
        );
        assert!(!told.contains('\u{1b}'), "{told}");
        assert!(told.contains("uri:a, dns:b"), "{told}");
        assert!(
            told.ends_with(
                "--listener 'public' --method 'GET' --path '/it'\\''s' --from '192.0.2.1'\n"
            ),
            "{told}"
        );
    }
}
