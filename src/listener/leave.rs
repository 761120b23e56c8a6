//! From the word to stop to the moment at which the drain begins.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::telemetry::events;

/// How long an end may take.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// How long connections are still accepted; `None`: no longer.
    pub delay: Option<Duration>,
    /// From the word to stop to the end of the last request, the delay included.
    pub timeout: Duration,
}

/// Serves until `stop` or `wish` says otherwise, and through the delay after that:
/// those who send connections here learn only by and by that they are to send them
/// elsewhere, and each one that comes meanwhile would be refused. Of `wish` only the
/// first word counts: it never cuts anything short.
///
/// `leaving` is called once, at the end of the first part. Returns what is left
/// of the timeout for the drain: nothing where the delay was ended by a second
/// word. There is no delay where `serving` ends by itself.
pub async fn serve_until_drain(
    serving: impl Future<Output = ()>,
    (stop, wish): (&mut mpsc::Receiver<()>, &mut mpsc::Receiver<()>),
    leaving: impl FnOnce() -> Leave,
) -> Duration {
    let mut serving = pin!(serving);
    let told = tokio::select! {
        _ = stop.recv() => true,
        // Nobody is left who could wish it: that is no word.
        Some(()) = wish.recv() => true,
        () = &mut serving => false,
    };
    let Leave { delay, timeout } = leaving();
    let Some(delay) = delay.filter(|_| told) else {
        return timeout;
    };
    let begun = Instant::now();
    tracing::info!(
        event = events::STOPPING,
        drain_delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        "not ready any more; connections are accepted until the drain begins"
    );
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = serving => {}
        _ = stop.recv() => return Duration::ZERO,
    }
    timeout.saturating_sub(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVE: Leave = Leave {
        delay: Some(Duration::from_secs(5)),
        timeout: Duration::from_secs(30),
    };

    async fn left_after(leave: Leave, words: usize, serving: impl Future<Output = ()>) -> Duration {
        let (sender, mut stop) = mpsc::channel(4);
        for _ in 0..words {
            sender.send(()).await.unwrap();
        }
        let (_wisher, mut wish) = mpsc::channel(1);
        serve_until_drain(serving, (&mut stop, &mut wish), || leave).await
    }

    #[tokio::test(start_paused = true)]
    async fn wish_begins_the_delay_and_a_second_one_does_not_end_it() {
        let (_sender, mut stop) = mpsc::channel(1);
        let (wisher, mut wish) = mpsc::channel(4);
        for _ in 0..2 {
            wisher.send(()).await.unwrap();
        }
        let begun = Instant::now();
        let stops = (&mut stop, &mut wish);
        let left = serve_until_drain(std::future::pending(), stops, || LEAVE).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(left.as_secs_f64().round(), 25.0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_could_wish_is_no_wish() {
        let (sender, mut stop) = mpsc::channel::<()>(1);
        let mut wish = mpsc::channel(1).1;
        let stops = (&mut stop, &mut wish);
        let serving = serve_until_drain(std::future::pending(), stops, || LEAVE);
        let still = tokio::time::timeout(Duration::from_secs(60), serving).await;
        assert!(still.is_err());
        drop(sender);
    }

    #[tokio::test(start_paused = true)]
    async fn delay_is_taken_from_the_time_of_the_drain() {
        let begun = Instant::now();
        let left = left_after(LEAVE, 1, std::future::pending()).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(left.as_secs_f64().round(), 25.0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_delay_the_drain_begins_at_once() {
        let begun = Instant::now();
        let leave = Leave {
            delay: None,
            ..LEAVE
        };
        let left = left_after(leave, 1, std::future::pending()).await;
        assert_eq!((begun.elapsed(), left), (Duration::ZERO, LEAVE.timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn second_word_leaves_nothing() {
        let begun = Instant::now();
        let left = left_after(LEAVE, 2, std::future::pending()).await;
        assert_eq!((begun.elapsed(), left), (Duration::ZERO, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn failure_waits_for_nobody() {
        let begun = Instant::now();
        let left = left_after(LEAVE, 0, std::future::ready(())).await;
        assert_eq!((begun.elapsed(), left), (Duration::ZERO, LEAVE.timeout));
    }
}
