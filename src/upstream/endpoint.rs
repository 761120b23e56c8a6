//! One endpoint as one worker sees it: its connections, its load, its condition.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::UploadBody;
use super::body::Upload;
use super::condition::Condition;
use super::gate::{Gate, Place};
use super::h1::H1;
use super::h2::{H2, spawn};
use super::owner::Owner;
use super::resting::{Idle, Kept, OnStream, Streams, Tally};
use super::turn::Line;
use crate::telemetry::metrics::Resting;

/// The most unused connections that one worker keeps to one endpoint.
const MAX_IDLE: usize = 128;
/// How soon after a downstream connection has ended the connections that were
/// bound to it are closed.
const BOUND_SWEEP: Duration = Duration::from_secs(1);

/// One endpoint of an upstream, as one worker sees it.
#[derive(Debug)]
pub(super) struct Endpoint<B: UploadBody> {
    /// Its place in the upstream's list.
    pub(super) index: usize,
    /// As written in the config.
    pub(super) text: String,
    idle_timeout: Duration,
    /// The one that was used last stands last, and is used next: the others
    /// grow old and are closed.
    idle: Idle<B>,
    /// The task that closes what has grown old, while there is something.
    sweeper: RefCell<Option<AbortHandle>>,
    /// One for each owner.
    multiplexed: RefCell<Vec<Multiplexed<B>>>,
    /// How many of both rest.
    resting: Rc<Tally>,
    /// Who is setting one up.
    connecting: RefCell<Vec<(Owner, Weak<Turn>)>>,
    /// Where requests wait for their turn.
    line: Line<B>,
    in_flight: Cell<usize>,
    /// How it does.
    pub(super) condition: Condition,
    /// Nothing more is meant to come, so nothing is kept for it.
    retired: Cell<bool>,
}

/// An HTTP/2 connection, whose it is, and when it was last asked for.
#[derive(Debug)]
struct Multiplexed<B: UploadBody> {
    owner: Owner,
    sender: H2<B>,
    /// Where it leads.
    address: Option<SocketAddr>,
    /// The requests on it.
    streams: Kept,
    last_use: Instant,
}

/// Whoever holds it sets up a connection.
type Turn = tokio::sync::Mutex<()>;

impl<B: UploadBody> Endpoint<B> {
    /// `gate`: the places there; `None`: they are not counted.
    pub(super) fn new(
        (index, text): (usize, &str),
        (idle_timeout, resting): (Duration, Resting),
        gate: Option<Arc<Gate>>,
        condition: Condition,
    ) -> Rc<Self> {
        let resting = Tally::new(resting);
        Rc::new(Self {
            index,
            text: text.to_owned(),
            idle_timeout,
            idle: Idle::new(&resting),
            sweeper: RefCell::default(),
            multiplexed: RefCell::default(),
            resting,
            connecting: RefCell::default(),
            line: Line::new(gate),
            in_flight: Cell::new(0),
            condition,
            retired: Cell::new(false),
        })
    }

    /// How many requests are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Counts a request, until the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> InFlight<B> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight {
            endpoint: Rc::clone(self),
            held: None,
            stream: None,
            place: None,
        }
    }

    /// An unused connection of this owner that is not too old, the youngest first.
    pub(super) fn take_idle(&self, owner: &Owner, now: Instant) -> Option<H1<B>> {
        self.leave_what_has_moved();
        self.idle.change(|idle| {
            // Where everybody shares, it is the last one.
            let found = idle
                .iter()
                .rposition(|connection| connection.owner() == owner)?;
            let connection = idle.remove(found);
            if now.saturating_duration_since(connection.idle_since()) < self.idle_timeout {
                return Some(connection);
            }
            // The youngest is too old: all are.
            idle.retain(|connection| connection.owner() != owner);
            None
        })
    }

    /// Connections to addresses that its name has no more are used for nothing
    /// else; what is under way on them is finished.
    fn leave_what_has_moved(&self) {
        let seen = self.condition.seen();
        if seen.has_changed() {
            self.idle
                .change(|idle| idle.retain(|connection| seen.has(connection.address())));
            let mut multiplexed = self.multiplexed.borrow_mut();
            multiplexed.retain(|kept| seen.has(kept.address));
        }
    }

    /// Whether there is an unused connection of this owner.
    pub(super) fn knows(&self, owner: &Owner) -> bool {
        let idle = self.idle.all();
        let multiplexed = self.multiplexed.borrow();
        idle.iter().any(|connection| connection.owner() == owner)
            || multiplexed.iter().any(|kept| kept.owner == *owner)
    }

    /// Takes a connection back after its response, if it can serve another.
    pub(super) fn give_back(self: &Rc<Self>, connection: H1<B>) {
        if connection.rest() {
            self.keep(connection);
        }
    }

    /// The same for a connection whose upload still goes on: a task sends it
    /// to its end, or until `limit` has passed, `response` is over and the
    /// upstream takes no more of the upload. Where the response is not over then,
    /// whoever reads it gives the connection back.
    pub(super) fn give_back_later(
        self: &Rc<Self>,
        connection: H1<B>,
        (upload, limit): (Rc<Upload>, Duration),
        response: Weak<()>,
    ) {
        let endpoint = Rc::clone(self);
        spawn(async move {
            let sent = loop {
                if let Ok(sent) = tokio::time::timeout(limit, connection.send_on()).await {
                    break sent;
                }
                if response.strong_count() == 0 && upload.last_piece().elapsed() >= limit {
                    break false;
                }
            };
            if sent && connection.is_read() {
                endpoint.give_back(connection);
            }
        });
    }

    fn keep(self: &Rc<Self>, connection: H1<B>) {
        let stays = self.condition.seen().has(connection.address());
        if self.retired.get() || connection.owner().is_gone() || !stays {
            return;
        }
        if self.line.wanted() > 0 {
            return self.line.hand_on(connection);
        }
        self.idle.change(|idle| {
            if idle.len() >= MAX_IDLE {
                // Whoever has used none for longest opens another one.
                idle.remove(0);
            }
            idle.push(connection);
        });
        self.sweep_later();
    }

    /// Where requests wait for their turn.
    pub(super) fn line(&self) -> &Line<B> {
        &self.line
    }

    /// Closes up to `many` connections that rest, those first that have rested
    /// for longest: their places are wanted.
    pub(super) fn let_go(&self, many: usize) {
        self.idle.change(|idle| {
            let many = many.min(idle.len());
            drop(idle.drain(..many));
        });
    }

    fn sweep_later(self: &Rc<Self>) {
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let sweep = tokio::task::spawn_local(Rc::clone(self).sweep());
            *sweeper = Some(sweep.abort_handle());
        }
    }

    /// Closes connections that have grown old or whose owner is gone, until
    /// there are none.
    async fn sweep(self: Rc<Self>) {
        loop {
            let time = self.until_the_next_sweep();
            self.line.watch(time, |many| self.let_go(many)).await;
            let now = Instant::now();
            self.idle.change(|idle| {
                idle.retain(|connection| {
                    let rest = now.saturating_duration_since(connection.idle_since());
                    rest < self.idle_timeout && !connection.owner().is_gone()
                });
            });
            let mut multiplexed = self.multiplexed.borrow_mut();
            multiplexed.retain(|kept| !self.is_too_old(kept, now) && !kept.owner.is_gone());
            if self.idle.all().is_empty() && multiplexed.is_empty() {
                *self.sweeper.borrow_mut() = None;
                return;
            }
        }
    }

    /// Where connections are somebody's, the owner may be gone soon.
    fn until_the_next_sweep(&self) -> Duration {
        let shared = self.idle.all().iter().all(|one| one.owner().is_everybody())
            && self
                .multiplexed
                .borrow()
                .iter()
                .all(|one| one.owner.is_everybody());
        if shared {
            self.idle_timeout
        } else {
            self.idle_timeout.min(BOUND_SWEEP)
        }
    }

    /// The HTTP/2 connection of this owner, if there is a living one that is
    /// not too old; and what its request is to hold.
    pub(super) fn multiplexed(&self, owner: &Owner, now: Instant) -> Option<(H2<B>, OnStream)> {
        self.leave_what_has_moved();
        let mut all = self.multiplexed.borrow_mut();
        let kept = all
            .iter_mut()
            .find(|kept| kept.owner == *owner)
            .filter(|kept| !kept.sender.is_closed() && !self.is_too_old(kept, now))?;
        kept.last_use = now;
        Some((kept.sender.clone(), kept.streams.enter()))
    }

    /// Nobody has asked for it for long, and no request is under way on it.
    fn is_too_old(&self, kept: &Multiplexed<B>, now: Instant) -> bool {
        kept.streams.is_unused()
            && now.saturating_duration_since(kept.last_use) >= self.idle_timeout
    }

    /// Puts an HTTP/2 connection in place. In retirement too: the requests that
    /// have waited for it use it together, and it goes with the last of them.
    pub(super) fn set_multiplexed(
        self: &Rc<Self>,
        (owner, address): (Owner, Option<SocketAddr>),
        sender: H2<B>,
        streams: Kept,
    ) {
        let mut all = self.multiplexed.borrow_mut();
        all.retain(|kept| kept.owner != owner && !kept.sender.is_closed());
        if all.len() >= MAX_IDLE {
            // Its streams go on; it is given to nobody any more.
            all.remove(0);
        }
        all.push(Multiplexed {
            owner,
            sender,
            address,
            streams,
            last_use: Instant::now(),
        });
        drop(all);
        if !self.retired.get() {
            self.sweep_later();
        }
    }

    /// The requests of an HTTP/2 connection that is begun, with the first of them.
    pub(super) fn streams(&self) -> ([Kept; 2], OnStream) {
        Streams::begin(&self.resting)
    }

    /// Nothing more is meant to come: what rests is closed now, and what is in
    /// use when it would be given back. An HTTP/2 connection ends with its
    /// streams once nobody holds a handle to it.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.abort();
        }
        drop(self.idle.change(std::mem::take));
        drop(self.multiplexed.take());
    }

    /// Whose turn it is may set up the one HTTP/2 connection of `owner`: to be
    /// locked.
    pub(super) fn turn_to_connect(&self, owner: &Owner) -> Rc<Turn> {
        let mut all = self.connecting.borrow_mut();
        all.retain(|(_, turn)| turn.strong_count() > 0);
        let known = all.iter().find(|(whose, _)| whose == owner);
        if let Some(turn) = known.and_then(|(_, turn)| turn.upgrade()) {
            return turn;
        }
        let turn = Rc::default();
        all.push((owner.clone(), Rc::downgrade(&turn)));
        turn
    }
}

/// Counts one request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<B: UploadBody> {
    endpoint: Rc<Endpoint<B>>,
    /// Dropped with this, for whoever waits for it.
    held: Option<Rc<()>>,
    /// Over HTTP/2.
    stream: Option<OnStream>,
    /// The place that the request itself takes.
    place: Option<Place>,
}

impl<B: UploadBody> InFlight<B> {
    pub(super) fn endpoint(&self) -> &Rc<Endpoint<B>> {
        &self.endpoint
    }

    /// It goes over this.
    pub(super) fn uses(&mut self, stream: OnStream) {
        self.stream = Some(stream);
    }

    /// It takes this place.
    pub(super) fn takes(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// What is gone once this has been dropped.
    pub(super) fn watched(&mut self) -> Weak<()> {
        Rc::downgrade(self.held.get_or_insert_default())
    }
}

impl<B: UploadBody> Drop for InFlight<B> {
    fn drop(&mut self) {
        let endpoint = &self.endpoint;
        let left = endpoint.in_flight.get().saturating_sub(1);
        endpoint.in_flight.set(left);
        if left == 0 && endpoint.retired.get() {
            drop(endpoint.multiplexed.take());
        }
    }
}
