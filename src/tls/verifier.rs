//! The verdict on a peer's certificate, as the TLS library asks for it.

use std::iter;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::bundle::{self, Bundle};
use super::client::{RefusedUpstream, note_refused};
use super::diagnosis::Presented;
use super::handshake;
use super::possession;
use super::trust::Trust;
use crate::config::{Outcome, Outcomes};

/// Checks client certificates against one bundle and leaves what it read in
/// the record of the handshake under way.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    trust: Arc<Trust>,
    mandatory: bool,
    outcomes: Outcomes,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// `outcomes`: what becomes of clients without a certificate, where one is
    /// required, and of those with a bad one.
    pub(super) fn new(trust: Arc<Trust>, outcomes: Outcomes) -> Self {
        Self {
            mandatory: trust.required && outcomes.no_certificate == Outcome::Alert,
            trust,
            outcomes,
            algorithms: algorithms(),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.bundle.subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Noted before it is judged, so that a refusal can say who was refused.
        handshake::note_presented(end_entity, intermediates);
        let mut spent = handshake::signatures();
        match self
            .trust
            .judge((end_entity, intermediates), now, &mut spent)
        {
            Ok((names, verdict)) => handshake::note_verified(names, verdict),
            Err(objection) => {
                let reason = objection.reason();
                let ends = reason.outcome(&self.outcomes) == Outcome::Alert;
                handshake::note_objection(objection, ends);
                if ends {
                    return Err(reason.certificate_error().into());
                }
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::proven_in_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::proven_in_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks an upstream's certificate against one bundle and the name that it must carry.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    bundle: Arc<Bundle>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(bundle: Arc<Bundle>) -> Self {
        Self {
            bundle,
            algorithms: algorithms(),
        }
    }
}

impl ServerVerifier {
    /// Notes why an upstream's chain is refused, and has the library's word for it.
    fn refused(
        &self,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        objection: bundle::Objection,
        now: UnixTime,
    ) -> Error {
        let error = match &objection {
            bundle::Objection::Path(cause) => library_error(cause.clone()),
            bundle::Objection::Scope(fault) => Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(fault.clone())),
            )),
        };
        let chain: Vec<_> = iter::once(leaf).chain(intermediates).cloned().collect();
        let found = self.bundle.explain_upstream(&chain, objection, now);
        let miss = found.nearest_miss.map(|miss| format!(" ({miss})"));
        note_refused(RefusedUpstream {
            cause: format!("{}{}", found.cause, miss.unwrap_or_default()),
            remedy: found.remedy,
        });
        error
    }
}

/// The chain is in order, and is somebody else's.
fn misnamed(wanted: &ServerName<'_>, leaf: &CertificateDer<'_>) -> RefusedUpstream {
    let wanted = wanted.to_str();
    let presented = Presented::read(leaf);
    let has = match (presented.names.as_slice(), presented.more_names) {
        ([], _) => "no alternative name at all".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    };
    RefusedUpstream {
        cause: format!(
            "the upstream's certificate is not for {wanted}, the name that it must carry: it has {has}"
        ),
        remedy: format!(
            "issue the upstream a certificate with the name {wanted}, or write the name that its certificate has as server_name in the tls table of the upstream"
        ),
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self
            .bundle
            .verify(end_entity, intermediates, KeyUsage::server_auth(), now)
            .map_err(|objection| self.refused((end_entity, intermediates), objection, now))?;
        EndEntityCert::try_from(end_entity)
            .and_then(|leaf| leaf.verify_is_valid_for_subject_name(server_name))
            .map_err(|cause| {
                note_refused(misnamed(server_name, end_entity));
                library_error(cause)
            })?;
        self.bundle.note_unenforced(&verdict);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

/// Gives each of webpki's causes the error from which the TLS library derives
/// the right alert (certificate_expired, certificate_revoked, unknown_ca, …).
pub(super) fn library_error(cause: webpki::Error) -> Error {
    use webpki::Error as Cause;
    let error = match cause {
        Cause::BadDer | Cause::BadDerTime | Cause::TrailingData(_) => CertificateError::BadEncoding,
        Cause::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        Cause::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Cause::InvalidCertValidity => CertificateError::Expired,
        Cause::CertNotValidForName(names) => CertificateError::NotValidForNameContext {
            expected: names.expected,
            presented: names.presented,
        },
        Cause::CertRevoked => CertificateError::Revoked,
        Cause::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        Cause::UnknownRevocationStatus
        | Cause::IssuerNotCrlSigner
        | Cause::InvalidCrlSignatureForPublicKey => CertificateError::UnknownRevocationStatus,
        Cause::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Cause::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        Cause::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(error)
}
