//! How countersign's own refusals read to a caller that speaks gRPC.
//!
//! To gRPC a response is what its trailers say; a plain 403 leaves a caller with
//! a broken stream and a guess. It is told in its own words, in a response that
//! has trailers only (gRPC over HTTP2, "Responses"): 200, with the status that
//! the refusal stands for translated by gRPC's own table ("HTTP to gRPC Status
//! Code Mapping"). The log and the metrics keep the status of HTTP.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, request};

use super::body::ResponseBody;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a call of gRPC. Its variant for browsers (`grpc-web`)
/// carries its trailers in its content, and is none.
pub(super) fn is_call(head: &request::Parts) -> bool {
    if head.version != Version::HTTP_2 || head.method != Method::POST {
        return false;
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

/// A response that has trailers only. `text` says why, for people.
pub(super) fn refusal(
    status: StatusCode,
    text: &str,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, code(status).into());
    if let Ok(message) = HeaderValue::try_from(encoded(text.trim_end())) {
        headers.insert(MESSAGE, message);
    }
    response
}

/// The status of gRPC that one of HTTP stands for.
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => UNIMPLEMENTED,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            RESOURCE_EXHAUSTED
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

const UNKNOWN: u16 = 2;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// Percent-encoded as gRPC has it: all but printable ASCII, and `%` itself.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_call_of(method: Method, version: Version, kind: &str) -> bool {
        let request = Request::builder().method(method).version(version);
        let request = request.header(CONTENT_TYPE, kind).body(()).unwrap();
        is_call(&request.into_parts().0)
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        let over_http2 = |kind| is_call_of(Method::POST, Version::HTTP_2, kind);
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x=y",
        ] {
            assert!(over_http2(kind), "{kind}");
            assert!(!is_call_of(Method::GET, Version::HTTP_2, kind));
            assert!(!is_call_of(Method::POST, Version::HTTP_11, kind));
        }
        for kind in ["application/grpc-web", "application/json", ""] {
            assert!(!over_http2(kind), "{kind}");
        }
    }

    #[test]
    fn refusal_says_in_both_ways_why() {
        let body = ResponseBody::own(bytes::Bytes::new(), None);
        let response = refusal(StatusCode::FORBIDDEN, "403 Forbidden\n100 % \u{e4}\n", body);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[STATUS], "7");
        assert_eq!(
            response.headers()[MESSAGE],
            "403 Forbidden%0A100 %25 %C3%A4"
        );
    }
}
