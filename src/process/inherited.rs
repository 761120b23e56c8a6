//! Sockets that were bound before this process was.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use serde_json::{Value, json};
use socket2::{Domain, SockRef, Type};

use crate::config::Bind;

/// More than these are passed by nobody; each costs a descriptor.
const MOST: usize = 1024;

/// The sockets that the process was started with.
///
/// They are kept for as long as it accepts: a listener that a reload takes away
/// may come back with another one.
#[derive(Debug, Default)]
pub struct Inherited {
    named: Vec<(String, Listening)>,
    bound: Vec<Bound>,
}

/// A socket that the predecessor has bound for one of its listeners.
#[derive(Debug)]
struct Bound {
    listener: String,
    /// As the config has it.
    bind: String,
    socket: Listening,
}

/// A socket that listens for streams.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// Why a socket that was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// What is passed is no socket that connections come to.
    #[error(
        "descriptor {number}, which systemd passes as \"{name}\", is not a listening TCP or unix stream socket: {cause}\n  \
         write ListenStream= for it in the socket unit, without Accept=yes"
    )]
    Descriptor {
        /// Its number.
        number: usize,
        /// Its name.
        name: String,
        /// What it is instead.
        cause: io::Error,
    },
    /// Nothing is passed under this name.
    #[error(
        "systemd passes no socket of the name \"{name}\"; {there}\n  \
         write FileDescriptorName={name} in the socket unit, and Sockets= with that unit in the service"
    )]
    NoneOfThisName {
        /// The name in the config.
        name: String,
        /// What there is instead, in words.
        there: String,
    },
    /// Several are passed under this name.
    #[error(
        "systemd passes {count} sockets of the name \"{name}\", and a listener has one\n  \
         write a socket unit for each, with a FileDescriptorName= of its own"
    )]
    Several {
        /// The name in the config.
        name: String,
        /// How many.
        count: usize,
    },
    /// The system gives no further descriptor.
    #[error("the socket \"{name}\" from systemd cannot be used: {cause}")]
    System {
        /// The name in the config.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// More are passed than anybody needs.
    #[error("systemd passes {0} sockets, and at most {MOST} are taken")]
    TooMany(usize),
}

impl Inherited {
    /// Takes those that systemd has passed (`LISTEN_FDS`), and sees that each can
    /// be accepted on. Those without a name are called `unknown`, as
    /// sd_listen_fds(3) has it.
    ///
    /// Must be called before the process has a second thread.
    ///
    /// # Errors
    ///
    /// [`InheritedError::Descriptor`] and [`InheritedError::TooMany`].
    pub fn from_environment() -> Result<Self, InheritedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        if passed.len() > MOST {
            return Err(InheritedError::TooMany(passed.len()));
        }
        let mut named = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or("unknown").to_owned();
            match take(&mut passed, index) {
                Ok(socket) => named.push((name, socket)),
                Err(cause) => {
                    return Err(InheritedError::Descriptor {
                        number: index.saturating_add(FIRST),
                        name,
                        cause,
                    });
                }
            }
        }
        Ok(Self {
            named,
            bound: Vec::new(),
        })
    }

    /// One more handle on the socket of this name.
    ///
    /// # Errors
    ///
    /// There is none, or more than one, or the system refuses.
    pub fn named(&self, name: &str) -> Result<Listening, InheritedError> {
        let mut all = self.named.iter().filter(|(known, _)| known == name);
        match (all.next(), all.count()) {
            (None, _) => Err(InheritedError::NoneOfThisName {
                name: name.to_owned(),
                there: self.what_there_is(),
            }),
            (Some((_, socket)), 0) => socket.try_clone().map_err(|cause| InheritedError::System {
                name: name.to_owned(),
                cause,
            }),
            (Some(_), others) => Err(InheritedError::Several {
                name: name.to_owned(),
                count: others.saturating_add(1),
            }),
        }
    }

    /// All of them, with their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Listening)> {
        self.named.iter().map(|(name, socket)| (&**name, socket))
    }

    /// One more.
    pub fn add(&mut self, name: String, socket: Listening) {
        self.named.push((name, socket));
    }

    /// One more handle on the socket that the predecessor had for the listener of
    /// this name, or else for any other, at this address.
    pub fn of_predecessor(&self, listener: &str, bind: &Bind) -> Option<io::Result<Listening>> {
        let written = bind.to_string();
        let fits = |bound: &&Bound| bound.bind == written;
        let same_name = |bound: &&Bound| bound.listener == listener;
        let mut all = self.bound.iter();
        let found = all.find(|bound| fits(bound) && same_name(bound));
        let any = || {
            // With port 0 several have the same address in the config.
            let one = !matches!(bind, Bind::Tcp(address) if address.port() == 0);
            self.bound.iter().find(|bound| one && fits(bound))
        };
        Some(found.or_else(any)?.socket.try_clone())
    }

    /// One more that is bound for a listener.
    pub fn add_bound(&mut self, listener: &str, bind: &Bind, socket: Listening) {
        self.bound.push(Bound {
            listener: listener.to_owned(),
            bind: bind.to_string(),
            socket,
        });
    }

    /// Each of them, with what it is in words for a successor.
    pub(super) fn described(&self) -> impl Iterator<Item = (Value, &Listening)> {
        let named = self.named.iter().map(|(name, socket)| {
            let words = json!({ "systemd": name });
            (words, socket)
        });
        let bound = self.bound.iter().map(|bound| {
            let words = json!({ "listener": bound.listener, "bind": bound.bind });
            (words, &bound.socket)
        });
        named.chain(bound)
    }

    /// One more, of which a predecessor says this. Returns whether that is understood.
    pub(super) fn add_described(&mut self, words: &Value, socket: Listening) -> bool {
        let word = |key| words.get(key).and_then(Value::as_str).map(str::to_owned);
        match (word("systemd"), word("listener"), word("bind")) {
            (Some(name), None, None) => self.named.push((name, socket)),
            (None, Some(listener), Some(bind)) => self.bound.push(Bound {
                listener,
                bind,
                socket,
            }),
            _ => return false,
        }
        true
    }

    /// What was the predecessor's and is not held by anybody else is closed.
    pub fn forget_predecessor(&mut self) {
        self.bound.clear();
    }

    fn what_there_is(&self) -> String {
        let names: Vec<_> = self.all().map(|(name, _)| format!("\"{name}\"")).collect();
        match &*names {
            [] => "it passes none at all".to_owned(),
            names => format!("it passes {}", names.join(", ")),
        }
    }
}

impl Listening {
    /// Takes a descriptor for what it is.
    ///
    /// # Errors
    ///
    /// It is no socket that listens for streams over TCP or a unix socket.
    pub fn of(descriptor: OwnedFd) -> io::Result<Self> {
        match listens_to_streams(&descriptor)? {
            Domain::UNIX => Ok(Self::Unix(descriptor.into())),
            _ => Ok(Self::Tcp(descriptor.into())),
        }
    }

    /// One more handle on the same socket.
    ///
    /// # Errors
    ///
    /// The system gives no further descriptor.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// The number of the first descriptor that is passed (sd_listen_fds(3)).
const FIRST: usize = 3;

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Listening> {
    let gone = || io::Error::other("it was taken already");
    let descriptor: OwnedFd = match passed.take_tcp_listener(index) {
        Ok(socket) => socket.ok_or_else(gone)?.into(),
        Err(_) => passed.take_unix_listener(index)?.ok_or_else(gone)?.into(),
    };
    Listening::of(descriptor)
}

/// The family of a socket that connections can be accepted on.
fn listens_to_streams(descriptor: &impl AsFd) -> io::Result<Domain> {
    let socket = SockRef::from(descriptor);
    let domain = socket.domain()?;
    if ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
        return Err(io::Error::other("its family is another"));
    }
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::other("it does not carry streams"));
    }
    if !socket.is_listener()? {
        return Err(io::Error::other("nobody has called listen on it"));
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn tcp() -> Listening {
        Listening::of(TcpListener::bind("127.0.0.1:0").unwrap().into()).unwrap()
    }

    #[test]
    fn listening_stream_sockets_are_taken_for_what_they_are() {
        assert!(matches!(tcp(), Listening::Tcp(_)));
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("a")).unwrap();
        let unix = Listening::of(unix.into()).unwrap();
        assert!(matches!(unix, Listening::Unix(_)));
    }

    #[test]
    fn what_nobody_can_connect_to_is_refused_with_the_reason() {
        let refused = |descriptor: OwnedFd| Listening::of(descriptor).unwrap_err().to_string();
        let bound = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(refused(bound.into()), "nobody has called listen on it");
        let datagrams = UnixDatagram::unbound().unwrap();
        assert_eq!(refused(datagrams.into()), "it does not carry streams");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!refused(file.into()).is_empty());
    }

    #[test]
    fn name_that_is_missing_or_not_the_only_one_is_an_error_that_says_what_there_is() {
        let mut inherited = Inherited::default();
        let told = inherited.named("https").unwrap_err().to_string();
        assert!(told.contains("passes none at all"), "{told}");
        inherited.add("https".to_owned(), tcp());
        assert!(inherited.named("https").is_ok());
        assert!(inherited.named("https").is_ok(), "again, after a reload");
        let told = inherited.named("http").unwrap_err().to_string();
        assert!(told.contains("it passes \"https\""), "{told}");
        inherited.add("https".to_owned(), tcp());
        let told = inherited.named("https").unwrap_err().to_string();
        assert!(told.contains("2 sockets"), "{told}");
    }
}
