//! Senders of the PROXY protocol.

use std::net::IpAddr;

use ipnet::IpNet;

/// Senders that begin each of their connections with a header of the PROXY
/// protocol, which says whose connection it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Announcers {
    /// Where they are; empty on a unix socket.
    pub networks: Vec<IpNet>,
    /// Whether whoever connects over a unix socket is one; only there.
    pub unix: bool,
}

impl Announcers {
    /// Whether a sender at this address is one of them; `None`: it connects
    /// over a unix socket.
    pub fn list(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(ip) => {
                let ip = ip.to_canonical();
                self.networks.iter().any(|network| network.contains(&ip))
            }
            None => self.unix,
        }
    }
}
