//! Cuts an expression into its tokens, and refuses what the parser should not
//! be given: what is nested deeply, and what it would not explain.

use super::ExpressionError;

/// The deepest nesting of brackets.
///
/// The parser takes up to 300 KiB of stack for each level in a debug build.
pub(super) const DEEPEST: usize = 24;

/// A word, a number, a string or a sign, from one byte to before another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Cuts a text into tokens.
///
/// # Errors
///
/// A string without an end, brackets that do not match or are nested too deep,
/// or a sign that is none of CEL.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut scanner = Scanner {
        text,
        at: 0,
        open: Vec::new(),
    };
    let mut tokens = Vec::new();
    while scanner.skip_blanks() {
        let start = scanner.at;
        scanner.token()?;
        let end = scanner.at;
        tokens.push(Token { start, end });
    }
    if let Some((start, bracket)) = scanner.open.pop() {
        let message = format!("`{bracket}` is not closed");
        let remedy = format!("write `{}` where it ends", closing(bracket));
        return Err(ExpressionError::new(start, message, remedy));
    }
    Ok(tokens)
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// The brackets that are open, and where they stand.
    open: Vec<(usize, char)>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Skips blanks and comments; whether anything is left.
    fn skip_blanks(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let blank = rest.len()
                - rest
                    .trim_start_matches([' ', '\t', '\r', '\n', '\x0c'])
                    .len();
            let comment = match rest.get(blank..) {
                Some(after) if after.starts_with("//") => after.find('\n').unwrap_or(after.len()),
                _ => 0,
            };
            self.at += blank + comment;
            if blank + comment == 0 {
                return !self.rest().is_empty();
            }
        }
    }

    fn token(&mut self) -> Result<(), ExpressionError> {
        if let Some((prefix, raw)) = self.string_prefix() {
            return self.string(prefix, raw);
        }
        let Some(first) = self.rest().chars().next() else {
            return Ok(());
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match first {
            first if first.is_ascii_digit() => {
                self.take_while(|c| word(c) || c == '.');
                Ok(())
            }
            first if word(first) => {
                self.take_while(word);
                Ok(())
            }
            '(' | '[' | '{' => self.opens(first),
            ')' | ']' | '}' => self.closes(first),
            _ => self.sign(first),
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(belongs).len();
    }

    fn sign(&mut self, first: char) -> Result<(), ExpressionError> {
        const SIGNS: [&str; 18] = [
            "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "?", ":", ".", ",", "+", "-", "*",
            "/", "%",
        ];
        if let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            self.at += sign.len();
            return Ok(());
        }
        let remedy = match first {
            '=' => "write `==` to compare",
            '&' => "write `&&` where both must be true",
            '|' => "write `||` where one must be true",
            '“' | '”' | '„' | '‘' | '’' | '`' => {
                "write a string in straight quotes, such as \"GET\""
            }
            _ => "write it in quotes if it belongs to a string, or remove it",
        };
        let message = format!("`{}` is no sign of an expression", first.escape_debug());
        Err(ExpressionError::new(self.at, message, remedy))
    }

    fn opens(&mut self, bracket: char) -> Result<(), ExpressionError> {
        if self.open.len() == DEEPEST {
            let message = format!("more than {DEEPEST} brackets are open");
            let remedy = "write it flatter, or as several entries";
            return Err(ExpressionError::new(self.at, message, remedy));
        }
        self.open.push((self.at, bracket));
        self.at += bracket.len_utf8();
        Ok(())
    }

    fn closes(&mut self, bracket: char) -> Result<(), ExpressionError> {
        match self.open.pop() {
            Some((_, open)) if closing(open) == bracket => {
                self.at += bracket.len_utf8();
                Ok(())
            }
            Some((_, open)) => {
                let message = format!("`{bracket}` stands where `{open}` must be closed");
                let remedy = format!("write `{}` first", closing(open));
                Err(ExpressionError::new(self.at, message, remedy))
            }
            None => {
                let message = format!("`{bracket}` closes nothing");
                Err(ExpressionError::new(self.at, message, "remove it"))
            }
        }
    }

    /// The length of what stands before the quotes of a string, and whether
    /// that turns escapes off.
    fn string_prefix(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        let prefix = rest.find(['"', '\'']).filter(|length| *length <= 2)?;
        let letters = rest.get(..prefix)?.to_ascii_lowercase();
        match letters.as_str() {
            "" | "b" => Some((prefix, false)),
            "r" | "br" | "rb" => Some((prefix, true)),
            _ => None,
        }
    }

    fn string(&mut self, prefix: usize, raw: bool) -> Result<(), ExpressionError> {
        let start = self.at;
        let rest = self.text.get(start + prefix..).unwrap_or("");
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let quotes = quotes.iter().find(|quotes| rest.starts_with(**quotes));
        let quotes = quotes.copied().unwrap_or("\"");
        self.at += prefix + quotes.len();
        while !self.rest().starts_with(quotes) {
            let mut following = self.rest().chars();
            match (following.next(), following.next()) {
                (None, _) => return Err(unclosed(start, quotes)),
                (Some('\n' | '\r'), _) if quotes.len() == 1 => {
                    return Err(unclosed(start, quotes));
                }
                (Some('\\'), Some(escaped)) if !raw => self.escape(escaped)?,
                (Some(other), _) => self.at += other.len_utf8(),
            }
        }
        self.at += quotes.len();
        Ok(())
    }

    fn escape(&mut self, escaped: char) -> Result<(), ExpressionError> {
        if !"abfnrtv\\'\"`?xXuU0123".contains(escaped) {
            let shown = escaped.escape_debug();
            let message = format!("`\\{shown}` is no escape of a string");
            let remedy = format!("write `\\\\{shown}` for a backslash, or the string as r\"…\"");
            return Err(ExpressionError::new(self.at, message, remedy));
        }
        self.at += 1 + escaped.len_utf8();
        Ok(())
    }
}

fn unclosed(start: usize, quotes: &str) -> ExpressionError {
    let remedy = format!("write `{quotes}` where it ends");
    ExpressionError::new(start, "the string has no end", remedy)
}

fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}
