//! Numbers and times in the words of people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A span, in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    if seconds >= 2 * YEAR {
        let (years, rest) = (seconds / YEAR, seconds % YEAR * 12 / YEAR);
        return match rest {
            0 => format!("{years} y"),
            months => format!("{years} y {months} mo"),
        };
    }
    let first = units.iter().position(|(_, size)| seconds >= *size);
    let first = first.unwrap_or(units.len() - 1);
    let mut left = seconds;
    let mut words = Vec::new();
    // Beyond ten days nobody asks for the hours.
    let shown = if seconds >= 10 * 86_400 { 1 } else { 2 };
    for (unit, size) in units.iter().skip(first).take(shown) {
        let count = left / size;
        left %= size;
        if count > 0 || words.is_empty() {
            words.push(format!("{count} {unit}"));
        }
    }
    words.join(" ")
}

/// How long ago a point is.
pub(super) fn ago(then: SystemTime, now: SystemTime) -> String {
    let past = now.duration_since(then).unwrap_or_default().as_secs();
    format!("{} ago", span(past))
}

/// A count, its thousands set apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // Narrow, and no line ends at it.
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// A rate or an average, with as many digits as say something.
pub(super) fn number(value: f64) -> String {
    if value >= 99.5 {
        count(whole(value))
    } else if value >= 9.95 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 0.095 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The nearest whole number that is not negative.
pub(super) fn whole(value: f64) -> u64 {
    // `as` saturates, and takes what is no number for 0.
    value.round() as u64
}

/// Bytes, in the unit that fits.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fitting = units.iter().find(|(_, size)| bytes >= *size);
    match fitting {
        Some((unit, size)) => format!("{} {unit}", number(bytes as f64 / *size as f64)),
        None => format!("{bytes} B"),
    }
}

/// A word of the code as people write it.
pub(super) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// A point in seconds since 1970.
pub(super) fn point(unix: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Seconds since 1970.
pub(super) fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A point to the second, for people: `2026-11-21 18:58:00`, in UTC.
pub(super) fn clock(at: SystemTime) -> String {
    let exact = crate::telemetry::rfc3339(at);
    let (date, time) = exact.split_once('T').unwrap_or((&exact, ""));
    let time = time.split('.').next().unwrap_or_default();
    format!("{date} {time}")
}

const YEAR: u64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_units_that_matter() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_725, "1 h 2 min"),
            (90_061, "1 d 1 h"),
            (864_000 + 3_600, "10 d"),
            (2 * YEAR, "2 y"),
            (3 * YEAR + YEAR / 6, "3 y 2 mo"),
            (10 * YEAR - 1, "9 y 11 mo"),
        ] {
            assert_eq!(span(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_small() {
        for (value, words) in [
            (0.0, "0"),
            (0.034, "0.03"),
            (0.4, "0.4"),
            (5.0, "5"),
            (12.4, "12"),
            (1_234_567.2, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(number(value), words, "{value}");
        }
        assert_eq!(count(999), "999");
        assert_eq!(size(3 << 20), "3 MiB");
        assert_eq!(whole(f64::NAN), 0);
    }

    #[test]
    fn points_are_written_to_the_second() {
        assert_eq!(clock(point(1_795_287_480)), "2026-11-21 18:58:00");
        assert_eq!(unix(point(-5)), 0);
    }
}
