//! Reads what becomes of clients whose certificate is missing or not accepted:
//! `on_missing`, `on_invalid`, `outcomes` and `tell_client`.

use super::model::{Outcome, Outcomes};
use super::problem::Problem;
use super::section::{Field, Read, Section};

/// The words for what becomes of a certificate that is not accepted.
const WORDS: [(&str, Outcome); 3] = [
    ("alert", Outcome::Alert),
    ("http", Outcome::Http),
    ("anonymous", Outcome::Anonymous),
];

/// Reads the keys of a listener's `tls` table. What `outcomes` says of a cause
/// counts more than what is said of all.
pub(super) fn outcomes(section: &mut Section<'_>) -> Read<Outcomes> {
    let missing = section.defaulted("on_missing", Outcome::Alert, missing);
    let invalid = section.defaulted("on_invalid", Outcome::Alert, invalid);
    let tell_client = section.defaulted("tell_client", false, |field| field.boolean());
    let groups = (
        missing.unwrap_or(Outcome::Alert),
        invalid.unwrap_or(Outcome::Alert),
    );
    let each = section.subsection("outcomes", |section| each(section, groups));
    missing?;
    invalid?;
    Ok(Outcomes {
        tell_client: tell_client?,
        ..each?
    })
}

fn each(section: &mut Section<'_>, (on_missing, on_invalid): (Outcome, Outcome)) -> Read<Outcomes> {
    let no_certificate = section.defaulted("no_certificate", on_missing, missing);
    let mut of = |cause| section.defaulted(cause, on_invalid, invalid);
    let untrusted = of("untrusted");
    let expired = of("expired");
    let not_yet_valid = of("not_yet_valid");
    let revoked = of("revoked");
    let revocation_unknown = of("revocation_unknown");
    let wrong_purpose = of("wrong_purpose");
    let malformed = of("malformed");
    Ok(Outcomes {
        no_certificate: no_certificate?,
        untrusted: untrusted?,
        expired: expired?,
        not_yet_valid: not_yet_valid?,
        revoked: revoked?,
        revocation_unknown: revocation_unknown?,
        wrong_purpose: wrong_purpose?,
        malformed: malformed?,
        tell_client: false,
    })
}

fn invalid(field: &Field<'_>) -> Read<Outcome> {
    field.choice(&WORDS)
}

fn missing(field: &Field<'_>) -> Read<Outcome> {
    if field.value().as_str() == Some("anonymous") {
        let problem = Problem::new("callers without a certificate cannot be anonymous here")
            .causes("client_auth = \"require\" would demand what nobody has to have")
            .remedy("write client_auth = \"want\" for that, or \"http\" to tell such callers in an answer");
        return Err(field.refuse(problem));
    }
    field.choice(&[("alert", Outcome::Alert), ("http", Outcome::Http)])
}
