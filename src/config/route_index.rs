//! Which routes a request matches, without a look at each of them.
//!
//! # Rules
//!
//! * The first route in the order of the config is the one that counts. Routes
//!   that match stand in several places of the index, so all of them are looked
//!   at, and their indexes are compared.
//! * A question costs some comparisons of names for its host, and for each segment
//!   that its path shares with a route: logarithmic in the number of routes, and no
//!   more than the longest path of a route takes, whatever a client sends.
//! * It allocates nothing.
//! * What matches is said by [`is_within`](super::is_within) and
//!   [`HostPattern`]; tests hold the index to that.

use std::collections::BTreeMap;
use std::iter;

use super::model::{HostPattern, ListenerId, Route};

/// The listener, the host and the path of routes, in a form to look them up in.
#[derive(Debug, Default)]
pub struct RouteIndex {
    /// Of the routes for every listener.
    everywhere: Hosts,
    /// Of the routes for one listener alone, by its index.
    by_listener: BTreeMap<usize, Hosts>,
    paths: Paths,
}

/// The hosts of routes, and for each where its paths begin.
#[derive(Debug, Default)]
struct Hosts {
    /// Of the routes for every host.
    any: Option<usize>,
    exact: BTreeMap<Box<str>, usize>,
    /// By what stands after the one label.
    wildcard: BTreeMap<Box<str>, usize>,
}

/// The keys under which the routes for a host stand, beside those for every host.
#[derive(Clone, Copy)]
struct Keys<'h> {
    exact: Option<&'h str>,
    wildcard: Option<&'h str>,
}

/// The paths of routes as trees of segments, one for each host, all in one list:
/// a path of very many segments is no deep recursion.
#[derive(Debug, Default)]
struct Paths(Vec<Segment>);

#[derive(Debug, Default)]
struct Segment {
    /// The route whose path ends here.
    route: Option<usize>,
    below: BTreeMap<Box<str>, usize>,
}

impl RouteIndex {
    /// The index of all these routes.
    pub fn new(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            index.add(place, route);
        }
        index
    }

    /// Adds the route at this place of the config. Of two with the same listener,
    /// host and path the one that was added first is kept.
    pub(super) fn add(&mut self, place: usize, route: &Route) {
        let hosts = match route.listener {
            None => &mut self.everywhere,
            Some(listener) => self.by_listener.entry(listener.0).or_default(),
        };
        let root = hosts.root(route.host.as_ref(), &mut self.paths);
        self.paths.add(root, &route.path, place);
    }

    /// The places of all routes that match, in no order. `host` is in lower case,
    /// without port and final dot.
    pub fn matching<'a>(
        &'a self,
        listener: ListenerId,
        host: &'a str,
        path: &'a str,
    ) -> impl Iterator<Item = usize> + 'a {
        self.places(Some(listener), Keys::of_host(host), path)
    }

    /// The first route that takes every request that this one could take.
    pub fn takes_all_of(&self, route: &Route) -> Option<usize> {
        let keys = match &route.host {
            None => Keys {
                exact: None,
                wildcard: None,
            },
            Some(HostPattern::Exact(name)) => Keys::of_host(name),
            Some(HostPattern::Wildcard(suffix)) => Keys {
                exact: None,
                wildcard: Some(suffix),
            },
        };
        self.places(route.listener, keys, &route.path).min()
    }

    /// Whether a route names this host, on whatever listener.
    pub fn names(&self, host: &str) -> bool {
        let keys = Keys::of_host(host);
        let mut each = iter::once(&self.everywhere).chain(self.by_listener.values());
        each.any(|hosts| hosts.named(keys).next().is_some())
    }

    fn places<'a>(
        &'a self,
        listener: Option<ListenerId>,
        keys: Keys<'a>,
        path: &'a str,
    ) -> impl Iterator<Item = usize> + 'a {
        let only = listener.and_then(|listener| self.by_listener.get(&listener.0));
        iter::once(&self.everywhere)
            .chain(only)
            .flat_map(move |hosts| hosts.any.into_iter().chain(hosts.named(keys)))
            .flat_map(move |root| self.paths.along(root, path))
    }
}

impl Hosts {
    /// Where the paths of this host begin; now, if there were none.
    fn root(&mut self, host: Option<&HostPattern>, paths: &mut Paths) -> usize {
        match host {
            None => *self.any.get_or_insert_with(|| paths.begin()),
            Some(HostPattern::Exact(name)) => *self
                .exact
                .entry(name.as_str().into())
                .or_insert_with(|| paths.begin()),
            Some(HostPattern::Wildcard(suffix)) => *self
                .wildcard
                .entry(suffix.as_str().into())
                .or_insert_with(|| paths.begin()),
        }
    }

    /// Where the paths of the routes that name such a host begin.
    fn named(&self, keys: Keys<'_>) -> impl Iterator<Item = usize> + use<> {
        let exact = keys.exact.and_then(|name| self.exact.get(name));
        let wildcard = keys.wildcard.and_then(|suffix| self.wildcard.get(suffix));
        exact.copied().into_iter().chain(wildcard.copied())
    }
}

impl<'h> Keys<'h> {
    fn of_host(host: &'h str) -> Self {
        let labels = host.split_once('.').filter(|(first, _)| !first.is_empty());
        Self {
            exact: Some(host),
            wildcard: labels.map(|(_, suffix)| suffix),
        }
    }
}

impl Paths {
    /// Begins a tree.
    fn begin(&mut self) -> usize {
        self.0.push(Segment::default());
        self.0.len() - 1
    }

    fn add(&mut self, root: usize, path: &str, place: usize) {
        let mut at = root;
        for name in segments(path.strip_suffix('/').unwrap_or(path)) {
            let known = self.0.get(at).and_then(|segment| segment.below.get(name));
            at = match known.copied() {
                Some(next) => next,
                None => {
                    let next = self.begin();
                    if let Some(segment) = self.0.get_mut(at) {
                        segment.below.insert(name.into(), next);
                    }
                    next
                }
            };
        }
        if let Some(segment) = self.0.get_mut(at) {
            segment.route.get_or_insert(place);
        }
    }

    /// The routes of a tree whose paths a path lies within.
    fn along<'a>(&'a self, root: usize, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let mut names = segments(path);
        let below = move |segment: &&'a Segment| {
            let next = segment.below.get(names.next()?)?;
            self.0.get(*next)
        };
        iter::successors(self.0.get(root), below).filter_map(|segment| segment.route)
    }
}

/// What stands between the slashes. `*` (OPTIONS) has no segments.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let relative = path.strip_prefix('/').into_iter();
    relative.flat_map(|relative| relative.split('/'))
}
