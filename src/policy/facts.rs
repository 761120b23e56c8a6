//! What a decision is made from.

use std::net::IpAddr;

use crate::config::Who;
use crate::identity::{AnchorName, PeerIdentity};

/// Everything that a decision depends on. Nothing else is looked at: no clock,
/// no socket, no header field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Who calls; `None` is anonymous.
    pub caller: Option<&'a PeerIdentity>,
    /// The peer of the connection, where it speaks for the caller; `None`: the
    /// caller came by itself.
    pub speaker: Option<&'a PeerIdentity>,
    /// The trust anchor on which the chain of the connection's peer rests.
    pub anchor: Option<&'a AnchorName>,
    /// The method, as it was sent.
    pub method: &'a str,
    /// The path, without the query, in one reading.
    pub path: &'a str,
    /// The host: lower case, no port, no final dot, no brackets.
    pub host: &'a str,
    /// The address at the other end of the connection; `None`: a unix socket.
    pub source: Option<IpAddr>,
    /// The listener's name.
    pub listener: &'a str,
}

impl<'a> Facts<'a> {
    /// Who calls, and who says so.
    pub fn who(&self) -> Who<'a> {
        Who {
            caller: self.caller,
            speaker: self.speaker,
            anchor: self.anchor,
        }
    }
}
