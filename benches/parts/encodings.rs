//! Writing who is calling, in every form that a service may know.

use std::hint::black_box;

use countersign::identity::{
    CertificateNames, Encoding, HeaderTemplates, Identity, Tellers, XfccKeys,
};
use rcgen::DnType;

use super::Part;
use super::pki::{Leaf, Pki};

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let identity = caller();
    let proxy = Pki::new().root().leaf().uri("spiffe://prod.example/proxy");
    let own = identity_of(&proxy.issue());
    let tellers = Tellers {
        own: Some(&own),
        speaker: None,
    };
    for (encoding, case, field, value) in forms() {
        part.time(
            case,
            || {
                let mut fields = Vec::new();
                let written = encoding.encode(black_box(&identity), tellers, &mut fields);
                written.map(|()| fields).unwrap()
            },
            |fields| {
                let found = fields.iter().find(|(name, _)| name == field);
                found.is_some_and(|(_, text)| text.to_str().unwrap().contains(value))
            },
        );
    }
}

/// An encoding, what it is called, one of its fields, and a part of its value.
fn forms() -> Vec<(Encoding, &'static str, &'static str, &'static str)> {
    let xfcc = "x-forwarded-client-cert";
    let whole = XfccKeys {
        by: true,
        cert: true,
        chain: true,
    };
    let templates = [("X-Client", "{uri}"), ("X-Client-Unit", "{ou} of {o}")];
    let templates = templates.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let templates = HeaderTemplates::parse(&templates).unwrap();
    vec![
        (
            Encoding::Xfcc(XfccKeys::default()),
            "xfcc",
            xfcc,
            "URI=spiffe://prod.example/caller",
        ),
        (
            Encoding::Xfcc(whole),
            "xfcc with Cert and Chain",
            xfcc,
            ";Chain=\"-----BEGIN",
        ),
        (Encoding::ClientCert, "client-cert", "client-cert", ":MII"),
        (Encoding::Nginx, "nginx", "x-ssl-client-s-dn", "OU=Orders"),
        (
            Encoding::IngressNginx,
            "ingress-nginx",
            "ssl-client-subject-dn",
            "OU=Orders",
        ),
        (Encoding::Apache, "apache", "ssl_client_s_dn", "OU=Orders"),
        (
            Encoding::Traefik,
            "traefik",
            "x-forwarded-tls-client-cert-info",
            "caller",
        ),
        (Encoding::Webseal, "webseal", "iv-user", "caller"),
        (
            Encoding::Headers(templates),
            "headers",
            "x-client-unit",
            "Orders of Example",
        ),
    ]
}

/// A common certificate, below an intermediate.
fn caller() -> Identity {
    let below = Pki::new().root().intermediate("Issuing");
    let leaf = below.leaf().client().common_name("caller");
    let leaf = leaf
        .subject(DnType::OrganizationalUnitName, "Orders")
        .subject(DnType::OrganizationName, "Example")
        .uri("spiffe://prod.example/caller")
        .dns("caller.prod.example")
        .issue();
    identity_of(&leaf)
}

fn identity_of(leaf: &Leaf) -> Identity {
    let chain = leaf.chain();
    Identity::of_certificate(CertificateNames::read(&chain[0]).unwrap(), chain.into())
}
