//! What is expected, and what is said of a count.

use std::fmt::{self, Write as _};
use std::fs;
use std::process::ExitCode;

use super::work::Operation;

/// Read where it lies, so that renewing it needs no build.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cost/expected.toml");
/// From so many percent below on, what is expected should be renewed.
const WORTH_RENEWING: f64 = 10.0;

/// Something that is counted.
pub(crate) struct Case {
    /// In what.
    pub(crate) unit: Unit,
    /// Of what.
    pub(crate) operation: Operation,
    /// What the project wants to come to, where it has said so.
    pub(crate) goal: Option<f64>,
}

/// What is counted.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Unit {
    /// Instructions of the program, without those of the system.
    Instructions,
    /// Calls of the system.
    Calls,
}

impl Case {
    /// The line above its numbers.
    fn heading(&self) -> String {
        format!("[{}.{}]", self.unit.table(), self.operation.name())
    }
}

/// Holds counts against what is expected, and says what comes of it.
pub(crate) struct Report {
    text: String,
    expected: toml::Table,
    /// Whether what is counted is expected from now on.
    renews: bool,
    failures: usize,
}

impl Report {
    /// Reads what is expected.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(FILE).unwrap();
        Self {
            expected: text
                .parse()
                .unwrap_or_else(|error| panic!("{FILE}: {error}")),
            text,
            renews: std::env::var_os("BLESS").is_some_and(|value| value == "1"),
            failures: 0,
        }
    }

    /// Says what one operation of a case has cost; `details` are printed below it.
    pub(crate) fn add(&mut self, case: &Case, count: f64, details: &str) {
        let count = case.unit.rounded(count);
        assert!(count > 0.0, "{}: nothing was counted", case.heading());
        if self.renews {
            self.renew(case, count);
        }
        let (expected, bound) = (self.number(case, "expected"), self.number(case, "bound"));
        let more = (count / expected - 1.0) * 100.0;
        let (what, found) = (case.operation.in_words(), case.unit.of(count));
        let wanted = case.unit.of(expected);
        if more > bound {
            self.failures += 1;
            println!("FAIL {what}: {found}");
            println!("     | {more:.1} % more than the {wanted} expected; {bound} % are allowed");
            println!(
                "     | \"What a request costs\" in CONTRIBUTING.md says how to see where it goes"
            );
        } else {
            println!(
                "ok   {what}: {found} ({more:+.1} % of the {wanted} expected, {bound:+} % allowed)"
            );
        }
        if more < -WORTH_RENEWING {
            println!("     | has become cheaper: `BLESS=1 bash .ci/cost BINARY` has that expected");
        }
        match case.goal {
            Some(goal) if count > goal => {
                let over = (count / goal - 1.0) * 100.0;
                println!(
                    "     | above the goal of {}, by {over:.1} %",
                    case.unit.of(goal)
                );
            }
            Some(goal) => println!("     | within the goal of {}", case.unit.of(goal)),
            None => {}
        }
        if !details.is_empty() {
            println!("     | {details}");
        }
    }

    /// Writes down what is expected from now on, if that is wanted.
    pub(crate) fn end(self) -> ExitCode {
        if self.renews {
            fs::write(FILE, &self.text).unwrap();
        }
        println!("cost: {} failed", self.failures);
        ExitCode::from(u8::from(self.failures > 0))
    }

    fn number(&self, case: &Case, key: &str) -> f64 {
        let table = self.expected.get(case.unit.table());
        let value = table.and_then(|table| table.get(case.operation.name())?.get(key));
        let number = value.and_then(|value| {
            let whole = value
                .as_integer()
                .and_then(|value| u32::try_from(value).ok());
            whole.map(f64::from).or(value.as_float())
        });
        number.unwrap_or_else(|| panic!("{FILE}: {} has no number `{key}`", case.heading()))
    }

    /// Puts the count in the place of the number that was; all else stays as it is.
    fn renew(&mut self, case: &Case, count: f64) {
        let table = case.heading();
        let mut inside = false;
        let mut renewed = String::new();
        for line in self.text.lines() {
            if line.starts_with('[') {
                inside = line == table;
            }
            if inside && line.starts_with("expected = ") {
                writeln!(renewed, "expected = {}", case.unit.written(count)).unwrap();
            } else {
                writeln!(renewed, "{line}").unwrap();
            }
        }
        self.expected = renewed.parse().unwrap();
        self.text = renewed;
    }
}

impl Unit {
    fn table(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Calls => "calls",
        }
    }

    /// Without the digits that differ from run to run.
    fn rounded(self, count: f64) -> f64 {
        match self {
            Self::Instructions => (count / 10.0).round() * 10.0,
            Self::Calls => (count * 100.0).round() / 100.0,
        }
    }

    /// As TOML has it.
    fn written(self, count: f64) -> String {
        match self {
            Self::Instructions => grouped(count, '_'),
            Self::Calls => format!("{count:.2}"),
        }
    }

    fn of(self, count: f64) -> Counted {
        Counted { unit: self, count }
    }
}

/// A count with its unit.
struct Counted {
    unit: Unit,
    count: f64,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Instructions => write!(f, "{} instructions", grouped(self.count, ',')),
            Unit::Calls => write!(f, "{:.2} system calls", self.count),
        }
    }
}

/// A whole number in groups of three digits.
fn grouped(count: f64, between: char) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(between);
        }
        text.push(digit);
    }
    text
}
