//! What is accepted of who may come, from where and for what, and what becomes of it.

use super::super::{BundleId, ClientAuth, HostPattern, UnknownSni};
use super::{BASELINE, accepted, draft, with};
use crate::identity::Decoding;

#[test]
fn hosts_are_held_in_one_spelling() {
    for (written, held) in [
        (
            "Orders.Example.COM.",
            HostPattern::Exact("orders.example.com".to_owned()),
        ),
        (
            "*.Example.com",
            HostPattern::Wildcard("example.com".to_owned()),
        ),
        ("192.0.2.1", HostPattern::Exact("192.0.2.1".to_owned())),
        (
            "[2001:DB8:0::1]",
            HostPattern::Exact("2001:db8::1".to_owned()),
        ),
        ("2001:db8::1", HostPattern::Exact("2001:db8::1".to_owned())),
    ] {
        let text = with("[[routes]]", &format!("[[routes]]\nhost = \"{written}\""));
        assert_eq!(accepted(&text).routes()[0].host, Some(held));
    }
}

#[test]
fn accepted_assertions_are_held_with_their_peers_and_forms() {
    assert_eq!(accepted(BASELINE).listeners()[0].accepted, None);
    let text = with(
        "bind = \"0.0.0.0:8443\"",
        "bind = \"0.0.0.0:8443\"\naccept_assertions_from = [{ dns = \"edge.example\" }]\n\
         accept_assertions = [\"client-cert\", \"jwt\"]\n\
         assertion_jwt = { jwks = \"k\", issuer = \"i\", audience = \"a\" }",
    );
    let config = accepted(&text);
    let held = config.listeners()[0].accepted.as_ref().unwrap();
    assert_eq!(held.from[0].to_string(), "{ dns = \"edge.example\" }");
    assert_eq!(held.forms, [Decoding::ClientCert]);
    assert_eq!(held.jwt.as_ref().unwrap().header, "x-client-assertion");
}

#[test]
fn a_narrow_route_may_stand_before_a_wide_one() {
    let routes = r#"[[routes]]
path = "/api/v1"
upstream = "orders"
[[routes]]
path = "/apis"
upstream = "orders"
[[routes]]
path = "/api"
host = "*.example.com"
upstream = "orders"
[[routes]]
path = "/api"
upstream = "orders"
[[routes]]"#;
    assert_eq!(accepted(&with("[[routes]]", routes)).routes().len(), 5);
}

#[test]
fn a_route_takes_only_what_lies_below_its_whole_segments() {
    for (earlier, later) in [
        ("/api", "/apis"),
        ("/api/v1", "/api"),
        ("/api/v1/", "/api/"),
    ] {
        let first = format!("[[routes]]\npath = \"{earlier}\"\nupstream = \"orders\"\n");
        let second = format!("{first}[[routes]]\npath = \"{later}\"");
        assert_eq!(accepted(&with("[[routes]]", &second)).routes().len(), 2);
    }
}

#[test]
fn a_route_may_allow_where_one_of_its_listeners_asks_for_certificates() {
    let text = with(
        "[[routes]]",
        "[[routes]]\nallow = [{ dns = \"a.example\" }]",
    );
    accepted(&format!(
        "{text}[listeners.local]\nbind = \"127.0.0.1:80\"\n"
    ));
}

#[test]
fn name_with_a_policy_of_its_own_takes_from_its_listener_the_bundle_alone() {
    let names = r#"trust = "partners"
names."A.Example.com." = { client_auth = "want" }
names."*.example.com" = { client_auth = "none" }
names."xn--bcher-kva.example" = { client_auth = "require", trust = "staff" }
"#;
    let text = with("trust = \"partners\"\n", names) + "[trust.staff]\nca = [\"staff.pem\"]";
    let config = accepted(&text);
    let tls = config.listeners()[0].tls.as_ref().expect("it is there");
    assert_eq!(tls.unknown_sni, UnknownSni::Refuse);
    let names: Vec<_> = tls
        .names
        .iter()
        .map(|named| named.name.value.to_string())
        .collect();
    assert_eq!(
        names,
        ["a.example.com", "*.example.com", "xn--bcher-kva.example"]
    );
    let policies: Vec<_> = tls.policies().map(|p| (p.client_auth, p.trust)).collect();
    let (partners, staff) = (Some(BundleId(0)), Some(BundleId(1)));
    assert_eq!(
        policies,
        [
            (ClientAuth::Require, partners),
            (ClientAuth::Want, partners),
            (ClientAuth::None, None),
            (ClientAuth::Require, staff),
        ]
    );
    assert_eq!(tls.strictest_policy(), None);
}

#[test]
fn strictest_policy_is_the_one_that_demands_most_wherever_it_stands() {
    for (own, named, strictest) in [
        ("require", "want", "require"),
        ("want", "require", "require"),
        ("want", "none", "want"),
        ("require", "require", "require"),
    ] {
        let tls = format!(
            "client_auth = \"{own}\"\nunknown_sni = \"strictest\"\nnames.\"a.test\" = {{ client_auth = \"{named}\" }}"
        );
        let config = accepted(&with("client_auth = \"require\"", &tls));
        let tls = config.listeners()[0].tls.as_ref().expect("it is there");
        let found = tls.strictest_policy().map(|policy| policy.client_auth);
        let word = found.map(|found| format!("{found:?}").to_lowercase());
        assert_eq!(word.as_deref(), Some(strictest), "{own} and {named}");
        assert_eq!(tls.unknown_sni, UnknownSni::Strictest);
    }
}

#[test]
fn route_may_require_a_certificate_that_only_one_name_of_its_listener_asks_for() {
    let names = "client_auth = \"none\"\nnames.\"a.test\" = { client_auth = \"want\", trust = \"partners\" }";
    let text = with("client_auth = \"require\"\ntrust = \"partners\"", names);
    let config = accepted(&text.replace("[[routes]]", "[[routes]]\nclient_auth = \"require\""));
    assert!(config.routes()[0].requires_certificate);
}

#[test]
fn rule_for_the_anonymous_fits_where_a_refused_certificate_makes_anybody_so() {
    let rule = "[[routes]]\nallow = [{ anonymous = true }]";
    let with_rule = with("[[routes]]", rule);
    assert!(draft(&with_rule).finish(Vec::new()).is_err());
    let outcome = "client_auth = \"require\"\non_invalid = \"anonymous\"";
    accepted(&with_rule.replace("client_auth = \"require\"", outcome));
}
