//! One endpoint as one worker sees it: its connections, its load, its health.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::UploadBody;
use super::body::{Tracked, Upload};
use super::h1::H1;
use super::h2::spawn;

/// The most unused connections that one worker keeps to one endpoint.
const MAX_IDLE: usize = 128;
/// How long an endpoint that refused a connection is left alone, at first.
const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// Each refusal in a row doubles it, up to this.
const LONGEST_EJECTION: Duration = Duration::from_secs(30);

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
    idle: RefCell<Vec<H1<B>>>,
    /// The task that closes what has grown old, while there is something.
    sweeper: RefCell<Option<AbortHandle>>,
    multiplexed: RefCell<Option<Multiplexed<B>>>,
    connecting: tokio::sync::Mutex<()>,
    in_flight: Cell<usize>,
    refusals: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
    /// Nothing more is meant to come, so nothing is kept for it.
    retired: Cell<bool>,
}

/// An HTTP/2 connection and when it was last asked for.
#[derive(Debug)]
struct Multiplexed<B> {
    sender: SendRequest<Tracked<B>>,
    last_use: Instant,
}

impl<B: UploadBody> Endpoint<B> {
    pub(super) fn new(index: usize, text: &str, idle_timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            index,
            text: text.to_owned(),
            idle_timeout,
            idle: RefCell::default(),
            sweeper: RefCell::default(),
            multiplexed: RefCell::new(None),
            connecting: tokio::sync::Mutex::new(()),
            in_flight: Cell::new(0),
            refusals: Cell::new(0),
            ejected_until: Cell::new(None),
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
            ended: None,
        }
    }

    /// Whether it is being left alone at `now`.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.get().is_some_and(|until| until > now)
    }

    /// It refused a connection: it is left alone for a while, which is returned.
    /// `None`: it is left alone already, and what was under way by then says
    /// nothing new.
    pub(super) fn eject(&self, now: Instant) -> Option<Duration> {
        if self.is_ejected(now) {
            return None;
        }
        let refusals = self.refusals.get();
        let pause = FIRST_EJECTION
            .saturating_mul(1u32.checked_shl(refusals).unwrap_or(u32::MAX))
            .min(LONGEST_EJECTION);
        self.refusals.set(refusals.saturating_add(1).min(16));
        self.ejected_until.set(Some(now + pause));
        Some(pause)
    }

    /// It accepted a connection. Whether it had been ejected.
    pub(super) fn restore(&self) -> bool {
        self.refusals.set(0);
        self.ejected_until.take().is_some()
    }

    /// An unused connection that is not too old, the youngest first.
    pub(super) fn take_idle(&self, now: Instant) -> Option<H1<B>> {
        let connection = self.idle.borrow_mut().pop()?;
        if now.saturating_duration_since(connection.idle_since()) < self.idle_timeout {
            return Some(connection);
        }
        // The youngest is too old: all are.
        self.idle.borrow_mut().clear();
        None
    }

    /// Takes a connection back after its response, if it can serve another.
    pub(super) fn give_back(self: &Rc<Self>, mut connection: H1<B>, cx: &mut Context<'_>) {
        if connection.rest(cx) {
            self.keep(connection);
        }
    }

    /// The same for a connection whose upload still goes on: a task drives it
    /// to its end, or until `limit` has passed, `response` is over and the
    /// upstream takes no more of the upload.
    pub(super) fn give_back_later(
        self: &Rc<Self>,
        mut connection: H1<B>,
        (upload, limit): (Rc<Upload>, Duration),
        response: Weak<()>,
    ) {
        let endpoint = Rc::clone(self);
        spawn(async move {
            let alive = loop {
                if let Ok(alive) = tokio::time::timeout(limit, connection.settle()).await {
                    break alive;
                }
                if response.strong_count() == 0 && upload.last_piece().elapsed() >= limit {
                    break false;
                }
            };
            if alive && poll_fn(|cx| Poll::Ready(connection.rest(cx))).await {
                endpoint.keep(connection);
            }
        });
    }

    fn keep(self: &Rc<Self>, connection: H1<B>) {
        if self.retired.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        drop(idle);
        self.sweep_later();
    }

    fn sweep_later(self: &Rc<Self>) {
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let sweep = tokio::task::spawn_local(Rc::clone(self).sweep());
            *sweeper = Some(sweep.abort_handle());
        }
    }

    /// Closes connections that have grown old, until there are none.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(self.idle_timeout).await;
            let now = Instant::now();
            let mut idle = self.idle.borrow_mut();
            idle.retain(|connection| {
                now.saturating_duration_since(connection.idle_since()) < self.idle_timeout
            });
            let mut multiplexed = self.multiplexed.borrow_mut();
            if multiplexed
                .as_ref()
                .is_some_and(|kept| self.is_too_old(kept, now))
            {
                *multiplexed = None;
            }
            if idle.is_empty() && multiplexed.is_none() {
                *self.sweeper.borrow_mut() = None;
                return;
            }
        }
    }

    /// The HTTP/2 connection, if there is a living one that is not too old.
    pub(super) fn multiplexed(&self, now: Instant) -> Option<SendRequest<Tracked<B>>> {
        let mut kept = self.multiplexed.borrow_mut();
        let kept = kept
            .as_mut()
            .filter(|kept| !kept.sender.is_closed() && !self.is_too_old(kept, now))?;
        kept.last_use = now;
        Some(kept.sender.clone())
    }

    /// Nobody has asked for it for long, and no request is under way on it (one
    /// of its own counts already for whoever asks).
    fn is_too_old(&self, kept: &Multiplexed<B>, now: Instant) -> bool {
        self.in_flight.get() <= 1
            && now.saturating_duration_since(kept.last_use) >= self.idle_timeout
    }

    /// Puts an HTTP/2 connection in place. In retirement too: the requests that
    /// have waited for it use it together, and it goes with the last of them.
    pub(super) fn set_multiplexed(self: &Rc<Self>, sender: SendRequest<Tracked<B>>) {
        let last_use = Instant::now();
        *self.multiplexed.borrow_mut() = Some(Multiplexed { sender, last_use });
        if !self.retired.get() {
            self.sweep_later();
        }
    }

    /// Nothing more is meant to come: what rests is closed now, and what is in
    /// use when it would be given back. An HTTP/2 connection ends with its
    /// streams once nobody holds a handle to it.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.abort();
        }
        drop(self.idle.take());
        drop(self.multiplexed.take());
    }

    /// Waits until nobody else is setting up the one HTTP/2 connection.
    pub(super) async fn turn_to_connect(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.connecting.lock().await
    }
}

/// Counts one request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<B: UploadBody> {
    endpoint: Rc<Endpoint<B>>,
    /// Dropped with this, for whoever waits for it.
    ended: Option<Rc<()>>,
}

impl<B: UploadBody> InFlight<B> {
    pub(super) fn endpoint(&self) -> &Rc<Endpoint<B>> {
        &self.endpoint
    }

    /// What is gone once this has been dropped.
    pub(super) fn watched(&mut self) -> Weak<()> {
        Rc::downgrade(self.ended.get_or_insert_default())
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
