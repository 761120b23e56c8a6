//! The functions that an expression can call.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::super::nearest::nearest;
use super::super::units::quoted;
use super::ExpressionError;
use super::attributes::Attribute;
use super::check::{Checked, Checker, Typed};
use super::program::{Condition, Number, Part, Quantifier};

/// Those that are written after a value: `value.function(…)`.
pub(super) const MEMBERS: [&str; 8] = [
    "all",
    "contains",
    "endsWith",
    "exists",
    "exists_one",
    "matches",
    "size",
    "startsWith",
];

/// Those that stand alone: `function(…)`.
pub(super) const GLOBALS: [&str; 3] = ["has", "in_network", "size"];

/// The largest program that a regular expression is compiled to, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

impl Checker<'_> {
    /// Compiles the call of a function.
    pub(super) fn function(&mut self, tree: &IdedExpr, call: &CallExpr) -> Checked<Typed> {
        let name = call.func_name.as_str();
        let condition = match (name, call.target.as_deref(), call.args.as_slice()) {
            ("has", None, [asked]) => self.has(asked)?,
            ("in_network", None, [source, network]) => self.in_network(source, network)?,
            ("size", None, [value]) | ("size", Some(value), []) => return self.size(value),
            ("startsWith", Some(text), [part]) => {
                self.is_part(Part::AtTheStart, call, [text, part])?
            }
            ("endsWith", Some(text), [part]) => self.is_part(Part::AtTheEnd, call, [text, part])?,
            ("contains", Some(text), [part]) => self.is_part(Part::Anywhere, call, [text, part])?,
            ("matches", Some(text), [pattern]) => self.matches(text, pattern)?,
            ("all", Some(list), [entry, condition]) => {
                self.count(Quantifier::All, list, [entry, condition])?
            }
            ("exists", Some(list), [entry, condition]) => {
                self.count(Quantifier::Exists, list, [entry, condition])?
            }
            ("exists_one", Some(list), [entry, condition]) => {
                self.count(Quantifier::ExistsOne, list, [entry, condition])?
            }
            _ => return Err(self.unknown(tree, call)),
        };
        Ok(Typed::Condition(condition))
    }

    fn has(&mut self, asked: &IdedExpr) -> Checked<Condition> {
        let Expr::Select(select) = &asked.expr else {
            let remedy = "write such as has(caller.issuer)";
            return Err(self.wrong(asked, "`has` asks for a field", remedy));
        };
        let attribute = self.attribute(asked, select)?;
        if let Attribute::List(..) = attribute {
            let message = format!("`{attribute}` is a list, and always known");
            let remedy = format!("write {attribute}.size() > 0");
            return Err(self.wrong(asked, message, remedy));
        }
        if !attribute.may_be_unknown() {
            let message = format!("`{attribute}` is always known");
            return Err(self.wrong(asked, message, "remove it"));
        }
        self.notes(attribute);
        Ok(Condition::Has(attribute))
    }

    fn in_network(&mut self, source: &IdedExpr, network: &IdedExpr) -> Checked<Condition> {
        let attribute = match &source.expr {
            Expr::Select(select) => Some(self.attribute(source, select)?),
            _ => None,
        };
        if attribute != Some(Attribute::Source) {
            let message = "`in_network` looks at the address of the request";
            let remedy = "write in_network(request.source, \"10.0.0.0/8\")";
            return Err(self.wrong(source, message, remedy));
        }
        self.notes(Attribute::Source);
        let text = self.constant(network, "a network", "\"10.0.0.0/8\"")?;
        let net: IpNet = text.parse().map_err(|_| {
            let message = format!("{} is not a network", quoted(text));
            self.wrong(
                network,
                message,
                "write such as \"10.0.0.0/8\" or \"2001:db8::/32\"",
            )
        })?;
        if net.trunc() != net {
            let message = format!("{} has bits beyond its prefix", quoted(text));
            return Err(self.wrong(network, message, format!("write \"{}\"", net.trunc())));
        }
        if let IpNet::V6(v6) = net
            && v6.addr().to_ipv4_mapped().is_some()
        {
            let message = "addresses of IPv4 are compared as such";
            let remedy = "write the network as one of IPv4";
            return Err(self.wrong(network, message, remedy));
        }
        Ok(Condition::InNetwork(net))
    }

    fn size(&mut self, value: &IdedExpr) -> Checked<Typed> {
        Ok(Typed::Number(match self.part(value)? {
            Typed::Text(text) => Number::Length(Box::new(text)),
            Typed::List(list) => Number::Entries(Box::new(list)),
            other => {
                let message = format!(
                    "`size` takes a string or a list, and this is {}",
                    other.name()
                );
                return Err(self.wrong(value, message, "write another value"));
            }
        }))
    }

    fn is_part(
        &mut self,
        part: Part,
        call: &CallExpr,
        [text, sought]: [&IdedExpr; 2],
    ) -> Checked<Condition> {
        let of = format!("`{}`", call.func_name);
        let sides = (self.string(text, &of)?, self.string(sought, &of)?);
        Ok(Condition::Part(part, Box::new(sides)))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Checked<Condition> {
        let text = self.string(text, "`matches`")?;
        let written = self.constant(pattern, "a regular expression", "r\"^/api/v[0-9]+/\"")?;
        let compiled = self.compiled(pattern, written)?;
        Ok(Condition::Matches(Box::new((text, compiled))))
    }

    fn compiled(&self, pattern: &IdedExpr, written: &str) -> Checked<Regex> {
        let mut builder = RegexBuilder::new(written);
        builder.size_limit(LARGEST_PATTERN).nest_limit(50);
        builder.build().map_err(|error| {
            // The last line says what is wrong, those before show where.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or("").trim();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            let message = format!("{} is not a regular expression: {why}", quoted(written));
            let remedy = "write one as RE2 has it, without look-around and back-references";
            self.wrong(pattern, message, remedy)
        })
    }

    /// A string that is known now.
    fn constant<'e>(&self, tree: &'e IdedExpr, what: &str, example: &str) -> Checked<&'e str> {
        match &tree.expr {
            Expr::Literal(LiteralValue::String(text)) => Ok(text.inner()),
            _ => {
                let message = format!("{what} is written out, as one string");
                Err(self.wrong(tree, message, format!("write such as {example}")))
            }
        }
    }

    fn count(
        &mut self,
        quantifier: Quantifier,
        list: &IdedExpr,
        [entry, condition]: [&IdedExpr; 2],
    ) -> Checked<Condition> {
        let of = "a loop";
        let list = self.list(list, of)?;
        let name = match &entry.expr {
            Expr::Ident(name) if !name.starts_with('.') => name,
            _ => {
                let remedy = "write such as caller.ou.exists(e, e == \"Engineering\")";
                return Err(self.wrong(entry, "a loop begins with a name for the entry", remedy));
            }
        };
        self.entries.push(name.clone());
        let condition = self.condition(condition, of)?;
        self.entries.pop();
        Ok(Condition::Count(quantifier, Box::new((list, condition))))
    }

    /// A function that is not known, or not with these arguments.
    fn unknown(&self, tree: &IdedExpr, call: &CallExpr) -> ExpressionError {
        let name = call.func_name.as_str();
        let at = self.name_before(tree, name);
        let known = MEMBERS.iter().chain(&GLOBALS).any(|known| *known == name);
        if known {
            let message = format!("`{name}` is not called like this");
            return ExpressionError::new(at, message, format!("write {}", usage(name)));
        }
        let remedy = match nearest(name, MEMBERS.into_iter().chain(GLOBALS)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                let alone = ["has", "in_network"];
                let all: Vec<_> = alone
                    .iter()
                    .chain(&MEMBERS)
                    .map(|known| usage(known))
                    .collect();
                format!("write one of {}", all.join(", "))
            }
        };
        ExpressionError::new(at, format!("unknown function `{name}`"), remedy)
    }
}

/// How a function is called.
pub(super) fn usage(function: &str) -> &'static str {
    match function {
        "all" => "LIST.all(e, CONDITION)",
        "contains" => "STRING.contains(STRING)",
        "endsWith" => "STRING.endsWith(STRING)",
        "exists" => "LIST.exists(e, CONDITION)",
        "exists_one" => "LIST.exists_one(e, CONDITION)",
        "has" => "has(caller.issuer)",
        "in_network" => "in_network(request.source, \"10.0.0.0/8\")",
        "matches" => "STRING.matches(\"PATTERN\")",
        "size" => "LIST.size()",
        _ => "STRING.startsWith(STRING)",
    }
}
