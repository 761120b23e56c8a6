//! Finds a byte of a string's value in the text of the file that it was read from.

/// Returns which byte of `written`, a string of TOML with its quotes, became
/// byte `offset` of `value`; `None` where that cannot be told.
pub(super) fn in_file(written: &str, value: &str, offset: usize) -> Option<usize> {
    let quotes = ["'''", "\"\"\"", "'", "\""];
    let quotes = quotes
        .into_iter()
        .find(|quotes| written.starts_with(quotes) && written.len() >= 2 * quotes.len())?;
    let inner = written.get(quotes.len()..written.len() - quotes.len())?;
    // A line break that follows the quotes belongs to neither.
    let trimmed = match quotes.len() {
        1 => inner,
        _ => inner
            .strip_prefix("\r\n")
            .or_else(|| inner.strip_prefix('\n'))
            .unwrap_or(inner),
    };
    let start = quotes.len() + inner.len() - trimmed.len();
    let has_escapes = quotes.starts_with('"');
    let mut before = 0;
    let mut found = None;
    let mut pieces = Pieces {
        rest: trimmed,
        has_escapes,
    };
    loop {
        let at = start + trimmed.len() - pieces.rest.len();
        if found.is_none() && before >= offset {
            found = Some(at);
        }
        if pieces.rest.is_empty() {
            break;
        }
        before += pieces.next()?;
    }
    // What does not add up was read in another way than here.
    found.filter(|_| before == value.len())
}

/// What a string is written with: characters and escapes.
struct Pieces<'t> {
    rest: &'t str,
    has_escapes: bool,
}

impl Pieces<'_> {
    /// The length of what the next piece stands for; `None`: not a piece of TOML.
    fn next(&mut self) -> Option<usize> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        if first != '\\' || !self.has_escapes {
            self.rest = chars.as_str();
            return Some(first.len_utf8());
        }
        let escape = chars.next()?;
        self.rest = chars.as_str();
        let digits = match escape {
            'b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\' => return Some(1),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            escape if escape.is_ascii_whitespace() => {
                self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
                return Some(0);
            }
            _ => return None,
        };
        let code = u32::from_str_radix(self.rest.get(..digits)?, 16).ok()?;
        self.rest = self.rest.get(digits..)?;
        Some(char::from_u32(code)?.len_utf8())
    }
}
