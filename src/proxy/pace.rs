//! How long, and for how much, a body is waited for.
//!
//! # Rules
//!
//! * Only the time counts in which a piece was asked for and had not come. What
//!   the other side takes to ask for the next one is not the sender's.
//! * A piece may take `body_timeout`. All together may take as much, and what
//!   the sender has earned beside that with what it has sent, at the lowest rate.
//! * A sender that has hardly used its time and stops has stalled, and is not slow.
//! * A clock is looked at, and a timer made, only where there is something to
//!   wait for.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::fault::{Fault, Kind, Phase, Side};
use crate::config::{Limits, RouteLimits};

/// What bounds the bodies of one listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Between two pieces.
    pub(super) timeout: Duration,
    /// The lowest rate, in bytes a second of waiting.
    pub(super) rate: NonZeroU64,
    /// The most bytes of a request.
    pub(super) most: u64,
    /// How long both sides of a changed protocol may be silent.
    pub(super) tunnel_idle: Duration,
}

/// With what a client has gone beyond a limit of its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Excess {
    /// No piece came in time.
    Stalled,
    /// There is more than there may be.
    TooLarge,
    /// Pieces came, but too slowly.
    TooSlow,
}

/// What came of a request's body, told to its exchange.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Cell<u64>,
    excess: Cell<Option<Excess>>,
}

/// Bounds the time between two pieces, and of all. The timer exists only once
/// there was something to wait for.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    pace: Option<Pace>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when a piece is waited for, and what it means if none comes.
    waiting: Option<(Instant, Excess)>,
}

/// The lowest rate over all pieces.
#[derive(Debug)]
struct Pace {
    /// In bytes a second.
    rate: NonZeroU64,
    /// How long pieces were waited for so far.
    waited: Duration,
}

impl BodyLimits {
    /// What is right where there is no listener any more.
    pub(super) const NOTHING: Self = Self {
        timeout: Duration::ZERO,
        rate: NonZeroU64::MAX,
        most: 0,
        tunnel_idle: Duration::ZERO,
    };

    /// `own`: what the route says in place of its listener.
    pub(super) fn of(limits: &Limits, own: Option<&RouteLimits>) -> Self {
        let timeout = own.and_then(|own| own.body_timeout);
        let most = own.and_then(|own| own.max_body_bytes);
        Self {
            timeout: timeout.unwrap_or(limits.body_timeout),
            rate: limits.traffic.body_rate,
            most: most.unwrap_or(limits.traffic.body_bytes).get(),
            tunnel_idle: limits.traffic.tunnel_idle_timeout,
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stalled => "no piece of the request body within body_timeout",
            Self::TooLarge => "the request body is larger than max_body_bytes",
            Self::TooSlow => {
                "the request body came more slowly than limits.min_body_rate, while the client was waited for"
            }
        })
    }
}

impl From<Excess> for Fault {
    fn from(excess: Excess) -> Self {
        let kind = match excess {
            Excess::Stalled => Kind::BodyTimeout,
            Excess::TooLarge => Kind::BodyTooLarge,
            Excess::TooSlow => Kind::BodyTooSlow,
        };
        let cause = excess.to_string();
        Self::new(Side::Downstream, Phase::RequestBody, kind, cause)
    }
}

impl Received {
    /// So many more bytes came.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// How many bytes came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// It has gone beyond a limit.
    pub(super) fn exceed(&self, excess: Excess) {
        self.excess.set(Some(excess));
    }

    /// With what it has gone beyond a limit, if it has.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }
}

impl Patience {
    /// The next piece may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            pace: None,
            timer: None,
            waiting: None,
        }
    }

    /// The next piece may take `limit`, and all of them as long as `rate` allows.
    pub(super) fn with_rate(limit: Duration, rate: NonZeroU64) -> Self {
        let waited = Duration::ZERO;
        Self {
            pace: Some(Pace { rate, waited }),
            ..Self::new(limit)
        }
    }

    /// How long a piece may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A piece came.
    pub(super) fn content(&mut self) {
        if let Some((since, _)) = self.waiting.take()
            && let Some(pace) = &mut self.pace
        {
            pace.waited = pace.waited.saturating_add(since.elapsed());
        }
    }

    /// None has come, and `received` bytes before: what that means, once the
    /// time is up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, received: u64) -> Option<Excess> {
        let excess = match self.waiting {
            Some((_, excess)) => excess,
            None => self.wait(received),
        };
        let timer = self.timer.as_mut()?;
        let is_over = timer.as_mut().poll(cx) == Poll::Ready(());
        is_over.then_some(excess)
    }

    fn wait(&mut self, received: u64) -> Excess {
        let left = match &self.pace {
            Some(pace) => pace.left(self.limit, received),
            None => self.limit,
        };
        let (time, excess) = if left < self.limit / 2 {
            (left, Excess::TooSlow)
        } else {
            (self.limit, Excess::Stalled)
        };
        let now = Instant::now();
        let end = now + time;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(end),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(end))),
        }
        self.waiting = Some((now, excess));
        excess
    }
}

impl Pace {
    /// For how long it may still be waited, after so many bytes.
    fn left(&self, grace: Duration, received: u64) -> Duration {
        let earned = Duration::from_millis(received.saturating_mul(1000) / self.rate);
        grace.saturating_add(earned).saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience::with_rate(30 * SECOND, NonZeroU64::new(100).unwrap())
    }

    /// Waits for a piece that does not come within `time`.
    async fn waits(patience: &mut Patience, received: u64, time: Duration) -> Option<Excess> {
        let over = poll_fn(|cx| match patience.poll(cx, received) {
            Some(excess) => Poll::Ready(excess),
            None => Poll::Pending,
        });
        timeout(time, over).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_drips_ends_when_its_time_is_used_up() {
        let mut patience = patience();
        assert_eq!(waits(&mut patience, 0, 29 * SECOND).await, None);
        patience.content();
        let drip = waits(&mut patience, 1, 2 * SECOND).await;
        assert_eq!(drip, Some(Excess::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_does_not_come_at_all_has_stalled() {
        let mut patience = patience();
        let none = waits(&mut patience, 0, 31 * SECOND).await;
        assert_eq!(none, Some(Excess::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_keeps_to_the_rate_may_take_as_long_as_it_likes() {
        let mut patience = patience();
        for piece in 0..100 {
            let come = waits(&mut patience, piece * 2000, 20 * SECOND - SECOND / 10).await;
            assert_eq!(come, None, "{piece}");
            patience.content();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asks_for_a_piece_is_not_the_clients() {
        let mut patience = patience();
        for _ in 0..100 {
            assert_eq!(waits(&mut patience, 1, SECOND / 10).await, None);
            patience.content();
            advance(60 * SECOND).await;
        }
    }
}
