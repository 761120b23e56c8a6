//! The proof that a client holds the key of the certificate that it presents.
//!
//! It is asked of everybody, also of those whose certificate is not accepted and
//! who are let in as nobody: webpki may refuse to read such a certificate, and
//! then its key is read here. Who cannot prove it is refused with an alert.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::{EndEntityCert, RawPublicKeyEntity};

use super::diagnosis::presented::key_info;

/// Whether `proof` is a signature over `message` with the key of `leaf`, as TLS
/// 1.2 has it (RFC 5246 §7.4.8).
pub(super) fn proven_in_tls12(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    proof: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if EndEntityCert::try_from(leaf).is_ok() {
        return verify_tls12_signature(message, leaf, proof, algorithms).map_err(unproven);
    }
    let key = raw_key(leaf)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| UNPROVEN)?;
    let known = algorithms.mapping.iter();
    let mut possible = known
        .filter(|(scheme, _)| *scheme == proof.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter());
    let is_proven = possible.any(|one| {
        key.verify_signature(*one, message, proof.signature())
            .is_ok()
    });
    is_proven
        .then(HandshakeSignatureValid::assertion)
        .ok_or(UNPROVEN)
}

/// The same for TLS 1.3 (RFC 9846 §4.4.3).
pub(super) fn proven_in_tls13(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    proof: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if EndEntityCert::try_from(leaf).is_ok() {
        return verify_tls13_signature(message, leaf, proof, algorithms).map_err(unproven);
    }
    let key = raw_key(leaf)?;
    verify_tls13_signature_with_raw_key(message, &key, proof, algorithms).map_err(unproven)
}

/// The key of a certificate that webpki does not read.
fn raw_key(leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    Ok(SubjectPublicKeyInfoDer::from(
        key_info(leaf).ok_or(UNPROVEN)?,
    ))
}

/// One alert, `decrypt_error`, for every way in which the proof can fail.
fn unproven(cause: Error) -> Error {
    match cause {
        Error::InvalidCertificate(_) => UNPROVEN,
        misbehaviour => misbehaviour,
    }
}

const UNPROVEN: Error = Error::InvalidCertificate(CertificateError::BadSignature);
