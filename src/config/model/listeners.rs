//! Listeners, their TLS and their limits.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    AcceptedAssertions, Announcers, Bind, BundleId, Located, NamedPolicy, Outcomes, Place,
    Redirect, UnknownSni,
};

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
    /// Where every request is led to; `None`: they are served. Only without TLS.
    pub redirect: Option<Redirect>,
    /// Bounds on what a client can hold.
    pub limits: Limits,
    /// Networks whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Senders that say whose connections theirs are (PROXY protocol).
    pub announcers: Announcers,
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
    /// What becomes of clients that are not accepted.
    pub outcomes: Outcomes,
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
