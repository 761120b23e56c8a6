//! What is read of a response, for fuzz targets alone.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode, Version};

use super::reading::{Next, Reading};
use super::response_head;

/// The status of a response, its fields, the bytes of its body, and how many
/// follow it. `None`: it is not whole.
pub(super) type Read = Option<(StatusCode, HeaderMap, Vec<u8>, usize)>;

/// What is made of bytes that come in pieces of `size` in answer to a `GET`.
///
/// # Errors
///
/// They are malformed.
pub fn response(bytes: &[u8], size: usize) -> Result<Read, super::LinkFault> {
    let mut reading = Reading::Head {
        of_head: false,
        version: Version::HTTP_11,
    };
    let (mut received, mut pieces) = (BytesMut::new(), bytes.chunks(size.max(1)));
    let (mut fields, mut status) = (HeaderMap::new(), None);
    let mut body = Vec::new();
    loop {
        while status.is_none() && !received.is_empty() {
            match response_head::read(&mut received, &mut fields)? {
                Some(head) if head.status.is_informational() => {}
                Some(head) => {
                    reading.go_on(&head, &fields)?;
                    status = Some(head.status);
                }
                None => break,
            }
        }
        if let Some(status) = status {
            match reading.next(&mut received)? {
                Next::Frame(frame) => {
                    body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    continue;
                }
                Next::End => {
                    let rest = received.len().saturating_add(pieces.map(<[u8]>::len).sum());
                    return Ok(Some((status, fields, body, rest)));
                }
                Next::More => {}
            }
        }
        match (pieces.next(), status) {
            (Some(piece), _) => received.extend_from_slice(piece),
            // The connection ends.
            (None, Some(status)) if matches!(reading, Reading::ToTheEnd) => {
                return Ok(Some((status, fields, body, 0)));
            }
            (None, _) => return Ok(None),
        }
    }
}
