//! What is evaluated here comes out as it does in the crate whose parser it is.
//!
//! Expressions are generated type by type, so that each one is legal.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Program, Value};
use ipnet::IpNet;
use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, prop};
use proptest::{prop_assert_eq, prop_oneof, proptest};

use super::super::attributes::{VARIABLES, fields};
use super::*;

/// The same request, as the crate's interpreter takes it.
fn context(facts: &Facts) -> Context<'static, 'static> {
    let mut context = Context::default();
    for variable in VARIABLES {
        let known = fields(variable).into_iter();
        let map: HashMap<String, Value> = known
            .filter_map(|(name, attribute)| Some((name.to_owned(), value(facts, attribute)?)))
            .collect();
        context.add_variable_from_value(variable, map);
    }
    let in_network = |source: Arc<String>, network: Arc<String>| {
        let network: IpNet = network.parse().unwrap();
        network.contains(&source.parse::<IpAddr>().unwrap())
    };
    context.add_function("in_network", in_network).unwrap();
    context
}

fn value(facts: &Facts, attribute: Attribute) -> Option<Value> {
    let text = |text: Cow<'_, str>| Value::String(Arc::new(text.into_owned()));
    match attribute {
        Attribute::IsThere(party) => Some(Value::Bool(facts.is_there(party))),
        Attribute::Text(party, name) => facts.party_text(party, name).map(text),
        Attribute::List(party, list) => {
            let entries = facts.party_list(party, list).into_iter();
            Some(Value::List(Arc::new(entries.map(text).collect())))
        }
        Attribute::NotAfter(party) => facts.not_after(party).map(Value::Int),
        Attribute::Request(name) => facts.request_text(name).map(text),
        Attribute::Source => facts.source().map(|source| text(source.to_string().into())),
    }
}

#[derive(Clone)]
struct Generator {
    condition: BoxedStrategy<String>,
    number: BoxedStrategy<String>,
    text: BoxedStrategy<String>,
    list: BoxedStrategy<String>,
}

fn select(from: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(from).prop_map(str::to_owned).boxed()
}

impl Generator {
    fn leaves() -> Self {
        Self {
            condition: select(&[
                "true",
                "false",
                "caller.authenticated",
                "speaker.present",
                "has(caller.issuer)",
                "has(speaker.name)",
                "has(caller.spki)",
                "has(caller.not_after)",
                "in_network(request.source, '10.0.0.0/8')",
                "in_network(request.source, '2001:db8::/32')",
            ]),
            number: select(&[
                "0",
                "1",
                "2",
                "-1",
                "9223372036854775807",
                "-9223372036854775808",
                "0x10",
                "caller.not_after",
                "speaker.not_after",
            ]),
            text: select(&[
                "''",
                "'web'",
                "\"é\"",
                "'Engineering'",
                "r'\\d'",
                "'\\x41\\n'",
                "request.method",
                "request.path",
                "request.host",
                "request.source",
                "caller.name",
                "caller.spki",
                "speaker.name",
                "caller.issuer",
                "'/'",
            ]),
            list: select(&[
                "caller.ou",
                "caller.email",
                "speaker.uri",
                "caller.cn",
                "['web', 'a']",
            ]),
        }
    }

    /// What can be made of these in one more operation.
    fn deeper(&self, depth: usize) -> Self {
        Self {
            condition: self.conditions(depth),
            number: self.numbers(),
            text: self.texts(),
            list: self.lists(),
        }
    }

    fn conditions(&self, depth: usize) -> BoxedStrategy<String> {
        let Self {
            condition,
            number,
            text,
            list,
        } = self.clone();
        let compare = select(&["==", "!=", "<", "<=", ">", ">="]);
        let equality = select(&["==", "!="]);
        let part = select(&["startsWith", "endsWith", "contains"]);
        let pattern = select(&["'^[a-z]+$'", "'e'", "r'^/api/v\\d'", "'(?i)WEB'"]);
        prop_oneof![
            condition.clone(),
            condition.clone().prop_map(|c| format!("!({c})")),
            joined(&condition, select(&["&&", "||", "==", "!="])),
            joined(&number, compare.clone()),
            joined(&text, compare),
            joined(&list, equality),
            (text.clone(), list.clone()).prop_map(|(a, b)| format!("({a} in {b})")),
            (text.clone(), text.clone(), part)
                .prop_map(|(a, b, part)| format!("({a}).{part}({b})")),
            (text.clone(), pattern).prop_map(|(a, b)| format!("({a}).matches({b})")),
            self.loops(depth),
            self.chosen(&condition),
        ]
        .boxed()
    }

    fn loops(&self, depth: usize) -> BoxedStrategy<String> {
        let entry = format!("e{depth}");
        let equal = entry.clone();
        let about = prop_oneof![
            self.condition.clone(),
            self.text
                .clone()
                .prop_map(move |text| format!("{equal} == {text}")),
        ];
        let of = prop_oneof![
            Just(format!("{entry} == 'web'")),
            Just(format!("{entry} != 'web' && false || {entry} > 'F'")),
        ];
        let quantifier = select(&["all", "exists", "exists_one"]);
        (self.list.clone(), quantifier, about, of)
            .prop_map(move |(list, quantifier, about, of)| {
                format!("{list}.{quantifier}({entry}, {about} || ({of}))")
            })
            .boxed()
    }

    fn numbers(&self) -> BoxedStrategy<String> {
        let number = &self.number;
        prop_oneof![
            number.clone(),
            number.clone().prop_map(|n| format!("(-({n}))")),
            self.text.clone().prop_map(|t| format!("size({t})")),
            self.list.clone().prop_map(|l| format!("({l}).size()")),
            (
                number.clone(),
                number.clone(),
                select(&["+", "-", "*", "/", "%"])
            )
                .prop_map(|(a, b, sign)| format!("({a} {sign} ({b} + 0))")),
            self.chosen(number),
        ]
        .boxed()
    }

    fn texts(&self) -> BoxedStrategy<String> {
        let index = select(&["0", "1", "(1 - 2)", "5"]);
        prop_oneof![
            self.text.clone(),
            joined(&self.text, Just("+".to_owned()).boxed()),
            (self.list.clone(), index).prop_map(|(l, n)| format!("({l})[{n}]")),
            self.chosen(&self.text),
        ]
        .boxed()
    }

    fn lists(&self) -> BoxedStrategy<String> {
        let entries = prop::collection::vec(self.text.clone(), 1..3);
        prop_oneof![
            self.list.clone(),
            entries.prop_map(|entries| format!("[{}]", entries.join(", "))),
            self.chosen(&self.list),
        ]
        .boxed()
    }

    fn chosen(&self, one: &BoxedStrategy<String>) -> BoxedStrategy<String> {
        (self.condition.clone(), one.clone(), one.clone())
            .prop_map(|(c, a, b)| format!("({c} ? {a} : {b})"))
            .boxed()
    }
}

fn joined(one: &BoxedStrategy<String>, sign: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (one.clone(), one.clone(), sign)
        .prop_map(|(a, b, sign)| format!("(({a}) {sign} ({b}))"))
        .boxed()
}

fn expressions() -> BoxedStrategy<String> {
    let two = Generator::leaves().deeper(0).deeper(1);
    let three = two.deeper(2);
    prop_oneof![two.condition, three.condition].boxed()
}

fn requests() -> Vec<Facts> {
    let anonymous = Facts {
        caller: None,
        ..facts()
    };
    let spoken_for = Facts {
        speaker: facts().caller,
        source: None,
        ..facts()
    };
    vec![facts(), anonymous, spoken_for]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_expression_means_what_it_means_elsewhere(text in expressions()) {
        if text.len() > super::super::LONGEST {
            return Ok(());
        }
        let expression = compiled(&text);
        let program = Program::compile(&text).unwrap();
        for facts in requests() {
            let theirs = program.execute(&context(&facts)).ok();
            let ours = expression.holds(&facts).ok().map(Value::Bool);
            prop_assert_eq!(ours, theirs, "{} of {:?}", &text, facts);
        }
    }
}
