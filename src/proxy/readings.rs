//! What services make of a path and a method that can be read in several ways.

use std::borrow::Cow;

use http::request;

use super::fault::Fault;
use crate::identity::folds_to;

/// Whether a segment means "here" or "one up", in any spelling (RFC 3986 §6.2.2.2).
pub(super) fn is_dots(segment: &[u8]) -> bool {
    // A parameter (`..;x`) does not change what several servers make of it, and
    // where these are decoded too early, the path ends before a `?`, `#` or NUL.
    // Others drop white space at the end of a name.
    let mut rest = segment
        .split(|byte| matches!(byte, b';' | b'?' | b'#' | b'\0'))
        .next()
        .unwrap_or(segment)
        .trim_ascii_end();
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
pub(super) const MAX_DECODINGS: usize = 3;

/// What servers that undo percent-encoding, merge slashes, take a backslash for
/// a slash, drop parameters (`;x`) or end at an encoded `?`, `#` or NUL would
/// make of a path. Most paths can be read in one way only, and then this is empty.
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
    // In every spelling that a service may take for the field.
    let is_one = |name: &str| METHOD_FIELDS.iter().any(|field| folds_to(name, field));
    let fields = head.headers.iter();
    let fields = fields.filter(|(name, _)| is_one(name.as_str()));
    let named = fields.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()));
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

/// The path with every escape in it undone once; what is none stays.
pub(super) fn percent_decoded(path: &[u8]) -> Vec<u8> {
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

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
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
            ("POST", &[("x_http.method", "PUT")], &["PUT"]),
            ("Post", &[("x-http-method", "PUT")], &["PUT", "POST"]),
        ] {
            let found = other_methods(&head(method, fields)).unwrap();
            assert_eq!(found, readings, "{method} {fields:?}");
        }
        let several = [(field, "A"), (field, "B"), (field, "C")];
        assert!(other_methods(&head("POST", &several)).is_err());
    }
}
