//! What a condition in CEL costs.
//!
//! ```text
//! cargo bench --bench expression -- [--quick]
//! ```
//!
//! It prints nanoseconds for one evaluation of each rule, the best of several
//! rounds, and microseconds for reading it; nothing here passes or fails.
//! `--quick` is to see that it runs: its numbers mean nothing.

#![expect(
    clippy::expect_used,
    reason = "a rule that cannot be read ends the benchmark"
)]

use std::borrow::Cow;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use countersign::config::{Attributes, Expression, Party, PartyList, PartyText, RequestText};

/// The rules, from the least to the most that they look at.
const RULES: [&str; 7] = [
    "request.method == 'GET'",
    "request.method in ['GET', 'HEAD'] && request.path.startsWith('/api/')",
    "in_network(request.source, '10.0.0.0/8')",
    "'Engineering' in caller.ou && request.method == 'GET'",
    "caller.ou.exists(unit, unit.startsWith('Eng')) && request.host == 'orders.example.com'",
    "request.path.startsWith('/tenants/' + caller.o[0] + '/')",
    "request.path.matches(r'^/api/v[0-9]+/')",
];

/// Evaluations of one round.
const ROUND: u32 = 100_000;

fn main() -> std::io::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, evaluations) = if quick { (1, 100) } else { (10, ROUND) };
    let mut out = stdout().lock();
    writeln!(out, "{:>10} {:>10}  rule", "ns", "read, µs")?;
    for rule in RULES {
        let started = Instant::now();
        let expression = Expression::compile(rule).expect("the rule is legal");
        let read = started.elapsed();
        let best = (0..rounds)
            .map(|_| round(&expression, evaluations))
            .min()
            .unwrap_or_default();
        let nanoseconds = best.as_secs_f64() * 1e9 / f64::from(evaluations);
        writeln!(out, "{nanoseconds:>10.1} {:>10}  {rule}", read.as_micros())?;
    }
    Ok(())
}

fn round(expression: &Expression, evaluations: u32) -> Duration {
    let started = Instant::now();
    for _ in 0..evaluations {
        let held = black_box(expression).holds(black_box(&Request));
        black_box(held).expect("everything is known");
    }
    started.elapsed()
}

/// A caller with a common certificate.
struct Request;

impl Attributes for Request {
    fn is_there(&self, party: Party) -> bool {
        party == Party::Caller
    }

    fn party_text(&self, _: Party, name: PartyText) -> Option<Cow<'_, str>> {
        match name {
            PartyText::Name => Some("spiffe://prod.example/web".into()),
            PartyText::Subject => Some("CN=web,OU=Engineering,O=Example".into()),
            _ => None,
        }
    }

    fn party_list(&self, _: Party, list: PartyList) -> Vec<Cow<'_, str>> {
        match list {
            PartyList::Cn => vec!["web".into()],
            PartyList::O => vec!["Example".into()],
            PartyList::Ou => vec!["Orders".into(), "Engineering".into()],
            PartyList::Uri => vec!["spiffe://prod.example/web".into()],
            PartyList::Dns | PartyList::Email => Vec::new(),
        }
    }

    fn not_after(&self, _: Party) -> Option<i64> {
        Some(1_900_000_000)
    }

    fn request_text(&self, name: RequestText) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match name {
            RequestText::Host => "orders.example.com",
            RequestText::Listener => "public",
            RequestText::Method => "GET",
            RequestText::Path => "/api/v1/orders/4711",
        }))
    }

    fn source(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(10, 1, 2, 3).into())
    }
}
