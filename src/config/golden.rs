//! Cases in a text file: what is written, and the exact words that are printed of it.
//!
//! Each begins with `#` and the rule that it shows; `|` is a line that is
//! printed, and every other line, by its first character, what its readers
//! take it for. `BLESS=1` writes the printed lines anew.

use std::fmt::Write;
use std::path::Path;

/// One case.
#[derive(Default)]
pub(super) struct Case<'t> {
    /// The rule that it shows.
    pub(super) rule: &'t str,
    input: Vec<&'t str>,
    printed: String,
}

impl<'t> Case<'t> {
    /// What is written behind this mark, a line each.
    pub(super) fn lines(&self, mark: char) -> Vec<&'t str> {
        let marked = self.input.iter().filter_map(|line| line.strip_prefix(mark));
        marked
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect()
    }
}

/// Holds what `told` says of each case of the file `path`, which holds `text`,
/// against what is printed there. There are at least `least`.
pub(super) fn hold((path, text): (&str, &str), least: usize, told: impl Fn(&Case<'_>) -> String) {
    let cases = read(text);
    assert!(
        cases.len() >= least,
        "only {} cases were found",
        cases.len()
    );
    if std::env::var_os("BLESS").is_some() {
        return bless(path, &cases, told);
    }
    for case in &cases {
        let (told, printed) = (told(case), &case.printed);
        assert_eq!(told.trim_end(), printed.trim_end(), "# {}", case.rule);
    }
}

fn read(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rule) = line.strip_prefix("# ") {
            cases.push(Case {
                rule,
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with its rule");
        match line.strip_prefix("| ") {
            Some(printed) => case.printed += &format!("{printed}\n"),
            None => case.input.push(line),
        }
    }
    cases
}

fn bless(path: &str, cases: &[Case<'_>], told: impl Fn(&Case<'_>) -> String) {
    let mut text = String::new();
    for case in cases {
        writeln!(text, "# {}", case.rule).expect("a string takes it");
        text.extend(case.input.iter().map(|line| format!("{line}\n")));
        let told = told(case);
        text.extend(told.trim_end().lines().map(|line| format!("| {line}\n")));
        text += "\n";
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::write(file, text.trim_end().to_owned() + "\n").expect("it can be written");
}
