//! Holds the parts of `deploy/observability/README.md` equal to the code that they
//! are printed from.

use std::path::Path;
use std::sync::Mutex;

/// Compares a part of the document with what it should hold, or writes it if
/// `BLESS` is set.
#[track_caller]
pub(super) fn golden_part(name: &str, expected: &str) {
    // Several parts may be written at one time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/observability/README.md");
    let text = std::fs::read_to_string(&file).expect("the document can be read");
    let begin = format!("<!-- {name}: begin (generated; BLESS=1 cargo test --lib telemetry) -->\n");
    let end = format!("<!-- {name}: end -->\n");
    let (head, rest) = text.split_once(&begin).expect("the part begins");
    let (found, tail) = rest.split_once(&end).expect("the part ends");
    if std::env::var_os("BLESS").is_some() {
        let text = format!("{head}{begin}{expected}{end}{tail}");
        return std::fs::write(&file, text).expect("the document can be written");
    }
    assert!(
        found == expected,
        "{name} in {} is not what the code says; run `BLESS=1 cargo test --lib telemetry` and look at the difference",
        file.display()
    );
}
