//! How a connection is asked to end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{OnWithdrawal, TrustBundle};
use crate::tls::Refusal;

/// A connection is asked to end.
#[derive(Clone, Debug)]
pub(super) struct Summons {
    /// When it says goodbye.
    pub(super) leave: Instant,
    /// When it is cut, whatever is under way; `None`: only the drain's end cuts it.
    pub(super) cut: Option<Instant>,
    /// From when on requests are refused that it makes nevertheless; `None`: never.
    pub(super) refuse: Option<Instant>,
    /// Why, in words.
    pub(super) cause: Arc<str>,
    /// For what reason its peer is trusted no more; `None`: it is.
    pub(super) reason: Option<Refusal>,
}

/// Why a connection was ended that could have gone on: its peer is trusted no more.
#[derive(Clone, Debug)]
pub(super) struct Dismissal {
    /// The reason for which a handshake would be refused.
    pub(super) reason: Refusal,
    /// In words.
    pub(super) cause: Arc<str>,
}

/// What becomes of connections whose peer is trusted no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    what: OnWithdrawal,
    grace: Duration,
}

impl Manner {
    /// As a trust bundle says; where there is none any more, as is usual.
    pub(super) fn of(bundle: Option<&TrustBundle>) -> Self {
        bundle.map_or(
            Self {
                what: OnWithdrawal::Drain,
                grace: DEFAULT_GRACE,
            },
            |bundle| Self {
                what: bundle.on_withdrawal,
                grace: bundle.withdrawal_grace,
            },
        )
    }

    /// The same, but that nothing stays.
    pub(super) fn without_keeping(self) -> Self {
        Self {
            what: match self.what {
                OnWithdrawal::Keep => OnWithdrawal::Drain,
                what => what,
            },
            ..self
        }
    }
}

impl Summons {
    /// What is under way is finished, and nothing more is begun.
    pub(super) fn to_drain() -> Self {
        Self {
            leave: Instant::now(),
            cut: None,
            refuse: None,
            cause: "countersign ends".into(),
            reason: None,
        }
    }

    /// Its listener is no more: it finishes what is under way within `grace`,
    /// as if countersign ended.
    pub(super) fn to_move(cause: &str, grace: Duration) -> Self {
        let leave = Instant::now();
        Self {
            leave,
            cut: Some(leave + grace),
            refuse: Some(leave + MOVE_WITHIN),
            cause: cause.into(),
            reason: None,
        }
    }

    /// Its client is not accepted and has been told so: what it has asked for by
    /// then is answered, and nothing more is taken.
    pub(super) fn to_part() -> Self {
        let leave = Instant::now();
        Self {
            leave,
            cut: Some(leave + DEFAULT_GRACE),
            refuse: None,
            cause: "the client is not accepted, and was told so".into(),
            reason: None,
        }
    }

    /// It has had as many requests as it may have: what was asked for by then is
    /// answered. One that goes on asking is refused.
    pub(super) fn to_renew() -> Self {
        let leave = Instant::now();
        Self {
            leave,
            cut: None,
            refuse: Some(leave + MOVE_WITHIN),
            cause: "the connection has had limits.max_requests_per_connection requests, and was asked to end".into(),
            reason: None,
        }
    }

    /// Its peer is trusted no more; `None`: it stays all the same.
    pub(super) fn to_end(manner: Manner, why: Dismissal) -> Option<Self> {
        let leave = Instant::now();
        let cut = match manner.what {
            OnWithdrawal::Keep => return None,
            OnWithdrawal::Cut => leave,
            OnWithdrawal::Drain => leave + manner.grace,
        };
        Some(Self {
            leave,
            cut: Some(cut),
            refuse: Some(leave),
            cause: why.cause,
            reason: Some(why.reason),
        })
    }

    pub(super) fn later(self, delay: Duration) -> Self {
        Self {
            leave: self.leave + delay,
            cut: self.cut.map(|cut| cut + delay),
            ..self
        }
    }

    /// Another word is said: whatever is sooner counts, and that the peer is
    /// trusted no more is the better reason.
    pub(super) fn join(&mut self, other: Self) {
        let sooner = |one: Option<Instant>, other: Option<Instant>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.leave = self.leave.min(other.leave);
        self.cut = sooner(self.cut, other.cut);
        self.refuse = sooner(self.refuse, other.refuse);
        if self.reason.is_none() && other.reason.is_some() {
            self.reason = other.reason;
            self.cause = other.cause;
        }
    }
}

/// A client that has connected when the drain begins, and has said nothing yet,
/// does so by then or is not waited for.
pub(super) const FIRST_WORD: Duration = Duration::from_secs(2);
/// Where there is no trust bundle any more that could say.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// A client that was told to go elsewhere has heard it by then.
const MOVE_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(after: u64) -> Summons {
        let manner = Manner {
            what: OnWithdrawal::Drain,
            grace: Duration::from_secs(after),
        };
        let why = Dismissal {
            reason: Refusal::Revoked,
            cause: "revoked".into(),
        };
        Summons::to_end(manner, why).unwrap()
    }

    #[test]
    fn withdrawal_of_a_connection_that_moves_cuts_it_sooner_and_is_its_reason() {
        let mut summons = Summons::to_move("moved", Duration::from_secs(60));
        summons.join(withdrawn(1));
        assert_eq!(summons.reason, Some(Refusal::Revoked));
        assert_eq!(&*summons.cause, "revoked");
        assert!(summons.cut.unwrap() <= summons.leave + Duration::from_secs(2));
        let mut summons = Summons::to_drain();
        summons.join(withdrawn(1));
        assert!(summons.cut.is_some() && summons.refuse.is_some());
    }

    #[test]
    fn what_is_said_later_puts_nothing_off() {
        let mut summons = withdrawn(1);
        let before = (summons.leave, summons.cut);
        summons.join(withdrawn(60));
        summons.join(Summons::to_drain());
        assert_eq!((summons.leave, summons.cut), before);
    }

    #[test]
    fn what_a_bundle_never_trusted_is_drained_where_it_would_keep_what_it_did() {
        let manner = Manner {
            what: OnWithdrawal::Keep,
            grace: Duration::from_secs(1),
        };
        let why = || Dismissal {
            reason: Refusal::Untrusted,
            cause: "".into(),
        };
        assert!(Summons::to_end(manner, why()).is_none());
        let summons = Summons::to_end(manner.without_keeping(), why()).unwrap();
        assert_eq!(summons.cut, Some(summons.leave + manner.grace));
    }
}
