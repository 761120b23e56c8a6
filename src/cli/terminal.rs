//! Texts for a terminal.

/// What somebody else has written, fit for a terminal: at most 500 characters,
/// and none that moves the cursor or turns the direction of writing.
pub(super) fn shown(text: &str) -> String {
    let first: String = text.chars().take(500).collect();
    shown_in_full(&first)
}

/// The same, however long it is.
pub(super) fn shown_in_full(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if char == ' ' || char.is_ascii_graphic() || char.is_alphanumeric() {
            shown.push(char);
        } else {
            shown.extend(char.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_shown_without_what_a_terminal_would_obey() {
        for (text, expected) in [
            ("CN=a\\, b+O=\"c\"", "CN=a\\, b+O=\"c\""),
            ("Jürgen", "Jürgen"),
            ("a\r\n\tb", "a\\u{d}\\u{a}\\u{9}b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{202e}", "\\u{202e}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"a".repeat(10_000)), "a".repeat(500));
    }
}
