//! Follows where HTTP/1.1 requests begin and end, beside the HTTP library.
//!
//! The library settles some ambiguities silently: of a length and a transfer
//! coding it keeps one. A server in front that keeps the other would take part
//! of one request for the next one. What can be read in two ways is therefore
//! found here, in the bytes as they come, and refused (RFC 9112 §6.3, §11.2).

use memchr::memchr;

/// The longest line of a head of which the value is read.
const MAX_LINE: usize = 512;

/// Reads along with the bytes of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// Which request this is, counted from 0.
    request: u32,
    /// The beginning of the line under way, where it is of interest.
    line: Vec<u8>,
    /// Whether it is.
    wanted: bool,
    /// How long it is so far.
    length: usize,
    last: u8,
    head: Head,
}

/// What cannot be read in one way only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ambiguity {
    /// The rule that is broken, and where it stands.
    pub rule: &'static str,
    /// In which request, counted from 0.
    pub request: u32,
    /// Whether its head was complete before the piece that breaks the rule, so
    /// that it is under way already.
    pub under_way: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    RequestLine,
    Field,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailer,
    /// It has been said that this cannot be followed.
    Lost,
}

/// What the head under way says of its body.
#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            state: State::RequestLine,
            request: 0,
            line: Vec::new(),
            wanted: false,
            length: 0,
            last: 0,
            head: Head::default(),
        }
    }
}

impl Framing {
    /// Whether a head has begun and is not complete.
    pub fn in_head(&self) -> bool {
        match self.state {
            State::RequestLine => self.length > 0,
            State::Field => true,
            _ => false,
        }
    }

    /// Whether everything that has begun is complete, head and body.
    pub fn is_between(&self) -> bool {
        self.state == State::RequestLine && self.length == 0
    }

    /// Reads on.
    ///
    /// # Errors
    ///
    /// The first rule that is broken; after that nothing is read any more.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Ambiguity> {
        let begun = (!self.in_head() && !self.is_between()).then_some(self.request);
        while !bytes.is_empty() && self.state != State::Lost {
            bytes = match self.state {
                State::Body(left) => self.skip(bytes, left, State::Body, State::RequestLine),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkEnd),
                _ => self.read_line(bytes).map_err(|rule| {
                    self.state = State::Lost;
                    Ambiguity {
                        rule,
                        request: self.request,
                        under_way: begun == Some(self.request),
                    }
                })?,
            };
        }
        Ok(())
    }

    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        more: fn(u64) -> State,
        done: State,
    ) -> &'b [u8] {
        let here = bytes.len() as u64;
        if here < left {
            self.state = more(left - here);
            return &[];
        }
        self.enter(done);
        let skipped = usize::try_from(left).unwrap_or(bytes.len());
        bytes.get(skipped..).unwrap_or_default()
    }

    fn read_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], &'static str> {
        let end = memchr(b'\n', bytes);
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        // A line is judged by its own first byte, wherever the pieces begin.
        if self.length == 0 {
            self.wanted = self.state != State::RequestLine
                && part.first().is_some_and(|first| is_of_interest(*first));
        }
        // The library takes a fragment for a thing that may be left out.
        if self.state == State::RequestLine && memchr(b'#', part).is_some() {
            return Err("a fragment in the request target (RFC 9112 section 3.2)");
        }
        self.length = self.length.saturating_add(part.len());
        let here = if self.wanted {
            let room = MAX_LINE.saturating_sub(self.line.len());
            part.get(..part.len().min(room)).unwrap_or_default()
        } else {
            &[]
        };
        let last = part.last().copied().unwrap_or(self.last);
        let Some(end) = end else {
            self.line.extend_from_slice(here);
            self.last = last;
            return Ok(&[]);
        };
        if last != b'\r' {
            return Err("a line that does not end in CR LF (RFC 9112 section 2.2)");
        }
        let empty = self.length == 1;
        self.length = 0;
        self.last = 0;
        // Most lines come in one piece: then nothing is copied.
        let mut begun = std::mem::take(&mut self.line);
        if begun.is_empty() {
            self.end_line(here, empty)?;
        } else {
            begun.extend_from_slice(here);
            self.end_line(&begun, empty)?;
        }
        Ok(bytes.get(end + 1..).unwrap_or_default())
    }

    /// Goes on in another state; where a request may begin, another one does.
    fn enter(&mut self, state: State) {
        if state == State::RequestLine {
            self.request = self.request.saturating_add(1);
        }
        self.state = state;
    }

    fn end_line(&mut self, line: &[u8], empty: bool) -> Result<(), &'static str> {
        let next = match self.state {
            // An empty line before a request is passed over (RFC 9112 §2.2).
            State::RequestLine if empty => return Ok(()),
            State::RequestLine => State::Field,
            State::Field if empty => std::mem::take(&mut self.head).body()?,
            State::Field => {
                self.head.field(line)?;
                State::Field
            }
            State::ChunkSize => {
                match chunk_size(line).ok_or("a chunk without a size (RFC 9112 section 7.1)")? {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                }
            }
            State::ChunkEnd if empty => State::ChunkSize,
            State::ChunkEnd => {
                return Err("a chunk that is longer than it says (RFC 9112 section 7.1)");
            }
            State::Trailer if empty => State::RequestLine,
            state => state,
        };
        self.enter(next);
        Ok(())
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err("a field that is folded over several lines (RFC 9112 section 5.2)");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Ok(());
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let [is_length, is_coding] = ["content-length", "transfer-encoding"]
            .map(|it| name.eq_ignore_ascii_case(it.as_bytes()));
        if line.len() >= MAX_LINE && (is_length || is_coding) {
            // What stands behind that much white space is not known here.
            return Err(
                "a length or a transfer coding that is too long to be one (RFC 9112 section 6)",
            );
        }
        if is_length {
            if self.length.is_some() {
                return Err("more than one Content-Length (RFC 9112 section 6.3)");
            }
            self.length = Some(
                decimal(value).ok_or("Content-Length is not a number (RFC 9112 section 6.3)")?,
            );
        } else if is_coding {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer coding other than one `chunked` (RFC 9112 section 6.1)");
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn body(self) -> Result<State, &'static str> {
        match (self.length, self.chunked) {
            (Some(_), true) => {
                Err("both Content-Length and Transfer-Encoding (RFC 9112 section 6.3)")
            }
            (None, true) => Ok(State::ChunkSize),
            (Some(length), false) if length > 0 => Ok(State::Body(length)),
            _ => Ok(State::RequestLine),
        }
    }
}

/// Whether a line that begins so may say how long a body or a chunk is, or is
/// the continuation of another.
fn is_of_interest(first: u8) -> bool {
    matches!(first, b'c' | b'C' | b't' | b'T' | b' ' | b'\t') || first.is_ascii_hexdigit()
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(value).ok()?.parse().ok()?;
    (length <= LONGEST).then_some(length)
}

/// The hexadecimal number before any extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, rest) = line.split_at(end);
    // White space may stand before an extension, but not without one. With
    // neither of these the line was too long to be kept whole.
    if !matches!(rest.trim_ascii_start().first(), Some(b';')) && rest != b"\r" {
        return None;
    }
    if digits.len() > MOST_DIGITS {
        return None;
    }
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (size <= LONGEST).then_some(size)
}

/// The longest body or chunk, in bytes: more than this many servers take for a
/// negative number.
const LONGEST: u64 = i64::MAX as u64;
/// The most digits of a chunk's size; of more, a server may drop some.
const MOST_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is broken, and in which request.
    fn what(outcome: Result<(), Ambiguity>) -> Result<(), (&'static str, u32)> {
        outcome.map_err(|found| (found.rule, found.request))
    }

    /// Reads it whole, and again byte by byte: the outcome is the same.
    fn verdict(bytes: &str) -> Result<(), (&'static str, u32)> {
        let whole = Framing::default().read(bytes.as_bytes());
        let mut framing = Framing::default();
        let pieces = bytes
            .as_bytes()
            .chunks(1)
            .try_for_each(|piece| framing.read(piece));
        assert_eq!(what(whole), what(pieces), "{bytes:?}");
        what(whole)
    }

    const NEXT_IS_BAD: &str = "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n";

    /// Whether a request that follows `bytes` is found at its place: a bad one is.
    fn finds_the_next_after(bytes: &str) -> bool {
        assert_eq!(verdict(bytes), Ok(()), "{bytes:?}");
        verdict(&format!("{bytes}{NEXT_IS_BAD}")).is_err()
    }

    #[test]
    fn the_next_request_is_found_behind_every_kind_of_body() {
        for one in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\na\r\n\r\nbc",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n3\r\na\r\n\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nTrailer: x\r\n\r\n",
        ] {
            assert!(finds_the_next_after(one), "{one:?}");
        }
    }

    #[test]
    fn where_a_line_is_cut_in_pieces_does_not_matter() {
        for good in [
            "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Note: Content-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Note: transfer-encoding: gzip\r\n\r\n",
        ] {
            for cut in 0..good.len() {
                let (one, other) = good.as_bytes().split_at(cut);
                let mut framing = Framing::default();
                assert_eq!(framing.read(one), Ok(()), "{good:?} cut at {cut}");
                assert_eq!(framing.read(other), Ok(()), "{good:?} cut at {cut}");
                assert_eq!(
                    framing
                        .read(NEXT_IS_BAD.as_bytes())
                        .map_err(|found| found.rule),
                    Err("Content-Length is not a number (RFC 9112 section 6.3)"),
                    "{good:?} cut at {cut}"
                );
            }
            assert_eq!(verdict(good), Ok(()));
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4, 4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            &format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}5\r\n",
                "0".repeat(MAX_LINE)
            ),
            &format!(
                "POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n",
                " ".repeat(MAX_LINE)
            ),
            &format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked{}, gzip, chunked\r\n\r\n",
                " ".repeat(MAX_LINE)
            ),
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\n A: b\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 x\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n",
        ] {
            assert!(verdict(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_that_is_under_way_is_told_from_those_behind_it() {
        let found = |pieces: &[&str]| {
            let mut framing = Framing::default();
            let mut read = pieces.iter().map(|piece| framing.read(piece.as_bytes()));
            let found = read.find_map(Result::err).unwrap();
            (found.request, found.under_way)
        };
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = "GET / HTTP/1.1\r\n\r\n";
        for (pieces, known) in [
            (&[head, "x\r\n"][..], (0, true)),
            (&[&format!("{head}x\r\n")], (0, false)),
            (&[head, &format!("0\r\n\r\n{NEXT_IS_BAD}")], (1, false)),
            (&[whole, head, "1\r\n", "ab\r\n"], (1, true)),
            (&[&format!("{whole}{head}"), "x\r\n"], (1, true)),
            (&[&format!("{whole}\r\n{whole}{NEXT_IS_BAD}")], (2, false)),
            (&["GET / HTTP/1.1\r\n", " a: b\r\n"], (0, false)),
        ] {
            assert_eq!(found(pieces), known, "{pieces:?}");
        }
    }

    #[test]
    fn heads_begin_with_their_first_byte_and_end_with_the_empty_line() {
        let after = |bytes: &str| {
            let mut framing = Framing::default();
            framing.read(bytes.as_bytes()).unwrap();
            (framing.in_head(), framing.is_between())
        };
        for (bytes, in_head, between) in [
            ("", false, true),
            ("\r\n", false, true),
            ("G", true, false),
            ("GET / HTTP/1.1\r\n", true, false),
            ("GET / HTTP/1.1\r\nA: b\r\n\r", true, false),
            ("GET / HTTP/1.1\r\n\r\n", false, true),
            ("GET / HTTP/1.1\r\n\r\nG", true, false),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
                false,
                false,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                false,
                true,
            ),
        ] {
            assert_eq!(after(bytes), (in_head, between), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut framing = Framing::default();
            let whole = framing.read(&bytes);
            let mut framing = Framing::default();
            let pieces = bytes.chunks(3).try_for_each(|piece| framing.read(piece));
            proptest::prop_assert_eq!(what(whole), what(pieces));
        }
    }
}
