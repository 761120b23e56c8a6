//! Reads points in time.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use toml::value::{Datetime, Offset};

/// Reads RFC 3339, a date alone (its first second in UTC), or seconds since
/// 1970; `None`: it is none of them, or before 1970.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(seconds_of(text.parse().ok()?)?).ok()?,
    };
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

fn seconds_of(moment: Datetime) -> Option<i64> {
    let date = moment.date?;
    let days = days(date.year.into(), date.month.into(), date.day.into());
    let of_day = moment.time.map_or(0, |time| {
        let minutes = i64::from(time.hour) * 60 + i64::from(time.minute);
        minutes * 60 + i64::from(time.second.unwrap_or(0))
    });
    let offset = match moment.offset {
        None | Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes) * 60,
    };
    Some(days * 86_400 + of_day - offset)
}

/// Days from 1970-01-01: Howard Hinnant's `days_from_civil`, whose years begin
/// in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_and_nothing_else_is() {
        for (text, seconds) in [
            ("0", 0),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2026-11-21T18:58:00Z", 1_795_287_480),
            ("2026-11-21T18:58:00.9Z", 1_795_287_480),
            ("2026-11-21T20:58:00+02:00", 1_795_287_480),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let read = parse(text).map(|at| at.as_secs());
            assert_eq!(read, Some(seconds), "{text}");
        }
        for text in ["", "-1", "tomorrow", "18:58:00", "2026-02-30", "1969-12-31"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
