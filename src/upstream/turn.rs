//! Waiting for one's turn at an endpoint that is given no more at one time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::UploadBody;
use super::attempt::Manner;
use super::endpoint::Endpoint;
use super::fault::{SendFault, SendFaultKind};
use super::gate::{Gate, Place};
use super::h1::H1;
use super::owner::Owner;
use super::send::Upstream;
use crate::telemetry::events;

/// How many connections in a row a worker hands to its own requests while others
/// wait elsewhere. To open a connection anew costs more than to hand it on; but
/// a worker that has none is to get one.
const OWN_FIRST: u32 = 8;
/// And for how long: where the service is slow, it is not the connection that
/// costs, and eight of its answers may be more than others can wait for.
const OWN_TIME: Duration = Duration::from_millis(100);

/// What lets a request go up.
pub(super) enum Turn<B: UploadBody> {
    /// A connection that another request has used.
    Connection(H1<B>),
    /// A place for a new one; `None`: they are not counted.
    Place(Option<Place>),
}

/// The requests of one worker that wait at one endpoint.
#[derive(Debug)]
pub(super) struct Line<B: UploadBody> {
    gate: Option<Arc<Gate>>,
    /// Those that can use a connection that another request has used.
    waiting: RefCell<VecDeque<(Owner, oneshot::Sender<H1<B>>)>>,
    /// How many connections in a row were handed to them …
    handed: Cell<u32>,
    /// … since one was last let go for others.
    since: Cell<Instant>,
}

impl<B: UploadBody> Line<B> {
    /// An empty line before `gate`.
    pub(super) fn new(gate: Option<Arc<Gate>>) -> Self {
        Self {
            gate,
            waiting: RefCell::default(),
            handed: Cell::new(0),
            since: Cell::new(Instant::now()),
        }
    }

    /// A place, if there is one at once. `Err`: one has to wait.
    pub(super) fn try_enter(&self) -> Result<Option<Place>, Full> {
        match &self.gate {
            None => Ok(None),
            Some(gate) => gate.try_enter().map(Some).ok_or(Full),
        }
    }

    /// How many wait at the endpoint, on all workers.
    pub(super) fn wanted(&self) -> usize {
        self.gate.as_ref().map_or(0, |gate| gate.waiting())
    }

    /// Waits for one's turn: for a connection that another request of this
    /// worker has used, or for a place. To be given up by dropping it.
    async fn turn(&self, manner: &Manner) -> Turn<B> {
        let Some(gate) = &self.gate else {
            return Turn::Place(None);
        };
        let _counted = gate.wait();
        let (hand, mut handed) = oneshot::channel();
        let _no_used_one = if manner.pooled {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|(_, hand)| !hand.is_closed());
            waiting.push_back((manner.owner.clone(), hand));
            None
        } else {
            Some(hand)
        };
        tokio::select! {
            biased;
            Ok(connection) = &mut handed => Turn::Connection(connection),
            place = gate.enter() => match handed.try_recv() {
                Ok(connection) => Turn::Connection(connection),
                Err(_) => Turn::Place(Some(place)),
            },
        }
    }

    /// Hands a connection to whoever waits for it first. `None`: it is gone, and
    /// its place with it, to whoever waits elsewhere. To be asked only where
    /// somebody is [wanted](Self::wanted).
    pub(super) fn hand_on(&self, mut connection: H1<B>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|(_, hand)| !hand.is_closed());
        let others = self.wanted() > waiting.len();
        if others && self.has_had_its_part() {
            self.handed.set(0);
            self.since.set(Instant::now());
            return;
        }
        while let Some(first) = waiting
            .iter()
            .position(|(owner, _)| owner == connection.owner())
        {
            let Some((_, hand)) = waiting.remove(first) else {
                return;
            };
            match hand.send(connection) {
                Ok(()) => return self.handed.set(self.handed.get().saturating_add(1)),
                Err(returned) => connection = returned,
            }
        }
        // Whoever waits needs another connection: it is closed here.
    }

    /// Whether its own requests have come first for long enough.
    fn has_had_its_part(&self) -> bool {
        self.handed.get() >= OWN_FIRST || self.since.get().elapsed() >= OWN_TIME
    }

    /// Waits for `time`. Whenever somebody comes to wait meanwhile, `let_go` is
    /// told how many do.
    pub(super) async fn watch(&self, time: Duration, let_go: impl Fn(usize)) {
        let mut over = pin!(tokio::time::sleep(time));
        let Some(gate) = &self.gate else {
            return over.await;
        };
        loop {
            let mut rung = pin!(gate.rung());
            // Before looking, so that none is missed in between.
            rung.as_mut().enable();
            let_go(gate.waiting());
            tokio::select! {
                biased;
                () = &mut over => return,
                () = rung => {}
            }
        }
    }
}

/// All places are taken.
#[derive(Debug)]
pub(super) struct Full;

impl<B: UploadBody> Upstream<B> {
    /// What lets a request go up at once. `Err`: one has to wait.
    pub(super) fn turn_at_once(&self, endpoint: &Endpoint<B>) -> Result<Turn<B>, Full> {
        let line = endpoint.line();
        line.try_enter()
            .or_else(|Full| {
                // What rests here may belong to others.
                endpoint.let_go(1);
                line.try_enter()
            })
            .map(Turn::Place)
    }

    /// Waits for what lets a request go up, for at most `queue_timeout`.
    pub(super) async fn turn(
        &self,
        endpoint: &Rc<Endpoint<B>>,
        manner: &Manner,
    ) -> Result<Turn<B>, SendFault> {
        let capacity = self.plan().capacity();
        let key = capacity.key;
        let Some(_seat) = self.plan().in_use().queue(capacity.max_queue) else {
            let most = capacity.max_queue;
            let cause = format!("{key} is reached, and {most} requests wait already (max_queue)");
            return Err(self.overloaded("max_queue", cause));
        };
        let _waiting = self.metrics().waiting_request();
        self.strike(
            key,
            &format!("all of {key} are in use at {}", endpoint.text),
            "see why the service is slow, or raise the limit if it can take more",
        );
        let time = capacity.queue_timeout;
        match tokio::time::timeout(time, endpoint.line().turn(manner)).await {
            Ok(turn) => Ok(turn),
            Err(_) => {
                let cause = format!(
                    "{key} is reached, and it was not this request's turn within {time:?} (queue_timeout)"
                );
                Err(self.overloaded("queue_timeout", cause))
            }
        }
    }

    fn overloaded(&self, limit: &'static str, cause: String) -> SendFault {
        // The line of the request says it.
        self.metrics().count_limit(limit);
        self.metrics().connection(SendFaultKind::Overloaded.code());
        SendFault::plain(SendFaultKind::Overloaded, cause)
    }

    /// A limit struck, and no request ends for it: the log is told, sparingly.
    pub(super) fn strike(&self, limit: &'static str, cause: &str, remedy: &str) {
        if let Some(left_out) = self.metrics().limit_struck(limit) {
            tracing::warn!(
                event = events::LIMIT_STRUCK,
                upstream = self.plan().name(),
                limit,
                cause,
                remedy,
                left_out,
            );
        }
    }
}
