//! Where a connection comes from.

use std::fmt;
use std::net::SocketAddr;

/// Where a connection comes from: its client, who may stand behind a sender
/// that has said so in a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    address: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    via: Option<Via>,
}

/// The sender of a header: what the socket itself is connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Via(Option<SocketAddr>);

impl Source {
    /// The same connection, to this address of countersign's own.
    #[must_use]
    pub fn to(self, destination: Option<SocketAddr>) -> Self {
        Self {
            destination,
            ..self
        }
    }

    /// What the other end of this connection says of the client behind it;
    /// `None`: it does not know.
    #[must_use]
    pub fn announces(self, ends: Option<(SocketAddr, SocketAddr)>) -> Self {
        let (address, destination) = ends.unzip();
        Self {
            address,
            destination,
            via: Some(Via(self.address)),
        }
    }

    /// The client's address; `None`: it has none (a unix socket), or nobody
    /// knows it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address that the client connected to, as far as it is known.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// Who says so, if it is not the socket itself.
    pub fn via(&self) -> Option<Via> {
        self.via
    }
}

impl From<Option<SocketAddr>> for Source {
    /// The other end of the socket; `None`: a unix socket.
    fn from(address: Option<SocketAddr>) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }
}

impl fmt::Display for Source {
    /// The client's address; where there is none, `unix`, or `unknown` if its
    /// sender does not know it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.via) {
            (Some(address), _) => address.fmt(f),
            (None, None) => f.write_str("unix"),
            (None, Some(_)) => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Source::from(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_client_takes_the_place_of_its_sender_who_is_known_all_the_same() {
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let balancer = Source::from(address("10.0.0.1:1")).to(address("10.0.0.2:443"));
        assert_eq!(
            (balancer.to_string(), balancer.via()),
            ("10.0.0.1:1".into(), None)
        );
        let ends = address("203.0.113.7:5").zip(address("198.51.100.1:443"));
        let client = balancer.announces(ends);
        assert_eq!(client.to_string(), "203.0.113.7:5");
        assert_eq!(client.destination(), address("198.51.100.1:443"));
        assert_eq!(client.via().unwrap().to_string(), "10.0.0.1:1");

        let unknown = balancer.announces(None);
        assert_eq!((unknown.address(), unknown.destination()), (None, None));
        assert_eq!(unknown.to_string(), "unknown");
        let local = Source::from(None);
        assert_eq!(local.to_string(), "unix");
        assert_eq!(local.announces(ends).via().unwrap().to_string(), "unix");
    }
}
