//! Which requests are sent again for what a service answers, and how many.

use std::cell::Cell;
use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use super::UploadBody;
use super::answer::Answer;
use super::attempt::{Attempt, Manner};
use super::body::Tracked;
use super::fault::SendFaultKind;
use super::request::copy_of;
use super::send::Upstream;
use crate::config::{Retries, RetryOn, Share};

/// How often one request may be sent again whatever the budget says.
const FREE: Duration = Duration::from_secs(1);
/// The most that is saved up, in hundredths of a request: a bad minute after a
/// good day is not to double everything.
const MOST: u32 = 100 * ONE;
/// One request, in hundredths.
const ONE: u32 = 100;

/// A request that may be sent again for what the service answers.
pub(super) struct Retrial<'a, B: UploadBody> {
    settings: &'a Retries,
    /// How often, still.
    left: u32,
    now: Instant,
    copy: Option<Box<Request<Tracked<B>>>>,
}

impl<B: UploadBody> Upstream<B> {
    /// What it takes to send a request again; `None`: it may not be.
    pub(super) fn retrial(&self, manner: &Manner) -> Option<Retrial<'_, B>> {
        let settings = self.plan().retries()?;
        self.budget().earn(settings.budget);
        let safe = manner.copyable && manner.idempotent;
        safe.then(|| Retrial {
            settings,
            left: settings.most.get(),
            now: manner.now,
            copy: None,
        })
    }
}

impl<B: UploadBody> Retrial<'_, B> {
    /// Before each attempt: keeps what could be sent again.
    pub(super) fn keep(&mut self, request: &Request<Tracked<B>>) {
        self.copy = (self.left > 0).then(|| copy_of(request)).flatten();
    }

    /// After each attempt at `endpoint`: what becomes of it.
    pub(super) async fn judge(
        &mut self,
        upstream: &Upstream<B>,
        endpoint: usize,
        attempt: Attempt<B>,
    ) -> Attempt<B> {
        let on = |cause| self.settings.on.contains(&cause);
        let cause = match &attempt {
            Attempt::Answered(response) if on(RetryOn::Status(response.status().as_u16())) => {
                "status"
            }
            Attempt::Failed(fault) if fault.kind == SendFaultKind::Lost && on(RetryOn::Lost) => {
                "lost"
            }
            _ => return attempt,
        };
        let Some(copy) = self.copy.take() else {
            return attempt;
        };
        if !upstream.budget().spend(self.now) {
            upstream.strike(
                "retry_budget",
                "more requests fail than may be sent again",
                "see why the service fails; retry_budget is the share that is sent again",
            );
            return attempt;
        }
        self.left = self.left.saturating_sub(1);
        upstream.metrics().repeated(cause);
        if let Attempt::Answered(response) = attempt {
            Answer { response, endpoint }.discard().await;
        }
        Attempt::Elsewhere(copy)
    }
}

/// What is left of one worker's budget for requests that are sent again.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// In hundredths of a request.
    saved: Cell<u32>,
    last_free: Cell<Option<Instant>>,
}

impl Budget {
    /// A request came: `share` of one may be sent again.
    pub(super) fn earn(&self, share: Share) {
        let earned = self.saved.get().saturating_add(u32::from(share.percent()));
        self.saved.set(earned.min(MOST));
    }

    /// Whether one may be sent again now; it is paid for then.
    pub(super) fn spend(&self, now: Instant) -> bool {
        if let Some(left) = self.saved.get().checked_sub(ONE) {
            self.saved.set(left);
            return true;
        }
        let last = self.last_free.get();
        let free = last.is_none_or(|last| now.saturating_duration_since(last) >= FREE);
        if free {
            self.last_free.set(Some(now));
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_what_came_may_be_sent_again_and_one_each_second() {
        let (budget, now) = (Budget::default(), Instant::now());
        let fifth = Share::of_percent(20).unwrap();
        assert!(budget.spend(now), "the free one");
        assert!(!budget.spend(now));
        for _ in 0..10 {
            budget.earn(fifth);
        }
        assert!(budget.spend(now) && budget.spend(now));
        assert!(!budget.spend(now));
        assert!(budget.spend(now + FREE));
        assert!(!budget.spend(now + FREE));
    }

    #[test]
    fn good_day_is_not_saved_up_for_a_bad_one() {
        let (budget, now) = (Budget::default(), Instant::now());
        for _ in 0..100_000 {
            budget.earn(Share::of_percent(100).unwrap());
        }
        let sent = (0..1_000).filter(|_| budget.spend(now)).count();
        assert_eq!(sent, 101);
    }
}
