//! What the admin address tells of trust: what is in force, who came with what,
//! what was refused, and who would be.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::client::{Client, Session, get};
use crate::support::eventually;
use crate::support::pki::{Authority, Leaf, Pki};
use crate::support::proxy::{Metrics, Proxy, Setup};
use crate::support::upstream::Upstream;

const DAY: i64 = 24 * 60 * 60;
/// Between what a test takes for now and what the program does, in seconds.
const ABOUT: i64 = 60;

#[tokio::test]
async fn trust_tells_what_is_in_force_and_since_when() {
    let scene = Scene::new().await;
    let trust = scene.proxy.trust().await;
    assert_eq!(trust["generation"], 1);
    for moment in ["published", "last_success"] {
        assert_is_moment(&trust[moment]);
    }
    assert!(trust["seconds_since_last_success"].as_i64().unwrap() < ABOUT);
    assert_eq!(trust["failing"], false);
    assert_eq!(trust["last_failure"], Value::Null);
    let nobody = json!({ "connected": 0, "seen_in_24_hours": 0 });
    assert_eq!(trust["peers"], nobody);
    let metrics = scene.proxy.metrics().await;
    let mut lines = metrics.0.lines();
    assert!(lines.any(|line| line == "countersign_generation 1"));
    let published = metrics.sum("countersign_generation_timestamp_seconds", &[]);
    assert!((published as i64 - unix_now()).abs() < ABOUT, "{published}");
}

#[tokio::test]
async fn trust_tells_of_each_anchor_what_it_is_and_when_it_ends() {
    let scene = Scene::new().await;
    let metrics = scene.proxy.metrics().await;
    let bundle = scene.bundle().await;
    assert_eq!(bundle["name"], "clients");
    assert_eq!(bundle["warnings"], json!([]));
    let anchors = bundle["anchors"].as_array().unwrap();
    assert_eq!(anchors.len(), 2);
    for (index, (authority, subject)) in [(&scene.old, "CN=Old Root"), (&scene.new, "CN=New Root")]
        .iter()
        .enumerate()
    {
        let anchor = &anchors[index];
        assert_eq!(anchor["subject"], *subject);
        assert_eq!(anchor["fingerprint"], authority.fingerprint());
        assert_eq!(anchor["handshakes"], 0);
        assert_eq!(anchor["last_handshake"], Value::Null);
        for moment in ["not_before", "not_after"] {
            assert_is_moment(&anchor[moment]);
        }
        let index = format!("index=\"{index}\"");
        let labels = ["kind=\"anchor\"", "name=\"clients\"", &index];
        ends_at(
            &anchor["seconds_left"],
            &metrics,
            "certificate_expiry",
            &labels,
        );
    }
}

#[tokio::test]
async fn trust_tells_of_lists_and_own_certificates_when_they_end() {
    let scene = Scene::new().await;
    let metrics = scene.proxy.metrics().await;
    let bundle = scene.bundle().await;
    let list = only(&bundle["revocation_lists"]);
    assert_eq!(list["issuer"], "CN=Old Root");
    assert_eq!(
        (&list["number"], &list["entries"]),
        (&"1".into(), &1.into())
    );
    assert!(
        list["file"].as_str().unwrap().ends_with("/old.crl"),
        "{list}"
    );
    for moment in ["this_update", "next_update"] {
        assert_is_moment(&list[moment]);
    }
    assert_about(&list["seconds_left"], DAY);
    let labels = ["bundle=\"clients\""];
    ends_at(&list["seconds_left"], &metrics, "crl_next_update", &labels);

    let trust = scene.proxy.trust().await;
    let own = only(&trust["own_certificates"]);
    assert!(own["of"].as_str().unwrap().contains("public"), "{own}");
    assert!(own["names"].to_string().contains("proxy.test"), "{own}");
    assert_is_moment(&own["not_after"]);
    assert_about(&own["seconds_left"], 30 * DAY);
    ends_at(
        &own["seconds_left"],
        &metrics,
        "certificate_expiry",
        &["kind=\"own\""],
    );
}

#[tokio::test]
async fn use_of_each_anchor_is_counted_with_full_and_resumed_handshakes_and_over_generations() {
    let scene = Scene::new().await;
    scene.counts("at first", [0, 0]).await;
    let old = scene.client(&scene.of_old).resuming();
    let mut count = 0;
    for client in old.in_every_version() {
        for resumed in [false, true, true] {
            let mut session = client.connect(scene.proxy.public()).await.unwrap();
            assert_eq!(status(&mut session).await, 200);
            assert_eq!(session.tls().resumed, resumed);
            count += 1;
            scene.counts("the old one is in use", [count, 0]).await;
        }
    }
    // One who was refused has not used any.
    let stranger = Authority::root("Old Root").leaf().client().issue();
    scene
        .client(&stranger)
        .refusal(scene.proxy.public())
        .await
        .alert();
    // The same anchor in another file is the same anchor.
    let both = |proxy: &Proxy| {
        proxy.rename_over(
            "clients.pem",
            &format!("{}{}", scene.new.pem(), scene.old.pem()),
        )
    };
    scene.proxy.after(both).await;
    scene.counts("another order of anchors", [count, 0]).await;
    // Whoever has a new certificate comes by the other one.
    let new = scene.client(&scene.of_new);
    for came in 1..=2 {
        new.get(scene.proxy.public(), "/").await.unwrap();
        scene.counts("the new one is in use", [count, came]).await;
    }
    let trust = scene.proxy.trust().await;
    for anchor in trust["bundles"][0]["anchors"].as_array().unwrap() {
        assert_is_moment(&anchor["last_handshake"]);
    }
    scene
        .proxy
        .after(|proxy| proxy.rename_over("clients.pem", &scene.new.pem()))
        .await;
    let trust = scene.proxy.trust().await;
    let anchors = trust["bundles"][0]["anchors"].as_array().unwrap();
    assert_eq!((anchors.len(), &anchors[0]["handshakes"]), (1, &2.into()));
}

#[tokio::test]
async fn peers_tell_who_is_connected_and_who_was() {
    let scene = Scene::new().await;
    let (here, gone) = (scene.client(&scene.of_old), scene.client(&scene.of_new));
    let mut open = Vec::new();
    for client in here.in_both_protocols() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        assert_eq!(status(&mut session).await, 200);
        open.push(session);
    }
    here.get(scene.proxy.public(), "/").await.unwrap();
    gone.get(scene.proxy.public(), "/").await.unwrap();
    let peers = scene
        .peers_where("one is here and one is gone", |connections| {
            *connections == [0, 2]
        })
        .await;
    for (peer, leaf, name, subject, handshakes) in [
        (&peers[0], &scene.of_new, NEW, "CN=new", 1),
        (&peers[1], &scene.of_old, OLD, "CN=old", 3),
    ] {
        assert_eq!(peer["peer"], name);
        assert_eq!(peer["subject"], subject);
        assert_eq!(peer["bundle"], "clients");
        assert_eq!(peer["handshakes"], handshakes);
        assert_about(&peer["last_seen_unix"], unix_now());
        let chain: Vec<_> = leaf.chain().iter().map(|der| BASE64.encode(der)).collect();
        assert_eq!(peer["chain"], json!(chain));
    }
    let trust = scene.proxy.trust().await;
    assert_eq!(
        trust["peers"],
        json!({ "connected": 1, "seen_in_24_hours": 2 })
    );
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.sum("countersign_peers_known", &[]), 2.0);
}

#[tokio::test]
async fn failure_is_told_with_its_cause_and_age_beside_the_last_success() {
    let scene = Scene::new().await;
    let before = scene.proxy.trust().await;
    scene
        .proxy
        .rename_over("clients.pem", "-----BEGIN NONSENSE-----");
    scene.proxy.log_line("reload.failed", |_| true).await;
    let (status, outcome) = scene.proxy.reload().await;
    assert_eq!(
        (status, &outcome["outcome"]),
        (422, &"failed".into()),
        "{outcome}"
    );
    let trust = scene.proxy.trust().await;
    assert_eq!(
        (&trust["failing"], &trust["generation"]),
        (&true.into(), &1.into())
    );
    assert_eq!(trust["published"], before["published"]);
    assert_eq!(trust["last_success"], before["last_success"]);
    // But for the seconds that are left of everything.
    let anchors = |trust: &Value| trust["bundles"][0]["anchors"].as_array().unwrap().len();
    assert_eq!(anchors(&trust), anchors(&before));
    let failure = &trust["last_failure"];
    assert!(
        failure["problems"].to_string().contains("clients.pem"),
        "{failure}"
    );
    for moment in ["since", "last"] {
        assert_is_moment(&failure[moment]);
    }
    assert!(failure["seconds_ago"].as_i64().unwrap() < ABOUT);
    assert!(failure["attempts"].as_i64().unwrap() >= 2, "{failure}");
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.sum("countersign_reload_failing", &[]), 1.0);
    assert!(metrics.sum("countersign_reloads_total", &["failure"]) >= 2.0);
    let failed_at = metrics.sum("reload_last_failure_timestamp", &[]);
    assert!((failed_at as i64 - unix_now()).abs() < ABOUT, "{failed_at}");
    assert_eq!(scene.proxy.logged("reload.failed").len(), 1);

    let good = format!("{}{}", scene.new.pem(), scene.old.pem());
    scene
        .proxy
        .after(|proxy| proxy.rename_over("clients.pem", &good))
        .await;
    let trust = scene.proxy.trust().await;
    assert_eq!(
        (&trust["failing"], &trust["generation"]),
        (&false.into(), &2.into())
    );
    assert_eq!(trust["last_failure"]["since"], failure["since"]);
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.sum("countersign_reload_failing", &[]), 0.0);
    assert!(metrics.sum("reload_last_success_timestamp", &[]) >= failed_at);
}

#[tokio::test]
async fn what_is_held_back_is_told_with_the_request_that_confirms_it() {
    let scene = Scene::new().await;
    scene
        .proxy
        .after(|proxy| proxy.configure("trust.clients.max_shrink = '10%'"))
        .await;
    scene.proxy.configure("trust.clients.ca = ['new.pem']");
    let line = scene.proxy.log_line("reload.held_back", |_| true).await;
    assert_eq!(line["bundle"], "clients", "{line}");
    let trust = scene.proxy.trust().await;
    let [held_back] = &trust["last_failure"]["held_back"].as_array().unwrap()[..] else {
        panic!("{trust:#}");
    };
    assert_eq!(held_back["bundle"], "clients");
    assert!(
        held_back["loss"].as_str().unwrap().contains("Old Root"),
        "{held_back}"
    );
    let confirmation = held_back["confirm"].as_str().unwrap();
    assert_eq!(confirmation, "POST /reload?accept_shrink=clients");
    let metrics = scene.proxy.metrics().await;
    assert!(metrics.sum("countersign_reloads_total", &["held_back"]) >= 1.0);
    let (status, outcome) = scene.proxy.reload().await;
    assert_eq!((status, &outcome["outcome"]), (409, &"held_back".into()));
    assert_eq!(scene.bundle().await["anchors"].as_array().unwrap().len(), 2);
    let path = confirmation.strip_prefix("POST ").unwrap();
    let answer = scene.proxy.ask_admin_with("POST", path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        only(&scene.bundle().await["anchors"])["subject"],
        "CN=New Root"
    );
    assert_eq!(scene.proxy.trust().await["failing"], false);
}

#[tokio::test]
async fn preview_names_exactly_those_who_would_be_refused() {
    let (scene, _open) = Scene::with_three_peers().await;
    let (code, answer) = scene.proxy.preview().await;
    let nobody = json!({ "judged": 3, "refused": [] });
    assert_eq!((code, answer), (200, nobody));
    scene.write_what_waits().await;
    let (code, answer) = scene.proxy.preview().await;
    assert_eq!((code, &answer["judged"]), (200, &3.into()), "{answer}");
    let refused = sorted(answer["refused"].as_array().unwrap());
    assert_eq!(refused.len(), 2, "{answer}");
    for (peer, (name, reason, connections, words)) in refused.iter().zip([
        (NEW, "untrusted", 0, "trust.clients"),
        (REVOKED, "revoked", 1, "revocation list"),
    ]) {
        assert_eq!(
            (&peer["peer"], &peer["reason"]),
            (&name.into(), &reason.into())
        );
        assert_eq!(peer["connections"], connections, "{peer}");
        assert!(peer["cause"].as_str().unwrap().contains(words), "{peer}");
        assert_eq!(peer["bundle"], "clients");
        assert_eq!(peer["handshakes"], 1);
        assert!(peer.get("chain").is_none(), "{peer}");
    }
}

#[tokio::test]
async fn preview_puts_nothing_in_force_and_comes_true_when_the_files_are() {
    let (scene, mut open) = Scene::with_three_peers().await;
    let public = scene.proxy.public();
    let refused = [&scene.of_new, &scene.revoked];
    scene.write_what_waits().await;
    assert_eq!(scene.proxy.preview().await.0, 200);
    for session in &mut open {
        assert_eq!(status(session).await, 200);
    }
    for leaf in refused {
        let answer = scene.client(leaf).get(public, "/").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(scene.proxy.trust().await["generation"], 1);

    scene
        .proxy
        .after(|proxy| proxy.configure("server.workers = 2"))
        .await;
    let [of_old, of_revoked] = &mut open;
    eventually("the end of the revoked one", || {
        of_revoked.is_closed().then_some(())
    })
    .await;
    assert_eq!(status(of_old).await, 200);
    for leaf in refused {
        scene.client(leaf).refusal(public).await.alert();
    }
    let (_, answer) = scene.proxy.preview().await;
    assert_eq!(answer["refused"].as_array().unwrap().len(), 2, "{answer}");
}

#[tokio::test]
async fn preview_of_files_that_cannot_be_loaded_tells_their_problems() {
    let scene = Scene::new().await;
    scene.proxy.rename_over("old.crl", "nonsense");
    let (status, answer) = scene.proxy.preview().await;
    assert_eq!(status, 422, "{answer}");
    assert!(
        answer["problems"].to_string().contains("old.crl"),
        "{answer}"
    );
    assert_eq!(scene.proxy.trust().await["generation"], 1);
}

#[tokio::test]
async fn post_for_a_web_page_or_with_more_than_is_taken_does_nothing() {
    let scene = Scene::new().await;
    let before = scene.reloads().await;
    let content = ("Content-Length", "2\r\nX: y\r\n\r\n{}");
    for path in ["/reload", "/trust/preview"] {
        for (field, status) in [
            (("Origin", "https://page.example"), 403),
            (("Origin", "null"), 403),
            (("Sec-Fetch-Site", "cross-site"), 403),
            (("Sec-Fetch-Site", "same-origin"), 403),
            (content, 400),
        ] {
            let answer = scene.proxy.ask_admin_with("POST", path, &[field]).await;
            assert_eq!(answer.status, status, "{path} {field:?}");
            assert!(answer.body.contains("nothing was done"), "{}", answer.body);
        }
        for query in ["?accept=clients", "?accept_shrink=", "?accept_shrink=%FF"] {
            let path = format!("{path}{query}");
            let answer = scene.proxy.ask_admin_with("POST", &path, &[]).await;
            assert_eq!(answer.status, 400, "{path}");
        }
    }
    let unknown = "/reload?accept_shrink=others";
    let answer = scene.proxy.ask_admin_with("POST", unknown, &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("others"), "{}", answer.body);
    assert_eq!(scene.reloads().await, before);
}

#[tokio::test]
async fn what_does_something_takes_post_alone_and_what_tells_something_takes_none() {
    let scene = Scene::new().await;
    let before = scene.reloads().await;
    for path in ["/reload", "/trust/preview"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let answer = scene.proxy.ask_admin_with(method, path, &[]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.values("allow"), ["POST"]);
        }
    }
    for path in ["/trust", "/trust/peers"] {
        let answer = scene.proxy.ask_admin_with("POST", path, &[]).await;
        assert_eq!(answer.status, 405, "{path}");
    }
    assert_eq!(scene.reloads().await, before);
    // As when somebody's browser is told to by its owner.
    let by_hand = [("Sec-Fetch-Site", "none")];
    for path in ["/reload", "/reload?accept_shrink=clients", "/trust/preview"] {
        let answer = scene.proxy.ask_admin_with("POST", path, &by_hand).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.values("content-type"), ["application/json"]);
    }
    assert_eq!(scene.reloads().await, before + 2.0);
}

const OLD: &str = "spiffe://prod.example/old";
const NEW: &str = "spiffe://prod.example/new";
const REVOKED: &str = "spiffe://prod.example/revoked";

/// A rotation under way: a bundle of an old and a new authority, and a peer of each.
struct Scene {
    pki: Pki,
    old: Authority,
    new: Authority,
    of_old: Leaf,
    of_new: Leaf,
    /// Of the old one, and on no list at first.
    revoked: Leaf,
    proxy: Proxy,
    _upstream: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let (old, new) = (Authority::root("Old Root"), Authority::root("New Root"));
        let leaf = |authority: &Authority, name: &str| {
            let leaf = authority.leaf().client().common_name(name);
            leaf.uri(&format!("spiffe://prod.example/{name}")).issue()
        };
        let stranger = leaf(&old, "stranger");
        let setup = Setup::new(&pki, &upstream)
            .file("clients.pem", &format!("{}{}", old.pem(), new.pem()))
            .file("old.pem", &old.pem())
            .file("new.pem", &new.pem())
            .file("old.crl", &old.crl(&[&stranger]))
            .with(
                "[trust.clients]
                crl = ['old.crl']
                crl_missing = 'allow'",
            );
        Self {
            of_old: leaf(&old, "old"),
            of_new: leaf(&new, "new"),
            revoked: leaf(&old, "revoked"),
            proxy: setup.start().await,
            pki,
            old,
            new,
            _upstream: upstream,
        }
    }

    /// With two peers that are connected, the second of which is to be revoked,
    /// and the one of the new authority, who has left.
    async fn with_three_peers() -> (Self, [Session; 2]) {
        let scene = Self::new().await;
        let public = scene.proxy.public();
        let mut open = Vec::new();
        for leaf in [&scene.of_old, &scene.revoked] {
            let mut session = scene.client(leaf).connect(public).await.unwrap();
            assert_eq!(status(&mut session).await, 200);
            open.push(session);
        }
        scene.client(&scene.of_new).get(public, "/").await.unwrap();
        let left = "the third has left";
        scene
            .peers_where(left, |connections| *connections == [0, 1, 1])
            .await;
        let Ok(open) = open.try_into() else {
            unreachable!("there are two")
        };
        (scene, open)
    }

    /// Writes files that do without the new authority and revoke somebody, with
    /// something in them that cannot change: none of it is put in force.
    async fn write_what_waits(&self) {
        self.proxy.configure("server.workers = 3");
        self.proxy.log_line("reload.failed", |_| true).await;
        self.proxy.configure("trust.clients.ca = ['old.pem']");
        self.proxy
            .rename_over("old.crl", &self.old.crl(&[&self.revoked]));
    }

    async fn bundle(&self) -> Value {
        only(&self.proxy.trust().await["bundles"]).clone()
    }

    /// How often it was tried to put files in force.
    async fn reloads(&self) -> f64 {
        self.proxy
            .metrics()
            .await
            .sum("countersign_reloads_total", &[])
    }

    fn client(&self, leaf: &Leaf) -> Client {
        Client::new(&self.pki).presenting(leaf)
    }

    /// Handshakes so far by the old anchor and by the new one, as both are told.
    async fn counts(&self, when: &str, expected: [u64; 2]) {
        let trust = self.proxy.trust().await;
        let metrics = self.proxy.metrics().await;
        for (authority, expected) in [&self.old, &self.new].into_iter().zip(expected) {
            let fingerprint = authority.fingerprint();
            let mut anchors = trust["bundles"][0]["anchors"].as_array().unwrap().iter();
            let anchor = anchors
                .find(|anchor| anchor["fingerprint"] == fingerprint)
                .unwrap();
            assert_eq!(anchor["handshakes"], expected, "{when}: {anchor}");
            let label = format!("fingerprint=\"{fingerprint}\"");
            let counted = metrics.sum("countersign_anchor_handshakes_total", &[&label]);
            assert_eq!(counted as u64, expected, "{when}");
            let last = metrics.sum("anchor_last_handshake", &[&label]);
            assert_eq!(
                (last as i64 - unix_now()).abs() < ABOUT,
                expected > 0,
                "{when}: {last}"
            );
        }
    }

    /// Waits until the connections of the peers, in the order of their names, fit.
    async fn peers_where(&self, what: &str, fits: impl Fn(&[u64]) -> bool) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
        loop {
            let peers = sorted(&self.proxy.peers().await);
            let connections: Vec<_> = peers
                .iter()
                .map(|peer| peer["connections"].as_u64().unwrap())
                .collect();
            if fits(&connections) {
                return peers;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {peers:#?}");
        }
    }
}

async fn status(session: &mut Session) -> u16 {
    session.send(get("/")).await.unwrap().status.as_u16()
}

fn only(list: &Value) -> &Value {
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:#?}");
    &list[0]
}

/// By name.
fn sorted(peers: &[Value]) -> Vec<Value> {
    let mut peers = peers.to_vec();
    peers.sort_by_key(|peer| peer["peer"].as_str().unwrap().to_owned());
    peers
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// RFC 3339, in UTC.
fn assert_is_moment(value: &Value) {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no moment"));
    let form: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let plain = form.replace(".000", "");
    assert_eq!(plain, "0000-00-00T00:00:00Z", "{text}");
}

fn assert_about(value: &Value, expected: i64) {
    let value = value.as_i64().unwrap();
    assert!(
        (value - expected).abs() < ABOUT,
        "{value}, not about {expected}"
    );
}

/// The metric says the same moment as the seconds that are left.
fn ends_at(seconds_left: &Value, metrics: &Metrics, name: &str, labels: &[&str]) {
    let at = metrics.sum(name, labels);
    assert_about(seconds_left, at as i64 - unix_now());
}
