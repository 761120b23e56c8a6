//! One worker: a thread, its runtime, and the connections dealt to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::accept::accept;
use super::awake::Awake;
use super::connection;
use super::deal::{Arrival, Dealer};
use super::open::OpenConnections;
use super::sockets::{NewSocket, SocketId};
use super::workers::Published;
use crate::config::ListenerId;
use crate::process::Pulse;
use crate::proxy::{Proxy, Site};
use crate::telemetry::{AccessLog, events};

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

    /// Whether what is under way is to be finished.
    pub(super) fn is_ending(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
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
pub(super) struct WorkerParts {
    /// The generation it begins with.
    pub(super) published: Arc<Published>,
    /// Its own lane of the access log.
    pub(super) access: AccessLog,
    /// The connections dealt to it.
    pub(super) inbox: UnboundedReceiver<Arrival>,
    /// The generations that follow, and the sockets that it accepts on.
    pub(super) orders: UnboundedReceiver<Order>,
    /// The life of the process.
    pub(super) life: Life,
    /// Shows that it gets on, where somebody wants to know.
    pub(super) pulse: Option<Pulse>,
}

/// A socket that a worker accepts on, and whom it deals connections to.
pub(super) type Accept = (NewSocket, Dealer);

/// The next generation for one worker.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) published: Arc<Published>,
    /// What it accepts on from now on, beside what it did already.
    pub(super) accepts: Vec<Accept>,
    /// Told once it governs every connection of this worker.
    pub(super) done: oneshot::Sender<io::Result<()>>,
}

/// One worker, as its connections see it.
#[derive(Debug)]
pub(super) struct Worker {
    current: RefCell<Rc<Current>>,
    open: OpenConnections,
    awake: Awake,
    access: AccessLog,
    life: Life,
}

/// What one worker makes of the generation in force.
#[derive(Debug)]
pub(super) struct Current {
    published: Arc<Published>,
    proxy: Rc<Proxy>,
}

impl Current {
    pub(super) fn proxy(&self) -> &Rc<Proxy> {
        &self.proxy
    }

    pub(super) fn site(&self) -> &Arc<Site> {
        self.proxy.site()
    }

    /// Which listener the connections of a socket belong to; `None`: none any more.
    pub(super) fn listener_of(&self, socket: SocketId) -> Option<ListenerId> {
        self.published.listener_of(socket)
    }
}

impl Worker {
    /// Serves until the life of the process is over, on the calling thread.
    /// Returns how many connections were cut. `ready` is called when it takes
    /// connections.
    ///
    /// # Errors
    ///
    /// The system gives no runtime, or an accept loop broke an invariant.
    pub(super) fn run(parts: WorkerParts, ready: impl FnOnce() + 'static) -> io::Result<usize> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        run_on(runtime, serve(parts, ready))
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Rc<Current> {
        Rc::clone(&self.current.borrow())
    }

    /// The connections that are open.
    pub(super) fn open(&self) -> &OpenConnections {
        &self.open
    }

    /// Those of them that are awake.
    pub(super) fn awake(&self) -> &Awake {
        &self.awake
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// The next generation governs what begins from now on. What is open
    /// already is another matter: see [`OpenConnections::review`].
    fn take(&self, published: Arc<Published>) {
        let former = self.current();
        let proxy = Proxy::new(
            Arc::clone(published.site()),
            &self.access,
            Some(former.proxy()),
        );
        *self.current.borrow_mut() = Rc::new(Current { published, proxy });
    }
}

/// Runs `work` to its end. What it has left behind on other threads, such as a
/// search for an address that nobody answers, is not waited for.
///
/// # Panics
///
/// `work` does.
fn run_on<T: 'static>(runtime: LocalRuntime, work: impl Future<Output = T> + 'static) -> T {
    // A task as any other: the runtime wakes what it runs itself by a write to a
    // descriptor, and this is woken for each connection.
    let outcome = runtime.block_on(async { tokio::task::spawn_local(work).await });
    runtime.shutdown_background();
    outcome.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

async fn serve(parts: WorkerParts, ready: impl FnOnce()) -> io::Result<usize> {
    let WorkerParts {
        published,
        access,
        mut inbox,
        orders,
        life,
        pulse,
    } = parts;
    if let Some(pulse) = pulse {
        tokio::task::spawn_local(pulse.beat());
    }
    let proxy = Proxy::new(Arc::clone(published.site()), &access, None);
    let worker = Rc::new(Worker {
        current: RefCell::new(Rc::new(Current { published, proxy })),
        open: OpenConnections::default(),
        awake: Awake::default(),
        access,
        life,
    });
    let mut accepting = pin!(follow(Rc::clone(&worker), orders));
    let mut followed = false;
    ready();
    let mut connections = JoinSet::new();
    let mut over = pin!(worker.life().wait_for_over());
    let mut watching = pin!(worker.awake().watch());
    loop {
        tokio::select! {
            biased;
            () = &mut over => return Ok(cut(&worker, &connections)),
            never = &mut watching => match never {},
            ended = &mut accepting, if !followed => {
                ended?;
                followed = true;
                worker.open().dismiss_all();
            }
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
            never = &mut watching => match never {},
            ended = connections.join_next() => match ended {
                Some(ended) => note_panic(ended),
                None => return Ok(0),
            },
        }
    }
}

/// Takes one generation after the other, and accepts as they say, until the
/// drain begins. Then the sockets are closed, and the kernel refuses what comes.
async fn follow(worker: Rc<Worker>, mut orders: UnboundedReceiver<Order>) -> io::Result<()> {
    let mut loops = JoinSet::new();
    let mut accepting = HashMap::new();
    let mut draining = pin!(worker.life().wait_for_end());
    loop {
        tokio::select! {
            biased;
            () = &mut draining => return Ok(()),
            Some(order) = orders.recv() => {
                let Order { published, accepts, done } = order;
                accepting.retain(|socket, handle: &mut AbortHandle| {
                    let stays = published.listener_of(*socket).is_some();
                    if !stays {
                        handle.abort();
                    }
                    stays
                });
                worker.take(published);
                let mut outcome = Ok(());
                for (socket, dealer) in accepts {
                    let id = socket.id;
                    match accept(&worker, socket, dealer) {
                        Ok(accept) => drop(accepting.insert(id, loops.spawn_local(accept))),
                        Err(cause) => outcome = Err(cause),
                    }
                }
                worker.open().review(&worker).await;
                // Nobody waits for it when the drain has begun meanwhile.
                done.send(outcome).ok();
            }
            Some(ended) = loops.join_next() => match ended {
                Err(cause) if !cause.is_cancelled() => return Err(cause.into()),
                _ => {}
            },
        }
    }
}

/// Ends what is left, and counts it.
fn cut(worker: &Worker, connections: &JoinSet<()>) -> usize {
    worker.current().proxy().cut();
    connections.len()
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
                let (begun, has_begun) = oneshot::channel();
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
