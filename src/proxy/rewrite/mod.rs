//! What a route changes in requests on their way up, and in their responses on
//! the way down.
//!
//! Policy decides on a request as its caller wrote it; what is changed here is
//! changed afterwards, and goes up as it then is. Routes that change nothing
//! have no [`Rewriting`], and pay nothing for those that do.

mod cookies;
mod fields;
mod names;
mod prefix;
mod reference;

use std::cell::RefCell;
use std::rc::Rc;

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::{Fault, Kind, Phase, Side};
use super::forwarding::{X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::config::{CookieChanges, Route, Upstream};
use crate::identity::{EncodeError, PeerIdentity};
use cookies::Cookies;
use fields::{Fields, OfCaller};
use names::OwnNames;
use prefix::Prefix;
use reference::Back;

/// What one route changes.
#[derive(Debug)]
pub(super) struct Rewriting {
    /// Its place in the config.
    route: usize,
    prefix: Prefix,
    changes_path: bool,
    /// `None`: what responses say of places stays as it is.
    names: Option<OwnNames>,
    cookies: CookieChanges,
    request: Fields,
    response: Fields,
}

/// What the fields of one party's requests and responses hold, put together
/// once for each route that wants to know.
#[derive(Debug, Default)]
pub(super) struct Filled(RefCell<Vec<(usize, Rc<Both>)>>);

#[derive(Debug)]
struct Both {
    request: OfCaller,
    response: OfCaller,
}

/// For whom requests are made, and what has been put together for them.
type Party<'a> = (Option<&'a PeerIdentity>, &'a Filled);

/// What a caller asked for, as far as responses to it depend on that.
pub(super) struct Asked {
    /// `http` or `https`.
    scheme: Option<HeaderValue>,
    /// The host, perhaps with a port.
    authority: Option<HeaderValue>,
}

impl Asked {
    /// From a head that is ready to go up, which tells the service the same:
    /// what a trusted proxy in front says counts there too.
    pub(super) fn of(head: &HeaderMap) -> Self {
        Self {
            scheme: head.get(X_FORWARDED_PROTO).cloned(),
            authority: head.get(X_FORWARDED_HOST).cloned(),
        }
    }

    fn scheme(&self) -> &str {
        match first(self.scheme.as_ref()) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => "http",
            _ => "https",
        }
    }

    fn authority(&self) -> &str {
        first(self.authority.as_ref()).unwrap_or_default()
    }
}

/// The first member of a list: the proxy that is farthest in front.
fn first(list: Option<&HeaderValue>) -> Option<&str> {
    list?.to_str().ok()?.split(',').next().map(str::trim)
}

impl Rewriting {
    /// `None`: the route changes nothing.
    pub(super) fn new(index: usize, route: &Route, upstream: &Upstream) -> Option<Self> {
        let rewriting = &route.rewriting;
        let rewrites_responses = rewriting.rewrites_responses(upstream);
        let changes = rewriting.changes_path()
            || rewrites_responses
            || rewriting.cookies.is_any()
            || !rewriting.request_headers.is_empty()
            || !rewriting.response_headers.is_empty();
        changes.then(|| Self {
            route: index,
            prefix: Prefix::new(&route.path, rewriting),
            changes_path: rewriting.changes_path(),
            names: rewrites_responses.then(|| OwnNames::new(upstream)),
            cookies: rewriting.cookies.clone(),
            request: Fields::new(&rewriting.request_headers),
            response: Fields::new(&rewriting.response_headers),
        })
    }

    /// The path and the query that go up; `None`: those that came.
    ///
    /// # Errors
    ///
    /// They cannot be rewritten without a guess.
    pub(super) fn path(&self, sent: Option<&PathAndQuery>) -> Result<Option<PathAndQuery>, Fault> {
        let changed = self.changes_path.then(|| self.prefix.up(sent));
        changed.transpose()
    }

    /// Makes the changes in the head of a request. What responses will hold is
    /// put together too, so that none can fail for it.
    ///
    /// # Errors
    ///
    /// What is told of the caller is too large.
    pub(super) fn write(
        &self,
        (peer, filled): Party<'_>,
        head: &mut HeaderMap,
    ) -> Result<(), Fault> {
        let both = self
            .filled(peer, filled)
            .map_err(|cause| too_large(&cause))?;
        self.request.write(&both.request, head);
        Ok(())
    }

    /// Makes the changes in the head of a response.
    pub(super) fn write_back(
        &self,
        (peer, filled): Party<'_>,
        asked: &Asked,
        head: &mut HeaderMap,
    ) {
        if let Some(names) = &self.names {
            let back = Back {
                names,
                prefix: &self.prefix,
                scheme: asked.scheme(),
                asked: asked.authority(),
            };
            for name in [LOCATION, CONTENT_LOCATION] {
                change_each(head, &name, |value| back.reference(value));
            }
            change_each(head, &REFRESH, |value| back.refresh(value));
        }
        self.write_cookies(asked, head);
        // It was put together for the request.
        if let Ok(both) = self.filled(peer, filled) {
            self.response.write(&both.response, head);
        }
    }

    fn write_cookies(&self, asked: &Asked, head: &mut HeaderMap) {
        let back = self.names.as_ref();
        let back = back.map(|names| (names, &self.prefix, asked.authority()));
        if (back.is_none() && !self.cookies.is_any()) || !head.contains_key(SET_COOKIE) {
            return;
        }
        let cookies = Cookies {
            changes: &self.cookies,
            back,
        };
        let http::header::Entry::Occupied(mut values) = head.entry(SET_COOKIE) else {
            return;
        };
        for value in values.iter_mut() {
            if let Ok(changed) = HeaderValue::from_bytes(&cookies.rewritten(value.as_bytes())) {
                *value = changed;
            }
        }
    }

    fn filled(
        &self,
        peer: Option<&PeerIdentity>,
        filled: &Filled,
    ) -> Result<Rc<Both>, EncodeError> {
        let mut all = filled.0.borrow_mut();
        if let Some((_, both)) = all.iter().find(|(route, _)| *route == self.route) {
            return Ok(Rc::clone(both));
        }
        let both = Rc::new(Both {
            request: self.request.of(peer)?,
            response: self.response.of(peer)?,
        });
        all.push((self.route, Rc::clone(&both)));
        Ok(both)
    }
}

/// Replaces the values of a field for which there is another one.
fn change_each(head: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let http::header::Entry::Occupied(mut values) = head.entry(name) else {
        return;
    };
    for value in values.iter_mut() {
        // Old services write the characters of a path as they are.
        let changed = str::from_utf8(value.as_bytes()).ok().and_then(&change);
        if let Some(Ok(changed)) = changed.map(HeaderValue::try_from) {
            *value = changed;
        }
    }
}

fn too_large(cause: &EncodeError) -> Fault {
    let kind = Kind::AssertionTooLarge;
    let remedy = "name less of the caller in request_headers and response_headers of the route, or have it present a certificate with fewer names";
    Fault {
        own_remedy: Some(remedy.to_owned()),
        ..Fault::new(Side::Proxy, Phase::Outbound, kind, cause.to_string())
    }
}

#[cfg(test)]
mod testing {
    use super::names::OwnNames;
    use super::prefix::Prefix;

    /// Those of a service at `orders.internal:8080` and `[fd00::5]`.
    pub(super) fn names() -> OwnNames {
        OwnNames::of(&["orders.internal:8080", "[fd00::5]", "Billing.internal"])
    }

    pub(super) fn prefix(downstream: &str, upstream: &str) -> Prefix {
        Prefix::of(downstream, upstream)
    }
}
