//! A client that speaks TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, with a
//! certificate or without, and says precisely how it was refused.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::Body;
use super::lenient;
use super::pki::{Authority, Leaf, PROXY_NAME, Pki};
use super::raw::Raw;
use super::{Stream, Target, secrets, within};

/// How a client connects; each method changes one thing.
#[derive(Clone)]
pub(crate) struct Client {
    roots: Arc<RootCertStore>,
    tls: bool,
    certificate: Option<Leaf>,
    server_name: String,
    sends_sni: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: CryptoProvider,
    protocol: HttpVersion,
    alpn: Option<&'static str>,
    resumes: bool,
    fragments: bool,
    lenient: Vec<Leniency>,
    config: OnceLock<Arc<ClientConfig>>,
}

/// Changes what a good client would do.
type Leniency = fn(&mut ClientConfig, &Arc<RootCertStore>);

/// Which HTTP a client speaks, and names in ALPN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How a connection ended without an answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server sent this TLS alert.
    Alert(AlertDescription),
    /// It ended in another way: closed, reset, or refused by the client itself.
    Other(String),
}

impl Refusal {
    /// The alert; fails the test if there was none.
    pub(crate) fn alert(&self) -> AlertDescription {
        match self {
            Self::Alert(alert) => *alert,
            Self::Other(text) => panic!("no alert was received: {text}"),
        }
    }
}

impl Client {
    /// Trusts the root of `pki`, expects [`PROXY_NAME`], speaks HTTP/1.1 over
    /// TLS 1.2 or 1.3, presents no certificate, resumes nothing.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self::trusting(pki.root())
    }

    /// As [`Client::new`], with another root.
    pub(crate) fn trusting(root: &Authority) -> Self {
        Self {
            roots: Arc::new(root.store()),
            tls: true,
            certificate: None,
            server_name: PROXY_NAME.to_owned(),
            sends_sni: true,
            versions: vec![&rustls::version::TLS12, &rustls::version::TLS13],
            provider: rustls::crypto::aws_lc_rs::default_provider(),
            protocol: HttpVersion::Http1,
            alpn: None,
            resumes: false,
            fragments: false,
            lenient: Vec::new(),
            config: OnceLock::new(),
        }
    }

    /// Speaks HTTP without TLS.
    pub(crate) fn plaintext(pki: &Pki) -> Self {
        Self::new(pki).change(|client| client.tls = false)
    }

    /// Presents this certificate when asked for one.
    pub(crate) fn presenting(self, leaf: &Leaf) -> Self {
        self.change(|client| client.certificate = Some(leaf.clone()))
    }

    /// Offers this TLS version alone.
    pub(crate) fn version(self, version: &'static SupportedProtocolVersion) -> Self {
        self.change(|client| client.versions = vec![version])
    }

    /// Offers other algorithms.
    pub(crate) fn offering(self, change: impl FnOnce(&mut CryptoProvider)) -> Self {
        self.change(|client| change(&mut client.provider))
    }

    /// Names this protocol in ALPN, whatever it speaks.
    pub(crate) fn alpn(self, name: &'static str) -> Self {
        self.change(|client| client.alpn = Some(name))
    }

    /// Speaks this HTTP version.
    pub(crate) fn speaking(self, protocol: HttpVersion) -> Self {
        self.change(|client| client.protocol = protocol)
    }

    /// Speaks HTTP/2.
    pub(crate) fn h2(self) -> Self {
        self.speaking(HttpVersion::Http2)
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.protocol == HttpVersion::Http2
    }

    /// Asks for this name in SNI, and expects it in the certificate.
    pub(crate) fn sni(self, name: &str) -> Self {
        self.change(|client| name.clone_into(&mut client.server_name))
    }

    /// Sends no SNI.
    pub(crate) fn without_sni(self) -> Self {
        self.change(|client| client.sends_sni = false)
    }

    /// Remembers sessions and tries to resume them, also across clones.
    pub(crate) fn resuming(self) -> Self {
        self.change(|client| client.resumes = true)
    }

    /// Takes a certificate of its root for whatever name.
    pub(crate) fn trusting_every_name(self) -> Self {
        self.change(|client| client.lenient.push(lenient::trust_every_name))
    }

    /// Offers its last session to whomever it meets next. Its clones do so in
    /// the name of others, as long as nothing but the name is changed.
    pub(crate) fn resuming_anywhere(self) -> Self {
        self.resuming()
            .change(|client| client.lenient.push(lenient::resume_anywhere))
    }

    /// The same client, sessions included, that asks for another name.
    pub(crate) fn also_asking_for(&self, name: &str) -> Self {
        self.config();
        let mut other = self.clone();
        name.clone_into(&mut other.server_name);
        other
    }

    /// The same client in TLS 1.2 and 1.3, each with HTTP/1.1 and HTTP/2.
    pub(crate) fn in_every_version(&self) -> Vec<Self> {
        let versions = [&rustls::version::TLS12, &rustls::version::TLS13].into_iter();
        let both = |version| [HttpVersion::Http1, HttpVersion::Http2].map(|http| (version, http));
        let every = versions.flat_map(both);
        every
            .map(|(version, http)| self.clone().version(version).speaking(http))
            .collect()
    }

    /// The same client with HTTP/1.1 and with HTTP/2.
    pub(crate) fn in_both_protocols(&self) -> [Self; 2] {
        [HttpVersion::Http1, HttpVersion::Http2].map(|http| self.clone().speaking(http))
    }

    /// Splits what it says in the handshake into records of 64 bytes.
    pub(crate) fn in_fragments(self) -> Self {
        self.change(|client| client.fragments = true)
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(
        &self,
        target: impl Into<Target>,
        request: Request<Body>,
    ) -> Result<Answer, Refusal> {
        self.connect(target).await?.send(request).await
    }

    /// Sends one `GET` on a connection of its own.
    pub(crate) async fn get(
        &self,
        target: impl Into<Target>,
        path: &str,
    ) -> Result<Answer, Refusal> {
        self.send(target, get(path)).await
    }

    /// Sends one `GET` that is expected to be refused before any answer.
    pub(crate) async fn refusal(&self, target: impl Into<Target>) -> Refusal {
        match self.get(target, "/").await {
            Ok(answer) => panic!("was answered: {answer:?}"),
            Err(refusal) => refusal,
        }
    }

    /// Opens a connection for several requests.
    pub(crate) async fn connect(&self, target: impl Into<Target>) -> Result<Session, Refusal> {
        let link = self.link(target.into()).await?;
        let (facts, seen) = (link.facts, Arc::clone(&link.alert));
        let io = TokioIo::new(link);
        let turn = Turn::default();
        let sender = match self.protocol {
            HttpVersion::Http1 => {
                let (sender, connection) = within("HTTP/1.1 preface", http1::handshake(io))
                    .await
                    .map_err(|error| refusal(&seen, &error))?;
                tokio::spawn(driven(connection.with_upgrades(), Arc::clone(&turn)));
                Sender::Http1(sender)
            }
            HttpVersion::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io);
                let (sender, connection) = within("HTTP/2 preface", handshake)
                    .await
                    .map_err(|error| refusal(&seen, &error))?;
                tokio::spawn(driven(connection, Arc::clone(&turn)));
                Sender::Http2(sender)
            }
        };
        Ok(Session {
            sender,
            turn,
            facts,
            seen,
            scheme: if self.tls { "https" } else { "http" },
        })
    }

    /// Opens a connection on which the test writes the bytes of HTTP itself.
    pub(crate) async fn raw(&self, target: impl Into<Target>) -> Raw {
        match self.link(target.into()).await {
            Ok(link) => Raw::over(Box::new(link)),
            Err(refusal) => panic!("refused in the handshake: {refusal:?}"),
        }
    }

    /// Connects, and completes the handshake as far as the client can see it.
    async fn link(&self, target: Target) -> Result<Link, Refusal> {
        let alert = Arc::new(Mutex::new(None));
        let stream = target
            .open()
            .await
            .map_err(|error| refusal(&alert, &error))?;
        if !self.tls {
            return Ok(Link {
                inner: Inner::Plain(stream),
                alert,
                facts: None,
                failed: None,
            });
        }
        let connector = TlsConnector::from(self.config());
        let name = ServerName::try_from(self.server_name.clone()).unwrap();
        let tls = within("TLS handshake", connector.connect(name, stream)).await;
        let tls = tls.map_err(|error| refusal(&alert, &error))?;
        let facts = Some(TlsFacts::of(&tls));
        Ok(Link {
            inner: Inner::Tls(Box::new(tls)),
            alert,
            facts,
            failed: None,
        })
    }

    /// One configuration for the life of a client: rustls resumes only within one.
    fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(self.config.get_or_init(|| {
            let provider = Arc::new(self.provider.clone());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&self.versions)
                .unwrap()
                .with_root_certificates(Arc::clone(&self.roots));
            let mut config = match &self.certificate {
                // Without a look at it: what is presented may be as bad as can be.
                Some(leaf) => {
                    let key = self.provider.key_provider.load_private_key(leaf.key());
                    let own = CertifiedKey::new(leaf.chain(), key.unwrap());
                    builder.with_client_cert_resolver(Arc::new(Presents(Arc::new(own))))
                }
                None => builder.with_no_client_auth(),
            };
            let spoken = match self.protocol {
                HttpVersion::Http1 => "http/1.1",
                HttpVersion::Http2 => "h2",
            };
            config.alpn_protocols = vec![self.alpn.unwrap_or(spoken).into()];
            config.enable_sni = self.sends_sni;
            config.max_fragment_size = self.fragments.then_some(64);
            if !self.resumes {
                config.resumption = Resumption::disabled();
            }
            for change in &self.lenient {
                change(&mut config, &self.roots);
            }
            Arc::new(config)
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        self.config = OnceLock::new();
        change(&mut self);
        self
    }
}

/// Presents one certificate to whoever asks.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What was agreed in the handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TlsFacts {
    /// The version.
    pub(crate) version: ProtocolVersion,
    /// Whether ALPN chose HTTP/2.
    pub(crate) h2: bool,
    /// Whether an earlier session was resumed.
    pub(crate) resumed: bool,
    /// How the keys were agreed.
    pub(crate) key_exchange: NamedGroup,
    /// How the connection is encrypted.
    pub(crate) cipher_suite: CipherSuite,
    /// SHA-256 over the leaf that the server has shown; in a resumed session,
    /// in the one that it continues.
    pub(crate) server_leaf: [u8; 32],
}

impl TlsFacts {
    fn of(stream: &TlsStream<Box<dyn Stream>>) -> Self {
        let connection = stream.get_ref().1;
        Self {
            version: connection.protocol_version().unwrap(),
            h2: connection.alpn_protocol() == Some(b"h2"),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            key_exchange: connection
                .negotiated_key_exchange_group()
                .map_or(NamedGroup::Unknown(0), |group| group.name()),
            cipher_suite: connection.negotiated_cipher_suite().unwrap().suite(),
            server_leaf: digest(&SHA256, &connection.peer_certificates().unwrap()[0])
                .as_ref()
                .try_into()
                .unwrap(),
        }
    }
}

/// An open connection.
pub(crate) struct Session {
    sender: Sender,
    turn: Turn,
    facts: Option<TlsFacts>,
    seen: SeenAlert,
    scheme: &'static str,
}

impl Session {
    /// What was agreed in the handshake; fails the test without TLS.
    pub(crate) fn tls(&self) -> TlsFacts {
        self.facts.expect("the connection has TLS")
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Answer, Refusal> {
        let (answer, body) = self.open(request).await?;
        answer
            .read(body)
            .await
            .map_err(|error| refusal(&self.seen, &*error))
    }

    /// Sends a request and returns as soon as the answer's head is there.
    pub(crate) async fn open(
        &mut self,
        request: Request<Body>,
    ) -> Result<(Answer, Incoming), Refusal> {
        let response = within("a response head", self.begin(request).await).await;
        let response = response.map_err(|error| refusal(&self.seen, &error))?;
        Ok(Answer::head(response))
    }

    /// Sends a request; the answer is to be awaited apart from the session.
    pub(crate) async fn begin(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        secrets::plant_fields(request.headers());
        let response: Pin<Box<dyn Future<Output = _> + Send>> = match &mut self.sender {
            Sender::Http1(sender) => {
                // That it is not ready says only that the connection has ended: why,
                // the request is told, if it got that far.
                drop(within("room for a request", sender.ready()).await);
                let _turn = self.turn.lock().unwrap();
                Box::pin(sender.send_request(with_host(request)))
            }
            Sender::Http2(sender) => {
                let request = absolute(self.scheme, request);
                let _turn = self.turn.lock().unwrap();
                Box::pin(sender.send_request(request))
            }
        };
        response
    }

    /// Whether the server has ended the connection, or told that it will.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

/// Held by whoever hands a request to a connection, and by the connection while
/// it works. A request that is handed over in the very moment in which its
/// connection is dropped, on another thread, would stay in the channel between
/// them for as long as its sender: nobody would ever answer it, or say that it
/// was not sent.
type Turn = Arc<Mutex<()>>;

/// Drives a connection to its end, and drops it while nobody hands it anything.
async fn driven<C: Future>(connection: C, turn: Turn) {
    let mut connection = Box::pin(Some(connection));
    std::future::poll_fn(|cx| {
        let _turn = turn.lock().unwrap();
        if let Some(living) = connection.as_mut().as_pin_mut() {
            drop(ready!(living.poll(cx)));
            connection.set(None);
        }
        Poll::Ready(())
    })
    .await;
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The version on the wire.
    pub(crate) version: Version,
    /// The fields before the content.
    pub(crate) headers: HeaderMap,
    /// The content.
    pub(crate) body: Bytes,
    /// The fields after the content; empty when there were none.
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// A field's only value, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} occurs more than once");
        Some(value)
    }

    /// The content as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    fn head(response: Response<Incoming>) -> (Self, Incoming) {
        let (parts, body) = response.into_parts();
        let answer = Self {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: Bytes::new(),
            trailers: HeaderMap::new(),
        };
        (answer, body)
    }

    async fn read(mut self, body: Incoming) -> Result<Self, Box<hyper::Error>> {
        let collected = within("a response body", body.collect())
            .await
            .map_err(Box::new)?;
        self.trailers = collected.trailers().cloned().unwrap_or_default();
        self.body = collected.to_bytes();
        Ok(self)
    }
}

/// Reads the next piece of content; `None` at the end, trailers left aside.
pub(crate) async fn next_piece(body: &mut Incoming) -> Option<Bytes> {
    loop {
        let frame = within("a piece of a body", body.frame()).await?;
        let piece = frame.expect("the body goes on").into_data().ok()?;
        // HTTP/2 may end a body with an empty piece.
        if !piece.is_empty() {
            return Some(piece);
        }
    }
}

/// A `GET` for a path.
pub(crate) fn get(path: &str) -> Request<Body> {
    request(Method::GET, path, Body::empty())
}

/// A `GET` for `/` of this host.
pub(crate) fn host(name: &str) -> Request<Body> {
    with(get("/"), "host", name)
}

/// A `POST` to a path.
pub(crate) fn post(path: &str, body: Body) -> Request<Body> {
    request(Method::POST, path, body)
}

/// Any request.
pub(crate) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap()
}

/// The same request with one more field.
pub(crate) fn with(mut request: Request<Body>, name: &str, value: &str) -> Request<Body> {
    let name: header::HeaderName = name.parse().unwrap();
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

/// HTTP/1.1 as clients send it: origin form and `Host`.
fn with_host(request: Request<Body>) -> Request<Body> {
    if request.headers().contains_key(header::HOST) {
        return request;
    }
    with(request, "host", PROXY_NAME)
}

/// HTTP/2 as clients send it: `Host` becomes `:authority`.
fn absolute(scheme: &str, request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let host = parts
        .headers
        .get(header::HOST)
        .map_or(PROXY_NAME, |host| host.to_str().unwrap());
    parts.uri = format!("{scheme}://{host}{}", parts.uri).parse().unwrap();
    parts.headers = parts
        .headers
        .into_iter()
        .fold(WithoutHost::default(), WithoutHost::next)
        .fields;
    Request::from_parts(parts, body)
}

/// Copies fields except `Host`; a value without a name belongs to the name before.
#[derive(Default)]
struct WithoutHost {
    fields: HeaderMap,
    name: Option<header::HeaderName>,
}

impl WithoutHost {
    fn next(mut self, (name, value): (Option<header::HeaderName>, header::HeaderValue)) -> Self {
        self.name = name.or(self.name);
        if let Some(name) = self.name.clone().filter(|name| name != header::HOST) {
            self.fields.append(name, value);
        }
        self
    }
}

type SeenAlert = Arc<Mutex<Option<AlertDescription>>>;

/// A stream that remembers the TLS alert on which it ended. In TLS 1.3 a client
/// learns of its refusal only when it reads, and HTTP libraries bury the reason.
struct Link {
    inner: Inner,
    alert: SeenAlert,
    facts: Option<TlsFacts>,
    /// A failed write whose reason is still being looked for.
    failed: Option<io::Error>,
}

enum Inner {
    Plain(Box<dyn Stream>),
    Tls(Box<TlsStream<Box<dyn Stream>>>),
}

impl Inner {
    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream),
        }
    }
}

impl Link {
    fn remember(&self, error: io::Error) -> io::Error {
        if let Some(alert) = alert_in(&error) {
            *self.alert.lock().unwrap() = Some(alert);
        }
        error
    }

    /// Passes on the outcome of a write. A failed one is held back until
    /// everything that had come before is read: an alert that explains it may be
    /// among that.
    fn settle<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Err(error)) => self.failed = Some(error),
            good => return good,
        }
        self.explain(cx).map(Err)
    }

    fn explain(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut storage = [0; 1024];
            let mut buffer = ReadBuf::new(&mut storage);
            let outcome = ready!(self.inner.stream().poll_read(cx, &mut buffer));
            match outcome {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) => break,
                Err(reason) => {
                    self.remember(reason);
                    break;
                }
            }
        }
        let failed = self.failed.take();
        Poll::Ready(failed.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = ready!(self.inner.stream().poll_read(cx, buffer));
        Poll::Ready(outcome.map_err(|error| self.remember(error)))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.failed.is_some() {
            return self.explain(cx).map(Err);
        }
        let outcome = self.inner.stream().poll_write(cx, bytes);
        self.settle(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failed.is_some() {
            return self.explain(cx).map(Err);
        }
        let outcome = self.inner.stream().poll_flush(cx);
        self.settle(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.stream().poll_shutdown(cx)
    }
}

fn refusal(seen: &SeenAlert, error: &(dyn StdError + 'static)) -> Refusal {
    match alert_in(error).or(*seen.lock().unwrap()) {
        Some(alert) => Refusal::Alert(alert),
        None => Refusal::Other(chain(error)),
    }
}

fn alert_in(error: &(dyn StdError + 'static)) -> Option<AlertDescription> {
    // An `io::Error` that wraps another one skips it in `source`.
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref());
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => error.source().and_then(alert_in),
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
