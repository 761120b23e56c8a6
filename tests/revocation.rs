//! What revocation lists mean for those who are connected and those who come.

use rustls::AlertDescription;

use crate::support::everywhere::{Expected, Scene};
use crate::support::pki::{CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::trust::replace;

const REVOKED: Expected = Expected {
    alert: AlertDescription::CertificateRevoked,
    reason: "revoked",
    words: "on a revocation list of trust.clients",
    fault: "downstream/connection/withdrawn",
};

#[tokio::test]
async fn peer_that_a_new_list_names_is_refused_everywhere() {
    let pki = Pki::new();
    let none = pki.root().crl(&[]);
    let scene = Scene::start(&pki, |setup| listing(setup, &[("root.crl", &none)])).await;
    let leaves = pki.client();
    let list = pki.root().crl(&[&leaves]);
    let change = |proxy: &Proxy| replace(proxy, "crl/root.crl", &list);
    scene
        .withdraw(&pki, (&leaves, &pki.client()), change, REVOKED)
        .await;
}

#[tokio::test]
async fn peers_below_an_intermediate_that_a_new_list_names_are_refused_everywhere() {
    let pki = Pki::new();
    let [bad, good] = ["Bad", "Good"].map(|name| pki.root().intermediate(name));
    let lists = [
        ("root.crl", &*pki.root().crl(&[])),
        ("bad.crl", &bad.crl(&[])),
        ("good.crl", &good.crl(&[])),
    ];
    let scene = Scene::start(&pki, |setup| listing(setup, &lists)).await;
    let [leaves, stays] = [&bad, &good].map(|ca| ca.leaf().client().uri(CLIENT_URI).issue());
    let list = pki.root().crl_against(&bad);
    let change = |proxy: &Proxy| replace(proxy, "crl/root.crl", &list);
    scene
        .withdraw(&pki, (&leaves, &stays), change, REVOKED)
        .await;
}

/// With a folder of revocation lists, by file name.
fn listing(setup: Setup, lists: &[(&str, &str)]) -> Setup {
    std::fs::create_dir(setup.path("crl")).unwrap();
    let setup = setup.with("trust.clients.crl = ['crl/']");
    lists.iter().fold(setup, |setup, (name, list)| {
        setup.file(&format!("crl/{name}"), list)
    })
}
