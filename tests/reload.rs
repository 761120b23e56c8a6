//! What an edit of the config does to a running process: what it changes, what
//! it leaves alone, and what it cannot change.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::{Client, Refusal, Session, get};
use crate::support::eventually;
use crate::support::pki::{Authority, CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup, merge};
use crate::support::upstream::{Gate, Reply, Upstream};

/// Long enough to see that somebody is kept waiting.
const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn new_route_serves_open_connections_and_a_removed_one_no_more() {
    let orders = "name = 'orders', path = '/orders', upstream = 'orders'";
    let stock = "name = 'stock', path = '/stock', upstream = 'orders'";
    let scene = Scene::new(&[&format!("routes = [{{ {orders} }}]")]).await;
    let mut sessions = scene.sessions().await;
    for (route, expected) in [(orders, 404), (stock, 200), (orders, 404)] {
        if expected == 200 || scene.proxy.generations() > 1 {
            scene.routes(route).await;
        }
        for session in &mut sessions {
            let before = scene.upstream.requests().len();
            assert_eq!(status(session, "/stock/1").await, expected);
            let reached = scene.upstream.requests().len() - before;
            assert_eq!(reached, usize::from(expected == 200));
        }
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["route"] == "stock")
        .await;
    assert_eq!(line["status"], 200, "{line}");
}

#[tokio::test]
async fn changed_allow_governs_the_next_request_on_open_connections() {
    let scene = Scene::new(&[]).await;
    let mut sessions = scene.sessions().await;
    for (allowed, expected) in [
        (CLIENT_URI, 200),
        ("spiffe://prod.example/another", 403),
        (CLIENT_URI, 200),
    ] {
        let route = format!("upstream = 'orders', allow = [{{ uri = '{allowed}' }}]");
        scene.routes(&route).await;
        for session in &mut sessions {
            let before = scene.upstream.requests().len();
            assert_eq!(status(session, "/").await, expected);
            let reached = scene.upstream.requests().len() - before;
            assert_eq!(reached, usize::from(expected == 200));
        }
    }
    let denied = scene
        .proxy
        .access_line_where(|line| line["status"] == 403)
        .await;
    assert_eq!(denied["fault"], "proxy/policy/no_rule_matched", "{denied}");
}

#[tokio::test]
async fn request_in_flight_finishes_under_the_route_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::answering(move |received| {
        let reply = Reply::ok("old");
        match received.path.as_str() {
            "/held" => reply.behind(&held),
            _ => reply,
        }
    });
    let scene = Scene::before(
        upstream.await,
        &["routes = [{ name = 'old', upstream = 'orders' }]"],
    )
    .await;
    let mut sessions = scene.sessions().await;
    let mut held = Vec::new();
    for session in &mut sessions {
        held.push(tokio::spawn(session.begin(get("/held")).await));
    }
    scene.upstream.received(4).await;
    let other = Upstream::answering(|_| Reply::ok("new")).await;
    scene
        .proxy
        .after(|proxy| everything_else(proxy, &other))
        .await;
    gate.open();
    for answer in held {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    for session in &mut sessions {
        assert_eq!(status(session, "/held").await, 404);
        assert_eq!(status(session, "/new").await, 403);
    }
    let lines = eventually("the lines of both", || {
        let lines = scene.proxy.access_log();
        let lines = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let held: Vec<_> = lines
            .filter(|line| line["path"] == "/held" && line["status"] == 200)
            .collect();
        (held.len() == 2).then_some(held)
    });
    for line in lines.await {
        assert_eq!(
            (&line["route"], &line["upstream"]),
            (&"old".into(), &"orders".into())
        );
    }
}

/// Neither the route is there any more, nor the upstream, nor the permission.
fn everything_else(proxy: &Proxy, upstream: &Upstream) {
    let new = format!(
        "routes = [{{ name = 'new', path = '/new', upstream = 'stock', allow = [{{ dns = 'nobody.example' }}] }}]
        upstreams.stock.endpoints = ['{}']",
        upstream.endpoint()
    );
    proxy.edit_config(|config| {
        config["upstreams"].as_table_mut().unwrap().remove("orders");
        merge(config, new.parse().unwrap());
    });
}

#[tokio::test]
async fn moved_endpoint_gets_the_next_request_and_the_former_one_finishes_its_own() {
    let gate = Gate::closed();
    let held = gate.clone();
    let former = Upstream::answering(move |received| match received.path.as_str() {
        "/held" => Reply::ok("former").behind(&held),
        _ => Reply::ok("former"),
    });
    let scene = Scene::before(former.await, &[]).await;
    let next = Upstream::answering(|_| Reply::ok("next")).await;
    let [mut h1, mut h2] = scene.sessions().await;
    let held = tokio::spawn(h2.begin(get("/held")).await);
    scene.upstream.received(3).await;
    scene
        .configured(&format!(
            "upstreams.orders.endpoints = ['{}']",
            next.endpoint()
        ))
        .await;
    for session in [&mut h1, &mut h2] {
        assert_eq!(session.send(get("/")).await.unwrap().text(), "next");
    }
    gate.open();
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert_eq!(scene.upstream.requests().len(), 3);
    scene.upstream.connections_ended().await;
}

#[tokio::test]
async fn shorter_idle_timeout_ends_open_connections_and_a_longer_one_keeps_them() {
    let limit = "listeners.public.limits.idle_timeout";
    let scene = Scene::new(&[]).await;
    let sessions = scene.sessions().await;
    scene.configured(&format!("{limit} = '300ms'")).await;
    for session in &sessions {
        closed(session).await;
    }
    // The other listener tells when the former limit has passed.
    let clock = "listeners.other.limits.idle_timeout = '700ms'";
    let scene = Scene::new(&[OTHER, clock, &format!("{limit} = '700ms'")]).await;
    let mut sessions = scene.sessions().await;
    scene.configured(&format!("{limit} = '60s'")).await;
    for client in scene.client.in_both_protocols() {
        let mut later = client.connect(scene.proxy.listener("other")).await.unwrap();
        assert_eq!(status(&mut later, "/").await, 200);
        closed(&later).await;
    }
    for session in &mut sessions {
        assert_eq!(status(session, "/").await, 200);
    }
}

#[tokio::test]
async fn raised_connection_limit_lets_in_who_was_waiting() {
    let scene = Scene::new(&["listeners.public.limits.max_connections = 2"]).await;
    let _full = scene.sessions().await;
    let mut waiting = tokio::spawn(visit(scene.client.clone(), scene.proxy.public()));
    scene
        .proxy
        .log_line("listener.full", |line| line["max_connections"] == 2)
        .await;
    timeout(A_WHILE, &mut waiting).await.unwrap_err();
    scene
        .configured("listeners.public.limits.max_connections = 3")
        .await;
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn lowered_connection_limit_ends_nobody_and_lets_nobody_in_until_enough_have_gone() {
    let scene = Scene::new(&["listeners.public.limits.max_connections = 3"]).await;
    let mut sessions = scene.sessions().await;
    scene
        .configured("listeners.public.limits.max_connections = 1")
        .await;
    let mut waiting = tokio::spawn(visit(scene.client.clone(), scene.proxy.public()));
    for session in &mut sessions {
        timeout(A_WHILE, &mut waiting).await.unwrap_err();
        assert_eq!(status(session, "/").await, 200);
    }
    let [first, second] = sessions;
    drop(first);
    scene.open_connections(1.0).await;
    timeout(A_WHILE, &mut waiting).await.unwrap_err();
    drop(second);
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn log_changes_its_level_and_its_format() {
    let scene = Scene::new(&[]).await;
    let levels = |proxy: &Proxy| {
        let lines = proxy.diagnostics();
        let debug = lines
            .iter()
            .filter(|line| line.contains(r#""level":"DEBUG""#));
        debug.count()
    };
    assert_eq!(levels(&scene.proxy), 0);
    scene.configured("log.level = 'debug'").await;
    let mut raw = scene.client.raw(scene.proxy.public()).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 9\r\n\r\nbroken")
        .await;
    drop(raw);
    eventually("lines of level debug", || {
        (levels(&scene.proxy) > 0).then_some(())
    })
    .await;
    scene
        .proxy
        .configure("log = { level = 'info', format = 'text' }");
    eventually("a line in text", || {
        let lines = scene.proxy.diagnostics();
        let mut text = lines.iter().filter(|line| !line.starts_with('{'));
        text.any(|line| line.contains("generation.published"))
            .then_some(())
    })
    .await;
    let json = scene
        .proxy
        .diagnostics()
        .iter()
        .filter(|line| line.starts_with('{'))
        .count();
    scene
        .proxy
        .configure("listeners.public.limits.max_connections = 77");
    eventually("another line in text", || {
        let lines = scene.proxy.diagnostics();
        let text = lines.iter().filter(|line| !line.starts_with('{'));
        (text
            .filter(|line| line.contains("generation.published"))
            .count()
            == 2)
            .then_some(())
    })
    .await;
    let lines = scene.proxy.diagnostics();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with('{')).count(),
        json
    );
}

#[tokio::test]
async fn access_log_ends_and_begins_again_on_open_connections() {
    let scene = Scene::new(&[]).await;
    for mut session in scene.sessions().await {
        for (access, path) in [(false, "/unseen"), (true, "/seen")] {
            scene.configured(&format!("log.access = {access}")).await;
            assert_eq!(status(&mut session, path).await, 200);
        }
        // Lines of one connection come in their order.
        scene
            .proxy
            .access_line_where(|line| line["path"] == "/seen")
            .await;
        let unseen = |line: &String| line.contains("/unseen");
        assert!(!scene.proxy.access_log().iter().any(unseen));
        scene.proxy.configure("log.access = false");
    }
}

#[tokio::test]
async fn new_listener_opens_while_the_others_go_on() {
    let scene = Scene::new(&[]).await;
    let mut sessions = scene.sessions().await;
    scene.configured(OTHER).await;
    let line = scene
        .proxy
        .log_line("listener.ready", |line| line["listener"] == "other")
        .await;
    assert_eq!(line["client_auth"], "require", "{line}");
    assert_eq!(
        visit(scene.client.clone(), scene.proxy.listener("other")).await,
        200
    );
    for session in &mut sessions {
        assert_eq!(status(session, "/").await, 200);
    }
    let lines = scene.proxy.logged("listener.ready");
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[tokio::test]
async fn removed_listener_finishes_what_is_under_way_and_refuses_the_rest() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::answering(move |received| match received.path.as_str() {
        "/held" => Reply::ok("held").behind(&held),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::before(upstream.await, &[OTHER]).await;
    let address = scene.proxy.listener("other");
    let (mut busy, mut idle) = (Vec::new(), Vec::new());
    for client in scene.client.in_both_protocols() {
        let mut session = client.connect(address).await.unwrap();
        assert_eq!(status(&mut session, "/").await, 200);
        idle.push(session);
        let mut session = client.connect(address).await.unwrap();
        let answer = tokio::spawn(session.begin(get("/held")).await);
        busy.push((session, answer));
    }
    let mut stays = scene.sessions().await;
    scene.upstream.received(6).await;
    scene.without_listener("other").await;
    for session in &idle {
        closed(session).await;
    }
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    gate.open();
    for (session, answer) in busy {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer);
        closed(&session).await;
    }
    for session in &mut stays {
        assert_eq!(status(session, "/").await, 200);
    }
    scene.open_connections(2.0).await;
}

#[tokio::test]
async fn socket_of_an_unchanged_listener_is_never_touched() {
    let scene = Scene::new(&[]).await;
    let address = scene.proxy.public();
    let socket = socket_inode(&scene.proxy, address);
    let over = Arc::new(AtomicBool::new(false));
    let (client, ends) = (scene.client.clone(), Arc::clone(&over));
    let connecting = tokio::spawn(async move {
        let mut served = 0;
        while !ends.load(Ordering::Relaxed) {
            assert_eq!(visit(client.clone(), address).await, 200);
            served += 1;
        }
        served
    });
    for round in 1..=5 {
        scene
            .configured(&format!(
                "listeners.public.limits.max_connections = {}",
                50 + round
            ))
            .await;
        if round % 2 == 1 {
            scene.configured(OTHER).await;
        } else {
            scene.without_listener("other").await;
        }
    }
    assert_eq!(socket_inode(&scene.proxy, address), socket);
    over.store(true, Ordering::Relaxed);
    assert!(connecting.await.unwrap() > 10);
}

#[tokio::test]
async fn connections_that_wait_in_the_kernel_outlive_reloads() {
    let scene = Scene::new(&["listeners.public.limits.max_connections = 2"]).await;
    let full = scene.sessions().await;
    let public = scene.proxy.public();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(tokio::spawn(visit(scene.client.clone(), public)));
    }
    scene.proxy.log_line("listener.full", |_| true).await;
    for routes in [
        "name = 'one', upstream = 'orders'",
        "name = 'two', upstream = 'orders'",
    ] {
        scene.routes(routes).await;
    }
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(full);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200);
    }
    assert!(
        scene
            .proxy
            .metrics()
            .await
            .sum("requests_total", &["route=\"two\""])
            >= 5.0
    );
}

/// Parts of a config know each other by their place in it.
#[tokio::test]
async fn tables_in_another_order_are_another_config() {
    let (orders, stock) = (Upstream::start().await, Upstream::start().await);
    let scene = Scene::new(&[]).await;
    let text = fs::read_to_string(scene.proxy.path("countersign.toml")).unwrap();
    let mut config: toml::Table = text.parse().unwrap();
    for table in ["upstreams", "routes"] {
        config.remove(table);
    }
    let rest = toml::to_string(&config).unwrap();
    let table = |name: &str, upstream: &Upstream| {
        format!(
            "[upstreams.{name}]\nendpoints = ['{}']\n",
            upstream.endpoint()
        )
    };
    let tables = [table("orders", &orders), table("stock", &stock)];
    for (order, to, reached) in [([0, 1], "orders", &orders), ([1, 0], "stock", &stock)] {
        let text = format!(
            "{rest}\n[[routes]]\nupstream = '{to}'\n{}{}",
            tables[order[0]], tables[order[1]]
        );
        let written = |proxy: &Proxy| proxy.rename_over("countersign.toml", &text);
        scene.proxy.after(written).await;
        let before = reached.requests().len();
        visit(scene.client.clone(), scene.proxy.public()).await;
        assert_eq!(reached.requests().len(), before + 1, "{to}");
    }
}

#[tokio::test]
async fn renamed_listener_keeps_its_socket_and_its_connections() {
    let scene = Scene::new(&[]).await;
    let address = scene.proxy.public();
    let socket = socket_inode(&scene.proxy, address);
    let mut sessions = scene.sessions().await;
    scene
        .proxy
        .after(|proxy| {
            proxy.edit_config(|config| {
                let listeners = config["listeners"].as_table_mut().unwrap();
                let public = listeners.remove("public").unwrap();
                listeners.insert("front".to_owned(), public);
            });
        })
        .await;
    for session in &mut sessions {
        assert_eq!(status(session, "/renamed").await, 200);
    }
    assert_eq!(visit(scene.client.clone(), address).await, 200);
    assert_eq!(socket_inode(&scene.proxy, address), socket);
    assert_eq!(scene.proxy.logged("listener.ready").len(), 1);
    let line = scene
        .proxy
        .access_line_where(|line| line["path"] == "/renamed")
        .await;
    assert_eq!(line["listener"], "front", "{line}");
}

#[tokio::test]
async fn listener_with_another_bundle_judges_everybody_by_it() {
    let partners = Authority::root("Partners");
    let pki = Pki::new();
    let partner = partners.leaf().client().uri(CLIENT_URI).issue();
    let upstream = Upstream::start().await;
    let setup = Setup::new(&pki, &upstream)
        .file("partners.pem", &partners.pem())
        .with("trust.partners.ca = ['partners.pem']")
        .with(OTHER)
        .with("listeners.other.tls.trust = 'partners'");
    let proxy = setup.start().await;
    let public = proxy.public();
    let member = Client::new(&pki).presenting(&pki.client()).resuming();
    let partner = Client::new(&pki).presenting(&partner);
    let mut open = Vec::new();
    let clients = member.in_every_version();
    for client in &clients {
        let mut session = client.connect(public).await.unwrap();
        assert_eq!(status(&mut session, "/").await, 200);
        open.push(session);
    }
    assert_eq!(
        partner.refusal(public).await.alert(),
        AlertDescription::UnknownCA
    );
    proxy
        .after(|proxy| proxy.configure("listeners.public.tls.trust = 'partners'"))
        .await;
    for session in &open {
        closed(session).await;
    }
    for client in &clients {
        assert_eq!(
            client.refusal(public).await.alert(),
            AlertDescription::UnknownCA
        );
    }
    assert_eq!(visit(partner, public).await, 200);
    let lines = eventually("four lines", || {
        let lines = proxy.logged("connection.withdrawn");
        (lines.len() == 4).then_some(lines)
    });
    for line in lines.await {
        assert!(
            line["cause"].as_str().unwrap().contains("partners"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn stricter_tls_holds_for_new_handshakes_and_leaves_open_connections() {
    let scene = Scene::new(&[]).await;
    let old = scene.client.clone().version(&TLS12);
    let mut open = old.connect(scene.proxy.public()).await.unwrap();
    assert_eq!(status(&mut open, "/").await, 200);
    scene
        .configured("listeners.public.tls.min_version = '1.3'")
        .await;
    assert_eq!(
        old.refusal(scene.proxy.public()).await.alert(),
        AlertDescription::ProtocolVersion
    );
    assert_eq!(
        visit(scene.client.clone().version(&TLS13), scene.proxy.public()).await,
        200
    );
    assert_eq!(status(&mut open, "/").await, 200);
}

#[tokio::test]
async fn what_cannot_change_is_refused_with_a_sentence_that_says_so() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    for (change, words) in [
        (
            "server.workers = 3",
            "server.workers cannot change from 2 to 3",
        ),
        ("admin.bind = '127.0.0.2:0'", "admin.bind cannot change"),
        (
            "admin.allow_changes = true",
            "admin.allow_changes cannot change",
        ),
        ("server.workres = 2", "did you mean `workers`?"),
        ("routes = [{ upstream = 'nowhere' }]", "nowhere"),
        ("trust.clients.ca = ['missing.pem']", "missing.pem"),
        (
            &OTHER.replace("127.0.0.1:0", &taken.to_string()),
            "listeners.other: cannot listen on",
        ),
    ] {
        let scene = Scene::new(&[]).await;
        let mut sessions = scene.sessions().await;
        let before = fs::read_to_string(scene.proxy.path("countersign.toml")).unwrap();
        // What could change is not changed either.
        scene
            .proxy
            .configure(&format!("server.drain_timeout = '7s'\n{change}"));
        let (code, outcome) = scene.proxy.reload().await;
        assert_eq!(
            (code, &outcome["outcome"]),
            (422, &"failed".into()),
            "{change}: {outcome}"
        );
        let said = outcome["problems"].to_string().replace("\\\"", "\"");
        assert!(said.contains(words), "{change}: {said}");
        let line = scene.proxy.log_line("reload.failed", |_| true).await;
        assert!(line["cause"].as_str().unwrap().contains(words), "{line}");
        let trust = scene.proxy.trust().await;
        assert_eq!(
            (&trust["generation"], &trust["failing"]),
            (&1.into(), &true.into())
        );
        for session in &mut sessions {
            assert_eq!(status(session, "/").await, 200);
        }
        assert_eq!(scene.proxy.generations(), 1);
        scene.proxy.rename_over("countersign.toml", &before);
        scene
            .proxy
            .log_line("reload.recovered", |line| line["generation"] == 1)
            .await;
        assert_eq!(scene.proxy.trust().await["failing"], false);
        assert_eq!(scene.proxy.logged("reload.failed").len(), 1, "{change}");
    }
    drop(holder);
}

#[tokio::test]
async fn counters_of_names_that_go_and_come_back_go_on() {
    let scene = Scene::new(&[]).await;
    let [mut h1, _h2] = scene.sessions().await;
    let counted = async |name: &str| {
        let label = format!("route=\"{name}\"");
        scene
            .proxy
            .metrics()
            .await
            .sum("requests_total", &[&label, "2xx"])
    };
    for (name, first, second) in [
        ("first", 1.0, 0.0),
        ("second", 1.0, 1.0),
        ("first", 2.0, 1.0),
    ] {
        scene
            .routes(&format!("name = '{name}', upstream = 'orders'"))
            .await;
        assert_eq!(status(&mut h1, "/").await, 200);
        assert_eq!(
            (counted("first").await, counted("second").await),
            (first, second),
            "{name}"
        );
    }
    scene.configured(OTHER).await;
    assert_eq!(
        visit(scene.client.clone(), scene.proxy.listener("other")).await,
        200
    );
    scene.without_listener("other").await;
    let metrics = scene.proxy.metrics().await;
    for (name, labels) in [
        ("connections_total", ["listener=\"other\"", ""]),
        ("handshakes_total", ["listener=\"other\"", "accepted"]),
    ] {
        assert_eq!(metrics.sum(name, &labels), 1.0, "{name}");
    }
}

/// A second listener, like the first.
const OTHER: &str = "
[listeners.other]
bind = '127.0.0.1:0'
protocols = ['h2', 'http/1.1']
tls.certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }]
tls.client_auth = 'require'
tls.trust = 'clients'
";

/// A running proxy, and a client that it lets in.
struct Scene {
    upstream: Upstream,
    proxy: Proxy,
    client: Client,
}

impl Scene {
    async fn new(changes: &[&str]) -> Self {
        Self::before(Upstream::start().await, changes).await
    }

    async fn before(upstream: Upstream, changes: &[&str]) -> Self {
        let pki = Pki::new();
        let setup = Setup::new(&pki, &upstream);
        let setup = changes
            .iter()
            .fold(setup, |setup, change| setup.with(change));
        Self {
            proxy: setup.start().await,
            client: Client::new(&pki).presenting(&pki.client()),
            upstream,
        }
    }

    /// An open connection in HTTP/1.1, and one in HTTP/2, each after a request.
    async fn sessions(&self) -> [Session; 2] {
        let [h1, h2] = self.client.in_both_protocols();
        let mut sessions = [
            h1.connect(self.proxy.public()).await.unwrap(),
            h2.connect(self.proxy.public()).await.unwrap(),
        ];
        for session in &mut sessions {
            session.send(get("/")).await.unwrap();
        }
        sessions
    }

    /// Changes the config, and waits until that is in force.
    async fn configured(&self, change: &str) {
        self.proxy.after(|proxy| proxy.configure(change)).await;
    }

    /// Has one route only.
    async fn routes(&self, route: &str) {
        self.configured(&format!("routes = [{{ {route} }}]")).await;
    }

    async fn without_listener(&self, name: &str) {
        let take_out = |config: &mut toml::Table| {
            let listeners = config["listeners"].as_table_mut().unwrap();
            assert!(listeners.remove(name).is_some());
        };
        self.proxy.after(|proxy| proxy.edit_config(take_out)).await;
    }

    /// Waits until so many connections are open.
    async fn open_connections(&self, count: f64) {
        self.proxy
            .metrics_where("the connections that are open", |metrics| {
                metrics.sum("countersign_connections_open", &[]) == count
            })
            .await;
    }
}

async fn status(session: &mut Session, path: &str) -> u16 {
    let answer = session.send(get(path)).await.unwrap();
    answer.status.as_u16()
}

/// One request on a connection of its own.
async fn visit(client: Client, target: SocketAddr) -> u16 {
    match client.get(target, "/").await {
        Ok(answer) => answer.status.as_u16(),
        Err(Refusal::Alert(alert)) => panic!("refused with {alert:?}"),
        Err(Refusal::Other(cause)) => panic!("refused: {cause}"),
    }
}

async fn closed(session: &Session) {
    eventually("the end of a connection", || {
        session.is_closed().then_some(())
    })
    .await;
}

/// Which socket of the process listens at an address.
fn socket_inode(proxy: &Proxy, address: SocketAddr) -> String {
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", proxy.id())).unwrap();
    let port = format!(":{:04X}", address.port());
    let mut sockets = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 0A: it listens.
    let listening = sockets.find(|fields| fields[1].ends_with(&port) && fields[3] == "0A");
    let inode = listening.expect("a listening socket")[9].to_owned();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mine = format!("socket:[{inode}]");
    assert!(
        links.into_iter().any(|link| link.to_string_lossy() == mine),
        "{mine}"
    );
    inode
}
