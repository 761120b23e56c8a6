//! Evaluates a compiled expression for one request.
//!
//! # Rules
//!
//! * Texts are borrowed from the request and from the expression as far as they go.
//! * `&&`, `||`, `all` and `exists` do not count an error where another operand
//!   decides alone, in whatever order they stand (CEL, "Logical Operators").
//!   That the evaluation takes too long always counts.

use std::borrow::Cow;

use super::EvaluationError;
use super::attributes::{Attribute, Attributes, PartyText};
use super::program::{
    Arithmetic, Choice, Comparison, Condition, List, Number, Part, Quantifier, Text,
};

/// How much one evaluation may do: operations, and pieces of text that are
/// looked at. About a millisecond.
///
/// Lists within lists over the names of a certificate that somebody has filled
/// with thousands of them would otherwise take minutes.
pub(super) const STEPS: u32 = 100_000;

/// The longest text that is put together, in bytes.
pub(super) const LONGEST_TEXT: usize = 64 * 1024;

/// The bytes of text that count as one step.
const PIECE: usize = 32;

type Evaluated<T> = Result<T, EvaluationError>;

/// Whether `condition` is true of a request.
pub(super) fn holds(condition: &Condition, facts: &dyn Attributes) -> Evaluated<bool> {
    let mut evaluation = Evaluation {
        facts,
        steps: STEPS,
        entries: Vec::new(),
    };
    evaluation.condition(condition)
}

struct Evaluation<'v> {
    facts: &'v dyn Attributes,
    /// How many are left.
    steps: u32,
    /// What the loops are looking at, the outermost first.
    entries: Vec<Cow<'v, str>>,
}

impl<'v> Evaluation<'v> {
    fn condition(&mut self, condition: &'v Condition) -> Evaluated<bool> {
        self.spend(0)?;
        match condition {
            Condition::Constant(value) => Ok(*value),
            Condition::IsThere(party) => Ok(self.facts.is_there(*party)),
            Condition::Has(attribute) => Ok(self.has(*attribute)),
            Condition::Not(inner) => Ok(!self.condition(inner)?),
            Condition::Both(sides) => self.decided_by(false, [&sides.0, &sides.1]),
            Condition::Either(sides) => self.decided_by(true, [&sides.0, &sides.1]),
            Condition::Choice(choice) => {
                let chosen = self.chosen(choice)?;
                self.condition(chosen)
            }
            Condition::Same(sides) => Ok(self.condition(&sides.0)? == self.condition(&sides.1)?),
            Condition::Numbers(comparison, sides) => {
                let order = self.number(&sides.0)?.cmp(&self.number(&sides.1)?);
                Ok(comparison.holds(order))
            }
            Condition::Texts(comparison, sides) => self.compare(*comparison, sides),
            Condition::SameList(sides) => {
                let (left, right) = (self.list(&sides.0)?, self.list(&sides.1)?);
                self.spend(left.iter().map(|entry| entry.len() + PIECE).sum())?;
                Ok(left == right)
            }
            Condition::In(sides) => self.is_in(&sides.0, &sides.1),
            Condition::Part(part, sides) => self.is_part(*part, sides),
            Condition::Matches(inner) => {
                let text = self.text(&inner.0)?;
                self.spend(text.len().saturating_mul(4))?;
                Ok(inner.1.is_match(&text))
            }
            Condition::InNetwork(network) => {
                let source = self.facts.source();
                let source = source.ok_or(EvaluationError::Unknown(Attribute::Source))?;
                Ok(network.contains(&source.to_canonical()))
            }
            Condition::Count(quantifier, inner) => self.count(*quantifier, &inner.0, &inner.1),
        }
    }

    /// The two sides of `&&` (`decisive`: false) or of `||` (true).
    fn decided_by(&mut self, decisive: bool, sides: [&'v Condition; 2]) -> Evaluated<bool> {
        let [left, right] = sides;
        let error = match self.condition(left) {
            Ok(value) if value == decisive => return Ok(decisive),
            Ok(_) => return self.condition(right),
            Err(EvaluationError::TooLong) => return Err(EvaluationError::TooLong),
            Err(error) => error,
        };
        match self.condition(right) {
            Ok(value) if value == decisive => Ok(decisive),
            Err(EvaluationError::TooLong) => Err(EvaluationError::TooLong),
            Ok(_) | Err(_) => Err(error),
        }
    }

    fn chosen<T>(&mut self, choice: &'v Choice<T>) -> Evaluated<&'v T> {
        let chosen = self.condition(&choice.condition)?;
        Ok(if chosen { &choice.yes } else { &choice.no })
    }

    fn compare(&mut self, comparison: Comparison, sides: &'v (Text, Text)) -> Evaluated<bool> {
        let (left, right) = (self.text(&sides.0)?, self.text(&sides.1)?);
        self.spend(left.len().min(right.len()))?;
        Ok(comparison.holds(left.cmp(&right)))
    }

    fn is_in(&mut self, text: &'v Text, list: &'v List) -> Evaluated<bool> {
        let text = self.text(text)?;
        let is = |entry: &str| entry == text;
        if let List::Literal(entries) = list {
            // Most lists are of constants, and need not be made first.
            let mut found = false;
            for entry in entries {
                let entry = self.text(entry)?;
                self.spend(entry.len())?;
                found |= is(&entry);
            }
            return Ok(found);
        }
        let entries = self.list(list)?;
        self.spend(entries.iter().map(|entry| entry.len()).sum())?;
        Ok(entries.iter().any(|entry| is(entry)))
    }

    fn is_part(&mut self, part: Part, sides: &'v (Text, Text)) -> Evaluated<bool> {
        let (whole, sought) = (self.text(&sides.0)?, self.text(&sides.1)?);
        self.spend(whole.len().saturating_add(sought.len()))?;
        Ok(match part {
            Part::Anywhere => whole.contains(&*sought),
            Part::AtTheStart => whole.starts_with(&*sought),
            Part::AtTheEnd => whole.ends_with(&*sought),
        })
    }

    fn count(
        &mut self,
        quantifier: Quantifier,
        list: &'v List,
        condition: &'v Condition,
    ) -> Evaluated<bool> {
        let mut error = None;
        let mut fulfilled = 0_usize;
        for entry in self.list(list)? {
            self.entries.push(entry);
            let held = self.condition(condition);
            self.entries.pop();
            match (held, quantifier) {
                (Err(EvaluationError::TooLong), _) => return Err(EvaluationError::TooLong),
                (Err(first), Quantifier::ExistsOne) => return Err(first),
                (Err(first), _) => error = error.or(Some(first)),
                (Ok(true), Quantifier::Exists) => return Ok(true),
                (Ok(false), Quantifier::All) => return Ok(false),
                (Ok(held), _) => fulfilled += usize::from(held),
            }
        }
        if let Some(error) = error {
            return Err(error);
        }
        Ok(match quantifier {
            Quantifier::All => true,
            Quantifier::Exists => false,
            Quantifier::ExistsOne => fulfilled == 1,
        })
    }

    fn number(&mut self, number: &'v Number) -> Evaluated<i64> {
        self.spend(0)?;
        match number {
            Number::Constant(value) => Ok(*value),
            Number::NotAfter(party) => self
                .facts
                .not_after(*party)
                .ok_or(EvaluationError::Unknown(Attribute::NotAfter(*party))),
            Number::Length(text) => {
                let text = self.text(text)?;
                self.spend(text.len())?;
                whole(text.chars().count())
            }
            Number::Entries(list) => whole(self.list(list)?.len()),
            Number::Negated(inner) => self
                .number(inner)?
                .checked_neg()
                .ok_or(EvaluationError::Overflow),
            Number::Calculated(arithmetic, sides) => {
                calculate(*arithmetic, self.number(&sides.0)?, self.number(&sides.1)?)
            }
            Number::Choice(choice) => {
                let chosen = self.chosen(choice)?;
                self.number(chosen)
            }
        }
    }

    fn text(&mut self, text: &'v Text) -> Evaluated<Cow<'v, str>> {
        self.spend(0)?;
        match text {
            Text::Constant(value) => Ok(Cow::Borrowed(value)),
            Text::Attribute(attribute) => self
                .attribute(*attribute)
                .ok_or(EvaluationError::Unknown(*attribute)),
            Text::Entry(depth) => {
                let entry = self.entries.get(*depth).cloned();
                let entry = entry.ok_or(EvaluationError::NoEntry {
                    index: whole(*depth)?,
                    entries: self.entries.len(),
                })?;
                if let Cow::Owned(copied) = &entry {
                    self.spend(copied.len())?;
                }
                Ok(entry)
            }
            Text::Joined(parts) => {
                let (left, right) = (self.text(&parts.0)?, self.text(&parts.1)?);
                let length = left.len().saturating_add(right.len());
                self.spend(length)?;
                if length > LONGEST_TEXT {
                    return Err(EvaluationError::TooLarge);
                }
                Ok(left + right)
            }
            Text::At(inner) => {
                let mut list = self.list(&inner.0)?;
                let index = self.number(&inner.1)?;
                let at = usize::try_from(index).ok().filter(|at| *at < list.len());
                match at {
                    Some(at) => Ok(list.swap_remove(at)),
                    None => Err(EvaluationError::NoEntry {
                        index,
                        entries: list.len(),
                    }),
                }
            }
            Text::Choice(choice) => {
                let chosen = self.chosen(choice)?;
                self.text(chosen)
            }
        }
    }

    fn list(&mut self, list: &'v List) -> Evaluated<Vec<Cow<'v, str>>> {
        self.spend(0)?;
        match list {
            List::Attribute(party, list) => {
                if list.is_of_subject() {
                    // All of it is looked through, whatever is found.
                    let subject = self.facts.party_text(*party, PartyText::Subject);
                    self.spend(subject.map_or(0, |subject| subject.len()))?;
                }
                let names = self.facts.party_list(*party, *list);
                self.spend(names.len().saturating_mul(PIECE))?;
                Ok(names)
            }
            List::Literal(entries) => entries.iter().map(|entry| self.text(entry)).collect(),
            List::Choice(choice) => {
                let chosen = self.chosen(choice)?;
                self.list(chosen)
            }
        }
    }

    fn has(&self, attribute: Attribute) -> bool {
        match attribute {
            Attribute::NotAfter(party) => self.facts.not_after(party).is_some(),
            Attribute::Source => self.facts.source().is_some(),
            other => self.attribute(other).is_some(),
        }
    }

    fn attribute(&self, attribute: Attribute) -> Option<Cow<'v, str>> {
        match attribute {
            Attribute::Text(party, name) => self.facts.party_text(party, name),
            Attribute::Request(name) => self.facts.request_text(name),
            Attribute::Source => {
                let source = self.facts.source()?;
                Some(source.to_canonical().to_string().into())
            }
            Attribute::IsThere(_) | Attribute::List(..) | Attribute::NotAfter(_) => None,
        }
    }

    /// Counts one step, and those for looking at so many bytes of text.
    fn spend(&mut self, bytes: usize) -> Evaluated<()> {
        let pieces = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX);
        let left = self.steps.checked_sub(pieces.saturating_add(1));
        self.steps = left.unwrap_or(0);
        left.map(drop).ok_or(EvaluationError::TooLong)
    }
}

fn calculate(arithmetic: Arithmetic, left: i64, right: i64) -> Evaluated<i64> {
    let result = match arithmetic {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
            return Err(EvaluationError::DivisionByZero);
        }
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.ok_or(EvaluationError::Overflow)
}

fn whole(count: usize) -> Evaluated<i64> {
    i64::try_from(count).map_err(|_| EvaluationError::Overflow)
}
