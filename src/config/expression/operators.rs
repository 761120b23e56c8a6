//! The operators of an expression, and what they take.

use cel::common::ast::{CallExpr, IdedExpr, operators};

use super::ExpressionError;
use super::check::{Checked, Checker, Typed};
use super::program::{Arithmetic, Choice, Comparison, Condition, List, Number, Text};

impl Checker<'_> {
    /// Compiles an operator; `None` if the call is of a function.
    pub(super) fn operation(&mut self, tree: &IdedExpr, call: &CallExpr) -> Option<Checked<Typed>> {
        let name = call.func_name.as_str();
        Some(match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => self
                .condition(inner, "`!`")
                .map(|inner| Typed::Condition(Condition::Not(Box::new(inner)))),
            (operators::NEGATE, [inner]) => self
                .number(inner, "`-`")
                .map(|inner| Typed::Number(Number::Negated(Box::new(inner)))),
            (operators::LOGICAL_AND, [left, right]) => self
                .conditions([left, right], "`&&`")
                .map(|sides| Typed::Condition(Condition::Both(sides))),
            (operators::LOGICAL_OR, [left, right]) => self
                .conditions([left, right], "`||`")
                .map(|sides| Typed::Condition(Condition::Either(sides))),
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.choice(tree, [condition, yes, no])
            }
            (operators::IN, [entry, list]) => self.is_in(entry, list),
            (operators::INDEX, [list, index]) => self.at(list, index),
            (operators::ADD, [left, right]) => self.sum(tree, left, right),
            (name, [left, right]) => {
                if let Some(comparison) = comparison(name) {
                    self.comparison(tree, comparison, [left, right])
                } else if let Some((arithmetic, sign)) = arithmetic(name) {
                    self.calculation(arithmetic, sign, [left, right])
                } else {
                    return None;
                }
            }
            _ => return None,
        })
    }

    fn conditions(
        &mut self,
        [left, right]: [&IdedExpr; 2],
        of: &str,
    ) -> Checked<Box<(Condition, Condition)>> {
        Ok(Box::new((
            self.condition(left, of)?,
            self.condition(right, of)?,
        )))
    }

    fn choice(&mut self, tree: &IdedExpr, [condition, yes, no]: [&IdedExpr; 3]) -> Checked<Typed> {
        let condition = self.condition(condition, "`? :`")?;
        Ok(match (self.part(yes)?, self.part(no)?) {
            (Typed::Condition(yes), Typed::Condition(no)) => {
                let choice = Choice { condition, yes, no };
                Typed::Condition(Condition::Choice(Box::new(choice)))
            }
            (Typed::Number(yes), Typed::Number(no)) => {
                Typed::Number(Number::Choice(Box::new(Choice { condition, yes, no })))
            }
            (Typed::Text(yes), Typed::Text(no)) => {
                Typed::Text(Text::Choice(Box::new(Choice { condition, yes, no })))
            }
            (Typed::List(yes), Typed::List(no)) => {
                Typed::List(List::Choice(Box::new(Choice { condition, yes, no })))
            }
            (yes, no) => {
                let (yes, no) = (yes.name(), no.name());
                let message = format!("`? :` chooses between {yes} and {no}");
                return Err(self.wrong(tree, message, "write two of the same type"));
            }
        })
    }

    fn is_in(&mut self, entry: &IdedExpr, list: &IdedExpr) -> Checked<Typed> {
        let text = match self.part(entry)? {
            Typed::Text(text) => text,
            other => {
                let message = format!("{} is never in a list of strings", other.name());
                return Err(self.wrong(entry, message, "write a string before `in`"));
            }
        };
        match self.part(list)? {
            Typed::List(list) => Ok(Typed::Condition(Condition::In(Box::new((text, list))))),
            other => {
                let message = format!("`in` looks into a list, and this is {}", other.name());
                let remedy =
                    "write a list such as [\"GET\", \"HEAD\"], or == or .contains(…) for a string";
                Err(self.wrong(list, message, remedy))
            }
        }
    }

    fn at(&mut self, list: &IdedExpr, index: &IdedExpr) -> Checked<Typed> {
        let entries = self.list(list, "an index")?;
        let number = self.number(index, "an index")?;
        if matches!(number, Number::Constant(at) if at < 0) {
            let remedy = "count from 0: caller.ou[0] is the first";
            return Err(self.wrong(index, "no entry has a negative index", remedy));
        }
        Ok(Typed::Text(Text::At(Box::new((entries, number)))))
    }

    fn sum(&mut self, tree: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Checked<Typed> {
        match (self.part(left)?, self.part(right)?) {
            (Typed::Number(left), Typed::Number(right)) => Ok(Typed::Number(Number::Calculated(
                Arithmetic::Add,
                Box::new((left, right)),
            ))),
            (Typed::Text(left), Typed::Text(right)) => {
                Ok(Typed::Text(Text::Joined(Box::new((left, right)))))
            }
            (left, right) => {
                let message = format!("`+` does not take {} and {}", left.name(), right.name());
                Err(self.wrong(tree, message, "add two numbers, or join two strings"))
            }
        }
    }

    fn calculation(
        &mut self,
        arithmetic: Arithmetic,
        sign: &str,
        [left, right]: [&IdedExpr; 2],
    ) -> Checked<Typed> {
        let of = format!("`{sign}`");
        let sides = (self.number(left, &of)?, self.number(right, &of)?);
        let divides = matches!(arithmetic, Arithmetic::Divide | Arithmetic::Remainder);
        if divides && matches!(sides.1, Number::Constant(0)) {
            let remedy = "divide by another number";
            return Err(self.wrong(right, "nothing can be divided by zero", remedy));
        }
        Ok(Typed::Number(Number::Calculated(
            arithmetic,
            Box::new(sides),
        )))
    }

    fn comparison(
        &mut self,
        tree: &IdedExpr,
        comparison: Comparison,
        [left, right]: [&IdedExpr; 2],
    ) -> Checked<Typed> {
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let unequal = comparison == Comparison::NotEqual;
        let negated = |condition| match unequal {
            true => Condition::Not(Box::new(condition)),
            false => condition,
        };
        Ok(Typed::Condition(
            match (self.part(left)?, self.part(right)?) {
                (Typed::Number(left), Typed::Number(right)) => {
                    Condition::Numbers(comparison, Box::new((left, right)))
                }
                (Typed::Text(left), Typed::Text(right)) => {
                    Condition::Texts(comparison, Box::new((left, right)))
                }
                (Typed::Condition(left), Typed::Condition(right)) if equality => {
                    negated(Condition::Same(Box::new((left, right))))
                }
                (Typed::List(left), Typed::List(right)) if equality => {
                    negated(Condition::SameList(Box::new((left, right))))
                }
                (left, right) => return Err(self.never(tree, equality, [&left, &right])),
            },
        ))
    }

    /// Two values that are never equal, or that have no order.
    fn never(
        &self,
        tree: &IdedExpr,
        equality: bool,
        [left, right]: [&Typed; 2],
    ) -> ExpressionError {
        let (one, other) = (left.name(), right.name());
        if !equality {
            let message = match one == other {
                true => format!("{one} has no order to another"),
                false => format!("{one} and {other} have no order"),
            };
            return self.wrong(tree, message, "compare two numbers or two strings");
        }
        let remedy = match (left, right) {
            (Typed::List(_), Typed::Text(_)) | (Typed::Text(_), Typed::List(_)) => {
                "write STRING in LIST, such as \"Engineering\" in caller.ou"
            }
            (Typed::Number(_), Typed::Text(_)) | (Typed::Text(_), Typed::Number(_)) => {
                "write a number without quotes, and a string in quotes"
            }
            _ => "compare two of the same type",
        };
        self.wrong(tree, format!("{one} is never equal to {other}"), remedy)
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(operator: &str) -> Option<(Arithmetic, &'static str)> {
    Some(match operator {
        operators::SUBSTRACT => (Arithmetic::Subtract, "-"),
        operators::MULTIPLY => (Arithmetic::Multiply, "*"),
        operators::DIVIDE => (Arithmetic::Divide, "/"),
        operators::MODULO => (Arithmetic::Remainder, "%"),
        _ => return None,
    })
}
