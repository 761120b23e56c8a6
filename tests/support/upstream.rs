//! A service behind the proxy: a real HTTP server that does as it is told and
//! remembers what it was sent.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use tokio::io::copy;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::body::Body;
use super::pki::{Authority, Leaf};
use super::raw::Raw;
use super::{Stream, eventually, secrets};

/// A running upstream; it ends when it is dropped.
pub(crate) struct Upstream {
    endpoint: String,
    log: Arc<Mutex<Log>>,
    kick: watch::Sender<u64>,
    accepting: AbortHandle,
    must_stay_untouched: bool,
    _folder: Option<TempDir>,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: Method,
    /// What an extended CONNECT asks for.
    pub(crate) protocol: Option<String>,
    /// Path and query.
    pub(crate) path: String,
    /// The version on the wire.
    pub(crate) version: Version,
    /// `Host` or `:authority`.
    pub(crate) authority: String,
    /// The fields before the content.
    pub(crate) headers: HeaderMap,
    /// How far its content has come.
    pub(crate) arrival: Arrival,
    /// The content, once it is whole.
    pub(crate) body: Bytes,
    /// The fields after the content.
    pub(crate) trailers: HeaderMap,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
    /// Certificate that the proxy presented on that connection.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// How far the content of a request has come, where it is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// It may go on.
    UnderWay,
    /// All of it is there.
    Whole,
    /// There will be no more of it.
    BrokenOff,
}

impl Received {
    /// All values of a field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    /// A field's only value; `None` when the field is absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "{name} occurs more than once: {values:?}");
        values.first().copied()
    }
}

impl Upstream {
    /// Answers every request with 200 and `hello`, over HTTP/1.1 on loopback.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| Reply::ok("hello")).await
    }

    /// Answers as `reply` says, over HTTP/1.1 on loopback.
    pub(crate) async fn answering(
        reply: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Builder::new(reply).start().await
    }

    /// Fails the test if anything at all connects to it.
    pub(crate) async fn unreachable() -> Self {
        let mut upstream = Self::start().await;
        upstream.must_stay_untouched = true;
        upstream
    }

    /// Begins an upstream of another kind.
    pub(crate) fn build(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Builder {
        Builder::new(reply)
    }

    /// Runs `script` on every connection, with the connection's number: for
    /// bytes that no HTTP library would send.
    pub(crate) async fn scripted<F>(
        script: impl Fn(Raw, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = move |stream: Box<dyn Stream>, number| -> Serving {
            Box::pin(script(Raw::over(stream), number))
        };
        listen(Socket::tcp().await, Arc::default(), Arc::new(serve))
    }

    /// An endpoint on which nothing listens.
    pub(crate) async fn refused_endpoint() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    /// As the config writes it.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The requests so far, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.log.lock().unwrap().requests.clone()
    }

    /// The only request so far.
    pub(crate) fn only_request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "one request: {requests:#?}");
        requests.remove(0)
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn received(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} requests at the upstream");
        eventually(&what, || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
        .await
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// Waits until the other side has ended every connection.
    pub(crate) async fn connections_ended(&self) {
        crate::support::within("the end of every connection", self.kick.closed()).await;
    }

    /// Closes every connection that is open now, and returns when they are
    /// closed; new ones are served.
    pub(crate) async fn hang_up(&self) {
        self.kick.send_modify(|count| *count += 1);
        self.kick.closed().await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
        if self.must_stay_untouched && !std::thread::panicking() {
            let log = self.log.lock().unwrap();
            assert_eq!(
                log.connections, 0,
                "nothing may reach this upstream: {:#?}",
                log.requests
            );
        }
    }
}

/// What the upstream answers.
pub(crate) struct Reply {
    response: Response<Body>,
    kind: ReplyKind,
    gate: Option<Gate>,
}

enum ReplyKind {
    /// After the request's content was read.
    AfterBody,
    /// At once, the request's content unread.
    BeforeBody,
    /// The request's content and trailers, piece by piece as they come.
    Echo,
    /// 101 (over HTTP/2, 200), then every byte back.
    Upgrade,
}

impl Reply {
    /// 200 with this content.
    pub(crate) fn ok(content: &str) -> Self {
        Self::body(Body::full(content.to_owned()))
    }

    /// 200 with content that the test feeds.
    pub(crate) fn body(body: Body) -> Self {
        Self {
            response: Response::new(body),
            kind: ReplyKind::AfterBody,
            gate: None,
        }
    }

    /// 200, and the request's own content and trailers as they come.
    pub(crate) fn echo() -> Self {
        Self {
            kind: ReplyKind::Echo,
            ..Self::ok("")
        }
    }

    /// 101 (over HTTP/2, 200), then every byte back.
    pub(crate) fn upgrade() -> Self {
        Self {
            kind: ReplyKind::Upgrade,
            ..Self::ok("")
        }
        .status(101)
    }

    /// With this status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        *self.response.status_mut() = StatusCode::from_u16(status).unwrap();
        self
    }

    /// With one more field.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.response
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
        secrets::plant_fields(self.response.headers());
        self
    }

    /// Without reading the request's content.
    pub(crate) fn at_once(mut self) -> Self {
        self.kind = ReplyKind::BeforeBody;
        self
    }

    /// Not before the gate is open.
    pub(crate) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Not in the life of the test.
    pub(crate) fn never() -> Self {
        Self::ok("").behind(&Gate::closed())
    }
}

/// Holds answers back until the test opens it.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// A gate that nobody passes yet.
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everybody pass.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let mut opened = self.0.subscribe();
        if opened.wait_for(|open| *open).await.is_err() {
            pending::<()>().await;
        }
    }
}

/// An upstream in the making; each method changes one thing.
pub(crate) struct Builder {
    reply: Answering,
    tls: Option<Leaf>,
    clients: Option<Authority>,
    client_schemes: Option<Vec<SignatureScheme>>,
    h2: bool,
    extended_connect: bool,
    unix: bool,
}

impl Builder {
    fn new(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            reply: Arc::new(reply),
            tls: None,
            clients: None,
            client_schemes: None,
            h2: false,
            extended_connect: false,
            unix: false,
        }
    }

    /// Speaks TLS with this certificate.
    pub(crate) fn tls(self, leaf: &Leaf) -> Self {
        Self {
            tls: Some(leaf.clone()),
            ..self
        }
    }

    /// Requires a certificate from this authority.
    pub(crate) fn clients(self, authority: &Authority) -> Self {
        Self {
            clients: Some(authority.clone()),
            ..self
        }
    }

    /// Asks for a certificate from this authority that signs in one of these
    /// ways, and goes on without one.
    pub(crate) fn clients_signing(
        self,
        authority: &Authority,
        schemes: Vec<SignatureScheme>,
    ) -> Self {
        Self {
            client_schemes: Some(schemes),
            ..self.clients(authority)
        }
    }

    /// Speaks HTTP/2 alone: by ALPN over TLS, by prior knowledge without.
    pub(crate) fn h2(self) -> Self {
        Self { h2: true, ..self }
    }

    /// Speaks HTTP/2 alone, and takes extended CONNECT (RFC 8441).
    pub(crate) fn extended_connect(self) -> Self {
        Self {
            extended_connect: true,
            ..self.h2()
        }
    }

    /// Listens on a unix socket.
    pub(crate) fn unix(self) -> Self {
        Self { unix: true, ..self }
    }

    /// Starts it.
    pub(crate) async fn start(self) -> Upstream {
        let mut socket = if self.unix {
            Socket::unix()
        } else {
            Socket::tcp().await
        };
        let acceptor = self
            .tls
            .as_ref()
            .map(|leaf| TlsAcceptor::from(self.server_config(leaf)));
        if acceptor.is_some() {
            socket.endpoint = socket.endpoint.replace("http://", "https://");
        }
        let log: Arc<Mutex<Log>> = Arc::default();
        let serve = {
            let log = Arc::clone(&log);
            move |stream: Box<dyn Stream>, number| -> Serving {
                let service = Service {
                    reply: Arc::clone(&self.reply),
                    log: Arc::clone(&log),
                    connection: number,
                    certificate: None,
                    extended_connect: self.extended_connect,
                };
                Box::pin(service.serve(stream, acceptor.clone(), self.h2))
            }
        };
        listen(socket, log, Arc::new(serve))
    }

    fn server_config(&self, leaf: &Leaf) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.store());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                match self.client_schemes.clone() {
                    None => builder.with_client_cert_verifier(verifier.build().unwrap()),
                    Some(schemes) => builder.with_client_cert_verifier(Arc::new(Choosy {
                        inner: verifier.allow_unauthenticated().build().unwrap(),
                        schemes,
                    })),
                }
            }
        };
        let mut config = builder.with_single_cert(leaf.chain(), leaf.key()).unwrap();
        config.alpn_protocols = vec![if self.h2 {
            b"h2".to_vec()
        } else {
            b"http/1.1".to_vec()
        }];
        Arc::new(config)
    }
}

/// A verifier that accepts only some ways of signing.
#[derive(Debug)]
struct Choosy {
    inner: Arc<dyn ClientCertVerifier>,
    schemes: Vec<SignatureScheme>,
}

impl ClientCertVerifier for Choosy {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.inner.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

type Answering = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
type Serve = Arc<dyn Fn(Box<dyn Stream>, usize) -> Serving + Send + Sync>;

#[derive(Default)]
struct Log {
    connections: usize,
    requests: Vec<Received>,
}

struct Socket {
    listener: Listener,
    endpoint: String,
    folder: Option<TempDir>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    async fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        Self {
            listener: Listener::Tcp(listener),
            endpoint,
            folder: None,
        }
    }

    fn unix() -> Self {
        let folder = TempDir::new().unwrap();
        let path: PathBuf = folder.path().join("upstream.sock");
        let endpoint = format!("unix:{}", path.display());
        Self {
            listener: Listener::Unix(UnixListener::bind(&path).unwrap()),
            endpoint,
            folder: Some(folder),
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _): (_, SocketAddr) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

fn listen(socket: Socket, log: Arc<Mutex<Log>>, serve: Serve) -> Upstream {
    let kick = watch::Sender::new(0);
    let accepting = tokio::spawn(accept_all(
        socket.listener,
        Arc::clone(&log),
        serve,
        kick.clone(),
    ));
    Upstream {
        endpoint: socket.endpoint,
        log,
        kick,
        accepting: accepting.abort_handle(),
        must_stay_untouched: false,
        _folder: socket.folder,
    }
}

/// Serves connections until it is aborted, which ends them all.
async fn accept_all(
    listener: Listener,
    log: Arc<Mutex<Log>>,
    serve: Serve,
    kick: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = listener.accept().await.expect("the fixture accepts");
        let number = {
            let mut log = log.lock().unwrap();
            log.connections += 1;
            log.connections - 1
        };
        let serving = serve(stream, number);
        let mut kicked = kick.subscribe();
        connections.spawn(async move {
            tokio::select! {
                () = serving => {}
                _ = kicked.changed() => {}
            }
        });
    }
}

/// What answers the requests of one connection.
#[derive(Clone)]
struct Service {
    reply: Answering,
    log: Arc<Mutex<Log>>,
    connection: usize,
    certificate: Option<CertificateDer<'static>>,
    extended_connect: bool,
}

type ReplyBody = Either<Body, Incoming>;

impl Service {
    async fn serve(mut self, stream: Box<dyn Stream>, acceptor: Option<TlsAcceptor>, h2: bool) {
        let Some(acceptor) = acceptor else {
            return self.serve_http(stream, h2).await;
        };
        match acceptor.accept(stream).await {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                self.certificate = chain.and_then(|chain| chain.first()).cloned();
                self.serve_http(Box::new(stream), h2).await;
            }
            Err(error) => eprintln!("upstream handshake: {error}"),
        }
    }

    async fn serve_http(self, stream: Box<dyn Stream>, h2: bool) {
        let io = TokioIo::new(stream);
        let extended_connect = self.extended_connect;
        let service = service_fn(move |request| self.clone().answer(request));
        let ended = if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            if extended_connect {
                builder.enable_connect_protocol();
            }
            builder.serve_connection(io, service).await
        } else {
            http1::Builder::new()
                .serve_connection(io, service)
                .with_upgrades()
                .await
        };
        if let Err(error) = ended {
            eprintln!("upstream connection: {error}");
        }
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Infallible> {
        let received = self.received(&request);
        let reply = (self.reply)(&received);
        let place = {
            let mut log = self.log.lock().unwrap();
            log.requests.push(received);
            log.requests.len() - 1
        };
        if matches!(reply.kind, ReplyKind::AfterBody) {
            self.record_body(place, request.body_mut()).await;
        }
        if let Some(gate) = &reply.gate {
            gate.pass().await;
        }
        Ok(match reply.kind {
            ReplyKind::AfterBody | ReplyKind::BeforeBody => reply.response.map(Either::Left),
            ReplyKind::Echo => {
                // HTTP/1.1 sends only those trailers that `Trailer` announces.
                let announced = request.headers().get(header::TRAILER).cloned();
                let (mut parts, _) = reply.response.into_parts();
                parts
                    .headers
                    .extend(announced.map(|names| (header::TRAILER, names)));
                Response::from_parts(parts, Either::Right(request.into_body()))
            }
            ReplyKind::Upgrade => upgrade(request, reply.response).map(Either::Left),
        })
    }

    fn received(&self, request: &Request<Incoming>) -> Received {
        let host = request
            .headers()
            .get(header::HOST)
            .map(|host| host.to_str().unwrap().to_owned());
        let authority = request.uri().authority().map(ToString::to_string);
        Received {
            method: request.method().clone(),
            protocol: request
                .extensions()
                .get::<Protocol>()
                .map(|protocol| protocol.as_str().to_owned()),
            path: request
                .uri()
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            version: request.version(),
            authority: authority.or(host).unwrap_or_default(),
            headers: request.headers().clone(),
            arrival: Arrival::UnderWay,
            body: Bytes::new(),
            trailers: HeaderMap::new(),
            connection: self.connection,
            certificate: self.certificate.clone(),
        }
    }

    async fn record_body(&self, place: usize, body: &mut Incoming) {
        // With its connection this may be dropped.
        let _ended = Ended(&self.log, place);
        match body.collect().await {
            Ok(collected) => {
                let trailers = collected.trailers().cloned().unwrap_or_default();
                let mut log = self.log.lock().unwrap();
                let received = &mut log.requests[place];
                received.trailers = trailers;
                received.body = collected.to_bytes();
                received.arrival = Arrival::Whole;
            }
            Err(error) => eprintln!("upstream request body: {error}"),
        }
    }
}

/// Notes at its end that the content of a request has broken off, unless it is whole.
struct Ended<'a>(&'a Mutex<Log>, usize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let Ok(mut log) = self.0.lock() else { return };
        let arrival = &mut log.requests[self.1].arrival;
        if *arrival == Arrival::UnderWay {
            *arrival = Arrival::BrokenOff;
        }
    }
}

fn upgrade(request: Request<Incoming>, mut response: Response<Body>) -> Response<Body> {
    let protocol = request.headers().get(header::UPGRADE).cloned();
    if request.version() == Version::HTTP_2 {
        *response.status_mut() = StatusCode::OK;
    } else {
        let fields = response.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
    }
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
        if let Err(error) = copy(&mut reader, &mut writer).await {
            eprintln!("upgraded connection: {error}");
        }
    });
    response
}
