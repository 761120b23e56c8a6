//! countersign as a TLS client: an upstream's settings, and one handshake under them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::bundle::Bundle;
use super::choices;
use super::own_certificate::OwnChain;
use super::stream::{Socket, Stream};
use super::verifier::ServerVerifier;
use super::words;
use crate::config::{LayerMode, Protocol, UpstreamTls};
use crate::identity::Identity;

tokio::task_local! {
    /// What is noted of the handshake under way.
    static NOTES: Rc<Notes>;
}

/// What is noted of one handshake.
#[derive(Debug, Default)]
struct Notes {
    ours: Cell<Presentation>,
    refused: RefCell<Option<RefusedUpstream>>,
}

/// Why an upstream's certificate is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{cause}")]
pub struct RefusedUpstream {
    /// What is wrong, in words.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// Keeps why the upstream of the handshake under way is refused; the TLS library
/// has no room for it.
pub(super) fn note_refused(refused: RefusedUpstream) {
    // Outside a handshake of ours there is nobody to tell.
    let noted = NOTES.try_with(|notes| notes.refused.replace(Some(refused)));
    drop(noted);
}

/// What became of our certificate in one handshake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Presentation {
    /// The server did not ask for one.
    #[default]
    NotAsked,
    /// It asked, and there was none that it could verify.
    Withheld,
    /// It asked, and was given ours.
    Presented,
}

/// The TLS side of one upstream. Cheap to share; immutable.
#[derive(Debug)]
pub struct ClientTls {
    connector: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    certificate: LayerMode,
    own: Option<Identity>,
}

/// What a handshake with an upstream came to.
#[derive(Debug)]
pub struct UpstreamHandshake {
    /// The connection.
    pub stream: Stream,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
}

/// Why there is no TLS connection to an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamHandshakeError {
    /// The TLS library's verdict, or the socket's.
    #[error("{}", in_words(.0))]
    Failed(io::Error),
    /// The name to verify is not one that a certificate can carry.
    #[error("\"{0}\" is neither a DNS name nor an address")]
    Name(String),
    /// A certificate must be presented, and the upstream did not ask for one.
    #[error(
        "the upstream did not ask for a client certificate, and client_certificate_authentication is \"required\""
    )]
    NotAsked,
    /// A certificate must be presented, and the upstream can verify no
    /// signature that our key makes.
    #[error(
        "the upstream asked for a client certificate, but accepts no signature that the key of ours can make, and client_certificate_authentication is \"required\""
    )]
    NotPresented,
    /// Its certificate is not accepted.
    #[error("{0}")]
    Refused(RefusedUpstream),
}

impl ClientTls {
    /// Puts an upstream's settings together. `trust` is what its certificate
    /// is verified against; `certificate` is what is presented when it asks.
    pub(super) fn new(
        tls: &UpstreamTls,
        protocol: Protocol,
        layer: LayerMode,
        trust: Arc<Bundle>,
        certificate: Option<&OwnChain>,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let resolver = Arc::new(Presenter {
            key: certificate
                .filter(|_| layer != LayerMode::Never)
                .map(|chain| Arc::clone(&chain.key)),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&choices::versions(tls.versions))
            .map_err(|e| e.to_string())?
            // The library's word for any verifier but its own; that one takes
            // an anchor that has expired.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(trust)))
            .with_client_cert_resolver(resolver);
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        if layer == LayerMode::Required {
            // On a resumed session nobody asks, and whether our certificate was
            // presented could not be known.
            config.resumption = Resumption::disabled();
        }
        let server_name = match &tls.server_name {
            Some(name) => Some(parse_name(&name.value).map_err(|e| e.to_string())?),
            None => None,
        };
        Ok(Self {
            connector: Arc::new(config),
            server_name,
            certificate: layer,
            own: certificate
                .filter(|_| layer != LayerMode::Never)
                .map(OwnChain::identity),
        })
    }

    /// Whom the certificate names that is presented; `None`: there is none.
    pub fn own_identity(&self) -> Option<&Identity> {
        self.own.as_ref()
    }

    /// Completes a handshake with an upstream whose endpoint is `host`.
    ///
    /// # Errors
    ///
    /// When the upstream is not who it must be, refuses us, or was not shown
    /// the certificate that must be presented.
    pub async fn connect(
        &self,
        socket: Socket,
        host: &str,
    ) -> Result<UpstreamHandshake, UpstreamHandshakeError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host)?,
        };
        let notes = Rc::new(Notes::default());
        let connector = TlsConnector::from(Arc::clone(&self.connector));
        let stream = NOTES
            .scope(Rc::clone(&notes), connector.connect(name, socket))
            .await
            .map_err(|error| match notes.refused.take() {
                Some(refused) => UpstreamHandshakeError::Refused(refused),
                None => UpstreamHandshakeError::Failed(error),
            })?;
        if self.certificate == LayerMode::Required {
            match notes.ours.get() {
                Presentation::NotAsked => return Err(UpstreamHandshakeError::NotAsked),
                Presentation::Withheld => return Err(UpstreamHandshakeError::NotPresented),
                Presentation::Presented => {}
            }
        }
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(UpstreamHandshake {
            stream: Stream::Client(Box::new(stream)),
            http2,
        })
    }
}

/// The TLS library's verdict travels inside an error of the socket.
fn in_words(error: &io::Error) -> String {
    let library = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    library.map_or_else(|| error.to_string(), words::of_error)
}

fn parse_name(name: &str) -> Result<ServerName<'static>, UpstreamHandshakeError> {
    ServerName::try_from(name.to_owned()).map_err(|_| UpstreamHandshakeError::Name(name.to_owned()))
}

/// Presents the certificate, if there is one that the server can verify, and
/// notes what became of it.
#[derive(Debug)]
struct Presenter {
    key: Option<Arc<CertifiedKey>>,
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let presented = self
            .key
            .clone()
            .filter(|key| key.key.choose_scheme(schemes).is_some());
        let outcome = match presented {
            Some(_) => Presentation::Presented,
            None => Presentation::Withheld,
        };
        // Outside a handshake of ours nothing is noted: it stays "not asked",
        // which is the stricter answer.
        let noted = NOTES.try_with(|notes| notes.ours.set(outcome));
        debug_assert!(noted.is_ok(), "asked for a certificate outside a handshake");
        presented
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}
