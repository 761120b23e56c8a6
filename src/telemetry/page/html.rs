//! Writes HTML in which nothing but the program's own text is markup.

use std::fmt::{self, Write};

/// A piece of HTML that grows.
///
/// Markup is written by [`Html::raw`], which takes texts of the program alone;
/// whatever else there is comes in by [`Html::text`] and is escaped, so that no
/// value can be markup, in content as in quoted attributes.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A value, shown as it is.
    pub(super) fn text(&mut self, value: impl fmt::Display) -> &mut Self {
        // A String takes whatever is written.
        write!(Escaping(&mut self.0), "{value}").ok();
        self
    }

    /// A value, or a dash where there is none.
    pub(super) fn text_or_dash(&mut self, value: Option<&str>) -> &mut Self {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.text(value),
            None => self.raw("<span class=\"none\" aria-label=\"none\">–</span>"),
        }
    }

    /// A name from a certificate or from a request: as long as a line, and set
    /// off from what is written around it.
    pub(super) fn name(&mut self, value: &str) -> &mut Self {
        self.raw("<bdi>").text(cut(value)).raw("</bdi>")
    }

    /// What was written.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// The beginning of a long value; where it ends is marked.
fn cut(value: &str) -> impl fmt::Display {
    let end = value.char_indices().nth(LONGEST);
    let (shown, mark) = match end.and_then(|(end, _)| value.get(..end)) {
        Some(shown) => (shown, "…"),
        None => (value, ""),
    };
    format!("{shown}{mark}")
}

/// Characters of a name that are shown.
const LONGEST: usize = 240;

/// Escapes what is written through it.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                hidden if is_hidden(hidden) => write!(self.0, "{}", hidden.escape_unicode())?,
                shown => self.0.push(shown),
            }
        }
        Ok(())
    }
}

/// Characters that show as nothing, or change how those around them are shown:
/// controls, and the format characters of Unicode that join, reorder and hide.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let mut html = Html::default();
        html.text(value);
        html.into_string()
    }

    #[test]
    fn value_cannot_become_markup_or_leave_an_attribute() {
        let value = "\"'><script>alert(1)</script>&amp;";
        let safe = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;";
        assert_eq!(shown(value), safe);
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(shown("a\u{0}b\u{1b}[m"), "a\\u{0}b\\u{1b}[m");
        assert_eq!(
            shown("\u{202e}evil\u{200b}\u{7f}"),
            "\\u{202e}evil\\u{200b}\\u{7f}"
        );
        assert_eq!(shown("Jürgen, 東京\nnext"), "Jürgen, 東京\nnext");
    }

    #[test]
    fn long_name_is_cut_between_characters() {
        let mut html = Html::default();
        html.name(&"é".repeat(LONGEST + 1));
        let expected = format!("<bdi>{}…</bdi>", "é".repeat(LONGEST));
        assert_eq!(html.into_string(), expected);
    }
}
