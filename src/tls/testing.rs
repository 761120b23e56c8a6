//! What the tests of this room share: authorities, a listener's files, and a client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, NamedGroup, RootCertStore, SignatureScheme, SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{Handshaken, Material, RefusedHandshake, ServerTls, Socket};
use crate::config::{self, Config};

pub(super) mod lists;

/// The names that the server's certificate carries.
pub(super) const NAMES: [&str; 2] = ["a.test", "b.test"];

const HOUR: Duration = Duration::from_secs(3600);

/// Somebody who signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// From its own upwards; a root's own last.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// A certificate, its intermediates, and its key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        Self {
            certificates: vec![params.self_signed(&key).unwrap().der().clone()],
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let own = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let mut certificates = self.certificates.clone();
        certificates.insert(0, own);
        Self {
            certificates,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn pem(&self) -> String {
        pem("CERTIFICATE", self.certificates.last().unwrap())
    }

    /// A client's certificate that is valid for an hour.
    pub(super) fn client(&self, name: &str) -> Leaf {
        self.client_for(name, HOUR)
    }

    pub(super) fn client_for(&self, name: &str, validity: Duration) -> Leaf {
        let mut params = params(&[name], validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let (_root, between) = self.certificates.split_last().unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend_from_slice(between);
        Leaf {
            chain,
            key: key.serialize_der(),
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(&[], 2 * HOUR);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn params(names: &[&str], validity: Duration) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (SystemTime::now() - HOUR).into();
    params.not_after = (SystemTime::now() + validity).into();
    params
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// The files of a config with listeners, and the authorities behind them.
pub(super) struct Files {
    folder: TempDir,
    server: Authority,
    /// Whom the bundle `clients` trusts.
    pub(super) clients: Authority,
}

impl Files {
    pub(super) fn new() -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
            server: Authority::root("Server Root"),
            clients: Authority::root("Client Root"),
        };
        let own = files.server.sign(&params(&NAMES, HOUR));
        files.write("own.pem", &pem("CERTIFICATE", &own.chain[0]));
        files.write("own.key", &pem("PRIVATE KEY", &own.key));
        files.write("clients.pem", &files.clients.pem());
        files.write("ticket.keys", &data_encoding::BASE64.encode(&[7; 48]));
        files
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// One listener that requires certificates of `clients`, with the keys of
    /// `ticket.keys`, and these lines in its table.
    pub(super) fn listener(&self, lines: &str) -> ServerTls {
        let shared = "session_ticket_keys = 'ticket.keys'";
        self.load(&listener(shared, "public", "require", "clients", lines))
    }

    /// The first listener of a config.
    pub(super) fn load(&self, config: &str) -> ServerTls {
        let Material { servers, .. } = self.material(config);
        let first = servers.into_iter().next().flatten().unwrap();
        Arc::into_inner(first).unwrap()
    }

    pub(super) fn material(&self, config: &str) -> Material {
        super::load(&self.config(config), &config::Files::new(), None).unwrap()
    }

    pub(super) fn config(&self, text: &str) -> Config {
        let draft = config::parse(text, &self.folder.path().join("test.toml"));
        draft.finish(Vec::new()).unwrap()
    }

    /// A client that trusts the server, with one session store, which is used
    /// whatever name the client asks for.
    pub(super) fn client(&self, version: &'static SupportedProtocolVersion) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.certificates[0].clone()).unwrap();
        let presenter = Arc::new(Presenter::default());
        let store = Arc::new(Store::default());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&presenter) as _);
        config.resumption = Resumption::store(Arc::clone(&store) as _);
        Client {
            config: Arc::new(config),
            presenter,
            store,
        }
    }
}

/// The text of a config with one listener.
pub(super) fn listener(
    server: &str,
    name: &str,
    client_auth: &str,
    bundle: &str,
    lines: &str,
) -> String {
    let trust = match client_auth {
        "none" => String::new(),
        _ => format!("trust = '{bundle}'"),
    };
    format!(
        "

[server]
{server}
[trust.{bundle}]
ca = ['clients.pem']
[listeners.{name}]
bind = '127.0.0.1:0'
protocols = ['http/1.1']
[listeners.{name}.tls]
certificates = [{{ chain = 'own.pem', key = 'own.key' }}]
client_auth = '{client_auth}'
{trust}
{lines}
[[routes]]
upstream = 'orders'
[upstreams.orders]
endpoints = ['http://127.0.0.1:1']
protocol = 'http/1.1'
[upstreams.orders.outbound]
identity_assertion = 'never'
"
    )
}

/// A client whose certificate can be another one, or none, in each handshake.
pub(super) struct Client {
    config: Arc<ClientConfig>,
    presenter: Arc<Presenter>,
    store: Arc<Store>,
}

impl Client {
    pub(super) fn presents(&self, leaf: Option<&Leaf>) {
        *self.presenter.key.lock().unwrap() = leaf.map(|leaf| {
            let key: PrivateKeyDer<'_> = PrivatePkcs8KeyDer::from(leaf.key.clone()).into();
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            Arc::new(CertifiedKey::new(leaf.chain.clone(), key))
        });
    }

    /// The TLS 1.3 tickets that it got so far.
    pub(super) fn tickets(&self) -> usize {
        self.store.tickets.load(Ordering::Relaxed)
    }

    /// A handshake, as the server sees it, and one byte after it.
    pub(super) async fn meets(
        &self,
        server: &ServerTls,
        name: &str,
    ) -> Result<Handshaken, RefusedHandshake> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = async {
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut done = server.accept(Socket::Unix(ours), deadline).await?;
            done.stream.write_all(b"x").await.unwrap();
            done.stream.flush().await.unwrap();
            Ok(done)
        };
        let calling = async {
            let connector = TlsConnector::from(Arc::clone(&self.config));
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let stream = connector.connect(name, theirs).await;
            // With it come the tickets, or the alert.
            match stream {
                Ok(mut stream) => stream.read_u8().await.is_ok(),
                Err(_) => false,
            }
        };
        let (served, called) = tokio::join!(serving, calling);
        assert_eq!(called, served.is_ok());
        served
    }
}

#[derive(Debug, Default)]
struct Presenter {
    key: Mutex<Option<Arc<CertifiedKey>>>,
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key.lock().unwrap().clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Sessions of whatever name.
#[derive(Debug)]
struct Store {
    sessions: ClientSessionMemoryCache,
    tickets: AtomicUsize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(4),
            tickets: AtomicUsize::new(0),
        }
    }
}

fn any() -> ServerName<'static> {
    ServerName::try_from("any").unwrap()
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(any(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(&any())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(any(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(&any())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.sessions.remove_tls12_session(&any());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
        self.sessions.insert_tls13_ticket(any(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(&any())
    }
}

/// Both versions, for tests that hold in each.
pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];
