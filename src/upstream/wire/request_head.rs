//! Writes the head of a request.

use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Request, Version};

use super::LinkFault;

/// How the end of a request's body is said.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Measure {
    /// It has so many bytes more.
    Length(u64),
    /// It is chunked; these fields may follow it.
    Chunked(Vec<HeaderName>),
}

/// About what a line of a head takes.
const LINE: usize = 40;

/// Writes the head of a request to the end of `out`. The end of its body is said
/// as the fields have it: by `Content-Length`, else by `chunked`.
///
/// # Errors
///
/// The fields and the body contradict each other, or HTTP/1.0 has no way to say it.
pub(super) fn write<T>(
    request: &Request<T>,
    has_no_body: bool,
    out: &mut Vec<u8>,
) -> Result<Measure, LinkFault> {
    let fields = request.headers();
    let measure = measure(fields, request.version(), has_no_body)?;
    out.reserve(fields.len().saturating_add(3).saturating_mul(LINE));
    let uri = request.uri();
    // The path of a target without one is `/` (RFC 9112 §3.2.1).
    let (path, query) = (uri.path(), uri.query());
    let version: &[u8] = match request.version() {
        Version::HTTP_10 => b" HTTP/1.0\r\n",
        _ => b" HTTP/1.1\r\n",
    };
    let line = [
        request.method().as_str().as_bytes(),
        b" ",
        path.as_bytes(),
        query.map_or(b"", |_| b"?"),
        query.unwrap_or_default().as_bytes(),
        version,
    ];
    line.iter().for_each(|part| out.extend_from_slice(part));
    for (name, value) in fields {
        // It is said below, by whoever cuts the chunks.
        if *name != TRANSFER_ENCODING {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Measure::Chunked(_) = measure {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(measure)
}

fn measure(fields: &HeaderMap, version: Version, has_no_body: bool) -> Result<Measure, LinkFault> {
    let contradiction = |what: &str| Err(LinkFault::Upload(what.into()));
    match (stated_length(fields), has_no_body) {
        (Ok(Some(0) | None), true) => Ok(Measure::Length(0)),
        (Ok(Some(length)), false) => Ok(Measure::Length(length)),
        (Ok(None), false) if version == Version::HTTP_10 => {
            contradiction("a body without a length cannot go up over HTTP/1.0")
        }
        (Ok(None), false) => Ok(Measure::Chunked(announced(fields))),
        (Ok(Some(_)), true) => contradiction("Content-Length speaks of a body that is not there"),
        (Err(()), _) => contradiction("Content-Length is not one number"),
    }
}

/// What `Content-Length` says.
pub(super) fn stated_length(fields: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => return Ok(None),
        (Some(length), None) => length,
        (Some(_), Some(_)) => return Err(()),
    };
    // Without a sign, which the parser would take.
    let digits = str::from_utf8(length.as_bytes()).map_err(|_| ())?;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let length = digits.parse().ok().filter(|_| is_number);
    length.map(Some).ok_or(())
}

/// The fields that are announced to follow the body (RFC 9110 §6.6.2).
fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let lists = fields.get_all(TRAILER).iter();
    let names = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}
