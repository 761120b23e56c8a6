//! Decides what a caller may do, and names the rule that said so.
//!
//! # Rules
//!
//! * A route with `allow` is for callers that an entry of it matches, and for
//!   nobody else; so an anonymous caller is refused there even if the route does
//!   not say that it requires a certificate.
//! * An `allow` without entries permits nobody.
//! * A [`Permit`] is good for one request: it is made here only, and cannot be
//!   copied.

use crate::config::Route;
use crate::identity::PeerIdentity;

/// The right to send one request to the upstream of a route, as often as it
/// takes.
#[derive(Clone, Debug)]
#[must_use = "a request goes up only with its permit"]
pub struct Permit {
    rule: Option<usize>,
}

/// Why a caller may not use a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denial {
    /// The route is for callers with a certificate, and this one is anonymous.
    #[error("route `{route}` requires a client certificate, and the caller presented none")]
    CertificateRequired {
        /// The route's name.
        route: String,
    },

    /// The caller is known, and no entry of `allow` matches.
    #[error("none of the {rules} `allow` entries of route `{route}` matches the caller `{peer}`{}", spoken_for(speaker.as_deref()))]
    NoRuleMatched {
        /// The route's name.
        route: String,
        /// How many entries there are.
        rules: usize,
        /// The caller's [`PeerIdentity::primary`] label.
        peer: String,
        /// That of the peer who speaks for it, where one does.
        speaker: Option<String>,
    },
}

fn spoken_for(speaker: Option<&str>) -> String {
    speaker.map_or_else(String::new, |by| format!(", for whom `{by}` speaks"))
}

impl Permit {
    /// The index, from 0, of the `allow` entry that matched; `None` where the
    /// route has no `allow`.
    pub fn rule(&self) -> Option<usize> {
        self.rule
    }
}

/// Decides whether `peer` may use `route`; `None` is an anonymous caller.
/// `speaker`: who says that it is this caller, where it does not come by itself.
///
/// The first entry of `allow` that matches is named. Permitting allocates nothing.
///
/// # Errors
///
/// A [`Denial`] that names the route and what was missing.
pub fn decide(
    route: &Route,
    peer: Option<&PeerIdentity>,
    speaker: Option<&PeerIdentity>,
) -> Result<Permit, Denial> {
    match (peer, &route.allow) {
        (None, None) if !route.requires_certificate => Ok(Permit { rule: None }),
        (None, _) => Err(Denial::CertificateRequired {
            route: route.name.clone(),
        }),
        (Some(_), None) => Ok(Permit { rule: None }),
        (Some(peer), Some(allow)) => {
            match allow.iter().position(|entry| entry.matches(peer, speaker)) {
                Some(rule) => Ok(Permit { rule: Some(rule) }),
                None => Err(Denial::NoRuleMatched {
                    route: route.name.clone(),
                    rules: allow.len(),
                    peer: peer.primary().to_owned(),
                    speaker: peer.speaker().map(ToOwned::to_owned),
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Allowed, Located, Place, UpstreamId};
    use crate::identity::testing::test_identity;
    use crate::identity::{NameKind, NamePattern, PeerPattern};

    const WEB: &str = "spiffe://prod.example/web";

    /// A route for everybody; each test changes one thing.
    fn open_route() -> Route {
        Route {
            name: "orders".to_owned(),
            place: Place::default(),
            listener: None,
            host: None,
            path: "/".to_owned(),
            requires_certificate: false,
            allow: None,
            upstream: UpstreamId(0),
        }
    }

    fn pattern(uri: &str) -> PeerPattern {
        PeerPattern::new(vec![NamePattern::parse(NameKind::Uri, uri).unwrap()]).unwrap()
    }

    fn route_for(uris: &[&str]) -> Route {
        let entry = |uri: &&str| Allowed {
            caller: pattern(uri),
            via: None,
        };
        Route {
            allow: Some(uris.iter().map(entry).collect()),
            ..open_route()
        }
    }

    fn rule(route: &Route, peer: Option<&str>) -> Result<Option<usize>, Denial> {
        let identity = peer.map(test_identity);
        decide(route, identity.as_ref(), None).map(|permit| permit.rule())
    }

    #[test]
    fn anonymous_caller_may_use_an_open_route_and_no_other() {
        let required = Denial::CertificateRequired {
            route: "orders".to_owned(),
        };
        let closed = Route {
            requires_certificate: true,
            ..open_route()
        };

        assert_eq!(rule(&open_route(), None), Ok(None));
        assert_eq!(rule(&closed, None), Err(required.clone()));
        assert_eq!(
            rule(&route_for(&["spiffe://prod.example/*"]), None),
            Err(required)
        );
    }

    #[test]
    fn caller_with_a_certificate_may_use_a_route_without_allow() {
        let closed = Route {
            requires_certificate: true,
            ..open_route()
        };

        assert_eq!(rule(&open_route(), Some(WEB)), Ok(None));
        assert_eq!(rule(&closed, Some(WEB)), Ok(None));
    }

    #[test]
    fn the_first_entry_that_matches_is_named_and_a_stranger_is_denied() {
        let route = route_for(&["spiffe://test.example/*", "spiffe://prod.example/*", WEB]);

        assert_eq!(rule(&route, Some(WEB)), Ok(Some(1)));
        assert_eq!(rule(&route, Some("spiffe://test.example/web")), Ok(Some(0)));
        assert_eq!(
            rule(&route, Some("spiffe://evil.example/web")),
            Err(Denial::NoRuleMatched {
                route: "orders".to_owned(),
                rules: 3,
                peer: "spiffe://evil.example/web".to_owned(),
                speaker: None,
            })
        );
    }

    #[test]
    fn an_entry_with_a_speaker_matches_callers_for_whom_it_speaks_and_no_others() {
        let mut route = route_for(&["spiffe://prod.example/*"]);
        let via = Located {
            value: pattern("spiffe://edge.example/*"),
            place: Place::default(),
        };
        route.allow.as_mut().unwrap()[0].via = Some(via);
        let edge = test_identity("spiffe://edge.example/proxy");
        let other = test_identity("spiffe://other.example/proxy");
        let web = test_identity(WEB);

        assert!(decide(&route, Some(&web), Some(&edge)).is_ok());
        assert!(decide(&route, Some(&web), Some(&other)).is_err());
        assert!(decide(&route, Some(&web), None).is_err());
        assert!(decide(&route, Some(&edge), Some(&edge)).is_err());
        assert_eq!(
            route.allow.unwrap()[0].to_string(),
            "{ uri = \"spiffe://prod.example/*\", via = { uri = \"spiffe://edge.example/*\" } }"
        );
    }

    #[test]
    fn an_empty_allow_permits_nobody() {
        assert!(rule(&route_for(&[WEB]), Some(WEB)).is_ok());
        assert!(rule(&route_for(&[]), Some(WEB)).is_err());
        assert!(rule(&route_for(&[]), None).is_err());
    }

    #[test]
    fn denials_name_the_route_and_what_was_missing() {
        let text = |route: &Route, peer| rule(route, peer).unwrap_err().to_string();
        let route = route_for(&["spiffe://test.example/*"]);

        assert_eq!(
            text(&route, None),
            "route `orders` requires a client certificate, and the caller presented none"
        );
        assert_eq!(
            text(&route, Some(WEB)),
            "none of the 1 `allow` entries of route `orders` matches the caller `spiffe://prod.example/web`"
        );
    }
}
