//! What a request says of its trace and its id, and what services are told of them.
//!
//! A sender is believed who may say where a request came from (`trusted_proxies`)
//! or for whom it is made (`accept_assertions_from`).
//!
//! # Sources
//!
//! W3C Trace Context, level 1: §3.2 (`traceparent`), §3.3 (`tracestate`), §4.3
//! (what is done where one of them is malformed).

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;
use super::headers;
use crate::config::{self, Trace};
use crate::identity::folds_to;
use crate::telemetry::spans::{Attempts, TraceContext, TraceId};
use crate::telemetry::{ReferenceId, ReferenceIds};

/// What ties a request to others. There is none where the config asks for nothing.
pub(super) struct Trail {
    traced: Option<Traced>,
    /// The field that carries ids, and the one that goes up in it.
    id: Option<(HeaderName, HeaderValue)>,
    /// Whether its sender has given that id.
    is_given: bool,
    /// Where its trace is told of each attempt, if spans are made.
    attempts: Option<Rc<Attempts>>,
}

/// The place of a request in its trace.
#[derive(Clone, Copy)]
struct Traced {
    /// As it is handed on.
    context: TraceContext,
    /// The span of the sender; `None`: the trace begins here.
    sender: Option<u64>,
    /// The span that is made of it, if one is.
    span: Option<u64>,
}

impl Trail {
    /// That of a request with this head, of which the log says this reference.
    pub(super) fn of(
        caller: &Caller,
        fields: &HeaderMap,
        reference: ReferenceId,
    ) -> Option<Box<Self>> {
        let config = caller.site().config();
        let (trace, header) = (config.trace(), config.log().request_id_header.as_ref());
        if trace.is_none() && header.is_none() {
            return None;
        }
        let is_believed = caller.is_believed();
        let given = header
            .filter(|_| is_believed)
            .and_then(|header| given_id(fields, &header.value));
        let ledger = caller.proxy().ledger();
        let traced = trace.map(|trace| {
            let ids = &ledger.references;
            Traced::of(trace, (fields, is_believed), ids)
        });
        let recorded = traced.filter(|traced| traced.span.is_some());
        let spans = ledger.access.spans();
        let attempts = recorded.zip(spans);
        Some(Box::new(Self {
            traced,
            attempts: attempts.map(|(traced, spans)| Attempts::of(traced.context, spans)),
            is_given: given.is_some(),
            id: header.and_then(|header| {
                let own = || HeaderValue::try_from(reference.to_string()).ok();
                Some((header.value.clone(), given.or_else(own)?))
            }),
        }))
    }

    /// Writes what goes up into a head from which hop-by-hop fields are gone.
    pub(super) fn write(&self, fields: &mut HeaderMap) {
        if let Some(traced) = &self.traced {
            if traced.sender.is_none() {
                headers::drop_field(fields, &TRACESTATE);
            }
            if let Ok(value) = HeaderValue::try_from(traced.context.to_string()) {
                fields.insert(TRACEPARENT, value);
            }
        }
        if let Some((name, id)) = &self.id {
            // In every spelling that a service may take for the field.
            headers::drop_where(fields, |field| folds_to(field.as_str(), name.as_str()));
            fields.insert(name, id.clone());
        }
    }

    /// The trace that it belongs to.
    pub(super) fn trace(&self) -> Option<TraceId> {
        self.traced.map(|traced| traced.context.trace())
    }

    /// Where its trace is told of each attempt; `None`: it is not.
    pub(super) fn attempts(&self) -> Option<Rc<Attempts>> {
        self.attempts.clone()
    }

    /// The id that its sender has given it.
    pub(super) fn given_id(&self) -> Option<&str> {
        let (_, id) = self.id.as_ref().filter(|_| self.is_given)?;
        id.to_str().ok()
    }

    /// The span that is made of it, and the one that it belongs to.
    pub(super) fn span(&self) -> Option<(u64, Option<u64>)> {
        let traced = self.traced?;
        Some((traced.span?, traced.sender))
    }
}

impl Traced {
    fn of(trace: &Trace, (fields, is_believed): (&HeaderMap, bool), ids: &ReferenceIds) -> Self {
        let joins = is_believed || trace.context == config::TraceContext::Join;
        let sent = joins.then(|| sent_context(fields)).flatten();
        // Zero is no id (§3.2.2.4).
        let id = || ids.next().number().max(1);
        let own = id();
        let makes_span = |recorded| (recorded && trace.upstream.is_some()).then_some(own);
        match sent {
            Some(sent) => {
                let span = makes_span(sent.is_recorded());
                Self {
                    // Without a span of its own it does not stand in between.
                    context: span.map_or(sent, |span| sent.through(span)),
                    sender: Some(sent.parent()),
                    span,
                }
            }
            None => {
                let (high, low) = (id(), id());
                let one_in = u64::from(trace.sample_one_in.get());
                let recorded = low % one_in == 0;
                let trace = (u128::from(high) << 64) | u128::from(low);
                Self {
                    context: TraceContext::begin(trace, own, recorded),
                    sender: None,
                    span: makes_span(recorded),
                }
            }
        }
    }
}

/// The context in which a request was sent; `None`: there is none, or several, or
/// it is malformed.
fn sent_context(fields: &HeaderMap) -> Option<TraceContext> {
    let mut all = fields.get_all(TRACEPARENT).iter();
    let (one, None) = (all.next()?, all.next()) else {
        return None;
    };
    TraceContext::read(one.as_bytes())
}

/// The id that a sender has given a request; `None`: none, several, or no such id.
fn given_id(fields: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut all = fields.get_all(name).iter();
    let (one, None) = (all.next()?, all.next()) else {
        return None;
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/+=@".contains(byte);
    let is_id = (1..=LONGEST_ID).contains(&one.len()) && one.as_bytes().iter().all(is_plain);
    is_id.then(|| one.clone())
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of an id that somebody else has given.
const LONGEST_ID: usize = 128;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::UpstreamId;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(context: config::TraceContext, one_in: u32, exports: bool) -> Trace {
        Trace {
            context,
            sample_one_in: NonZeroU32::new(one_in).unwrap(),
            upstream: exports.then_some(UpstreamId(0)),
            service_name: String::new(),
        }
    }

    fn fields(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in all {
            fields.append(*name, value.parse().unwrap());
        }
        fields
    }

    /// `traceparent` and `tracestate` as they go up.
    fn handed_on(
        trace: &Trace,
        sent: &[(&'static str, &str)],
        is_believed: bool,
    ) -> (String, Option<String>) {
        let mut fields = fields(sent);
        let traced = Traced::of(trace, (&fields, is_believed), &ReferenceIds::new());
        let trail = Trail {
            traced: Some(traced),
            id: None,
            is_given: false,
            attempts: None,
        };
        trail.write(&mut fields);
        let text = |name: HeaderName| {
            let mut all = fields.get_all(name).iter();
            let one = all.next().map(|value| value.to_str().unwrap().to_owned());
            assert!(all.next().is_none());
            one
        };
        (text(TRACEPARENT).unwrap(), text(TRACESTATE))
    }

    #[test]
    fn context_of_a_believed_sender_goes_on_as_it_is_where_no_span_is_made() {
        let trace = trace(config::TraceContext::Trusted, 1, false);
        let sent = [("traceparent", SENT), ("tracestate", "a=1")];
        let (parent, state) = handed_on(&trace, &sent, true);
        assert_eq!((parent.as_str(), state.as_deref()), (SENT, Some("a=1")));
    }

    #[test]
    fn span_that_is_made_stands_in_between() {
        let trace = trace(config::TraceContext::Join, 1, true);
        let sent = [("traceparent", SENT), ("tracestate", "a=1")];
        let (parent, state) = handed_on(&trace, &sent, false);
        assert_ne!(parent, SENT);
        assert_eq!(parent[..36], SENT[..36], "it is the same trace");
        assert_eq!(parent[52..], SENT[52..]);
        assert_eq!(state.as_deref(), Some("a=1"));
    }

    #[test]
    fn trace_begins_anew_where_the_context_is_malformed_doubled_or_not_believed() {
        let join = trace(config::TraceContext::Join, 1, false);
        let trusted = trace(config::TraceContext::Trusted, 1, false);
        let state = ("tracestate", "a=1");
        let malformed = [("traceparent", "00-malformed"), state];
        let doubled = [("traceparent", SENT), ("traceparent", SENT), state];
        let good = [("traceparent", SENT), state];
        for (trace, sent) in [
            (&join, &malformed[..]),
            (&join, &doubled[..]),
            (&join, &[state][..]),
            (&trusted, &good[..]),
        ] {
            let (parent, state) = handed_on(trace, sent, false);
            assert!(TraceContext::read(parent.as_bytes()).is_some(), "{parent}");
            assert_ne!(parent[..36], SENT[..36]);
            assert_eq!(state, None, "{sent:?}");
        }
    }

    #[test]
    fn traces_that_begin_here_are_recorded_one_in_so_many() {
        let recorded = |one_in| {
            let trace = trace(config::TraceContext::Join, one_in, true);
            let (ids, none) = (ReferenceIds::new(), HeaderMap::new());
            let all = (0..4000).map(|_| Traced::of(&trace, (&none, false), &ids));
            let recorded = all.filter(|traced| {
                assert_eq!(traced.span.is_some(), traced.context.is_recorded());
                traced.span.is_some()
            });
            recorded.count()
        };
        assert_eq!(recorded(1), 4000);
        assert!((800..1200).contains(&recorded(4)));
        assert!(recorded(1_000_000) < 5);
    }

    #[test]
    fn id_is_taken_if_it_is_one_and_alone() {
        let name = HeaderName::from_static("x-request-id");
        let given = |values: &[&str]| {
            let all: Vec<_> = values
                .iter()
                .map(|value| ("x-request-id", *value))
                .collect();
            given_id(&fields(&all), &name).map(|id| id.to_str().unwrap().to_owned())
        };
        let longest = "a".repeat(128);
        for good in ["1", "8b0c-4.x_~:/+=@", longest.as_str()] {
            assert_eq!(given(&[good]).as_deref(), Some(good));
        }
        let too_long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "a,b", "a;b", "a\\b", too_long.as_str()] {
            assert_eq!(given(&[bad]), None, "{bad}");
        }
        assert_eq!(given(&["a", "b"]), None);
        assert_eq!(given(&[]), None);
    }
}
