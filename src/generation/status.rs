//! What is in force, since when, and what became of the last attempts to change it.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::load::Loaded;
use super::withhold::Withheld;
use crate::telemetry::metrics::Uses;
use crate::telemetry::rfc3339;
use crate::tls::{Anchor, Bundle, Peers, RevocationListFacts, describe};

/// How reloading stands.
#[derive(Debug)]
pub(super) struct Status {
    /// The number of the generation in force.
    pub(super) generation: u64,
    /// Since when it is.
    pub(super) published: SystemTime,
    /// When the files were last found to be what is in force, or became it.
    pub(super) last_success: SystemTime,
    /// The last time that they could not be put in force, even if they could later.
    pub(super) last_failure: Option<Failure>,
    /// Whether what is on disk now is not in force.
    pub(super) failing: bool,
}

/// Why what is on disk was not put in force.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// When this cause was met first.
    pub(super) since: SystemTime,
    /// When it was met last.
    pub(super) last: SystemTime,
    /// How many times in a row.
    pub(super) attempts: u64,
    pub(super) cause: Cause,
}

/// What stands against a generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// Something in the files is wrong, or cannot change while countersign
    /// runs; each as a text of its own.
    Problems(Vec<String>),
    /// Trust bundles lose so much that somebody must confirm it.
    HeldBack(Vec<Withheld>),
}

/// What came of an attempt.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// What has changed and is in force from now on; empty: nothing had.
    pub(super) changed: Vec<String>,
    /// Why what is on disk is not in force, as a whole or (where trust bundles
    /// are held back) in part.
    pub(super) refused: Option<Cause>,
}

impl Outcome {
    pub(super) fn refused(cause: Cause) -> Self {
        Self {
            changed: Vec::new(),
            refused: Some(cause),
        }
    }

    /// Its name in the answer to `POST /reload`.
    fn word(&self) -> &'static str {
        match &self.refused {
            Some(Cause::Problems(_)) => "failed",
            Some(Cause::HeldBack(_)) => "held_back",
            None if self.changed.is_empty() => "unchanged",
            None => "published",
        }
    }
}

impl Status {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            generation: 1,
            published: now,
            last_success: now,
            last_failure: None,
            failing: false,
        }
    }

    /// Notes a failure. Returns whether this cause is news.
    pub(super) fn fail(&mut self, cause: Cause, now: SystemTime) -> bool {
        let same = self.failing && self.last_failure.as_ref().is_some_and(|f| f.cause == cause);
        self.failing = true;
        match self.last_failure.as_mut().filter(|_| same) {
            Some(known) => {
                known.last = now;
                known.attempts = known.attempts.saturating_add(1);
            }
            None => {
                self.last_failure = Some(Failure {
                    since: now,
                    last: now,
                    attempts: 1,
                    cause,
                });
            }
        }
        !same
    }

    /// Notes a success. Returns whether there was a failure before it.
    pub(super) fn succeed(&mut self, now: SystemTime) -> bool {
        self.last_success = now;
        std::mem::take(&mut self.failing)
    }

    /// What the answer to `POST /reload` says of an outcome.
    pub(super) fn of_outcome(&self, outcome: &Outcome) -> Value {
        let mut answer = outcome
            .refused
            .as_ref()
            .map_or_else(|| json!({}), Cause::to_json);
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("generation".to_owned(), self.generation.into());
            answer.insert("outcome".to_owned(), outcome.word().into());
            if !outcome.changed.is_empty() {
                answer.insert("changed".to_owned(), json!(outcome.changed));
            }
        }
        answer
    }

    /// How things stand, in one line: the generation, whether the files on disk
    /// are in force, and what runs out next.
    pub(super) fn line(&self, loaded: &Loaded, now: SystemTime) -> String {
        let mut line = format!("generation {} in force", self.generation);
        let expiries = loaded.material().expiries.iter();
        if let Some(next) = expiries.min_by_key(|expiry| expiry.not_after) {
            let (kind, name) = (next.kind, &next.name);
            let seconds = left(next.not_after, now);
            let ends = match seconds {
                0.. => format!("runs out in {}", describe(seconds)),
                _ => "has run out".to_owned(),
            };
            line.push_str(&format!("; {kind} certificate of {name} {ends}"));
        }
        let failure = self.last_failure.as_ref().filter(|_| self.failing);
        if let Some(failure) = failure {
            let since = rfc3339(failure.since);
            let what = failure.cause.in_short();
            line.push_str(&format!("; since {since} NOT what is on disk: {what}"));
        }
        line
    }

    /// `GET /trust`.
    pub(super) fn describe(&self, loaded: &Loaded, peers: &Peers, now: SystemTime) -> Value {
        let material = loaded.material();
        let bundles = loaded.config().bundles().iter().zip(&material.bundles);
        let bundles: Vec<_> = bundles
            .map(|(config, bundle)| describe_bundle(config, bundle, now))
            .collect();
        let own: Vec<_> = material
            .expiries
            .iter()
            .filter(|expiry| expiry.kind == "own")
            .map(|expiry| {
                json!({
                    "of": expiry.name,
                    "index": expiry.index,
                    "names": expiry.subject,
                    "not_after": moment(expiry.not_after),
                    "seconds_left": left(expiry.not_after, now),
                })
            })
            .collect();
        let known = peers.all();
        json!({
            "generation": self.generation,
            "published": rfc3339(self.published),
            "last_success": rfc3339(self.last_success),
            "seconds_since_last_success": since(self.last_success, now),
            "failing": self.failing,
            "last_failure": self.last_failure.as_ref().map(|f| f.to_json(now)),
            "bundles": bundles,
            "own_certificates": own,
            "peers": {
                "connected": known.iter().filter(|peer| peer.connections() > 0).count(),
                "seen_in_24_hours": known.len(),
            },
        })
    }
}

impl Failure {
    fn to_json(&self, now: SystemTime) -> Value {
        let mut failure = self.cause.to_json();
        let when = json!({
            "since": rfc3339(self.since),
            "last": rfc3339(self.last),
            "seconds_ago": since(self.last, now),
            "attempts": self.attempts,
        });
        if let (Some(failure), Value::Object(when)) = (failure.as_object_mut(), when) {
            failure.extend(when);
        }
        failure
    }
}

impl Cause {
    /// The first line of what there is to say.
    fn in_short(&self) -> String {
        match self {
            Self::Problems(problems) => {
                let first = problems.first().and_then(|text| text.lines().next());
                first.unwrap_or_default().to_owned()
            }
            Self::HeldBack(all) => {
                let bundles: Vec<_> = all.iter().map(|held| held.bundle.as_str()).collect();
                format!("held back: {}", bundles.join(", "))
            }
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Problems(problems) => json!({ "problems": problems }),
            Self::HeldBack(all) => {
                let all: Vec<_> = all.iter().map(Withheld::to_json).collect();
                json!({ "held_back": all })
            }
        }
    }
}

fn describe_bundle(config: &crate::config::TrustBundle, bundle: &Bundle, now: SystemTime) -> Value {
    let anchors: Vec<_> = bundle
        .anchors()
        .iter()
        .map(|a| describe_anchor(a, now))
        .collect();
    let lists: Vec<_> = bundle
        .revocation_lists()
        .map(|list| describe_list(&list, now))
        .collect();
    let warnings: Vec<_> = bundle.warnings().iter().map(ToString::to_string).collect();
    json!({
        "name": config.name,
        "anchors": anchors,
        "revocation_lists": lists,
        "warnings": warnings,
    })
}

fn describe_anchor(anchor: &Anchor, now: SystemTime) -> Value {
    json!({
        "subject": anchor.subject,
        "fingerprint": anchor.fingerprint.to_string(),
        "not_before": moment(anchor.not_before),
        "not_after": moment(anchor.not_after),
        "seconds_left": left(anchor.not_after, now),
        "handshakes": anchor.in_use.handshakes(),
        "last_handshake": anchor.in_use.last_handshake().map(moment),
    })
}

fn describe_list(list: &RevocationListFacts, now: SystemTime) -> Value {
    json!({
        "issuer": list.issuer,
        "number": list.number,
        "file": list.source.display().to_string(),
        "this_update": moment(list.this_update),
        "next_update": moment(list.next_update),
        "seconds_left": left(list.next_update, now),
        "entries": list.entries,
    })
}

/// A point in seconds since 1970, as RFC 3339; `GET /trust` has no other form.
pub(crate) fn moment(unix: i64) -> String {
    let seconds = u64::try_from(unix).unwrap_or(0);
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    rfc3339(at.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Seconds until a point; negative when it is past.
fn left(unix: i64, now: SystemTime) -> i64 {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    unix.saturating_sub(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// Whole seconds since a point.
fn since(then: SystemTime, now: SystemTime) -> u64 {
    now.duration_since(then).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Cause {
        Cause::Problems(vec![text.to_owned()])
    }

    #[test]
    fn cause_is_news_once_until_it_changes_or_has_gone_meanwhile() {
        let now = SystemTime::now();
        let mut status = Status::new(now);
        assert!(status.fail(problem("a"), now));
        assert!(!status.fail(problem("a"), now));
        assert!(status.fail(problem("b"), now));
        assert!(status.succeed(now));
        assert!(!status.succeed(now));
        assert!(status.fail(problem("b"), now));
        let failure = status.last_failure.unwrap();
        assert_eq!(failure.attempts, 1);
    }

    #[test]
    fn success_keeps_the_last_failure_apart() {
        let now = SystemTime::now();
        let mut status = Status::new(now);
        status.fail(problem("a"), now);
        status.succeed(now + Duration::from_secs(5));
        assert!(!status.failing);
        assert!(status.last_failure.is_some());
        assert_eq!(status.last_success, now + Duration::from_secs(5));
    }
}
