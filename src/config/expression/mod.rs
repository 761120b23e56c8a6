//! Conditions that an operator writes in the Common Expression Language (CEL).
//!
//! An [`Expression`] is compiled when the config is loaded. Afterwards it is
//! known that every name in it is known, that every operation gets what it works
//! on, and that its result is true or false. What can go wrong while it is
//! evaluated is little, and named ([`EvaluationError`]).
//!
//! # Rules
//!
//! * The grammar and its escapes are those of the crate `cel`; the types and the
//!   evaluation are ours, since a rule must not have a value whose type nobody
//!   has checked. Tests hold that both come to the same result.
//! * The parser recurses. What it is given is short and shallow
//!   ([`LONGEST`], [`tokens::DEEPEST`]), and it runs on a stack of its own.
//! * An evaluation ends: there are no loops but over lists, and what it does is
//!   counted ([`EvaluationError::TooLong`]).
//! * A value is asked for when the evaluation comes to it, and not before.
//!
//! # Sources
//!
//! The language definition of CEL, <https://github.com/cel-expr/cel-spec>.

mod attributes;
mod check;
mod evaluate;
mod functions;
mod operators;
mod position;
mod program;
mod read;
mod syntax;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;

pub use attributes::{Attribute, Attributes, Party, PartyList, PartyText, RequestText};
pub(super) use read::expression;

use program::Condition;

/// The longest text of an expression, in bytes.
const LONGEST: usize = 4096;

/// A condition on a request; compiled, and so without type errors.
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    condition: Condition,
    attributes: Box<[Attribute]>,
}

/// Why a text is not a condition.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where in the text, in bytes from its beginning.
    pub offset: usize,
    /// What is wrong, in lower case and without a final dot.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// Why an expression has no result for one request.
///
/// Who decides by it must fail closed: such an expression neither permits nor
/// keeps a denial from being made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EvaluationError {
    /// A number is divided by zero.
    #[error("a number is divided by zero")]
    DivisionByZero,

    /// There is no such entry in a list.
    #[error("the list has {entries} entries, and none with the index {index}")]
    NoEntry {
        /// What was asked for, from 0.
        index: i64,
        /// How many there are.
        entries: usize,
    },

    /// A number is larger than 64 bits can hold.
    #[error("a number is out of range")]
    Overflow,

    /// A string that was put together is over 64 KiB.
    #[error("a string that is put together is over {} KiB", evaluate::LONGEST_TEXT / 1024)]
    TooLarge,

    /// It would take longer than one request may take up.
    #[error("the evaluation takes more than {} steps", evaluate::STEPS)]
    TooLong,

    /// The request has no such value, such as an issuer without a certificate.
    #[error("`{0}` is not known here; `has({0})` asks whether it is")]
    Unknown(Attribute),
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it, and where.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let (condition, attributes) = syntax::compile(text)?;
        Ok(Self {
            text: text.into(),
            condition,
            attributes: attributes.into(),
        })
    }

    /// Whether it is true of a request.
    ///
    /// # Errors
    ///
    /// See [`EvaluationError`]. As in CEL, an error on one side of `&&` and `||`
    /// does not count where the other side decides alone.
    pub fn holds(&self, facts: &dyn Attributes) -> Result<bool, EvaluationError> {
        evaluate::holds(&self.condition, facts)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it looks at, each once.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether it looks at anything of `party`.
    pub fn looks_at(&self, party: Party) -> bool {
        self.attributes
            .iter()
            .any(|attribute| attribute.party() == Some(party))
    }
}

/// Two are equal that were written alike.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ExpressionError {
    fn new(offset: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}
