//! What a certificate of countersign's own is meant for, by its own word.

use std::fmt;
use std::path::PathBuf;

use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::Parser;

/// The side of a handshake that a certificate is presented by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A certificate that is presented for something it says it is not for. It is
/// presented nevertheless; who looks at it will refuse it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrongPurpose {
    /// The table that names it, such as `listeners.public.tls`.
    pub whose: String,
    /// The file.
    pub source: PathBuf,
    /// What it says it is: its names, or its subject (RFC 4514).
    pub subject: String,
    pub(super) side: Side,
}

impl fmt::Display for WrongPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, purpose, others) = match self.side {
            Side::Client => ("clients", "clientAuth", "upstreams"),
            Side::Server => ("servers", "serverAuth", "clients"),
        };
        write!(
            f,
            "{}: the certificate in {} (\"{}\") is not meant for TLS {who}: its extended key usage lacks {purpose}, and {others} will refuse it",
            self.whose,
            self.source.display(),
            self.subject
        )
    }
}

/// Whether a certificate permits its use on this side: it says nothing of uses,
/// or names this one (RFC 5280 §4.2.1.12).
///
/// `anyExtendedKeyUsage` is not enough: the RFC lets peers ask for the very
/// purpose, and OpenSSL and webpki do. Neither is what cannot be read.
pub(super) fn permits(der: &[u8], side: Side) -> bool {
    let Some(certificate) = parse(der) else {
        return false;
    };
    match certificate.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => match side {
            Side::Client => usage.value.client_auth,
            Side::Server => usage.value.server_auth,
        },
        Err(_) => false,
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (_, certificate) = X509CertificateParser::new().parse(der).ok()?;
    Some(certificate)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose as Purpose, KeyPair};

    use super::*;

    fn certificate(purposes: &[Purpose]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn certificate_permits_what_it_names_or_everything_when_it_names_nothing() {
        for (purposes, client, server) in [
            (&[][..], true, true),
            (&[Purpose::ServerAuth], false, true),
            (&[Purpose::ClientAuth], true, false),
            (&[Purpose::ClientAuth, Purpose::ServerAuth], true, true),
            (&[Purpose::CodeSigning], false, false),
            (&[Purpose::Any], false, false),
        ] {
            let der = certificate(purposes);
            assert_eq!(permits(&der, Side::Client), client, "{purposes:?}");
            assert_eq!(permits(&der, Side::Server), server, "{purposes:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_permits_nothing() {
        for side in [Side::Client, Side::Server] {
            assert!(!permits(b"", side));
            assert!(!permits(b"certificate", side));
        }
    }
}
