//! Which route a request takes.

use crate::config::{Config, HostPattern, ListenerId, Route, RouteIndex};

/// The routes of a generation.
#[derive(Debug)]
pub(super) struct Routes {
    index: RouteIndex,
}

impl Routes {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            index: RouteIndex::new(config.routes()),
        }
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
        let later = self.index.matching(listener, host, path);
        let later = later.filter(|index| *index > taken);
        later
            .filter_map(|index| Some((index, config.routes().get(index)?)))
            .filter(|(_, other)| {
                closeness(other.host.as_ref()) > closeness(route.host.as_ref())
                    || other.path.len() > route.path.len()
            })
            .min_by_key(|(index, _)| *index)
    }

    /// The first route that matches, and its index.
    pub(super) fn find<'c>(
        &self,
        config: &'c Config,
        listener: ListenerId,
        host: &str,
        path: &str,
    ) -> Option<(usize, &'c Route)> {
        let index = self.index.matching(listener, host, path).min()?;
        Some((index, config.routes().get(index)?))
    }

    /// Whether a route names this host, on whatever listener.
    pub(super) fn names(&self, host: &str) -> bool {
        self.index.names(host)
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

#[cfg(test)]
mod tests;
