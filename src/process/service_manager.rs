//! Tells the service manager how the process is.

use std::fmt::{self, Write as _};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use crate::telemetry::events;

/// Where systemd says that it is told, or nobody.
///
/// Connected once, at the start: what confines the process later leaves the way
/// open. Nothing is waited for, and what is not heard is not said again.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    told: Option<Arc<UnixDatagram>>,
    address: Option<String>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names, if any.
    pub fn from_environment() -> Self {
        std::env::var("NOTIFY_SOCKET").map_or_else(|_| Self::default(), |at| Self::at(&at))
    }

    /// The one at this address: a path, or `@` and an abstract name.
    pub fn at(address: &str) -> Self {
        match connect(address) {
            Ok(told) => Self {
                told: Some(Arc::new(told)),
                address: Some(address.to_owned()),
            },
            Err(cause) => {
                tracing::warn!(event = events::SERVICE_MANAGER_UNREACHABLE, %cause, "the service manager cannot be told anything (NOTIFY_SOCKET)");
                Self::default()
            }
        }
    }

    /// Its address, for a successor.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Whether somebody is told.
    pub fn is_there(&self) -> bool {
        self.told.is_some()
    }

    /// Every listener accepts; `status` says what there is to see.
    pub fn ready(&self, status: &str) {
        self.say(format_args!("READY=1\nSTATUS={}", OneLine(status)));
    }

    /// The files are looked at. [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let part = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
        let microseconds = seconds.saturating_mul(1_000_000).saturating_add(part);
        self.say(format_args!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// What is under way is finished, and then the process ends.
    pub fn stopping(&self) {
        self.say(format_args!(
            "STOPPING=1\nSTATUS=draining: no connection is accepted, what is under way is finished"
        ));
    }

    /// What there is to see now, in one line.
    pub fn status(&self, status: &str) {
        self.say(format_args!("STATUS={}", OneLine(status)));
    }

    /// The workers get on.
    pub fn alive(&self) {
        self.say(format_args!("WATCHDOG=1"));
    }

    /// Another process is the service from now on.
    pub fn succeeded_by(&self, pid: u32) {
        self.say(format_args!("MAINPID={pid}"));
    }

    fn say(&self, words: fmt::Arguments<'_>) {
        let Some(told) = &self.told else { return };
        let mut text = String::new();
        if write!(text, "{words}").is_ok()
            && let Err(cause) = told.send(text.as_bytes())
        {
            tracing::debug!(%cause, "the service manager was not told");
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address.as_bytes()))?,
    };
    socket.connect_addr(&address)?;
    // A manager that does not listen holds nobody up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A text that cannot begin a line of its own: that would be another message.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        self.0.chars().map(plain).try_for_each(|c| f.write_char(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard at `address` of what `tell` says.
    fn heard(address: &SocketAddr, named: &str, tell: impl Fn(&ServiceManager)) -> String {
        let ear = UnixDatagram::bind_addr(address).unwrap();
        tell(&ServiceManager::at(named));
        let mut buffer = [0; 500];
        let length = ear.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn heard_in_a_folder(tell: impl Fn(&ServiceManager)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let address = SocketAddr::from_pathname(&path).unwrap();
        heard(&address, path.to_str().unwrap(), tell)
    }

    #[test]
    fn manager_is_told_at_a_path_and_at_an_abstract_name() {
        let ready = "READY=1\nSTATUS=all well";
        assert_eq!(heard_in_a_folder(|m| m.ready("all well")), ready);
        let name = format!("countersign-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let said = heard(&address, &format!("@{name}"), |m| m.ready("all well"));
        assert_eq!(said, ready);
    }

    #[test]
    fn status_is_one_line_whatever_is_in_it() {
        let said = heard_in_a_folder(|m| m.status("failed:\nMAINPID=1"));
        assert_eq!(said, "STATUS=failed: MAINPID=1");
    }

    #[test]
    fn reload_carries_the_time_that_its_order_is_told_by() {
        let said = heard_in_a_folder(ServiceManager::reloading);
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{said}");
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        let manager = ServiceManager::at("/nowhere/notify");
        assert!(!manager.is_there());
        manager.ready("nobody hears it");
    }
}
