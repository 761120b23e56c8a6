//! Reads durations and sizes, which carry their units.

use std::time::Duration;

use super::model::Share;
use super::problem::Problem;

/// The longest duration. Longer ones would amount to "for ever", and this one
/// can still be added to any clock without overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A kind of quantity: its units, the smallest first, and what people write instead.
struct Kind {
    units: &'static [(&'static str, u64)],
    /// What is proposed where no unit was written.
    usual: &'static str,
    aliases: &'static [(&'static str, &'static str)],
    /// The units, for messages.
    names: &'static str,
    example: &'static str,
}

/// Reads a duration such as `"10s"`: a whole number with `ms`, `s`, `m` or `h`.
///
/// # Errors
///
/// A number without a unit, zero, more than [`LONGEST`], or anything else.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    let duration = DURATION.read(text).map(Duration::from_millis)?;
    if duration > LONGEST {
        return Err(
            Problem::new(format!("{} is longer than 30 days", quoted(text)))
                .causes("a limit that is never reached protects nothing")
                .remedy("write at most \"720h\""),
        );
    }
    Ok(duration)
}

/// Reads a size in bytes such as `"64KiB"`: a whole number with `B`, `KiB`, `MiB` or `GiB`.
///
/// # Errors
///
/// A number without a unit, zero, more than fits in 64 bits, or anything else.
pub(super) fn size(text: &str) -> Result<u64, Problem> {
    SIZE.read(text)
}

/// Reads a rate such as `"240B/s"`: a size, and `/s` after it. Bytes a second.
///
/// # Errors
///
/// It does not end in `/s`, or what stands before that is no size.
pub(super) fn rate(text: &str) -> Result<u64, Problem> {
    let Some(bytes) = text.strip_suffix("/s") else {
        let is_size = size(text).is_ok();
        let shown = if is_size { text } else { "240B" };
        return Err(Problem::new(format!("{} is not a rate", quoted(text)))
            .remedy(format!("write a size a second, such as \"{shown}/s\"")));
    };
    size(bytes).map_err(|_| {
        Problem::new(format!("{} is not a rate", quoted(text)))
            .remedy("write a size a second, such as \"240B/s\" or \"1KiB/s\"")
    })
}

/// Reads a share such as `"50%"`: a whole number from 0 to 100 with its sign.
///
/// # Errors
///
/// A number without the sign, more than 100 %, or anything else.
pub(super) fn share(text: &str) -> Result<Share, Problem> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let share = digits.parse().ok().filter(|_| whole);
    match share.and_then(Share::of_percent) {
        Some(share) if digits.len() < text.len() => Ok(share),
        Some(_) => Err(Problem::new(format!("{} has no unit", quoted(text)))
            .remedy(format!("write \"{digits}%\""))),
        None => Err(
            Problem::new(format!("{} is not a share of a whole", quoted(text)))
                .remedy("write a whole number from \"0%\" to \"100%\""),
        ),
    }
}

/// Quotes a text of the file for a message: on one line, and not endlessly.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!(
        "\"{}\"",
        short.escape_debug().to_string().replace("\\'", "'")
    )
}

impl Kind {
    fn read(&self, text: &str) -> Result<u64, Problem> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = self.factor(text, digits, unit)?;
        let number = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor));
        match number {
            None => Err(Problem::new(format!("{} is too large", quoted(text)))
                .remedy(format!("write a smaller one, such as {}", self.example))),
            Some(0) => Err(Problem::new(format!("{} is zero", quoted(text)))
                .causes("zero does not stand for \"for ever\" or \"without limit\" here")
                .remedy(format!(
                    "write how much it may be, such as {}",
                    self.example
                ))),
            Some(number) => Ok(number),
        }
    }

    /// What one `unit` is worth.
    fn factor(&self, text: &str, digits: &str, unit: &str) -> Result<u64, Problem> {
        if digits.is_empty() {
            return Err(self.not_a_quantity(text));
        }
        if unit.is_empty() {
            return Err(Problem::new(format!("{} has no unit", quoted(text)))
                .remedy(format!("write \"{digits}{}\"", self.usual)));
        }
        if let Some((_, factor)) = self.units.iter().find(|(name, _)| *name == unit) {
            return Ok(*factor);
        }
        let plain = unit.trim().to_ascii_lowercase();
        let units = self.units.iter().map(|(name, _)| (*name, *name));
        let meant = units
            .chain(self.aliases.iter().copied())
            .find(|(alias, _)| alias.eq_ignore_ascii_case(&plain));
        match meant {
            Some((_, meant)) => Err(Problem::new(format!(
                "{} has the unknown unit {}",
                quoted(text),
                quoted(unit)
            ))
            .remedy(format!("write \"{digits}{meant}\""))),
            None => Err(self.not_a_quantity(text)),
        }
    }

    fn not_a_quantity(&self, text: &str) -> Problem {
        Problem::new(format!(
            "{} is not a whole number with one unit",
            quoted(text)
        ))
        .remedy(format!(
            "write one with {}, such as {}",
            self.names, self.example
        ))
    }
}

/// Durations, in milliseconds.
const DURATION: Kind = Kind {
    units: &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)],
    usual: "s",
    aliases: &[
        ("msec", "ms"),
        ("millis", "ms"),
        ("milliseconds", "ms"),
        ("sec", "s"),
        ("secs", "s"),
        ("second", "s"),
        ("seconds", "s"),
        ("min", "m"),
        ("mins", "m"),
        ("minute", "m"),
        ("minutes", "m"),
        ("hour", "h"),
        ("hours", "h"),
    ],
    names: "ms, s, m or h",
    example: "\"30s\"",
};

/// Sizes, in bytes.
const SIZE: Kind = Kind {
    units: &[
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ],
    usual: "B",
    aliases: &[
        ("bytes", "B"),
        ("k", "KiB"),
        ("kb", "KiB"),
        ("m", "MiB"),
        ("mb", "MiB"),
        ("g", "GiB"),
        ("gb", "GiB"),
    ],
    names: "B, KiB, MiB or GiB",
    example: "\"32KiB\"",
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rate_is_a_size_a_second_and_nothing_else() {
        assert_eq!(rate("240B/s"), Ok(240));
        assert_eq!(rate("2KiB/s"), Ok(2048));
        for text in [
            "240B", "240", "240/s", "B/s", "0B/s", "240B/m", "240 B/s", "",
        ] {
            rate(text).unwrap_err();
        }
    }

    #[test]
    fn each_unit_is_worth_what_it_says() {
        for (text, millis) in [
            ("1ms", 1),
            ("2s", 2_000),
            ("3m", 180_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for (text, bytes) in [
            ("7B", 7),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes));
        }
    }

    #[test]
    fn thirty_days_is_the_longest() {
        assert_eq!(duration("720h"), Ok(LONGEST));
        assert!(duration("2592000001ms").is_err());
    }

    #[test]
    fn a_share_is_from_0_to_100_percent() {
        for (text, percent) in [("0%", 0), ("7%", 7), ("100%", 100)] {
            assert_eq!(share(text).map(Share::percent), Ok(percent));
        }
        for text in ["101%", "256%", "-1%", "+1%", "1.5%", "50 %", "%", "", "50"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_exceeded_by_more_than_itself() {
        let half = share("50%").expect("it is one");
        assert!(!half.is_exceeded_by(1, 2));
        assert!(half.is_exceeded_by(2, 3));
        assert!(!share("100%").expect("it is one").is_exceeded_by(3, 3));
        let none = share("0%").expect("it is one");
        assert!(none.is_exceeded_by(1, usize::MAX));
        assert!(!none.is_exceeded_by(0, 3));
    }

    #[test]
    fn what_is_quoted_stays_short_and_on_one_line() {
        assert_eq!(quoted("a\n\"b'"), r#""a\n\"b'""#);
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 83);
    }

    proptest! {
        #[test]
        fn every_number_with_a_unit_is_read_back(number in 1u64..=2_592_000, unit in 0usize..2) {
            let (name, factor) = [("ms", 1), ("s", 1_000)][unit];
            let read = duration(&format!("{number}{name}"));
            prop_assert_eq!(read, Ok(Duration::from_millis(number * factor)));
            prop_assert_eq!(size(&format!("{number}KiB")), Ok(number * 1024));
        }

        #[test]
        fn no_text_makes_a_zero_or_a_panic(text in "\\PC{0,12}|[0-9]{0,30}[a-zA-Z]{0,3}") {
            if let Ok(duration) = duration(&text) {
                prop_assert!(!duration.is_zero() && duration <= LONGEST);
            }
            if let Ok(size) = size(&text) {
                prop_assert!(size > 0);
            }
        }
    }
}
