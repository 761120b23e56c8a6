//! Why a handshake was refused: one taxonomy for logs, metrics, answers and the manual.

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use crate::config::{Outcome, Outcomes};

/// Why a handshake did not end in a connection of the client that it was for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The client's proof that it holds the certificate's key is wrong.
    BadSignature,
    /// It would cost more to judge the chain than the listener's limits allow.
    ChainTooCostly,
    /// The peer gave up: it closed, or sent an alert of its own.
    ClientGone,
    /// A certificate of the chain, or its anchor, is past its `notAfter`.
    Expired,
    /// Somebody speaks plain HTTP to a TLS port.
    HttpOnTlsPort,
    /// The TLS library and countersign disagree on who the client is: a defect.
    Internal,
    /// The chain cannot be read, breaks a rule of RFC 5280, or is signed with
    /// an algorithm that is not accepted.
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
    /// A header of the PROXY protocol is demanded of this sender and is not
    /// there or malformed, or it is there and the sender may not write one.
    ProxyProtocol,
    /// A certificate of the chain is on a revocation list.
    Revoked,
    /// A revocation list that would be needed is missing, stale or unusable.
    RevocationUnknown,
    /// The handshake was not complete at its deadline.
    Timeout,
    /// No certificate of this listener covers the server name asked for.
    UnknownName,
    /// The chain leads to no anchor of the bundle; an authority with the name of
    /// an anchor and another key is another authority.
    Untrusted,
    /// The certificate is not meant for TLS clients (extended key usage).
    WrongPurpose,
}

impl Refusal {
    /// Every one, in the order of the manual.
    pub const ALL: [Self; 19] = [
        Self::NoCertificate,
        Self::Untrusted,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::WrongPurpose,
        Self::Malformed,
        Self::ChainTooCostly,
        Self::BadSignature,
        Self::UnknownName,
        Self::Protocol,
        Self::Timeout,
        Self::ClientGone,
        Self::HttpOnTlsPort,
        Self::NotTls,
        Self::ProxyProtocol,
        Self::Probe,
        Self::Internal,
    ];

    /// The stable code in logs, metrics and the config.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::ChainTooCostly => "chain_too_costly",
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
            Self::ProxyProtocol => "proxy_protocol",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::Timeout => "timeout",
            Self::UnknownName => "unknown_name",
            Self::Untrusted => "untrusted",
            Self::WrongPurpose => "wrong_purpose",
        }
    }

    /// What it means, in one sentence without its dot.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BadSignature => {
                "the client did not prove that it holds the key of its certificate"
            }
            Self::ChainTooCostly => {
                "the chain has more certificates, bytes, bits or signatures to verify than the listener's limits allow"
            }
            Self::ClientGone => "the client gave up: it closed, or sent an alert of its own",
            Self::Expired => "a certificate of the chain, or its authority, has expired",
            Self::HttpOnTlsPort => "plain HTTP was spoken to a TLS port",
            Self::Internal => {
                "the TLS library and countersign disagree on who the client is; nothing was believed"
            }
            Self::Malformed => {
                "the chain cannot be read, breaks a rule of RFC 5280, or is signed with an algorithm that is not accepted"
            }
            Self::NoCertificate => "a certificate is demanded, and none was presented",
            Self::NotYetValid => "a certificate of the chain, or its authority, is not valid yet",
            Self::NotTls => "something that is not TLS was spoken",
            Self::Probe => "somebody connected and left without a byte",
            Self::Protocol => {
                "no version, suite, group or protocol in common, or a message that breaks the protocol"
            }
            Self::ProxyProtocol => {
                "the header of the PROXY protocol is missing or malformed, or its sender is not listed in `proxy_protocol_from`"
            }
            Self::Revoked => "a certificate of the chain is on a revocation list",
            Self::RevocationUnknown => "a revocation list that is needed is missing or stale",
            Self::Timeout => "the handshake was not complete within `handshake_timeout`",
            Self::UnknownName => "no certificate of the listener has the name that was asked for",
            Self::Untrusted => "the chain leads to no authority of the bundle",
            Self::WrongPurpose => "the certificate is not meant for TLS clients",
        }
    }

    /// The alert that the client gets, where there is one for each cause.
    ///
    /// With TLS 1.2 too a missing certificate is told by `certificate_required`,
    /// which is of TLS 1.3: the TLS library has no other.
    pub fn alert(self) -> Option<AlertDescription> {
        Some(match self {
            Self::BadSignature => AlertDescription::DecryptError,
            Self::ChainTooCostly => AlertDescription::CertificateUnknown,
            Self::Expired | Self::NotYetValid => AlertDescription::CertificateExpired,
            Self::Malformed => AlertDescription::BadCertificate,
            Self::NoCertificate => AlertDescription::CertificateRequired,
            Self::Revoked => AlertDescription::CertificateRevoked,
            Self::RevocationUnknown => AlertDescription::CertificateUnknown,
            Self::UnknownName => AlertDescription::UnrecognisedName,
            Self::Untrusted => AlertDescription::UnknownCA,
            Self::WrongPurpose => AlertDescription::UnsupportedCertificate,
            Self::ClientGone
            | Self::HttpOnTlsPort
            | Self::Internal
            | Self::NotTls
            | Self::Probe
            | Self::Protocol
            | Self::ProxyProtocol
            | Self::Timeout => return None,
        })
    }

    /// What the operator, or the client's owner, can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::BadSignature => "give the client the key that its certificate was made for",
            Self::ChainTooCostly => {
                "have the client send its certificate and its intermediates alone, or raise the limit that is named"
            }
            Self::ClientGone => {
                "see the client's own log; it may not trust this listener's certificate, or not have waited for its turn (listener.full)"
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
            Self::ProxyProtocol => {
                "list in proxy_protocol_from those senders that write the header, and no others; or have the sender write it"
            }
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

    /// What a listener makes of it. What is no matter of the certificate alone
    /// always ends the handshake.
    pub fn outcome(self, outcomes: &Outcomes) -> Outcome {
        match self {
            Self::Expired => outcomes.expired,
            Self::Malformed => outcomes.malformed,
            Self::NoCertificate => outcomes.no_certificate,
            Self::NotYetValid => outcomes.not_yet_valid,
            Self::Revoked => outcomes.revoked,
            Self::RevocationUnknown => outcomes.revocation_unknown,
            Self::Untrusted => outcomes.untrusted,
            Self::WrongPurpose => outcomes.wrong_purpose,
            Self::BadSignature
            | Self::ChainTooCostly
            | Self::ClientGone
            | Self::HttpOnTlsPort
            | Self::Internal
            | Self::NotTls
            | Self::Probe
            | Self::Protocol
            | Self::ProxyProtocol
            | Self::Timeout
            | Self::UnknownName => Outcome::Alert,
        }
    }

    /// Sorts an error of the TLS library. What is wrong with a chain is in the
    /// record of the handshake; what the library itself finds wrong about a
    /// certificate is the proof that its key is held.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::AlertReceived(_) => Self::ClientGone,
            Error::InvalidCertificate(_) => Self::BadSignature,
            Error::NoCertificatesPresented => Self::NoCertificate,
            _ => Self::Protocol,
        }
    }

    /// Sorts what is wrong with a chain.
    pub(super) fn of_chain(cause: &webpki::Error) -> Self {
        use webpki::Error as Cause;
        match cause {
            Cause::CertExpired { .. } => Self::Expired,
            Cause::CertNotValidYet { .. } => Self::NotYetValid,
            Cause::CertRevoked => Self::Revoked,
            Cause::CrlExpired { .. }
            | Cause::InvalidCrlSignatureForPublicKey
            | Cause::IssuerNotCrlSigner
            | Cause::UnknownRevocationStatus => Self::RevocationUnknown,
            Cause::InvalidSignatureForPublicKey | Cause::UnknownIssuer => Self::Untrusted,
            Cause::RequiredEkuNotFoundContext(_) => Self::WrongPurpose,
            _ => Self::Malformed,
        }
    }

    /// The error for which the TLS library sends [`Self::alert`]. The library
    /// would have `unknown_ca` for an unknown revocation status, and
    /// `decrypt_error` for a chain that is signed with another key.
    pub(super) fn certificate_error(self) -> CertificateError {
        match self {
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::Revoked => CertificateError::Revoked,
            Self::Untrusted => CertificateError::UnknownIssuer,
            Self::WrongPurpose => CertificateError::InvalidPurpose,
            Self::Malformed => CertificateError::BadEncoding,
            Self::BadSignature => CertificateError::BadSignature,
            _ => CertificateError::Other(OtherError(Arc::new(Unaccepted))),
        }
    }
}

/// Stands for a certificate that is not accepted for a reason that the TLS
/// library has no word for.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is not accepted")]
struct Unaccepted;

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;

    use super::*;
    use crate::tls::words::alert_name;

    const START: &str = "<!-- reasons: begin (generated; BLESS=1 cargo test --lib refusal) -->\n";
    const END: &str = "<!-- reasons: end -->\n";

    /// Everything that a listener can make softer, made soft.
    const SOFT: Outcomes = Outcomes {
        no_certificate: Outcome::Http,
        untrusted: Outcome::Http,
        expired: Outcome::Http,
        not_yet_valid: Outcome::Http,
        revoked: Outcome::Http,
        revocation_unknown: Outcome::Http,
        wrong_purpose: Outcome::Http,
        malformed: Outcome::Http,
        tell_client: true,
    };

    fn table() -> String {
        let mut table =
            "| `reason` | means | alert | outcome | remedy |\n|---|---|---|---|---|\n".to_owned();
        for reason in Refusal::ALL {
            let alert = reason
                .alert()
                .map(|alert| format!("`{}`", alert_name(alert)));
            let outcome = match (reason.outcome(&SOFT), reason) {
                (Outcome::Alert, _) => "–",
                (_, Refusal::NoCertificate) => "`on_missing`",
                _ => "`on_invalid`",
            };
            let (meaning, remedy) = (reason.meaning(), reason.remedy());
            let alert = alert.as_deref().unwrap_or("–");
            writeln!(
                table,
                "| `{reason}` | {meaning} | {alert} | {outcome} | {remedy} |"
            )
            .unwrap();
        }
        table
    }

    #[test]
    fn the_manual_has_every_reason_as_the_code_has_it() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/README.md");
        let text = std::fs::read_to_string(file).unwrap();
        let (head, rest) = text
            .split_once(START)
            .expect("the manual has the begin line");
        let (found, tail) = rest.split_once(END).expect("the manual has the end line");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, format!("{head}{START}{}{END}{tail}", table())).unwrap();
            return;
        }
        assert_eq!(found, table(), "run `BLESS=1 cargo test --lib refusal`");
    }

    #[test]
    fn no_reason_is_missing_from_the_list_of_all_and_none_is_there_twice() {
        let codes: HashSet<_> = Refusal::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }

    #[test]
    fn nothing_but_a_certificate_can_be_let_pass() {
        let soft = Refusal::ALL
            .into_iter()
            .filter(|reason| reason.outcome(&SOFT) != Outcome::Alert);
        assert_eq!(soft.count(), 8);
        for reason in Refusal::ALL {
            assert_eq!(
                reason.outcome(&Outcomes::STRICT),
                Outcome::Alert,
                "{reason}"
            );
        }
    }

    #[test]
    fn the_error_for_the_library_is_one_for_which_it_sends_the_reasons_alert() {
        for reason in Refusal::ALL {
            let is_of_the_chain = reason.outcome(&SOFT) != Outcome::Alert;
            if is_of_the_chain && reason != Refusal::NoCertificate {
                let sent = AlertDescription::from(reason.certificate_error());
                assert_eq!(Some(sent), reason.alert(), "{reason}");
            }
        }
    }
}
