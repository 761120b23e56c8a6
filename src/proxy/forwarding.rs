//! The fields that tell a service where a request came from.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::folds_to;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether a field says where a request came from, in any spelling that a
/// server folds to the same name (case, `-`, `_`, `.`), as CGI and its kin do (RFC
/// 3875 §4.1.18).
pub(super) fn is_forwarding_field(name: &str) -> bool {
    // Nearly no field begins so; the comparison ends at the first letter.
    folds_to(name, "forwarded")
        || name
            .get(..X_FORWARDED.len())
            .is_some_and(|start| folds_to(start, X_FORWARDED))
        || CLIENT_ADDRESS_FIELDS
            .iter()
            .any(|field| folds_to(name, field))
        || ORIGINAL_TARGET_FIELDS
            .iter()
            .any(|field| folds_to(name, field))
}

/// Other fields in which proxies and content networks tell a service the
/// address of its client.
const CLIENT_ADDRESS_FIELDS: [&str; 11] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-forwarded",
];

/// Fields in which they tell it what was asked for.
const ORIGINAL_TARGET_FIELDS: [&str; 5] = [
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];

/// What fields begin with in which proxies say where a request came from.
const X_FORWARDED: &str = "x-forwarded-";

/// What is said of the origin of every request of one connection, made once.
#[derive(Debug)]
pub(super) struct Origin {
    /// The client's address, where it has one.
    client: Option<HeaderValue>,
    /// `for=…;proto=…`, the part of `Forwarded` that does not change.
    element: String,
    proto: HeaderValue,
    /// Whether what the sender says of earlier hops is believed.
    trusted: bool,
    /// The values for the host that was asked for last; a connection rarely
    /// asks for another.
    last_host: RefCell<Option<HostFields>>,
}

#[derive(Clone, Debug)]
struct HostFields {
    host: HeaderValue,
    forwarded: HeaderValue,
}

impl Origin {
    /// `client`: the address at the other end; `None` for a unix socket.
    pub(super) fn new(client: Option<SocketAddr>, tls: bool, trusted: bool) -> Self {
        let proto = if tls { "https" } else { "http" };
        let address = client.map(|address| address.ip().to_canonical());
        // RFC 7239 §6: an IPv6 address stands in brackets, and so in quotes.
        let node = match address {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
            None => "unknown".to_owned(),
        };
        Self {
            client: address.and_then(|address| HeaderValue::try_from(address.to_string()).ok()),
            element: format!("for={node};proto={proto}"),
            proto: HeaderValue::from_static(proto),
            trusted,
            last_host: RefCell::new(None),
        }
    }

    /// Whether what the sender says of earlier hops is believed.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Writes the fields into a head from which untrusted ones have been removed.
    pub(super) fn write(&self, headers: &mut HeaderMap, authority: &str) {
        let host = self.host_fields(authority);
        if self.trusted {
            append_to_list(headers, &X_FORWARDED_FOR, self.client.as_ref());
            append_to_list(
                headers,
                &FORWARDED,
                host.as_ref().map(|host| &host.forwarded),
            );
            headers
                .entry(X_FORWARDED_PROTO)
                .or_insert_with(|| self.proto.clone());
            if let Some(host) = host {
                headers.entry(X_FORWARDED_HOST).or_insert(host.host);
            }
            return;
        }
        if let Some(client) = &self.client {
            headers.insert(X_FORWARDED_FOR, client.clone());
        }
        headers.insert(X_FORWARDED_PROTO, self.proto.clone());
        if let Some(host) = host {
            headers.insert(X_FORWARDED_HOST, host.host);
            headers.insert(FORWARDED, host.forwarded);
        }
    }

    fn host_fields(&self, authority: &str) -> Option<HostFields> {
        let mut last = self.last_host.borrow_mut();
        if let Some(fields) = last.as_ref().filter(|fields| fields.host == authority) {
            return Some(fields.clone());
        }
        // The authority holds no quote or backslash: `target` has checked it.
        let forwarded = format!("{};host=\"{authority}\"", self.element);
        *last = Some(HostFields {
            host: HeaderValue::from_str(authority).ok()?,
            forwarded: HeaderValue::try_from(forwarded).ok()?,
        });
        last.clone()
    }
}

/// Adds a member at the end of a list that may stand over several lines.
fn append_to_list(headers: &mut HeaderMap, name: &HeaderName, member: Option<&HeaderValue>) {
    if let Some(member) = member {
        headers.append(name, member.clone());
    }
}

/// Adds countersign to the list of intermediaries (RFC 9110 §7.6.3).
pub(super) fn add_via(headers: &mut HeaderMap, http2: bool) {
    let received = if http2 {
        "2.0 countersign"
    } else {
        "1.1 countersign"
    };
    headers.append(VIA, HeaderValue::from_static(received));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(trusted: bool, before: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            headers.append(name, HeaderValue::from_static(value));
        }
        let origin = Origin::new(
            Some("[::ffff:10.1.2.3]:999".parse().unwrap()),
            true,
            trusted,
        );
        origin.write(&mut headers, "a.example:8443");
        headers
    }

    #[test]
    fn an_untrusted_senders_fields_are_replaced() {
        let headers = written(false, &[(X_FORWARDED_PROTO, "http")]);
        assert_eq!(headers[X_FORWARDED_FOR], "10.1.2.3");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        assert_eq!(headers[X_FORWARDED_HOST], "a.example:8443");
        assert_eq!(
            headers[FORWARDED],
            "for=10.1.2.3;proto=https;host=\"a.example:8443\""
        );
    }

    #[test]
    fn a_trusted_senders_fields_are_continued() {
        let headers = written(
            true,
            &[(X_FORWARDED_FOR, "1.1.1.1"), (X_FORWARDED_PROTO, "http")],
        );
        let hops: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        assert_eq!(hops, ["1.1.1.1", "10.1.2.3"]);
        assert_eq!(headers[X_FORWARDED_PROTO], "http");
    }

    #[test]
    fn every_spelling_of_a_forwarding_field_is_known() {
        for name in [
            "x-forwarded-for",
            "X_Forwarded.For",
            "x-forwarded-anything",
            "x~forwarded~for",
            "forwarded",
            "x_real_ip",
            "True-Client-IP",
        ] {
            assert!(is_forwarding_field(name), "{name}");
        }
        for name in ["x-forward", "forwardedx", "accept", "x-real-ipx"] {
            assert!(!is_forwarding_field(name), "{name}");
        }
    }
}
