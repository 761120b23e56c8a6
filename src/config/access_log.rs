//! Reads the form of the lines of the access log.

use super::nearest::nearest;
use super::problem::Problem;
use super::section::{Read, Section};
use super::units::quoted;
use super::values::one_of;
use crate::telemetry::access::{AccessTemplate, AccessTemplateError};

const KEY: &str = "access_template";

/// `access`: whether there is an access log.
pub(super) fn template(section: &mut Section<'_>, access: bool) -> Read<Option<AccessTemplate>> {
    let template = section.optional(KEY, |field| {
        field.parsed(|text| {
            let template = AccessTemplate::parse(text);
            template.map_err(|cause| problem(text, &cause))
        })
    })?;
    if template.is_some() && !access {
        let problem = Problem::new("has no meaning with access = false")
            .causes("no line would ever be written in this form")
            .remedy("remove access = false, or remove this");
        return Err(section.refuse_key(KEY, problem));
    }
    Ok(template)
}

fn problem(text: &str, cause: &AccessTemplateError) -> Problem {
    let problem = Problem::new(format!("{}: {cause}", quoted(text)));
    let AccessTemplateError::Unknown(name) = cause else {
        return problem;
    };
    let known: Vec<_> = AccessTemplate::placeholders().collect();
    problem.remedy(match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!("write {}", one_of(&known)),
    })
}
