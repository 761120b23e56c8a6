//! From a text to a compiled expression, by way of the parser of `cel`.
//!
//! The parser recurses, and its tree is as deep as the text is long. A stack
//! that overflows would end the process; so it runs on one of its own that is
//! large enough for whatever [`tokens`] lets pass. A test tries the worst.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::{Env, ParseError, ParseErrors};

use super::attributes::Attribute;
use super::check::Checker;
use super::program::Condition;
use super::tokens::{Token, tokens};
use super::{ExpressionError, LONGEST};

/// The stack of the parser, in bytes; the worst text takes less than 8 MiB in a
/// debug build. What is not used is never backed by memory.
const STACK: usize = 32 << 20;

/// Compiles a text into a condition and the attributes that it looks at.
pub(super) fn compile(text: &str) -> Result<(Condition, Vec<Attribute>), ExpressionError> {
    if text.len() > LONGEST {
        let message = format!("the expression is over {LONGEST} bytes");
        let remedy = "split it into several entries";
        return Err(ExpressionError::new(LONGEST, message, remedy));
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        let remedy = "write a condition, such as 'request.method == \"GET\"', or remove it";
        return Err(ExpressionError::new(0, "the expression is empty", remedy));
    }
    let unread = |_| {
        let message = "the expression cannot be read";
        ExpressionError::new(0, message, "write it in another way")
    };
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new()
            .name("expression".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                let (tree, source) = parse(text, &tokens)?;
                Checker::new(text, &source).whole(&tree)
            });
        match parser {
            Ok(parser) => parser.join().unwrap_or_else(|panic| Err(unread(panic))),
            Err(error) => {
                let message = format!("no thread can be started to read it: {error}");
                let remedy = "raise the limit of threads or of memory";
                Err(ExpressionError::new(0, message, remedy))
            }
        }
    })
}

/// Macros are left as the calls that they are written as: the checker knows them.
fn parse(text: &str, tokens: &[Token]) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    let parser = Env::default().with_optional_support(false).parser();
    let parsed = parser.parse_with_source_info(text);
    parsed.map_err(|errors| first(text, tokens, &errors))
}

/// The first of the parser's errors, in our words.
fn first(text: &str, tokens: &[Token], errors: &ParseErrors) -> ExpressionError {
    let placed = errors
        .errors
        .iter()
        .map(|error| (offset(text, error), error));
    let Some((offset, error)) = placed.min_by_key(|(offset, _)| *offset) else {
        return unexpected(text, tokens, text.len());
    };
    if error.msg.contains("ecursion limit") {
        let remedy = "write it flatter, or as several entries";
        return ExpressionError::new(offset, "the expression is nested too deep", remedy);
    }
    if error.msg.starts_with("Syntax error") || error.msg.starts_with("Incomplete") {
        return unexpected(text, tokens, offset);
    }
    let (start, token) = token_at(text, tokens, offset).unwrap_or((offset, ""));
    let (message, remedy) = match error.msg.as_str() {
        msg if msg.starts_with("reserved identifier") => (
            format!("`{token}` is a reserved word of CEL"),
            "choose another name".to_owned(),
        ),
        msg if msg.starts_with("invalid") && msg.ends_with("literal") => (
            format!("`{token}` is not a number that can be used"),
            "write a whole number of at most 64 bits".to_owned(),
        ),
        _ => return unexpected(text, tokens, offset),
    };
    ExpressionError::new(start, message, remedy)
}

/// A token where no token, or another one, can stand.
fn unexpected(text: &str, tokens: &[Token], offset: usize) -> ExpressionError {
    let Some((start, token)) = token_at(text, tokens, offset) else {
        let remedy = "write what is missing, such as the other side of a comparison";
        return ExpressionError::new(text.len(), "the expression ends too early", remedy);
    };
    let before = tokens.iter().rev().find(|token| token.end <= start);
    let before = before.and_then(|token| text.get(token.start..token.end));
    let remedy = match token {
        _ if before.is_some_and(|before| before.eq_ignore_ascii_case("not")) => {
            "write `!` before what must not be true, and not a word"
        }
        "and" | "AND" => "write `&&` where both must be true",
        "or" | "OR" => "write `||` where one must be true",
        "{" => "write `(` to group; an expression has no maps",
        _ => "join two conditions with `&&` or `||`, and see that each is whole",
    };
    ExpressionError::new(start, format!("`{token}` cannot stand here"), remedy)
}

/// The token that stands at an offset, or the next one.
fn token_at<'t>(text: &'t str, tokens: &[Token], offset: usize) -> Option<(usize, &'t str)> {
    let token = tokens.iter().find(|token| token.end > offset)?;
    Some((token.start, text.get(token.start..token.end)?))
}

/// Where an error is: the parser gives a node, or a line and a column in
/// characters, both from 1.
fn offset(text: &str, error: &ParseError) -> usize {
    let source = error.source_info.as_ref().filter(|_| error.expr_id != 0);
    let node = source.and_then(|source| source.offset_for(error.expr_id));
    if let Some((start, _)) = node {
        return usize::try_from(start).unwrap_or(0).min(text.len());
    }
    let (line, column) = error.pos;
    let (Ok(line), Ok(column)) = (usize::try_from(line), usize::try_from(column)) else {
        return text.len();
    };
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines
        .by_ref()
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let within = lines.next().unwrap_or("").char_indices();
    let within = within
        .map(|(at, _)| before + at)
        .nth(column.saturating_sub(1));
    within.unwrap_or(text.len())
}
