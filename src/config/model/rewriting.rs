//! What a route changes in requests and in responses.

use http::HeaderName;

use super::{Upstream, UpstreamHost};
use crate::identity::TextTemplate;

/// What a route changes in requests on their way up and in responses on their
/// way down; by default nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rewriting {
    /// Whether the route's `path` is taken off the path that goes up.
    pub strip_prefix: bool,
    /// What is put before the path that goes up, without a final slash.
    pub add_prefix: Option<String>,
    /// Whether responses are rewritten back; `None`: exactly if requests are
    /// rewritten, see [`Rewriting::rewrites_responses`].
    pub responses: Option<bool>,
    /// What is changed in the cookies that the service sets.
    pub cookies: CookieChanges,
    /// What is changed in the fields that go up.
    pub request_headers: FieldRules,
    /// What is changed in the fields that come down.
    pub response_headers: FieldRules,
}

/// What is changed in every cookie that a service sets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CookieChanges {
    /// Whether it gets `Secure`.
    pub secure: bool,
    /// Whether it gets `HttpOnly`.
    pub http_only: bool,
    /// The value of its `SameSite`.
    pub same_site: Option<&'static str>,
    /// The value of its `Domain`.
    pub domain: Option<String>,
    /// The value of its `Path`.
    pub path: Option<String>,
}

/// What is changed in the fields of a head; each sorted by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldRules {
    /// Fields that have this value and no other.
    pub set: Vec<FieldRule>,
    /// Fields that have this value beside those that they have.
    pub add: Vec<FieldRule>,
    /// Fields that do not pass.
    pub remove: Vec<HeaderName>,
}

/// A field, and what it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldRule {
    /// Its name.
    pub name: HeaderName,
    /// Its value, perhaps with names of the caller in it.
    pub text: TextTemplate,
}

impl Rewriting {
    /// Whether another path goes up than the one that was asked for.
    pub fn changes_path(&self) -> bool {
        self.strip_prefix || self.add_prefix.is_some()
    }

    /// Whether what responses say of the service's own places is said in the
    /// caller's words.
    ///
    /// A service that sees other paths or another host than its caller answers
    /// in its own, where the caller cannot follow; one that sees the same
    /// answers rightly, and nothing is touched.
    pub fn rewrites_responses(&self, upstream: &Upstream) -> bool {
        let rewritten = self.changes_path() || upstream.host != UpstreamHost::Keep;
        self.responses.unwrap_or(rewritten)
    }
}

impl CookieChanges {
    /// Whether any of them is wanted.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

impl FieldRules {
    /// The fields that get a value.
    pub fn written(&self) -> impl Iterator<Item = &FieldRule> {
        self.set.iter().chain(&self.add)
    }

    /// The fields of which nothing passes that was there before.
    pub fn replaced(&self) -> impl Iterator<Item = &HeaderName> {
        let set = self.set.iter().map(|rule| &rule.name);
        set.chain(&self.remove)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// The fields in which a caller is named.
    pub fn naming_callers(&self) -> impl Iterator<Item = &HeaderName> {
        let naming = |rule: &&FieldRule| rule.text.names_somebody();
        self.written().filter(naming).map(|rule| &rule.name)
    }
}
