//! Cookies that a service sets, on their way to its caller.
//!
//! # Rules
//!
//! * A cookie is read as browsers read it (RFC 6265 §5.2): pieces between
//!   semicolons, of which the first is the cookie itself.
//! * What is not changed passes byte for byte.
//! * A cookie whose name begins with `__Host-` is only taken with `Path=/` and
//!   without `Domain` (RFC 6265bis §4.1.3.2): both stay as they are.

use super::names::OwnNames;
use super::prefix::Prefix;
use crate::config::CookieChanges;

/// What turns a service's cookies into those of its caller.
pub(super) struct Cookies<'a> {
    /// What is changed in each.
    pub(super) changes: &'a CookieChanges,
    /// The service's names and paths, and the host that its caller asked for;
    /// `None`: they are the caller's too.
    pub(super) back: Option<(&'a OwnNames, &'a Prefix, &'a str)>,
}

impl Cookies<'_> {
    /// A value of `Set-Cookie` as the caller gets it.
    pub(super) fn rewritten(&self, value: &[u8]) -> Vec<u8> {
        let mut pieces = value.split(|byte| *byte == b';');
        let cookie = pieces.next().unwrap_or_default();
        let bound_to_host = is_bound_to_host(cookie);
        let mut out = cookie.to_vec();
        let mut seen = Seen::default();
        for piece in pieces {
            let (name, content) = split(piece);
            let kind = Kind::of(name);
            seen.note(kind);
            let change = match kind {
                Some(Kind::Domain | Kind::Path) if bound_to_host => Change::Keep,
                Some(Kind::Domain) => self.domain(content),
                Some(Kind::Path) => self.path(content),
                Some(Kind::SameSite) => self.changes.same_site.into(),
                Some(Kind::HttpOnly | Kind::Secure) | None => Change::Keep,
            };
            match change {
                Change::Drop => {}
                Change::Keep => push(&mut out, piece),
                Change::To(value) if value.as_bytes() == content => push(&mut out, piece),
                Change::To(value) => push(&mut out, &with_content(piece, &value)),
            }
        }
        self.add(&mut out, &seen, bound_to_host);
        out
    }

    fn domain(&self, content: &[u8]) -> Change {
        if let Some(domain) = &self.changes.domain {
            return Change::To(domain.clone());
        }
        let domain = String::from_utf8_lossy(content).to_ascii_lowercase();
        let domain = domain.strip_prefix('.').unwrap_or(&domain);
        match self.back {
            Some((names, _, asked)) if names.has_domain_apart_from(domain, asked) => Change::Drop,
            _ => Change::Keep,
        }
    }

    fn path(&self, content: &[u8]) -> Change {
        if let Some(path) = &self.changes.path {
            return Change::To(path.clone());
        }
        // Without a path of its own it is for the place that was asked for.
        let path = str::from_utf8(content)
            .ok()
            .filter(|path| path.starts_with('/'));
        let (names, path) = (self.back, path);
        let down = names
            .zip(path)
            .and_then(|((_, prefix, _), path)| prefix.down_for_cookie(path));
        down.map_or(Change::Keep, Change::To)
    }

    /// Adds what is wanted and not there.
    fn add(&self, out: &mut Vec<u8>, seen: &Seen, bound_to_host: bool) {
        let changes = self.changes;
        let mut add = |kind: Kind, text: &str| {
            if !seen.has(kind) {
                push(out, format!(" {text}").as_bytes());
            }
        };
        if let Some(domain) = changes.domain.as_ref().filter(|_| !bound_to_host) {
            add(Kind::Domain, &format!("Domain={domain}"));
        }
        if let Some(path) = changes.path.as_ref().filter(|_| !bound_to_host) {
            add(Kind::Path, &format!("Path={path}"));
        }
        if changes.secure {
            add(Kind::Secure, "Secure");
        }
        if changes.http_only {
            add(Kind::HttpOnly, "HttpOnly");
        }
        if let Some(same_site) = changes.same_site {
            add(Kind::SameSite, &format!("SameSite={same_site}"));
        }
    }
}

/// An attribute that may be changed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Domain,
    HttpOnly,
    Path,
    SameSite,
    Secure,
}

impl Kind {
    fn of(name: &[u8]) -> Option<Self> {
        let all = [
            ("domain", Self::Domain),
            ("httponly", Self::HttpOnly),
            ("path", Self::Path),
            ("samesite", Self::SameSite),
            ("secure", Self::Secure),
        ];
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        all.into_iter()
            .find(|(word, _)| is(word))
            .map(|(_, kind)| kind)
    }
}

/// The attributes that a cookie has.
#[derive(Default)]
struct Seen(Vec<Kind>);

impl Seen {
    fn note(&mut self, kind: Option<Kind>) {
        if let Some(kind) = kind.filter(|kind| !self.has(*kind)) {
            self.0.push(kind);
        }
    }

    fn has(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

/// What becomes of an attribute.
enum Change {
    Drop,
    Keep,
    To(String),
}

impl From<Option<&'static str>> for Change {
    fn from(value: Option<&'static str>) -> Self {
        value.map_or(Self::Keep, |value| Self::To(value.to_owned()))
    }
}

/// Browsers do not look at the case of this beginning.
fn is_bound_to_host(cookie: &[u8]) -> bool {
    let (name, _) = split(cookie);
    let start = name.get(..BOUND_TO_HOST.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(BOUND_TO_HOST))
}

const BOUND_TO_HOST: &[u8] = b"__Host-";

/// Name and content, without the white space around them.
fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    let (name, content) = match piece.iter().position(|byte| *byte == b'=') {
        Some(at) => piece.split_at(at),
        None => (piece, &b""[..]),
    };
    let content = content.strip_prefix(b"=").unwrap_or(content);
    (name.trim_ascii(), content.trim_ascii())
}

/// The attribute with another value; its name and the space before it stay.
fn with_content(piece: &[u8], content: &str) -> Vec<u8> {
    let name = piece.split(|byte| *byte == b'=').next().unwrap_or(piece);
    let mut out = name.to_vec();
    out.push(b'=');
    out.extend_from_slice(content.as_bytes());
    out
}

fn push(out: &mut Vec<u8>, piece: &[u8]) {
    out.push(b';');
    out.extend_from_slice(piece);
}

#[cfg(test)]
mod tests;
