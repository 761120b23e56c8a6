//! The one timer of a connection, and the ends it can bring about.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::activity::{Activity, Overdue};
use super::worker::Worker;
use crate::config::Limits;
use crate::proxy::Caller;

/// How long a connection whose peer's certificate has expired may finish what
/// is under way.
const EXPIRY_GRACE: Duration = Duration::from_secs(30);
/// How long a connection that is asked to end may take to say goodbye when
/// nothing is under way on it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How HTTP on a connection ended.
pub(super) enum Ended {
    /// As HTTP says it should.
    Well,
    /// The library found a fault.
    Faulty(hyper::Error),
    /// It had waited for too long.
    Overdue(Overdue),
}

/// The one timer of a connection, and what it watches for.
pub(super) struct Watch<'a> {
    activity: &'a Activity,
    limits: Limits,
    http2: bool,
    /// When the peer's certificate expires.
    expires: Option<Instant>,
    /// Whether it has.
    expired: bool,
    /// When it is cut, whatever is under way.
    cut: Option<Instant>,
    caller: &'a Caller,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        activity: &'a Activity,
        limits: Limits,
        http2: bool,
        expires: Option<Instant>,
        caller: &'a Caller,
    ) -> Self {
        Self {
            activity,
            limits,
            http2,
            expires,
            expired: false,
            cut: None,
            caller,
        }
    }

    /// Drives `connection` to its end, or to the end of its time. `goodbye`
    /// asks it to finish what is under way and to take nothing more.
    pub(super) async fn run<C>(
        mut self,
        mut connection: Pin<Box<C>>,
        worker: &Worker,
        goodbye: impl Fn(Pin<&mut C>),
    ) -> Ended
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let mut stopping = pin!(worker.life().wait_for_end());
        let mut timer = pin!(tokio::time::sleep_until(self.next_look()));
        let mut leaving = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(ended.map_or_else(Ended::Faulty, |()| Ended::Well));
                }
                if !leaving && stopping.as_mut().poll(cx).is_ready() {
                    leaving = true;
                    goodbye(connection.as_mut());
                    self.expect_farewell(&mut timer, None);
                    continue;
                }
                std::task::ready!(timer.as_mut().poll(cx));
                match self.look(&mut timer) {
                    Look::Wait => {}
                    Look::End(ended) => return Poll::Ready(ended),
                    Look::Leave if leaving => {}
                    Look::Leave => {
                        leaving = true;
                        goodbye(connection.as_mut());
                    }
                }
            }
        })
        .await
    }

    /// When there is something to look at.
    fn next_look(&self) -> Instant {
        let (deadline, _) = self.activity.deadline(&self.limits, self.http2);
        // What it does may change to something with a nearer deadline; nobody
        // resets the timer for that, so it looks often enough.
        let often = self
            .limits
            .header_timeout
            .min(self.limits.idle_timeout)
            .min(self.limits.body_timeout);
        let deadline = deadline.min(Instant::now() + often);
        [Some(deadline), self.expires, self.cut]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(deadline)
    }

    /// Sets the time at which a connection that was asked to end is cut. With
    /// nothing under way a moment must do.
    fn expect_farewell(&mut self, timer: &mut Pin<&mut Sleep>, grace: Option<Duration>) {
        let now = Instant::now();
        if self.activity.is_idle() {
            self.cut = Some(now + FAREWELL);
        } else if let Some(grace) = grace {
            self.cut = Some(now + grace);
        }
        timer.as_mut().reset(self.next_look());
    }

    /// The timer has fired: what it means now.
    fn look(&mut self, timer: &mut Pin<&mut Sleep>) -> Look {
        let now = Instant::now();
        if self.cut.is_some_and(|cut| cut <= now) {
            if self.expired {
                self.caller.cut_as_expired();
            }
            return Look::End(Ended::Well);
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            self.expires = None;
            self.expired = true;
            self.expect_farewell(timer, Some(EXPIRY_GRACE));
            return Look::Leave;
        }
        if self.http2 && self.activity.turn(self.limits.body_timeout) {
            return Look::End(Ended::Overdue(Overdue::Blocked));
        }
        let (deadline, overdue) = self.activity.deadline(&self.limits, self.http2);
        if deadline <= now {
            if overdue == Overdue::Idle && self.cut.is_none() {
                // An HTTP/2 client is told, and then has a moment to go.
                self.cut = Some(now + FAREWELL);
                timer.as_mut().reset(now + FAREWELL);
                return Look::Leave;
            }
            if overdue != Overdue::Idle {
                return Look::End(Ended::Overdue(overdue));
            }
            timer.as_mut().reset(self.cut.unwrap_or(now + FAREWELL));
            return Look::Wait;
        }
        timer.as_mut().reset(self.next_look());
        Look::Wait
    }
}

/// What follows from a look at a connection.
enum Look {
    /// It may go on.
    Wait,
    /// It is asked to end.
    Leave,
    /// It ends here.
    End(Ended),
}
