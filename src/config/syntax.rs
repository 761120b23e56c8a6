//! Reports what is not TOML, together with what can still be said about the rest.

use std::collections::HashSet;

use toml::de::Error;

use super::model::Place;
use super::problem::Problem;
use super::section::Reader;
use super::units::quoted;

/// What the parser says of a string without its second quote.
const UNCLOSED: &str = "invalid basic string, expected `\"`";

/// Adds the syntax errors to the problems of the sections that could still be read.
///
/// A value that is not TOML leaves the rest of the file as it is; then only what
/// was found on the same line is dropped, since it concerns what the parser put
/// in the value's place. Any other error leaves it open which table the next
/// lines belong to; then nothing but syntax is reported.
pub(super) fn with_syntax(
    reader: &Reader<'_>,
    errors: &[Error],
    problems: Vec<Problem>,
) -> Vec<Problem> {
    let mut all: Vec<Problem> = first(errors).map(|error| problem(reader, error)).collect();
    all.dedup();
    let lines: HashSet<Option<u32>> = all.iter().map(|problem| line(problem.place())).collect();
    let readable = errors.iter().all(concerns_a_value);
    let kept = problems
        .into_iter()
        .filter(|problem| readable && !lines.contains(&line(problem.place())));
    all.extend(kept);
    all
}

/// The errors up to the first that breaks a list open, since all that follow are its echo.
fn first(errors: &[Error]) -> impl Iterator<Item = &Error> {
    let mut sorted: Vec<&Error> = errors.iter().collect();
    sorted.sort_by_key(|error| error.span().map(|span| span.start));
    let breaks = |error: &&Error| {
        let message = error.message();
        message.contains("array") || message.contains("inline table")
    };
    let end = sorted
        .iter()
        .position(breaks)
        .map_or(sorted.len(), |at| at + 1);
    sorted.into_iter().take(end)
}

fn line(place: Option<Place>) -> Option<u32> {
    place.map(|place| place.line)
}

/// Whether the error leaves the tables as they were written.
fn concerns_a_value(error: &Error) -> bool {
    const VALUES: [&str; 7] = [
        UNCLOSED,
        "string values must be quoted",
        "invalid float",
        "invalid integer",
        "invalid boolean",
        "invalid escape sequence",
        "duplicate key",
    ];
    VALUES
        .iter()
        .any(|start| error.message().starts_with(start))
}

fn problem(reader: &Reader<'_>, error: &Error) -> Problem {
    let at = error.span().map_or(reader.text().len(), |span| span.start);
    if concerns_a_value(error)
        && let Some((start, word)) = bare_word(reader.text(), at)
    {
        return Problem::at(
            reader.place(start),
            format!("{} is not a value of TOML", quoted(word)),
        )
        .remedy(format!("write {}, with quotes", quoted(word)));
    }
    if error.message().starts_with("duplicate key") {
        let key = error.span().and_then(|span| reader.text().get(span));
        let what = format!("the key {} stands here twice", quoted(key.unwrap_or("")));
        return Problem::at(reader.place(at), what)
            .causes("only one of the two could count")
            .remedy("remove one, or put both into one table");
    }
    if error.message() == UNCLOSED {
        return Problem::at(reader.place(at), "the string has no end")
            .remedy("write a second \" behind it");
    }
    Problem::at(reader.place(at), format!("not TOML: {}", error.message()))
        .remedy("correct this first; what else is wrong may not show before")
}

/// The word without quotes around `at`, if it is a whole value.
fn bare_word(text: &str, at: usize) -> Option<(usize, &str)> {
    let ends = |c: char| c.is_whitespace() || "=[]{},#\"'".contains(c);
    let (before, after) = text.split_at_checked(at)?;
    let start = before.rfind(ends).map_or(0, |end| end + 1);
    let end = at + after.find(ends).unwrap_or(after.len());
    let word = text.get(start..end).filter(|word| !word.is_empty())?;
    let opening = text.get(..start)?.trim_end_matches([' ', '\t']);
    let value = opening.ends_with(['=', '[', ',']) && !opening.ends_with("\n[");
    value.then_some((start, word))
}
