//! Where in the file an expression is wrong, however its string is written.

use std::path::Path;

use proptest::prelude::any;
use proptest::{prop_assert_eq, proptest};
use toml::de::DeTable;

use super::super::super::section::{Reader, Section};
use super::super::position::in_file;

/// The line and the column of the mistake in the key `when` of a file.
#[track_caller]
fn place(file: &str) -> (u32, u32) {
    let table = DeTable::parse(file).unwrap();
    let reader = Reader::new(file, Path::new("/etc/cs"), &|_| None);
    let mut root = Section::root(&reader, table.get_ref());
    let read = root.required("when", super::super::expression);
    assert!(read.is_err(), "accepted: {file}");
    let problems = reader.take_problems();
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    let place = problem.place().unwrap();
    (place.line, place.column)
}

#[test]
fn a_mistake_is_at_its_place_in_the_file() {
    for (file, at) in [
        ("when = 'nobody == \"x\"'", (1, 9)),
        ("when = 'request.metod == \"GET\"'", (1, 17)),
        (r#"when = "request.metod == \"GET\"""#, (1, 17)),
        (r#"when = "\"GET\" == request.metod""#, (1, 28)),
        (r#"when = "\"é\u00e9\x41\" == request.metod""#, (1, 36)),
        ("when = '''request.metod == \"GET\"'''", (1, 19)),
        (
            "when = '''\ncaller.authenticated &&\n  request.metod == \"GET\"\n'''",
            (3, 11),
        ),
        (
            "when = '''\r\ncaller.authenticated &&\r\n  request.metod == \"GET\"\r\n'''",
            (3, 11),
        ),
        (
            "when = \"\"\"\ncaller.authenticated \\\n   && request.metod == 'GET'\"\"\"",
            (3, 15),
        ),
        ("when = \"\"\"\nrequest.metod == \\\"GET\\\" \"\"\"", (2, 9)),
        ("# é\nwhen = 'request.method == '", (2, 27)),
        ("when = ''", (1, 9)),
        ("when = '   '", (1, 9)),
    ] {
        assert_eq!(place(file), at, "{file}");
    }
}

proptest! {
    #[test]
    fn every_byte_of_a_value_is_found_where_it_is_written(value in any::<String>()) {
        // With every escape that this writer knows.
        let escaped: String = value
            .chars()
            .map(|c| match c {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                c if c.is_control() || (c as u32).is_multiple_of(3) => format!("\\U{:08x}", c as u32),
                c => c.to_string(),
            })
            .collect();
        let file = format!("when = \"{escaped}\"");
        let table = DeTable::parse(&file).unwrap();
        let read = table.get_ref().get("when").unwrap();
        prop_assert_eq!(read.get_ref().as_str(), Some(value.as_str()));
        let written = &file[read.span()];
        for (offset, c) in value.char_indices() {
            let at = in_file(written, &value, offset).unwrap();
            // What begins there stands for this character.
            let rest = format!("x = \"{}", &written[at..]);
            let rest = DeTable::parse(&rest).unwrap();
            let rest = rest.get_ref().get("x").unwrap().get_ref().as_str().map(str::to_owned);
            prop_assert_eq!(rest.as_deref(), value.get(offset..), "{}", c);
        }
    }

    #[test]
    fn whatever_the_text_of_a_string_is_its_bytes_are_found_or_not(
        written in any::<String>(),
        offset in 0_usize..100,
    ) {
        for quotes in ["'", "\"", "'''", "\"\"\"", ""] {
            let written = format!("{quotes}{written}{quotes}");
            if let Some(at) = in_file(&written, "some value", offset) {
                assert!(at <= written.len() && written.is_char_boundary(at));
            }
        }
    }
}
