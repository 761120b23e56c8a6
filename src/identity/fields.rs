//! The header fields that say who the caller is, in every spelling.
//!
//! CGI, WSGI, PHP, Java and others turn field names into variable names, and in
//! doing so make several names one: `X-SSL-Client-Cert`, `x_ssl_client_cert` and
//! `X.SSL.Client.Cert` are the same variable. So the case of letters makes no
//! difference here, and neither does which of the characters other than letters
//! and digits stands in a place (Apache httpd maps each of them to `_`).

use std::borrow::Borrow;
use std::cmp::Ordering;

use http::HeaderName;

/// The field names that are removed from what callers send.
///
/// It holds the names of the configured encodings and, always, the well-known
/// ones that other proxies use for the same purpose.
#[derive(Clone, Debug)]
pub struct IdentityFields {
    /// Folded, sorted, without duplicates.
    exact: Vec<Box<str>>,
    /// The folded first bytes of all names and prefixes, one bit each.
    first_bytes: u128,
}

impl IdentityFields {
    /// Makes the set of the well-known names and the `configured` ones.
    pub fn new<N: Borrow<HeaderName>>(configured: impl IntoIterator<Item = N>) -> Self {
        let mut exact: Vec<Box<str>> = configured
            .into_iter()
            .map(|name| fold_field_name(name.borrow().as_str()).into())
            .chain(WELL_KNOWN.iter().map(|name| fold_field_name(name).into()))
            .collect();
        exact.sort_unstable();
        exact.dedup();
        let first_bytes = exact
            .iter()
            .map(AsRef::as_ref)
            .chain(WELL_KNOWN_PREFIXES)
            .filter_map(|name| name.bytes().next())
            .fold(0, |bits, first| bits | bit(first));
        Self { exact, first_bytes }
    }

    /// Tells whether a field of this name must not come from a caller.
    ///
    /// Allocates nothing. Most names are settled by their first byte.
    pub fn contains(&self, name: &str) -> bool {
        let Some(first) = name.bytes().next() else {
            return false;
        };
        if self.first_bytes & bit(fold(first)) == 0 {
            return false;
        }
        self.exact
            .binary_search_by(|known| compare(known, name))
            .is_ok()
            || WELL_KNOWN_PREFIXES
                .iter()
                .any(|prefix| has_prefix(name, prefix))
    }
}

/// Returns the one spelling of all names that a legacy server takes for the
/// same: lower case, with `-` for every character that is no letter or digit.
pub fn fold_field_name(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

/// Whether some servers take a field of this name for another one: it holds
/// something else than letters, digits and `-`.
pub fn is_folded_with_others(name: &str) -> bool {
    !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether `name` is, to such a server, the name whose one spelling is `folded`.
pub fn folds_to(name: &str, folded: &str) -> bool {
    name.len() == folded.len() && compare(folded, name) == Ordering::Equal
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

fn bit(byte: u8) -> u128 {
    1 << (byte & 0x7f)
}

fn compare(folded: &str, name: &str) -> Ordering {
    folded.bytes().cmp(name.bytes().map(fold))
}

fn has_prefix(name: &str, folded: &str) -> bool {
    let mut bytes = name.bytes().map(fold);
    folded
        .bytes()
        .all(|expected| bytes.next() == Some(expected))
}

/// Names under which proxies state the caller's identity, or pass on what only
/// they can know of it.
const WELL_KNOWN: [&str; 47] = [
    // RFC 9440
    "client-cert",
    "client-cert-chain",
    // nginx, HAProxy and Apache httpd, in common configurations
    "cert-chain",
    "x-client-cn",
    "x-client-dn",
    "x-client-fingerprint",
    "x-client-i-dn",
    "x-client-issuer",
    "x-client-issuer-dn",
    "x-client-s-dn",
    "x-client-san",
    "x-client-serial",
    "x-client-subject",
    "x-client-subject-dn",
    "x-ssl",
    // WebSEAL
    "iv-creds",
    "iv-groups",
    "iv-remote-address",
    "iv-remote-address-ipv6",
    "iv-server-name",
    "iv-user",
    "iv-user-l",
    // SiteMinder
    "sm-universalid",
    "sm-user",
    "sm-userdn",
    // Oracle Access Manager
    "oam-remote-user",
    // oauth2-proxy, Kong, Kubernetes' authenticating proxies, Authelia
    "remote-email",
    "remote-group",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-authenticated-groups",
    "x-authenticated-scope",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-credential-identifier",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-user",
    "x-userinfo",
    // linkerd, Azure
    "l5d-client-id",
    "x-arr-clientcert",
];

/// Beginnings of such names, folded. Many are those of fronts that authenticate
/// users: of Cloudflare, Google, Amazon, Azure, Kong, authentik, Pomerium, ….
const WELL_KNOWN_PREFIXES: [&str; 25] = [
    // WebSphere's plug-in (`$WSCC`, `$WSRU`, `$WSIS`, …)
    "-ws",
    "cf-access-",
    "cf-client-cert-",
    "ssl-client-",
    "tailscale-user-",
    "wl-proxy-client-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authentik-",
    "x-client-cert",
    "x-client-verify",
    "x-consumer-",
    // Envoy's own, and what is derived from it
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-goog-authenticated-user-",
    "x-goog-iap-jwt-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-remote-extra-",
    "x-ssl-",
    "x-tls-client-",
    "x-vouch-",
    // Grafana's: the user, but also the role and the groups
    "x-webauth-",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    fn fields() -> IdentityFields {
        IdentityFields::new([&HeaderName::from_static("x-caller")])
    }

    #[test]
    fn every_spelling_of_a_configured_name_is_contained() {
        for name in ["x-caller", "X-Caller", "x_caller", "X.CALLER", "x~caller"] {
            assert!(fields().contains(name), "{name}");
        }
        for name in [
            "",
            "x",
            "x-calle",
            "x-callers",
            "xcaller",
            "y-caller",
            "x--caller",
        ] {
            assert!(!fields().contains(name), "{name}");
        }
    }

    #[test]
    fn names_that_are_folded_with_others_hold_more_than_letters_digits_and_hyphens() {
        for name in ["x_user", "X.User", "x-user~", "$wscc", "a!b"] {
            assert!(is_folded_with_others(name), "{name}");
        }
        for name in ["x-user", "X-User-2", "te", ""] {
            assert!(!is_folded_with_others(name), "{name}");
        }
        for name in ["content-length", "Content_Length", "CONTENT.LENGTH"] {
            assert!(folds_to(name, "content-length"), "{name}");
        }
        for name in ["content-lengths", "content-lengt", "contentxlength"] {
            assert!(!folds_to(name, "content-length"), "{name}");
        }
    }

    #[test]
    fn well_known_names_are_contained_without_configuration() {
        let none = IdentityFields::new(std::iter::empty::<HeaderName>());
        let names = [
            "Client-Cert",
            "Client-Cert-Chain",
            "X-Forwarded-Client-Cert",
            "X-Forwarded-Tls-Client-Cert-Info",
            "X-SSL-Client-S-DN",
            "X-SSL-CERT",
            "X-SSL",
            "SSL_CLIENT_CERT",
            "ssl-client-subject-dn",
            "X-Client-Cert",
            "X-Client-Verify",
            "X-Client-DN",
            "iv_user",
            "IV-CREDS",
            "Remote-User",
            "X_Remote_User",
            "X-Forwarded-User",
            "X-Auth-Request-Email",
            "$WSCC",
            "WL-Proxy-Client-Cert",
            "Remote-Groups",
            "X-WebAuth-User",
            "X_WEBAUTH_ROLE",
            "X-Authentik-Groups",
            "X-Consumer-Username",
            "Cf-Access-Jwt-Assertion",
        ];

        for name in names {
            assert!(none.contains(name), "{name}");
        }
        assert!(!none.contains("x-caller"));
    }

    #[test]
    fn ordinary_fields_are_left_alone() {
        let names = [
            "accept",
            "authorization",
            "client-certificate-hint",
            "content-length",
            "cookie",
            "host",
            "if-none-match",
            "te",
            "trailer",
            "cf-ray",
            "user-agent",
            "via",
            "x-amzn-trace-id",
            "x-client-version",
            "x-csrf-token",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
            "x-sslx",
        ];

        for name in names {
            assert!(!fields().contains(name), "{name}");
        }
    }

    #[test]
    fn prefixes_are_folded_and_unlike_each_other() {
        for prefix in WELL_KNOWN_PREFIXES {
            assert_eq!(fold_field_name(prefix), prefix);
            assert!(
                WELL_KNOWN.iter().all(|name| !has_prefix(name, prefix)),
                "{prefix}"
            );
        }
    }

    fn respelling(name: &'static str) -> impl Strategy<Value = String> {
        let length = name.len();
        proptest::collection::vec(proptest::sample::select(vec!['-', '_', '.']), length)
            .prop_flat_map(move |separators| {
                proptest::collection::vec(proptest::bool::ANY, length).prop_map(move |upper| {
                    let respell = |(index, character): (usize, char)| match character {
                        '-' => separators[index],
                        letter if upper[index] => letter.to_ascii_uppercase(),
                        letter => letter,
                    };
                    name.chars().enumerate().map(respell).collect()
                })
            })
    }

    proptest! {
        #[test]
        fn any_respelling_of_a_known_name_is_contained(
            name in proptest::sample::select(WELL_KNOWN.to_vec()).prop_flat_map(respelling),
        ) {
            prop_assert!(fields().contains(&name));
        }

        #[test]
        fn any_name_under_a_known_prefix_is_contained(
            prefix in proptest::sample::select(WELL_KNOWN_PREFIXES.to_vec()).prop_flat_map(respelling),
            rest in "[a-zA-Z0-9._-]{0,10}",
        ) {
            let name = prefix + &rest;
            prop_assert!(fields().contains(&name));
        }

        #[test]
        fn folding_is_idempotent_and_decides_alike(name: String) {
            let folded = fold_field_name(&name);

            prop_assert_eq!(fold_field_name(&folded), folded.clone());
            prop_assert_eq!(fields().contains(&folded), fields().contains(&name));
        }
    }
}
