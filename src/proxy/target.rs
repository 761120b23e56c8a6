//! One reading of where a request is addressed to.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, request};

use super::fault::{Fault, Kind, Phase, Side};
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
///
/// # Errors
///
/// A malformed head, with the rule it breaks.
pub(super) fn read(head: &request::Parts) -> Result<Target<'_>, Fault> {
    check_method(&head.method)?;
    check_length(&head.headers)?;
    let authority = authority(head)?;
    let host = host_of(authority)?;
    let path = head.uri.path();
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
    if several(headers, &CONTENT_LENGTH) {
        return Err(Fault::malformed(
            "more than one Content-Length (RFC 9110 section 8.6)",
        ));
    }
    if let Some(length) = headers.get(CONTENT_LENGTH)
        && (length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Fault::malformed(
            "Content-Length is not a number (RFC 9110 section 8.6)",
        ));
    }
    Ok(())
}

fn several(headers: &HeaderMap<HeaderValue>, name: &http::HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// The one authority of a request (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority(head: &request::Parts) -> Result<&str, Fault> {
    if several(&head.headers, &HOST) {
        return Err(Fault::malformed(
            "more than one Host (RFC 9112 section 3.2)",
        ));
    }
    let host = match head.headers.get(HOST) {
        Some(value) => Some(
            value
                .to_str()
                .map_err(|_| Fault::malformed("Host is not printable ASCII"))?,
        ),
        None => None,
    };
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
        None => authority
            .find(':')
            .map_or((authority, ""), |colon| authority.split_at(colon)),
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
    let encoded = path.contains('%');
    if !encoded && !path.contains("/.") && !path.contains('\\') {
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

/// Whether a segment means "here" or "one up", in any spelling (RFC 3986 §6.2.2.2).
fn is_dots(segment: &[u8]) -> bool {
    // A parameter (`..;x`) does not change what several servers make of it.
    let mut rest = segment
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or(segment);
    let mut dots = 0;
    loop {
        rest = match rest {
            [] => return dots == 1 || dots == 2,
            [b'.', after @ ..] | [b'%', b'2', b'e' | b'E', after @ ..] => after,
            _ => return false,
        };
        dots += 1;
        if dots > 2 {
            return false;
        }
    }
}

/// The most times that percent-encoding is undone; nobody encodes more often
/// but to deceive.
const MAX_DECODINGS: usize = 3;

/// What servers that undo percent-encoding, merge slashes, take a backslash for
/// a slash, drop parameters (`;x`) or end at an encoded `?`, `#` or NUL would
/// make of a path. Most paths can be
/// read in one way only, and then this is empty.
pub(super) fn other_readings(path: &str) -> Vec<String> {
    let plain =
        !path.contains("//") && !path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\'));
    if plain {
        return Vec::new();
    }
    let mut readings = Vec::new();
    let mut decoded = path.as_bytes().to_vec();
    let mut add = |reading: String| {
        if reading != path && !readings.contains(&reading) {
            readings.push(reading);
        }
    };
    for _ in 0..=MAX_DECODINGS {
        let text = String::from_utf8_lossy(&decoded);
        add(simplified(&text));
        // Where these are decoded too early, the path ends before them.
        if let Some((before, _)) = text.split_once(['?', '#', '\0']) {
            add(simplified(before));
        }
        decoded = percent_decoded(&decoded);
    }
    readings
}

/// Whether some server would read a path as one that begins with two slashes,
/// which is where a reference names a host (RFC 3986 §4.2).
pub(super) fn begins_with_two_slashes(path: &str) -> bool {
    let mut decoded = Cow::Borrowed(path.as_bytes());
    for _ in 0..=MAX_DECODINGS {
        match &*decoded {
            [b'/', b'/' | b'\\', ..] => return true,
            [b'/', b'%', ..] => decoded = Cow::Owned(percent_decoded(&decoded)),
            _ => return false,
        }
    }
    false
}

/// What services would make of a method that fold its case, or that take it from
/// a header field. Most have none of these, and then this is empty.
///
/// # Errors
///
/// Fields that name several methods: nobody means that.
pub(super) fn other_methods(head: &request::Parts) -> Result<Vec<String>, Fault> {
    let method = head.method.as_str();
    let fields = METHOD_FIELDS
        .iter()
        .flat_map(|field| head.headers.get_all(*field));
    let named = fields.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let sent = Some(Cow::Borrowed(method)).filter(|sent| sent.contains(is_lower_case));
    let mut readings: Vec<String> = Vec::new();
    for text in named.chain(sent) {
        let reading = text.trim().to_ascii_uppercase();
        if reading != method && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    if readings.len() > MOST_METHODS {
        return Err(Fault::malformed("header fields name several methods"));
    }
    Ok(readings)
}

fn is_lower_case(character: char) -> bool {
    character.is_ascii_lowercase()
}

/// From these, services take the method of a request that was sent with another.
const METHOD_FIELDS: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];
/// The method itself in another case, and one other.
const MOST_METHODS: usize = 2;

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let byte = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match byte {
            Some((high, low)) => {
                out.push((high << 4) | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn simplified(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" => {}
            name => segments.push(name),
        }
    }
    let mut out = String::from("/");
    out.push_str(&segments.join("/"));
    out
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
        read(&head("/", Some(host)))
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
        assert!(read(&head("http://a.example/x", Some("A.example"))).is_ok());
        assert!(read(&head("http://a.example/x", Some("b.example"))).is_err());
        assert!(read(&head("http://a.example/x", None)).is_ok());
        assert!(read(&head("/x", None)).is_err());
    }

    #[test]
    fn other_readings_of_a_path_are_found() {
        assert!(other_readings("/a/b.c/d").is_empty());
        for (path, reading) in [
            ("//admin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/admin;x/y", "/admin/y"),
            ("/admin\\x", "/admin/x"),
            ("/admin%3fx", "/admin"),
            ("/admin%2523/x", "/admin"),
            ("/x/%61dmin%00.png", "/x/admin"),
        ] {
            let readings = other_readings(path);
            assert!(
                readings.iter().any(|found| found == reading),
                "{path}: {readings:?}"
            );
        }
    }

    #[test]
    fn other_readings_of_a_method_are_found() {
        let head = |method: &str, fields: &[(&str, &str)]| {
            let mut request = Request::builder().method(method);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        let field = "x-http-method-override";
        for (method, fields, readings) in [
            ("GET", &[][..], &[][..]),
            ("GET", &[(field, "get"), ("x-http-method", "GET")], &[]),
            ("delete", &[], &["DELETE"]),
            ("POST", &[(field, " delete ")], &["DELETE"]),
            ("POST", &[("x-method-override", "PUT")], &["PUT"]),
            ("Post", &[("x-http-method", "PUT")], &["PUT", "POST"]),
        ] {
            let found = other_methods(&head(method, fields)).unwrap();
            assert_eq!(found, readings, "{method} {fields:?}");
        }
        let several = [(field, "A"), (field, "B"), (field, "C")];
        assert!(other_methods(&head("POST", &several)).is_err());
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
