//! Puts one generation after the other in force.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::load::{Loaded, Warning, load};
use super::publish::{Publication, Publishing};
use super::status::{Cause, Outcome, Status};
use super::watch::{GATHER_AT_MOST, GATHER_QUIET, Watch, gather};
use super::withhold::withheld;
use crate::config::{Admin, Files, Reach, Seen};
use crate::listener::Address;
use crate::process::Inherited;
use crate::telemetry::events;
use crate::telemetry::metrics::ReloadOutcome;

/// The part of the poll interval after which files are looked at: what has
/// changed is then gathered, read and put in force within the rest.
const LOOK_EARLY: f64 = 0.8;
/// What failed is tried again after so long, even if no file has changed.
const RETRY: Duration = Duration::from_secs(60);
/// Files that change while they are loaded are loaded again, so many times.
const MAX_LOADS: usize = 5;
/// How long to wait for them to become quiet.
const BETWEEN_LOADS: Duration = Duration::from_millis(100);

/// What is asked of the reloader.
#[derive(Debug)]
pub(super) enum Request {
    /// Look at the files now (SIGHUP), and say when that is done.
    Reload { done: oneshot::Sender<()> },
    /// Pass on what is open.
    Sockets {
        answer: oneshot::Sender<io::Result<Inherited>>,
    },
    /// Look at the files now, take these bundles as they are, and answer.
    Confirm {
        accepted: Vec<String>,
        answer: oneshot::Sender<Outcome>,
    },
}

/// What is in force, for those who tell of it.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) loaded: Arc<Loaded>,
    pub(super) status: Status,
    /// Where each listener is reached, in the order of the config; empty where the
    /// system does not say.
    pub(super) addresses: Vec<Address>,
}

/// Follows the files, and puts what they become in force.
pub(super) struct Reloader {
    path: PathBuf,
    in_force: Rc<RefCell<InForce>>,
    publishing: Publishing,
    looking: Arc<Mutex<Looking>>,
    /// To what the process has confined itself, if it has.
    reach: Option<Arc<Reach>>,
    /// Warnings that were said already.
    warned: HashSet<String>,
}

/// What was looked at when the files were loaded last, and what watches it.
/// File systems may be slow: neither is touched on a thread that serves.
struct Looking {
    seen: Seen,
    watch: Watch,
}

impl Looking {
    /// Watches what was looked at; also what a watch was lost on.
    fn follow(&mut self) {
        let paths: Vec<_> = self.seen.paths().map(Path::to_owned).collect();
        self.watch.follow(&paths);
    }
}

/// Why the reloader looks at the files.
enum Wake {
    /// Something may have changed.
    Look,
    /// It is time to try again.
    Retry,
    Asked(Request),
    /// Nobody asks any more.
    Over,
}

impl Reloader {
    pub(super) fn new(
        path: PathBuf,
        in_force: Rc<RefCell<InForce>>,
        publishing: Publishing,
        (watch, seen, reach): (Watch, Seen, Option<Arc<Reach>>),
    ) -> Self {
        Self {
            path,
            in_force,
            publishing,
            looking: Arc::new(Mutex::new(Looking { seen, watch })),
            reach,
            warned: HashSet::new(),
        }
    }

    /// Goes on until nobody asks any more.
    pub(super) async fn run(
        mut self,
        mut hints: mpsc::Receiver<()>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut retry: Option<Instant> = None;
        // At once for the first time: what has changed since it was loaded was
        // not watched yet.
        let mut poll = Instant::now();
        loop {
            let wake = tokio::select! {
                biased;
                request = requests.recv() => request.map_or(Wake::Over, Wake::Asked),
                Some(()) = hints.recv() => Wake::Look,
                () = sleep_until(retry.unwrap_or(poll)), if retry.is_some() => Wake::Retry,
                () = sleep_until(poll) => Wake::Look,
            };
            let (accepted, answer) = match wake {
                Wake::Over => return,
                Wake::Retry => (Vec::new(), None),
                Wake::Asked(Request::Reload { done }) => {
                    self.reload_for_a_signal(&mut retry).await;
                    // Who asked may have gone; here as below.
                    done.send(()).ok();
                    continue;
                }
                Wake::Asked(Request::Sockets { answer }) => {
                    answer.send(self.publishing.sockets_to_pass_on()).ok();
                    continue;
                }
                Wake::Asked(Request::Confirm { accepted, answer }) => (accepted, Some(answer)),
                Wake::Look => {
                    self.warn_of_ends();
                    let changed = self.has_changed().await;
                    let interval = self.loaded().config().server().poll_interval;
                    // What it finds is in force by the end of the interval.
                    poll = Instant::now() + interval.mul_f64(LOOK_EARLY);
                    if !changed {
                        continue;
                    }
                    gather(&mut hints, GATHER_QUIET, GATHER_AT_MOST).await;
                    (Vec::new(), None)
                }
            };
            let outcome = self.attempt(&accepted).await;
            retry = outcome.refused.is_some().then(|| Instant::now() + RETRY);
            if let Some(answer) = answer {
                answer.send(outcome).ok();
            }
        }
    }

    /// Whoever sends a signal has no answer but the log.
    async fn reload_for_a_signal(&mut self, retry: &mut Option<Instant>) {
        let outcome = self.attempt(&[]).await;
        *retry = outcome.refused.is_some().then(|| Instant::now() + RETRY);
        let status = &self.in_force.borrow().status;
        if outcome.changed.is_empty() {
            tracing::info!(
                event = events::RELOAD_UNCHANGED,
                generation = status.generation,
                failing = status.failing,
                "{}",
                if status.failing {
                    "what is on disk is not in force, for what was said of it before"
                } else {
                    "nothing has changed on disk"
                }
            );
        }
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.in_force.borrow().loaded)
    }

    async fn has_changed(&self) -> bool {
        let looking = Arc::clone(&self.looking);
        let look = tokio::task::spawn_blocking(move || {
            let mut looking = lock(&looking);
            looking.follow();
            looking.seen.has_changed()
        });
        // Whoever cannot look, loads.
        look.await.unwrap_or(true)
    }

    /// Loads what is on disk, and puts it in force if it may be. Trust bundles
    /// that are held back stay as they are; nothing else waits for them.
    async fn attempt(&mut self, accepted: &[String]) -> Outcome {
        let outcome = self.try_to_reload(accepted).await;
        let outcome = outcome.unwrap_or_else(Outcome::refused);
        self.record(&outcome, accepted);
        outcome
    }

    async fn try_to_reload(&mut self, accepted: &[String]) -> Result<Outcome, Cause> {
        let loaded = self.load(&[]).await?;
        let held_back = withheld(&loaded, &self.loaded(), accepted);
        if held_back.is_empty() {
            let changed = self.put_in_force(loaded).await?;
            return Ok(Outcome {
                changed,
                refused: None,
            });
        }
        drop(loaded);
        let names: Vec<_> = held_back.iter().map(|held| held.bundle.clone()).collect();
        let rest = self.load(&names).await?;
        Ok(Outcome {
            changed: self.put_in_force(rest).await?,
            refused: Some(Cause::HeldBack(held_back)),
        })
    }

    /// Loads until nothing has changed in between. The bundles of the names in
    /// `keep` are those that are in force.
    async fn load(&mut self, keep: &[String]) -> Result<Loaded, Cause> {
        let former = self.loaded();
        for _ in 0..MAX_LOADS {
            let (path, former) = (self.path.clone(), Arc::clone(&former));
            let (looking, keep) = (Arc::clone(&self.looking), keep.to_vec());
            let reach = self.reach.clone();
            let loading = tokio::task::spawn_blocking(move || {
                let (seen, outcome) = load(&path, Files::within(reach), (Some(&former), &keep));
                let mut looking = lock(&looking);
                let former = std::mem::replace(&mut looking.seen, seen);
                if !keep.is_empty() {
                    // What is kept was not looked at again, and is waited for.
                    looking.seen.merge(former);
                }
                // In this order: what changes from here on is hinted at.
                looking.follow();
                let stable = !looking.seen.has_changed();
                (outcome, stable)
            });
            let (outcome, stable) = loading
                .await
                .map_err(|cause| Cause::Problems(vec![format!("loading broke off: {cause}")]))?;
            if stable {
                return outcome.map_err(|problems| Cause::Problems(problems.each()));
            }
            sleep(BETWEEN_LOADS).await;
        }
        Err(Cause::Problems(vec![
            "the files go on changing while they are read; they are tried again".to_owned(),
        ]))
    }

    /// Puts it in force, if anything in it has changed. Returns what.
    async fn put_in_force(&mut self, loaded: Loaded) -> Result<Vec<String>, Cause> {
        let former = self.loaded();
        let changes = loaded.changes_from(&former);
        if changes.is_empty() {
            return Ok(changes);
        }
        let mut fixed = unchangeable(&loaded, &former);
        let reach = self.reach.as_deref().into_iter();
        fixed.extend(reach.flat_map(|reach| out_of_reach(&loaded, &former, reach)));
        if !fixed.is_empty() {
            return Err(Cause::Problems(fixed));
        }
        let generation = self.in_force.borrow().status.generation.saturating_add(1);
        let publication = Publication {
            generation,
            loaded: Arc::new(loaded),
        };
        let published = self.publishing.publish(&publication).await;
        published.map_err(|cause| Cause::Problems(vec![cause]))?;
        let mut in_force = self.in_force.borrow_mut();
        in_force.addresses = self.publishing.addresses().unwrap_or_default();
        in_force.loaded = publication.loaded;
        in_force.status.generation = generation;
        in_force.status.published = SystemTime::now();
        Ok(changes)
    }

    /// Counts an outcome, and says in the log what is new of it.
    fn record(&mut self, outcome: &Outcome, accepted: &[String]) {
        let now = SystemTime::now();
        let mut in_force = self.in_force.borrow_mut();
        let status = &mut in_force.status;
        let metrics = self.publishing.metrics();
        if !outcome.changed.is_empty() {
            tracing::info!(
                event = events::GENERATION,
                generation = status.generation,
                changed = outcome.changed.join(" "),
                accepted = (!accepted.is_empty()).then(|| accepted.join(" ")),
                "what has changed on disk is in force"
            );
        }
        match &outcome.refused {
            Some(cause) => {
                let counted = match cause {
                    Cause::Problems(_) => ReloadOutcome::Failure,
                    Cause::HeldBack(_) => ReloadOutcome::HeldBack,
                };
                metrics.reload(counted, now);
                if status.fail(cause.clone(), now) {
                    say_refused(cause, status.generation);
                }
            }
            None => {
                metrics.reload(ReloadOutcome::Success, now);
                if status.succeed(now) {
                    tracing::info!(
                        event = events::RELOAD_RECOVERED,
                        generation = status.generation,
                        "what is on disk is what is in force again"
                    );
                }
            }
        }
        drop(in_force);
        self.warn_of_ends();
    }

    /// Says once of each certificate and list that it ends soon, or has ended.
    fn warn_of_ends(&mut self) {
        let loaded = self.loaded();
        for Warning { key, event, text } in loaded.warnings() {
            if self.warned.insert(key) {
                tracing::warn!(event, "{text}");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has changed that cannot, as long as the process lives.
fn unchangeable(new: &Loaded, former: &Loaded) -> Vec<String> {
    let (server, old) = (new.config().server(), former.config().server());
    let mut all = Vec::new();
    if server.workers != old.workers {
        all.push(format!(
            "server.workers cannot change from {} to {} while countersign runs
  restart it, or write {} again",
            old.workers, server.workers, old.workers
        ));
    }
    if server.confinement != old.confinement {
        all.push(
            "server.confinement cannot change while countersign runs
  restart it, or write what it was"
                .to_owned(),
        );
    }
    if server.upgrade_socket != old.upgrade_socket {
        all.push(
            "server.upgrade_socket cannot change while countersign runs
  restart it, or write what it was"
                .to_owned(),
        );
    }
    let remedy = match old.upgrade_socket {
        Some(_) => "restart it, run `countersign upgrade`, or write what it was",
        None => "restart it, or write what it was",
    };
    for option in admin_options_that_differ(new.config().admin(), former.config().admin()) {
        all.push(format!(
            "{option} cannot change while countersign runs\n  {remedy}"
        ));
    }
    all
}

/// What differs in `[admin]`, by the names that the config has for it.
fn admin_options_that_differ(new: Option<&Admin>, old: Option<&Admin>) -> Vec<&'static str> {
    let (Some(new), Some(old)) = (new, old) else {
        return (new != old).then_some("[admin]").into_iter().collect();
    };
    let all = [
        ("admin.bind", new.bind != old.bind),
        ("admin.hosts", new.hosts != old.hosts),
        (
            "admin.allow_changes",
            new.allow_changes != old.allow_changes,
        ),
        ("[admin.tls]", new.tls != old.tls),
    ];
    let differing = all.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(option, _)| option).collect()
}

/// The unix sockets that the process has given up the right to make. Those that are
/// open need not be made, whatever has become of their folders.
fn out_of_reach(new: &Loaded, former: &Loaded, reach: &Reach) -> Vec<String> {
    let open = reach.out_of_reach(former.config());
    let all = reach.out_of_reach(new.config()).into_iter();
    let new = all.filter(|path| !open.contains(path));
    new.map(|path| {
        format!(
            "unix:{} cannot be made: this process has confined itself at its start to the folders of the sockets that the config named then
  restart it, or choose a path in one of those folders",
            path.display()
        )
    })
    .collect()
}

/// Says in the log what stands against what is on disk.
fn say_refused(cause: &Cause, generation: u64) {
    match cause {
        Cause::Problems(problems) => {
            for problem in problems {
                tracing::error!(
                    event = events::RELOAD_FAILED,
                    generation,
                    cause = problem,
                    "what is on disk is not put in force; the last good generation stays"
                );
            }
        }
        Cause::HeldBack(all) => {
            for withheld in all {
                tracing::warn!(
                    event = events::RELOAD_HELD_BACK,
                    generation,
                    bundle = withheld.bundle,
                    cause = withheld.loss,
                    remedy = withheld.remedy(),
                    "the trust bundle stays as it is until somebody confirms what is on disk; nothing else waits for it"
                );
            }
        }
    }
}
