//! What the two processes say to each other.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::{Value, json};

use super::lines::Lines;
use super::{Inherited, Listening, READY_WITHIN, ServiceManager};

/// The first word, with the version of what follows: another one is not understood.
const ASK: &str = "take-over 1";
/// More sockets than this are passed on by nobody.
const MOST: u64 = 4096;

/// What a predecessor gives.
#[derive(Debug)]
pub(super) struct Welcome {
    /// The address of the service manager.
    pub(super) manager: Option<String>,
    /// Within which time that wants to hear.
    pub(super) watchdog: Option<Duration>,
    pub(super) sockets: Inherited,
}

impl Welcome {
    pub(super) fn new(
        manager: &ServiceManager,
        watchdog: Option<Duration>,
        sockets: Inherited,
    ) -> Self {
        Self {
            manager: manager.address().map(str::to_owned),
            watchdog,
            sockets,
        }
    }

    /// Says it to a successor, and waits until that is ready.
    pub(super) fn say(&self, mut lines: Lines) -> io::Result<Lines> {
        lines.expect(ASK)?;
        let sockets: Vec<_> = self.sockets.described().collect();
        let head = json!({
            "manager": self.manager,
            "watchdog_us": self.watchdog.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            "sockets": sockets.len(),
        });
        lines.say(&head.to_string())?;
        for (words, socket) in sockets {
            lines.expect("next")?;
            lines.say_with(&words.to_string(), socket.as_fd())?;
        }
        lines.wait_for(READY_WITHIN)?;
        lines.expect("ready")?;
        Ok(lines)
    }

    /// Hears it from a predecessor.
    pub(super) fn hear(lines: &mut Lines) -> io::Result<Self> {
        lines.say(ASK)?;
        let (head, _) = lines.hear()?;
        let head = parsed(&head)?;
        let number = |key| head.get(key).and_then(Value::as_u64);
        let count = number("sockets").filter(|count| *count <= MOST);
        let mut sockets = Inherited::default();
        for _ in 0..count.ok_or_else(not_understood)? {
            lines.say("next")?;
            let (words, passed) = lines.hear()?;
            let passed = passed.ok_or_else(|| io::Error::other("a socket is missing"))?;
            let socket = Listening::of(passed)?;
            if !sockets.add_described(&parsed(&words)?, socket) {
                return Err(not_understood());
            }
        }
        Ok(Self {
            manager: head
                .get("manager")
                .and_then(Value::as_str)
                .map(str::to_owned),
            watchdog: number("watchdog_us").map(Duration::from_micros),
            sockets,
        })
    }
}

fn parsed(line: &str) -> io::Result<Value> {
    serde_json::from_str(line).map_err(io::Error::other)
}

fn not_understood() -> io::Error {
    io::Error::other("what the running process says is not understood: it is of another version")
}
