//! Reading and evaluating conditions in CEL.

use std::borrow::Cow;
use std::hint::black_box;
use std::net::IpAddr;

use countersign::config::{Attributes, Expression, Party, PartyList, PartyText, RequestText};

use super::Part;
use super::scene::CLIENT;

/// The conditions, from the least to the most that they look at. All hold.
const CONDITIONS: [&str; 7] = [
    "request.method == 'GET'",
    "request.method in ['GET', 'HEAD'] && request.path.startsWith('/tenants/')",
    "in_network(request.source, '10.0.0.0/8')",
    "'Engineering' in caller.ou && request.method == 'GET'",
    "caller.ou.exists(unit, unit.startsWith('Eng')) && request.host == 'orders.example.com'",
    "request.path.startsWith('/tenants/' + caller.o[0] + '/')",
    "request.path.matches(r'^/tenants/[A-Z][a-z]+/')",
];

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    for text in CONDITIONS {
        let condition = Expression::compile(text).expect("the condition is legal");
        part.time(
            &format!("holds: {text}"),
            || black_box(&condition).holds(black_box(&Request)),
            |held| held == Ok(true),
        );
    }
    let least = Expression::compile("request.method == 'POST'");
    let least = least.expect("the condition is legal");
    part.time(
        "does not hold: request.method == 'POST'",
        || black_box(&least).holds(black_box(&Request)),
        |held| held == Ok(false),
    );
    let longest = CONDITIONS[4];
    part.time(
        &format!("read: {longest}"),
        || Expression::compile(black_box(longest)),
        |read| read.is_ok_and(|condition| condition.text() == longest),
    );
}

/// A request of a caller with a common certificate.
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
            RequestText::Path => "/tenants/Example/orders/4711",
        }))
    }

    fn source(&self) -> Option<IpAddr> {
        Some(CLIENT.ip())
    }
}
