//! Who leaves an endpoint alone, for how long and why: for people, and for metrics.
//!
//! Each worker finds out for itself how an endpoint does, and goes by that alone.
//! What is written here nobody asks on the path of a request; a worker takes the
//! lock when it begins to leave an endpoint alone, and when it ends that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes of a cause that are kept.
const CAUSE: usize = 512;

/// What all workers make of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<Vec<Weak<Own>>>);

/// What one worker makes of it; forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct OwnPause(Arc<Own>);

type Own = Mutex<Option<Pause>>;

#[derive(Clone, Debug)]
struct Pause {
    until: Instant,
    cause: String,
}

/// An endpoint that is left alone since it took no connection or failed requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftAlone {
    /// How many workers leave it alone.
    pub workers: usize,
    /// After which time the last of them tries it again.
    pub remaining: Duration,
    /// Why that one does, in words.
    pub cause: String,
}

impl Pauses {
    /// One more worker, which does not leave it alone.
    pub(super) fn begin(&self) -> OwnPause {
        let own = Arc::<Own>::default();
        let mut all = lock(&self.0);
        all.retain(|pause| pause.strong_count() > 0);
        all.push(Arc::downgrade(&own));
        OwnPause(own)
    }

    /// How it stands at `now`; `None`: nobody leaves it alone.
    pub(super) fn at(&self, now: Instant) -> Option<LeftAlone> {
        let all = lock(&self.0)
            .iter()
            .filter_map(Weak::upgrade)
            .collect::<Vec<_>>();
        let pauses = all.iter().filter_map(|own| lock(own).clone());
        let pauses: Vec<_> = pauses.filter(|pause| pause.until > now).collect();
        let last = pauses.iter().max_by_key(|pause| pause.until)?;
        Some(LeftAlone {
            workers: pauses.len(),
            remaining: last.until.saturating_duration_since(now),
            cause: last.cause.clone(),
        })
    }
}

impl OwnPause {
    /// It is left alone until then.
    pub(super) fn begins(&self, until: Instant, cause: &str) {
        let kept = cause.get(..cause.floor_char_boundary(CAUSE));
        let cause = kept.unwrap_or_default().to_owned();
        *lock(&self.0) = Some(Pause { until, cause });
    }

    /// It is not any more.
    pub(super) fn ends(&self) {
        *lock(&self.0) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn workers_that_leave_it_alone_are_counted_and_the_last_says_why() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        let workers = [pauses.begin(), pauses.begin(), pauses.begin()];
        assert_eq!(pauses.at(now), None);
        let [one, other, _third] = &workers;
        one.begins(now + SECOND, "refused");
        other.begins(now + SECOND * 3, &"lost ".repeat(CAUSE));
        let both = pauses.at(now).unwrap();
        assert_eq!((both.workers, both.remaining), (2, SECOND * 3));
        assert!(both.cause.starts_with("lost ") && both.cause.len() == CAUSE);
        assert_eq!(pauses.at(now + SECOND).unwrap().workers, 1);
        other.ends();
        assert_eq!(pauses.at(now).unwrap().cause, "refused");
        drop(workers);
        assert_eq!(pauses.at(now), None);
    }
}
