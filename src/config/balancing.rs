//! Reads which endpoint of an upstream gets a request, and how its health is known.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use http::uri::{Authority, PathAndQuery};
use toml::de::DeValue;

use super::defaults;
use super::model::{Balance, Balancing, Ejection, HealthCheck, Statuses};
use super::problem::Problem;
use super::section::{Field, Read, Section};
use super::units::quoted;

const METHODS: [(&str, Balance); 4] = [
    ("least_requests", Balance::LeastRequests),
    ("round_robin", Balance::RoundRobin),
    ("ip_hash", Balance::IpHash),
    ("identity_hash", Balance::IdentityHash),
];
/// The shortest and the longest time between two looks at an endpoint.
const PROBE: (&str, &str) = ("100ms", "1h");
/// The shortest and the longest time between two looks at its name.
const RESOLVE: (&str, &str) = ("1s", "1h");
/// More in a row than this is for ever.
const MOST_IN_A_ROW: usize = 1000;

/// The keys of `[upstreams.NAME]` about the choice among its endpoints.
pub(super) fn balancing(section: &mut Section<'_>) -> Read<Balancing> {
    let method = section.defaulted("balance", Balance::LeastRequests, |field| {
        field.choice(&METHODS)
    });
    let slow_start = section.optional("slow_start", |field| field.duration());
    let resolve_interval =
        section.defaulted("resolve_interval", defaults::RESOLVE_INTERVAL, |field| {
            field.duration_within(RESOLVE.0, RESOLVE.1)
        });
    let health = section.optional("health", |field| field.section(health));
    let ejection = section.subsection("ejection", ejection);
    let (method, slow_start) = (method?, slow_start?);
    if slow_start.is_some() && matches!(method, Balance::IpHash | Balance::IdentityHash) {
        let problem = Problem::new("has no meaning where each caller has its endpoint (balance)")
            .causes("an endpoint that comes back would get all of its callers at once")
            .remedy("write balance = \"least_requests\" or \"round_robin\", or remove it");
        return Err(section.refuse_key("slow_start", problem));
    }
    Ok(Balancing {
        method,
        slow_start,
        resolve_interval: resolve_interval?,
        health: health?,
        ejection: ejection?,
    })
}

fn health(section: &mut Section<'_>) -> Read<HealthCheck> {
    let path = section.required("path", |field| field.parsed(path));
    let host = section.optional("host", |field| field.parsed(host));
    let interval = section.defaulted("interval", defaults::PROBE_INTERVAL, |field| {
        field.duration_within(PROBE.0, PROBE.1)
    });
    let timeout = section.field("timeout");
    let given = timeout.as_ref().map(|field| field.duration()).transpose();
    let healthy = section.defaulted("healthy", defaults::HEALTHY, in_a_row);
    let unhealthy = section.defaulted("unhealthy", defaults::UNHEALTHY, in_a_row);
    let well = || Statuses::new(vec![200..=299]);
    let status = section.optional("status", statuses);
    let (interval, given) = (interval?, given?);
    if let (Some(field), Some(given)) = (&timeout, given)
        && given > interval
    {
        let problem = Problem::new("is longer than interval")
            .causes("a probe would still be under way when the next one is due")
            .remedy("write at most the interval, or a longer interval");
        return Err(field.refuse(problem));
    }
    Ok(HealthCheck {
        path: path?,
        host: host?,
        interval,
        timeout: given.unwrap_or(defaults::PROBE_TIMEOUT.min(interval)),
        healthy: healthy?,
        unhealthy: unhealthy?,
        status: status?.unwrap_or_else(well),
    })
}

fn ejection(section: &mut Section<'_>) -> Read<Ejection> {
    let default = defaults::CONSECUTIVE_FAILURES;
    let consecutive_failures = section.defaulted("consecutive_failures", default, in_a_row);
    let failure_status = section.optional("failure_status", statuses);
    let base = section.defaulted("base", defaults::FIRST_EJECTION, |field| field.duration());
    let longest = section.field("longest");
    let given = longest.as_ref().map(|field| field.duration()).transpose();
    let max_share = section.defaulted("max_share", defaults::MAX_EJECTED, |field| field.share());
    let (base, given) = (base?, given?);
    if let (Some(field), Some(given)) = (&longest, given)
        && given < base
    {
        let problem = Problem::new("is shorter than base")
            .causes("the first time would already be too long")
            .remedy("write at least what base says, or a shorter base");
        return Err(field.refuse(problem));
    }
    Ok(Ejection {
        consecutive_failures: consecutive_failures?,
        failure_status: failure_status?.unwrap_or_default(),
        base,
        longest: given.unwrap_or(defaults::LONGEST_EJECTION.max(base)),
        max_share: max_share?,
    })
}

fn in_a_row(field: &Field<'_>) -> Read<NonZeroU32> {
    let count = field.count(MOST_IN_A_ROW)?;
    let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
    Ok(count.unwrap_or(NonZeroU32::MIN))
}

fn path(text: &str) -> Result<PathAndQuery, Problem> {
    let read = text.starts_with('/').then(|| text.parse());
    let read: Option<PathAndQuery> = read.and_then(Result::ok);
    let plain = |path: &PathAndQuery| path.as_str() == text;
    read.filter(plain).ok_or_else(|| {
        Problem::new(format!("{} is no path", quoted(text)))
            .causes("every probe would be refused, and every endpoint found unwell")
            .remedy("write a path that begins with /, such as \"/health\"")
    })
}

fn host(text: &str) -> Result<Authority, Problem> {
    let read = text.parse::<Authority>().ok();
    let plain = |host: &Authority| !host.as_str().contains('@') && !host.host().is_empty();
    read.filter(plain).ok_or_else(|| {
        Problem::new(format!("{} is no host", quoted(text)))
            .remedy("write a name, with a port if need be, such as \"orders.internal\"")
    })
}

fn statuses(field: &Field<'_>) -> Read<Statuses> {
    field.list(status).map(Statuses::new)
}

/// A status such as `204`, or a class of them such as `"2xx"`.
fn status(field: &Field<'_>) -> Read<RangeInclusive<u16>> {
    let problem = |shown: &str| {
        Problem::new(format!("{shown} is no status"))
            .remedy("write a status from 200 to 599 such as 204, or a class such as \"2xx\"")
    };
    let of_number = |number: u16| (200..600).contains(&number).then_some(number..=number);
    if let DeValue::Integer(number) = field.value() {
        let read = number.as_str().parse().ok().and_then(of_number);
        return read.ok_or_else(|| field.refuse(problem(number.as_str())));
    }
    field.parsed(|text| {
        let class = match text {
            "2xx" => Some(200..=299),
            "3xx" => Some(300..=399),
            "4xx" => Some(400..=499),
            "5xx" => Some(500..=599),
            number => number.parse().ok().and_then(of_number),
        };
        class.ok_or_else(|| problem(&quoted(text)))
    })
}
