//! Writes points in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends `at` as RFC 3339 in UTC with milliseconds: `2026-11-21T18:58:00.123Z`.
///
/// A time before 1970 is written as 1970; years count modulo 10000.
pub(super) fn append_rfc3339(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = civil_date(days);
    append_digits::<4>(out, year);
    out.push(b'-');
    append_digits::<2>(out, month);
    out.push(b'-');
    append_digits::<2>(out, day);
    out.push(b'T');
    append_digits::<2>(out, second / 3600);
    out.push(b':');
    append_digits::<2>(out, second / 60 % 60);
    out.push(b':');
    append_digits::<2>(out, second % 60);
    out.push(b'.');
    append_digits::<3>(out, u64::from(since.subsec_millis()));
    out.push(b'Z');
}

/// `at` as RFC 3339 in UTC with milliseconds.
pub fn rfc3339(at: SystemTime) -> String {
    let mut out = Vec::new();
    append_rfc3339(&mut out, at);
    // It is all ASCII.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends the last `N` decimal digits of `value`, with leading zeros.
pub(super) fn append_digits<const N: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        // The remainder is below 10: nothing is cut.
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`: years begin in March, so that the leap day is a year's last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Seconds of a day; UNIX time has no leap seconds.
const DAY: u64 = 86_400;
/// Days of the 400 years after which the Gregorian calendar repeats.
const DAYS_OF_ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: SystemTime) -> String {
        let mut out = Vec::new();
        append_rfc3339(&mut out, at);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn known_points_are_written_as_rfc_3339() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_287_480_123, "2026-11-21T18:58:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(written(at), expected);
        }
    }

    #[test]
    fn time_before_1970_is_written_as_1970() {
        let at = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(written(at), "1970-01-01T00:00:00.000Z");
    }
}
