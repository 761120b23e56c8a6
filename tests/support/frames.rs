//! HTTP/2 by hand (RFC 9113), for what a well-behaved client would never do.

use super::raw::Raw;

/// With this a client begins (RFC 9113 §3.4).
pub(crate) const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `DATA`.
pub(crate) const DATA: u8 = 0;
/// `HEADERS`.
pub(crate) const HEADERS: u8 = 1;
/// `PRIORITY`.
pub(crate) const PRIORITY: u8 = 2;
/// `RST_STREAM`.
pub(crate) const RST_STREAM: u8 = 3;
/// `SETTINGS`.
pub(crate) const SETTINGS: u8 = 4;
/// `PING`.
pub(crate) const PING: u8 = 6;
/// `GOAWAY`.
pub(crate) const GOAWAY: u8 = 7;
/// `WINDOW_UPDATE`.
pub(crate) const WINDOW_UPDATE: u8 = 8;
/// `CONTINUATION`.
pub(crate) const CONTINUATION: u8 = 9;
/// `PRIORITY_UPDATE` (RFC 9218).
pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
/// The answer to a `SETTINGS` or `PING`.
pub(crate) const ACK: u8 = 1;
/// Nothing comes after this on its stream.
pub(crate) const END_STREAM: u8 = 1;
/// The header block is complete.
pub(crate) const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields in literals that are not indexed (RFC 7541 §6.2.2), as they stand.
pub(crate) fn literal(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of seven bits (RFC 7541 §5.1).
            match text.len().checked_sub(127) {
                None => block.push(u8::try_from(text.len()).unwrap()),
                Some(mut rest) => {
                    block.push(127);
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The head of a request with this method and path, and more fields.
pub(crate) fn head_of(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "proxy.test"),
        (":path", path),
    ];
    fields.extend(more);
    literal(&fields)
}

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

    /// Why the server says goodbye for the whole connection, if it does.
    pub(crate) fn goodbye(&self) -> Option<u32> {
        let reason = (self.kind == GOAWAY).then(|| self.payload.get(4..8))?;
        reason.map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
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
        frames.raw.write(PREFACE).await;
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend(window.to_be_bytes());
        frames.send(SETTINGS, 0, 0, &setting).await;
        frames
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw.write(frame(kind, flags, stream, payload)).await;
    }

    /// Sends bytes, frames as a rule.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.raw.write(bytes).await;
    }

    /// Sends bytes and waits until they have been looked at; what came until then.
    /// The server has hung up where the last of it is no answer to a `PING`.
    ///
    /// All in one piece: what the server said last is lost where a write fails.
    pub(crate) async fn settle(&mut self, mut bytes: Vec<u8>) -> Vec<Frame> {
        const MARK: &[u8] = b"settled?";
        bytes.extend(frame(PING, 0, 0, MARK));
        self.raw.write(bytes).await;
        let mut came = Vec::new();
        while let Some(frame) = self.next().await {
            let settled = frame.kind == PING && frame.payload == MARK;
            came.push(frame);
            if settled {
                break;
            }
        }
        came
    }

    /// Reads until the server hangs up: why it said goodbye, if it did.
    pub(crate) async fn goodbye(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            reason = frame.goodbye().or(reason);
        }
        reason
    }

    /// Takes the other side, and does not say its settings.
    pub(crate) async fn accept_silently(mut raw: Raw) -> Self {
        raw.read_until(PREFACE).await;
        Self { raw }
    }

    /// Takes the other side: what a client has begun is answered by hand.
    pub(crate) async fn accept(raw: Raw) -> Self {
        let mut frames = Self::accept_silently(raw).await;
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
}
