//! The sockets of the process from one generation to the next.

use std::io;
use std::sync::Arc;

use crate::config::{Bind, Config, Listener, ListenerId};
use crate::process::{Inherited, Listening};
use crate::telemetry::SocketFiles;

use super::bind::{Address, BindError, Socket};
use super::slots::Slots;

/// One socket, for as long as it is open; never given to another one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SocketId(u64);

/// Which sockets are open. What a new config does not change stays as it is: a
/// socket whose address is still that of a listener is not touched.
#[derive(Debug, Default)]
pub struct Sockets {
    open: Vec<OpenSocket>,
    next: u64,
    inherited: Inherited,
    files: SocketFiles,
}

#[derive(Debug)]
struct OpenSocket {
    id: SocketId,
    listener: String,
    bind: Bind,
    slots: Slots,
    /// Keeps it open for a successor; the worker that accepts has its own.
    handle: Arc<Listening>,
}

/// What a config makes of the sockets, before it is in force. Dropped, nothing
/// has changed, and what was bound for it is closed.
#[derive(Debug)]
pub struct SocketPlan {
    /// Which socket each listener has, in the order of the config.
    serving: Vec<SocketId>,
    new: Vec<NewSocket>,
    keeps: Vec<OpenSocket>,
    next: u64,
}

/// A socket that is to be accepted on.
#[derive(Debug)]
pub struct NewSocket {
    pub(super) id: SocketId,
    pub(super) socket: Socket,
    pub(super) slots: Slots,
}

/// An address that cannot be bound, and the listener whose it is.
#[derive(Debug, thiserror::Error)]
#[error("listeners.{listener}: {cause}")]
pub struct ListenerBindError {
    /// The listener.
    pub listener: String,
    /// Why.
    pub cause: BindError,
}

impl Sockets {
    /// None yet. Those that are inherited serve the listeners that they fit.
    pub fn new(inherited: Inherited, files: SocketFiles) -> Self {
        Self {
            inherited,
            files,
            ..Self::default()
        }
    }

    /// A handle on each, for a successor: what the listeners accept on, and what
    /// systemd has passed.
    ///
    /// # Errors
    ///
    /// The system gives no further descriptor.
    pub fn to_pass_on(&self) -> io::Result<Inherited> {
        let mut all = Inherited::default();
        for (name, socket) in self.inherited.all() {
            all.add(name.to_owned(), socket.try_clone()?);
        }
        for open in &self.open {
            if !matches!(open.bind, Bind::Systemd(_)) {
                all.add_bound(&open.listener, &open.bind, open.handle.try_clone()?);
            }
        }
        Ok(all)
    }

    /// Where each listener is reached, in the order of the config that was adopted.
    ///
    /// # Errors
    ///
    /// The system does not say where one is bound.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        let handles = self.open.iter().map(|open| &*open.handle);
        handles.map(Address::of).collect()
    }

    /// Finds for each listener of `config` its socket: the one that is open on
    /// its address, or a new one.
    ///
    /// # Errors
    ///
    /// An address cannot be bound. Nothing has changed then.
    pub fn plan(&self, config: &Config) -> Result<SocketPlan, ListenerBindError> {
        let mut plan = SocketPlan {
            serving: Vec::new(),
            new: Vec::new(),
            keeps: Vec::new(),
            next: self.next,
        };
        let kept = self.kept(config);
        for (listener, kept) in config.listeners().iter().zip(kept) {
            let bind = &listener.bind.value;
            let (id, slots, handle) = match kept {
                Some(open) => (open.id, open.slots.clone(), Arc::clone(&open.handle)),
                None => {
                    let (socket, handle) = self.open(listener)?;
                    let id = SocketId(plan.next);
                    plan.next = plan.next.saturating_add(1);
                    let slots = Slots::new(&listener.limits);
                    plan.new.push(NewSocket {
                        id,
                        socket,
                        slots: slots.clone(),
                    });
                    (id, slots, handle)
                }
            };
            plan.serving.push(id);
            plan.keeps.push(OpenSocket {
                id,
                listener: listener.name.clone(),
                bind: bind.clone(),
                slots,
                handle,
            });
        }
        Ok(plan)
    }

    /// A new socket for a listener, and a handle on it.
    fn open(&self, listener: &Listener) -> Result<(Socket, Arc<Listening>), ListenerBindError> {
        let refused = |cause| ListenerBindError {
            listener: listener.name.clone(),
            cause,
        };
        let bind = &listener.bind.value;
        let socket = Socket::open((&listener.name, bind), &self.inherited, &self.files);
        let socket = socket.map_err(refused)?;
        let handle = socket.handle().map_err(|cause| {
            let address = bind.to_string();
            refused(BindError::System { address, cause })
        })?;
        Ok((socket, Arc::new(handle)))
    }

    /// The open socket of each listener of `config`, if there is one: that of
    /// the listener of the same name, else any other at the same address. (With
    /// port 0, several may have the same.)
    fn kept(&self, config: &Config) -> Vec<Option<&OpenSocket>> {
        let mut free: Vec<_> = self.open.iter().collect();
        let mut take = |fits: &dyn Fn(&OpenSocket) -> bool| {
            let found = free.iter().position(|open| fits(open))?;
            Some(free.swap_remove(found))
        };
        let mut kept: Vec<_> = config
            .listeners()
            .iter()
            .map(|l| take(&|open| open.listener == l.name && open.bind == l.bind.value))
            .collect();
        for (listener, kept) in config.listeners().iter().zip(&mut kept) {
            if kept.is_none() {
                *kept = take(&|open| open.bind == listener.bind.value);
            }
        }
        kept
    }

    /// The plan is in force: what it does not keep is open no more. Returns the
    /// sockets that are to be accepted on from now on.
    pub fn adopt(&mut self, plan: SocketPlan) -> Vec<NewSocket> {
        self.open = plan.keeps;
        // What no listener has taken of it is closed.
        self.inherited.forget_predecessor();
        self.next = plan.next;
        plan.new
    }

    /// `config`, whose sockets were adopted, governs by now: there are as many
    /// places as it says. Not before, or who waits for one would be let in only to
    /// be measured by the former share of one source.
    pub fn resize(&self, config: &Config) {
        for (open, listener) in self.open.iter().zip(config.listeners()) {
            open.slots.resize(&listener.limits);
        }
    }
}

impl SocketPlan {
    /// Which listener each socket serves.
    pub fn serving(&self) -> Vec<(SocketId, ListenerId)> {
        let ids = self.serving.iter().copied();
        ids.zip((0..).map(ListenerId)).collect()
    }

    /// The listeners whose sockets are new, with their addresses.
    ///
    /// # Errors
    ///
    /// The system does not say where one is bound.
    pub fn new_addresses(&self) -> io::Result<Vec<(ListenerId, Address)>> {
        let serving = self.serving().into_iter();
        serving
            .filter_map(|(id, listener)| {
                let new = self.new.iter().find(|new| new.id == id)?;
                Some(new.socket.address().map(|address| (listener, address)))
            })
            .collect()
    }
}
