//! The worker threads, as the thread that leads them sees them.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::deal::{Dealer, Lane};
use super::sockets::{NewSocket, SocketId};
use super::worker::{Accept, Life, LifeControl, Order, Worker, WorkerParts};
use crate::config::ListenerId;
use crate::process::Watchdog;
use crate::proxy::Site;
use crate::telemetry::{AccessLog, events};

/// A generation as it is given to every worker, and which listener of it each
/// socket serves.
#[derive(Debug)]
pub struct Published {
    site: Arc<Site>,
    serving: Vec<(SocketId, ListenerId)>,
}

impl Published {
    /// `serving`: the sockets that are open in this generation. Connections
    /// that came over any other one are asked to end.
    pub fn new(site: Arc<Site>, serving: Vec<(SocketId, ListenerId)>) -> Arc<Self> {
        Arc::new(Self { site, serving })
    }

    /// The generation.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Which listener the connections of a socket belong to; `None`: none any more.
    pub fn listener_of(&self, socket: SocketId) -> Option<ListenerId> {
        let mut serving = self.serving.iter();
        serving
            .find(|(id, _)| *id == socket)
            .map(|(_, listener)| *listener)
    }
}

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    /// How many are not ready yet.
    starting: usize,
    /// How many still run.
    running: usize,
    /// How many connections were cut by those that have ended.
    cut: usize,
    /// Why the first of those that failed did.
    failed: Option<io::Error>,
    news: mpsc::UnboundedReceiver<News>,
}

/// The way to give every worker the next generation. Workers accept for as
/// long as there is one.
#[derive(Debug)]
pub struct Publisher {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    lanes: Vec<Lane>,
    turn: usize,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Everything that was under way was finished.
    Drained,
    /// So many connections were cut, at the deadline or on demand.
    Cut(usize),
}

/// What a worker thread tells.
#[derive(Debug)]
enum News {
    /// It accepts for its listeners.
    Ready,
    /// It has ended: how many connections it has cut, or why it failed.
    Ended(io::Result<usize>),
}

impl Publisher {
    /// Puts a generation in force: every worker takes it, accepts on what is
    /// `new`, stops accepting on what is not served any more, and judges its
    /// open connections. Returns when all have.
    ///
    /// # Errors
    ///
    /// A worker cannot accept on a socket that is new. The rest is in force.
    pub async fn publish(
        &mut self,
        published: &Arc<Published>,
        new: Vec<NewSocket>,
    ) -> io::Result<()> {
        let mut accepts: Vec<Vec<Accept>> = self.orders.iter().map(|_| Vec::new()).collect();
        for socket in new {
            let turn = self.turn;
            self.turn = turn.wrapping_add(1);
            let worker = turn.checked_rem(accepts.len()).unwrap_or(0);
            if let Some(accepts) = accepts.get_mut(worker) {
                accepts.push((socket, Dealer::new(self.lanes.clone(), turn)));
            }
        }
        let mut taken = Vec::new();
        for (worker, accepts) in self.orders.iter().zip(accepts) {
            let (done, answer) = oneshot::channel();
            let order = Order {
                published: Arc::clone(published),
                accepts,
                done,
            };
            // A worker that has ended has nothing to be governed.
            if worker.send(order).is_ok() {
                taken.push(answer);
            }
        }
        let mut outcome = Ok(());
        for answer in taken {
            // One that has ended meanwhile has nothing to say.
            outcome = outcome.and(answer.await.unwrap_or(Ok(())));
        }
        outcome
    }
}

impl Workers {
    /// Starts `count` threads, which wait for their first generation.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start(
        count: usize,
        published: &Arc<Published>,
        access: &AccessLog,
        life: &Life,
        watchdog: &Watchdog,
    ) -> io::Result<(Self, Publisher)> {
        let (teller, news) = mpsc::unbounded_channel();
        let mut publisher = Publisher {
            orders: Vec::new(),
            lanes: Vec::new(),
            turn: 0,
        };
        for index in 0..count {
            let (lane, inbox) = mpsc::unbounded_channel();
            let (order, orders) = mpsc::unbounded_channel();
            publisher.lanes.push(Lane::new(lane));
            publisher.orders.push(order);
            let parts = WorkerParts {
                published: Arc::clone(published),
                access: access.for_worker(),
                inbox,
                orders,
                life: life.clone(),
                pulse: watchdog.feel(),
            };
            let teller = teller.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run_worker(parts, &teller))?;
        }
        let workers = Self {
            starting: count,
            running: count,
            cut: 0,
            failed: None,
            news,
        };
        Ok((workers, publisher))
    }

    /// Waits until every worker serves.
    ///
    /// # Errors
    ///
    /// One of them cannot.
    pub async fn all_ready(&mut self) -> io::Result<()> {
        while self.starting > 0 {
            self.hear().await;
            if let Some(cause) = self.failed.take() {
                return Err(cause);
            }
        }
        Ok(())
    }

    /// Waits until a worker has failed.
    pub async fn failure(&mut self) {
        while self.failed.is_none() {
            self.hear().await;
        }
    }

    /// Waits for the next news.
    async fn hear(&mut self) {
        let lost = || News::Ended(Err(io::Error::other("no worker is left")));
        match self.news.recv().await.unwrap_or_else(lost) {
            News::Ready => self.starting = self.starting.saturating_sub(1),
            News::Ended(outcome) => {
                self.running = self.running.saturating_sub(1);
                match outcome {
                    Ok(cut) => self.cut = self.cut.saturating_add(cut),
                    Err(cause) => {
                        tracing::error!(event = events::STOPPED, %cause, "a worker has failed");
                        self.failed.get_or_insert(cause);
                    }
                }
            }
        }
    }

    /// Lets what is under way finish, until `timeout` or another word on `stop`.
    pub async fn drain(
        &mut self,
        control: &LifeControl,
        stop: &mut mpsc::Receiver<()>,
        timeout: Duration,
    ) -> Ended {
        tracing::info!(
            event = events::STOPPING,
            drain_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            "no more connections are accepted; what is under way is finished"
        );
        control.drain();
        let deadline = Instant::now() + timeout;
        tokio::select! {
            () = self.all() => {}
            () = tokio::time::sleep_until(deadline) => control.end(),
            _ = stop.recv() => control.end(),
        }
        self.all().await;
        match self.cut {
            0 => Ended::Drained,
            cut => Ended::Cut(cut),
        }
    }

    /// Waits until every worker has ended.
    async fn all(&mut self) {
        while self.running > 0 {
            self.hear().await;
        }
    }

    /// Why the first of the workers that failed did.
    pub fn into_failure(self) -> Option<io::Error> {
        self.failed
    }
}

/// The life of a worker thread. Its end is told however it comes.
fn run_worker(parts: WorkerParts, teller: &mpsc::UnboundedSender<News>) {
    // The leading thread listens; if it does not, the process ends.
    let tell = |news| drop(teller.send(news));
    let ready = teller.clone();
    let ready = move || drop(ready.send(News::Ready));
    let run = AssertUnwindSafe(|| Worker::run(parts, ready));
    let outcome = std::panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
    tell(News::Ended(outcome));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of which nothing is known but what a test tells.
    fn workers(count: usize) -> (mpsc::UnboundedSender<News>, Workers) {
        let (teller, news) = mpsc::unbounded_channel();
        let workers = Workers {
            starting: count,
            running: count,
            cut: 0,
            failed: None,
            news,
        };
        (teller, workers)
    }

    fn broken() -> News {
        News::Ended(Err(io::Error::other("broken")))
    }

    #[tokio::test]
    async fn worker_that_fails_before_all_are_ready_refuses_the_start() {
        let (teller, mut workers) = workers(2);
        teller.send(News::Ready).unwrap();
        teller.send(broken()).unwrap();
        workers.all_ready().await.unwrap_err();
    }

    #[tokio::test]
    async fn worker_that_fails_while_it_serves_is_noticed_and_the_others_are_waited_for() {
        let (teller, mut workers) = workers(2);
        teller.send(News::Ready).unwrap();
        teller.send(News::Ready).unwrap();
        workers.all_ready().await.unwrap();
        teller.send(broken()).unwrap();
        workers.failure().await;
        teller.send(News::Ended(Ok(3))).unwrap();
        workers.all().await;
        assert_eq!((workers.running, workers.cut), (0, 3));
        assert!(workers.into_failure().is_some());
    }

    #[tokio::test]
    async fn workers_that_vanish_without_a_word_have_failed() {
        let (teller, mut workers) = workers(1);
        teller.send(News::Ready).unwrap();
        workers.all_ready().await.unwrap();
        drop(teller);
        workers.failure().await;
    }
}
