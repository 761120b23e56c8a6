//! Authorities that could speak for each other's callers.

use std::collections::HashSet;

use crate::config::{
    BundleId, Callers, Config, Listener, ListenerId, ListenerTls, Located, Problem, Route, Rule,
};
use crate::identity::{NameKind, PeerPattern};

/// The listeners whose names have several bundles, where whoever stands in one
/// of them could let its callers pass for those of another: rules go by names,
/// and whose authority vouches for a name is not a part of it.
pub(super) fn confusable(config: &Config) -> Vec<Problem> {
    let listeners = config.listeners().iter().enumerate();
    let found = listeners.filter_map(|(index, listener)| {
        let named = first_with_another_bundle(config, listener.tls.as_ref()?)?;
        let what = believed_everywhere(config, (ListenerId(index), listener))?;
        let problem = Problem::at(
            named.place,
            format!(
                "listeners.{}.tls.names: its names have several bundles, and {what} goes by names that any of their authorities could put into a certificate",
                listener.name
            ),
        );
        Some(
            problem
                .causes("who may call as one name's client could call as another's")
                .remedy("write may_assert in each of these bundles, `anchor` beside the name, or `host` in the route"),
        )
    });
    found.collect()
}

/// The first name with another bundle than the listener or another name, if one
/// of these bundles may vouch for everybody.
fn first_with_another_bundle<'c>(
    config: &Config,
    tls: &'c ListenerTls,
) -> Option<&'c Located<crate::config::HostPattern>> {
    let used: HashSet<BundleId> = tls.policies().filter_map(|policy| policy.trust).collect();
    let may_all = |id: &BundleId| {
        let bundle = config.bundle(*id);
        bundle
            .is_some_and(|known| known.may_assert.is_none() && known.spiffe_trust_domain.is_none())
    };
    if used.len() < 2 || !used.iter().any(may_all) {
        return None;
    }
    let own = tls.own_policy().trust;
    let mut names = tls.names.iter();
    let other = names.find(|named| named.policy.trust.is_some() && named.policy.trust != own);
    other.map(|named| &named.name)
}

/// What believes a name whichever of the bundles its caller came by.
fn believed_everywhere(config: &Config, (id, listener): (ListenerId, &Listener)) -> Option<String> {
    let speakers = listener.accepted.iter().flat_map(|accepted| &accepted.from);
    if speakers.into_iter().any(is_loose) {
        return Some("accept_assertions_from".to_owned());
    }
    let is_here =
        |route: &&Route| route.host.is_none() && route.listener.is_none_or(|only| only == id);
    let mut routes = config.routes().iter().filter(is_here);
    let route = routes.find(|route| route.allow.iter().flatten().any(permits_by_name))?;
    Some(format!("the route {} (no `host`)", route.name))
}

/// Whether a way in which the rule permits asks for a name, and for nothing that
/// only one authority can give.
fn permits_by_name(rule: &Rule) -> bool {
    rule.ways().any(|way| {
        let parts = way.into_iter().flatten();
        let patterns = parts.filter_map(|part| match &part.callers {
            Callers::Matching(pattern) => Some(pattern),
            Callers::Anonymous | Callers::Unsaid => None,
        });
        let mut patterns = patterns.peekable();
        patterns.peek().is_some() && patterns.all(is_loose)
    })
}

fn is_loose(pattern: &PeerPattern) -> bool {
    let mut conditions = pattern.conditions().iter();
    !conditions.any(|condition| {
        let bound = [NameKind::Anchor, NameKind::Fingerprint, NameKind::Spki];
        bound.contains(&condition.kind())
    })
}
