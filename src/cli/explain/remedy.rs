//! What can be done about a request that is refused.

use super::account::Account;
use crate::proxy::Kind;

/// What the operator, or the caller's owner, can do about it.
pub(super) fn of(account: &Account<'_>, kind: Kind) -> String {
    let upstream = account.upstream().map_or("-", |(one, _)| one.name.as_str());
    match kind {
        Kind::AssertionMissing => format!(
            "have the caller present a certificate whose names can be told, or write identity_assertion = \"supported\" in [upstreams.{upstream}.outbound]"
        ),
        Kind::AssertionRefused => {
            "correct what the peer says of its caller, or take the peer out of accept_assertions_from".to_owned()
        }
        Kind::AssertionTooLarge => format!(
            "choose a shorter form in [upstreams.{upstream}.outbound.assertion] encode, or a certificate with fewer names"
        ),
        Kind::AuthorityNotServed => {
            "have the client ask in the handshake (SNI) for the host that it means; add a certificate for that host to the listener, if there is none".to_owned()
        }
        Kind::CertificateRequired => {
            "have the client present a certificate; the listener must ask for one (client_auth = \"want\" or \"require\")".to_owned()
        }
        Kind::CredentialMissing => format!(
            "provide a credential for this caller, or write basic_authentication = \"supported\" in [upstreams.{upstream}.outbound]"
        ),
        Kind::DeniedByRule => {
            "if the caller is meant to be served, narrow the rule of `deny` that is named, or take it out".to_owned()
        }
        Kind::Malformed => "send a request that can be read in one way only".to_owned(),
        Kind::MethodNotServed => "use another method".to_owned(),
        Kind::NoRoute => {
            "add a route for this host and path, or correct the request; `countersign check` lists the routes".to_owned()
        }
        Kind::NoRuleMatched => {
            "add an entry that matches one of the caller's names to `allow` of the route, or give the caller a certificate with another name".to_owned()
        }
        _ => "see the log of the running countersign".to_owned(),
    }
}
