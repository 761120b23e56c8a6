//! What is refused, and the exact words that the operator is told.
//!
//! The [cases](crate::config::golden) stand in `problems.txt`: `=` is a line of
//! the expression, and the first line that is printed begins with its line and
//! column.

use std::path::Path;

use super::super::attributes::fields;
use super::super::functions::{GLOBALS, MEMBERS};
use super::*;
use crate::config::golden;

#[test]
fn each_mistake_is_told_in_these_words() {
    let file = (
        "src/config/expression/tests/problems.txt",
        include_str!("problems.txt"),
    );
    golden::hold(file, 50, |case| told(&case.lines('=').join("\n")));
}

fn told(text: &str) -> String {
    let error = Expression::compile(text).expect_err(text);
    let before = &text[..error.offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("{line}:{column}: {error}\n  {}\n", error.remedy)
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
