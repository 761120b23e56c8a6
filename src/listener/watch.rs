//! The one timer of a connection, and the ends it can bring about.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Activity, Overdue};
use super::open::{Due, Open};
use super::summons::Dismissal;
use super::worker::Worker;
use crate::config::Limits;

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
    /// It could have gone on, but may not.
    Dismissed(Dismissal),
}

/// The one timer of a connection, and what it watches for.
pub(super) struct Watch<'a> {
    activity: &'a Activity,
    open: &'a Open,
    worker: &'a Worker,
    limits: Limits,
    /// When it was asked to end.
    left: Option<Instant>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        activity: &'a Activity,
        open: &'a Open,
        worker: &'a Worker,
        limits: Limits,
    ) -> Self {
        Self {
            activity,
            open,
            worker,
            limits,
            left: None,
        }
    }

    /// Drives `connection` to its end, or to the end of its time. `goodbye`
    /// asks it to finish what is under way and to take nothing more.
    pub(super) async fn run<C>(
        mut self,
        mut connection: Pin<Box<C>>,
        goodbye: impl Fn(Pin<&mut C>),
    ) -> Ended
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let mut timer = pin!(tokio::time::sleep_until(self.next_look()));
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(self.end(ended));
                }
                if self.open.poll_change(cx).is_ready() {
                    self.limits = self.open.caller().limits().unwrap_or(self.limits);
                } else {
                    std::task::ready!(timer.as_mut().poll(cx));
                }
                match self.look() {
                    Look::Wait => {}
                    Look::Leave if self.left.is_some() => {}
                    Look::Leave => {
                        self.left = Some(Instant::now());
                        goodbye(connection.as_mut());
                    }
                    Look::End(ended) => return Poll::Ready(ended),
                }
                timer.as_mut().reset(self.next_look());
            }
        })
        .await
    }

    /// When there is something to look at.
    fn next_look(&self) -> Instant {
        let (deadline, _) = self.deadline();
        // What it does may change to something with a nearer deadline; nobody
        // resets the timer for that, so it looks often enough.
        let mut often = self
            .limits
            .header_timeout
            .min(self.limits.idle_timeout)
            .min(self.limits.body_timeout);
        if self.left.is_some() {
            often = often.min(FAREWELL);
        }
        let deadline = deadline.min(Instant::now() + often);
        deadline.min(self.open.next_due(self.left.is_some()))
    }

    /// Until when it may go on as it is. Once it was asked to end and nothing
    /// is under way, a moment must do.
    fn deadline(&self) -> (Instant, Overdue) {
        match (self.left, self.activity.idle_since()) {
            (Some(left), Some(idle)) => (left.max(idle) + FAREWELL, Overdue::Idle),
            _ => self.activity.deadline(&self.limits),
        }
    }

    /// Something has changed, or the timer has fired: what it means now.
    fn look(&self) -> Look {
        let now = Instant::now();
        match self.open.due(self.worker, now) {
            Due::Cut => return Look::End(self.end(Ok(()))),
            Due::Leave if self.left.is_none() => return Look::Leave,
            Due::Leave | Due::Nothing => {}
        }
        match self.deadline() {
            (deadline, _) if deadline > now => Look::Wait,
            // An HTTP/2 client is told, and then has a moment to go.
            (_, Overdue::Idle) if self.left.is_none() => Look::Leave,
            (_, Overdue::Idle) => Look::End(self.end(Ok(()))),
            (_, overdue) => Look::End(Ended::Overdue(overdue)),
        }
    }

    /// What its end means.
    fn end(&self, ended: Result<(), hyper::Error>) -> Ended {
        match (self.open.dismissal(), ended) {
            // Clients that are told to go may go without a word.
            (Some(dismissal), _) => Ended::Dismissed(dismissal),
            (None, Ok(())) => Ended::Well,
            (None, Err(fault)) => Ended::Faulty(fault),
        }
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
