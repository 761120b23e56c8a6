//! Reads the head of a response.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::LinkFault;
use super::request_head::stated_length;

/// The largest response head, in bytes.
const MAX_HEAD: usize = 256 * 1024;
/// The most fields in a response head: as a rule, …
const USUAL_FIELDS: usize = 48;
/// … and at most.
const MAX_FIELDS: usize = 256;

/// The head of a response, but for its fields.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// Where it is not the usual one.
    pub(super) reason: Option<Bytes>,
}

/// How far the body of a response goes.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Length {
    Sized(u64),
    Chunked,
    /// To the end of the connection.
    ToTheEnd,
}

/// Up to this many bytes a head is read anew each time that more of it has come:
/// so what is none is seen at once.
const READ_ANEW: usize = 4 * 1024;

/// Whether a head may be whole, as far as its line ends tell. `searched`: how much
/// of what was received is known not to hold its end.
pub(super) fn may_be_whole(received: &[u8], searched: &mut usize) -> bool {
    if received.len() <= READ_ANEW || received.len() > MAX_HEAD {
        return true;
    }
    // The end may have begun in what was searched before.
    let new = received
        .get(searched.saturating_sub(2)..)
        .unwrap_or_default();
    *searched = received.len();
    let has_empty = |lines: &[u8]| lines.starts_with(b"\n\r\n") || lines.starts_with(b"\n\n");
    (0..new.len()).any(|at| new.get(at..).is_some_and(has_empty))
}

/// Takes a whole head from the beginning of what was received, and puts its
/// fields in the place of those in `fields`, unless it is an interim one: its
/// fields go nowhere. `None`: it is not there to its end.
///
/// # Errors
///
/// It is none, or too large.
pub(super) fn read(
    received: &mut BytesMut,
    fields: &mut HeaderMap,
) -> Result<Option<Parsed>, LinkFault> {
    let found = match take::<USUAL_FIELDS>(received, fields) {
        Err(Unread::TooMany) => take::<MAX_FIELDS>(received, fields),
        found => found,
    };
    match found {
        Ok(None) if received.len() > MAX_HEAD => Err(LinkFault::Malformed(TOO_LARGE)),
        Ok(found) => Ok(found),
        Err(Unread::TooMany) => Err(LinkFault::Malformed("its head has more than 256 fields")),
        Err(Unread::For(rule)) => Err(LinkFault::Malformed(rule)),
    }
}

const TOO_LARGE: &str = "its head has more than 256 KiB";

/// Why there is no head.
enum Unread {
    /// It has more fields than there is room for.
    TooMany,
    /// The rule that it breaks.
    For(&'static str),
}

/// The same, with room for `MOST` fields.
fn take<const MOST: usize>(
    received: &mut BytesMut,
    fields: &mut HeaderMap,
) -> Result<Option<Parsed>, Unread> {
    let mut places = [const { (0..0, 0..0) }; MOST];
    let mut count = 0;
    let (parsed, length) = {
        let mut room = [const { MaybeUninit::uninit() }; MOST];
        let mut head = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut head, received, &mut room);
        let httparse::Status::Complete(length) = parsed.map_err(unread)? else {
            return Ok(None);
        };
        for (place, field) in places.iter_mut().zip(&*head.headers) {
            let name = place_of(field.name.as_bytes(), received);
            *place = (name, place_of(field.value, received));
            count += 1;
        }
        (Parsed::of(&head)?, length)
    };
    if length > MAX_HEAD {
        return Err(Unread::For(TOO_LARGE));
    }
    let head = received.split_to(length).freeze();
    if parsed.status.is_informational() {
        return Ok(Some(parsed));
    }
    fields.clear();
    fields.reserve(count);
    for (name, value) in places.iter().take(count) {
        let name = head
            .get(name.clone())
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = head.get(value.clone()).map(|_| head.slice(value.clone()));
        let value = value.and_then(|value| HeaderValue::from_maybe_shared(value).ok());
        let (Some(name), Some(value)) = (name, value) else {
            return Err(Unread::For("a field with an illegal name or value"));
        };
        fields.append(name, value);
    }
    Ok(Some(parsed))
}

/// Where `part` lies in `whole`.
fn place_of(part: &[u8], whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    start..start.wrapping_add(part.len())
}

fn unread(cause: httparse::Error) -> Unread {
    use httparse::Error;
    Unread::For(match cause {
        Error::TooManyHeaders => return Unread::TooMany,
        Error::HeaderName => "a field without a legal name (RFC 9112 section 5)",
        Error::HeaderValue => "a field with an illegal value (RFC 9112 section 5)",
        Error::NewLine => "a line that does not end rightly (RFC 9112 section 2.2)",
        Error::Status => "a status line without a status (RFC 9112 section 4)",
        Error::Version => "it does not begin with HTTP/1.1 or HTTP/1.0",
        Error::Token => "a status line that is none (RFC 9112 section 4)",
    })
}

impl Parsed {
    fn of(head: &httparse::Response<'_, '_>) -> Result<Self, Unread> {
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Unread::For("a status that is none (RFC 9110 section 15)"))?;
        let reason = head
            .reason
            .filter(|reason| Some(*reason) != status.canonical_reason());
        Ok(Self {
            status,
            version: match head.version {
                Some(1) => Version::HTTP_11,
                _ => Version::HTTP_10,
            },
            reason: reason.map(|reason| Bytes::copy_from_slice(reason.as_bytes())),
        })
    }
}

/// What a head says of the body behind it, and of its connection: each of these
/// fields is looked up once.
pub(super) struct Stated<'h> {
    head: &'h Parsed,
    fields: &'h HeaderMap,
    coding: Coding,
    /// What `Content-Length` says, unless that is not one number.
    length: Result<Option<u64>, ()>,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Coding {
    Nothing,
    Chunked,
    /// Another coding, or several.
    Other,
}

impl<'h> Stated<'h> {
    pub(super) fn of(head: &'h Parsed, fields: &'h HeaderMap) -> Self {
        let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
        let coding = match (codings.next(), codings.next()) {
            (None, _) => Coding::Nothing,
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                Coding::Chunked
            }
            _ => Coding::Other,
        };
        Self {
            head,
            fields,
            coding,
            length: stated_length(fields),
        }
    }

    /// How far the body behind the head goes (RFC 9112 §6.3). `of_head`: it answers
    /// a request with `HEAD`.
    ///
    /// # Errors
    ///
    /// It does not say so in one way.
    pub(super) fn length(&self, of_head: bool) -> Result<Length, LinkFault> {
        let has_none = matches!(
            self.head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if of_head || has_none {
            return Ok(Length::Sized(0));
        }
        match (self.coding, self.length) {
            (Coding::Other, _) => Err(LinkFault::Malformed(
                "a transfer coding other than one `chunked` (RFC 9112 section 6.1)",
            )),
            (Coding::Chunked, _) if self.head.version == Version::HTTP_10 => {
                Err(LinkFault::Malformed(
                    "a transfer coding in HTTP/1.0, which has none (RFC 9112 section 6.1)",
                ))
            }
            (Coding::Chunked, _) => Ok(Length::Chunked),
            (Coding::Nothing, Ok(Some(length))) => Ok(Length::Sized(length)),
            (Coding::Nothing, Ok(None)) => Ok(Length::ToTheEnd),
            (Coding::Nothing, Err(())) => Err(LinkFault::Malformed(
                "Content-Length is not one number (RFC 9112 section 6.3)",
            )),
        }
    }

    /// Whether another request may be sent after this response to one of `version`
    /// (RFC 9112 §9.3). Where either side speaks HTTP/1.0, the connection is kept
    /// only if both say so (§C.2.2), and a request of HTTP/1.1 does not.
    pub(super) fn is_kept(&self, version: Version) -> bool {
        let mut keeps = match version {
            Version::HTTP_10 => false,
            _ => self.head.version != Version::HTTP_10,
        };
        for list in self.fields.get_all(CONNECTION) {
            for word in list.as_bytes().split(|byte| *byte == b',') {
                let word = word.trim_ascii();
                if word.eq_ignore_ascii_case(b"close") {
                    return false;
                }
                keeps |= version == Version::HTTP_10 && word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        keeps && !self.is_in_doubt()
    }

    /// Whether others might see another end of the response than we do.
    fn is_in_doubt(&self) -> bool {
        let is_coded = self.coding != Coding::Nothing;
        let has_length = self.length != Ok(None);
        let has_content = is_coded || self.length != Ok(Some(0));
        (is_coded && has_length)
            || (self.head.status == StatusCode::NO_CONTENT
                && (is_coded || has_length)
                && has_content)
    }
}
