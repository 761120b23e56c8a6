//! Builds one line of a log, as text for people or JSON for machines.
//!
//! Whatever a value holds, the line stays one line of printable ASCII (and the
//! mark [`CUT`]), and no value can be mistaken for two fields.

use std::fmt::{self, Display, Write};
use std::io;
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

    /// Begins a line in which nothing stands yet, with values as in text.
    pub(super) fn bare(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            format: Format::Text,
        }
    }

    /// Adds a text of the operator's own.
    pub(super) fn literal(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Adds a point in time.
    pub(super) fn time(&mut self, at: SystemTime) {
        append_rfc3339(self.out, at);
    }

    /// Adds a value without quotes around it. What would end quotes that stand
    /// around it in the line is escaped.
    pub(super) fn unquoted(&mut self, value: Value<'_>) {
        let start = self.out.len();
        self.value(value);
        // A value without quotes holds none either.
        if self.out.get(start) == Some(&b'"') {
            self.out.pop();
            self.out.remove(start);
        }
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
        if all(text.as_bytes(), is_plain) {
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
        && all(value, |byte| is_plain(byte) && byte != b' ' && byte != b'=')
}

/// Looks at every byte without stopping early, which the compiler turns into
/// vector instructions: nearly every value passes.
fn all(bytes: &[u8], is_fine: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |fine, &byte| fine & is_fine(byte))
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
    io::Write::write_fmt(out, text).ok();
}

/// Bytes of a word that are written; the rest is cut.
pub(super) const WORD_LIMIT: usize = 2048;

/// Stands where a value was cut. It is the only character beyond ASCII in a
/// line, so no value can forge it in the text format.
pub(super) const CUT: &str = "…";

#[cfg(test)]
pub(super) mod tests;
