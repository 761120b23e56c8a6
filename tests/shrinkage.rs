//! Trust bundles that would become much smaller wait to be confirmed.

use rustls::AlertDescription;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::trust::lines;
use crate::support::upstream::Upstream;

/// Three authorities in one bundle, and a client of each.
struct Scene {
    proxy: Proxy,
    _upstream: Upstream,
    authorities: [Authority; 3],
    clients: Vec<Client>,
}

impl Scene {
    async fn start(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let authorities = ["First", "Second", "Third"].map(Authority::root);
        let setup = Setup::new(&pki, &upstream).file("clients.pem", &bundle(&authorities));
        let clients = authorities.iter().map(|authority| {
            let leaf = authority.leaf().client().uri(CLIENT_URI).issue();
            Client::new(&pki).presenting(&leaf)
        });
        Self {
            clients: clients.collect(),
            proxy: change(setup).start().await,
            _upstream: upstream,
            authorities,
        }
    }

    /// Asserts which of the three are let in by a new handshake.
    async fn lets_in(&self, expected: [bool; 3]) {
        for (client, expected) in self.clients.iter().zip(expected) {
            match client.get(self.proxy.public(), "/").await {
                Ok(answer) => assert!(expected && answer.status == 200, "{answer:?}"),
                Err(refusal) => {
                    assert!(!expected);
                    let alert = refusal.alert();
                    let expired = AlertDescription::CertificateExpired;
                    assert!([AlertDescription::UnknownCA, expired].contains(&alert));
                }
            }
        }
    }

    /// Waits for the line that says that it is held back.
    async fn held_back(&self) -> Value {
        let line = self.proxy.log_line("reload.held_back", |_| true).await;
        assert_eq!(line["bundle"], "clients", "{line}");
        let remedy = line["remedy"].as_str().unwrap();
        assert!(remedy.contains("POST /reload?accept_shrink=clients"));
        assert_eq!(self.proxy.generation().await, 1);
        line
    }
}

#[tokio::test]
async fn bundle_that_drops_more_than_half_is_held_back_until_it_is_confirmed() {
    let other = "trust.other.ca = ['other.pem']";
    let file = Authority::root("Other").pem();
    let scene = Scene::start(|setup| setup.file("other.pem", &file).with(other)).await;
    let proxy = &scene.proxy;
    proxy.rename_over("clients.pem", &scene.authorities[0].pem());
    let line = scene.held_back().await;
    let cause = line["cause"].as_str().unwrap();
    for words in [
        "2 of its 3 anchors",
        "67 %",
        "50 %",
        "CN=Second",
        "CN=Third",
    ] {
        assert!(cause.contains(words), "{line}");
    }
    scene.lets_in([true; 3]).await;

    let metrics = proxy.metrics().await;
    assert!(metrics.sum("reloads_total", &["result=\"held_back\""]) >= 1.0);
    assert_eq!(metrics.sum("reload_failing", &[]), 1.0);
    let now = proxy.trust().await;
    assert_eq!(now["failing"], true, "{now}");
    let held_back = &now["last_failure"]["held_back"][0];
    assert_eq!(held_back["bundle"], "clients", "{now}");
    assert_eq!(held_back["confirm"], "POST /reload?accept_shrink=clients");

    for (query, expected, outcome) in [
        ("", 409, "held_back"),
        ("?accept_shrink=other", 409, "held_back"),
        ("?accept_shrink=clients", 200, "published"),
        ("?accept_shrink=clients", 200, "unchanged"),
    ] {
        let (status, answer) = proxy.post(&format!("/reload{query}")).await;
        assert_eq!((status, &answer["outcome"]), (expected, &outcome.into()));
        let number = if expected == 409 { 1 } else { 2 };
        assert_eq!(answer["generation"], number, "{answer}");
    }
    scene.lets_in([true, false, false]).await;
    let now = proxy.trust().await;
    assert_eq!(
        (&now["failing"], &now["generation"]),
        (&false.into(), &2.into())
    );
    assert_eq!(proxy.metrics().await.sum("reload_failing", &[]), 0.0);
    // Looked at every two seconds and asked for by hand, and said once.
    assert_eq!(proxy.logged("reload.held_back").len(), 1);
}

#[tokio::test]
async fn confirmation_of_a_bundle_that_does_not_exist_is_refused_with_400() {
    let scene = Scene::start(|setup| setup).await;
    scene
        .proxy
        .rename_over("clients.pem", &scene.authorities[0].pem());
    scene.held_back().await;
    for query in ["nobody", "clients&accept_shrink=nobody", "Clients", ""] {
        let path = format!("/reload?accept_shrink={query}");
        let answer = scene.proxy.ask_admin_with("POST", &path, &[]).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
    scene.lets_in([true; 3]).await;
    assert_eq!(scene.proxy.generation().await, 1);
}

#[tokio::test]
async fn what_is_held_back_is_forgotten_when_the_files_are_put_right() {
    let scene = Scene::start(|setup| setup).await;
    scene
        .proxy
        .rename_over("clients.pem", &scene.authorities[0].pem());
    scene.held_back().await;
    scene
        .proxy
        .rename_over("clients.pem", &bundle(&scene.authorities));
    scene.proxy.log_line("reload.recovered", |_| true).await;
    let (status, answer) = scene.proxy.post("/reload").await;
    assert_eq!((status, &answer["outcome"]), (200, &"unchanged".into()));
    assert_eq!(scene.proxy.trust().await["failing"], false);
    scene.lets_in([true; 3]).await;
}

#[tokio::test]
async fn share_that_may_be_dropped_is_the_operators_to_say() {
    for (share, left, held_back) in [
        ("100%", 1, false),
        ("67%", 1, false),
        ("66%", 1, true),
        ("33%", 2, true),
        ("34%", 2, false),
        ("0%", 2, true),
    ] {
        let share = format!("trust.clients.max_shrink = '{share}'");
        let scene = Scene::start(|setup| setup.with(&share)).await;
        let file = bundle(&scene.authorities[..left]);
        scene.proxy.rename_over("clients.pem", &file);
        if held_back {
            scene.held_back().await;
            scene.lets_in([true; 3]).await;
        } else {
            scene.proxy.in_force(2).await;
            scene.lets_in([true, left == 2, false]).await;
        }
    }
}

#[tokio::test]
async fn max_shrink_in_the_config_confirms_what_is_held_back() {
    let scene = Scene::start(|setup| setup).await;
    scene
        .proxy
        .rename_over("clients.pem", &scene.authorities[0].pem());
    scene.held_back().await;
    scene.proxy.configure("trust.clients.max_shrink = '100%'");
    scene.proxy.in_force(2).await;
    scene.lets_in([true, false, false]).await;
}

#[tokio::test]
async fn empty_bundle_is_refused_and_cannot_be_confirmed() {
    for share in ["50%", "100%"] {
        let share = format!("trust.clients.max_shrink = '{share}'");
        let scene = Scene::start(|setup| setup.with(&share)).await;
        for content in ["", "# all gone\n"] {
            scene.proxy.rename_over("clients.pem", content);
            let (status, answer) = scene.proxy.post("/reload?accept_shrink=clients").await;
            assert_eq!((status, &answer["outcome"]), (422, &"failed".into()));
            assert!(
                answer["problems"][0]
                    .as_str()
                    .unwrap()
                    .contains("clients.pem")
            );
        }
        let line = scene.proxy.log_line("reload.failed", |_| true).await;
        assert!(line["cause"].as_str().unwrap().contains("trust.clients"));
        scene.lets_in([true; 3]).await;
        assert_eq!(scene.proxy.generation().await, 1);
    }
}

#[tokio::test]
async fn bundle_of_which_every_anchor_has_expired_is_held_back() {
    for (share, waits) in [("99%", true), ("100%", false)] {
        let share = format!("trust.clients.max_shrink = '{share}'");
        let scene = Scene::start(|setup| setup.with(&share)).await;
        // Of the same names, so that none is missing.
        let expired = ["First", "Second", "Third"].map(Authority::expired_root);
        scene.proxy.rename_over("clients.pem", &bundle(&expired));
        if waits {
            let line = scene.held_back().await;
            assert!(line["cause"].as_str().unwrap().contains("expired"));
            scene.lets_in([true; 3]).await;
            let (status, _) = scene.proxy.post("/reload?accept_shrink=clients").await;
            assert_eq!(status, 200);
        }
        scene.proxy.in_force(2).await;
        for client in &scene.clients {
            client.refusal(scene.proxy.public()).await;
        }
    }
}

#[tokio::test]
async fn bundle_in_which_one_anchor_is_still_valid_is_not_held_back() {
    let scene = Scene::start(|setup| setup).await;
    let [_, second, third] = ["First", "Second", "Third"].map(Authority::expired_root);
    let file = bundle(&[scene.authorities[0].clone(), second, third]);
    scene.proxy.rename_over("clients.pem", &file);
    scene.proxy.in_force(2).await;
    let first = scene.clients[0].get(scene.proxy.public(), "/").await;
    assert_eq!(first.unwrap().status, 200);
}

#[tokio::test]
async fn anchor_that_loses_its_revocation_list_is_held_back() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let other = Authority::root("Other");
    let revoked = pki.client();
    let setup = Setup::new(&pki, &upstream)
        .folder("crl")
        .file("clients.pem", &(pki.root().pem() + &other.pem()))
        .file("crl/root.crl", &pki.root().crl(&[&revoked]))
        .file("crl/other.crl", &other.crl(&[]))
        .with("trust.clients = { crl = ['crl/'], crl_missing = 'allow', max_shrink = '100%' }");
    let proxy = setup.start().await;
    std::fs::remove_file(proxy.path("crl/root.crl")).unwrap();
    let line = proxy.log_line("reload.held_back", |_| true).await;
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("Countersign Test Root"), "{line}");
    // It does not speak of lists, so it is no way out.
    assert!(!line["remedy"].as_str().unwrap().contains("max_shrink"));
    let client = Client::new(&pki).presenting(&revoked);
    let alert = client.refusal(proxy.public()).await.alert();
    assert_eq!(alert, AlertDescription::CertificateRevoked);
    let (status, _) = proxy.post("/reload?accept_shrink=clients").await;
    assert_eq!(status, 200);
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    assert_eq!(
        lines(&proxy, "generation.published", 1, |line| line["generation"]
            == 2)
        .await
        .len(),
        1
    );
}

fn bundle(authorities: &[Authority]) -> String {
    authorities.iter().map(Authority::pem).collect()
}
