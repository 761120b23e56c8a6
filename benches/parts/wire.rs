//! Following what comes over a connection, beside the HTTP library.

use std::fmt::Write;
use std::hint::black_box;

use countersign::inside::FrameWatch;
use countersign::proxy::Framing;

use super::Part;

/// What a connection may spend on frames without content; far from used up here.
const BUDGET: u32 = 10_000;
/// Requests that come in one piece.
const REQUESTS: u32 = 20;
/// A piece in which a body comes: what TLS has in one record.
const PIECE: usize = 16 * 1024;

/// Reading where requests over HTTP/1.1 begin and end.
pub(crate) fn http1(part: &mut Part<'_>) {
    let read = |bytes: &[u8], piece: usize| {
        let mut framing = Framing::default();
        let mut pieces = black_box(bytes).chunks(piece);
        let read = pieces.try_for_each(|piece| framing.read(piece));
        read.map(|()| framing.is_between())
    };
    let get = get("");
    let complete = |read| read == Ok(true);

    part.time("a head", || read(&get, get.len()), complete);
    part.time(
        "a head in pieces of 100 bytes",
        || read(&get, 100),
        complete,
    );
    let many = get.repeat(20);
    part.time(
        "20 heads in one piece",
        || read(&many, many.len()),
        complete,
    );
    let length = "Content-Length: 1048576\r\n";
    let plain = [self::get(length), vec![b'x'; 1 << 20]].concat();
    part.time("1 MiB with its length", || read(&plain, PIECE), complete);
    let chunk = [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat();
    let coding = self::get("Transfer-Encoding: chunked\r\n");
    let chunked = [coding, chunk.repeat(1024), b"0\r\n\r\n".to_vec()].concat();
    part.time(
        "1 MiB in chunks of 1 KiB",
        || read(&chunked, PIECE),
        complete,
    );
    let both = self::get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    part.time(
        "a head that can be read in two ways",
        || read(&both, both.len()),
        |read| read.is_err_and(|found| found.rule.starts_with("both Content-Length and")),
    );
}

/// A head as clients send them, with these lines.
fn get(lines: &str) -> Vec<u8> {
    let mut head = "GET /api/orders/17?expand=lines HTTP/1.1\r\n".to_owned();
    for (name, value) in super::heads::SENT {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    format!("{head}{lines}\r\n").into_bytes()
}

/// Watching the frames of an HTTP/2 connection.
pub(crate) fn http2(part: &mut Part<'_>) {
    let request = frame(HEADERS, END_STREAM | END_HEADERS, &[0x82; 60]);
    let requests = request.repeat(REQUESTS as usize);
    let upload = frame(DATA, 0, &vec![b'x'; PIECE]).repeat(64);
    let pings = frame(PING, 0, &[0; 8]).repeat(BUDGET as usize + 1);

    let passes = |found: Option<usize>| found.is_none();
    watch(
        part,
        "20 requests in one piece",
        &requests,
        usize::MAX,
        passes,
    );
    watch(
        part,
        "20 requests in pieces of 100 bytes",
        &requests,
        100,
        passes,
    );
    watch(part, "1 MiB of content", &upload, PIECE, passes);
    watch(part, "10,000 pings and one", &pings, PIECE, |found| {
        found == Some(pings.len() - 17)
    });
}

/// Times what comes behind the preface. Where it is ended, if it is.
fn watch(
    part: &mut Part<'_>,
    case: &str,
    bytes: &[u8],
    piece: usize,
    is_right: impl FnOnce(Option<usize>) -> bool,
) {
    let begun = || {
        let mut watch = FrameWatch::new(BUDGET);
        assert_eq!(watch.read(PREFACE, 0), None);
        watch
    };
    let read = |mut watch: FrameWatch| {
        let mut before = 0;
        for piece in black_box(bytes).chunks(piece) {
            if let Some(at) = watch.read(piece, 0) {
                return Some(before + at);
            }
            before += piece.len();
        }
        None
    };
    part.time_on(case, begun, read, is_right);
}

/// A frame of the first stream (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    [&head, payload].concat()
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PING: u8 = 0x6;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
