//! One reading of where a request is addressed to.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, request};

use super::fault::{Fault, Kind, Phase, Side};
use super::http2;
use super::readings::{MAX_DECODINGS, is_dots, percent_decoded};
use crate::identity::canonical_dns;

/// Where a request is addressed to, as countersign and the service both read it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Host and port, as sent.
    pub(super) authority: &'a str,
    /// The host alone: lower case, no port, no final dot, no brackets.
    pub(super) host: Cow<'a, str>,
    /// The path, without the query.
    pub(super) path: &'a str,
}

/// Reads the target of a request, and refuses what could be read in two ways.
/// `tls`: whether it came over TLS.
///
/// # Errors
///
/// A malformed head, with the rule it breaks.
pub(super) fn read(head: &request::Parts, tls: bool) -> Result<Target<'_>, Fault> {
    if head.version == Version::HTTP_2 {
        http2::check(head)?;
    }
    check_method(&head.method)?;
    check_length(&head.headers)?;
    check_absolute_form(head, tls)?;
    let authority = authority(head)?;
    let host = host_of(authority)?;
    let path = head.uri.path();
    if path == "*" && head.method != Method::OPTIONS {
        return Err(Fault::malformed(
            "the target `*` with another method than OPTIONS (RFC 9112 section 3.2.4, RFC 9113 section 8.3.1)",
        ));
    }
    check_path(path)?;
    Ok(Target {
        authority,
        host,
        path,
    })
}

fn check_method(method: &Method) -> Result<(), Fault> {
    // A service may take it for the other, whatever its case.
    let is = |other: Method| method.as_str().eq_ignore_ascii_case(other.as_str());
    let why = if is(Method::CONNECT) {
        "CONNECT asks for a tunnel, and countersign is not a forward proxy"
    } else if is(Method::TRACE) {
        // The service would send back what it was sent: the identity, and
        // countersign's own credential.
        "TRACE would show the caller what only the service may see"
    } else {
        return Ok(());
    };
    Err(Fault::new(
        Side::Downstream,
        Phase::RequestHead,
        Kind::MethodNotServed,
        why,
    ))
}

/// One length, or none, and a number (RFC 9110 §8.6). Over HTTP/1.1 the bytes
/// themselves have been followed before ([`super::Framing`]).
fn check_length(headers: &HeaderMap) -> Result<(), Fault> {
    let length = only(headers, &CONTENT_LENGTH).map_err(|Several| {
        Fault::malformed("more than one Content-Length (RFC 9110 section 8.6)")
    })?;
    if let Some(length) = length
        && (length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Fault::malformed(
            "Content-Length is not a number (RFC 9110 section 8.6)",
        ));
    }
    Ok(())
}

/// Sees that an absolute target of HTTP/1.1 is one of this connection, and has a
/// `Host` beside it (RFC 9112 §3.2.2).
fn check_absolute_form(head: &request::Parts, tls: bool) -> Result<(), Fault> {
    if head.version > Version::HTTP_11 {
        return Ok(());
    }
    let legal = match head.uri.scheme_str() {
        None => return Ok(()),
        Some("https") => true,
        // In front of a plaintext listener TLS may have ended.
        Some("http") => !tls,
        Some(_) => false,
    };
    if !legal {
        return Err(Fault::malformed(
            "the scheme of the request target is not that of the connection (RFC 9110 section 7.4)",
        ));
    }
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(Fault::malformed("no Host (RFC 9112 section 3.2)"));
    }
    Ok(())
}

/// A field that may stand there once; `None`: it does not.
///
/// # Errors
///
/// It stands there more than once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Several),
        (value, None) => Ok(value),
    }
}

/// A field stands there more than once.
struct Several;

/// The one authority of a request (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority(head: &request::Parts) -> Result<&str, Fault> {
    let host = only(&head.headers, &HOST)
        .map_err(|Several| Fault::malformed("more than one Host (RFC 9112 section 3.2)"))?;
    let host = host.map(HeaderValue::to_str).transpose();
    let host = host.map_err(|_| Fault::malformed("Host is not printable ASCII"))?;
    match (head.uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(
            Fault::malformed("Host differs from the authority of the request target"),
        ),
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Fault::malformed("no Host (RFC 9112 section 3.2)")),
    }
}

/// The host of an authority, in the form in which hosts are compared.
fn host_of(authority: &str) -> Result<Cow<'_, str>, Fault> {
    let bad = || Fault::malformed("Host is neither a name nor an address, with or without a port");
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(bad)?;
            let address: Ipv6Addr = address.parse().map_err(|_| bad())?;
            check_port(after).ok_or_else(bad)?;
            // An address has many spellings, and routes know it by one.
            return Ok(Cow::Owned(address.to_string()));
        }
        None => memchr::memchr(b':', authority.as_bytes())
            .and_then(|colon| authority.split_at_checked(colon))
            .unwrap_or((authority, "")),
    };
    check_port(port).ok_or_else(bad)?;
    let name = canonical_dns(host);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(legal))
    {
        return Err(bad());
    }
    Ok(name)
}

/// A port behind its colon, or nothing; RFC 3986 §3.2.3 lets it be empty.
fn check_port(text: &str) -> Option<()> {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty().then_some(());
    };
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit());
    (numeric && (digits.is_empty() || digits.parse::<u16>().is_ok())).then_some(())
}

/// Refuses `.` and `..` segments, also when they, or the slashes beside them,
/// are percent-encoded, several times over, or written with a backslash.
///
/// A service resolves them after countersign has chosen the route: what was
/// permitted under one prefix would then be served under another.
fn check_path(path: &str) -> Result<(), Fault> {
    if path == "*" {
        return Ok(());
    }
    if !path.starts_with('/') {
        return Err(Fault::malformed("the path does not begin with a slash"));
    }
    // Most paths hold none of these; then there is no segment to look at.
    let mut before = 0;
    let (mut encoded, mut dotted) = (false, false);
    for byte in path.bytes() {
        encoded |= byte == b'%';
        dotted |= byte == b'\\' || byte == b'.' && before == b'/';
        before = byte;
    }
    if !encoded && !dotted {
        return Ok(());
    }
    let mut decoded = Cow::Borrowed(path.as_bytes());
    for _ in 0..=MAX_DECODINGS {
        if decoded
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(is_dots)
        {
            return Err(Fault::malformed("a `.` or `..` segment in the path"));
        }
        if !encoded {
            break;
        }
        decoded = Cow::Owned(percent_decoded(&decoded));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, host: Option<&str>) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn host(host: &str) -> Option<String> {
        read(&head("/", Some(host)), true)
            .ok()
            .map(|target| target.host.into_owned())
    }

    #[test]
    fn hosts_are_compared_without_port_case_and_final_dot() {
        assert_eq!(
            host("Orders.Example.COM.:8443").as_deref(),
            Some("orders.example.com")
        );
        assert_eq!(host("[::1]:8443").as_deref(), Some("::1"));
        assert_eq!(host("[0:0::0.0.0.1]").as_deref(), Some("::1"));
        assert_eq!(host("10.0.0.1").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn hosts_that_are_none_are_refused() {
        for bad in [
            "",
            ".",
            "a b",
            "user@host",
            "host/path",
            "a,b",
            "host:99999",
            "host:x",
            "[::1",
            "[x]",
            "[::1]8443",
            "host:+80",
            "host..",
            "a..b",
            "::1",
            "é",
        ] {
            assert_eq!(host(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_host() {
        let tells = |uri: &str, host: Option<&str>| read(&head(uri, host), true).is_ok();
        assert!(tells("https://a.example/x", Some("A.example")));
        assert!(!tells("https://a.example/x", Some("b.example")));
        assert!(!tells("https://a.example/x", None));
        assert!(!tells("http://a.example/x", Some("a.example")));
        assert!(!tells("/x", None));
        let plain = head("http://a.example/x", Some("a.example"));
        assert!(read(&plain, false).is_ok());
        let mut http2 = head("https://a.example/x", None);
        http2.version = Version::HTTP_2;
        assert!(read(&http2, true).is_ok());
    }

    #[test]
    fn the_asterisk_is_a_target_for_options_alone() {
        let mut asterisk = head("*", Some("a.example"));
        assert!(read(&asterisk, true).is_err());
        asterisk.method = Method::OPTIONS;
        assert!(read(&asterisk, true).is_ok());
    }

    #[test]
    fn methods_that_are_not_served_are_not_in_another_case_either() {
        for method in ["TRACE", "trace", "Connect"] {
            assert!(check_method(&method.parse().unwrap()).is_err(), "{method}");
        }
        assert!(check_method(&Method::GET).is_ok());
    }

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        for bad in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/.",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..;x/b",
            "/%2e",
            "/x/..%2fadmin",
            "/x/..%252fadmin",
            "/x\\..\\admin",
            "/x/%2e%2e%5cadmin",
            "/public/..%2fadmin/%2f..%2fpublic",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        for good in [
            "/",
            "/a/b",
            "/.well-known/x",
            "/a/...",
            "/a/..b",
            "/a%20b",
            "/a.b/c",
            "/a%2f.b",
            "/a\\b",
            "*",
        ] {
            assert!(check_path(good).is_ok(), "{good}");
        }
    }
}
