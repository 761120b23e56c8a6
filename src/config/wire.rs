//! Reads how a listener takes field names and paths that can be read in several ways.

use super::model::{AcceptedAssertions, FieldNames, PathForm};
use super::problem::Problem;
use super::section::{Read, Section};
use crate::identity::is_folded_with_others;

/// Reads `field_names`, once it is known whose assertions are `accepted`.
pub(super) fn field_names(
    section: &mut Section<'_>,
    accepted: Option<&AcceptedAssertions>,
) -> Read<FieldNames> {
    let chosen = section.defaulted("field_names", FieldNames::default(), |field| {
        field.choice(&[
            ("strict", FieldNames::Strict),
            ("drop", FieldNames::Drop),
            ("keep", FieldNames::Keep),
        ])
    })?;
    let carrier = accepted
        .and_then(|accepted| accepted.jwt.as_ref())
        .map(|jwt| jwt.header.as_str())
        .filter(|name| is_folded_with_others(name));
    match (chosen, carrier) {
        (FieldNames::Strict, Some(name)) => {
            let problem = Problem::new(format!(
                "\"strict\" refuses the field `{name}`, in which assertion_jwt is read"
            ))
            .causes("no request with such an assertion would ever be served")
            .remedy("give the table `assertion_jwt` a header of letters, digits and `-`");
            Err(section.refuse_key("field_names", problem))
        }
        _ => Ok(chosen),
    }
}

/// Reads `path`.
pub(super) fn path(section: &mut Section<'_>) -> Read<PathForm> {
    section.defaulted("path", PathForm::default(), |field| {
        field.choice(&[
            ("reject", PathForm::Reject),
            ("normalize", PathForm::Normalize),
            ("raw", PathForm::Raw),
        ])
    })
}
