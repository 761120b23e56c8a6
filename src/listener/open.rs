//! The connections that are open on one worker, and what a generation makes of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::sockets::SocketId;
use super::worker::{Current, Worker};
use crate::config::{ListenerId, OnWithdrawal};
use crate::identity::PeerIdentity;
use crate::proxy::Caller;
use crate::telemetry::events;
use crate::tls::{Connected, Refusal};

/// So many connections are judged before others have their turn.
const JUDGED_AT_ONCE: usize = 64;
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
    caller: RefCell<Rc<Caller>>,
    /// When the peer's chain expires.
    expires: Cell<Option<Instant>>,
    /// Whether it has changed its protocol.
    tunnel: Cell<bool>,
    summons: RefCell<Option<Summons>>,
    waker: RefCell<Option<Waker>>,
}

/// A connection is asked to end.
#[derive(Clone, Debug)]
pub(super) struct Summons {
    /// When it says goodbye.
    pub(super) leave: Instant,
    /// When it is cut, whatever is under way; `None`: only the drain's end cuts it.
    cut: Option<Instant>,
    /// Why, in words.
    cause: Arc<str>,
    /// `side/phase/kind`, if it has a line of its own; `None`: its end is no fault.
    fault: Option<&'static str>,
}

/// Why a connection was ended that could have gone on.
#[derive(Clone, Debug)]
pub(super) struct Dismissal {
    /// `side/phase/kind`.
    pub(super) fault: &'static str,
    /// In words.
    pub(super) cause: Arc<str>,
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
            open.summon(Summons::to_drain());
        }
    }
}

impl Summons {
    /// What is under way is finished, and nothing more is begun.
    pub(super) fn to_drain() -> Self {
        Self {
            leave: Instant::now(),
            cut: None,
            cause: "countersign ends".into(),
            fault: None,
        }
    }

    /// Its listener is no more: it finishes what is under way, as if
    /// countersign ended.
    fn to_move(current: &Current, cause: &str) -> Self {
        let leave = Instant::now();
        let grace = current.site().config().server().drain_timeout;
        Self {
            leave,
            cut: Some(leave + grace),
            cause: cause.into(),
            fault: None,
        }
    }

    /// As the listener's trust bundle says; `None`: the connection stays.
    fn as_configured(current: &Current, id: ListenerId, why: Dismissal) -> Option<Self> {
        let config = current.site().config();
        let tls = config.listener(id).and_then(|l| l.tls.as_ref());
        let bundle = tls
            .and_then(|tls| tls.trust)
            .and_then(|id| config.bundle(id));
        let (manner, grace) = bundle.map_or((OnWithdrawal::Drain, DEFAULT_GRACE), |bundle| {
            (bundle.on_withdrawal, bundle.withdrawal_grace)
        });
        let leave = Instant::now();
        let cut = match manner {
            OnWithdrawal::Keep => return None,
            OnWithdrawal::Cut => leave,
            OnWithdrawal::Drain => leave + grace,
        };
        Some(Self {
            leave,
            cut: Some(cut),
            cause: why.cause,
            fault: Some(why.fault),
        })
    }

    fn later(self, delay: Duration) -> Self {
        Self {
            leave: self.leave + delay,
            cut: self.cut.map(|cut| cut + delay),
            ..self
        }
    }
}

impl Open {
    /// A connection over `socket`, once its handshake has succeeded.
    pub(super) fn new(
        socket: SocketId,
        caller: Rc<Caller>,
        peer: Option<Connected>,
        expires: Option<Instant>,
    ) -> Self {
        Self {
            socket,
            peer,
            caller: RefCell::new(caller),
            expires: Cell::new(expires),
            tunnel: Cell::new(false),
            summons: RefCell::default(),
            waker: RefCell::default(),
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
        let leaving = self.summons.borrow().is_some();
        let Some(id) = current.listener_of(self.socket) else {
            return (!leaving).then(|| Summons::to_move(current, "its listener was removed"));
        };
        let former = self.caller();
        let tls = current.site().server(id);
        if tls.is_some() != former.downstream().is_tls() {
            let cause = "its listener has changed between TLS and plaintext";
            return (!leaving).then(|| Summons::to_move(current, cause));
        }
        let downstream = Rc::clone(former.downstream());
        *self.caller.borrow_mut() = Caller::new(current.proxy(), id, downstream);
        let verdict = tls.map_or(Ok(None), |tls| tls.judge(self.peer.as_deref()));
        match verdict {
            Ok(good_until) => {
                self.expires.set(good_until.and_then(instant_of));
                self.wake();
                None
            }
            Err(_) if leaving => None,
            Err(withdrawal) => {
                let dismissal = Dismissal {
                    fault: WITHDRAWN,
                    cause: withdrawal.cause.into(),
                };
                let summons = Summons::as_configured(current, id, dismissal)?;
                self.withdraw(current, (id, withdrawal.reason), &summons.cause);
                Some(summons)
            }
        }
    }

    /// The chain of its peer has expired. It ends as the trust bundle says.
    fn expire(&self, current: &Current) {
        self.expires.set(None);
        let Some(id) = current.listener_of(self.socket) else {
            return;
        };
        let dismissal = Dismissal {
            fault: EXPIRED,
            cause: "the peer's certificate, or another one of its chain, expired while its connection was open".into(),
        };
        if let Some(mut summons) = Summons::as_configured(current, id, dismissal) {
            if self.tunnel.get() {
                // Nothing in it can be asked to end, and its client has known
                // from the beginning when it would.
                summons.cut = Some(summons.leave);
            }
            self.withdraw(current, (id, Refusal::Expired), &summons.cause);
            self.summon(summons);
        }
    }

    /// Takes no request any more; counts it, and says so in one line.
    fn withdraw(&self, current: &Current, (id, reason): (ListenerId, Refusal), cause: &Arc<str>) {
        let site = current.site();
        site.metrics()
            .listener(id.0)
            .connection_withdrawn(reason.code());
        let config = site.config();
        let listener = config.listener(id);
        let tls = listener.and_then(|listener| listener.tls.as_ref());
        let bundle = tls
            .and_then(|tls| tls.trust)
            .and_then(|id| config.bundle(id));
        let caller = self.caller();
        let downstream = caller.downstream();
        downstream.withdraw(Arc::clone(cause));
        tracing::info!(
            event = events::CONNECTION_WITHDRAWN,
            listener = listener.map(|listener| listener.name.as_str()),
            client = %downstream,
            peer = caller.peer().map(PeerIdentity::primary),
            bundle = bundle.map(|bundle| bundle.name.as_str()),
            reason = reason.code(),
            %cause,
        );
    }

    /// Asks it to end. The first word counts, unless the next one is sooner.
    pub(super) fn summon(&self, summons: Summons) {
        let mut known = self.summons.borrow_mut();
        match known.as_mut() {
            Some(known) => known.leave = known.leave.min(summons.leave),
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
        let summoned = self.summons.borrow().is_some();
        if !summoned && self.expires.get().is_some_and(|expires| expires <= now) {
            self.expire(&worker.current());
        }
        let summons = self.summons.borrow();
        match summons.as_ref() {
            None => Due::Nothing,
            Some(summons) if summons.cut.is_some_and(|cut| cut <= now) => {
                // Before its requests are dropped, which writes their lines.
                self.caller().downstream().cut(Arc::clone(&summons.cause));
                Due::Cut
            }
            Some(summons) if summons.leave <= now => Due::Leave,
            Some(_) => Due::Nothing,
        }
    }

    /// When there is something to do, beside what was done already (`left`).
    pub(super) fn next_due(&self, left: bool) -> Option<Instant> {
        match self.summons.borrow().as_ref() {
            None => self.expires.get(),
            Some(summons) if left => summons.cut,
            Some(summons) => Some(summons.leave),
        }
    }

    /// Why it was asked to end, if that was a fault.
    pub(super) fn dismissal(&self) -> Option<Dismissal> {
        let summons = self.summons.borrow();
        let summons = summons.as_ref()?;
        Some(Dismissal {
            fault: summons.fault?,
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

/// The moment from which on a certificate with the `notAfter` of `unix` seconds
/// after 1970 is refused in a handshake: that second is still a part of its
/// validity (RFC 5280 §4.1.2.5). `None`: more than a year ahead, when no connection will be there to see it.
pub(super) fn instant_of(unix: i64) -> Option<Instant> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(unix).map_or(0, |unix| unix.saturating_add(1)));
    let left = end.saturating_sub(now);
    (left <= A_YEAR).then(|| Instant::now() + left)
}

/// The fault of a connection whose peer is no longer trusted.
const WITHDRAWN: &str = "downstream/connection/withdrawn";
/// The fault of a connection that outlived its peer's certificate.
const EXPIRED: &str = "downstream/connection/certificate_expired";
/// Where there is no trust bundle any more that could say.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// Nobody keeps a connection for longer.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
