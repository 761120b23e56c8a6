//! Refusals: how often the log is told of them, and the last ones, for those who
//! ask by a reference.
//!
//! # Rules
//!
//! * Whoever can connect can be refused as often as they like. So each source
//!   has a few lines a minute for each reason; the others are counted, and one
//!   line says how many they were.
//! * What is kept has a bound, and one source that is refused for one reason
//!   again and again takes the places of its own refusals alone.
//! * Metrics know nothing of this: they count every refusal.

mod kept;
mod rate;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::events;
use super::reference::ReferenceId;
use kept::Kept;
pub use rate::Source;
use rate::{LeftOut, Rates};

/// The refusals of the process.
#[derive(Debug, Default)]
pub struct Refusals {
    rates: Mutex<Rates>,
    handshakes: Mutex<Kept>,
    requests: Mutex<Kept>,
}

/// What was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// A client, in its handshake.
    Handshake,
    /// A request.
    Request,
}

impl Refusals {
    /// None so far.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether the log is to be told of a refusal. If not, it is counted.
    ///
    /// `reason` is a word from the code; `per_minute`: how many lines each
    /// source has for it.
    pub fn is_told(
        &self,
        address: Option<IpAddr>,
        reason: &'static str,
        per_minute: NonZeroU32,
    ) -> bool {
        let key = (Source::of(address), reason);
        let mut ended = Vec::new();
        let told = lock(&self.rates).is_told(key, per_minute, Instant::now(), &mut ended);
        ended.iter().for_each(LeftOut::tell);
        told
    }

    /// Keeps what is known of a refusal, for whoever has its reference: an
    /// object, whose texts have a bound. `reference`, `kind` and the time are
    /// added here.
    pub fn keep(
        &self,
        what: Refused,
        (address, reason): (Option<IpAddr>, &'static str),
        reference: ReferenceId,
        mut known: Value,
    ) {
        let (kind, kept) = match what {
            Refused::Handshake => ("handshake", &self.handshakes),
            Refused::Request => ("request", &self.requests),
        };
        if let Some(known) = known.as_object_mut() {
            let now = std::time::SystemTime::now();
            known.insert("kind".to_owned(), kind.into());
            known.insert("reference".to_owned(), reference.to_string().into());
            known.insert("at".to_owned(), super::rfc3339(now).into());
        }
        lock(kept).add((Source::of(address), reason), reference, known);
    }

    /// The last refusals, each as it was kept, the newest first of each kind.
    pub fn describe(&self) -> Value {
        json!({
            "handshakes": lock(&self.handshakes).all(),
            "requests": lock(&self.requests).all(),
        })
    }

    /// The refusal with this reference, as it was kept; `None`: it is not one of
    /// the last, or there never was such a one.
    pub fn find(&self, reference: &str) -> Option<Value> {
        let reference: ReferenceId = reference.parse().ok()?;
        let handshake = lock(&self.handshakes).find(reference);
        handshake.or_else(|| lock(&self.requests).find(reference))
    }

    /// Says in the log, when a minute is over, what it was not told in it. Goes
    /// on until it is dropped.
    pub async fn summarise(&self) {
        let mut pause = tokio::time::interval(LOOK);
        loop {
            pause.tick().await;
            self.tell_left_out(Instant::now());
        }
    }

    /// Says what the log was not told so far; for the end of the process.
    pub fn tell_all_left_out(&self) {
        self.tell_left_out(Instant::now() + rate::WINDOW);
    }

    fn tell_left_out(&self, now: Instant) {
        let ended = lock(&self.rates).end_windows(now);
        ended.iter().for_each(LeftOut::tell);
    }
}

impl LeftOut {
    fn tell(&self) {
        tracing::info!(
            event = events::REFUSALS_LEFT_OUT,
            source = %self.source,
            reason = self.reason,
            left_out = self.count,
            "more such refusals had no line of their own (log.refusals_per_minute)"
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often it is looked for minutes that are over.
const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ReferenceIds;

    #[test]
    fn refusal_is_found_by_its_reference_among_handshakes_and_requests() {
        let (refusals, ids) = (Refusals::new(), ReferenceIds::new());
        let (one, other, none) = (ids.next(), ids.next(), ids.next());
        let known = |cause: &str| json!({ "cause": cause });
        refusals.keep(Refused::Handshake, (None, "expired"), one, known("old"));
        refusals.keep(Refused::Request, (None, "no_route"), other, known("where"));
        for (reference, kind, cause) in [(one, "handshake", "old"), (other, "request", "where")] {
            let found = refusals.find(&reference.to_string()).unwrap();
            assert_eq!(found["reference"], reference.to_string());
            assert_eq!(
                (&found["kind"], &found["cause"]),
                (&kind.into(), &cause.into())
            );
            assert!(found["at"].as_str().unwrap().ends_with('Z'));
        }
        assert_eq!(refusals.find(&none.to_string()), None);
        assert_eq!(refusals.find("nonsense"), None);
        let all = refusals.describe();
        assert_eq!(all["handshakes"][0]["cause"], "old");
        assert_eq!(all["requests"][0]["cause"], "where");
    }
}
