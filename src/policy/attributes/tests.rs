use std::net::IpAddr;

use super::*;
use crate::config::{EvaluationError, Expression};
use crate::identity::testing::{TestLeaf, test_identity};
use crate::identity::{AnchorName, Fingerprint};

fn holds(text: &str, facts: &Facts<'_>) -> Result<bool, EvaluationError> {
    let expression = Expression::compile(text);
    let expression = expression.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    expression.holds(facts)
}

/// A caller with every name that a certificate has.
fn leaf() -> PeerIdentity {
    TestLeaf::new()
        .attribute(&[0x55, 4, 11], "Engineering, East")
        .attribute(&[0x55, 4, 11], "x,OU=Admin")
        .attribute(&[0x55, 4, 10], "Müller + Söhne")
        .subject("batch")
        .uri("spiffe://prod.example/batch")
        .dns("batch.example.com")
        .email("night@example.com")
        .identity()
}

fn facts(caller: &PeerIdentity) -> Facts<'_> {
    Facts {
        caller: Some(caller),
        method: "GET",
        path: "/api/orders",
        host: "orders.example.com",
        source: Some(IpAddr::from([10, 1, 2, 3])),
        listener: "public",
        ..Facts::default()
    }
}

#[test]
fn an_expression_sees_what_the_certificate_says() {
    let leaf = leaf();
    let certificate = leaf.names().certificate().unwrap();
    let facts = facts(&leaf);
    for text in [
        "caller.authenticated && !speaker.present".to_owned(),
        "caller.name == 'spiffe://prod.example/batch'".to_owned(),
        "caller.cn == ['batch'] && caller.o == ['Müller + Söhne']".to_owned(),
        "caller.uri == ['spiffe://prod.example/batch']".to_owned(),
        "caller.dns == ['batch.example.com'] && caller.email == ['night@example.com']".to_owned(),
        "caller.issuer == 'CN=Test CA' && caller.subject.contains('CN=batch')".to_owned(),
        "request.listener == 'public' && request.host == 'orders.example.com'".to_owned(),
        "request.source == '10.1.2.3'".to_owned(),
        format!("caller.fingerprint == '{}'", certificate.fingerprint()),
        format!("caller.spki == '{}'", certificate.spki()),
        format!("caller.not_after == {}", certificate.not_after()),
    ] {
        assert_eq!(holds(&text, &facts), Ok(true), "{text}");
    }
}

#[test]
fn a_value_that_looks_like_two_attributes_is_one() {
    let leaf = leaf();
    let facts = facts(&leaf);
    let units = "caller.ou == ['x,OU=Admin', 'Engineering, East']";
    assert_eq!(holds(units, &facts), Ok(true));
    for text in [
        "'Admin' in caller.ou",
        "'East' in caller.ou",
        "'Engineering' in caller.ou",
        "'batch' in caller.ou",
    ] {
        assert_eq!(holds(text, &facts), Ok(false), "{text}");
    }
}

#[test]
fn the_anchor_is_that_of_whoever_opened_the_connection() {
    let (web, edge) = (
        test_identity("spiffe://prod.example/web"),
        test_identity("spiffe://edge.example/proxy"),
    );
    let anchor = AnchorName {
        subject: "CN=Root".to_owned(),
        fingerprint: Fingerprint::of(b"root"),
    };
    let alone = Facts {
        anchor: Some(&anchor),
        ..facts(&web)
    };
    let spoken_for = Facts {
        speaker: Some(&edge),
        ..alone
    };
    let (callers, speakers) = ("caller.anchor == 'CN=Root'", "speaker.anchor == 'CN=Root'");

    assert_eq!(holds(callers, &alone), Ok(true));
    assert!(holds(speakers, &alone).is_err());
    assert!(holds(callers, &spoken_for).is_err());
    assert_eq!(holds(speakers, &spoken_for), Ok(true));
    let name = "speaker.present && speaker.name == 'spiffe://edge.example/proxy'";
    assert_eq!(holds(name, &spoken_for), Ok(true));
}

#[test]
fn nothing_is_known_of_an_anonymous_caller() {
    let nobody = Facts {
        host: "",
        source: None,
        ..Facts::default()
    };
    for text in [
        "caller.authenticated",
        "has(caller.name)",
        "has(caller.issuer)",
        "has(caller.anchor)",
        "has(caller.not_after)",
        "has(request.host)",
        "has(request.source)",
        "caller.uri.size() > 0 || caller.ou.size() > 0",
    ] {
        assert_eq!(holds(text, &nobody), Ok(false), "{text}");
    }
    assert!(holds("caller.name == ''", &nobody).is_err());
}
