//! Finds the word that was probably meant.

/// The longest word that is compared; no key or name is longer.
const LONGEST: usize = 64;

/// Returns the one of `known` that `written` was probably meant to be, if any is near.
///
/// Near is: at most a third of the letters differ (a letter more, less, other,
/// or two swapped); or else the only one that begins like `written`, or whose
/// `_`-separated words are all in it, or the other way round (`trust_bundle` for
/// `trust`).
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let known: Vec<&str> = known.into_iter().filter(|k| *k != written).collect();
    if written.len() > LONGEST {
        return None;
    }
    let furthest = (written.chars().count() / 3).clamp(1, 3);
    let by_letters = known
        .iter()
        .map(|k| (distance(&folded(written), &folded(k)), *k))
        .filter(|(distance, _)| *distance <= furthest)
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, known)) = by_letters {
        return Some(known);
    }
    let mut by_words = known.into_iter().filter(|k| shares_words(written, k));
    by_words.next().filter(|_| by_words.next().is_none())
}

/// The letters, with what people mix up made equal.
fn folded(word: &str) -> Vec<char> {
    let fold = |c: char| {
        if c == '-' {
            '_'
        } else {
            c.to_ascii_lowercase()
        }
    };
    word.chars().take(LONGEST).map(fold).collect()
}

/// Whether every word of the one is a word of the other, or it begins like it.
fn shares_words(one: &str, other: &str) -> bool {
    const TELLING: usize = 3;
    let begins = |a: &str, b: &str| b.len() >= TELLING && a.starts_with(b);
    if begins(one, other) || begins(other, one) {
        return true;
    }
    let within = |a: &str, b: &str| a.split('_').all(|word| b.split('_').any(|w| w == word));
    within(one, other) || within(other, one)
}

/// The optimal string alignment distance: edits and swaps of neighbours, each counted 1.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut swapped: Option<char> = None;
    for (i, ca) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        row.push(i + 1);
        let mut left_char: Option<char> = None;
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let edit = at(&above, j) + usize::from(ca != cb);
            let mut best = edit.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if swapped == Some(*cb) && left_char == Some(*ca) && j > 0 {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
            left_char = Some(*cb);
        }
        before = std::mem::replace(&mut above, row);
        swapped = Some(*ca);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["trust", "idle_timeout", "body_timeout", "bind", "crl"];

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        for (written, meant) in [
            ("trsut", "trust"),
            ("trusts", "trust"),
            ("idle-timeout", "idle_timeout"),
            ("Bind", "bind"),
            ("trust_bundel", "trust"),
            ("binding", "bind"),
        ] {
            assert_eq!(nearest(written, KEYS), Some(meant), "{written}");
        }
    }

    #[test]
    fn a_word_that_fits_several_or_none_finds_nothing() {
        for written in [
            "timeout",
            "certificates",
            "ca",
            "",
            "x",
            "tr",
            &"a".repeat(1000),
        ] {
            assert_eq!(nearest(written, KEYS), None, "{written}");
        }
    }

    #[test]
    fn two_swapped_letters_count_as_one_edit() {
        let letters = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(distance(&letters("abcd"), &letters("abdc")), 1);
        assert_eq!(distance(&letters("abcd"), &letters("dcba")), 3);
        assert_eq!(distance(&letters(""), &letters("abc")), 3);
        assert_eq!(distance(&letters("abc"), &letters("abc")), 0);
    }
}
