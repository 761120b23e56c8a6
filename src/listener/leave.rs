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

/// Serves until `stop` says otherwise, and through the delay after that: those
/// who send connections here learn only by and by that they are to send them
/// elsewhere, and each one that comes meanwhile would be refused.
///
/// `leaving` is called once, at the end of the first part. Returns what is left
/// of the timeout for the drain: nothing where the delay was ended by a second
/// word. There is no delay where `serving` ends by itself.
pub async fn serve_until_drain(
    serving: impl Future<Output = ()>,
    stop: &mut mpsc::Receiver<()>,
    leaving: impl FnOnce() -> Leave,
) -> Duration {
    let mut serving = pin!(serving);
    let told = tokio::select! {
        _ = stop.recv() => true,
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
        serve_until_drain(serving, &mut stop, || leave).await
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
