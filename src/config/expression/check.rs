//! Checks the types of an expression, and compiles it while it does.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::super::nearest::nearest;
use super::ExpressionError;
use super::attributes::{Attribute, VARIABLES, fields};
use super::program::{Condition, List, Number, Text};

/// How deep the tree of a compiled expression is at most; evaluating it recurses.
const DEEPEST: usize = 64;

pub(super) type Checked<T> = Result<T, ExpressionError>;

/// A compiled part of an expression, with its type.
pub(super) enum Typed {
    Condition(Condition),
    Number(Number),
    Text(Text),
    List(List),
}

/// What is being checked.
pub(super) struct Checker<'t> {
    text: &'t str,
    source: &'t SourceInfo,
    /// The names that stand for entries of lists, the outermost first.
    pub(super) entries: Vec<String>,
    attributes: Vec<Attribute>,
    depth: usize,
}

impl<'t> Checker<'t> {
    pub(super) fn new(text: &'t str, source: &'t SourceInfo) -> Self {
        Self {
            text,
            source,
            entries: Vec::new(),
            attributes: Vec::new(),
            depth: 0,
        }
    }

    /// Compiles the whole of an expression.
    pub(super) fn whole(mut self, tree: &IdedExpr) -> Checked<(Condition, Vec<Attribute>)> {
        let condition = match self.part(tree)? {
            Typed::Condition(condition) => condition,
            other => {
                let message = format!("the result is {}, and not true or false", other.name());
                let remedy = match other {
                    Typed::Text(_) => "compare it, such as with == \"GET\"",
                    Typed::Number(_) => "compare it, such as with > 0",
                    _ => "ask for an entry of it, such as with \"x\" in it, or it.exists(e, …)",
                };
                return Err(self.wrong(tree, message, remedy));
            }
        };
        Ok((condition, self.attributes))
    }

    /// Compiles a part of any type.
    pub(super) fn part(&mut self, tree: &IdedExpr) -> Checked<Typed> {
        if self.depth == DEEPEST {
            let message = format!("more than {DEEPEST} operations are nested");
            let remedy = "write it flatter, or as several entries";
            return Err(self.wrong(tree, message, remedy));
        }
        self.depth += 1;
        let typed = match &tree.expr {
            Expr::Literal(literal) => self.literal(tree, literal),
            Expr::Ident(name) => self.variable(tree, name),
            Expr::Select(select) => {
                let attribute = self.attribute(tree, select)?;
                Ok(self.looked_at(attribute))
            }
            Expr::List(list) => self.list_of(tree, &list.elements),
            Expr::Call(call) => match self.operation(tree, call) {
                Some(typed) => typed,
                None => self.function(tree, call),
            },
            Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                let remedy = "write strings, whole numbers, true, false, or lists of strings";
                Err(self.wrong(tree, "an expression has no such values", remedy))
            }
        }?;
        self.depth -= 1;
        Ok(typed)
    }

    fn literal(&self, tree: &IdedExpr, literal: &LiteralValue) -> Checked<Typed> {
        match literal {
            LiteralValue::Boolean(value) => {
                Ok(Typed::Condition(Condition::Constant(*value.inner())))
            }
            LiteralValue::Int(value) => Ok(Typed::Number(Number::Constant(*value.inner()))),
            LiteralValue::String(value) => Ok(Typed::Text(Text::Constant(value.inner().into()))),
            LiteralValue::Double(_) | LiteralValue::UInt(_) => {
                let message = "numbers are whole and have no suffix";
                Err(self.wrong(tree, message, "write such as 5"))
            }
            LiteralValue::Bytes(_) => {
                let message = "nothing here is a string of bytes";
                Err(self.wrong(tree, message, "write the string without the `b`"))
            }
            LiteralValue::Null => {
                let message = "nothing here is null";
                let remedy = "write such as has(caller.issuer) to ask whether there is one";
                Err(self.wrong(tree, message, remedy))
            }
        }
    }

    fn variable(&self, tree: &IdedExpr, name: &str) -> Checked<Typed> {
        // The innermost loop that uses the name is meant.
        if let Some(depth) = self.entries.iter().rposition(|entry| entry == name) {
            return Ok(Typed::Text(Text::Entry(depth)));
        }
        if VARIABLES.contains(&name) {
            let known: Vec<_> = fields(name).iter().map(|(field, _)| *field).collect();
            let message = format!("`{name}` has fields, and is nothing without one");
            let remedy = format!("write one of {name}.{}", known.join(&format!(", {name}.")));
            return Err(self.wrong(tree, message, remedy));
        }
        let belongs_to = |variable: &&str| fields(variable).iter().any(|(field, _)| *field == name);
        let remedy = match VARIABLES.iter().find(|variable| belongs_to(variable)) {
            Some(variable) => format!("write `{variable}.{name}`"),
            None => match nearest(name, VARIABLES) {
                Some(variable) => format!("did you mean `{variable}`?"),
                None => {
                    format!("write `caller`, `speaker` or `request`, or \"{name}\" for a string")
                }
            },
        };
        Err(self.wrong(tree, format!("unknown variable `{name}`"), remedy))
    }

    /// The attribute that a selection stands for.
    pub(super) fn attribute(&mut self, tree: &IdedExpr, select: &SelectExpr) -> Checked<Attribute> {
        let at = self.after_sign(tree, '.');
        let field = select.field.as_str();
        let variable = match &select.operand.expr {
            Expr::Ident(name)
                if VARIABLES.contains(&name.as_str()) && !self.entries.contains(name) =>
            {
                name
            }
            _ => {
                let operand = self.part(&select.operand)?;
                let message = format!("{} has no fields, and so no `{field}`", operand.name());
                let remedy = match nearest_member(field) {
                    Some(function) => format!("write `.{function}(…)` for the function"),
                    None => "compare it as a whole".to_owned(),
                };
                return Err(ExpressionError::new(at, message, remedy));
            }
        };
        let known = fields(variable);
        if let Some((_, attribute)) = known.iter().find(|(name, _)| *name == field) {
            return Ok(*attribute);
        }
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let meant = match field {
            // What says of the other variable that it is there.
            "authenticated" => Some("present"),
            "present" => Some("authenticated"),
            _ => nearest(field, names.iter().copied()),
        };
        let remedy = match meant {
            Some(meant) => format!("did you mean `{variable}.{meant}`?"),
            None => format!(
                "write one of {variable}.{}",
                names.join(&format!(", {variable}."))
            ),
        };
        let message = format!("`{variable}` has no field `{field}`");
        Err(ExpressionError::new(at, message, remedy))
    }

    /// Notes that an attribute is looked at.
    pub(super) fn notes(&mut self, attribute: Attribute) {
        if !self.attributes.contains(&attribute) {
            self.attributes.push(attribute);
        }
    }

    fn looked_at(&mut self, attribute: Attribute) -> Typed {
        self.notes(attribute);
        match attribute {
            Attribute::IsThere(party) => Typed::Condition(Condition::IsThere(party)),
            Attribute::List(party, list) => Typed::List(List::Attribute(party, list)),
            Attribute::NotAfter(party) => Typed::Number(Number::NotAfter(party)),
            Attribute::Text(..) | Attribute::Request(_) | Attribute::Source => {
                Typed::Text(Text::Attribute(attribute))
            }
        }
    }

    fn list_of(&mut self, tree: &IdedExpr, elements: &[IdedExpr]) -> Checked<Typed> {
        if elements.is_empty() {
            let message = "an empty list has no entry that anything could be equal to";
            let remedy = "write its entries, or ask for .size() == 0";
            return Err(self.wrong(tree, message, remedy));
        }
        let texts = elements.iter().map(|element| match self.part(element)? {
            Typed::Text(text) => Ok(text),
            other => {
                let message = format!("{} stands in a list of strings", other.name());
                Err(self.wrong(element, message, "write it in quotes, or remove it"))
            }
        });
        Ok(Typed::List(List::Literal(texts.collect::<Checked<_>>()?)))
    }

    pub(super) fn condition(&mut self, tree: &IdedExpr, of: &str) -> Checked<Condition> {
        match self.part(tree)? {
            Typed::Condition(condition) => Ok(condition),
            other => Err(self.not_taken(tree, of, &other, "a condition")),
        }
    }

    pub(super) fn number(&mut self, tree: &IdedExpr, of: &str) -> Checked<Number> {
        match self.part(tree)? {
            Typed::Number(number) => Ok(number),
            other => Err(self.not_taken(tree, of, &other, "a number")),
        }
    }

    pub(super) fn string(&mut self, tree: &IdedExpr, of: &str) -> Checked<Text> {
        match self.part(tree)? {
            Typed::Text(text) => Ok(text),
            other => Err(self.not_taken(tree, of, &other, "a string")),
        }
    }

    pub(super) fn list(&mut self, tree: &IdedExpr, of: &str) -> Checked<List> {
        match self.part(tree)? {
            Typed::List(list) => Ok(list),
            other => Err(self.not_taken(tree, of, &other, "a list of strings")),
        }
    }

    fn not_taken(&self, tree: &IdedExpr, of: &str, found: &Typed, wanted: &str) -> ExpressionError {
        let message = format!("{of} takes {wanted}, and this is {}", found.name());
        let remedy = match found {
            Typed::List(_) if wanted == "a string" => {
                "write it for an entry, such as caller.ou.exists(e, e.startsWith(\"x\"))"
            }
            Typed::Text(_) if wanted == "a condition" => "compare it, such as with == \"GET\"",
            Typed::Number(_) if wanted == "a condition" => "compare it, such as with > 0",
            Typed::List(_) if wanted == "a condition" => {
                "ask for more than 0 of .size(), or for an entry"
            }
            Typed::Text(_) if wanted == "a list of strings" => "write a list, such as caller.ou",
            _ => "write another value",
        };
        self.wrong(tree, message, remedy)
    }

    /// An error of a part of the expression, at its sign.
    pub(super) fn wrong(
        &self,
        tree: &IdedExpr,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ExpressionError {
        ExpressionError::new(self.start(tree), message, remedy)
    }

    /// Where a part is told to be: a name or a value at its beginning, and an
    /// operation at its sign.
    fn start(&self, tree: &IdedExpr) -> usize {
        match &tree.expr {
            Expr::Select(select) => self.start(&select.operand),
            Expr::Call(call) => match (&call.target, call.func_name.as_str(), call.args.first()) {
                (Some(target), _, _) => self.start(target),
                (None, operators::INDEX, Some(list)) => self.start(list),
                (None, name, _) if is_word(name) => self.name_before(tree, name),
                _ => self.offset(tree),
            },
            _ => self.offset(tree),
        }
    }

    fn offset(&self, tree: &IdedExpr) -> usize {
        let offset = self
            .source
            .offset_for(tree.id)
            .map_or(0, |(start, _)| start);
        usize::try_from(offset).unwrap_or(0)
    }

    /// Where the name of a call stands, of which the parser gives the bracket.
    pub(super) fn name_before(&self, tree: &IdedExpr, name: &str) -> usize {
        let bracket = self.offset(tree);
        let before = self.text.get(..bracket).unwrap_or("").trim_end();
        before.strip_suffix(name).map_or(bracket, str::len)
    }

    /// Where a field's name stands, of which the parser gives the dot.
    fn after_sign(&self, tree: &IdedExpr, sign: char) -> usize {
        let dot = self.offset(tree);
        let after = self.text.get(dot..).unwrap_or("");
        match after.strip_prefix(sign) {
            Some(rest) => self.text.len() - rest.trim_start().len(),
            None => dot,
        }
    }
}

impl Typed {
    /// What it is, for a message.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Condition(_) => "a condition",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list of strings",
        }
    }
}

fn nearest_member(name: &str) -> Option<&'static str> {
    let members = super::functions::MEMBERS;
    members
        .into_iter()
        .find(|member| *member == name)
        .or_else(|| nearest(name, members))
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
}
