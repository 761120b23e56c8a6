//! What is let pass although no current list cleared it, and how often the log says so.

use std::sync::{Mutex, PoisonError};

use crate::identity::Fingerprint;
use crate::telemetry::events;
use crate::tls::own_certificate::describe;
use crate::tls::refusal::Refusal;

/// A certificate that passed because the bundle says `log` where it could say
/// `reject`, or acts on no list at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// There is no revocation list of its issuer.
    MissingList {
        /// The issuer, as an RFC 4514 string.
        issuer: String,
    },
    /// The revocation list of its issuer is stale.
    StaleList {
        /// The issuer, as an RFC 4514 string.
        issuer: String,
        /// Since when, in seconds since 1970.
        next_update: i64,
    },
    /// The lists do not let it pass, and are not acted on.
    WouldRefuse {
        /// The reason for which it would be refused.
        reason: Refusal,
        /// The exact cause, in words.
        cause: String,
        /// The leaf's subject, as an RFC 4514 string.
        subject: String,
        /// The leaf's fingerprint.
        fingerprint: Fingerprint,
    },
}

/// What the log was told, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<(Fingerprint, i64)>>);

/// How long the log is not told the same thing again, in seconds.
const PAUSE: i64 = 60;
/// The most things that are told within one pause. Issuers come from peers'
/// chains, so there may be any number of them.
const MAX_TOLD: usize = 64;

impl Note {
    /// The same for what is the same to a reader of the log.
    fn key(&self) -> Fingerprint {
        let text = match self {
            // The cause says how long ago.
            Self::WouldRefuse {
                reason,
                fingerprint,
                ..
            } => format!("{reason} {fingerprint}"),
            Self::MissingList { .. } | Self::StaleList { .. } => format!("{self:?}"),
        };
        Fingerprint::of(text.as_bytes())
    }
}

impl Told {
    /// Writes a line, unless the same was written within the last minute.
    pub(super) fn tell(&self, note: &Note, bundle: &str, now: i64) {
        if !self.is_due(note, now) {
            return;
        }
        match note {
            Note::MissingList { issuer } => tracing::warn!(
                event = events::CRL_MISSING,
                bundle,
                issuer,
                "a certificate passes unchecked: there is no revocation list of its issuer, and crl_missing is \"log\""
            ),
            Note::StaleList {
                issuer,
                next_update,
            } => tracing::warn!(
                event = events::CRL_USED_STALE,
                bundle,
                issuer,
                stale_for = describe(now.saturating_sub(*next_update)),
                "a certificate passes by a stale revocation list, and crl_stale is \"log\""
            ),
            Note::WouldRefuse {
                reason,
                cause,
                subject,
                fingerprint,
            } => tracing::warn!(
                event = events::CRL_WOULD_REFUSE,
                bundle,
                reason = reason.code(),
                cause,
                subject,
                %fingerprint,
                remedy = reason.remedy(),
                "a certificate passes that the revocation lists would refuse, and enforce_crl is false"
            ),
        }
    }

    fn is_due(&self, note: &Note, now: i64) -> bool {
        let key = note.key();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not silence the log for long.
        told.retain(|(_, when)| (*when..when.saturating_add(PAUSE)).contains(&now));
        if told.len() >= MAX_TOLD || told.iter().any(|(known, _)| *known == key) {
            return false;
        }
        told.push((key, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(issuer: &str) -> Note {
        Note::MissingList {
            issuer: issuer.to_owned(),
        }
    }

    #[test]
    fn the_same_thing_is_told_once_a_minute() {
        let told = Told::default();
        assert!(told.is_due(&missing("CN=A"), 1000));
        assert!(!told.is_due(&missing("CN=A"), 1059));
        assert!(told.is_due(&missing("CN=B"), 1059));
        assert!(told.is_due(&missing("CN=A"), 1060));
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let told = Told::default();
        assert!(told.is_due(&missing("CN=A"), 1000));
        assert!(told.is_due(&missing("CN=A"), 10));
    }

    #[test]
    fn peers_cannot_flood_the_log_with_issuers() {
        let told = Told::default();
        let due = (0..1000).filter(|number| told.is_due(&missing(&number.to_string()), 5));
        assert_eq!(due.count(), MAX_TOLD);
    }
}
