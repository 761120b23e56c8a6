//! What is refused, and the exact words that the operator is told.
//!
//! The [cases](super::super::golden) stand in `problems.txt`. Each changes one
//! thing in the baseline:
//!
//! * `<` a text of the baseline, which the `>` lines below it replace;
//! * `+` a line that is added at the end;
//! * `=` a line of a whole file, in place of the baseline.

use std::path::Path;

use super::super::golden::{self, Case};
use super::super::{Files, LARGEST_FILE, read};
use super::{BASELINE, refused};

#[test]
fn each_problem_is_told_in_these_words() {
    let file = (
        "src/config/tests/problems.txt",
        include_str!("problems.txt"),
    );
    golden::hold(file, 100, |case| refused(&text_of(case)));
}

/// The file of a case.
fn text_of(case: &Case<'_>) -> String {
    let lines = |mark| case.lines(mark);
    let whole = lines('=');
    if !whole.is_empty() {
        return whole.join("\n") + "\n";
    }
    let added: String = lines('+').iter().map(|line| format!("{line}\n")).collect();
    let text = match lines('<')[..] {
        [] => BASELINE.to_owned(),
        [old] => super::with(old, &lines('>').join("\n")),
        _ => panic!("several changes in {}", case.rule),
    };
    text + &added
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let problems = read(Path::new("/nowhere/config.toml"), &Files::new())
        .finish(Vec::new())
        .expect_err("it is not there");
    assert_eq!(
        problems.to_string(),
        "/nowhere/config.toml: cannot be read: No such file or directory (os error 2)\n  \
         give the file with --config, and see that this user may read it\n\
         1 problem; nothing was started"
    );
}

#[test]
fn a_path_that_is_no_regular_file_is_one_problem() {
    let directory = tempfile::tempdir().expect("a directory");
    let null = Path::new("/dev/null");
    for (path, word) in [
        (directory.path(), "it is a directory"),
        (null, "it is no regular file"),
    ] {
        let problems = read(path, &Files::new())
            .finish(Vec::new())
            .expect_err("it holds no config");
        let text = problems.to_string();
        let expected = format!("{}: cannot be read: {word}\n", path.display());
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("1 problem"), "{text}");
    }
}

#[test]
fn a_file_of_more_than_1_mib_is_refused_and_one_of_1_mib_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("c.toml");
    let padding = usize::try_from(LARGEST_FILE).expect("it fits") - BASELINE.len();
    for (more, expected) in [(0, true), (1, false)] {
        let text = format!("{BASELINE}{}", "\n".repeat(padding + more));
        std::fs::write(&file, text).expect("it can be written");
        let read = read(&file, &Files::new()).finish(Vec::new());
        assert_eq!(read.is_ok(), expected, "{read:?}");
    }
}

#[test]
fn a_byte_that_is_not_utf_8_is_shown_where_it_stands() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, b"# one\n# \xc3\xa4\xff\n").expect("it can be written");
    let problems = read(&file, &Files::new())
        .finish(Vec::new())
        .expect_err("it is not UTF-8");
    let text = problems.to_string();
    assert!(
        text.contains("c.toml:2:4: is not UTF-8\n  save the file as UTF-8\n1 problem"),
        "{text}"
    );
}

#[test]
fn what_identity_says_of_a_pattern_or_a_template_is_told_at_its_place() {
    let pattern = super::with("[[routes]]", "[[routes]]\nallow = [{ dns = \"\" }]");
    let told = refused(&pattern);
    assert!(
        told.starts_with("config.toml:14:18: routes[0].allow[0].dns: \"\""),
        "{told}"
    );

    let table = "[upstreams.orders.outbound.assertion]\nencode = [\"headers\"]\n\
                 headers = { A = \"{subject}\", \"X-B\" = \"{subject\" }\n";
    let told = refused(&format!("{BASELINE}{table}"));
    let place = "config.toml:20:38: upstreams.orders.outbound.assertion.headers.X-B: ";
    assert!(told.starts_with(place), "{told}");
}
