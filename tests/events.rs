//! What is said of the lines of the log, against the places in the code that write
//! them. Each line that any test sees is held against it as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{Source, sources};
use crate::support::documented::{self, events};

/// A place in the code that writes a line.
#[derive(Debug, Default)]
struct Written {
    level: String,
    /// The constant of its event; `None`: it writes several.
    event: Option<String>,
    fields: BTreeSet<String>,
}

#[test]
fn each_event_has_the_fields_and_levels_that_are_documented_and_no_others() {
    let names = constants();
    let mut known: BTreeMap<&str, Written> = BTreeMap::new();
    let mut of_several = Vec::new();
    for written in all_written() {
        let Some(constant) = &written.event else {
            of_several.push(written);
            continue;
        };
        let name = &names[constant];
        let one = known.entry(name).or_default();
        one.fields.extend(written.fields);
        one.level = format!("{} {}", one.level, written.level);
    }
    assert!(known.len() > 30, "{known:#?}");
    let mut wrong = Vec::new();
    for (name, documented) in events() {
        let levels = documented.levels.iter().map(String::as_str).collect();
        let fits = match known.get(name.as_str()) {
            // Its line has a writer of its own, and its fields a test.
            Some(written) if name == "request.end" => written.fields.is_subset(&documented.fields),
            Some(written) => {
                written.fields == documented.fields
                    && written.level.split_whitespace().collect::<BTreeSet<_>>() == levels
            }
            None => of_several.iter().any(|written| {
                written.fields == documented.fields && levels.contains(written.level.as_str())
            }),
        };
        if !fits {
            wrong.push((name, documented, known.get(name.as_str())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_line_that_is_meant_for_operators_has_a_name() {
    for source in sources("src") {
        for (level, body) in macros(&code(&source)) {
            let names = items(&body).iter().any(|item| {
                let name = item.split('=').next().unwrap_or_default();
                name.trim() == "event"
            });
            assert!(names, "{} at {level}: {body}", source.path);
        }
    }
}

#[test]
#[should_panic(expected = "surprise of reload.recovered is not documented")]
fn field_that_is_not_documented_is_found() {
    let head = r#"{"time":"now","level":"INFO","event":"reload.recovered","generation":1"#;
    documented::expect_all(&format!("{head}}}"));
    documented::expect_all(&format!("{head},\"surprise\":1}}"));
}

#[test]
#[should_panic(expected = "reload.surprise is not documented")]
fn event_that_is_not_documented_is_found() {
    documented::expect_all(r#"{"time":"now","level":"INFO","event":"reload.surprise"}"#);
}

#[test]
fn places_that_write_are_read_as_they_stand() {
    let text = r#"tracing::warn!(event = events::A, limit, r#for = self.spoken("a, b)"), %cause, "words: {}", if a { 1 } else { 2 });"#;
    let all = macros(text);
    assert_eq!(all.len(), 1);
    let written = written(&all[0]);
    assert_eq!(
        (written.level.as_str(), written.event.as_deref()),
        ("WARN", Some("A"))
    );
    let fields: Vec<_> = written.fields.iter().map(String::as_str).collect();
    assert_eq!(fields, ["cause", "for", "limit"]);
}

/// The name of each event, by its constant.
fn constants() -> BTreeMap<String, String> {
    let sources = sources("src/telemetry");
    let events = sources
        .iter()
        .find(|source| source.path.ends_with("/events.rs"));
    let code = code(events.unwrap());
    let names = code.lines().filter_map(|line| {
        let (constant, rest) = line.trim().split_once(" = \"")?;
        Some((constant.to_owned(), rest.strip_suffix("\";")?.to_owned()))
    });
    names.collect()
}

fn all_written() -> Vec<Written> {
    let all = sources("src").iter().map(code).collect::<Vec<_>>();
    let all = all.iter().flat_map(|code| macros(code));
    all.map(|one| written(&one)).collect()
}

/// A file without its comments and unit tests.
fn code(source: &Source) -> String {
    if source.path.ends_with("/tests.rs") || source.path.contains("/tests/") {
        return String::new();
    }
    let text = source.text.split("#[cfg(test)]\nmod tests {").next();
    let lines = text.unwrap_or_default().lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The level and the inside of each macro that writes a line for operators.
fn macros(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (level, name) in [("INFO", "info"), ("WARN", "warn"), ("ERROR", "error")] {
        let begin = format!("tracing::{name}!(");
        for (start, _) in text.match_indices(&begin) {
            let body = &text[start + begin.len()..];
            let end = end_of(body, ')').unwrap_or_else(|| panic!("it ends nowhere: {body}"));
            found.push((level.to_owned(), body[..end].to_owned()));
        }
    }
    found
}

fn written((level, body): &(String, String)) -> Written {
    let mut written = Written {
        level: level.clone(),
        ..Written::default()
    };
    for item in items(body) {
        let item = item.trim();
        // The sentence, and what stands in it.
        if item.starts_with('"') {
            break;
        }
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let name = name.trim().trim_start_matches(['%', '?']);
        let name = name.strip_prefix("r#").unwrap_or(name);
        match name {
            "" => {}
            "event" => written.event = value.rsplit_once("events::").map(|(_, it)| it.to_owned()),
            field => assert!(written.fields.insert(field.to_owned()), "{field} twice"),
        }
    }
    written
}

/// What stands between commas.
fn items(body: &str) -> Vec<String> {
    let (mut items, mut rest) = (Vec::new(), body);
    while let Some(end) = end_of(rest, ',') {
        items.push(rest[..end].to_owned());
        rest = &rest[end + 1..];
    }
    items.push(rest.to_owned());
    items
}

/// Where this stands first outside of brackets and texts.
fn end_of(text: &str, wanted: char) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (index, one) in text.char_indices() {
        match one {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            found if found == wanted && depth == 0 => return Some(index),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    None
}
