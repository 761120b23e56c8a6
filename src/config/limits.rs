//! Reads the bounds of `[listeners.NAME.limits]` that are numbers, sizes and rates.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use super::defaults;
use super::model::{ChainLimits, CrowdLimits, TrafficLimits};
use super::problem::Problem;
use super::section::{Read, Section};

/// More than one machine has memory for.
pub(super) const MOST_CONNECTIONS: usize = 10_000_000;
/// The search for a path grows much faster than their number.
const MOST_CERTIFICATES: usize = 6;
/// What a single certificate needs, and what the TLS library takes.
const CHAIN_BYTES: (&str, &str) = ("1KiB", "64KiB");
/// What the library verifies with.
const LEAST_RSA_BITS: usize = 2048;
const MOST_RSA_BITS: usize = 8192;
/// The library's own bound.
const MOST_CHECKS: usize = 100;
/// A head with more fields than this is nobody's.
const MOST_FIELDS: usize = 1000;
/// From here on it is no bound any more.
const MOST_REQUESTS: usize = 1_000_000_000;
/// The bounds of the longest body.
const BODY_BYTES: (&str, &str) = ("1KiB", "1024GiB");
/// The bounds of the lowest rate; a higher one would end honest clients.
const BODY_RATE: (&str, &str) = ("1B/s", "1MiB/s");
/// Of few, one client may have this many all the same.
const FEW: usize = 64;

/// `most`: `max_connections`, as it is in force.
pub(super) fn crowd(section: &mut Section<'_>, most: NonZeroUsize) -> Read<CrowdLimits> {
    let default = defaults::MAX_HANDSHAKES;
    let handshakes = count(section, "max_handshakes", default);
    let within = *handshakes.as_ref().unwrap_or(&default);
    let handshakes_per_source = part(
        section,
        "max_handshakes_per_source",
        ("max_handshakes", within),
    );
    let of = ("max_connections", most);
    let connections_per_source = part(section, "max_connections_per_source", of);
    let connections_per_identity = part(section, "max_connections_per_identity", of);
    Ok(CrowdLimits {
        handshakes: handshakes?,
        handshakes_per_source: handshakes_per_source?,
        connections_per_source: connections_per_source?,
        connections_per_identity: connections_per_identity?,
    })
}

/// What a client's chain may cost.
pub(super) fn chain(section: &mut Section<'_>) -> Read<ChainLimits> {
    let default = defaults::CHAIN;
    let certificates = section.optional("max_chain_certificates", |field| {
        field.count(MOST_CERTIFICATES)
    });
    let bytes = section.optional("max_chain_bytes", |field| {
        let (least, most) = CHAIN_BYTES;
        field.size(least, most)
    });
    let rsa_bits = section.optional("max_rsa_bits", |field| {
        let bits = field.count(MOST_RSA_BITS)?;
        if bits < LEAST_RSA_BITS {
            let problem = Problem::new(format!("{bits} is less than any RSA key here has"))
                .causes(
                    "keys of fewer bits are not accepted at all, so every RSA key would be refused",
                )
                .remedy(format!(
                    "write a whole number from {LEAST_RSA_BITS} to {MOST_RSA_BITS}"
                ));
            return Err(field.refuse(problem));
        }
        Ok(bits)
    });
    let checks = section.optional("max_signature_checks", |field| field.count(MOST_CHECKS));
    let checks = checks?.and_then(|count| u32::try_from(count).ok());
    let bytes = bytes?.and_then(|bytes| usize::try_from(bytes).ok());
    Ok(ChainLimits {
        certificates: certificates?
            .and_then(NonZeroUsize::new)
            .unwrap_or(default.certificates),
        bytes: bytes.and_then(NonZeroUsize::new).unwrap_or(default.bytes),
        rsa_bits: rsa_bits?
            .and_then(NonZeroUsize::new)
            .unwrap_or(default.rsa_bits),
        signature_checks: checks
            .and_then(NonZeroU32::new)
            .unwrap_or(default.signature_checks),
    })
}

/// What a single client may send.
pub(super) fn traffic(section: &mut Section<'_>) -> Read<TrafficLimits> {
    let default = defaults::TRAFFIC;
    let fields = section.optional("max_fields", |field| field.count(MOST_FIELDS));
    let body_bytes = section.optional("max_body_bytes", |field| {
        let (least, most) = BODY_BYTES;
        field.size(least, most)
    });
    let body_rate = section.optional("min_body_rate", |field| {
        let (least, most) = BODY_RATE;
        field.rate(least, most)
    });
    let requests = section.optional("max_requests_per_connection", |field| {
        field.count(MOST_REQUESTS)
    });
    let requests = requests?.and_then(|count| u32::try_from(count).ok());
    let tunnel_idle_timeout = section.defaulted(
        "tunnel_idle_timeout",
        default.tunnel_idle_timeout,
        |field| field.duration(),
    );
    Ok(TrafficLimits {
        fields: fields?
            .and_then(NonZeroUsize::new)
            .unwrap_or(default.fields),
        body_bytes: body_bytes?
            .and_then(NonZeroU64::new)
            .unwrap_or(default.body_bytes),
        body_rate: body_rate?
            .and_then(NonZeroU64::new)
            .unwrap_or(default.body_rate),
        requests_per_connection: requests
            .and_then(NonZeroU32::new)
            .unwrap_or(default.requests_per_connection),
        tunnel_idle_timeout: tunnel_idle_timeout?,
    })
}

fn count(
    section: &mut Section<'_>,
    key: &'static str,
    default: NonZeroUsize,
) -> Read<NonZeroUsize> {
    let count = section.optional(key, |field| field.count(MOST_CONNECTIONS))?;
    Ok(count.and_then(NonZeroUsize::new).unwrap_or(default))
}

/// The share that one client may have of what the option `whole` allows to all.
fn part(
    section: &mut Section<'_>,
    key: &'static str,
    (whole, most): (&'static str, NonZeroUsize),
) -> Read<NonZeroUsize> {
    let part = count(section, key, half(most))?;
    if part > most {
        let problem = Problem::new(format!(
            "{part} is more than {whole} allows to all ({most})"
        ))
        .causes("it would never strike, and one client could take what all others need")
        .remedy(format!(
            "write at most {most}, or raise {whole}; without {key} it is {}",
            half(most)
        ));
        return Err(section.refuse_key(key, problem));
    }
    Ok(part)
}

/// Half of it, so that no single client can keep out all others; of few a
/// larger part, since there several connections are one client's all the same.
fn half(most: NonZeroUsize) -> NonZeroUsize {
    let half = most.get().div_ceil(2).max(FEW).min(most.get());
    NonZeroUsize::new(half).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_many_and_all_of_few_may_be_one_clients() {
        let half = |most| half(NonZeroUsize::new(most).unwrap()).get();
        assert_eq!(
            [1, 2, 64, 100, 1001, 10_000].map(half),
            [1, 2, 64, 64, 501, 5_000]
        );
    }
}
