//! What is compared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::drive::{End, Exchange, STREAMS, Work};
use super::scene::Scene;
use super::service::{CONTENT, LARGE, LARGE_PATH, UPLOAD, UPLOAD_PATH};

/// Something that all proxies are given to do.
pub(crate) struct Case {
    /// As it is asked for.
    pub(crate) name: &'static str,
    /// In the table, with its unit.
    pub(crate) in_words: &'static str,
    /// How many operations are under way at one time.
    pub(crate) at_one_time: usize,
    /// How often each of those is done in a round: for a second or so.
    pub(crate) times: usize,
    load: Load,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Load {
    Full,
    Resumed,
    Refused,
    Http1,
    Http2,
    Download,
    Upload,
    Idle,
}

/// All of them, as they are measured.
#[rustfmt::skip]
pub(crate) const CASES: [Case; 8] = [
    case(Load::Full, "full", "full handshake + GET, returning client, µs", (16, 100)),
    case(Load::Resumed, "resumed", "resumed handshake + GET, µs", (16, 100)),
    case(Load::Refused, "refused", "handshake without certificate, refused, µs", (16, 100)),
    case(Load::Http1, "http1", "HTTP/1.1, 64 B, 32 connections, µs", (32, 1_000)),
    case(Load::Http2, "http2", "HTTP/2, 64 B, 4 × 20 streams, µs", (4 * STREAMS, 400)),
    case(Load::Download, "download", "download 1 MiB, HTTP/1.1, ms for each GiB", (8, 64)),
    case(Load::Upload, "upload", "upload 8 MiB, HTTP/1.1, ms for each GiB", (4, 16)),
    case(Load::Idle, "idle", "idle connection, KiB", (1, 1_000)),
];

const fn case(
    load: Load,
    name: &'static str,
    in_words: &'static str,
    (at_one_time, times): (usize, usize),
) -> Case {
    Case {
        name,
        in_words,
        at_one_time,
        times,
        load,
    }
}

impl Case {
    /// Whether nothing is done but to be connected.
    pub(crate) fn is_idle(&self) -> bool {
        self.load == Load::Idle
    }

    /// Makes ready for it.
    pub(crate) async fn prepare(&self, scene: &Scene, address: SocketAddr) -> Work {
        let count = self.at_one_time;
        let exchange = match self.load {
            Load::Full => {
                let served = End::Served { resumed: false };
                return Work::handshakes(address, vec![scene.caller(); count], served);
            }
            Load::Resumed => return Work::resumed(address, &scene.caller(), count).await,
            Load::Refused => {
                return Work::handshakes(address, vec![scene.stranger(); count], End::Refused);
            }
            Load::Http2 => return Work::http2(address, scene.caller(), count / STREAMS).await,
            Load::Http1 | Load::Idle => Exchange::short(),
            Load::Download => download(),
            Load::Upload => upload(),
        };
        Work::http1(address, &scene.caller(), count, exchange).await
    }

    /// What one of `count` operations takes, or a GiB of their content, in the
    /// unit of the table.
    pub(crate) fn figure(&self, cpu: Duration, count: usize) -> f64 {
        let (seconds, count) = (cpu.as_secs_f64(), count as f64);
        let each_gibibyte = |size| seconds * 1e3 / (count * size as f64 / f64::from(1 << 30));
        match self.load {
            Load::Download => each_gibibyte(LARGE),
            Load::Upload => each_gibibyte(UPLOAD),
            _ => seconds * 1e6 / count,
        }
    }
}

fn download() -> Exchange {
    let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: proxy.test\r\n\r\n");
    Exchange {
        request: Arc::from(request.into_bytes()),
        content: LARGE,
    }
}

fn upload() -> Exchange {
    let head = format!(
        "POST {UPLOAD_PATH} HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: {UPLOAD}\r\n\r\n"
    );
    Exchange {
        request: Arc::from([head.into_bytes(), vec![b'x'; UPLOAD]].concat()),
        content: CONTENT,
    }
}
