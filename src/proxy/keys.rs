//! Serves the public keys of signed assertions on a listener.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::body::ResponseBody;
use super::exchange::Exchange;

/// Answers a request for the keys, GET and HEAD alone.
pub(super) fn answer(
    method: &Method,
    keys: &Bytes,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let (status, body) = match *method {
        Method::GET => (StatusCode::OK, keys.clone()),
        Method::HEAD => (StatusCode::OK, Bytes::new()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    };
    exchange.status(status);
    exchange.complete();
    let mut response = Response::new(ResponseBody::own(body, Some(exchange)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::OK {
        headers.insert(CONTENT_LENGTH, keys.len().into());
        // RFC 7517 §8.5.1.
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHED));
    } else {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// For 5 minutes: services fetch the keys seldom, and see a new one long before
/// it signs if it stands in the config for a while first.
const CACHED: &str = "max-age=300";
