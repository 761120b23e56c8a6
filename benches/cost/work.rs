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

/// Operations that can be repeated.
pub(crate) enum Work {
    /// Requests on these connections, one at a time on each.
    Http1(Vec<Raw>),
    /// Requests on these connections, in rounds of [`STREAMS`] on each.
    Http2(Vec<Streams>),
    /// Connections, one after the other.
    Handshakes(Handshakes),
}

impl Work {
    /// Requests on so many HTTP/1.1 connections at once.
    pub(crate) async fn http1(scene: &Scene, connections: usize) -> Self {
        scene.service().answer_by(1);
        let (client, mut open) = (scene.caller(), Vec::new());
        for _ in 0..connections {
            open.push(client.raw(scene.address()).await);
        }
        Self::Http1(open)
    }

    /// Requests on so many HTTP/2 connections at once.
    pub(crate) async fn http2(scene: &Scene, connections: usize) -> Self {
        scene.service().answer_by(connections * STREAMS);
        let (client, mut open) = (scene.caller().h2(), Vec::new());
        for _ in 0..connections {
            open.push(Streams::begin(client.raw(scene.address()).await).await);
        }
        Self::Http2(open)
    }

    /// Handshakes of a client whose certificate has been seen before, each with a request.
    pub(crate) fn full(scene: &Scene) -> Self {
        scene.service().answer_by(1);
        Self::Handshakes(Handshakes {
            address: scene.address(),
            client: scene.caller(),
            end: End::Served { resumed: false },
        })
    }

    /// Handshakes that resume the session before, each with a request.
    pub(crate) async fn resumed(scene: &Scene) -> Self {
        scene.service().answer_by(1);
        let client = scene.caller().resuming();
        let first = client.get(scene.address(), "/").await.unwrap();
        assert_eq!(first.status, 200);
        Self::Handshakes(Handshakes {
            address: scene.address(),
            client,
            end: End::Served { resumed: true },
        })
    }

    /// Handshakes without the certificate that is required.
    pub(crate) fn refused(scene: &Scene) -> Self {
        Self::Handshakes(Handshakes {
            address: scene.address(),
            client: scene.stranger(),
            end: End::Refused,
        })
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
    *open = open
        .drain(..)
        .map(work)
        .collect::<JoinSet<C>>()
        .join_all()
        .await;
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
        assert_eq!(count % STREAMS, 0, "all rounds are full");
        for _ in 0..count / STREAMS {
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

/// Sees that the rule is one that decides, and does not let everybody pass.
pub(crate) async fn see_the_rule_decide(scene: &Scene) {
    let denied = scene.outsider().get(scene.address(), "/").await.unwrap();
    assert_eq!(denied.status, 403);
}
