//! Tests of expressions: what they mean, what is refused and in which words, and
//! that they mean what they mean elsewhere.

mod agreement;
mod bounds;
mod places;
mod refused;
mod semantics;

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

use super::{
    Attribute, Attributes, EvaluationError, Expression, Party, PartyList, PartyText, RequestText,
};

/// A request of a caller whose certificate has everything.
#[derive(Clone, Debug)]
struct Facts {
    caller: Option<Names>,
    speaker: Option<Names>,
    method: String,
    host: Option<String>,
    path: String,
    source: Option<IpAddr>,
    /// What was looked at, in this order.
    looked_at: RefCell<Vec<Attribute>>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    texts: Vec<(PartyText, String)>,
    lists: Vec<(PartyList, Vec<String>)>,
    not_after: Option<i64>,
}

fn facts() -> Facts {
    let texts = [
        (PartyText::Name, "spiffe://prod.example/web"),
        (PartyText::Subject, "CN=web,OU=Engineering,O=Example"),
        (PartyText::Issuer, "CN=Issuing,O=Example"),
        (PartyText::Fingerprint, "ab12"),
        (PartyText::Anchor, "CN=Root,O=Example"),
    ];
    let lists = [
        (PartyList::Cn, vec!["web"]),
        (PartyList::Ou, vec!["Engineering", "Orders"]),
        (PartyList::O, vec!["Example"]),
        (PartyList::Uri, vec!["spiffe://prod.example/web"]),
        (PartyList::Dns, vec!["web.example.com"]),
    ];
    let owned = |list: Vec<&str>| list.into_iter().map(ToOwned::to_owned).collect();
    Facts {
        caller: Some(Names {
            texts: texts.map(|(name, text)| (name, text.to_owned())).into(),
            lists: lists.map(|(name, list)| (name, owned(list))).into(),
            not_after: Some(1_900_000_000),
        }),
        speaker: None,
        method: "GET".to_owned(),
        host: Some("orders.example.com".to_owned()),
        path: "/api/v1/orders".to_owned(),
        source: Some([10, 1, 2, 3].into()),
        looked_at: RefCell::default(),
    }
}

impl Facts {
    fn party(&self, party: Party) -> Option<&Names> {
        match party {
            Party::Caller => self.caller.as_ref(),
            Party::Speaker => self.speaker.as_ref(),
        }
    }

    fn note(&self, attribute: Attribute) {
        self.looked_at.borrow_mut().push(attribute);
    }
}

impl Attributes for Facts {
    fn is_there(&self, party: Party) -> bool {
        self.note(Attribute::IsThere(party));
        self.party(party).is_some()
    }

    fn party_text(&self, party: Party, name: PartyText) -> Option<Cow<'_, str>> {
        self.note(Attribute::Text(party, name));
        let texts = &self.party(party)?.texts;
        let (_, text) = texts.iter().find(|(known, _)| *known == name)?;
        Some(text.into())
    }

    fn party_list(&self, party: Party, list: PartyList) -> Vec<Cow<'_, str>> {
        self.note(Attribute::List(party, list));
        let lists = self.party(party).map_or(&[][..], |names| &names.lists);
        let entries = lists.iter().filter(|(known, _)| *known == list);
        entries
            .flat_map(|(_, entries)| entries)
            .map(Cow::from)
            .collect()
    }

    fn not_after(&self, party: Party) -> Option<i64> {
        self.note(Attribute::NotAfter(party));
        self.party(party)?.not_after
    }

    fn request_text(&self, name: RequestText) -> Option<Cow<'_, str>> {
        self.note(Attribute::Request(name));
        match name {
            RequestText::Host => self.host.as_deref().map(Cow::from),
            RequestText::Listener => Some("public".into()),
            RequestText::Method => Some(self.method.as_str().into()),
            RequestText::Path => Some(self.path.as_str().into()),
        }
    }

    fn source(&self) -> Option<IpAddr> {
        self.note(Attribute::Source);
        self.source
    }
}

#[track_caller]
fn compiled(text: &str) -> Expression {
    Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

#[track_caller]
fn holds(text: &str, facts: &Facts) -> Result<bool, EvaluationError> {
    compiled(text).holds(facts)
}
