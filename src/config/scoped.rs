//! Reads what a trust bundle's anchors may vouch for, and what of it is only tried out.

use super::problem::Problem;
use super::rules;
use super::section::{Read, Section};
use super::units::quoted;
use crate::identity::{Assertable, TrustDomain};

/// Reads `may_assert`.
pub(super) fn may_assert(section: &mut Section<'_>) -> Read<Option<Assertable>> {
    let entries = section.optional("may_assert", |field| field.list(rules::pattern))?;
    Ok(entries.and_then(Assertable::new))
}

/// Reads `spiffe_trust_domain`.
pub(super) fn trust_domain(section: &mut Section<'_>) -> Read<Option<TrustDomain>> {
    section.optional("spiffe_trust_domain", |field| {
        field.parsed(|text| {
            TrustDomain::parse(text).map_err(|error| {
                let what = format!("{} is not the name of a trust domain", quoted(text));
                let problem = Problem::new(what)
                    .causes("no SPIFFE ID could be of it, and every certificate would be refused");
                match meant(text) {
                    Some(domain) => problem.remedy(format!("write {}", quoted(domain.as_str()))),
                    None => problem.remedy(error.to_string()),
                }
            })
        })
    })
}

/// The trust domain of a URI, or the one that was written in capitals.
fn meant(text: &str) -> Option<TrustDomain> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("spiffe://").unwrap_or(&lower);
    let domain = rest.split('/').next().unwrap_or(rest);
    TrustDomain::parse(domain.trim_end_matches('.')).ok()
}

/// Reads `enforce_crl`, which has a meaning only with revocation lists.
pub(super) fn enforce_crl(section: &mut Section<'_>, has_lists: bool) -> Read<bool> {
    section.defaulted("enforce_crl", true, |field| {
        let enforced = field.boolean()?;
        if has_lists {
            return Ok(enforced);
        }
        let problem = Problem::new("has no meaning without crl")
            .causes("no certificate is looked up in a revocation list")
            .remedy("write crl = [\"trust/crl/\"], or remove it");
        Err(field.refuse(problem))
    })
}
