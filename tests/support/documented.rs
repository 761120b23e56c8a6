//! Holds what the binary writes to what is said of it: every line of a log has an
//! event that the document has, at a level that it names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

/// Fails the test for a line in JSON that is not documented. Those at DEBUG are for
/// finding a fault in countersign, and have no name to hold on to.
#[track_caller]
pub(crate) fn expect_all(text: &str) {
    for line in text.lines() {
        let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let word = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let (event, level) = (word("event"), word("level"));
        // A library's own, by the name of its module.
        if level == "DEBUG" || event.contains("::") {
            continue;
        }
        let levels = events().get(event);
        let levels = levels.unwrap_or_else(|| panic!("{event} is not documented: {line:?}"));
        assert!(
            levels.contains(level),
            "{event} at {level} is not documented"
        );
    }
}

/// The events of the document, with all that their rows say.
fn events() -> &'static BTreeMap<String, String> {
    static EVENTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/README.md");
        let text = std::fs::read_to_string(file).unwrap();
        let (_, rest) = text.split_once("| event | level | says |\n").unwrap();
        let (table, _) = rest.split_once("\n\n").unwrap();
        let mut events = BTreeMap::<String, String>::new();
        for row in table.lines().filter(|row| row.starts_with("| `")) {
            let names = row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
            names.for_each(|name| events.entry(name.to_owned()).or_default().push_str(row));
        }
        assert!(events.len() > 40, "{events:#?}");
        events
    })
}
