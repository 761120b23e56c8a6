//! Tests of [`super`], and outputs that other tests of this room write to.

use std::sync::Condvar;

use super::*;

/// An output that tests read while it is written.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Page {
    /// Waits until the text satisfies `wanted`, and returns it.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (bytes, changed) = &*self.0;
        let mut bytes = lock(bytes);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if wanted(&text) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came; so far: {text}");
            bytes = changed.wait_timeout(bytes, left).expect("lock").0;
        }
    }

    pub(crate) fn text(&self) -> String {
        self.wait_for(|_| true)
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0.0).extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output whose reader is gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output whose reader does not read until the other end is dropped.
struct Stuck {
    entered: mpsc::Sender<()>,
    released: mpsc::Receiver<()>,
    page: Page,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entered.send(()).ok();
        self.released.recv().ok();
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts a few bytes at a time, with interruptions.
struct Dribble {
    page: Page,
    turn: usize,
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.turn += 1;
        match self.turn % 3 {
            0 => Err(io::ErrorKind::Interrupted.into()),
            1 => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.page.write(&bytes[..bytes.len().min(3)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start<O: Write + Send + 'static>(output: O, gather: Duration) -> (Writer, WriterGuard) {
    Writer::start(Settings {
        name: "test",
        output,
        gather,
        on_loss: |_| {},
    })
    .expect("a thread")
}

fn put(lane: &Lane, line: &str) -> bool {
    lane.put(|out| out.extend_from_slice(format!("{line}\n").as_bytes()))
}

const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn line_is_written_without_anything_more_being_put() {
    let page = Page::default();
    let (writer, _guard) = start(page.clone(), Duration::from_millis(50));
    let lane = writer.lane_for_one_thread();
    for round in ["first", "second", "third"] {
        put(&lane, round);
        page.wait_for(|text| text.ends_with(&format!("{round}\n")));
    }
    assert_eq!(page.text(), "first\nsecond\nthird\n");
}

#[test]
fn full_batch_is_written_before_the_gathering_is_over() {
    let page = Page::default();
    let (writer, _guard) = start(page.clone(), NEVER);
    let lane = writer.lane_for_one_thread();
    put(&lane, &"x".repeat(BATCH));
    page.wait_for(|text| text.len() == BATCH + 1);
}

#[test]
fn small_batch_waits_for_the_gathering_and_the_guard_writes_it() {
    let page = Page::default();
    let (writer, guard) = start(page.clone(), NEVER);
    put(&writer.lane_for_one_thread(), "one");
    put(&writer.lane_in_order(), "two");
    assert_eq!(page.text(), "");
    drop(guard);
    assert_eq!(page.text(), "one\ntwo\n");
    assert_eq!(writer.lost(), 0);
}

#[test]
fn line_put_after_the_end_is_counted_as_lost() {
    let page = Page::default();
    let (writer, guard) = start(page.clone(), AT_ONCE);
    let lane = writer.lane_for_one_thread();
    drop(guard);
    assert!(!put(&lane, "late"));
    assert_eq!(page.text(), "");
    assert_eq!(writer.lost(), 1);
}

#[test]
fn lines_for_a_reader_that_is_gone_are_counted_and_told() {
    let (told, losses) = mpsc::channel();
    let (writer, guard) = Writer::start(Settings {
        name: "test",
        output: Closed,
        gather: NEVER,
        on_loss: move |lines| told.send(lines).expect("test listens"),
    })
    .expect("a thread");
    let lane = writer.lane_for_one_thread();
    for _ in 0..3 {
        put(&lane, "nobody");
    }
    drop(guard);
    assert_eq!(losses.recv(), Ok(3));
    assert_eq!(writer.lost(), 3);
}

#[test]
fn reader_that_does_not_read_costs_bounded_memory_and_nobody_waits() {
    let page = Page::default();
    let (entered, writing) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let (writer, guard) = start(
        Stuck {
            entered,
            released,
            page: page.clone(),
        },
        AT_ONCE,
    );
    let lane = writer.lane_in_order();
    put(&lane, "stuck");
    writing.recv().expect("the writer writes");

    let line = "x".repeat(1023);
    let fitting = LANE_LIMIT / 1024 + 1;
    for _ in 0..fitting + 7 {
        assert!(put(&lane, &line), "the writer has not finished");
    }
    assert_eq!(writer.lost(), 7);

    drop(release);
    page.wait_for(|text| text.lines().count() == 1 + fitting);
    put(&lane, "room again");
    page.wait_for(|text| text.ends_with("room again\n"));
    drop(guard);
    assert_eq!(writer.lost(), 7);
}

#[test]
fn short_writes_and_interruptions_lose_nothing() {
    let page = Page::default();
    let dribble = Dribble {
        page: page.clone(),
        turn: 0,
    };
    let (writer, guard) = start(dribble, AT_ONCE);
    put(&writer.lane_in_order(), "a line in pieces");
    drop(guard);
    assert_eq!(page.text(), "a line in pieces\n");
    assert_eq!(writer.lost(), 0);
}

#[test]
fn every_line_of_every_thread_arrives_whole_and_once() {
    const LINES: usize = 5_000;
    let page = Page::default();
    let (writer, guard) = start(page.clone(), AT_ONCE);
    let shared = writer.lane_in_order();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (own, shared) = (writer.lane_for_one_thread(), &shared);
            scope.spawn(move || {
                for line in 0..LINES {
                    put(&own, &format!("own {worker} {line}"));
                    put(shared, &format!("shared {worker} {line}"));
                }
            });
        }
    });
    drop(guard);
    assert_eq!(writer.lost(), 0);
    let text = page.text();
    for worker in 0..4 {
        for kind in ["own", "shared"] {
            let prefix = format!("{kind} {worker} ");
            let mut seen: Vec<usize> = text
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .map(|number| number.parse().expect("a whole line"))
                .collect();
            if kind == "shared" {
                assert!(seen.is_sorted(), "a shared lane keeps the order");
            }
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..LINES), "{prefix}");
        }
    }
}
