//! Reads an expression of the config, and says where in the file it is wrong.

use super::super::problem::Problem;
use super::super::section::{Field, Read, Reported};
use super::position::in_file;
use super::{Expression, ExpressionError};

/// Reads a condition in CEL.
pub(in crate::config) fn expression(field: &Field<'_>) -> Read<Expression> {
    let text = field.text()?;
    Expression::compile(text).map_err(|error| refuse(field, text, error))
}

fn refuse(field: &Field<'_>, text: &str, error: ExpressionError) -> Reported {
    let (start, written) = field.written();
    let within = in_file(written, text, error.offset).unwrap_or(0);
    let problem = Problem::new(error.message).remedy(error.remedy);
    field.refuse_at(start + within, problem)
}
