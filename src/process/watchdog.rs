//! Sees that every worker gets on, and tells the service manager only then.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::ServiceManager;

/// A worker says so often within the manager's time that it gets on …
const BEATS: u32 = 8;
/// … and so often it is looked at whether all have.
const LOOKS: u32 = 4;

/// What the service manager wants to hear within which time, and whose pulses
/// are felt for it.
///
/// A worker that is held up for longer than a quarter of the time is not
/// vouched for, and after the whole of it the manager starts the process anew.
#[derive(Debug, Default)]
pub struct Watchdog {
    within: Option<Duration>,
    pulses: RefCell<Vec<Felt>>,
}

/// The pulse of one worker, in its own hands. It ends with the worker.
#[derive(Debug)]
pub struct Pulse {
    beats: Arc<AtomicU64>,
    every: Duration,
}

/// The pulse of one worker, as the watchdog feels it.
#[derive(Debug)]
struct Felt {
    beats: Weak<AtomicU64>,
    last: u64,
}

impl Watchdog {
    /// What `WATCHDOG_USEC` asks of this process, if it does.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let own = |pid: String| pid == std::process::id().to_string();
        if !variable("WATCHDOG_PID").is_none_or(own) {
            return Self::default();
        }
        let within = variable("WATCHDOG_USEC").and_then(|time| time.parse().ok());
        Self::within(within.map(Duration::from_micros))
    }

    /// One that wants to hear within this time; `None`: nobody wants to.
    pub fn within(time: Option<Duration>) -> Self {
        Self {
            within: time.filter(|time| !time.is_zero()),
            pulses: RefCell::default(),
        }
    }

    /// The time that the manager has set.
    pub fn time(&self) -> Option<Duration> {
        self.within
    }

    /// One more worker that must get on; `None`: nobody asks.
    pub fn feel(&self) -> Option<Pulse> {
        let every = self.within? / BEATS;
        let beats = Arc::new(AtomicU64::new(0));
        self.pulses.borrow_mut().push(Felt {
            beats: Arc::downgrade(&beats),
            // It has not begun yet, which is no reason to give it up.
            last: u64::MAX,
        });
        Some(Pulse { beats, every })
    }

    /// Tells the manager that the workers get on, as often as it wants to hear
    /// it and for as long as they do.
    pub async fn watch(self, manager: ServiceManager) {
        let Some(within) = self.within else { return };
        loop {
            tokio::time::sleep(within / LOOKS).await;
            if self.all_get_on() {
                manager.alive();
            }
        }
    }

    /// Whether each worker that there still is has got on since this was asked last.
    fn all_get_on(&self) -> bool {
        let mut pulses = self.pulses.borrow_mut();
        pulses.retain(|pulse| pulse.beats.strong_count() > 0);
        let stuck = pulses.iter_mut().filter_map(|pulse| {
            let beats = pulse.beats.upgrade()?.load(Ordering::Relaxed);
            (std::mem::replace(&mut pulse.last, beats) == beats).then_some(())
        });
        stuck.count() == 0
    }
}

impl Pulse {
    /// Goes on as long as the runtime that it is polled on does.
    pub async fn beat(self) {
        loop {
            tokio::time::sleep(self.every).await;
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> Watchdog {
        Watchdog::within(Some(Duration::from_secs(8)))
    }

    #[test]
    fn one_worker_that_is_stuck_is_enough_for_silence() {
        let watchdog = watchdog();
        let (one, other) = (watchdog.feel().unwrap(), watchdog.feel().unwrap());
        assert!(watchdog.all_get_on(), "they have only begun");
        for pulse in [&one, &other] {
            pulse.beats.fetch_add(1, Ordering::Relaxed);
        }
        assert!(watchdog.all_get_on());
        one.beats.fetch_add(1, Ordering::Relaxed);
        assert!(!watchdog.all_get_on());
        for pulse in [&one, &other] {
            pulse.beats.fetch_add(1, Ordering::Relaxed);
        }
        assert!(watchdog.all_get_on(), "it got on again");
    }

    #[test]
    fn worker_that_has_ended_is_missed_by_nobody() {
        let watchdog = watchdog();
        let (one, other) = (watchdog.feel().unwrap(), watchdog.feel().unwrap());
        assert!(watchdog.all_get_on());
        drop(other);
        one.beats.fetch_add(1, Ordering::Relaxed);
        assert!(watchdog.all_get_on());
    }

    #[test]
    fn nothing_is_felt_where_nobody_asks() {
        assert!(Watchdog::default().feel().is_none());
        assert!(Watchdog::within(Some(Duration::ZERO)).feel().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn pulse_beats_twice_between_two_looks() {
        let watchdog = watchdog();
        let pulse = watchdog.feel().unwrap();
        let beats = Arc::clone(&pulse.beats);
        let look = tokio::time::sleep(Duration::from_secs(8) / LOOKS);
        tokio::select! {
            biased;
            () = pulse.beat() => {}
            () = look => {}
        }
        assert_eq!(beats.load(Ordering::Relaxed), 2);
    }
}
