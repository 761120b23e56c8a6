//! Which route a request takes.

use crate::config::{Config, HostPattern, ListenerId, Route, is_within};

/// The routes of each listener, in the order of the config.
#[derive(Debug)]
pub(super) struct Routes {
    /// For each listener, indexes into the config's routes.
    by_listener: Vec<Vec<usize>>,
}

impl Routes {
    pub(super) fn new(config: &Config) -> Self {
        let of = |listener: ListenerId| {
            let applies = |route: &Route| route.listener.is_none_or(|only| only == listener);
            config
                .routes()
                .iter()
                .enumerate()
                .filter(|(_, route)| applies(route))
                .map(|(index, _)| index)
                .collect()
        };
        let by_listener = (0..config.listeners().len())
            .map(|index| of(ListenerId(index)))
            .collect();
        Self { by_listener }
    }

    /// The first route that matches, and comes after this one, and is meant for
    /// fewer requests: perhaps the one that was meant.
    pub(super) fn closer<'c>(
        &self,
        config: &'c Config,
        listener: ListenerId,
        (host, path): (&str, &str),
        (taken, route): (usize, &Route),
    ) -> Option<(usize, &'c Route)> {
        let mut later = self.by_listener.get(listener.0)?.iter();
        later.find_map(|&index| {
            let other = config.routes().get(index).filter(|_| index > taken)?;
            let fits = host_matches(other.host.as_ref(), host) && is_within(&other.path, path);
            let is_closer = closeness(other.host.as_ref()) > closeness(route.host.as_ref())
                || other.path.len() > route.path.len();
            (fits && is_closer).then_some((index, other))
        })
    }

    /// The first route that matches, and its index.
    pub(super) fn find<'c>(
        &self,
        config: &'c Config,
        listener: ListenerId,
        host: &str,
        path: &str,
    ) -> Option<(usize, &'c Route)> {
        self.by_listener.get(listener.0)?.iter().find_map(|&index| {
            let route = config.routes().get(index)?;
            (host_matches(route.host.as_ref(), host) && is_within(&route.path, path))
                .then_some((index, route))
        })
    }
}

/// The fewer hosts, the more.
fn closeness(pattern: Option<&HostPattern>) -> u8 {
    match pattern {
        None => 0,
        Some(HostPattern::Wildcard(_)) => 1,
        Some(HostPattern::Exact(_)) => 2,
    }
}

/// `host` is in lower case, without port and final dot.
pub(super) fn host_matches(pattern: Option<&HostPattern>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(HostPattern::Exact(name)) => name == host,
        Some(HostPattern::Wildcard(suffix)) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_whole_segments_only() {
        for (prefix, path, matches) in [
            ("/", "/", true),
            ("/", "/x", true),
            ("/", "*", true),
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api/", "/api/orders", true),
            ("/api/", "/api", true),
            ("/api", "/apiary", false),
            ("/api", "/API", false),
            ("/api", "*", false),
            ("/api/v1", "/api", false),
        ] {
            assert_eq!(is_within(prefix, path), matches, "{prefix} {path}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let pattern = HostPattern::Wildcard("example.com".to_owned());
        for (host, matches) in [
            ("a.example.com", true),
            ("example.com", false),
            ("a.b.example.com", false),
            (".example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(host_matches(Some(&pattern), host), matches, "{host}");
        }
        assert!(host_matches(None, "anything"));
    }
}
