//! Reads `Client-Cert` and `Client-Cert-Chain` (RFC 9440).

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;

use super::DecodeError;
use crate::identity::claim::Identity;
use crate::identity::der;
use crate::identity::names::CertificateNames;

/// Reads the values of both fields.
pub(super) fn decode(
    certificate: &[&str],
    chain: &[&str],
) -> Result<Option<Identity>, DecodeError> {
    let leaf = match (certificate, chain) {
        ([], []) => return Ok(None),
        ([], _) => return Err(DecodeError::Malformed("a chain without its certificate")),
        ([only], _) => byte_sequence(only.trim_matches(' '))?,
        _ => return Err(DecodeError::Malformed("Client-Cert stands there twice")),
    };
    let names = CertificateNames::read(&leaf)?;
    let mut all = vec![leaf];
    for member in chain.iter().flat_map(|line| line.split(',')) {
        if all.len() >= MAX_CHAIN {
            return Err(DecodeError::Malformed("the chain is too long"));
        }
        let der = byte_sequence(member.trim_matches(' '))?;
        if der::only(&der, der::tag::SEQUENCE).is_err() {
            return Err(DecodeError::Malformed("the chain holds no certificates"));
        }
        all.push(der);
    }
    Ok(Some(Identity::of_certificate(names, all.into())))
}

/// A structured field's byte sequence (RFC 9651 §3.3.5), without parameters.
fn byte_sequence(text: &str) -> Result<CertificateDer<'static>, DecodeError> {
    text.strip_prefix(':')
        .and_then(|text| text.strip_suffix(':'))
        .and_then(|base64| BASE64.decode(base64.as_bytes()).ok())
        .map(CertificateDer::from)
        .ok_or(DecodeError::Malformed("it is not a byte sequence"))
}

/// In certificates. webpki builds no path of more than six.
const MAX_CHAIN: usize = 10;
