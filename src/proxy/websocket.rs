//! WebSockets over HTTP/2 (RFC 8441), on either side.
//!
//! The request of one that comes so is an extended CONNECT. It is made into the
//! request that the same client would send over HTTP/1.1, and from there on it is
//! one: its route, what policy decides and what goes up are the same. Only the
//! answer differs: 200 in place of 101, and the tunnel is a stream, beside others.
//!
//! One that goes up so is made into an extended CONNECT last, and the service's
//! answer into that of HTTP/1.1 first. So nothing between knows of it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use data_encoding::BASE64;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, request};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::fault::{Fault, Kind, Phase, Side};
use super::{headers, tunnel};
use crate::upstream::Plan;

/// What a service adds to the key before it digests it (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bytes of a key, before they are written in Base64 (RFC 6455 §4.1).
const NONCE: usize = 16;

/// A WebSocket that was asked for over HTTP/2.
#[derive(Debug)]
pub(super) struct WebSocket {
    /// What the service makes of the key that was chosen in its client's place.
    accept: String,
}

/// Makes the request for a WebSocket into that of HTTP/1.1. `None`: it asks for
/// none.
///
/// # Errors
///
/// There is no randomness to choose a key with.
pub(super) fn translate(head: &mut request::Parts) -> Result<Option<WebSocket>, Fault> {
    if head.method != Method::CONNECT || head.version != Version::HTTP_2 {
        return Ok(None);
    }
    let protocol = head.extensions.get::<Protocol>();
    if !protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket")) {
        return Ok(None);
    }
    let mut nonce = [0; NONCE];
    rand::fill(&mut nonce).map_err(|_| {
        let cause = "the system gives no random numbers";
        Fault::new(Side::Proxy, Phase::RequestHead, Kind::Exhausted, cause)
    })?;
    let key = BASE64.encode(&nonce);
    let accept = digested(key.as_bytes());
    head.method = Method::GET;
    let fields = &mut head.headers;
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::try_from(key) {
        fields.insert(SEC_WEBSOCKET_KEY, key);
    }
    Ok(Some(WebSocket { accept }))
}

/// What a service makes of a key (RFC 6455 §4.2.2).
fn digested(key: &[u8]) -> String {
    let text = [key, SUFFIX.as_bytes()].concat();
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text).as_ref())
}

/// A WebSocket that goes up over HTTP/2.
#[derive(Debug)]
pub(super) struct Extended {
    /// What its client hears of its key.
    accept: HeaderValue,
}

/// Makes the request for a WebSocket into an extended CONNECT (RFC 8441 §5).
///
/// # Errors
///
/// It has no key that could be answered.
pub(super) fn extend(head: &mut request::Parts) -> Result<Extended, Fault> {
    let malformed = || {
        Fault::malformed(
            "a WebSocket without one Sec-WebSocket-Key of 16 bytes in Base64 (RFC 6455 section 4.1)",
        )
    };
    let fields = &mut head.headers;
    let mut keys = fields.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(malformed());
    };
    let nonce = BASE64.decode(key.as_bytes());
    if !nonce.is_ok_and(|nonce| nonce.len() == NONCE) {
        return Err(malformed());
    }
    let accept = HeaderValue::try_from(digested(key.as_bytes())).map_err(|_| malformed())?;
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH] {
        headers::drop_field(fields, &name);
    }
    head.method = Method::CONNECT;
    let protocol = Protocol::from_static("websocket");
    head.extensions.insert(protocol);
    Ok(Extended { accept })
}

impl Extended {
    /// Makes the service's answer into that of HTTP/1.1. One that refuses stays
    /// as it is.
    ///
    /// # Errors
    ///
    /// The rule that the answer breaks.
    pub(super) fn settle<B>(&self, answer: &mut Response<B>) -> Result<(), &'static str> {
        if !answer.status().is_success() {
            return Ok(());
        }
        if answer.extensions().get::<OnUpgrade>().is_none() {
            // The library begins a tunnel with 200 alone.
            return Err("a WebSocket over HTTP/2 that begins with another status than 200");
        }
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = answer.headers_mut();
        headers::drop_field(fields, &CONTENT_LENGTH);
        tunnel::request(fields, HeaderValue::from_static("websocket"));
        fields.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        Ok(())
    }
}

/// The protocol that a service changes to; `None`: it is no WebSocket, or nobody
/// knows (RFC 9110 §15.2.2).
pub(super) fn agreed(answer: &HeaderMap) -> Option<HeaderValue> {
    let is_it = |it: &HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"websocket");
    let all = answer.get_all(UPGRADE).iter().all(is_it);
    answer.get(UPGRADE).filter(|_| all).cloned()
}

impl WebSocket {
    /// Whether it can go to this upstream.
    ///
    /// # Errors
    ///
    /// The upstream is spoken to in HTTP/1.0.
    pub(super) fn can_go_to(&self, plan: &Plan) -> Result<(), Fault> {
        if !plan.is_http10() {
            return Ok(());
        }
        let (side, phase) = (Side::Proxy, Phase::Outbound);
        let cause = "HTTP/1.0 knows no WebSockets, and the upstream speaks that";
        let remedy = "give the route an upstream with protocol = \"http/1.1\" or \"h2\"";
        Err(Fault {
            own_remedy: Some(remedy.to_owned()),
            ..Fault::new(side, phase, Kind::MethodNotServed, cause)
        })
    }

    /// Makes the fields of the service's answer into those that go down.
    ///
    /// # Errors
    ///
    /// The rule that the answer breaks: who has not digested the key speaks no
    /// WebSocket (RFC 6455 §4.1).
    pub(super) fn settle(&self, fields: &mut HeaderMap) -> Result<(), &'static str> {
        let mut accepted = fields.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let is_accepted = accepted.next().is_some_and(|it| *it == self.accept);
        if !is_accepted || accepted.next().is_some() {
            return Err(
                "a change of protocol whose Sec-WebSocket-Accept is not that of the request",
            );
        }
        headers::drop_field(fields, &SEC_WEBSOCKET_ACCEPT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn connect(protocol: Option<&'static str>) -> request::Parts {
        let mut request = Request::connect("https://a.test/chat").version(Version::HTTP_2);
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn websocket_becomes_an_upgrade_and_no_other_connect_does() {
        let mut head = connect(Some("websocket"));
        assert!(translate(&mut head).unwrap().is_some());
        assert_eq!(head.method, Method::GET);
        assert_eq!(head.headers[UPGRADE], "websocket");
        for protocol in [None, Some("connect-udp"), Some("")] {
            let mut head = connect(protocol);
            assert!(translate(&mut head).unwrap().is_none());
            assert_eq!(head.method, Method::CONNECT);
        }
    }

    #[test]
    fn upgrade_becomes_a_connect_and_one_without_a_key_is_refused() {
        let with = |keys: &[&'static str]| {
            let mut head = Request::new(()).into_parts().0;
            for key in keys {
                let key = HeaderValue::from_static(key);
                head.headers.append(SEC_WEBSOCKET_KEY, key);
            }
            let extended = extend(&mut head);
            (head, extended)
        };
        let (head, extended) = with(&[SAMPLE_KEY]);
        assert_eq!(extended.unwrap().accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(head.method, Method::CONNECT);
        let protocol = head.extensions.get::<Protocol>().unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert!(head.headers.is_empty());
        for bad in [&[][..], &["AAAA"], &["?"], &[SAMPLE_KEY, SAMPLE_KEY]] {
            let (head, extended) = with(bad);
            assert!(extended.is_err(), "{bad:?}");
            assert_eq!(head.method, Method::GET);
        }
    }

    #[test]
    fn answer_that_begins_no_tunnel_is_a_refusal_or_wrong() {
        let accept = HeaderValue::from_static("a");
        for (status, is_right) in [(403, true), (301, true), (200, false), (204, false)] {
            let mut answer = Response::new(());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let extended = Extended {
                accept: accept.clone(),
            };
            assert_eq!(extended.settle(&mut answer).is_ok(), is_right, "{status}");
            assert_eq!(answer.status().as_u16(), status);
        }
    }

    #[test]
    fn answer_is_taken_from_who_has_digested_the_key() {
        let mut head = connect(Some("websocket"));
        // The example of RFC 6455 §1.3.
        let socket = WebSocket {
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        };
        assert_eq!(digested(SAMPLE_KEY.as_bytes()), socket.accept);
        let mut answer = HeaderMap::new();
        assert!(socket.settle(&mut answer).is_err());
        answer.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("other"));
        assert!(socket.settle(&mut answer).is_err());
        let right = HeaderValue::try_from(&socket.accept).unwrap();
        answer.insert(SEC_WEBSOCKET_ACCEPT, right.clone());
        assert!(socket.settle(&mut answer.clone()).is_ok());
        answer.append(SEC_WEBSOCKET_ACCEPT, right);
        assert!(socket.settle(&mut answer).is_err());
        let other = translate(&mut head).unwrap().unwrap();
        assert_ne!(other.accept, socket.accept);
    }
}
