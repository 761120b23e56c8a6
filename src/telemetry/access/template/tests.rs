use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;

use super::super::tests::record;
use super::*;
use crate::telemetry::documents::golden_part;
use crate::telemetry::log::Format;
use crate::telemetry::spans::TraceContext;

fn line(template: &str, record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let template = AccessTemplate::parse(template).unwrap();
    template.append(&mut out, record, at);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_table_of_fields_is_what_the_code_prints() {
    golden_part("fields of the access log", &AccessTemplate::table());
}

#[test]
fn line_has_the_form_that_the_template_gives_it() {
    let record = record(&"10.1.2.3:4567");
    let common =
        "{client} {peer} [{time}] \"{method} {path} {protocol}\" {status} {bytes_sent} {{{via}}}";
    assert_eq!(
        line(common, &record),
        format!(
            "10.1.2.3:4567 {} [2027-01-15T08:00:00.000Z] \"GET {} HTTP/2\" 200 {} {{-}}\n",
            record.peer.unwrap(),
            record.path,
            record.bytes_sent
        )
    );
}

#[test]
fn value_from_the_wire_ends_neither_quotes_nor_the_line() {
    let path = "/\" 200 \"x\\\n10.0.0.1 \"GET /\u{1b}[2J";
    let record = AccessRecord {
        path,
        ..record(&"client")
    };
    let line = line("\"{path}\" {status}", &record);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.ends_with("\" 200\n"), "{line}");
    let inner = &line[1..line.len() - 6];
    let unescaped = inner.replace("\\\\", "").replace("\\\"", "");
    assert!(!unescaped.contains(['"', '\u{1b}']), "{line}");
}

#[test]
fn every_field_of_a_line_is_documented_and_can_stand_in_a_template() {
    let (via, fault) = ("10.0.0.9:1", "proxy/policy/denied_by_rule");
    let record = AccessRecord {
        via: Some(&via),
        spoken_for: Some("spiffe://prod.example/other"),
        would_allow: Some("allow[1]"),
        would_deny: Some(("deny[0]", "why")),
        fault: Some(&fault),
        cause: Some("cause"),
        remedy: Some("remedy"),
        given_id: Some("abc"),
        trace: Some(TraceContext::begin(1, 2, true).trace()),
        ..record(&"client")
    };
    let mut out = Vec::new();
    let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    record.append(&mut out, Format::Json, at);
    let all: Json = serde_json::from_slice(&out).unwrap();
    let mut written: BTreeSet<_> = all
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    // The same in every line of every log.
    assert!(written.remove("level") && written.remove("event"));
    let known: BTreeSet<_> = AccessTemplate::placeholders().collect();
    assert_eq!(written, known);
    for (name, value) in all.as_object().unwrap() {
        if known.contains(name.as_str()) {
            let expected = match value {
                Json::String(text) => text.clone(),
                // As text has it: three decimals.
                Json::Number(_) if name == "duration_ms" => continue,
                other => other.to_string(),
            };
            assert_eq!(
                line(&format!("{{{name}}}"), &record),
                format!("{expected}\n")
            );
        }
    }
}

#[test]
fn what_is_no_template_is_refused() {
    use AccessTemplateError::{Brace, Constant, IllegalText, Unknown};
    let too_long = "{path}".repeat(700);
    for (text, error) in [
        ("{path", Brace),
        ("path}", Brace),
        ("", Constant),
        ("{{path}}", Constant),
        ("{path}\n{status}", IllegalText),
        ("{path} \u{1b}[2J", IllegalText),
        ("é {path}", IllegalText),
        (&too_long, IllegalText),
        ("{pfad}", Unknown("pfad".to_owned())),
        ("{authorization}", Unknown("authorization".to_owned())),
    ] {
        assert_eq!(AccessTemplate::parse(text), Err(error), "{text}");
    }
}
