//! What is refused, and the exact words that the operator is told.
//!
//! The cases stand in `problems.txt`. Each begins with `#` and the rule that it
//! shows; `=` is a line of the expression, and `|` a line that is printed, the
//! first one with the line and the column. `BLESS=1` writes these lines anew.

use std::path::Path;

use super::super::attributes::fields;
use super::super::functions::{GLOBALS, MEMBERS};
use super::*;

const CASES: &str = include_str!("problems.txt");

#[derive(Default)]
struct Case<'t> {
    rule: &'t str,
    expression: Vec<&'t str>,
    printed: String,
}

#[test]
fn each_mistake_is_told_in_these_words() {
    let cases = cases();
    assert!(cases.len() > 50, "only {} cases were found", cases.len());
    if std::env::var_os("BLESS").is_some() {
        return bless(&cases);
    }
    for case in &cases {
        assert_eq!(
            told(&case.expression.join("\n")),
            case.printed,
            "# {}",
            case.rule
        );
    }
}

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty()) {
        if let Some(rule) = line.strip_prefix("# ") {
            cases.push(Case {
                rule,
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with its rule");
        match (line.strip_prefix("| "), line.strip_prefix('=')) {
            (Some(printed), _) => case.printed += &format!("{printed}\n"),
            (_, Some(text)) => case.expression.push(text.strip_prefix(' ').unwrap_or(text)),
            _ => panic!("what is {line:?}?"),
        }
    }
    cases
}

fn told(text: &str) -> String {
    let error = Expression::compile(text).expect_err(text);
    let before = &text[..error.offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("{line}:{column}: {error}\n  {}\n", error.remedy)
}

fn bless(cases: &[Case<'_>]) {
    let mut text = String::new();
    for case in cases {
        text += &format!("# {}\n", case.rule);
        for line in &case.expression {
            text += format!("= {line}").trim_end();
            text += "\n";
        }
        let told = told(&case.expression.join("\n"));
        text.extend(told.lines().map(|line| format!("| {line}\n")));
        text += "\n";
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/expression/tests/problems.txt");
    std::fs::write(path, text.trim_end().to_owned() + "\n").expect("the file can be written");
}

#[test]
fn the_manual_has_every_field_and_every_function() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (_, section) = manual.split_once("\n## Conditions\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let fields = ["caller", "request"].into_iter().flat_map(|variable| {
        fields(variable)
            .into_iter()
            .map(|(_, field)| field.to_string())
    });
    for name in fields.chain(["speaker.present".to_owned()]) {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
    for function in MEMBERS.into_iter().chain(GLOBALS) {
        assert!(section.contains(&format!("{function}(")), "{function}");
    }
}
