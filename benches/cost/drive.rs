//! Clients that drive a proxy over TLS: the same work for whatever runs there.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{AlertDescription, CipherSuite};
use tokio::task::JoinSet;

use super::service::CONTENT;
use super::support::client::{Client, get};
use super::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, WINDOW_UPDATE, frame,
};
use super::support::pki::Pki;
use super::support::raw::Raw;

/// Requests at one time on one HTTP/2 connection.
pub(crate) const STREAMS: usize = 20;
/// How much an HTTP/2 connection may be sent without asking again: all of it.
const ROOM: u32 = 1 << 30;

/// A caller without a certificate, who agrees on what costs least.
pub(crate) fn stranger(pki: &Pki) -> Client {
    Client::new(pki)
        .version(&rustls::version::TLS13)
        .offering(plain)
}

/// The same algorithms for every proxy.
fn plain(provider: &mut CryptoProvider) {
    provider.kx_groups = vec![kx_group::X25519];
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
}

/// What is sent again and again, and what comes back with the status 200.
#[derive(Clone)]
pub(crate) struct Exchange {
    /// Head and content.
    pub(crate) request: Arc<[u8]>,
    /// The length of the answer's content.
    pub(crate) content: usize,
}

impl Exchange {
    /// A request for the short answer.
    pub(crate) fn short() -> Self {
        Self {
            request: Arc::from(*b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n"),
            content: CONTENT,
        }
    }
}

/// An operation with all that it needs.
pub(crate) enum Work {
    /// Exchanges, one at a time on each of these connections.
    Http1(Vec<Raw>, Exchange),
    /// Requests, [`STREAMS`] at a time on each of these connections.
    Http2(Vec<Streams>),
    /// Connections, of each of these clients one after the other.
    Handshakes(Vec<Handshakes>),
}

impl Work {
    /// Opens so many connections for this exchange.
    pub(crate) async fn http1(
        address: SocketAddr,
        client: &Client,
        connections: usize,
        exchange: Exchange,
    ) -> Self {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(client.raw(address).await);
        }
        Self::Http1(open, exchange)
    }

    /// Opens so many connections for requests over HTTP/2.
    pub(crate) async fn http2(address: SocketAddr, client: Client, connections: usize) -> Self {
        let (client, mut open) = (client.h2(), Vec::new());
        for _ in 0..connections {
            open.push(Streams::begin(client.raw(address).await).await);
        }
        Self::Http2(open)
    }

    /// Handshakes of these clients, all of which end like this.
    pub(crate) fn handshakes(address: SocketAddr, clients: Vec<Client>, end: End) -> Self {
        let each = clients.into_iter().map(|client| Handshakes {
            address,
            client,
            end,
        });
        Self::Handshakes(each.collect())
    }

    /// Handshakes of as many clients as this one is cloned to, each of which
    /// resumes the session that it had before.
    pub(crate) async fn resumed(address: SocketAddr, client: &Client, clients: usize) -> Self {
        let mut resuming = Vec::new();
        for _ in 0..clients {
            // Not a clone of one that has connected: that would share its sessions.
            let client = client.clone().resuming();
            let first = client.get(address, "/").await.unwrap();
            assert_eq!(first.status, 200);
            resuming.push(client);
        }
        Self::handshakes(address, resuming, End::Served { resumed: true })
    }

    /// Does it so many times, and sees that all of it is done.
    pub(crate) async fn repeat(&mut self, count: usize) {
        match self {
            Self::Http1(open, exchange) => {
                let share = share(count, open.len());
                let work = |connection| one_by_one(connection, exchange.clone(), share);
                all(open, work).await;
            }
            Self::Http2(open) => {
                let share = share(count, open.len());
                all(open, |connection| connection.in_rounds(share)).await;
            }
            Self::Handshakes(open) => {
                let share = share(count, open.len());
                all(open, |client| client.repeat(share)).await;
            }
        }
    }
}

/// The share of each connection in all operations.
fn share(count: usize, connections: usize) -> usize {
    assert_eq!(count % connections, 0, "the connections have equal shares");
    count / connections
}

/// Works on all connections at once, until all are done.
async fn all<C: Send + 'static, W>(open: &mut Vec<C>, work: impl Fn(C) -> W)
where
    W: Future<Output = C> + Send + 'static,
{
    let working: JoinSet<C> = open.drain(..).map(work).collect();
    *open = working.join_all().await;
}

/// Makes exchanges on an HTTP/1.1 connection, each after the one before.
async fn one_by_one(mut connection: Raw, exchange: Exchange, count: usize) -> Raw {
    for _ in 0..count {
        connection.write(&exchange.request).await;
        let answer = connection.read_response().await;
        let came = (answer.status, answer.body.len());
        assert_eq!(came, (200, exchange.content), "{}", answer.head);
    }
    connection
}

/// An HTTP/2 connection, and the stream that comes next.
pub(crate) struct Streams {
    frames: Frames,
    next: u32,
}

impl Streams {
    async fn begin(raw: Raw) -> Self {
        let mut frames = Frames::begin(raw, ROOM).await;
        frames.send(WINDOW_UPDATE, 0, 0, &ROOM.to_be_bytes()).await;
        while frames.next().await.unwrap().kind != SETTINGS {}
        frames.acknowledge().await;
        Self { frames, next: 1 }
    }

    /// Sends requests, [`STREAMS`] in one piece, and the next when all are answered.
    async fn in_rounds(mut self, count: usize) -> Self {
        for _ in 0..share(count, STREAMS) {
            self.ask().await;
            self.take().await;
        }
        self
    }

    async fn ask(&mut self) {
        // GET, https, /, and the authority as a literal (RFC 7541 appendix A).
        const HEAD: &[u8] = b"\x82\x87\x84\x01\x0aproxy.test";
        let mut bytes = Vec::new();
        for _ in 0..STREAMS {
            bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, self.next, HEAD));
            self.next += 2;
        }
        self.frames.write(&bytes).await;
    }

    async fn take(&mut self) {
        let (mut granted, mut ended, mut content) = (0, 0, 0);
        while ended < STREAMS {
            let frame = self.frames.next().await.expect("the connection goes on");
            if frame.is_ping() {
                self.frames.pong(&frame).await;
            }
            granted += usize::from(frame.is_granted() == Some(true));
            ended += usize::from(frame.ends_stream);
            if frame.kind == DATA {
                content += frame.length;
            }
        }
        assert_eq!((granted, content), (STREAMS, STREAMS * CONTENT));
    }
}

/// A client that connects, and does it again.
pub(crate) struct Handshakes {
    address: SocketAddr,
    client: Client,
    end: End,
}

/// How each connection ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// With an answer.
    Served {
        /// Whether the handshake continues a session.
        resumed: bool,
    },
    /// With the alert for a missing certificate.
    Alert,
    /// Without an answer, or with the answer that the request is a bad one, as
    /// nginx has it: for want of a certificate that is trusted.
    Refused,
}

impl Handshakes {
    async fn repeat(self, count: usize) -> Self {
        for _ in 0..count {
            match self.end {
                End::Served { resumed } => self.be_served(resumed).await,
                End::Alert => {
                    let refusal = self.client.refusal(self.address).await;
                    assert_eq!(refusal.alert(), AlertDescription::CertificateRequired);
                }
                End::Refused => self.be_refused().await,
            }
        }
        self
    }

    async fn be_served(&self, resumed: bool) {
        let mut session = self.client.connect(self.address).await.unwrap();
        assert_eq!(session.tls().resumed, resumed);
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    }

    async fn be_refused(&self) {
        // The client is through before the server has looked for a certificate:
        // what fails here is another thing.
        let mut session = self.client.connect(self.address).await.unwrap();
        // An alert is lost where what was sent meanwhile is never read.
        if let Ok(answer) = session.send(get("/")).await {
            assert_eq!(answer.status, 400, "without a certificate that is trusted");
        }
    }
}
