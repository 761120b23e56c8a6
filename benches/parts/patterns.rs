//! Telling whether a caller is the one that a rule means.

use std::hint::black_box;

use countersign::identity::{NameKind, NamePattern, PeerPattern};
use rcgen::DnType;

use super::Part;
use super::pki::Pki;
use super::scene::Scene;

/// What a pattern is about, what it says, and whether the caller is meant.
const PATTERNS: [(NameKind, &str, bool); 14] = [
    (NameKind::Uri, "spiffe://prod.example/orders/web-17", true),
    (NameKind::Uri, "spiffe://prod.example/orders/web-18", false),
    (NameKind::Uri, "spiffe://prod.example/orders/*", true),
    (NameKind::Uri, "spiffe://prod.example/billing/*", false),
    (NameKind::Uri, "spiffe://prod.example/*", false),
    (NameKind::Uri, "spiffe://prod.example/**", true),
    (NameKind::Uri, "spiffe://**/web-**7", true),
    (NameKind::Dns, "*.orders.prod.example", true),
    (NameKind::Dns, "*.prod.example", false),
    (NameKind::Email, "*@prod.example.com", true),
    (NameKind::Subject, "O=Example,OU=*,CN=web-17", true),
    (NameKind::Subject, "O=Example,CN=web-17", false),
    (NameKind::OrganizationalUnit, "Order*", true),
    (NameKind::Issuer, "CN=Countersign *", true),
];

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    let leaf = pki.root().leaf().client().common_name("web-17");
    let leaf = leaf
        .subject(DnType::OrganizationalUnitName, "Orders")
        .subject(DnType::OrganizationName, "Example")
        .uri("spiffe://prod.example/orders/web-17")
        .dns("web-17.orders.prod.example")
        .email("web-17@prod.example.com")
        .issue();
    let peer = Scene::new(&pki).peer(&leaf);
    let mut time = |kind: NameKind, text: &str, is_meant: bool| {
        let condition = NamePattern::parse(kind, text).unwrap();
        let pattern = PeerPattern::new(vec![condition]).unwrap();
        let whether = if is_meant { "is" } else { "is not" };
        part.time(
            &format!("{whether} {kind} {text}"),
            || black_box(&pattern).matches(black_box(&peer.identity), Some(&*peer.anchor)),
            |found| found == is_meant,
        );
    };
    for (kind, text, is_meant) in PATTERNS {
        time(kind, text, is_meant);
    }
    time(NameKind::Fingerprint, &leaf.fingerprint(), true);
    time(NameKind::Anchor, &pki.root().fingerprint(), true);
}
