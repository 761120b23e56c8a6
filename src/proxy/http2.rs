//! What of HTTP/2's rules for messages its library leaves to whoever uses it
//! (RFC 9113 §8.2.1, §8.3.1).

use http::request;

use super::fault::Fault;

/// Refuses what RFC 9113 calls malformed and the library lets pass.
///
/// # Errors
///
/// The rule that the head breaks.
pub(super) fn check(head: &request::Parts) -> Result<(), Fault> {
    if !matches!(head.uri.scheme_str(), Some("http" | "https") | None) {
        return Err(Fault::malformed(
            ":scheme is neither http nor https (RFC 9113 section 8.3.1)",
        ));
    }
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    for value in head.headers.values() {
        let value = value.as_bytes();
        if is_space(value.first()) || is_space(value.last()) {
            return Err(Fault::malformed(
                "a field that begins or ends with white space (RFC 9113 section 8.2.1)",
            ));
        }
    }
    Ok(())
}
