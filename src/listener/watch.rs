//! The one timer of a connection, and the ends it can bring about.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Activity, Overdue};
use super::worker::Worker;
use crate::config::Limits;
use crate::proxy::Downstream;

/// How long a connection whose peer's certificate has expired may finish what
/// is under way.
const EXPIRY_GRACE: Duration = Duration::from_secs(30);
/// How long a connection that is asked to end may take to say goodbye when
/// nothing is under way on it.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the lines of requests say that were under way when the certificate of
/// their connection had expired and they were cut.
pub(super) const EXPIRED: &str =
    "the client's certificate, or another one of its chain, has expired";

/// How HTTP on a connection ended.
pub(super) enum Ended {
    /// As HTTP says it should.
    Well,
    /// The library found a fault.
    Faulty(hyper::Error),
    /// It had waited for too long.
    Overdue(Overdue),
    /// Its peer's certificate had expired.
    Expired,
}

/// The one timer of a connection, and what it watches for.
pub(super) struct Watch<'a> {
    activity: &'a Activity,
    limits: Limits,
    /// When the peer's certificate expires.
    expires: Option<Instant>,
    /// When it was asked to end.
    left: Option<Instant>,
    /// When it is cut, whatever is under way: the certificate has expired.
    cut: Option<Instant>,
    downstream: &'a Downstream,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        activity: &'a Activity,
        limits: Limits,
        expires: Option<Instant>,
        downstream: &'a Downstream,
    ) -> Self {
        Self {
            downstream,
            activity,
            limits,
            expires,
            left: None,
            cut: None,
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
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(match ended {
                        // Clients that are told to go may go without a word.
                        Err(fault) if self.cut.is_none() => Ended::Faulty(fault),
                        Ok(()) | Err(_) => self.well(),
                    });
                }
                let look = if self.left.is_none() && stopping.as_mut().poll(cx).is_ready() {
                    Look::Leave
                } else {
                    std::task::ready!(timer.as_mut().poll(cx));
                    self.look()
                };
                match look {
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
        [self.expires, self.cut]
            .into_iter()
            .flatten()
            .fold(deadline, Instant::min)
    }

    /// Until when it may go on as it is. Once it was asked to end and nothing
    /// is under way, a moment must do.
    fn deadline(&self) -> (Instant, Overdue) {
        match (self.left, self.activity.idle_since()) {
            (Some(left), Some(idle)) => (left.max(idle) + FAREWELL, Overdue::Idle),
            _ => self.activity.deadline(&self.limits),
        }
    }

    /// The timer has fired: what it means now.
    fn look(&mut self) -> Look {
        let now = Instant::now();
        if self.cut.is_some_and(|cut| cut <= now) {
            // Before its requests are dropped, which writes their lines.
            self.downstream.cut(EXPIRED);
            return Look::End(Ended::Expired);
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            self.expires = None;
            self.cut = Some(now + EXPIRY_GRACE);
            return Look::Leave;
        }
        match self.deadline() {
            (deadline, _) if deadline > now => Look::Wait,
            // An HTTP/2 client is told, and then has a moment to go.
            (_, Overdue::Idle) if self.left.is_none() => Look::Leave,
            (_, Overdue::Idle) => Look::End(self.well()),
            (_, overdue) => Look::End(Ended::Overdue(overdue)),
        }
    }

    /// The end of a connection that had nothing more to do.
    fn well(&self) -> Ended {
        match self.cut {
            Some(_) => Ended::Expired,
            None => Ended::Well,
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
