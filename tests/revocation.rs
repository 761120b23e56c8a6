//! What revocation lists mean for those who are connected and those who come.

use rustls::AlertDescription;
use serde_json::Value;

use crate::support::client::{Client, Session, get};
use crate::support::eventually;
use crate::support::everywhere::{Expected, Scene};
use crate::support::pki::{Authority, CLIENT_URI, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::trust::{lines, withdrawn};
use crate::support::upstream::Upstream;

const REVOKED: Expected = Expected {
    alert: AlertDescription::CertificateRevoked,
    reason: "revoked",
    words: "is on the revocation list of CN=",
    fault: "downstream/connection/withdrawn",
};

#[tokio::test]
async fn peer_that_a_new_list_names_is_refused_everywhere() {
    let pki = Pki::new();
    let none = pki.root().crl(&[]);
    let scene = Scene::start(&pki, |setup| listing(setup, &[("root.crl", &none)])).await;
    let leaves = pki.client();
    let list = pki.root().crl(&[&leaves]);
    let change = |proxy: &Proxy| proxy.rename_over("crl/root.crl", &list);
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
    let change = |proxy: &Proxy| proxy.rename_over("crl/root.crl", &list);
    scene
        .withdraw(&pki, (&leaves, &stays), change, REVOKED)
        .await;
}

#[tokio::test]
async fn list_of_the_leaf_alone_does_not_ask_about_intermediates() {
    for (check, asks) in [("leaf", false), ("chain", true)] {
        let mut stage = Stage::with(&format!("crl_check = '{check}'")).await;
        stage
            .proxy
            .rename_over("crl/root.crl", &stage.pki.root().crl_against(&stage.below));
        stage
            .is_judged(2, (!asks).then_some(()).ok_or("revoked"))
            .await;
        if !asks {
            stage
                .proxy
                .rename_over("crl/below.crl", &stage.below.crl(&[&stage.leaf]));
            stage.is_judged(3, Err("revoked")).await;
        }
    }
}

#[tokio::test]
async fn missing_list_of_an_intermediate_means_what_the_bundle_says() {
    for (rule, outcome) in [
        ("reject", Err("revocation_unknown")),
        ("allow", Ok(())),
        ("log", Ok(())),
    ] {
        let mut stage = Stage::with(&format!("crl_missing = '{rule}'")).await;
        std::fs::remove_file(stage.proxy.path("crl/below.crl")).unwrap();
        // Somebody has to mean it.
        let gone = stage.proxy.log_line("reload.held_back", |_| true).await;
        assert!(gone.to_string().contains("CN=Below"), "{gone}");
        let (status, _) = stage.proxy.post("/reload?accept_shrink=clients").await;
        assert_eq!(status, 200);
        stage.is_judged(2, outcome).await;
        let said = stage.proxy.logged("crl.missing");
        assert_eq!(!said.is_empty(), rule == "log", "{rule}: {said:#?}");
        assert!(
            said.iter()
                .all(|line| line.to_string().contains("CN=Below"))
        );
        // Which says nothing of who is named by the list that is there.
        stage
            .proxy
            .rename_over("crl/root.crl", &stage.pki.root().crl_against(&stage.below));
        stage.is_judged(3, Err("revoked")).await;
    }
}

#[tokio::test]
async fn stale_list_means_what_the_bundle_says_and_whom_it_names_is_refused_in_any_case() {
    for (rule, outcome) in [
        ("reject", Err("revocation_unknown")),
        ("allow", Ok(())),
        ("log", Ok(())),
    ] {
        let mut stage = Stage::with(&format!("crl_stale = '{rule}'")).await;
        stage
            .proxy
            .rename_over("crl/below.crl", &stage.below.stale_crl(&[]));
        stage.is_judged(2, outcome).await;
        let stale = |line: &Value| line.to_string().contains("CN=Below");
        stage.proxy.log_line("crl.stale", stale).await;
        let said = stage.proxy.logged("crl.used_stale");
        assert_eq!(!said.is_empty(), rule == "log", "{rule}: {said:#?}");
        let list = stage.below.stale_crl(&[&stage.leaf]);
        stage.proxy.rename_over("crl/below.crl", &list);
        stage.is_judged(3, Err("revoked")).await;
    }
}

#[tokio::test]
async fn list_that_another_authority_of_that_name_signed_revokes_nobody() {
    let mut stage = Stage::with("crl_missing = 'allow'").await;
    // Below an anchor nobody can know whose list it is until a chain comes.
    let forged = stage.below.same_name_other_key();
    stage
        .proxy
        .rename_over("crl/below.crl", &forged.crl(&[&stage.leaf]));
    stage.is_judged(2, Ok(())).await;
    // Of an anchor it is known, and a mistake.
    let forged = stage.pki.root().same_name_other_key();
    let list = forged.crl_against(&stage.below);
    stage.proxy.rename_over("crl/root.crl", &list);
    let line = stage.proxy.log_line("reload.failed", |_| true).await;
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("root.crl is not signed by"), "{line}");
    stage.is_judged(2, Ok(())).await;
}

/// A bundle with lists of the root and of an intermediate, and open connections
/// of a client below that.
struct Stage {
    pki: Pki,
    below: Authority,
    leaf: Leaf,
    client: Client,
    proxy: Proxy,
    _upstream: Upstream,
    sessions: Vec<Session>,
}

impl Stage {
    /// With these settings of the bundle.
    async fn with(settings: &str) -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let below = pki.root().intermediate("Below");
        let lists = [
            ("root.crl", &*pki.root().crl(&[])),
            ("below.crl", &below.crl(&[])),
        ];
        let setup = listing(Setup::new(&pki, &upstream), &lists);
        let setup = setup.with(&format!("trust.clients.{settings}"));
        let proxy = setup.start().await;
        let leaf = below.leaf().client().uri(CLIENT_URI).issue();
        let client = Client::new(&pki).presenting(&leaf);
        let mut sessions = Vec::new();
        for client in client.in_every_version() {
            let mut session = Box::pin(client.connect(proxy.public())).await.unwrap();
            assert_eq!(session.send(get("/")).await.unwrap().status, 200);
            sessions.push(session);
        }
        Self {
            pki,
            below,
            leaf,
            client: client.resuming(),
            proxy,
            _upstream: upstream,
            sessions,
        }
    }

    /// What becomes of the connections that are open, of a new one and of a
    /// resumed session once a generation is in force: they go on, or are refused
    /// for this reason.
    async fn is_judged(&mut self, generation: u64, expected: Result<(), &str>) {
        self.proxy.in_force(generation).await;
        match expected {
            Ok(()) => {
                for session in &mut self.sessions {
                    assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
                }
                for _ in 0..2 {
                    let answer = self.client.get(self.proxy.public(), "/").await;
                    assert_eq!(answer.unwrap().status, 200);
                }
                assert_eq!(withdrawn(&self.proxy.metrics().await, ""), 0.0);
            }
            Err(reason) => {
                for session in &self.sessions {
                    eventually("the end of a connection", || {
                        session.is_closed().then_some(())
                    })
                    .await;
                }
                let client = self.client.clone();
                for client in client.in_every_version() {
                    client.refusal(self.proxy.public()).await.alert();
                }
                let refused = |line: &Value| line["reason"] == reason;
                lines(&self.proxy, "handshake.refused", 4, refused).await;
                let metrics = self.proxy.metrics().await;
                let label = format!("reason=\"{reason}\"");
                assert!(metrics.sum("handshakes_total", &[&label]) >= 4.0);
                assert_eq!(withdrawn(&metrics, ""), 4.0);
            }
        }
    }
}

/// With a folder of revocation lists, by file name.
fn listing(setup: Setup, lists: &[(&str, &str)]) -> Setup {
    let setup = setup.folder("crl").with("trust.clients.crl = ['crl/']");
    lists.iter().fold(setup, |setup, (name, list)| {
        setup.file(&format!("crl/{name}"), list)
    })
}
