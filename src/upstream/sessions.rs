//! The sessions that a service has opened, kept for those for whom it did.
//!
//! A service that knows a caller by its session cookie needs no credential any
//! more. The cookie stays here: it never goes down, so no caller can take it
//! to somebody else, and it is sent for the identity alone that it was given to.
//!
//! # Rules
//!
//! * Cookies of these names that a caller sends are taken out, whoever it is.
//! * Cookies of these names that the service sets stay here, whoever they are for.
//! * A session belongs to one [`SessionKey`]; which callers are told apart by it
//!   is decided where requests are.
//! * A session that was replaced meanwhile is not forgotten because its
//!   predecessor was lost.
//!
//! # Sources
//!
//! RFC 6265 (cookies): §5.1.4 (paths), §5.2 (`Set-Cookie`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, Entry, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::config::{SessionPer, StatefulSessions};
use crate::telemetry::metrics::{Present, UpstreamMetrics};

/// The most bytes that the cookies of one session may have together.
const MOST_BYTES: usize = 8 * 1024;

/// The most sessions that one caller has: for each host, and for each credential
/// of its own. Else one that makes up names of hosts would end those of others.
const MOST_PER_CALLER: usize = 32;

/// Whose session, and for what, each as a digest.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SessionKey {
    /// All that tells one caller from another.
    pub caller: [u8; 32],
    /// What tells its requests apart that cannot share a session.
    pub purpose: [u8; 32],
}

/// The sessions of one upstream, on one worker.
#[derive(Debug)]
pub struct Sessions {
    settings: StatefulSessions,
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<SessionKey, Session>,
    /// The least recently used first.
    by_turn: BTreeMap<u64, SessionKey>,
    /// The turns of the sessions of each caller; none is empty.
    by_caller: HashMap<[u8; 32], BTreeSet<u64>>,
    /// Counts uses and changes: no two have the same.
    turn: u64,
    metrics: Arc<UpstreamMetrics>,
}

#[derive(Debug)]
struct Session {
    /// Counts it, once it has begun.
    present: Option<Present>,
    cookies: Vec<Cookie>,
    last_use: Instant,
    /// Of its last use.
    turn: u64,
    /// Of its last change.
    edition: u64,
}

/// Which session a request was sent with, as it was then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edition(u64);

struct Cookie {
    name: String,
    value: Vec<u8>,
    path: String,
    expires: Option<Instant>,
}

impl std::fmt::Debug for Cookie {
    /// Not the value: whoever has it is taken for the caller.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(settings: StatefulSessions, metrics: &Arc<UpstreamMetrics>) -> Self {
        let kept = Kept {
            metrics: Arc::clone(metrics),
            ..Kept::default()
        };
        Self {
            settings,
            kept: RefCell::new(kept),
        }
    }

    /// By what callers are told apart.
    pub fn per(&self) -> SessionPer {
        self.settings.per
    }

    /// Takes the session cookies out of a request: only countersign's own are sent.
    pub fn strip_request(&self, headers: &mut HeaderMap) {
        let carries_one = |value: &HeaderValue| {
            let mut pairs = value.as_bytes().split(|byte| *byte == b';');
            pairs.any(|pair| self.holds_a_session(pair))
        };
        if !headers.get_all(COOKIE).iter().any(carries_one) {
            return;
        }
        let cleared: Vec<_> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| self.without_sessions(value))
            .collect();
        replace_all(headers, &COOKIE, cleared);
    }

    /// Whether there is a session of `key`.
    pub fn has(&self, key: &SessionKey) -> bool {
        self.kept.borrow().by_key.contains_key(key)
    }

    /// Adds the session cookies of `key` for a request to `path`. Which session
    /// that is; `None`: there is none for it.
    pub fn resume(
        &self,
        key: &SessionKey,
        path: &str,
        headers: &mut HeaderMap,
        now: Instant,
    ) -> Option<Edition> {
        let mut kept = self.kept.borrow_mut();
        let session = kept.by_key.get_mut(key)?;
        session.cookies.retain(|cookie| cookie.lives(now));
        let rest = now.saturating_duration_since(session.last_use);
        if session.cookies.is_empty() || rest >= self.settings.lifetime {
            kept.forget(key);
            return None;
        }
        let value = session.cookies_for(path)?;
        session.last_use = now;
        let edition = session.edition;
        kept.touch(key);
        add_cookie(headers, value);
        Some(Edition(edition))
    }

    /// Takes the session cookies out of a response, and keeps them for `key`;
    /// without one they are dropped. A cookie that the service ends is forgotten.
    pub fn keep(
        &self,
        key: Option<&SessionKey>,
        path: &str,
        headers: &mut HeaderMap,
        now: Instant,
    ) {
        let mut found = Vec::new();
        let mut others = Vec::new();
        for value in headers.get_all(SET_COOKIE) {
            match self.read(value.as_bytes(), path, now) {
                Some(cookie) => found.push(cookie),
                None => others.push(value.clone()),
            }
        }
        if found.is_empty() {
            return;
        }
        replace_all(headers, &SET_COOKIE, others);
        if let Some(key) = key {
            self.kept.borrow_mut().add(key, found, &self.settings, now);
        }
    }

    /// Whether a response says that its request was not authenticated: 401
    /// always does, and what the config names.
    pub fn is_lost(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let named = self.settings.lost.iter().any(|lost| {
            lost.status == status.as_u16()
                && lost.location.as_ref().is_none_or(|wanted| {
                    let location = headers.get(LOCATION).map(HeaderValue::as_bytes);
                    path_of(location.unwrap_or_default()).starts_with(wanted.as_bytes())
                })
        });
        named || status == StatusCode::UNAUTHORIZED
    }

    /// The session of `key` is known no more, if it still is that one.
    pub fn forget(&self, key: &SessionKey, edition: Edition) {
        let mut kept = self.kept.borrow_mut();
        let known = kept.by_key.get(key);
        if known.is_some_and(|session| session.edition == edition.0) {
            kept.forget(key);
        }
    }

    fn is_session(&self, name: &[u8]) -> bool {
        self.settings
            .cookies
            .iter()
            .any(|known| known.as_bytes() == name)
    }

    /// Whether there is a session in what stands between two semicolons. Some
    /// services take a comma (RFC 2965) or a space for the end of a cookie too,
    /// and some take off quotes, or white space that is not ASCII.
    fn holds_a_session(&self, pair: &[u8]) -> bool {
        let ends = |byte: &u8| !byte.is_ascii_graphic() || b",\"".contains(byte);
        let mut cookies = pair.split(ends).map(split_pair);
        cookies.any(|(name, _)| self.is_session(name))
    }

    /// A `Cookie` value without its session cookies; `None`: nothing is left.
    fn without_sessions(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let mut left = Vec::new();
        for pair in value.as_bytes().split(|byte| *byte == b';') {
            if self.holds_a_session(pair) || pair.trim_ascii().is_empty() {
                continue;
            }
            if !left.is_empty() {
                left.extend_from_slice(b"; ");
            }
            left.extend_from_slice(pair.trim_ascii());
        }
        HeaderValue::from_bytes(&left)
            .ok()
            .filter(|value| !value.is_empty())
    }

    /// A `Set-Cookie` value, if it is that of a session.
    fn read(&self, value: &[u8], request_path: &str, now: Instant) -> Option<Cookie> {
        let mut parts = value.split(|byte| *byte == b';');
        let (name, content) = split_pair(parts.next()?);
        if !self.is_session(name) {
            return None;
        }
        let mut cookie = Cookie {
            name: String::from_utf8_lossy(name).into_owned(),
            value: content.to_vec(),
            path: default_path(request_path),
            expires: None,
        };
        for attribute in parts {
            let (name, content) = split_pair(attribute);
            if name.eq_ignore_ascii_case(b"path") && content.starts_with(b"/") {
                cookie.path = String::from_utf8_lossy(content).into_owned();
            } else if name.eq_ignore_ascii_case(b"max-age") {
                // A date in `Expires` is not looked at: a cookie that should not
                // be sent any more is one that the service does not know.
                cookie.expires = max_age(content).map(|left| now + left).or(cookie.expires);
            }
        }
        Some(cookie)
    }
}

impl Kept {
    fn add(
        &mut self,
        key: &SessionKey,
        cookies: Vec<Cookie>,
        settings: &StatefulSessions,
        now: Instant,
    ) {
        let session = self.by_key.entry(*key).or_insert_with(|| Session {
            present: None,
            cookies: Vec::new(),
            last_use: now,
            turn: 0,
            edition: 0,
        });
        session.last_use = now;
        for cookie in cookies {
            session
                .cookies
                .retain(|known| (&known.name, &known.path) != (&cookie.name, &cookie.path));
            if !cookie.value.is_empty() && cookie.lives(now) {
                session.cookies.push(cookie);
            }
        }
        let bytes: usize = session.cookies.iter().map(Cookie::size).sum();
        if session.cookies.is_empty() || bytes > MOST_BYTES {
            return self.forget(key);
        }
        self.touch(key);
        if let Some(session) = self.by_key.get_mut(key) {
            session.edition = session.turn;
            let begun = || self.metrics.kept_session();
            session.present.get_or_insert_with(begun);
        }
        self.clear_own(&key.caller);
        self.clear(settings, now);
    }

    /// Lets go of the least recently used of one caller beyond the most.
    fn clear_own(&mut self, caller: &[u8; 32]) {
        while let Some(turns) = self.by_caller.get(caller)
            && turns.len() > MOST_PER_CALLER
            && let Some(oldest) = turns.first().and_then(|turn| self.by_turn.get(turn))
        {
            self.forget(&oldest.clone());
        }
    }

    /// Lets go of what is too old, and of the least recently used beyond the most.
    fn clear(&mut self, settings: &StatefulSessions, now: Instant) {
        while let Some((_, oldest)) = self.by_turn.first_key_value() {
            let oldest = *oldest;
            let unused = self.by_key.get(&oldest).is_none_or(|session| {
                now.saturating_duration_since(session.last_use) >= settings.lifetime
            });
            if !unused && self.by_key.len() <= settings.most.get() {
                break;
            }
            self.forget(&oldest);
        }
    }

    /// It was used a moment ago.
    fn touch(&mut self, key: &SessionKey) {
        self.turn = self.turn.wrapping_add(1);
        let Some(session) = self.by_key.get_mut(key) else {
            return;
        };
        let turns = self.by_caller.entry(key.caller).or_default();
        turns.remove(&session.turn);
        turns.insert(self.turn);
        self.by_turn.remove(&session.turn);
        self.by_turn.insert(self.turn, *key);
        session.turn = self.turn;
    }

    fn forget(&mut self, key: &SessionKey) {
        let Some(session) = self.by_key.remove(key) else {
            return;
        };
        self.by_turn.remove(&session.turn);
        if let Some(turns) = self.by_caller.get_mut(&key.caller) {
            turns.remove(&session.turn);
            if turns.is_empty() {
                self.by_caller.remove(&key.caller);
            }
        }
    }
}

impl Session {
    /// What is sent to `path`; `None`: none of them goes there.
    fn cookies_for(&self, path: &str) -> Option<HeaderValue> {
        let mut value = Vec::new();
        let fitting = |cookie: &&Cookie| matches_path(&cookie.path, path);
        for cookie in self.cookies.iter().filter(fitting) {
            if !value.is_empty() {
                value.extend_from_slice(b"; ");
            }
            value.extend_from_slice(cookie.name.as_bytes());
            value.push(b'=');
            value.extend_from_slice(&cookie.value);
        }
        if value.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&value).ok()
    }
}

impl Cookie {
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|end| end > now)
    }

    /// In bytes.
    fn size(&self) -> usize {
        let value = self.name.len().saturating_add(self.value.len());
        value.saturating_add(self.path.len())
    }
}

/// Puts these values in the place of all that a field had.
fn replace_all(headers: &mut HeaderMap, name: &HeaderName, values: Vec<HeaderValue>) {
    if let Entry::Occupied(occupied) = headers.entry(name) {
        occupied.remove_entry_mult();
    }
    for value in values {
        headers.append(name, value);
    }
}

/// How long a cookie lives; `None`: that is no number (RFC 6265 §5.2.2).
fn max_age(content: &[u8]) -> Option<Duration> {
    let digits = content.strip_prefix(b"-").unwrap_or(content);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What is too large for a number lives for long, and less than nothing not at all.
    let seconds = match std::str::from_utf8(content).ok()?.parse::<i64>() {
        Ok(seconds) => u64::try_from(seconds).unwrap_or(0),
        Err(_) if content.starts_with(b"-") => 0,
        Err(_) => A_YEAR,
    };
    Some(Duration::from_secs(seconds.min(A_YEAR)))
}

/// Adds a pair to what the request carries already (RFC 6265 §5.4: one field).
fn add_cookie(headers: &mut HeaderMap, pair: HeaderValue) {
    let known = headers.get_all(COOKIE).iter().chain([&pair]);
    let pairs: Vec<&[u8]> = known.map(HeaderValue::as_bytes).collect();
    // Values that were legal apart are legal together.
    let mut value = HeaderValue::from_bytes(&pairs.join(&b"; "[..])).unwrap_or(pair);
    value.set_sensitive(true);
    headers.insert(COOKIE, value);
}

/// Name and value, without the white space around them.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, value) = pair.split_at(at);
            (
                name.trim_ascii(),
                value.get(1..).unwrap_or_default().trim_ascii(),
            )
        }
        None => (pair.trim_ascii(), b""),
    }
}

/// The path of a cookie that names none (RFC 6265 §5.1.4).
fn default_path(request_path: &str) -> String {
    match request_path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(at) => request_path.get(..at).unwrap_or("/").to_owned(),
    }
}

/// Whether a cookie of `path` goes with a request to `request_path` (RFC 6265 §5.1.4).
fn matches_path(path: &str, request_path: &str) -> bool {
    match request_path.strip_prefix(path) {
        Some(rest) => rest.is_empty() || path.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// The path of a `Location`, which may name scheme and authority too.
fn path_of(location: &[u8]) -> &[u8] {
    let authority = location
        .strip_prefix(b"https://")
        .or_else(|| location.strip_prefix(b"http://"))
        .or_else(|| location.strip_prefix(b"//"));
    match authority {
        None => location,
        Some(rest) => match rest.iter().position(|byte| *byte == b'/') {
            Some(at) => rest.get(at..).unwrap_or_default(),
            None => b"/",
        },
    }
}

/// In seconds; nobody's session lasts longer.
const A_YEAR: u64 = 365 * 24 * 3600;

#[cfg(test)]
mod tests;
