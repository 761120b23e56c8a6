//! What the two processes say to each other.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::{Value, json};

use super::lines::Lines;
use super::{ANSWER_WITHIN, Inherited, Listening, ServiceManager, WELCOMED_WITHIN};

/// The first word, with the version of what follows: another one is not understood.
const ASK: &str = "take-over 1";
/// More sockets than this are passed on by nobody.
const MOST: u64 = 4096;

/// What a predecessor says that goes on alone, before its reason.
const REFUSED: &str = "refused ";

/// A predecessor that gives nothing, and its reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// Tells a successor why it is given nothing, or why it does not come to serve.
/// Returns the cause.
pub(super) fn refuse(mut lines: Lines, cause: io::Error) -> io::Error {
    // Who has gone needs no answer.
    lines.say(&format!("{REFUSED}{cause}")).ok();
    cause
}

/// The reason, if this is what a predecessor says that goes on alone.
pub(super) fn refusal(line: &str) -> Option<String> {
    let reason = line.strip_prefix(REFUSED)?;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Some(reason.chars().map(plain).collect())
}

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

    /// Says it to a successor, and waits until that is ready, for `patience` after
    /// the last socket. One that comes too late is told.
    pub(super) fn say(&self, mut lines: Lines, patience: Duration) -> io::Result<Lines> {
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
        lines.wait_for(patience)?;
        match lines.expect("ready") {
            Ok(()) => Ok(lines),
            // The system says it either way (socket(7)).
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                let seconds = patience.as_secs();
                let cause = format!("the successor did not serve within {seconds} s");
                Err(refuse(lines, io::Error::other(cause)))
            }
            Err(cause) => Err(cause),
        }
    }

    /// Hears it from a predecessor.
    pub(super) fn hear(lines: &mut Lines) -> io::Result<Self> {
        // Who refuses may have said so already, and hears nothing any more.
        lines.say(ASK).ok();
        lines.wait_for(WELCOMED_WITHIN)?;
        let (head, _) = lines.hear()?;
        if let Some(reason) = refusal(&head) {
            return Err(io::Error::other(Refusal(reason)));
        }
        lines.wait_for(ANSWER_WITHIN)?;
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
