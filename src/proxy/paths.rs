//! Brings the path of a request into a form that can be read in one way only,
//! or refuses it, before its route is chosen.
//!
//! # Rules
//!
//! * What is judged is what goes up: a path that is changed is changed here, for
//!   the route, the rules and the service alike.
//! * What one server decodes and another does not is refused in both forms: an
//!   encoded slash or backslash, a backslash, an escape within an escape, an
//!   escape that is none, an encoded control character.
//! * Nothing is left to be resolved behind countersign: `.` and `..` are
//!   refused, or resolved here, and never above the root.
//!
//! # Sources
//!
//! RFC 3986 §3.3 and §6.2.2; RFC 3629 §3 for bytes that no text has.

use http::uri::PathAndQuery;
use http::{Uri, request};

use super::fault::Fault;
use super::readings::{hex, is_dots, percent_decoded};
use crate::config::PathForm;

/// Brings the path of a request into the form of its listener.
///
/// # Errors
///
/// It has none.
pub(super) fn settle(form: PathForm, head: &mut request::Parts) -> Result<(), Fault> {
    let path = head.uri.path();
    // What does not begin so is no path of a resource; `target` has a look at it.
    if form == PathForm::Raw || !path.starts_with('/') {
        return Ok(());
    }
    check(path).map_err(refused)?;
    if form != PathForm::Normalize || is_normal(path) {
        return Ok(());
    }
    let settled = normalized(path).map_err(refused)?;
    if settled != path {
        head.uri = with_path(&head.uri, settled)?;
    }
    Ok(())
}

fn refused(rule: &'static str) -> Fault {
    let mut fault = Fault::malformed(rule);
    fault.own_remedy = Some(
        "have the client send a path without it; `path` of the listener says what becomes of such paths"
            .to_owned(),
    );
    fault
}

fn with_path(uri: &Uri, mut path: String) -> Result<Uri, Fault> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let malformed = || Fault::malformed("the path cannot be brought into one form");
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| malformed())?);
    Uri::from_parts(parts).map_err(|_| malformed())
}

/// Refuses what no two servers are sure to read alike.
///
/// # Errors
///
/// What of it is in the path.
fn check(path: &str) -> Result<(), &'static str> {
    if path.contains('\\') {
        return Err("a backslash in the path, which some servers take for a slash");
    }
    if !path.contains('%') {
        return Ok(());
    }
    let mut rest = path.as_bytes();
    let mut before = None;
    while let Some((first, after)) = rest.split_first() {
        let (byte, next) = if *first == b'%' {
            let Some((byte, next)) = escape(after) else {
                return Err("a `%` in the path without two hexadecimal digits behind it");
            };
            match byte {
                b'/' | b'\\' => return Err("an encoded slash or backslash in the path"),
                0..=0x1f | 0x7f => return Err("an encoded control character in the path"),
                // A careless decoder makes `/`, `\` and `.` of such pairs.
                0x80..=0xbf if matches!(before, Some(0xc0 | 0xc1)) => {
                    return Err("an encoded character in the path that is longer than it may be");
                }
                0x80..=0x9f if before == Some(0xe0) => {
                    return Err("an encoded character in the path that is longer than it may be");
                }
                byte => (byte, next),
            }
        } else {
            (*first, after)
        };
        before = Some(byte);
        rest = next;
    }
    let decoded = percent_decoded(path.as_bytes());
    if decoded
        .split(|byte| *byte == b'%')
        .skip(1)
        .any(|after| escape(after).is_some())
    {
        return Err("the path is percent-encoded twice");
    }
    Ok(())
}

/// The byte that two hexadecimal digits stand for, and what comes behind them.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, after @ ..] = text else {
        return None;
    };
    let (high, low) = (hex(*high)?, hex(*low)?);
    Some(((high << 4) | low, after))
}

/// Whether a path is in its one form, as most are; not all that are so are seen
/// to be.
fn is_normal(path: &str) -> bool {
    !path.contains("//") && !path.contains("/.") && path.bytes().all(may_stand)
}

/// The one form of a path that [`check`] lets pass.
///
/// # Errors
///
/// It has none.
fn normalized(path: &str) -> Result<String, &'static str> {
    let spelled = respelled(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = true;
    for segment in spelled.split('/') {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                if segments.pop().is_none() {
                    return Err("a `..` segment in the path leads above the root");
                }
            }
            _ if is_dots(segment.as_bytes()) => {
                return Err("a segment of dots in the path has parameters");
            }
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(spelled.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if is_folder {
        out.push('/');
    }
    Ok(out)
}

/// The path with each character in its one spelling: encoded exactly if it must
/// be, in upper case.
fn respelled(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, encoded, next) = match escape(after) {
            Some((byte, next)) if *first == b'%' => (byte, true, next),
            _ => (*first, false, after),
        };
        // What has a meaning of its own stays as it was: `;` is not `%3B`.
        let stays = if encoded {
            is_unreserved(byte)
        } else {
            may_stand(byte)
        };
        if stays {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(digit(byte >> 4));
            out.push(digit(byte & 0xf));
        }
        rest = next;
    }
    out
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a byte may stand in a path as it is (RFC 3986 §3.3).
fn may_stand(byte: u8) -> bool {
    is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    /// What becomes of a request target; `None`: it is refused.
    fn settled(form: PathForm, target: &str) -> Option<String> {
        let request = Request::builder().uri(target).body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        settle(form, &mut head).ok()?;
        Some(head.uri.to_string())
    }

    #[test]
    fn paths_are_brought_into_one_form() {
        for (path, form) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61%2D%5f%7e", "/a-_~"),
            ("/a%3bb%3f%23", "/a%3Bb%3F%23"),
            ("/a;b=c/d", "/a;b=c/d"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e/b/%2E%2e/c", "/a/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a//../b", "/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%C3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a{b}|\"", "/a%7Bb%7D%7C%22"),
            ("/100%25", "/100%25"),
            ("/a?b=%2f..//%zz", "/a?b=%2f..//%zz"),
            ("/%61?b", "/a?b"),
        ] {
            assert_eq!(
                settled(PathForm::Normalize, path).as_deref(),
                Some(form),
                "{path}"
            );
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused_and_not_in_raw_form() {
        for path in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%252fb",
            "/a%25%32fb",
            "/a%2541",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%u002f",
            "/a%c0%afb",
            "/a%c1%9cb",
            "/a%e0%80%af",
        ] {
            assert_eq!(settled(PathForm::Reject, path), None, "{path}");
            assert_eq!(settled(PathForm::Normalize, path), None, "{path}");
            assert_eq!(
                settled(PathForm::Raw, path).as_deref(),
                Some(path),
                "{path}"
            );
        }
        for path in ["/..", "/a/../../b", "/%2e%2e/a", "/a/..;x/b", "/a/.;x"] {
            assert_eq!(settled(PathForm::Normalize, path), None, "{path}");
        }
    }

    #[test]
    fn what_can_be_read_in_one_way_goes_up_as_it_came() {
        for path in [
            "/a//b;c/d",
            "/%61",
            "/é",
            "/%c3%a9",
            "/%c1",
            "/a%20b?c=%2f%00",
            "*",
        ] {
            assert_eq!(
                settled(PathForm::Reject, path).as_deref(),
                Some(path),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_one_form_is_the_form_of_itself_and_has_nothing_left_to_resolve(
            path in "/([a-c/.;%]|%2[eEfF5]|%[0-9a-f]{2}|\\.\\.|é){0,12}",
        ) {
            let Some(once) = settled(PathForm::Normalize, &path) else {
                return Ok(());
            };
            let again = settled(PathForm::Normalize, &once);
            prop_assert_eq!(again.as_deref(), Some(once.as_str()));
            let decoded = percent_decoded(once.as_bytes());
            prop_assert!(!decoded.contains(&b'\\'));
            let segments = |path: &[u8]| path.split(|byte| *byte == b'/').count();
            prop_assert_eq!(segments(&decoded), segments(once.as_bytes()));
            let mut all = decoded.split(|byte| *byte == b'/');
            prop_assert!(!all.any(|segment| segment == b"." || segment == b".."));
        }
    }
}
