//! Carries lines from the threads that record them to a descriptor.
//!
//! A [`Lane`] takes whole lines into memory; one thread per [`Writer`] sweeps
//! the lanes and writes. So whoever records never waits for a reader that is
//! slow or gone: a lane that is full drops the line and counts it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A handle to a running writer thread.
#[derive(Clone)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

/// Ends the writer when dropped: what the lanes hold is written first, for at
/// most [`END_TIMEOUT`]. If the output is stuck, the thread is left behind.
pub(super) struct WriterGuard {
    shared: Arc<Shared>,
    finished: mpsc::Receiver<()>,
}

/// Where one thread puts its lines.
///
/// Putting never blocks when only one thread uses the lane: the writer's thread
/// holds at most one of the two buffers, and that for a swap of two pointers.
pub(super) struct Lane {
    front: Mutex<Vec<u8>>,
    spare: Option<Mutex<Vec<u8>>>,
    shared: Arc<Shared>,
}

/// How a writer works.
pub(super) struct Settings<O, L> {
    /// The name of the thread, at most 15 bytes.
    pub(super) name: &'static str,
    /// Where lines go.
    pub(super) output: O,
    /// How long lines are gathered before they are written.
    pub(super) gather: Duration,
    /// Told how many lines were lost since it was last told.
    pub(super) on_loss: L,
}

struct Shared {
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Lines that never reached the output.
    lost: AtomicU64,
    /// Something was put since the last sweep began.
    waiting: AtomicBool,
    /// A lane holds more than [`BATCH`]: gathering stops.
    urgent: AtomicBool,
    /// The guard is gone: the thread is to end.
    ending: AtomicBool,
    /// What is put from now on is not written any more.
    finished: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub(super) fn start<O, L>(settings: Settings<O, L>) -> io::Result<(Self, WriterGuard)>
    where
        O: Write + Send + 'static,
        L: FnMut(u64) + Send + 'static,
    {
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            lost: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let (done, finished) = mpsc::channel();
        let thread = thread::Builder::new().name(settings.name.into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                run(&shared, settings);
                // The guard may have given up waiting.
                done.send(()).ok();
            }
        })?;
        // Only this sets it; until then puts are found by the first sweep.
        shared.thread.set(thread.thread().clone()).ok();
        shared.wake();
        let guard = WriterGuard {
            shared: Arc::clone(&shared),
            finished,
        };
        Ok((Self { shared }, guard))
    }

    /// Adds a lane for one thread, which never waits at it; lines put while the
    /// writer sweeps may overtake the ones before them.
    pub(super) fn lane_for_one_thread(&self) -> Arc<Lane> {
        self.lane(Some(Mutex::default()))
    }

    /// Adds a lane for any number of threads, which keeps the order of lines;
    /// putting waits while another thread formats a line.
    pub(super) fn lane_in_order(&self) -> Arc<Lane> {
        self.lane(None)
    }

    /// How many lines never reached the output.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn lane(&self, spare: Option<Mutex<Vec<u8>>>) -> Arc<Lane> {
        let lane = Arc::new(Lane {
            front: Mutex::default(),
            spare,
            shared: Arc::clone(&self.shared),
        });
        lock(&self.shared.lanes).push(Arc::clone(&lane));
        lane
    }
}

impl Lane {
    /// Appends what `line` writes, one whole line with its end.
    ///
    /// A lane that holds more than [`LANE_LIMIT`] counts a lost line instead,
    /// and does not call `line`. So does one whose writer has finished; only
    /// then is the answer false.
    pub(super) fn put(&self, line: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut buffer = self.buffer();
        let before = buffer.len();
        let finished = self.shared.finished.load(Ordering::Relaxed);
        if finished || before > LANE_LIMIT {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return !finished;
        }
        line(&mut buffer);
        let overfull = before <= BATCH && buffer.len() > BATCH;
        drop(buffer);
        self.shared.announce(overfull);
        true
    }

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        try_lock(&self.front)
            .or_else(|| self.spare.as_ref().and_then(try_lock))
            .unwrap_or_else(|| lock(&self.front))
    }
}

impl Shared {
    /// Tells the thread that a lane holds something. Costs a system call only
    /// for the first line after a sweep and for a full batch.
    ///
    /// The plain load is enough: the line was put under the buffer's lock, so
    /// either the sweep finds it, or the sweep's reset of `waiting` is seen here.
    fn announce(&self, overfull: bool) {
        if overfull {
            self.urgent.store(true, Ordering::Release);
        }
        let first =
            !self.waiting.load(Ordering::Relaxed) && !self.waiting.swap(true, Ordering::AcqRel);
        if first || overfull {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Waits until something was put, and then until the gathering is over.
    /// Returns at once when the writer is to end.
    fn rest(&self, gather: Duration) {
        while !self.waiting.load(Ordering::Acquire) && !self.is_ending() {
            thread::park();
        }
        let deadline = Instant::now() + gather;
        while !self.urgent.load(Ordering::Acquire) && !self.is_ending() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
    }

    /// Takes what the lanes hold, buffer by buffer, and writes it.
    fn sweep(&self, taken: &mut Vec<u8>, output: &mut impl Write) {
        self.urgent.store(false, Ordering::Release);
        self.waiting.store(false, Ordering::Release);
        let lanes = lock(&self.lanes).clone();
        for buffer in lanes
            .iter()
            .flat_map(|lane| std::iter::once(&lane.front).chain(&lane.spare))
        {
            std::mem::swap(&mut *lock(buffer), taken);
            self.write(taken, output);
            taken.clear();
            taken.shrink_to(2 * BATCH);
        }
    }

    fn write(&self, mut lines: &[u8], output: &mut impl Write) {
        while !lines.is_empty() {
            match output.write(lines) {
                Ok(count) if count > 0 => lines = lines.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody made the descriptor non-blocking; its reader is slow.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(WOULD_BLOCK_PAUSE);
                }
                Ok(_) | Err(_) => {
                    let count = lines.iter().filter(|&&byte| byte == b'\n').count();
                    self.lost.fetch_add(count as u64, Ordering::Relaxed);
                    return;
                }
            }
        }
        // What fails here was counted as written: the next write will tell.
        output.flush().ok();
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake();
        // A reader that does not read must not hold up the exit.
        self.finished.recv_timeout(END_TIMEOUT).ok();
    }
}

fn run<O: Write, L: FnMut(u64)>(shared: &Shared, mut settings: Settings<O, L>) {
    let mut taken = Vec::new();
    let mut told = 0;
    let mut tell_after = Instant::now();
    let mut ending = false;
    while !ending {
        shared.rest(settings.gather);
        ending = shared.is_ending();
        shared.sweep(&mut taken, &mut settings.output);
        let lost = shared.lost.load(Ordering::Relaxed);
        if lost > told && (ending || Instant::now() >= tell_after) {
            (settings.on_loss)(lost - told);
            told = lost;
            tell_after = Instant::now() + LOSS_INTERVAL;
        }
    }
    // A line is put under its buffer's lock: it is there for the last sweep, or
    // is put after it and sees the flag.
    shared.finished.store(true, Ordering::Release);
    shared.sweep(&mut taken, &mut settings.output);
    // Lanes know their writer and the writer its lanes: one must let go.
    lock(&shared.lanes).clear();
}

/// A panic while a line was written leaves at worst a torn line, which is no
/// reason to stop logging.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Bytes in a lane that end the gathering: large enough that the system call
/// per batch does not count.
const BATCH: usize = 32 * 1024;

/// Bytes in one buffer of a lane beyond which lines are dropped: a burst of
/// ten thousand requests fits, a reader that stopped costs no more than this.
const LANE_LIMIT: usize = 4 * 1024 * 1024;

/// How long the end waits for a reader.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two reports of lost lines.
const LOSS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the thread waits for a non-blocking descriptor.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
pub(super) mod tests;
