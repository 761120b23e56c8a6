//! What is withdrawn is refused everywhere: in new handshakes, for resumed
//! sessions and on connections that are open already.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use http::Response;
use hyper::body::Incoming;
use rustls::AlertDescription;
use rustls::version::TLS13;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::client::{Client, Session, get};
use crate::support::everywhere::{Expected, GRACE, Scene, tunnel};
use crate::support::frames::Frames;
use crate::support::pki::{Authority, CLIENT_URI, Leaf, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::trust::{HeldWire, lines, open_are, withdrawn};
use crate::support::{eventually, within};

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
    let change = |proxy: &Proxy| proxy.rename_over("ca/partners.pem", &rekeyed.pem());
    let expected = Expected {
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
    let leaves = leaf.expiring_in(Duration::from_secs(8)).issue();
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

#[tokio::test]
async fn bundle_that_cuts_drops_what_is_under_way_at_once() {
    let manner = "trust.clients = { on_withdrawal = 'cut', withdrawal_grace = '1h' }";
    let stage = Stage::with(|setup| setup.with(manner)).await;
    let proxy = &stage.scene.proxy;
    let [mut leaving, mut staying] = stage.busy().await;
    let mut tunnel = stage.tunnel(&stage.leaves).await;
    stage.remove_partners().await;
    for (session, pending) in &mut leaving {
        assert!(within("the end of a request", pending).await.is_err());
        closes(session).await;
    }
    assert_eq!(tunnel.read_to_end().await, "");
    let metrics = proxy.metrics().await;
    assert_eq!(withdrawn(&metrics, "untrusted"), 5.0);
    let cut = |line: &Value| line["fault"] == "proxy/response_head/cut";
    eventually("the lines of the requests", || {
        (proxy_lines(proxy, cut).len() == 4).then_some(())
    })
    .await;
    for line in proxy_lines(proxy, cut) {
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains(REMOVED.words), "{line}");
    }
    open_are(proxy, "public", 4).await;
    stage.scene.answer();
    for (session, pending) in &mut staying {
        assert_eq!(within("an answer", pending).await.unwrap().status(), 200);
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn bundle_that_keeps_leaves_open_connections_alone_and_refuses_new_ones() {
    let stage = Stage::with(|setup| setup.with("trust.clients.on_withdrawal = 'keep'")).await;
    let proxy = &stage.scene.proxy;
    let mut sessions = stage.idle(&stage.leaves).await;
    let mut tunnel = stage.tunnel(&stage.leaves).await;
    let returning = stage.leaves.clone().resuming();
    assert_eq!(
        returning.get(proxy.public(), "/").await.unwrap().status,
        200
    );
    stage.remove_partners().await;
    for session in &mut sessions {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    tunnel.write("echo").await;
    assert_eq!(tunnel.read_exactly(4).await, "echo");
    for client in [&stage.leaves, &returning] {
        let alert = client.refusal(proxy.public()).await.alert();
        assert_eq!(alert, AlertDescription::UnknownCA);
    }
    assert_eq!(withdrawn(&proxy.metrics().await, ""), 0.0);
    assert!(proxy.logged("connection.withdrawn").is_empty());
    // Whom it has kept, another word ends.
    proxy.configure("trust.clients.on_withdrawal = 'drain'");
    proxy.in_force(3).await;
    for session in &sessions {
        closes(session).await;
    }
    assert_eq!(tunnel.read_to_end().await, "");
    assert_eq!(withdrawn(&proxy.metrics().await, "untrusted"), 5.0);
}

#[tokio::test]
async fn request_that_outlasts_the_grace_is_cut_and_its_line_says_why() {
    let stage = Stage::start().await;
    let proxy = &stage.scene.proxy;
    let [mut leaving, mut staying] = stage.busy().await;
    let begun = Instant::now();
    stage.remove_partners().await;
    for (_, pending) in &mut leaving {
        assert!(within("the end of a request", pending).await.is_err());
        assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
    }
    let cut = |line: &Value| line["fault"] == "proxy/response_head/cut";
    eventually("the lines of the requests", || {
        (proxy_lines(proxy, cut).len() == 4).then_some(())
    })
    .await;
    stage.scene.answer();
    for (_, pending) in &mut staying {
        assert_eq!(within("an answer", pending).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn anonymous_connections_end_when_the_listener_demands_a_certificate() {
    let want = "listeners.public.tls.client_auth = 'want'";
    let stage = Stage::with(|setup| setup.with(want)).await;
    let (proxy, anonymous) = (&stage.scene.proxy, Client::new(&stage.pki));
    let nobody = stage.idle(&anonymous).await;
    let mut known = stage.idle(&stage.stays).await;
    let returning = anonymous.clone().resuming();
    assert_eq!(
        returning.get(proxy.public(), "/").await.unwrap().status,
        200
    );
    proxy.configure("listeners.public.tls.client_auth = 'require'");
    proxy.in_force(2).await;
    for session in &nobody {
        closes(session).await;
    }
    for session in &mut known {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    for client in [&anonymous, &returning] {
        let alert = client.refusal(proxy.public()).await.alert();
        assert_eq!(alert, AlertDescription::CertificateRequired);
    }
    assert_eq!(withdrawn(&proxy.metrics().await, "no_certificate"), 4.0);
    let any = |_: &Value| true;
    for line in lines(proxy, "connection.withdrawn", 4, any).await {
        assert_eq!(line["reason"], "no_certificate", "{line}");
        assert_eq!(line["peer"], Value::Null, "{line}");
    }
}

#[tokio::test]
async fn anonymous_connections_stay_when_the_listener_goes_on_asking() {
    let want = "listeners.public.tls.client_auth = 'want'";
    let stage = Stage::with(|setup| setup.with(want)).await;
    let anonymous = Client::new(&stage.pki);
    let mut sessions = stage.idle(&anonymous).await;
    stage.remove_partners().await;
    for session in &mut sessions {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn listener_that_is_given_another_bundle_keeps_only_whom_that_one_trusts() {
    let stage = Stage::with(|setup| {
        let root = std::fs::read_to_string(setup.path("ca/clients.pem")).unwrap();
        let few = setup.file("few.pem", &root);
        few.with("trust.few = { ca = ['few.pem'], withdrawal_grace = '1s' }")
    })
    .await;
    let proxy = &stage.scene.proxy;
    let leaving = stage.idle(&stage.leaves).await;
    let mut staying = stage.idle(&stage.stays).await;
    let mut tunnel = stage.tunnel(&stage.leaves).await;
    proxy.configure("listeners.public.tls.trust = 'few'");
    proxy.in_force(2).await;
    for session in &leaving {
        closes(session).await;
    }
    assert_eq!(tunnel.read_to_end().await, "");
    for session in &mut staying {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    let any = |_: &Value| true;
    for line in lines(proxy, "connection.withdrawn", 5, any).await {
        assert_eq!(line["bundle"], "few", "{line}");
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains("no authority of trust.few"), "{line}");
    }
    stage.leaves.refusal(proxy.public()).await.alert();
}

/// Its connections are asked to go elsewhere; their peers are judged all the same.
#[tokio::test]
async fn peers_of_a_removed_listener_are_judged_by_what_has_become_of_its_bundle() {
    for gone in [true, false] {
        let stage = Stage::with(|setup| {
            let tls = "tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'require', trust = 'partner' }";
            setup
                .with("trust.partner = { ca = ['ca/'], on_withdrawal = 'cut' }")
                .with(&format!(
                    "listeners.partner = {{ bind = '127.0.0.1:0', {tls} }}"
                ))
        })
        .await;
        let proxy = &stage.scene.proxy;
        let mut sessions = Vec::new();
        for client in stage.leaves.clone().in_both_protocols() {
            let mut session = client.connect(proxy.listener("partner")).await.unwrap();
            assert_eq!(session.send(get("/")).await.unwrap().status, 200);
            sessions.push(session);
        }
        proxy.edit_config(|config| {
            for (table, name) in [("listeners", "partner"), ("trust", "partner")] {
                if gone || table == "listeners" {
                    config[table].as_table_mut().unwrap().remove(name);
                }
            }
        });
        proxy.in_force(2).await;
        for session in &sessions {
            closes(session).await;
        }
        let any = |_: &Value| true;
        if gone {
            for line in lines(proxy, "connection.withdrawn", 2, any).await {
                assert_eq!(line["bundle"], "partner", "{line}");
                assert!(
                    line["cause"].as_str().unwrap().contains("trust.partner"),
                    "{line}"
                );
            }
        } else {
            assert!(proxy.logged("connection.withdrawn").is_empty());
        }
    }
}

#[tokio::test]
async fn every_listener_with_the_bundle_obeys_and_one_with_another_bundle_does_not_notice() {
    let stage = Stage::with(|setup| {
        let partners = std::fs::read_to_string(setup.path("ca/partners.pem")).unwrap();
        let setup = setup.file("others.pem", &partners);
        let setup = setup.with("trust.others.ca = ['others.pem']");
        [("second", "clients"), ("third", "others")]
            .into_iter()
            .fold(setup, |setup, (name, trust)| {
                setup.with(&listener(name, trust))
            })
    })
    .await;
    let proxy = &stage.scene.proxy;
    let mut sessions = Vec::new();
    for name in ["public", "second", "third"] {
        sessions.push(stage.idle_on(&stage.leaves, name).await);
    }
    stage.remove_partners().await;
    for session in sessions[..2].iter().flatten() {
        closes(session).await;
    }
    for session in &mut sessions[2] {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    let metrics = proxy.metrics().await;
    for (name, count) in [("public", 4.0), ("second", 4.0), ("third", 0.0)] {
        let label = format!("listener=\"{name}\"");
        let sum = metrics.sum("connections_withdrawn_total", &[&label]);
        assert_eq!(sum, count, "{name}");
        let visit = stage.leaves.get(proxy.listener(name), "/").await;
        assert_eq!(visit.is_ok(), name == "third", "{name}: {visit:?}");
    }
}

#[tokio::test]
async fn change_that_concerns_nobody_leaves_every_connection_alone() {
    let stage = Stage::with(|setup| setup.with("trust.clients.max_shrink = '100%'")).await;
    let (proxy, pki) = (&stage.scene.proxy, &stage.pki);
    let mut sessions = stage.idle(&stage.leaves).await;
    sessions.extend(stage.idle(&stage.stays).await);
    let mut tunnel = stage.tunnel(&stage.leaves).await;
    let open = proxy
        .metrics()
        .await
        .sum("connections_total", &["listener"]);
    let elsewhere = Authority::root("Elsewhere");
    let server = elsewhere.leaf().server().dns(PROXY_NAME).issue();
    let nobody = client_of(&stage.partners);
    let lists = pki.root().crl(&[]) + &stage.partners.crl(&[&nobody]);
    std::fs::write(proxy.path("clients.crl"), lists).unwrap();
    let changes: [&dyn Fn(); 5] = [
        // A list that names somebody else, where there was none.
        &|| proxy.configure("trust.clients.crl = ['clients.crl']"),
        // An authority more.
        &|| proxy.rename_over("ca/elsewhere.pem", &elsewhere.pem()),
        // The proxy's own certificate, of another authority.
        &|| {
            let pair = [
                ("proxy.pem", server.chain_pem()),
                ("proxy.key", server.key_pem()),
            ];
            for (name, content) in pair {
                proxy.rename_over(name, &content);
            }
        },
        // An authority less, on which nobody rests.
        &|| std::fs::remove_file(proxy.path("ca/elsewhere.pem")).unwrap(),
        &|| proxy.configure("listeners.public.tls.session_lifetime = '1h'"),
    ];
    for (generation, change) in (2..).zip(changes) {
        change();
        proxy.in_force(generation).await;
        for session in &mut sessions {
            assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
        }
        tunnel.write("echo").await;
        assert_eq!(tunnel.read_exactly(4).await, "echo");
    }
    let metrics = proxy.metrics().await;
    assert_eq!(withdrawn(&metrics, ""), 0.0);
    assert_eq!(metrics.sum("connections_total", &["listener"]), open);
    assert!(proxy.logged("connection.fault").is_empty());
    // It was in force: who comes now is shown the new certificate.
    let client = Client::trusting(&elsewhere).presenting(&stage.pki.client());
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    let unknown = stage.stays.get(proxy.public(), "/").await;
    assert!(unknown.is_err(), "{unknown:?}");
}

#[tokio::test]
async fn authority_that_is_given_back_lets_new_handshakes_in_and_no_withdrawn_connection() {
    let stage = Stage::start().await;
    let proxy = &stage.scene.proxy;
    let raw = stage.leaves.clone().h2().raw(proxy.public()).await;
    let mut frames = Frames::begin(raw, 1 << 16).await;
    frames.get(1, "/held/back").await;
    eventually("the request in flight", || {
        (stage.scene.arrived("/held/back") == 1).then_some(())
    })
    .await;
    stage.remove_partners().await;
    let alert = stage.leaves.refusal(proxy.public()).await.alert();
    assert_eq!(alert, AlertDescription::UnknownCA);
    proxy.rename_over("ca/partners.pem", &stage.partners.pem());
    proxy.in_force(3).await;
    for client in stage.leaves.in_every_version() {
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
    }
    frames.get(3, "/late").await;
    let granted = loop {
        let frame = frames.next().await.expect("an answer");
        if frame.stream == 3 {
            break frame.is_granted();
        }
    };
    assert_eq!(granted, Some(false));
    let line = proxy.access_line("/late").await;
    assert_eq!(line["fault"], "downstream/policy/withdrawn", "{line}");
    assert_eq!(stage.scene.arrived("/late"), 0);
}

#[tokio::test]
async fn many_connections_are_withdrawn_in_time_and_one_after_the_other() {
    const MANY: usize = 300;
    let stage = Stage::with(|setup| setup.with("server.workers = 1")).await;
    let proxy = &stage.scene.proxy;
    let client = stage.leaves.clone().version(&TLS13);
    let mut ends = JoinSet::new();
    for _ in 0..MANY {
        let mut raw = client.raw(proxy.public()).await;
        ends.spawn(async move {
            assert_eq!(raw.read_to_end().await, "");
            Instant::now()
        });
    }
    let mut staying = stage.idle(&stage.stays).await;
    let begun = Instant::now();
    stage.remove_partners().await;
    let mut ends = within("the end of them all", ends.join_all()).await;
    ends.sort();
    assert_eq!(ends.len(), MANY);
    assert!(ends[MANY - 1] - begun < Duration::from_secs(10));
    // A millisecond apart; of the first, a busy machine hears late.
    let spread = ends[MANY - 1] - ends[0];
    assert!(spread > Duration::from_millis(150), "{spread:?}");
    let any = |_: &Value| true;
    lines(proxy, "connection.withdrawn", MANY, any).await;
    let metrics = proxy.metrics().await;
    assert_eq!(withdrawn(&metrics, "untrusted"), 300.0);
    open_are(proxy, "public", 4).await;
    for session in &mut staying {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn peer_whose_handshake_is_half_done_when_it_is_withdrawn_does_not_slip_through() {
    let stage = Stage::start().await;
    let proxy = &stage.scene.proxy;
    let mut visits = Vec::new();
    for (client, path) in [(&stage.leaves, "/slips"), (&stage.stays, "/stays")] {
        for client in client.in_every_version() {
            let wire = HeldWire::to(proxy.public(), false).await;
            let address = wire.address();
            let visit = async move { client.get(address, path).await };
            let visit = tokio::spawn(Box::pin(visit));
            wire.is_half_way().await;
            visits.push((wire, visit, path));
        }
    }
    stage.remove_partners().await;
    for (wire, visit, path) in visits {
        wire.release();
        match visit.await.unwrap() {
            Ok(answer) if path == "/stays" => assert_eq!(answer.status, 200),
            Ok(answer) => assert_eq!(answer.status, 403, "{answer:?}"),
            Err(refusal) => assert_eq!(path, "/slips", "{refusal:?}"),
        }
    }
    assert_eq!(stage.scene.arrived("/slips"), 0);
    assert_eq!(stage.scene.arrived("/stays"), 4);
    // It was too late for an alert, not for the rest.
    assert_eq!(withdrawn(&proxy.metrics().await, "untrusted"), 4.0);
    open_are(proxy, "public", 0).await;
}

#[tokio::test]
async fn client_that_was_connected_before_a_change_is_judged_by_it_when_it_speaks() {
    let stage = Stage::start().await;
    let (proxy, added) = (&stage.scene.proxy, Authority::root("Added"));
    let added_client = Client::new(&stage.pki).presenting(&client_of(&added));
    let mut visits = Vec::new();
    for (client, comes_in) in [(&stage.leaves, false), (&added_client, true)] {
        for client in client.in_every_version() {
            let wire = HeldWire::to(proxy.public(), true).await;
            let address = wire.address();
            let visit = tokio::spawn(Box::pin(async move { client.get(address, "/").await }));
            visits.push((wire, visit, comes_in));
        }
    }
    open_are(proxy, "public", 8).await;
    proxy.rename_over("ca/added.pem", &added.pem());
    proxy.in_force(2).await;
    std::fs::remove_file(proxy.path("ca/partners.pem")).unwrap();
    proxy.in_force(3).await;
    for (wire, visit, comes_in) in visits {
        wire.release();
        match visit.await.unwrap() {
            Ok(answer) => assert!(comes_in && answer.status == 200, "{answer:?}"),
            Err(refusal) => {
                assert!(!comes_in, "{refusal:?}");
                assert_eq!(refusal.alert(), AlertDescription::UnknownCA);
            }
        }
    }
    let refused = ["result=\"refused\"", "reason=\"untrusted\""];
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("handshakes_total", &refused), 4.0);
    assert_eq!(withdrawn(&metrics, ""), 0.0);
}

/// A proxy that trusts the root of the baseline and one of partners, with
/// a client of each.
struct Stage {
    pki: Pki,
    partners: Authority,
    scene: Scene,
    leaves: Client,
    stays: Client,
}

type InFlight = (
    Session,
    Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>,
);

impl Stage {
    async fn start() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (pki, partners) = (Pki::new(), Authority::root("Partners"));
        let scene = Scene::start(&pki, |setup| change(with_partners(setup, &partners))).await;
        Self {
            leaves: Client::new(&pki).presenting(&client_of(&partners)),
            stays: Client::new(&pki).presenting(&pki.client()),
            pki,
            partners,
            scene,
        }
    }

    /// Withdraws the authority of `leaves`, and waits until that is in force.
    async fn remove_partners(&self) {
        let proxy = &self.scene.proxy;
        std::fs::remove_file(proxy.path("ca/partners.pem")).unwrap();
        proxy.in_force(2).await;
    }

    /// A connection in each version, on which a request was answered.
    async fn idle(&self, client: &Client) -> Vec<Session> {
        self.idle_on(client, "public").await
    }

    async fn idle_on(&self, client: &Client, listener: &str) -> Vec<Session> {
        let mut sessions = Vec::new();
        for client in client.in_every_version() {
            let address = self.scene.proxy.listener(listener);
            let mut session = Box::pin(client.connect(address)).await.unwrap();
            assert_eq!(session.send(get("/idle")).await.unwrap().status, 200);
            sessions.push(session);
        }
        sessions
    }

    /// A connection in each version with a request in flight: of the one who
    /// leaves, and of the one who stays.
    async fn busy(&self) -> [Vec<InFlight>; 2] {
        let mut all = [Vec::new(), Vec::new()];
        for (client, held) in [&self.leaves, &self.stays].into_iter().zip(&mut all) {
            for mut session in self.idle(client).await {
                let pending = session.begin(get("/held")).await;
                held.push((session, Box::pin(pending) as _));
            }
        }
        eventually("the requests in flight", || {
            (self.scene.arrived("/held") == 8).then_some(())
        })
        .await;
        all
    }

    async fn tunnel(&self, client: &Client) -> Raw {
        tunnel(client, &self.scene.proxy, "/tunnel").await
    }
}

async fn closes(session: &Session) {
    eventually("the end of a connection", || {
        session.is_closed().then_some(())
    })
    .await;
}

/// The access log lines that fit.
fn proxy_lines(proxy: &Proxy, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let text = proxy.access_log();
    let lines = text.iter().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line| fits(line)).collect()
}

/// A listener beside `public`, with the same certificate.
fn listener(name: &str, trust: &str) -> String {
    format!(
        "
[listeners.{name}]
bind = '127.0.0.1:0'
protocols = ['h2', 'http/1.1']
tls.certificates = [{{ chain = 'proxy.pem', key = 'proxy.key' }}]
tls.client_auth = 'require'
tls.trust = '{trust}'
"
    )
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
