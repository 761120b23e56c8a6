//! What is withdrawn is refused everywhere: in new handshakes, for resumed
//! sessions and on connections that are open already.

use std::time::Duration;

use rustls::AlertDescription;

use crate::support::everywhere::{Expected, Scene};
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::trust::replace;

const REMOVED: Expected = Expected {
    alert: AlertDescription::UnknownCA,
    reason: "untrusted",
    words: "leads to no authority of trust.clients",
    fault: "downstream/connection/withdrawn",
};

#[tokio::test]
async fn peers_of_a_removed_authority_are_refused_everywhere_and_the_others_go_on() {
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let scene = Scene::start(&pki, |setup| with_partners(setup, &partners)).await;
    let change = |proxy: &Proxy| std::fs::remove_file(proxy.path("ca/partners.pem")).unwrap();
    let leaves = client_of(&partners);
    scene
        .withdraw(&pki, (&leaves, &pki.client()), change, REMOVED)
        .await;
}

#[tokio::test]
async fn peers_of_an_authority_that_was_rekeyed_under_its_name_are_refused_everywhere() {
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let scene = Scene::start(&pki, |setup| with_partners(setup, &partners)).await;
    let rekeyed = partners.same_name_other_key();
    let change = |proxy: &Proxy| replace(proxy, "ca/partners.pem", &rekeyed.pem());
    let expected = Expected {
        alert: AlertDescription::DecryptError,
        reason: "bad_signature",
        words: "not signed with that authority's key",
        ..REMOVED
    };
    let leaves = client_of(&partners);
    scene
        .withdraw(&pki, (&leaves, &pki.client()), change, expected)
        .await;
}

#[tokio::test]
async fn peer_whose_certificate_expires_is_refused_everywhere() {
    let pki = Pki::new();
    let scene = Scene::start(&pki, |setup| setup).await;
    let leaf = pki.root().leaf().client().uri(CLIENT_URI);
    let leaves = leaf.expiring_in(Duration::from_secs(5)).issue();
    let expected = Expected {
        alert: AlertDescription::CertificateExpired,
        reason: "expired",
        words: "expired",
        fault: "downstream/connection/certificate_expired",
    };
    scene
        .withdraw(&pki, (&leaves, &pki.client()), |_| {}, expected)
        .await;
}

/// Trusts the folder `ca/`, which holds the root of the baseline and another one.
fn with_partners(setup: Setup, partners: &Authority) -> Setup {
    let folder = setup.path("ca");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(setup.path("clients.pem"), folder.join("clients.pem")).unwrap();
    setup
        .file("ca/partners.pem", &partners.pem())
        .with("trust.clients.ca = ['ca/']")
}

/// A client's certificate from another authority than the baseline's.
fn client_of(authority: &Authority) -> Leaf {
    authority.leaf().client().uri(CLIENT_URI).issue()
}
