//! What the program is given to do.

use std::future::Future;
use std::net::SocketAddr;

use rustls::AlertDescription;
use tokio::task::JoinSet;

use super::scene::Scene;
use super::service::CONTENT;
use super::support::client::{Client, get};
use super::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, WINDOW_UPDATE, frame,
};
use super::support::raw::Raw;

/// Requests at one time on one HTTP/2 connection.
const STREAMS: usize = 20;
/// How much an HTTP/2 connection may be sent without asking again: all of it.
const ROOM: u32 = 1 << 30;

/// Something that can be done again and again.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    /// A request on the only HTTP/1.1 connection.
    Http1Alone,
    /// A request on one of 32 HTTP/1.1 connections, each with one at a time.
    Http1Busy,
    /// A request on one of 4 HTTP/2 connections, each with [`STREAMS`] at a time.
    Http2Busy,
    /// A handshake of a client whose certificate has been seen before, and a request.
    FullHandshake,
    /// A handshake that resumes the session before, and a request.
    ResumedHandshake,
    /// A handshake without the certificate that is required.
    RefusedHandshake,
}

impl Operation {
    /// Its table in `expected.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1Alone => "http1_alone",
            Self::Http1Busy => "http1_busy",
            Self::Http2Busy => "http2_busy",
            Self::FullHandshake => "full_handshake",
            Self::ResumedHandshake => "resumed_handshake",
            Self::RefusedHandshake => "refused_handshake",
        }
    }

    /// In words.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Http1Alone => "a request over HTTP/1.1, one at a time",
            Self::Http1Busy => "a request over HTTP/1.1, on 32 connections at once",
            Self::Http2Busy => "a request over HTTP/2, on 4 connections with 20 streams at once",
            Self::FullHandshake => "a full handshake of a returning client, and a request",
            Self::ResumedHandshake => "a resumed handshake, and a request",
            Self::RefusedHandshake => "a handshake that is refused for want of a certificate",
        }
    }

    /// Makes ready for it.
    pub(crate) async fn prepare(self, scene: &Scene) -> Work {
        scene.service().answer_by(match self {
            Self::Http1Busy => 32,
            Self::Http2Busy => 4 * STREAMS,
            _ => 1,
        });
        match self {
            Self::Http1Alone => Work::http1(scene, 1).await,
            Self::Http1Busy => Work::http1(scene, 32).await,
            Self::Http2Busy => Work::http2(scene, 4).await,
            Self::FullHandshake => {
                Work::handshakes(scene, scene.caller(), End::Served { resumed: false })
            }
            Self::ResumedHandshake => {
                let client = scene.caller().resuming();
                let first = client.get(scene.address(), "/").await.unwrap();
                assert_eq!(first.status, 200);
                Work::handshakes(scene, client, End::Served { resumed: true })
            }
            Self::RefusedHandshake => Work::handshakes(scene, scene.stranger(), End::Refused),
        }
    }
}

/// How often something is done, the first time and the second; whole rounds of
/// all connections and streams.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    /// The first time.
    pub(crate) less: usize,
    /// The second.
    pub(crate) more: usize,
}

impl Amount {
    /// What one more costs, if these are the costs of all.
    pub(crate) fn each(self, less: u64, more: u64) -> f64 {
        (more as f64 - less as f64) / (self.more - self.less) as f64
    }
}

/// Sees that the rule is one that decides, and does not let everybody pass.
pub(crate) async fn see_the_rule_decide(scene: &Scene) {
    let denied = scene.outsider().get(scene.address(), "/").await.unwrap();
    assert_eq!(denied.status, 403);
}

/// An operation with all that it needs.
pub(crate) enum Work {
    /// Requests, one at a time on each of these connections.
    Http1(Vec<Raw>),
    /// Requests, [`STREAMS`] at a time on each of these connections.
    Http2(Vec<Streams>),
    /// Connections, one after the other.
    Handshakes(Box<Handshakes>),
}

impl Work {
    async fn http1(scene: &Scene, connections: usize) -> Self {
        let (client, mut open) = (scene.caller(), Vec::new());
        for _ in 0..connections {
            open.push(client.raw(scene.address()).await);
        }
        Self::Http1(open)
    }

    async fn http2(scene: &Scene, connections: usize) -> Self {
        let (client, mut open) = (scene.caller().h2(), Vec::new());
        for _ in 0..connections {
            open.push(Streams::begin(client.raw(scene.address()).await).await);
        }
        Self::Http2(open)
    }

    fn handshakes(scene: &Scene, client: Client, end: End) -> Self {
        Self::Handshakes(Box::new(Handshakes {
            address: scene.address(),
            client,
            end,
        }))
    }

    /// Does it so many times, and sees that all of it is done.
    pub(crate) async fn repeat(&mut self, count: usize) {
        match self {
            Self::Http1(open) => {
                let share = share(count, open.len());
                all(open, |connection| one_by_one(connection, share)).await;
            }
            Self::Http2(open) => {
                let share = share(count, open.len());
                all(open, |connection| connection.in_rounds(share)).await;
            }
            Self::Handshakes(handshakes) => handshakes.repeat(count).await,
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

/// Sends requests on an HTTP/1.1 connection, each after the answer to the one before.
async fn one_by_one(mut connection: Raw, count: usize) -> Raw {
    for _ in 0..count {
        connection
            .write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
            .await;
        let answer = connection.read_response().await;
        assert_eq!((answer.status, answer.body.len()), (200, CONTENT));
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
enum End {
    /// With an answer.
    Served { resumed: bool },
    /// With the alert for a missing certificate.
    Refused,
}

impl Handshakes {
    async fn repeat(&self, count: usize) {
        for _ in 0..count {
            let End::Served { resumed } = self.end else {
                let refusal = self.client.refusal(self.address).await;
                assert_eq!(refusal.alert(), AlertDescription::CertificateRequired);
                continue;
            };
            let mut session = self.client.connect(self.address).await.unwrap();
            assert_eq!(session.tls().resumed, resumed);
            assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        }
    }
}
