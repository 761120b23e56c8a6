//! The connections that are open on one worker, and what a generation makes of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::activity::Activity;
use super::sockets::SocketId;
use super::summons::{Dismissal, FIRST_WORD, Manner, Summons};
use super::worker::{Current, Worker};
use crate::config::TrustBundle;
use crate::identity::PeerIdentity;
use crate::proxy::{Caller, Site, Standing};
use crate::telemetry::events;
use crate::tls::{Connected, LetIn, Refusal, Withdrawal, unix_now};

/// So many connections are judged before others have their turn.
const JUDGED_AT_ONCE: usize = 16;
/// The farewells of a withdrawal are so far apart, so that those who come back
/// do not all come at one time …
const FAREWELL_APART: Duration = Duration::from_millis(1);
/// … but all are said by then.
const FAREWELLS_WITHIN: Duration = Duration::from_millis(800);

/// The open connections of one worker.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    by_number: RefCell<BTreeMap<u64, Rc<Open>>>,
    next: Cell<u64>,
}

/// One open connection, from its handshake to its end.
#[derive(Debug)]
pub(super) struct Open {
    socket: SocketId,
    /// Who is at the other end, as the process knows it; `None` is anonymous.
    peer: Option<Connected>,
    /// On what terms it was let in, if it is nobody because it is not accepted.
    let_in: Option<LetIn>,
    caller: RefCell<Rc<Caller>>,
    /// The last second of the peer's chain, after 1970.
    expires: Cell<Option<i64>>,
    /// Whether it has changed its protocol.
    tunnel: Cell<bool>,
    /// Whether a request has come on it.
    asked: Cell<bool>,
    /// For what reason it was said to be one that would end; `None`: it was not.
    would_end: Cell<Option<Refusal>>,
    summons: RefCell<Option<Summons>>,
    waker: RefCell<Option<Waker>>,
}

/// Takes a connection out of the register when it is dropped.
#[derive(Debug)]
pub(super) struct Registered<'a> {
    all: &'a OpenConnections,
    number: u64,
    open: Rc<Open>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.all.by_number.borrow_mut().remove(&self.number);
    }
}

impl std::ops::Deref for Registered<'_> {
    type Target = Rc<Open>;

    fn deref(&self) -> &Rc<Open> {
        &self.open
    }
}

impl OpenConnections {
    /// Registers a connection until what is returned is dropped.
    pub(super) fn register(&self, open: Open) -> Registered<'_> {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let open = Rc::new(open);
        let registered = Rc::clone(&open);
        self.by_number.borrow_mut().insert(number, registered);
        Registered {
            all: self,
            number,
            open,
        }
    }

    /// The generation in force has changed: every open connection is judged by
    /// it. Those whose peer it would refuse take no request from then on; they
    /// end as the trust bundle says, one after the other.
    pub(super) async fn review(&self, worker: &Worker) {
        let current = worker.current();
        let mut next = 0;
        let mut withdrawn = Vec::new();
        loop {
            let batch: Vec<_> = {
                let all = self.by_number.borrow();
                let batch = all.range(next..).take(JUDGED_AT_ONCE);
                batch.map(|(n, open)| (*n, Rc::clone(open))).collect()
            };
            let Some((last, _)) = batch.last() else { break };
            next = last.saturating_add(1);
            for (_, open) in batch {
                withdrawn.extend(open.review(&current).map(|summons| (open, summons)));
            }
            tokio::task::yield_now().await;
        }
        let apart = u32::try_from(withdrawn.len())
            .ok()
            .and_then(|count| FAREWELLS_WITHIN.checked_div(count))
            .map_or(Duration::ZERO, |apart| apart.min(FAREWELL_APART));
        for (turn, (open, summons)) in (0..).zip(withdrawn) {
            open.summon(summons.later(apart.saturating_mul(turn)));
        }
    }

    /// The drain has begun: every connection finishes what is under way.
    pub(super) fn dismiss_all(&self) {
        for open in self.by_number.borrow().values() {
            open.drain();
        }
    }
}

impl Open {
    /// A connection over `socket`, once its handshake has succeeded.
    pub(super) fn new(
        socket: SocketId,
        caller: Rc<Caller>,
        (peer, let_in): (Option<Connected>, Option<LetIn>),
        expires: Option<i64>,
    ) -> Self {
        Self {
            socket,
            peer,
            let_in,
            caller: RefCell::new(caller),
            expires: Cell::new(expires),
            tunnel: Cell::new(false),
            asked: Cell::new(false),
            would_end: Cell::new(None),
            summons: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// The process ends. Who has only just connected has yet to ask, and would take
    /// a connection that ends at once for a failure: one request is waited for.
    pub(super) fn drain(&self) {
        let summons = Summons::to_drain();
        self.summon(match self.asked.get() {
            true => summons,
            false => summons.later(FIRST_WORD),
        });
    }

    /// Its first request has come.
    pub(super) fn begins(&self) {
        self.asked.set(true);
        let is_summoned = self.summons.borrow().is_some();
        if is_summoned {
            self.summon(Summons::to_drain());
        }
    }

    /// From now on this counts its requests.
    pub(super) fn counts(&self, requests: &Arc<Activity>) {
        if let Some(peer) = &self.peer {
            peer.counts(Arc::clone(requests) as _);
        }
    }

    /// It is a tunnel from now on.
    pub(super) fn becomes_tunnel(&self) {
        self.tunnel.set(true);
    }

    /// The connection under the generation that governs its next request.
    pub(super) fn caller(&self) -> Rc<Caller> {
        Rc::clone(&self.caller.borrow())
    }

    /// Judges it by the generation in force. Returns how it is to end, if it is.
    pub(super) fn review(&self, current: &Current) -> Option<Summons> {
        let former = self.caller();
        let site = current.site();
        let listener = current.listener_of(self.socket);
        let tls = listener.and_then(|id| site.server(id));
        let moved = match listener {
            None => Some("its listener was removed"),
            Some(_) if tls.is_some() != former.downstream().is_tls() => {
                Some("its listener has changed between TLS and plaintext")
            }
            Some(_) => None,
        };
        let verdict = match (moved, tls) {
            (Some(_), _) => self.judge_elsewhere(site),
            (None, Some(tls)) => {
                let name = former.downstream().server_name();
                tls.judge(name, self.peer.as_deref(), self.let_in)
            }
            (None, None) => Ok(None),
        };
        if let (None, Some(id)) = (moved, listener) {
            // As the bundle in force has just found it.
            let anchor = self.peer.as_ref().map(|peer| peer.anchor_name());
            let downstream = Rc::clone(former.downstream());
            *self.caller.borrow_mut() = Caller::new(current.proxy(), id, downstream, anchor);
        }
        match verdict {
            Ok(good_until) => {
                self.expires.set(good_until);
                self.would_end.set(None);
                self.wake();
                let grace = site.config().server().drain_timeout;
                moved.map(|cause| Summons::to_move(cause, grace))
            }
            Err(withdrawal) => self.withdraw(withdrawal, site),
        }
    }

    /// The verdict on a peer whose listener is no more: that of the bundle that
    /// it was trusted by.
    fn judge_elsewhere(&self, site: &Site) -> Result<Option<i64>, Withdrawal> {
        let Some(peer) = &self.peer else {
            return Ok(None);
        };
        match site.bundle(peer.bundle()) {
            Some((_, bundle)) => peer.judge(bundle).map(Some),
            None => Err(Withdrawal {
                reason: Refusal::Untrusted,
                cause: format!("there is no trust.{} any more", peer.bundle()),
                remedy: None,
            }),
        }
    }

    /// The chain of its peer has expired. It ends as the trust bundle says.
    fn expire(&self, current: &Current) {
        self.expires.set(None);
        let withdrawal = Withdrawal {
            reason: Refusal::Expired,
            cause: "the peer's certificate, or another one of its chain, expired while its connection was open".into(),
            remedy: None,
        };
        if let Some(mut summons) = self.withdraw(withdrawal, current.site()) {
            if self.tunnel.get() {
                // Nothing in it can be asked to end, and its client has known
                // from the beginning when it would.
                summons.cut = Some(summons.leave);
            }
            self.summon(summons);
        }
    }

    /// Its peer is trusted no more: it takes no request from now on; that is
    /// counted, and said in one line. Returns how it is to end; `None`: the
    /// trust bundle says that it stays as it is.
    fn withdraw(&self, why: Withdrawal, site: &Site) -> Option<Summons> {
        let caller = self.caller();
        let (under, id) = (caller.site(), caller.listener());
        let peer = self.peer.as_ref();
        // Where its listener is no more: its bundle as it is now, or else as it
        // was when it went.
        let moved = under.generation() != site.generation();
        let bundle = peer
            .filter(|_| moved)
            .and_then(|peer| site.bundle(peer.bundle()))
            .map(|(config, _)| config)
            .or_else(|| {
                let name = caller.downstream().server_name();
                let bundle = under.server(id)?.bundle(name)?;
                under.bundle(bundle.name()).map(|(config, _)| config)
            });
        let dismissal = Dismissal {
            reason: why.reason,
            cause: why.cause.as_str().into(),
        };
        let trusted = bundle.filter(|bundle| peer.is_some_and(|peer| peer.bundle() == bundle.name));
        let manner = match trusted {
            Some(_) => Manner::of(bundle),
            // This bundle has never trusted it: there is nothing to keep, and
            // its name may open by now what was closed to it.
            None => Manner::of(bundle).without_keeping(),
        };
        let summons = Summons::to_end(manner, dismissal)?;
        let counters = under.metrics().listener(id.0);
        if trusted.is_some_and(|bundle| !bundle.enforce_withdrawal) {
            if self.would_end.replace(Some(why.reason)) != Some(why.reason) {
                counters.connection_would_end(why.reason.code());
                self.tell(events::CONNECTION_WOULD_END, &why, bundle, site);
            }
            return None;
        }
        let downstream = caller.downstream();
        if downstream.standing() == Standing::Good {
            counters.connection_withdrawn(why.reason.code());
            downstream.withdraw(Arc::clone(&summons.cause));
            self.tell(events::CONNECTION_WITHDRAWN, &why, bundle, site);
        }
        Some(summons)
    }

    /// Says in one line what becomes of it, and why.
    fn tell(
        &self,
        event: &'static str,
        why: &Withdrawal,
        bundle: Option<&TrustBundle>,
        site: &Site,
    ) {
        let caller = self.caller();
        let listener = caller.site().config().listener(caller.listener());
        let remedy = why.remedy.as_deref();
        tracing::info!(
            event,
            listener = listener.map(|listener| listener.name.as_str()),
            client = %caller.downstream(),
            peer = caller.peer().map(PeerIdentity::primary),
            bundle = bundle.map(|bundle| bundle.name.as_str()),
            reason = why.reason.code(),
            cause = why.cause,
            remedy = remedy.unwrap_or(why.reason.remedy()),
            generation = site.generation(),
        );
    }

    /// Asks it to end.
    pub(super) fn summon(&self, summons: Summons) {
        let mut known = self.summons.borrow_mut();
        match known.as_mut() {
            Some(known) => known.join(summons),
            None => *known = Some(summons),
        }
        drop(known);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether anything has changed since this was asked last; if not, the task
    /// is woken when it does.
    pub(super) fn poll_change(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waker = self.waker.borrow_mut();
        match waker.as_ref() {
            Some(known) if known.will_wake(cx.waker()) => Poll::Pending,
            // Taken by who has changed something, or never left.
            None | Some(_) => {
                *waker = Some(cx.waker().clone());
                Poll::Ready(())
            }
        }
    }

    /// What is to be done now.
    pub(super) fn due(&self, worker: &Worker, now: Instant) -> Due {
        // By the clock on the wall, which may have been set, or have gone on
        // while this machine stood still.
        if self.expires.get().is_some_and(|last| unix_now() > last) {
            self.expire(&worker.current());
        }
        let summons = self.summons.borrow();
        let Some(summons) = summons.as_ref() else {
            return Due::Nothing;
        };
        if summons.refuse.is_some_and(|refuse| refuse <= now) {
            let caller = self.caller();
            caller.downstream().withdraw(Arc::clone(&summons.cause));
        }
        if summons.cut.is_some_and(|cut| cut <= now) {
            // Before its requests are dropped, which writes their lines.
            self.caller().downstream().cut(Arc::clone(&summons.cause));
            Due::Cut
        } else if summons.leave <= now {
            Due::Leave
        } else {
            Due::Nothing
        }
    }

    /// When there is something to do, beside what was done already (`left`).
    pub(super) fn next_due(&self, left: bool) -> Instant {
        let now = Instant::now();
        let summons = self.summons.borrow();
        let summoned = summons.as_ref().into_iter().flat_map(|summons| {
            let leave = (!left).then_some(summons.leave);
            let refuse = summons.refuse.filter(|refuse| *refuse > now);
            [leave, refuse, summons.cut]
        });
        let expires = self.expires.get().and_then(instant_of);
        summoned
            .chain([expires])
            .flatten()
            .fold(now + LOOK_AT_THE_CLOCK, Instant::min)
    }

    /// Why its peer is trusted no more, if that is why it was asked to end.
    pub(super) fn dismissal(&self) -> Option<Dismissal> {
        let summons = self.summons.borrow();
        let summons = summons.as_ref()?;
        Some(Dismissal {
            reason: summons.reason?,
            cause: Arc::clone(&summons.cause),
        })
    }
}

/// What is to be done with a connection now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// It may go on.
    Nothing,
    /// It finishes what is under way.
    Leave,
    /// It ends here.
    Cut,
}

/// The moment from which on a certificate with this `notAfter`, in seconds after
/// 1970, is refused in a handshake: that second is still a part of its validity
/// (RFC 5280 §4.1.2.5). `None`: far ahead.
fn instant_of(not_after: i64) -> Option<Instant> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let end = u64::try_from(not_after).map_or(0, |last| last.saturating_add(1));
    let left = Duration::from_secs(end).saturating_sub(now);
    (left <= LOOK_AT_THE_CLOCK).then(|| Instant::now() + left)
}

/// How often the clock on the wall is looked at, at least.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(30);
