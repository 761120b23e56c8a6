//! Why a handshake was refused: one taxonomy for logs and metrics.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};

use super::verifier::library_error;

/// Why a handshake did not end in a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The proof that the peer holds the certificate's key is wrong, or a
    /// certificate of the right issuer name is signed with another key.
    BadSignature,
    /// The peer gave up: it closed, or sent an alert of its own.
    ClientGone,
    /// A certificate of the chain, or its anchor, is past its `notAfter`.
    Expired,
    /// Somebody speaks plain HTTP to a TLS port.
    HttpOnTlsPort,
    /// The TLS library and countersign disagree on who the client is: a defect.
    Internal,
    /// The chain cannot be read, or breaks a rule of RFC 5280.
    Malformed,
    /// A certificate is demanded and none was presented.
    NoCertificate,
    /// A certificate of the chain is before its `notBefore`.
    NotYetValid,
    /// The first bytes are not TLS.
    NotTls,
    /// Connected and left without a byte, as health checks and scanners do.
    Probe,
    /// No version, suite, group or protocol in common, or a broken message.
    Protocol,
    /// A certificate of the chain is on a revocation list.
    Revoked,
    /// A revocation list that would be needed is missing, stale or unusable.
    RevocationUnknown,
    /// The handshake was not complete at its deadline.
    Timeout,
    /// No certificate of this listener covers the server name asked for.
    UnknownName,
    /// The chain leads to no anchor of the bundle.
    Untrusted,
    /// The certificate is not meant for TLS clients (extended key usage).
    WrongPurpose,
}

impl Refusal {
    /// The stable code in logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::ClientGone => "client_gone",
            Self::Expired => "expired",
            Self::HttpOnTlsPort => "http_on_tls_port",
            Self::Internal => "internal",
            Self::Malformed => "malformed",
            Self::NoCertificate => "no_certificate",
            Self::NotYetValid => "not_yet_valid",
            Self::NotTls => "not_tls",
            Self::Probe => "probe",
            Self::Protocol => "protocol",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::Timeout => "timeout",
            Self::UnknownName => "unknown_name",
            Self::Untrusted => "untrusted",
            Self::WrongPurpose => "wrong_purpose",
        }
    }

    /// What the operator, or the client's owner, can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::BadSignature => {
                "an authority with this name was re-keyed, or the client's key is not the certificate's"
            }
            Self::ClientGone => {
                "see the client's own log; it may not trust this listener's certificate"
            }
            Self::Expired => "renew the certificate, or check the clock of this machine",
            Self::HttpOnTlsPort => "use https:// for this port",
            Self::Internal => "report this as a defect of countersign; nothing was let through",
            Self::Malformed => "issue a certificate that follows RFC 5280",
            Self::NoCertificate => {
                "configure the client with a certificate, or set client_auth = \"want\""
            }
            Self::NotYetValid => "wait, or check the clocks of this machine and of the authority",
            Self::NotTls => "only TLS is served on this port",
            Self::Probe => "nothing to do",
            Self::Protocol => "compare what the client offers with the listener's tls table",
            Self::Revoked => "issue another certificate to this client",
            Self::RevocationUnknown => {
                "provide a current revocation list for every authority of the chain"
            }
            Self::Timeout => "the client or the network is slow; see limits.handshake_timeout",
            Self::UnknownName => "add a certificate for this name, or correct the client's address",
            Self::Untrusted => {
                "add the authority to the trust bundle, or have the client send its intermediates"
            }
            Self::WrongPurpose => "issue a certificate with extendedKeyUsage clientAuth",
        }
    }

    /// Whether it is somebody's mistake that deserves a line at the default
    /// level. Probes are only counted.
    pub fn is_noteworthy(self) -> bool {
        self != Self::Probe
    }

    /// Sorts what is wrong with a chain.
    pub(super) fn of_chain(cause: webpki::Error) -> Self {
        Self::of(&library_error(cause))
    }

    /// Sorts an error of the TLS library.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::AlertReceived(_) => Self::ClientGone,
            Error::InvalidCertRevocationList(_) => Self::RevocationUnknown,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationUnknown,
            CertificateError::UnknownIssuer => Self::Untrusted,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A fatal alert as it goes over the wire: the header of a record and its two
/// bytes (RFC 9846 §6).
///
/// For refusals that happen before the TLS library has a connection to send
/// an alert on.
pub(super) fn alert_record(alert: AlertDescription) -> [u8; 7] {
    [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, alert.into()]
}
