use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// What is left of a line without its quoted values, as a reader that knows
/// backslashes would see it.
pub(crate) fn outside_of_quotes(line: &str) -> String {
    let (mut outside, mut quoted, mut chars) = (String::new(), false, line.chars());
    while let Some(char) = chars.next() {
        match char {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if !quoted => outside.push(char),
            _ => {}
        }
    }
    assert!(!quoted, "quotes are balanced: {line}");
    outside
}

fn line(format: Format, value: Value<'_>) -> String {
    let mut out = Vec::new();
    let head = Head {
        at: UNIX_EPOCH,
        level: "INFO",
        colour: "",
        event: "test.line",
    };
    let mut line = Line::begin(&mut out, format, &head);
    line.field("v", value);
    line.end();
    String::from_utf8(out).expect("lines are UTF-8")
}

fn text(value: Value<'_>) -> String {
    line(Format::Text, value)
        .strip_prefix("1970-01-01T00:00:00.000Z level=INFO event=test.line v=")
        .and_then(|rest| rest.strip_suffix('\n'))
        .expect("head and end")
        .to_owned()
}

fn json(value: Value<'_>) -> serde_json::Value {
    let whole = line(Format::Json, value);
    let object: serde_json::Value = serde_json::from_str(&whole).expect(&whole);
    assert_eq!(object["time"], "1970-01-01T00:00:00.000Z");
    assert_eq!(object["level"], "INFO");
    assert_eq!(object["event"], "test.line");
    object["v"].clone()
}

#[test]
fn word_is_bare_where_it_can_be_and_quoted_where_it_must_be() {
    for bare in [
        "a",
        "api",
        "upstream/response_head/timeout",
        "[::1]:80",
        "--",
    ] {
        assert_eq!(text(Value::Word(bare)), bare);
        assert_eq!(text(Value::Shown(&bare)), bare);
    }
    for (raw, quoted) in [
        ("", r#""""#),
        ("-", r#""-""#),
        ("a b", r#""a b""#),
        ("a=b", r#""a=b""#),
        ("a\"b", r#""a\"b""#),
        ("a\\b", r#""a\\b""#),
        ("\r\n\t", r#""\r\n\t""#),
        ("\x1b[31m\x7f\0", r#""\u{1b}[31m\u{7f}\u{0}""#),
        ("é\u{202e}😀", r#""\u{e9}\u{202e}\u{1f600}""#),
    ] {
        assert_eq!(text(Value::Word(raw)), quoted);
        assert_eq!(text(Value::Shown(&raw)), quoted);
    }
}

#[test]
fn absent_bool_and_number_are_written_for_what_they_are() {
    let long = Duration::from_micros(30_001_005);
    for (value, as_text, as_json) in [
        (Value::Absent, "-", serde_json::Value::Null),
        (Value::Bool(true), "true", true.into()),
        (Value::Signed(-5), "-5", (-5).into()),
        (
            Value::Unsigned(u64::MAX),
            "18446744073709551615",
            u64::MAX.into(),
        ),
        (Value::Unsigned(0), "0", 0.into()),
        (Value::Float(0.5), "0.5", 0.5.into()),
        (Value::Float(f64::NAN), "NaN", "NaN".into()),
        (Value::Milliseconds(long), "30001.005", 30001.005.into()),
    ] {
        assert_eq!(text(value), as_text);
        assert_eq!(json(value), as_json);
    }
}

#[test]
fn value_over_its_limit_is_cut_at_a_character_and_marked() {
    assert_eq!(text(Value::Quoted("abé", 3)), format!("\"ab{CUT}\""));
    assert_eq!(text(Value::Quoted("abc", 3)), "\"abc\"");
    let long = "x".repeat(WORD_LIMIT + 1);
    let cut = format!("\"{}{CUT}\"", "x".repeat(WORD_LIMIT));
    assert_eq!(text(Value::Word(&long)), cut);
    assert_eq!(text(Value::Shown(&long)), cut);
}

#[test]
fn mark_of_a_cut_cannot_be_forged_in_text() {
    assert_eq!(text(Value::Quoted(CUT, 100)), r#""\u{2026}""#);
}

#[test]
fn level_is_painted_only_when_a_colour_is_given() {
    let mut out = Vec::new();
    append_painted(&mut out, "WARN", "\x1b[33m");
    append_painted(&mut out, "WARN", "");
    assert_eq!(out, b"\x1b[33mWARN\x1b[0mWARN");
}

proptest! {
    #[test]
    fn any_text_makes_one_printable_line_and_json_gives_it_back(raw in any::<String>()) {
        for value in [Value::Word(&raw), Value::Quoted(&raw, WORD_LIMIT), Value::Shown(&raw)] {
            let value_text = text(value);
            prop_assert!(value_text.bytes().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(json(value), serde_json::Value::from(raw.as_str()));
        }
    }
}
