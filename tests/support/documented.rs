//! Holds what the binary writes to what is said of it: every line of a log has an
//! event that the document has, at a level and with fields that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

/// An event as the document has it.
#[derive(Debug)]
pub(crate) struct Documented {
    /// At which it may be.
    pub(crate) levels: BTreeSet<String>,
    /// Those that it may have beside what every line has.
    pub(crate) fields: BTreeSet<String>,
}

/// What every line may have.
const EVERYWHERE: [&str; 4] = ["time", "level", "event", "message"];

/// Fails the test for a line in JSON that is not documented. Those at DEBUG are for
/// finding a fault in countersign, and have no name to hold on to.
#[track_caller]
pub(crate) fn expect_all(text: &str) {
    for line in text.lines() {
        let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        // What a command prints, or a form of the access log of one's own.
        if !line.contains_key("event") {
            continue;
        }
        let word = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let (event, level) = (word("event"), word("level"));
        // A library's own, by the name of its module.
        if level == "DEBUG" || (event.contains("::") && !event.starts_with("countersign::")) {
            continue;
        }
        let documented = events().get(event);
        let documented =
            documented.unwrap_or_else(|| panic!("{event} is not documented: {line:?}"));
        assert!(
            documented.levels.contains(level),
            "{event} at {level} is not documented"
        );
        let fields = line.keys().map(String::as_str);
        for field in fields.filter(|field| !EVERYWHERE.contains(field)) {
            let known = documented.fields.contains(field);
            assert!(known, "{field} of {event} is not documented: {line:?}");
        }
    }
}

/// The events of the document.
pub(crate) fn events() -> &'static BTreeMap<String, Documented> {
    static EVENTS: OnceLock<BTreeMap<String, Documented>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let text = read("deploy/README.md");
        let (_, rest) = text
            .split_once("| event | level | fields | says |\n")
            .unwrap();
        let (table, _) = rest.split_once("\n\n").unwrap();
        let mut events = BTreeMap::new();
        for row in table.lines().filter(|row| row.starts_with("| `")) {
            let cells: Vec<_> = row.split(" | ").collect();
            let fields = match names(cells[2]) {
                _ if cells[2].contains("#the-access-log") => fields_of_requests(),
                fields => fields,
            };
            let levels = cells[1].split(", ").map(ToOwned::to_owned).collect();
            let documented = Documented { levels, fields };
            for name in names(cells[0]) {
                let again = Documented {
                    levels: documented.levels.clone(),
                    fields: documented.fields.clone(),
                };
                assert!(events.insert(name, again).is_none(), "two rows: {row}");
            }
        }
        assert!(events.len() > 40, "{events:#?}");
        events
    })
}

/// The fields of the access log, which have a table of their own.
fn fields_of_requests() -> BTreeSet<String> {
    let text = read("deploy/observability/README.md");
    let (_, rest) = text
        .split_once("<!-- fields of the access log: begin")
        .unwrap();
    let (table, _) = rest
        .split_once("<!-- fields of the access log: end")
        .unwrap();
    let rows = table.lines().filter(|row| row.starts_with("| `"));
    let fields: BTreeSet<_> = rows
        .filter_map(|row| names(row.split(" | ").next()?).pop_first())
        .collect();
    assert!(fields.len() > 20, "{fields:#?}");
    fields
}

/// What stands in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    let names = cell.split('`').skip(1).step_by(2);
    names.map(ToOwned::to_owned).collect()
}

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(file).unwrap()
}
