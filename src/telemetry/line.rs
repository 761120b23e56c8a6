//! Builds one line of a log, as text for people or JSON for machines.
//!
//! Whatever a value holds, the line stays one line of printable ASCII (and the
//! mark [`CUT`]), and no value can be mistaken for two fields.

use std::fmt::{self, Display, Write};
use std::time::{Duration, SystemTime};

use super::log::Format;
use super::timestamp::{append_digits, append_rfc3339};

/// A line under construction at the end of a buffer.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
}

/// What each line begins with.
pub(super) struct Head<'a> {
    pub(super) at: SystemTime,
    pub(super) level: &'a str,
    /// The terminal's escape sequence for the level's colour; empty for none.
    pub(super) colour: &'static str,
    pub(super) event: &'a str,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// `-` in text, `null` in JSON.
    Absent,
    Bool(bool),
    Float(f64),
    /// Milliseconds with three decimals.
    Milliseconds(Duration),
    /// A text that is quoted in any case, cut after so many bytes: for what
    /// comes from the wire.
    Quoted(&'a str, usize),
    /// What this writes, as a `Word`.
    Shown(&'a dyn Display),
    Signed(i64),
    Unsigned(u64),
    /// A text that is quoted only where it must be, cut after [`WORD_LIMIT`].
    Word(&'a str),
}

impl<'a> Line<'a> {
    /// Begins a line at the end of `out`; [`Line::end`] completes it.
    pub(super) fn begin(out: &'a mut Vec<u8>, format: Format, head: &Head<'_>) -> Self {
        match format {
            Format::Text => {
                append_rfc3339(out, head.at);
                out.extend_from_slice(b" level=");
                append_painted(out, head.level, head.colour);
            }
            Format::Json => {
                out.extend_from_slice(b"{\"time\":\"");
                append_rfc3339(out, head.at);
                out.extend_from_slice(b"\",\"level\":\"");
                out.extend_from_slice(head.level.as_bytes());
                out.push(b'"');
            }
        }
        let mut line = Self { out, format };
        line.field("event", Value::Word(head.event));
        line
    }

    /// Adds a field. `key` is a name from the code and is written as it is.
    pub(super) fn field(&mut self, key: &str, value: Value<'_>) {
        match self.format {
            Format::Text => {
                self.out.push(b' ');
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
            Format::Json => {
                self.out.extend_from_slice(b",\"");
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
        self.value(value);
    }

    /// Completes the line.
    pub(super) fn end(self) {
        if self.format == Format::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Absent => self.out.extend_from_slice(match self.format {
                Format::Text => b"-",
                Format::Json => b"null",
            }),
            Value::Bool(truth) => append(self.out, format_args!("{truth}")),
            Value::Float(number) if number.is_finite() => {
                append(self.out, format_args!("{number}"));
            }
            // JSON has no word for these.
            Value::Float(number) => self.value(Value::Shown(&number)),
            Value::Milliseconds(duration) => append_milliseconds(self.out, duration),
            Value::Quoted(text, limit) => self.quoted(text, limit),
            Value::Shown(shown) => self.shown(shown),
            Value::Signed(number) => append(self.out, format_args!("{number}")),
            Value::Unsigned(number) => append_decimal(self.out, number),
            Value::Word(text) if self.format == Format::Text && is_bare(text.as_bytes()) => {
                self.out.extend_from_slice(text.as_bytes());
            }
            Value::Word(text) => self.quoted(text, WORD_LIMIT),
        }
    }

    fn quoted(&mut self, text: &str, limit: usize) {
        let kept = text.get(..text.floor_char_boundary(limit)).unwrap_or(text);
        self.out.push(b'"');
        self.escaped(kept);
        if kept.len() < text.len() {
            self.out.extend_from_slice(CUT.as_bytes());
        }
        self.out.push(b'"');
    }

    fn escaped(&mut self, text: &str) {
        if text.bytes().all(is_plain) {
            self.out.extend_from_slice(text.as_bytes());
            return;
        }
        for char in text.chars() {
            match char {
                '"' => self.out.extend_from_slice(b"\\\""),
                '\\' => self.out.extend_from_slice(b"\\\\"),
                '\n' => self.out.extend_from_slice(b"\\n"),
                '\r' => self.out.extend_from_slice(b"\\r"),
                '\t' => self.out.extend_from_slice(b"\\t"),
                ' '..='~' => append(self.out, format_args!("{char}")),
                _ => self.code_point(char),
            }
        }
    }

    fn code_point(&mut self, char: char) {
        match self.format {
            Format::Text => append(self.out, format_args!("\\u{{{:x}}}", u32::from(char))),
            // RFC 8259 §7: beyond the basic plane as a surrogate pair.
            Format::Json => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    append(self.out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }

    /// Writes in place; only a value that needs escapes is copied.
    fn shown(&mut self, shown: &dyn Display) {
        let start = self.out.len();
        let mut bounded = Bounded {
            out: self.out,
            left: WORD_LIMIT,
            cut: false,
        };
        // Fails only at the limit, or where `shown` itself gives up: what was
        // written by then is the value.
        write!(bounded, "{shown}").ok();
        let cut = bounded.cut;
        let written = self.out.get(start..).unwrap_or_default();
        if self.format == Format::Text && !cut && is_bare(written) {
            return;
        }
        let written = self.out.split_off(start);
        self.out.push(b'"');
        self.escaped(&String::from_utf8_lossy(&written));
        if cut {
            self.out.extend_from_slice(CUT.as_bytes());
        }
        self.out.push(b'"');
    }
}

/// Takes text up to a limit, then fails.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
    cut: bool,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = text
            .get(..text.floor_char_boundary(self.left))
            .unwrap_or_default();
        self.out.extend_from_slice(kept.as_bytes());
        self.left -= kept.len();
        if kept.len() < text.len() {
            self.cut = true;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Whether a value needs no quotes in text: it cannot be taken for the mark of
/// absence, for several fields or for an escape.
fn is_bare(value: &[u8]) -> bool {
    !value.is_empty()
        && value != b"-"
        && value.len() <= WORD_LIMIT
        && value
            .iter()
            .all(|&byte| is_plain(byte) && byte != b' ' && byte != b'=')
}

/// Whether a byte stands for itself between quotes, in both formats.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn append_painted(out: &mut Vec<u8>, word: &str, colour: &str) {
    out.extend_from_slice(colour.as_bytes());
    out.extend_from_slice(word.as_bytes());
    if !colour.is_empty() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn append_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    append_decimal(out, microseconds / 1000);
    out.push(b'.');
    append_digits::<3>(out, microseconds);
}

/// Appends without the machinery of `format!`: most values of a line are numbers.
fn append_decimal(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        append_decimal(out, number / 10);
    }
    append_digits::<1>(out, number);
}

fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A `Vec` takes every byte.
    io_write(out, text).ok();
}

fn io_write(out: &mut Vec<u8>, text: fmt::Arguments<'_>) -> std::io::Result<()> {
    std::io::Write::write_fmt(out, text)
}

/// Bytes of a word that are written; the rest is cut.
pub(super) const WORD_LIMIT: usize = 2048;

/// Stands where a value was cut. It is the only character beyond ASCII in a
/// line, so no value can forge it in the text format.
pub(super) const CUT: &str = "…";

#[cfg(test)]
pub(super) mod tests {
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
}
