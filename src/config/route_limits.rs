//! Reads what bounds the requests of a route, and what it answers by itself.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use toml::de::DeValue;

use super::defaults;
use super::model::{Maintenance, Rate, RatePer, RouteLimits};
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;

/// More is no limit for any service, and its intervals could not be told apart.
const MOST: u32 = 1_000_000;

/// Room for a page of text; what is longer belongs on a server.
const LONGEST_TEXT: usize = 4096;

/// Reads the limits of a route.
pub(super) fn limits(section: &mut Section<'_>) -> Read<RouteLimits> {
    let rate = rate_limit(section);
    let response_timeout = section.optional("response_timeout", |field| field.duration());
    let body_timeout = section.optional("body_timeout", |field| field.duration());
    let max_body_bytes = section.optional("max_body_bytes", |field| field.size("1B", "1024GiB"));
    Ok(RouteLimits {
        rate: rate?,
        response_timeout: response_timeout?,
        body_timeout: body_timeout?,
        max_body_bytes: max_body_bytes?.and_then(NonZeroU64::new),
    })
}

/// Reads `rate`, and `burst` and `rate_per`, which have a meaning only with it.
fn rate_limit(section: &mut Section<'_>) -> Read<Option<Rate>> {
    let rate = section.optional("rate", |field| field.parsed(rate));
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let burst = section.optional("burst", |field| field.count(most));
    let per = section.optional("rate_per", |field| {
        field.choice(&[("identity", RatePer::Identity), ("source", RatePer::Source)])
    });
    let (rate, burst, per) = (rate?, burst?, per?);
    let Some((count, period)) = rate else {
        let burst = burst.map(|_| "burst");
        return match burst.or(per.map(|_| "rate_per")) {
            None => Ok(None),
            Some(key) => Err(section.refuse_key(key, meaningless())),
        };
    };
    let burst = burst.and_then(|burst| u32::try_from(burst).ok());
    Ok(Some(Rate {
        count,
        period,
        burst: burst
            .and_then(NonZeroU32::new)
            .unwrap_or_else(|| within_a_second(count, period)),
        per: per.unwrap_or(RatePer::Identity),
    }))
}

fn meaningless() -> Problem {
    Problem::new("has no meaning without rate")
        .causes("requests would not be limited")
        .remedy("write rate = \"100/s\", or remove it")
}

/// As many as are permitted within a second, at least one.
fn within_a_second(count: NonZeroU32, period: Duration) -> NonZeroU32 {
    let seconds = u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
    let share = count.get().checked_div(seconds).unwrap_or(count.get());
    NonZeroU32::new(share).unwrap_or(NonZeroU32::MIN)
}

/// Reads `"100/s"`: so many within a second, a minute or an hour.
fn rate(text: &str) -> Result<(NonZeroU32, Duration), Problem> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(Problem::new(format!("{} is not a rate", quoted(text)))
            .remedy("write how many in which time, such as \"100/s\", \"600/m\" or \"50/h\""));
    }
    let seconds = match unit {
        "/s" => 1,
        "/m" => 60,
        "/h" => 3600,
        "" => {
            return Err(
                Problem::new(format!("{} does not say in which time", quoted(text))).remedy(
                    format!("write \"{digits}/s\", \"{digits}/m\" or \"{digits}/h\""),
                ),
            );
        }
        _ => {
            return Err(Problem::new(format!("{} is not a rate", quoted(text)))
                .remedy(format!("write \"{digits}/s\", with /s, /m or /h")));
        }
    };
    match digits.parse::<u32>().ok().filter(|count| *count <= MOST) {
        Some(count) => match NonZeroU32::new(count) {
            Some(count) => Ok((count, Duration::from_secs(seconds))),
            None => Err(Problem::new(format!("{} permits nothing", quoted(text)))
                .remedy("write how many may come, or close the route with maintenance = true")),
        },
        None => Err(Problem::new(format!("{} is too many", quoted(text)))
            .causes("a limit that is never reached protects nothing")
            .remedy(format!("write at most \"{MOST}{unit}\", or remove it"))),
    }
}

/// Reads `maintenance` and what belongs to it.
pub(super) fn maintenance(section: &mut Section<'_>) -> Read<Option<Maintenance>> {
    let text = section.optional("maintenance", said);
    let retry_after = section.optional("maintenance_retry_after", |field| {
        field.duration_within("1s", "720h")
    });
    let (text, retry_after) = (text?, retry_after?);
    if text.is_none() && retry_after.is_some() {
        let problem = Problem::new("has no meaning without maintenance")
            .causes("the route is served")
            .remedy("write maintenance = true, or false for later, or remove it");
        return Err(section.refuse_key("maintenance_retry_after", problem));
    }
    Ok(text.flatten().map(|text| Maintenance {
        text,
        retry_after: retry_after.unwrap_or(defaults::MAINTENANCE_RETRY_AFTER),
    }))
}

/// What callers are told; `None`: the route is served.
fn said(field: &Field<'_>) -> Read<Option<String>> {
    match field.value() {
        DeValue::Boolean(false) => Ok(None),
        DeValue::Boolean(true) => Ok(Some(String::new())),
        DeValue::String(_) => field.parsed(legal_text).map(Some),
        _ => Err(field.mismatch("true, false or a text", None)),
    }
}

fn legal_text(text: &str) -> Result<String, Problem> {
    let text = text.trim_end();
    if ["true", "false"].contains(&text) {
        return Err(Problem::new(format!("{} is a text here", quoted(text)))
            .causes("callers would read the word")
            .remedy(format!("write {text}, without quotes")));
    }
    if text.is_empty() {
        return Err(
            Problem::new("the text is empty").remedy("write true, or what callers are to read")
        );
    }
    if text.len() > LONGEST_TEXT {
        return Err(
            Problem::new(format!("the text has more than {LONGEST_TEXT} bytes"))
                .remedy("write a shorter one"),
        );
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Problem::new("the text has a control character")
            .remedy("write plain text; lines may be broken"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        for (text, count, seconds) in [("100/s", 100, 1), ("1/m", 1, 60), ("1000000/h", MOST, 3600)]
        {
            let expected = (
                NonZeroU32::new(count).unwrap(),
                Duration::from_secs(seconds),
            );
            assert_eq!(rate(text), Ok(expected));
        }
        for text in [
            "",
            "/s",
            "0/s",
            "100",
            "100/",
            "100/d",
            "100 /s",
            "-1/s",
            "1000001/s",
            "1.5/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_burst_is_what_comes_in_a_second_and_at_least_one() {
        let burst = |count, seconds| {
            within_a_second(
                NonZeroU32::new(count).unwrap(),
                Duration::from_secs(seconds),
            )
            .get()
        };
        assert_eq!(
            [burst(100, 1), burst(600, 60), burst(59, 60), burst(5, 3600)],
            [100, 10, 1, 1]
        );
    }
}
