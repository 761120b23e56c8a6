//! The context of a trace, as requests carry it (W3C Trace Context, level 1).

use std::fmt;

/// Which trace a request belongs to, and who called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    /// Never 0.
    trace: u128,
    /// The span of whoever sent it; never 0.
    parent: u64,
    recorded: bool,
}

impl TraceContext {
    /// A trace that begins with the span `parent`. An id of 0 stands for none, and
    /// becomes 1.
    pub fn begin(trace: u128, parent: u64, recorded: bool) -> Self {
        Self {
            trace: trace.max(1),
            parent: parent.max(1),
            recorded,
        }
    }

    /// Reads a `traceparent`; `None`: it is malformed, and a new trace is to begin
    /// (§3.2.2). Of a version to come what this one knows is read (§3.2.4).
    pub fn read(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let (version, rest) = known.split_at_checked(2)?;
        let version = hex(version)?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let (trace, rest) = rest.strip_prefix(b"-")?.split_at_checked(32)?;
        let (parent, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
        let flags = hex(rest.strip_prefix(b"-")?)?;
        let context = Self {
            trace: hex(trace)?,
            parent: u64::try_from(hex(parent)?).ok()?,
            recorded: flags & RECORDED != 0,
        };
        (is_whole && context.trace != 0 && context.parent != 0).then_some(context)
    }

    /// The same trace, as the span `parent` of its own hands it on.
    #[must_use]
    pub fn through(self, parent: u64) -> Self {
        Self {
            parent: parent.max(1),
            ..self
        }
    }

    /// Whether whoever follows is to record it.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// The span of whoever sent it.
    pub fn parent(&self) -> u64 {
        self.parent
    }

    /// The trace.
    pub fn trace(&self) -> TraceId {
        TraceId(self.trace)
    }
}

impl fmt::Display for TraceContext {
    /// Writes a `traceparent` of version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            parent,
            recorded,
        } = self;
        write!(
            f,
            "00-{trace:032x}-{parent:016x}-{:02x}",
            u8::from(*recorded)
        )
    }
}

/// The id of a trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceId(u128);

impl TraceId {
    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    /// Writes 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A number of at most 32 digits; `None`: something is no lower-case digit.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Bytes of version 00: `00-` trace `-` parent `-` flags.
const LENGTH: usize = 55;
/// The flag `sampled`; the others have no meaning here.
const RECORDED: u128 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(text: &str) -> Option<String> {
        TraceContext::read(text.as_bytes()).map(|context| context.to_string())
    }

    #[test]
    fn context_is_read_as_it_is_written() {
        assert_eq!(read(GOOD).as_deref(), Some(GOOD));
        let unrecorded = GOOD.replace("-01", "-00");
        assert_eq!(read(&unrecorded), Some(unrecorded.clone()));
    }

    #[test]
    fn flags_without_a_meaning_here_are_not_handed_on() {
        assert_eq!(read(&GOOD.replace("-01", "-ff")).as_deref(), Some(GOOD));
    }

    #[test]
    fn version_to_come_is_read_as_far_as_it_is_known() {
        let newer = GOOD.replace("00-4b", "cc-4b");
        for text in [newer.clone(), format!("{newer}-what-the-future-has")] {
            assert_eq!(read(&text).as_deref(), Some(GOOD), "{text}");
        }
    }

    #[test]
    fn malformed_contexts_are_none() {
        for text in [
            "".to_owned(),
            GOOD.to_uppercase(),
            GOOD.replace("00-4b", "ff-4b"),
            GOOD.replace("00-4b", "0-4b"),
            format!("{GOOD}-more"),
            format!("{GOOD}."),
            GOOD.replace("00-4b", "cc-4b") + ".more",
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("-01", "-0x"),
            GOOD.replace("-00f0", "_00f0"),
            GOOD.replace("4bf9", "4bF9"),
            format!(" {GOOD}"),
            "é".repeat(55),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    #[test]
    fn ids_of_zero_are_not_begun_with() {
        let begun = TraceContext::begin(0, 0, false).to_string();
        assert_eq!(read(&begun), Some(begun));
    }
}
