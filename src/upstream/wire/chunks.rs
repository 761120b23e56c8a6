//! Takes a chunked body apart (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::LinkFault;

/// The most that a body's chunk extensions, and its trailers, may take each.
const MOST_BESIDE: usize = 16 * 1024;
/// The most digits of a chunk's size, leading zeros included.
const MOST_DIGITS: usize = 16;
/// The most fields behind a body.
const MAX_TRAILERS: usize = 64;

/// Where in a chunked body the reading stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// The bytes of chunk extensions so far.
    extensions: usize,
}

#[derive(Debug, Default)]
enum State {
    /// Before the size of a chunk.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// Before the line end behind them.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Chunk {
    /// A piece of the body; never an empty one.
    Data(Bytes),
    /// It is complete.
    End(Option<HeaderMap>),
    /// More has to be received first.
    More,
}

impl Chunks {
    /// What comes next of what was received.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Chunk, LinkFault> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(received, MOST_BESIDE)? else {
                        return Ok(Chunk::More);
                    };
                    self.state = match self.size(&line)? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(_) if received.is_empty() => return Ok(Chunk::More),
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX);
                    let here = here.min(received.len());
                    self.state = match left.saturating_sub(here as u64) {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Chunk::Data(received.split_to(here).freeze()));
                }
                State::DataEnd => match received.get(..2) {
                    None => return Ok(Chunk::More),
                    Some(b"\r\n") => {
                        received.advance(2);
                        self.state = State::Size;
                    }
                    Some(_) => {
                        let rule = "a chunk that is longer than it says (RFC 9112 section 7.1)";
                        return Err(LinkFault::Malformed(rule));
                    }
                },
                State::Trailers => return trailers(received),
            }
        }
    }

    /// The size that a line states, without its line end.
    fn size(&mut self, line: &[u8]) -> Result<u64, LinkFault> {
        let malformed = || LinkFault::Malformed("a chunk without a size (RFC 9112 section 7.1)");
        let end = line
            .iter()
            .position(|byte| matches!(byte, b';' | b' ' | b'\t'));
        let (digits, extension) = line.split_at(end.unwrap_or(line.len()));
        // Blanks may only stand before a `;`, or at the end.
        if !matches!(extension.trim_ascii_start().first(), None | Some(b';')) {
            return Err(malformed());
        }
        self.extensions = self.extensions.saturating_add(extension.len());
        if self.extensions > MOST_BESIDE {
            let rule = "more than 16 KiB of chunk extensions";
            return Err(LinkFault::Malformed(rule));
        }
        // Digits alone: the parser would take a sign.
        let is_number = digits.iter().all(u8::is_ascii_hexdigit);
        if digits.is_empty() || digits.len() > MOST_DIGITS || !is_number {
            return Err(malformed());
        }
        let digits = str::from_utf8(digits).map_err(|_| malformed())?;
        u64::from_str_radix(digits, 16).map_err(|_| malformed())
    }
}

/// Takes a line off, and its line end; `None`: it is not there to its end.
fn line(received: &mut BytesMut, most: usize) -> Result<Option<Bytes>, LinkFault> {
    let Some(end) = memchr::memchr(b'\n', received) else {
        return if received.len() > most {
            Err(LinkFault::Malformed(
                "a line of a chunked body has more than 16 KiB",
            ))
        } else {
            Ok(None)
        };
    };
    let mut line = received.split_to(end.saturating_add(1)).freeze();
    if !line.ends_with(b"\r\n") {
        let rule = "a line that does not end in CR LF (RFC 9112 section 2.2)";
        return Err(LinkFault::Malformed(rule));
    }
    line.truncate(end.saturating_sub(1));
    Ok(Some(line))
}

/// What stands behind the last chunk, to its end.
fn trailers(received: &mut BytesMut) -> Result<Chunk, LinkFault> {
    // As a rule there are none.
    if received.starts_with(b"\r\n") {
        received.advance(2);
        return Ok(Chunk::End(None));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let malformed =
        || LinkFault::Malformed("trailers that cannot be read (RFC 9112 section 7.1.2)");
    let parsed = httparse::parse_headers(received, &mut fields).map_err(|_| malformed())?;
    let httparse::Status::Complete((length, fields)) = parsed else {
        return if received.len() > MOST_BESIDE {
            Err(LinkFault::Malformed("more than 16 KiB of trailers"))
        } else {
            Ok(Chunk::More)
        };
    };
    if length > MOST_BESIDE {
        return Err(LinkFault::Malformed("more than 16 KiB of trailers"));
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| malformed())?;
        trailers.append(name, value);
    }
    received.advance(length);
    Ok(Chunk::End(Some(trailers)))
}
