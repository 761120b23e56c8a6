//! WebSockets that come over HTTP/2 (RFC 8441).
//!
//! Their request is an extended CONNECT. It is made into the request that the
//! same client would send over HTTP/1.1, and from there on it is one: its route,
//! what policy decides and what goes up are the same. Only the answer differs:
//! 200 in place of 101, and the tunnel is a stream, beside others.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use data_encoding::BASE64;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version, request};
use hyper::ext::Protocol;

use super::fault::{Fault, Kind, Phase, Side};
use super::headers;
use crate::config;
use crate::upstream::Plan;

/// What a service adds to the key before it digests it (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).map_err(|_| {
        let cause = "the system gives no random numbers";
        Fault::new(Side::Proxy, Phase::RequestHead, Kind::Exhausted, cause)
    })?;
    let key = BASE64.encode(&nonce);
    let digest = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{SUFFIX}").as_bytes(),
    );
    let accept = BASE64.encode(digest.as_ref());
    head.method = Method::GET;
    let fields = &mut head.headers;
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::try_from(key) {
        fields.insert(SEC_WEBSOCKET_KEY, key);
    }
    Ok(Some(WebSocket { accept }))
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
    /// The upstream is not spoken to in HTTP/1.1.
    pub(super) fn can_go_to(&self, plan: &Plan) -> Result<(), Fault> {
        if plan.protocol() == config::Protocol::Http1 && !plan.is_http10() {
            return Ok(());
        }
        let (side, phase) = (Side::Proxy, Phase::Outbound);
        let cause = "WebSockets go up over HTTP/1.1 alone, and the upstream has another `protocol`";
        let remedy = "give the route an upstream with protocol = \"http/1.1\"";
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
    fn answer_is_taken_from_who_has_digested_the_key() {
        let mut head = connect(Some("websocket"));
        // The example of RFC 6455 §1.3.
        let socket = WebSocket {
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        };
        let digest = digest(
            &SHA1_FOR_LEGACY_USE_ONLY,
            format!("dGhlIHNhbXBsZSBub25jZQ=={SUFFIX}").as_bytes(),
        );
        assert_eq!(BASE64.encode(digest.as_ref()), socket.accept);
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
