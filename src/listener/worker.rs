//! One worker: a thread, its runtime, and the connections dealt to it.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accept::{Listening, Slots, accept};
use super::bind::Socket;
use super::connection;
use super::deal::{Arrival, Dealer};
use crate::config::ListenerId;
use crate::proxy::{Proxy, Site};
use crate::telemetry::{AccessLog, Metrics, events};

/// How far the process has come in its life, as every worker sees it.
#[derive(Clone, Debug)]
pub struct Life(watch::Receiver<Stage>);

/// The stages of a process's life, in order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    /// Connections are accepted and served.
    Serving,
    /// What is under way is finished.
    Draining,
    /// Nothing is any more.
    Over,
}

/// Leads a process through its life.
#[derive(Debug)]
pub struct LifeControl(watch::Sender<Stage>);

impl Life {
    /// A life that has just begun, and the way to end it.
    pub fn begin() -> (LifeControl, Self) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (LifeControl(sender), Self(receiver))
    }

    /// Waits until what is under way is to be finished.
    pub(super) fn wait_for_end(&self) -> impl Future<Output = ()> + use<> {
        wait(self.0.clone(), Stage::Draining)
    }

    fn wait_for_over(&self) -> impl Future<Output = ()> + use<> {
        wait(self.0.clone(), Stage::Over)
    }
}

async fn wait(mut life: watch::Receiver<Stage>, stage: Stage) {
    // When nobody leads any more, it is over.
    if life.wait_for(|now| *now >= stage).await.is_err() {
        tracing::trace!("the process ends");
    }
}

impl LifeControl {
    /// Connections are no longer accepted; what is under way is finished.
    pub fn drain(&self) {
        self.0.send_replace(Stage::Draining);
    }

    /// What is still under way is cut.
    pub fn end(&self) {
        self.0.send_replace(Stage::Over);
    }
}

/// What a worker thread is started with.
#[derive(Debug)]
pub struct WorkerParts {
    /// The generation it begins with.
    pub site: Arc<Site>,
    /// Its own lane of the access log.
    pub access: AccessLog,
    /// The counters of the process.
    pub metrics: Arc<Metrics>,
    /// The connections dealt to it.
    pub inbox: UnboundedReceiver<Arrival>,
    /// The listeners it accepts for.
    pub accepts: Vec<(ListenerId, Socket, Slots, Dealer)>,
    /// The life of the process.
    pub life: Life,
}

/// One worker, as its connections see it.
#[derive(Debug)]
pub struct Worker {
    proxy: Rc<Proxy>,
    metrics: Arc<Metrics>,
    life: Life,
}

impl Worker {
    /// Serves until the life of the process is over, on the calling thread.
    /// Returns how many connections were cut. `ready` is called when it accepts
    /// for its listeners.
    ///
    /// # Errors
    ///
    /// The system gives no runtime or refuses a socket, or an accept loop broke
    /// an invariant.
    pub fn run(parts: WorkerParts, ready: impl FnOnce()) -> io::Result<usize> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        run_on(runtime, serve(parts, ready))
    }

    pub(super) fn proxy(&self) -> &Rc<Proxy> {
        &self.proxy
    }

    pub(super) fn site(&self) -> &Arc<Site> {
        self.proxy.site()
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }
}

/// Runs `work` to its end. What it has left behind on other threads, such as a
/// search for an address that nobody answers, is not waited for.
fn run_on<T>(runtime: LocalRuntime, work: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

async fn serve(parts: WorkerParts, ready: impl FnOnce()) -> io::Result<usize> {
    let WorkerParts {
        site,
        access,
        metrics,
        mut inbox,
        accepts,
        life,
    } = parts;
    let proxy = Proxy::new(Arc::clone(&site), access, Arc::clone(&metrics), None);
    let worker = Rc::new(Worker {
        proxy,
        metrics,
        life,
    });
    let mut accepting = JoinSet::new();
    for (listener, socket, slots, dealer) in accepts {
        let name = site
            .config()
            .listener(listener)
            .map_or_else(String::new, |l| l.name.clone());
        let socket = Listening::on_runtime(socket)?;
        accepting.spawn_local(accept_until_drain(
            worker.life().clone(),
            accept(socket, (listener, name), slots, dealer),
        ));
    }
    ready();
    let mut connections = JoinSet::new();
    let mut over = std::pin::pin!(worker.life().wait_for_over());
    loop {
        tokio::select! {
            biased;
            () = &mut over => return Ok(cut(&worker, &connections)),
            Some(ended) = accepting.join_next() => ended?,
            arrival = inbox.recv() => match arrival {
                Some(arrival) => {
                    connections.spawn_local(connection::serve(Rc::clone(&worker), arrival));
                }
                // Every accept loop has ended, here and elsewhere.
                None => break,
            },
            Some(ended) = connections.join_next() => note_panic(ended),
        }
    }
    loop {
        tokio::select! {
            biased;
            () = &mut over => return Ok(cut(&worker, &connections)),
            ended = connections.join_next() => match ended {
                Some(ended) => note_panic(ended),
                None => return Ok(0),
            },
        }
    }
}

/// Ends what is left, and counts it.
fn cut(worker: &Worker, connections: &JoinSet<()>) -> usize {
    worker.proxy().cut();
    connections.len()
}

/// Accepts until the drain begins. Then the socket is closed, and the kernel
/// refuses what comes.
async fn accept_until_drain(life: Life, accepting: impl Future<Output = ()>) {
    tokio::select! {
        () = life.wait_for_end() => {}
        () = accepting => {}
    }
}

/// A connection whose task broke an invariant: it is gone, the others go on.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(cause) = ended {
        tracing::error!(event = events::CONNECTION_FAULT, %cause, "a connection was given up; please report this");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_does_not_wait_for_a_search_that_nobody_answers() {
        let (answer, asked) = std::sync::mpsc::channel::<()>();
        let (ended, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread()
                .build_local(LocalOptions::default())
                .unwrap();
            let work = async {
                let (begun, has_begun) = tokio::sync::oneshot::channel();
                drop(tokio::task::spawn_blocking(move || {
                    begun.send(()).unwrap();
                    asked.recv()
                }));
                has_begun.await.unwrap();
                "cut"
            };
            ended.send(run_on(runtime, work)).unwrap();
        });
        let outcome = outcome.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(outcome, Ok("cut"));
        drop(answer);
    }
}
