//! Where the bytes of a file stand, as people count: lines and characters.

use super::model::Place;

/// The lines and characters of a text. A question costs the same wherever its
/// byte stands, also in a file of one long line.
pub(super) struct Places {
    /// The offset of each line, in ascending order.
    line_starts: Vec<usize>,
    /// The offsets of the bytes that continue a character, in ascending order.
    continued: Vec<usize>,
}

impl Places {
    pub(super) fn new(text: &str) -> Self {
        let offsets = |wanted: fn(u8) -> bool| {
            let bytes = text.bytes().enumerate();
            bytes.filter_map(move |(at, byte)| wanted(byte).then_some(at))
        };
        let breaks = offsets(|byte| byte == b'\n');
        Self {
            line_starts: std::iter::once(0).chain(breaks.map(|at| at + 1)).collect(),
            // 0b10xxxxxx (RFC 3629 section 3).
            continued: offsets(|byte| byte & 0b1100_0000 == 0b1000_0000).collect(),
        }
    }

    /// The line and column of a byte.
    pub(super) fn of(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|at| self.line_starts.get(at));
        let start = start.copied().unwrap_or(0);
        let continued = |before: usize| self.continued.partition_point(|at| *at < before);
        let column = (offset - start) - (continued(offset) - continued(start));
        let counted = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            line: counted(line),
            column: counted(column).saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_in_characters() {
        let text = "a\n\näß€ x\r\n😀=1\nlast";
        let places = Places::new(text);
        let mut expected = (1, 1);
        for (offset, character) in text.char_indices().chain([(text.len(), ' ')]) {
            assert_eq!(places.of(offset).position(), expected, "{offset}");
            expected = match character {
                '\n' => (expected.0 + 1, 1),
                _ => (expected.0, expected.1 + 1),
            };
        }
        assert_eq!(expected, (5, 6));
    }
}
