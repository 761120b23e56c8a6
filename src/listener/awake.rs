//! Which connections of a worker hold what only serving needs, and how long they
//! may when nothing is asked on them.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::Activity;

/// How often it is looked who has nothing to do. A connection is told to rest at
/// the second look in a row at which no request is under way or was made.
const LOOK: Duration = Duration::from_millis(50);
/// So many are looked at in [`LOOK`]; where there are more, the looks are farther
/// apart, and cost no more.
const LOOKED_AT: usize = 250;

/// The connections of one worker that are awake.
#[derive(Debug, Default)]
pub(super) struct Awake {
    spells: RefCell<Vec<Rc<Spell>>>,
    first: Notify,
}

/// A time during which one connection is awake.
#[derive(Debug)]
pub(super) struct Spell {
    activity: Arc<Activity>,
    stage: Cell<Stage>,
    /// Of its connection's task.
    waker: RefCell<Option<Waker>>,
    /// Whether it is among those that are looked at.
    joined: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It rests.
    Resting,
    /// At the last look, something was under way; or there was none yet.
    Busy,
    /// Nothing was, after so many requests.
    Quiet(u32),
    /// Nothing was at two looks.
    Over,
}

impl Awake {
    /// A connection has woken up. `task` is told when it may rest.
    pub(super) fn join(&self, spell: &Rc<Spell>, task: &Waker) {
        spell.stage.set(Stage::Busy);
        spell.waker.replace(Some(task.clone()));
        if !spell.joined.replace(true) {
            let mut spells = self.spells.borrow_mut();
            if spells.is_empty() {
                self.first.notify_one();
            }
            spells.push(Rc::clone(spell));
        }
    }

    /// Looks again and again who may rest, and tells them.
    pub(super) async fn watch(&self) -> Infallible {
        loop {
            let count = self.spells.borrow().len();
            if count == 0 {
                self.first.notified().await;
            } else {
                let looks = u32::try_from(count / LOOKED_AT).unwrap_or(u32::MAX);
                tokio::time::sleep(LOOK.saturating_mul(looks.saturating_add(1))).await;
                self.look();
            }
        }
    }

    /// Tells those who may rest.
    pub(super) fn look(&self) {
        let mut spells = self.spells.borrow_mut();
        spells.retain(|spell| {
            // Those that have ended are known to nobody else.
            let stays = Rc::strong_count(spell) > 1 && spell.look();
            spell.joined.set(stays);
            stays
        });
        // After a crowd, as connections do.
        if spells.capacity() > LOOKED_AT && spells.len() < spells.capacity() / 4 {
            spells.shrink_to_fit();
        }
    }
}

impl Spell {
    /// Of a connection that rests.
    pub(super) fn new(activity: &Arc<Activity>) -> Rc<Self> {
        Rc::new(Self {
            activity: Arc::clone(activity),
            stage: Cell::new(Stage::Resting),
            waker: RefCell::default(),
            joined: Cell::new(false),
        })
    }

    /// Whether it is to rest now: nothing has been under way for a while, nor is.
    pub(super) fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over && self.activity.is_at_rest()
    }

    /// It rests.
    pub(super) fn end(&self) {
        self.stage.set(Stage::Resting);
    }

    /// Sees whether it may rest; false: it does already.
    fn look(&self) -> bool {
        let now = Stage::Quiet(self.activity.requests());
        let next = match self.stage.get() {
            Stage::Resting => return false,
            _ if !self.activity.is_at_rest() => Stage::Busy,
            stage if stage == now => Stage::Over,
            Stage::Over => Stage::Over,
            Stage::Busy | Stage::Quiet(_) => now,
        };
        let was_over = self.stage.replace(next) == Stage::Over;
        if next == Stage::Over
            && !was_over
            && let Some(task) = &*self.waker.borrow()
        {
            // Kept: a request may come first, and it is told so again later.
            task.wake_by_ref();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awake_one(awake: &Awake, activity: &Arc<Activity>) -> Rc<Spell> {
        let spell = Spell::new(activity);
        awake.join(&spell, Waker::noop());
        spell
    }

    #[test]
    fn connection_is_told_to_rest_at_the_second_quiet_look() {
        let (awake, activity) = (Awake::default(), Activity::new(false));
        let spell = awake_one(&awake, &activity);
        drop(activity.request());
        awake.look();
        assert!(!spell.is_over());
        drop(activity.request());
        awake.look();
        assert!(!spell.is_over(), "another request came between");
        awake.look();
        assert!(spell.is_over());
        // Before it could.
        let under_way = activity.request();
        assert!(!spell.is_over());
        drop(under_way);
    }

    #[test]
    fn connection_is_not_told_to_rest_while_something_is_under_way() {
        let (awake, activity) = (Awake::default(), Activity::new(false));
        let spell = awake_one(&awake, &activity);
        let looks = || {
            for _ in 0..4 {
                awake.look();
            }
            spell.is_over()
        };
        let under_way = activity.request();
        assert!(!looks());
        drop(under_way);
        activity.coming(true);
        assert!(!looks());
        activity.coming(false);
        activity.took(false);
        assert!(!looks());
        activity.took(true);
        assert!(looks());
    }

    #[test]
    fn who_rests_or_has_ended_is_looked_at_no_more() {
        let (awake, activity) = (Awake::default(), Activity::new(false));
        let resting = awake_one(&awake, &activity);
        drop(awake_one(&awake, &activity));
        let awake_still = awake_one(&awake, &activity);
        resting.end();
        awake.look();
        assert_eq!(awake.spells.borrow().len(), 1);
        // Once, however often it wakes up.
        awake.join(&resting, Waker::noop());
        awake.join(&resting, Waker::noop());
        awake.join(&awake_still, Waker::noop());
        assert_eq!(awake.spells.borrow().len(), 2);
    }
}
