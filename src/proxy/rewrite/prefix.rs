//! The prefix of paths: the one that the service has in place of the caller's.

use http::uri::PathAndQuery;

use crate::config::Rewriting;
use crate::proxy::fault::Fault;
use crate::proxy::readings;

/// What stands before paths on either side, each without a final slash; empty
/// for none.
#[derive(Debug)]
pub(super) struct Prefix {
    /// What is taken off a caller's path.
    downstream: String,
    /// What is put before the path that goes up.
    upstream: String,
}

impl Prefix {
    /// `path`: that of the route.
    pub(super) fn new(path: &str, rewriting: &Rewriting) -> Self {
        let stripped = if rewriting.strip_prefix { path } else { "" };
        Self {
            downstream: stripped.trim_end_matches('/').to_owned(),
            upstream: rewriting.add_prefix.clone().unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(super) fn of(downstream: &str, upstream: &str) -> Self {
        Self {
            downstream: downstream.to_owned(),
            upstream: upstream.to_owned(),
        }
    }

    /// The path and the query that go up.
    ///
    /// # Errors
    ///
    /// The path does not begin with the very prefix, or what is left would be
    /// read as something else than a path.
    pub(super) fn up(&self, sent: Option<&PathAndQuery>) -> Result<PathAndQuery, Fault> {
        let path = sent.map_or("/", PathAndQuery::path);
        let rest = rest_of(path, &self.downstream)
            .filter(|_| path != "*")
            .ok_or_else(|| {
                Fault::malformed("the path does not begin with the prefix that is taken off it")
            })?;
        let mut up = String::with_capacity(self.upstream.len() + path.len() + 1);
        up.push_str(&self.upstream);
        up.push_str(rest);
        if up.is_empty() {
            up.push('/');
        }
        if self.upstream.is_empty() && readings::begins_with_two_slashes(rest) {
            return Err(Fault::malformed(
                "without its prefix the path would begin with two slashes, as if a host stood there",
            ));
        }
        if let Some(query) = sent.and_then(PathAndQuery::query) {
            up.push('?');
            up.push_str(query);
        }
        PathAndQuery::try_from(up)
            .map_err(|_| Fault::malformed("with its new prefix the path is too long"))
    }

    /// The caller's path for one of the service's; `None`: it lies outside of
    /// what the caller can reach.
    pub(super) fn down(&self, path: &str) -> Option<String> {
        let rest = rest_of(path, &self.upstream)?;
        let down = format!("{}{rest}", self.downstream);
        // Where a host would be read, the path is not the one that was meant.
        let is_path = !readings::begins_with_two_slashes(&down);
        match down.as_str() {
            "" => Some("/".to_owned()),
            _ => Some(down).filter(|_| is_path),
        }
    }

    /// The same for the path of a cookie: one for more than the caller reaches
    /// is for all that it reaches.
    pub(super) fn down_for_cookie(&self, path: &str) -> Option<String> {
        let around = path.trim_end_matches('/');
        if rest_of(&self.upstream, around).is_none() {
            return self.down(path);
        }
        Some(match self.downstream.as_str() {
            "" => "/".to_owned(),
            prefix => prefix.to_owned(),
        })
    }
}

/// What follows a prefix of whole segments: nothing, or a slash and more.
fn rest_of<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::rewrite::testing::prefix;

    fn up(prefix: &Prefix, sent: &str) -> Option<String> {
        let sent: PathAndQuery = sent.parse().unwrap();
        prefix.up(Some(&sent)).ok().map(|up| up.to_string())
    }

    #[test]
    fn the_route_s_prefix_is_taken_off_and_the_service_s_is_put_on() {
        for (down, upstream, sent, expected) in [
            ("/api", "", "/api", "/"),
            ("/api", "", "/api/", "/"),
            ("/api", "", "/api/x?y=/api&z=%2f", "/x?y=/api&z=%2f"),
            ("/api", "", "/api?y", "/?y"),
            ("/api", "", "/api/api/x//y;z", "/api/x//y;z"),
            ("/api", "/app", "/api", "/app"),
            ("/api", "/app", "/api/x", "/app/x"),
            ("/api", "/app", "/api//x", "/app//x"),
            ("", "/app", "/", "/app/"),
            ("", "/app", "/x?q", "/app/x?q"),
        ] {
            let found = up(&prefix(down, upstream), sent);
            assert_eq!(found.as_deref(), Some(expected), "{down} {upstream} {sent}");
        }
    }

    #[test]
    fn where_the_prefix_does_not_literally_stand_nothing_is_guessed() {
        let api = prefix("/api", "");
        for sent in [
            "/",
            "/apis",
            "/API/x",
            "/ap%69/x",
            "/api;v=1/x",
            "//api/x",
            "/x/api",
            "*",
            "/api%2fx",
            "/api\\x",
        ] {
            assert_eq!(up(&api, sent), None, "{sent}");
        }
        assert_eq!(up(&prefix("", "/app"), "*"), None);
    }

    #[test]
    fn what_is_left_is_never_read_as_a_host() {
        let api = prefix("/api", "");
        for sent in [
            "/api//x",
            "/api/\\x",
            "/api/%2fx",
            "/api/%2Fx",
            "/api/%5cx",
            "/api/%252fx",
            "/api//",
        ] {
            assert_eq!(up(&api, sent), None, "{sent}");
        }
        for sent in ["/api/x//y", "/api/%20/x", "/api/x%2fy"] {
            assert!(up(&api, sent).is_some(), "{sent}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_with_its_prefix_is_refused() {
        let long = format!("/{}", "x".repeat(65_500));
        assert!(up(&prefix("", "/a"), &long).is_some());
        assert!(up(&prefix("", &"/long".repeat(40)), &long).is_none());
    }

    #[test]
    fn the_service_s_paths_become_the_caller_s_again() {
        for (down, upstream, path, expected) in [
            ("/api", "", "/", Some("/api/")),
            ("/api", "", "/x?y#z", Some("/api/x?y#z")),
            ("/api", "/app", "/app", Some("/api")),
            ("/api", "/app", "/app/x", Some("/api/x")),
            ("/api", "/app", "/apple", None),
            ("/api", "/app", "/", None),
            ("", "/app", "/app", Some("/")),
            ("", "/app", "/app/x", Some("/x")),
            ("", "/app", "/app//evil.example", None),
            ("", "/app", "/app/\\evil.example", None),
        ] {
            let found = prefix(down, upstream).down(path);
            assert_eq!(found.as_deref(), expected, "{down} {upstream} {path}");
        }
    }

    #[test]
    fn a_cookie_for_all_of_the_service_is_for_all_that_the_caller_reaches() {
        for (down, upstream, path, expected) in [
            ("/api", "", "/", Some("/api")),
            ("/api", "", "/x/", Some("/api/x/")),
            ("/api", "/app", "/", Some("/api")),
            ("/api", "/app", "/app", Some("/api")),
            ("/api", "/app", "/app/", Some("/api")),
            ("/api", "/app", "/app/x", Some("/api/x")),
            ("/api", "/app", "/other", None),
            ("", "/app", "/", Some("/")),
            ("", "/app/v1", "/app", Some("/")),
            ("", "/app", "/app/x", Some("/x")),
        ] {
            let found = prefix(down, upstream).down_for_cookie(path);
            assert_eq!(found.as_deref(), expected, "{down} {upstream} {path}");
        }
    }
}
