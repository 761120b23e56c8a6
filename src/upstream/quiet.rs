//! A waker for what a task drives by itself, which keeps quiet about what that task does.
//!
//! The library's connection and the request on it talk over channels, and each
//! message wakes whoever waits at the other end. Here one task polls both ends,
//! one after the other: it would wake itself two or three times a request, and
//! poll all that it has in vain; and where a connection rested before, it would
//! wake the task that used it last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How often what has woken itself is polled again at once. A request and its
/// answer take two rounds; whatever wakes itself on and on is one task among others.
const MOST_ROUNDS: usize = 4;

/// Wakes the driving task, but not while that one is at work.
pub(super) struct QuietWaker {
    state: Arc<State>,
    /// Made of `state`, once.
    waker: Waker,
}

#[derive(Default)]
struct State {
    at_work: AtomicBool,
    /// Whether somebody was to be woken meanwhile.
    woken: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl QuietWaker {
    pub(super) fn new() -> Self {
        let state: Arc<State> = Arc::default();
        Self {
            waker: Waker::from(Arc::clone(&state)),
            state,
        }
    }

    /// From here until the next [`Self::poll`] has ended, nobody is woken.
    pub(super) fn hush(&self) {
        self.state.at_work.store(true, Ordering::SeqCst);
    }

    /// Polls by `poll` until nothing wakes anything any more, or it is ready; not
    /// for ever: others have their turn after a few rounds.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.state.is_driven_by(cx.waker());
        self.hush();
        let mut quiet = Context::from_waker(&self.waker);
        let mut polled = Poll::Pending;
        for _ in 0..MOST_ROUNDS {
            // A swap, and not a store: whatever was done before a wake is seen now.
            self.state.woken.swap(false, Ordering::SeqCst);
            polled = poll(&mut quiet);
            if polled.is_ready() || !self.state.woken.load(Ordering::SeqCst) {
                break;
            }
        }
        self.state.at_work.store(false, Ordering::SeqCst);
        // Whoever came after the last look saw it at work.
        if polled.is_pending() && self.state.woken.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl State {
    fn is_driven_by(&self, waker: &Waker) {
        let driver = self.driver();
        let is_known = driver.as_ref().is_some_and(|known| known.will_wake(waker));
        // Clones and drops of wakers are others' code, so not under the lock.
        drop(driver);
        if !is_known {
            let waker = waker.clone();
            let former = self.driver().replace(waker);
            drop(former);
        }
    }

    fn driver(&self) -> MutexGuard<'_, Option<Waker>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.at_work.load(Ordering::SeqCst) {
            return;
        }
        // In a statement of its own: nobody is woken under the lock.
        let driver = self.driver().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count: Arc<Count> = Arc::default();
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn what_is_woken_in_a_poll_is_polled_again_and_nobody_is_woken() {
        let (count, waker) = counted();
        let quiet = QuietWaker::new();
        let mut polls = 0;
        let polled = quiet.poll(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, count.0.load(Ordering::SeqCst)), (3, 0));
    }

    #[test]
    fn what_wakes_itself_on_and_on_lets_others_have_their_turn() {
        let (count, waker) = counted();
        let quiet = QuietWaker::new();
        let mut polls = 0;
        let polled = quiet.poll(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, count.0.load(Ordering::SeqCst)), (MOST_ROUNDS, 1));
    }

    #[test]
    fn what_is_woken_between_two_polls_wakes_who_polled_last() {
        let ((first, one), (second, other)) = (counted(), counted());
        let quiet = QuietWaker::new();
        let mut kept = None;
        for waker in [&one, &other] {
            let polled = quiet.poll(&mut Context::from_waker(waker), |cx| {
                kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
        }
        kept.unwrap().wake();
        let woken = [first, second].map(|count| count.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1]);
    }

    #[test]
    fn who_used_it_last_is_not_woken_by_the_next() {
        let (count, waker) = counted();
        let quiet = QuietWaker::new();
        let mut kept = None;
        let polled = quiet.poll(&mut Context::from_waker(&waker), |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        quiet.hush();
        kept.unwrap().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        let ready = quiet.poll(&mut Context::from_waker(Waker::noop()), |_| Poll::Ready(1));
        assert_eq!(ready, Poll::Ready(1));
    }

    #[test]
    fn nothing_is_lost_that_another_thread_wakes_at_any_time() {
        let (count, waker) = counted();
        let quiet = QuietWaker::new();
        let rung = Arc::new(AtomicUsize::new(0));
        let rings = 2_000;
        std::thread::scope(|scope| {
            let (inner, ringing) = (quiet.waker.clone(), Arc::clone(&rung));
            scope.spawn(move || {
                for _ in 0..rings {
                    ringing.fetch_add(1, Ordering::SeqCst);
                    inner.wake_by_ref();
                }
            });
            let mut seen = 0;
            while seen < rings {
                let woken = count.0.load(Ordering::SeqCst);
                let polled = quiet.poll(&mut Context::from_waker(&waker), |_| {
                    seen = rung.load(Ordering::SeqCst);
                    Poll::<()>::Pending
                });
                assert!(polled.is_pending());
                // As a task, it polls again only once it has been woken.
                while seen < rings && count.0.load(Ordering::SeqCst) == woken {
                    std::hint::spin_loop();
                }
            }
        });
    }
}
