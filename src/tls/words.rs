//! What the TLS libraries found, in words that an operator can act on.

use rustls::{AlertDescription, CipherSuite, Error, InvalidMessage, PeerIncompatible};

/// Why a revocation list cannot be used.
pub(super) fn of_revocation_list(cause: &webpki::Error) -> String {
    use webpki::Error as Cause;
    match cause {
        Cause::BadDer | Cause::UnsupportedCrlVersion => {
            "it is damaged, or not of version 2 (RFC 5280 section 5.1; `openssl ca` needs `crlnumber` in its config)"
                .to_owned()
        }
        Cause::UnsupportedDeltaCrl => "it is a delta; a complete list is needed".to_owned(),
        Cause::UnsupportedIndirectCrl => {
            "it is indirect; a list from the issuer itself is needed".to_owned()
        }
        other => other.to_string(),
    }
}

/// A cipher suite as OpenSSL calls it, which is how others know it.
pub(super) fn of_suite(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// What went wrong in a handshake, on either side.
pub(super) fn of_error(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => {
            format!(
                "the other side gave up with the alert {}",
                alert_name(*alert)
            )
        }
        Error::InvalidCertificate(cause) => format!("the certificate is refused: {cause}"),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "what the other side sent is not TLS".to_owned(),
        Error::NoApplicationProtocol => {
            "the client offers none of the listener's protocols (ALPN)".to_owned()
        }
        Error::NoCertificatesPresented => "the client presented no certificate".to_owned(),
        Error::PeerIncompatible(cause) => of_incompatibility(cause),
        other => other.to_string(),
    }
}

fn of_incompatibility(cause: &PeerIncompatible) -> String {
    match cause {
        PeerIncompatible::NoCipherSuitesInCommon => "no cipher suite in common".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "no key exchange group in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon => "no signature scheme in common".to_owned(),
        PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            format!("no TLS version in common ({cause:?})")
        }
        other => format!("the two sides do not fit together: {other:?}"),
    }
}

/// An alert in the spelling of RFC 8446 §6: `UnknownCA` is `unknown_ca`.
pub(super) fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut after_small = false;
    for char in format!("{alert:?}").chars() {
        if char.is_ascii_uppercase() && after_small {
            name.push('_');
        }
        after_small = char.is_ascii_lowercase();
        name.push(char.to_ascii_lowercase());
    }
    // The library's one word of another English than the RFCs' (RFC 6066 §3).
    name.replace("unrecognised", "unrecognized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_spelt_as_in_the_rfc() {
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(
            alert_name(AlertDescription::UnrecognisedName),
            "unrecognized_name"
        );
        assert_eq!(
            alert_name(AlertDescription::CertificateRequired),
            "certificate_required"
        );
    }

    #[test]
    fn a_list_of_version_1_is_told_with_what_makes_one_of_version_2() {
        let words = of_revocation_list(&webpki::Error::BadDer);
        assert!(words.contains("version 2") && words.contains("crlnumber"));
    }
}
