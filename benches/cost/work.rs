//! What the program is given to do.

use super::drive::{End, Exchange, STREAMS, Work};
use super::scene::Scene;

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
        let address = scene.address();
        let http1 = async |connections| {
            Work::http1(address, &scene.caller(), connections, Exchange::short()).await
        };
        match self {
            Self::Http1Alone => http1(1).await,
            Self::Http1Busy => http1(32).await,
            Self::Http2Busy => Work::http2(address, scene.caller(), 4).await,
            Self::FullHandshake => {
                let served = End::Served { resumed: false };
                Work::handshakes(address, vec![scene.caller()], served)
            }
            Self::ResumedHandshake => Work::resumed(address, &scene.caller(), 1).await,
            Self::RefusedHandshake => Work::handshakes(address, vec![scene.stranger()], End::Alert),
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
