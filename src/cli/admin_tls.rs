//! How the commands ask an admin address that speaks TLS: as its own config says.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme, StreamOwned,
};
use socket2::Socket;

use crate::config::{AdminTls, OwnCertificate};

/// Which servers are believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Believed {
    /// Those whose certificate stands in the config.
    Named,
    /// Whoever answers. A probe tells nobody a secret, and has to reach a process
    /// that serves well with the certificate of before, since a file that is new
    /// was refused.
    Anybody,
}

/// What is presented and expected.
#[derive(Clone)]
pub(super) struct Secured(Arc<ClientConfig>);

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured")
    }
}

impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Secured {}

impl Secured {
    /// As a config says: the server must have one of the certificates that stand
    /// there, unless anybody is believed, and is shown the one for commands.
    ///
    /// # Errors
    ///
    /// A sentence: which file cannot be read.
    pub(super) fn of(tls: &AdminTls, believed: Believed) -> Result<Self, String> {
        let leaves = match believed {
            Believed::Named => Some(leaves(tls)?),
            Believed::Anybody => None,
        };
        let builder = ClientConfig::builder();
        let algorithms = builder.crypto_provider().signature_verification_algorithms;
        let expected = Expected { leaves, algorithms };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(expected));
        let Some(own) = &tls.client else {
            return Ok(Self(Arc::new(builder.with_no_client_auth())));
        };
        let path = own.key.value.display();
        let key = PrivateKeyDer::from_pem_file(&own.key.value)
            .map_err(|cause| format!("{path} cannot be read: {cause}"))?;
        let config = builder.with_client_auth_cert(chain(own)?, key);
        let config = config.map_err(|cause| format!("{path} cannot be used: {cause}"))?;
        Ok(Self(Arc::new(config)))
    }

    /// Puts TLS around a socket. The handshake is made by what is read and written.
    pub(super) fn around(
        &self,
        socket: Socket,
    ) -> io::Result<StreamOwned<ClientConnection, Socket>> {
        // An address is no name that could be asked for: the first certificate is meant.
        let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        let connection = ClientConnection::new(Arc::clone(&self.0), name);
        let connection = connection.map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
    }
}

fn leaves(tls: &AdminTls) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut leaves = Vec::new();
    for own in &tls.server.certificates {
        leaves.extend(chain(own)?.into_iter().next());
    }
    Ok(leaves)
}

fn chain(own: &OwnCertificate) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = &own.chain.value;
    let said = |cause| format!("{} cannot be read: {cause}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(said)?;
    all.collect::<Result<_, _>>().map_err(said)
}

/// Accepts the certificates that the config names, and no others, unless anybody is
/// believed: who has their key is who is meant, whatever names they carry.
#[derive(Debug)]
struct Expected {
    /// `None`: any.
    leaves: Option<Vec<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let named = self.leaves.as_ref().map(|all| all.contains(leaf));
        if named.unwrap_or(true) {
            Ok(ServerCertVerified::assertion())
        } else {
            let cause = CertificateError::ApplicationVerificationFailure;
            Err(Error::InvalidCertificate(cause))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
