//! The legal configuration, as types.
//!
//! A value of one of these types needs no further check: [`super::read`] has made
//! it, and refused every file that would break what the comments here promise.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::identity::{Assertable, TrustDomain};

mod client_policy;
mod outbound;
mod peers;

pub use client_policy::{ClientPolicy, NamedPolicy, UnknownSni};
pub use outbound::{
    CredentialSource, LayerMode, Outbound, PoolPer, RunAs, SessionLost, SessionPer,
    StatefulSessions,
};
pub use peers::{AcceptedAssertions, Allowed};

/// A value and the place in the file where it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A line and column of the config file, both counted from 1.
///
/// A place equals every other place: where something stands is no part of what
/// it is, so a setting that only moved in the file has not changed. For an
/// order, see [`position`](Self::position).
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Place {
    /// The line and the column, which compare in the order of the file.
    pub fn position(self) -> (u32, u32) {
        (self.line, self.column)
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// `[server]`: what concerns the whole process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Worker threads; default one per core.
    pub workers: NonZeroUsize,
    /// From the first SIGTERM to the end of the last request.
    pub drain_timeout: Duration,
    /// How often the files are looked at where nothing tells of a change; 100 ms to 1 h.
    pub poll_interval: Duration,
    /// The keys that seal session tickets, shared with other instances; `None`:
    /// keys of this process alone.
    pub session_ticket_keys: Option<Located<PathBuf>>,
}

/// `[log]`: what is written where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Whether each request has a line on standard output.
    pub access: bool,
    /// The least important diagnostic that is written to standard error.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// `key=value` for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// What failed in countersign itself.
    Error,
    /// What is about to fail.
    Warn,
    /// Life, refusals and faults: the default.
    Info,
    /// For finding a fault in countersign.
    Debug,
}

/// `[admin]`: where health, readiness and metrics are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// The address; TCP or a unix socket.
    pub bind: Located<Bind>,
}

/// Where a listener or the admin server accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bind {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

/// Which trust bundle, as an index into [`super::Config::bundles`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BundleId(pub usize);

/// Which listener, as an index into [`super::Config::listeners`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenerId(pub usize);

/// Which upstream, as an index into [`super::Config::upstreams`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UpstreamId(pub usize);

/// `[trust.NAME]`: a named set of trust anchors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustBundle {
    /// Its name.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// PEM files, or directories of PEM files.
    pub ca: Vec<Located<PathBuf>>,
    /// Revocation lists, PEM or DER; files or directories. Empty: not checked.
    pub crl: Vec<Located<PathBuf>>,
    /// Which certificates of a chain are looked up; has a meaning only with `crl`.
    pub crl_check: CrlCheck,
    /// Where an issuer has no list; has a meaning only with `crl`.
    pub crl_missing: OnCrlFault,
    /// Where an issuer's list is past its `nextUpdate`; has a meaning only with `crl`.
    pub crl_stale: OnCrlFault,
    /// Whether what the lists say is acted on, and not only noted.
    pub enforce_crl: bool,
    /// What the anchors may vouch for; `None`: whatever they sign.
    pub may_assert: Option<Assertable>,
    /// The trust domain whose X.509-SVIDs alone are accepted.
    pub spiffe_trust_domain: Option<TrustDomain>,
    /// The share of the anchors in force that a new set may drop without being confirmed.
    pub max_shrink: Share,
    /// What becomes of open connections whose peer is no longer trusted.
    pub on_withdrawal: OnWithdrawal,
    /// With [`OnWithdrawal::Drain`]: how long requests in flight have.
    pub withdrawal_grace: Duration,
    /// Whether open connections are ended, and it is not only noted that they would be.
    pub enforce_withdrawal: bool,
}

/// Which certificates of a chain are looked up in revocation lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrlCheck {
    /// All but the trust anchor.
    Chain,
    /// The leaf alone.
    Leaf,
}

/// What becomes of a certificate that no current revocation list speaks of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnCrlFault {
    /// It is refused.
    Reject,
    /// It passes.
    Allow,
    /// It passes, and the log says so.
    Log,
}

/// A share of a whole, in percent, from 0 to 100.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Share(u8);

impl Share {
    /// The share of `percent` hundredths; `None` above 100.
    pub const fn of_percent(percent: u8) -> Option<Self> {
        if percent <= 100 {
            Some(Self(percent))
        } else {
            None
        }
    }

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// Whether `part` of `whole` is more than this share of it.
    ///
    /// All of it is not more than 100 %, and one of any whole is more than 0 %.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        // 128 bits hold a hundred times any count.
        (part as u128) * 100 > (whole as u128) * u128::from(self.0)
    }
}

/// What becomes of open connections whose peer is no longer trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnWithdrawal {
    /// Requests in flight finish, then the connection ends.
    Drain,
    /// The connection ends at once.
    Cut,
    /// The connection stays.
    Keep,
}

/// `[listeners.NAME]`: one address where clients connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// Its name, used in logs and metrics.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// The address.
    pub bind: Located<Bind>,
    /// What is offered in ALPN, in order of preference; never empty.
    pub protocols: Vec<Protocol>,
    /// TLS; `None` is a plaintext listener.
    pub tls: Option<ListenerTls>,
    /// Bounds on what a client can hold.
    pub limits: Limits,
    /// Networks whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The path at which the public keys of signed assertions are served.
    pub jwks_path: Option<String>,
    /// Whose assertions are taken for the callers' identities; `None`: nobody's.
    pub accepted: Option<AcceptedAssertions>,
}

/// An HTTP version family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// `[listeners.NAME.tls]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerTls {
    /// Where the table stands.
    pub place: Place,
    /// Chains and keys, chosen by SNI; never empty.
    pub certificates: Vec<OwnCertificate>,
    /// Whether a client certificate is asked for and demanded, for names that
    /// are not in `names`.
    pub client_auth: ClientAuth,
    /// What client certificates are checked against; present unless `client_auth` is `none`.
    pub trust: Option<BundleId>,
    /// Names with another policy, each once, in the order of the file.
    pub names: Vec<NamedPolicy>,
    /// What becomes of clients that ask for an unknown name, or for none.
    pub unknown_sni: UnknownSni,
    /// Whether a session can be resumed, with its chain verified again.
    pub session_resumption: bool,
    /// From the full handshake to the end of all sessions that come of it; 1 s to 24 h.
    pub session_lifetime: Duration,
    /// The lowest and highest protocol version.
    pub versions: TlsVersions,
    /// The cipher suites offered, in order; empty: the library's own choice.
    pub cipher_suites: Vec<Located<CipherSuite>>,
    /// The key exchange groups offered, in order; empty: the library's own choice.
    pub key_exchange: Vec<Located<KeyExchange>>,
}

/// One certificate chain of countersign's own, with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnCertificate {
    /// PEM file: the leaf first, then its intermediates.
    pub chain: Located<PathBuf>,
    /// PEM file: the leaf's private key.
    pub key: Located<PathBuf>,
}

/// Whether clients are asked for a certificate; the later, the stricter.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ClientAuth {
    /// Not asked for: every caller is anonymous.
    None,
    /// Asked for: a caller without one is anonymous, one with a bad one is refused.
    Want,
    /// Demanded: a caller without one is refused in the handshake.
    Require,
}

/// A range of TLS versions, lowest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsVersions {
    /// The lowest version accepted.
    pub min: TlsVersion,
    /// The highest version offered; not below `min`.
    pub max: TlsVersion,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 9846).
    Tls13,
}

/// A cipher suite, by its IANA name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the IANA name of the suite")]
pub enum CipherSuite {
    Tls13Aes256GcmSha384,
    Tls13Aes128GcmSha256,
    Tls13Chacha20Poly1305Sha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaChacha20Poly1305Sha256,
    EcdheRsaAes256GcmSha384,
    EcdheRsaAes128GcmSha256,
    EcdheRsaChacha20Poly1305Sha256,
}

/// A key exchange group, by its IANA name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the IANA name of the group")]
pub enum KeyExchange {
    X25519MlKem768,
    Secp256r1MlKem768,
    MlKem768,
    X25519,
    Secp256r1,
    Secp384r1,
}

/// `[listeners.NAME.limits]`: every one has a default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// ClientHello to Finished, one deadline.
    pub handshake_timeout: Duration,
    /// A request head, from its first byte (or the connection's start) to its last.
    pub header_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Between two pieces of a body, either way.
    pub body_timeout: Duration,
    /// Connections open at one time on this listener.
    pub max_connections: NonZeroUsize,
    /// A request head, in bytes.
    pub max_header_bytes: NonZeroU32,
}

/// `[[routes]]`: which requests go to which upstream, and who may send them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The label in logs and metrics: `name`, else `routes[N]` counted from 0.
    pub name: String,
    /// Where the table stands.
    pub place: Place,
    /// Only on this listener; `None`: on each.
    pub listener: Option<ListenerId>,
    /// Only for this host; `None`: for each.
    pub host: Option<HostPattern>,
    /// A prefix on whole segments, beginning with `/`, as it was written.
    pub path: String,
    /// Whether a caller without a certificate is refused with 403.
    pub requires_certificate: bool,
    /// Who may; `None`: every caller that came this far. Never `Some` of an empty list.
    pub allow: Option<Vec<Allowed>>,
    /// Where permitted requests go.
    pub upstream: UpstreamId,
}

/// The host of a route, in lower case without a final dot; IPv6 without brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// This very name or address.
    Exact(String),
    /// `*.SUFFIX`: exactly one label before the suffix; held without the `*.`.
    Wildcard(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

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
    /// TLS to the `https://` endpoints; present when there is one.
    pub tls: Option<UpstreamTls>,
    /// To set up a connection, TLS included.
    pub connect_timeout: Duration,
    /// From the end of the request to the response head.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// The three layers of outbound authentication.
    pub outbound: Outbound,
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
