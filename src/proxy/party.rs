//! For whom a request is made.

use std::cell::OnceCell;
use std::rc::Rc;

use super::assertion::Assertions;
use super::rewrite::Filled;
use crate::identity::PeerIdentity;

/// For whom requests are made: the peer of their connection, or somebody for
/// whom that peer speaks. Everything that is the same for each of these
/// requests is made once, here.
#[derive(Debug)]
pub(super) struct Party {
    peer: Option<Rc<PeerIdentity>>,
    assertions: Assertions,
    filled: Filled,
    key_of_names: OnceCell<[u8; 32]>,
    token: Rc<()>,
}

impl Party {
    /// `peer`: who it is; `None` is anonymous. `upstreams`: how many there are.
    pub(super) fn new(peer: Option<Rc<PeerIdentity>>, upstreams: usize) -> Rc<Self> {
        Rc::new(Self {
            peer,
            assertions: Assertions::new(upstreams),
            filled: Filled::default(),
            key_of_names: OnceCell::new(),
            token: Rc::default(),
        })
    }

    /// Who it is; `None` is anonymous.
    pub(super) fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_deref()
    }

    /// Its label, where another peer speaks for it.
    pub(super) fn spoken_for(&self) -> Option<&str> {
        let peer = self.peer()?;
        peer.speaker().map(|_| peer.primary())
    }

    /// Where another peer speaks for it: what tells it from all others for whom
    /// that peer speaks, and is gone when it is.
    pub(super) fn token(&self) -> Option<&Rc<()>> {
        self.spoken_for().map(|_| &self.token)
    }

    /// [`PeerIdentity::key_of_names`]; `None`: it is anonymous.
    pub(super) fn key_of_names(&self) -> Option<&[u8; 32]> {
        let peer = self.peer()?;
        Some(self.key_of_names.get_or_init(|| peer.key_of_names()))
    }

    /// What the fields that routes set hold for it.
    pub(super) fn filled(&self) -> &Filled {
        &self.filled
    }

    /// What upstreams are told of it.
    pub(super) fn assertions(&self) -> &Assertions {
        &self.assertions
    }
}
