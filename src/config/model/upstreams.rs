//! Upstreams: services and how to reach them.

use std::path::PathBuf;
use std::time::Duration;

use super::{
    Balancing, BundleId, Delivery, Located, Outbound, OwnCertificate, Place, Protocol, TlsVersions,
};
use crate::identity::proxy_header::Version;

/// `[upstreams.NAME]`: a service and how to reach it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Its name, used in logs and metrics.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// Where it runs; never empty.
    pub endpoints: Vec<Endpoint>,
    /// The HTTP version spoken to it.
    pub protocol: Protocol,
    /// Whether it is HTTP/1.0 that is spoken; `protocol` is HTTP/1.1 then.
    pub http10: bool,
    /// The host that its requests name.
    pub host: UpstreamHost,
    /// The header of the PROXY protocol that its connections begin with.
    pub proxy_protocol: Option<Version>,
    /// TLS to the `https://` endpoints; present when there is one.
    pub tls: Option<UpstreamTls>,
    /// To set up a connection, TLS included.
    pub connect_timeout: Duration,
    /// From the end of the request to the response head.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How requests are handed to it, and its responses taken from it.
    pub delivery: Delivery,
    /// Which endpoint gets a request, and how its health is known.
    pub balancing: Balancing,
    /// The three layers of outbound authentication.
    pub outbound: Outbound,
}

/// The host that requests to an upstream name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UpstreamHost {
    /// The one that the caller asked for.
    Keep,
    /// That of the endpoint to which each request is sent.
    Endpoint,
    /// This one, perhaps with a port.
    Named(String),
}

/// One endpoint of an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// As it was written, for logs.
    pub text: String,
    /// Where it stands.
    pub place: Place,
    /// Where to connect.
    pub address: EndpointAddress,
    /// Whether TLS is spoken (`https://`).
    pub tls: bool,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EndpointAddress {
    /// A host name or address (IPv6 without brackets), and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// `[upstreams.NAME.tls]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamTls {
    /// Where the table stands.
    pub place: Place,
    /// What the upstream's certificate is checked against.
    pub trust: UpstreamTrust,
    /// SNI, and the name that the certificate must carry; default the endpoint's host.
    pub server_name: Option<Located<String>>,
    /// What is presented when the upstream asks for a certificate.
    pub certificate: Option<OwnCertificate>,
    /// The lowest and highest protocol version.
    pub versions: TlsVersions,
}

/// What an upstream's certificate is checked against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamTrust {
    /// A bundle of this config.
    Bundle(BundleId),
    /// `"system"`: the machine's own certificate authorities.
    System(Place),
}
