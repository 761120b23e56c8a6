//! HTTP/2 by hand (RFC 9113), for what a well-behaved client would never do.

use super::raw::Raw;

/// `DATA`.
pub(crate) const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// `GOAWAY`.
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One HTTP/2 connection that does nothing by itself: it answers no ping and
/// gives no room but what it is told to give.
pub(crate) struct Frames {
    raw: Raw,
}

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// The length of its payload.
    pub(crate) length: usize,
    /// Whether its stream ends with it.
    pub(crate) ends_stream: bool,
}

impl Frames {
    /// Begins with room for this many bytes on each stream, and 65535 for all.
    pub(crate) async fn begin(raw: Raw, window: u32) -> Self {
        let mut frames = Self { raw };
        frames.raw.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend(window.to_be_bytes());
        frames.send(SETTINGS, 0, 0, &setting).await;
        frames
    }

    /// Asks for a path on a new stream.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        // `:method: GET`, `:scheme: https`, `:authority`, `:path` (RFC 7541 appendix A).
        let mut fields = vec![0x82, 0x87, 0x01];
        for (text, next) in [("proxy.test", Some(0x04)), (path, None)] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend(text.as_bytes());
            fields.extend(next);
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
            .await;
    }

    /// Gives room for this many more bytes, on a stream and on the connection.
    pub(crate) async fn grant(&mut self, stream: u32, count: u32) {
        for stream in [0, stream] {
            self.send(WINDOW_UPDATE, 0, stream, &count.to_be_bytes())
                .await;
        }
    }

    /// Acknowledges the server's settings.
    pub(crate) async fn acknowledge(&mut self) {
        self.send(SETTINGS, ACK, 0, &[]).await;
    }

    /// The next frame; `None` when the server has hung up.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.raw.read_bytes(9).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        self.raw.read_bytes(length).await?;
        let kind = head[3];
        Some(Frame {
            kind,
            length,
            ends_stream: matches!(kind, DATA | HEADERS) && head[4] & END_STREAM != 0,
        })
    }

    /// The next piece of content; fails the test when the server has hung up.
    pub(crate) async fn next_data(&mut self) -> Frame {
        loop {
            let frame = self.next().await.expect("the response goes on");
            if frame.kind == DATA {
                return frame;
            }
        }
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.raw.write(frame).await;
    }
}
