//! HTTP/2 by hand (RFC 9113), for what a well-behaved client would never do.

use super::raw::Raw;

/// `DATA`.
pub(crate) const DATA: u8 = 0;
/// `HEADERS`.
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
/// `GOAWAY`.
pub(crate) const GOAWAY: u8 = 7;
const PING: u8 = 6;
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
    /// The stream it belongs to; 0 is the connection.
    pub(crate) stream: u32,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the head of a response with the status 200, or 403; fails
    /// the test for any other head.
    pub(crate) fn is_granted(&self) -> Option<bool> {
        // `:status: 200` of the static table, and `:status` with the literal
        // "403" in Huffman's code (RFC 7541 appendices A and B).
        const FORBIDDEN: &[u8] = &[0x48, 0x83, 0x68, 0x0c, 0xff];
        if self.kind != HEADERS {
            return None;
        }
        match self.payload.as_slice() {
            [0x88, ..] => Some(true),
            other if other.starts_with(FORBIDDEN) => Some(false),
            // From the dynamic table, where it stands once it was sent.
            [place, ..] if *place >= 0xbe => Some(false),
            other => panic!("another status: {other:x?}"),
        }
    }

    /// Whether it asks whether this side is still there.
    pub(crate) fn is_ping(&self) -> bool {
        self.kind == PING
    }
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

    /// Takes the other side: what a client has begun is answered by hand.
    pub(crate) async fn accept(mut raw: Raw) -> Self {
        raw.read_until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut frames = Self { raw };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Answers a request with 200 and nothing more.
    pub(crate) async fn answer(&mut self, stream: u32) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88])
            .await;
    }

    /// Says that the streams above this one are not processed, and that no other
    /// is taken.
    pub(crate) async fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// Says that this stream is not processed.
    pub(crate) async fn refuse(&mut self, stream: u32) {
        const REFUSED_STREAM: u32 = 7;
        self.send(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes())
            .await;
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

    /// Answers a ping.
    pub(crate) async fn pong(&mut self, ping: &Frame) {
        self.send(PING, ACK, 0, &ping.payload).await;
    }

    /// The next frame; `None` when the server has hung up.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.raw.read_bytes(9).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.raw.read_bytes(length).await?;
        let kind = head[3];
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame {
            kind,
            length,
            ends_stream: matches!(kind, DATA | HEADERS) && head[4] & END_STREAM != 0,
            stream,
            payload,
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
