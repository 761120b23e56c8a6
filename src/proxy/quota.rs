//! How many requests each caller may send on one route.
//!
//! The generic cell rate algorithm (ITU-T I.371, as a virtual schedule): of
//! each caller one number is held, the time at which all that it has sent would
//! have been due had it kept to its rate. A request may come ahead of that time
//! by as much as the burst is worth.
//!
//! # Rules
//!
//! * All workers count together, by atomic numbers alone: without a lock, and
//!   without memory that is taken on the way of a request.
//! * At most [`SETS`] × [`PLACES`] callers are told apart. Whose time has passed
//!   is as good as unknown, so that only those count who have lately sent
//!   requests. Where more come than there are places, a newcomer takes the place
//!   of the one whose time is the earliest of its set, *and that time with it*.
//!   So no number of callers ever gets anybody one request more than its rate
//!   permits, neither them nor whom they crowd out; what they can bring about
//!   is that a newcomer is refused early.
//! * Callers are held as a hash with a secret key of this process: nobody can
//!   choose whose place they take.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, Rate};
use crate::telemetry::Source;

/// So many callers share a set: as many as are looked through at once.
const PLACES: usize = 8;
/// With eight places each, room for 16384 callers in 256 KiB.
const SETS: usize = 2048;

/// Who counts as one caller.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Counted {
    /// Whoever has these names.
    Identity([u8; 32]),
    /// Whoever comes from there.
    Source(Source),
}

/// What the callers of one route have used up.
#[derive(Debug)]
pub struct Quota {
    route: String,
    rate: Rate,
    began: Instant,
    hasher: RandomState,
    sets: Box<[Set]>,
}

#[derive(Debug, Default)]
struct Set([Place; PLACES]);

#[derive(Debug, Default)]
struct Place {
    /// The hash of a caller; 0: nobody's.
    caller: AtomicU64,
    /// When all that it has sent would have been due, in ns since `began`.
    due: AtomicU64,
}

/// Makes what the routes of `config` need, in their order. What has the same
/// name and the same rate as in `former` is the same [`Arc`] again.
pub fn quotas(config: &Config, former: &[Option<Arc<Quota>>]) -> Vec<Option<Arc<Quota>>> {
    // No two routes have the same name.
    let former: HashMap<&str, &Arc<Quota>> = former
        .iter()
        .flatten()
        .map(|quota| (&*quota.route, quota))
        .collect();
    let of = |name: &str, rate: Rate| {
        let same = former.get(name).filter(|quota| quota.rate == rate);
        same.map_or_else(|| Arc::new(Quota::new(name, rate)), |same| Arc::clone(same))
    };
    let routes = config.routes().iter();
    routes
        .map(|route| route.limits.rate.map(|rate| of(&route.name, rate)))
        .collect()
}

impl Quota {
    fn new(route: &str, rate: Rate) -> Self {
        Self {
            route: route.to_owned(),
            rate,
            began: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Set::default()).collect(),
        }
    }

    /// What it holds everybody to.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request of a caller, that came at `now`.
    ///
    /// # Errors
    ///
    /// It has none left; when the next one comes due. Nothing was taken.
    pub(super) fn take(&self, caller: &Counted, now: Instant) -> Result<(), Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        let interval = nanos(self.rate.period) / u64::from(self.rate.count.get());
        let ahead = interval.saturating_mul(u64::from(self.rate.burst.get().saturating_sub(1)));
        let Some(due) = self.due_of(caller) else {
            return Ok(());
        };
        let taken = due.fetch_update(Relaxed, Relaxed, |due| {
            let due = due.max(now);
            (due.saturating_sub(now) <= ahead).then(|| due.saturating_add(interval))
        });
        match taken {
            Ok(_) => Ok(()),
            Err(due) => {
                let early = due.saturating_sub(now).saturating_sub(ahead);
                Err(Duration::from_nanos(early))
            }
        }
    }

    /// The time of a caller; it gets a place if it has none. `None`: there is
    /// no set, which cannot be.
    fn due_of(&self, caller: &Counted) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one(caller).max(1);
        let at = usize::try_from(hash % SETS as u64).ok()?;
        let Set(places) = self.sets.get(at)?;
        loop {
            let mut known = places.iter();
            if let Some(known) = known.find(|place| place.caller.load(Relaxed) == hash) {
                return Some(&known.due);
            }
            let earliest = places.iter().min_by_key(|place| place.due.load(Relaxed))?;
            let former = earliest.caller.load(Relaxed);
            let caller = &earliest.caller;
            // Where another worker was first, it may be the same caller's place now.
            if caller
                .compare_exchange(former, hash, Relaxed, Relaxed)
                .is_ok()
            {
                return Some(&earliest.due);
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::RatePer;

    const SECOND: Duration = Duration::from_secs(1);

    fn quota(count: u32, period: Duration, burst: u32) -> Quota {
        let rate = Rate {
            count: NonZeroU32::new(count).unwrap(),
            period,
            burst: NonZeroU32::new(burst).unwrap(),
            per: RatePer::Source,
        };
        Quota::new("routes[0]", rate)
    }

    fn caller(number: u32) -> Counted {
        let address = IpAddr::from(Ipv4Addr::from_bits(number));
        Counted::Source(Source::of(Some(address)))
    }

    /// How many of so many requests at one time may go.
    fn taken(quota: &Quota, caller: &Counted, times: usize, now: Instant) -> usize {
        let all = (0..times).filter(|_| quota.take(caller, now).is_ok());
        all.count()
    }

    #[test]
    fn a_burst_may_go_at_once_and_then_what_the_rate_permits() {
        let quota = quota(10, SECOND, 5);
        let now = quota.began + SECOND;
        assert_eq!(taken(&quota, &caller(1), 20, now), 5);
        let wait = quota
            .take(&caller(1), now)
            .expect_err("the burst is used up");
        assert_eq!(wait, SECOND / 10);
        let early = now + wait - Duration::from_nanos(1);
        assert!(quota.take(&caller(1), early).is_err());
        assert_eq!(taken(&quota, &caller(1), 20, now + wait), 1);
        assert_eq!(taken(&quota, &caller(1), 20, now + wait + SECOND / 5), 2);
        // However long it rests, there is no more than the burst.
        assert_eq!(taken(&quota, &caller(1), 20, now + 100 * SECOND), 5);
    }

    #[test]
    fn refused_requests_use_up_nothing() {
        let quota = quota(1, SECOND, 1);
        let now = quota.began;
        assert_eq!(taken(&quota, &caller(1), 1000, now), 1);
        assert_eq!(taken(&quota, &caller(1), 1000, now + SECOND), 1);
    }

    #[test]
    fn each_caller_has_its_own() {
        let quota = quota(1, 3600 * SECOND, 1);
        for number in 0..1000 {
            assert_eq!(
                taken(&quota, &caller(number), 5, quota.began),
                1,
                "{number}"
            );
        }
    }

    #[test]
    fn callers_without_number_give_nobody_more_than_the_rate() {
        let quota = quota(1, 3600 * SECOND, 3);
        let (heavy, now) = (caller(0), quota.began + SECOND);
        assert_eq!(taken(&quota, &heavy, 10, now), 3);
        let places = SETS * PLACES;
        let mut others = 0;
        for number in 1..=200_000 {
            others += taken(&quota, &caller(number), 1, now);
            if number % 1000 == 0 {
                assert_eq!(taken(&quota, &heavy, 1, now), 0, "after {number}");
            }
        }
        // As many places as there are, each with its burst, and not one more.
        assert!(others <= 3 * places, "{others}");
        assert!(others > places, "{others}: nobody was let in");
    }

    #[test]
    fn threads_count_together() {
        let quota = quota(1, 3600 * SECOND, 100);
        let now = quota.began;
        let taken: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| taken(&quota, &caller(7), 100, now)))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}
