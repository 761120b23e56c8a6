//! Starting, draining and ending.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::interval;

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::frames::{Frames, GOAWAY};
use crate::support::pki::Pki;
use crate::support::proxy::{Metrics, Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Gate, Reply, Upstream};

/// Read from the upstream in one piece.
const SMALL: usize = 6000;

/// An upstream that answers only when the gate is open, and a proxy before it.
struct Scene {
    pki: Pki,
    proxy: Proxy,
    upstream: Upstream,
    gate: Gate,
}

impl Scene {
    async fn new(toml: &str) -> Self {
        let (pki, gate) = (Pki::new(), Gate::closed());
        let held = gate.clone();
        let upstream = Upstream::answering(move |received| match received.path.as_str() {
            "/fast" => Reply::ok("fast"),
            path if path.starts_with("/sized/") => {
                Reply::ok(&"x".repeat(path["/sized/".len()..].parse().unwrap()))
            }
            "/small" => Reply::ok(&"x".repeat(SMALL)),
            "/tunnel" => Reply::upgrade(),
            _ => Reply::ok("slow").behind(&held),
        })
        .await;
        let proxy = Setup::new(&pki, &upstream).with(toml).start().await;
        Self {
            pki,
            proxy,
            upstream,
            gate,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    async fn refuses_new_connections(&self) {
        let address = self.proxy.public();
        let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
        while TcpStream::connect(address).await.is_ok() {
            assert!(tokio::time::Instant::now() < deadline, "still accepts");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_finish_and_takes_no_new_ones() {
    let mut scene = Scene::new("").await;
    let mut answers = Vec::new();
    for (count, client) in scene.client().in_both_protocols().into_iter().enumerate() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        answers.push((tokio::spawn(session.begin(get("/slow")).await), session));
        scene.upstream.received(count + 1).await;
    }
    scene.proxy.terminate();
    scene.refuses_new_connections().await;
    assert!(answers.iter().all(|(answer, _)| !answer.is_finished()));
    scene.gate.open();
    for (answer, _session) in answers {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn sigterm_tells_http1_callers_to_close() {
    let mut scene = Scene::new("").await;
    let mut raw = scene.client().raw(scene.proxy.public()).await;
    raw.write("GET /slow HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    scene.upstream.received(1).await;
    scene.proxy.terminate();
    scene.refuses_new_connections().await;
    scene.gate.open();
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
    assert_eq!(answer.values("connection"), ["close"]);
    assert_eq!(raw.read_to_end().await, "");
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn sigterm_ends_idle_connections() {
    let mut scene = Scene::new("").await;
    for client in scene.client().in_both_protocols() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        session.send(get("/fast")).await.unwrap();
        // Kept open by this side; the proxy must not wait for it.
        std::mem::forget(session);
    }
    let mut silent = Raw::plain(scene.proxy.public()).await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(0));
    assert_eq!(silent.read_to_end().await, "");
}

#[tokio::test]
async fn response_that_is_read_slowly_is_finished_before_the_end() {
    let mut scene = Scene::new("listeners.public.bind = 'unix:public.sock'").await;
    let mut readers = Vec::new();
    // Some fill what the kernel holds and leave the rest to the proxy alone.
    for size in (100_000_usize..1_000_000).step_by(50_000) {
        let mut raw = scene.client().raw(scene.proxy.path("public.sock")).await;
        raw.write(format!(
            "GET /sized/{size} HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
        ))
        .await;
        raw.read_head().await;
        readers.push((raw, size));
    }
    // The proxy has read as much as it will: nothing has changed for a while.
    let (mut lines, mut same) = (0, 0);
    eventually("no more from the upstream", || {
        let now = scene.proxy.access_log().len();
        same = if now == lines { same + 1 } else { 0 };
        lines = now;
        (lines > 0 && same > 50).then_some(())
    })
    .await;
    scene.proxy.terminate();
    scene.proxy.log_line("server.stopping", |_| true).await;
    // Longer than an idle connection has for its farewell.
    let mut pace = interval(Duration::from_millis(300));
    for _ in 0..10 {
        pace.tick().await;
        for (raw, left) in &mut readers {
            raw.read_exactly(100).await;
            *left -= 100;
        }
    }
    for (mut raw, left) in readers {
        raw.read_exactly(left).await;
        assert_eq!(raw.read_to_end().await, "");
    }
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn http2_response_that_is_read_slowly_is_finished_before_the_end() {
    let mut scene = Scene::new("").await;
    let raw = scene.client().h2().raw(scene.proxy.public()).await;
    // With the first bytes the HTTP library takes the whole piece.
    let mut frames = Frames::begin(raw, 10).await;
    frames.get(1, "/small").await;
    let mut read = frames.next_data().await.length;
    scene.proxy.access_line("/small").await;
    scene.proxy.terminate();
    scene.refuses_new_connections().await;
    // Longer than an idle connection has for its farewell.
    let mut pace = interval(Duration::from_millis(300));
    for _ in 0..10 {
        pace.tick().await;
        frames.grant(1, 599).await;
        read += frames.next_data().await.length;
    }
    assert_eq!(read, SMALL);
    drop(frames);
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn http2_client_that_does_not_say_goodbye_does_not_hold_up_the_end() {
    let mut scene = Scene::new("").await;
    let raw = scene.client().h2().raw(scene.proxy.public()).await;
    let mut frames = Frames::begin(raw, 1000).await;
    frames.get(1, "/fast").await;
    while !frames.next_data().await.ends_stream {}
    // Bytes between two requests are not a request.
    frames.acknowledge().await;
    scene.proxy.terminate();
    let mut told_to_go = false;
    while let Some(frame) = frames.next().await {
        told_to_go |= frame.kind == GOAWAY;
    }
    assert!(told_to_go, "the connection ends with a GOAWAY");
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn client_that_connected_just_before_the_drain_is_served_its_first_request() {
    let mut scene = Scene::new("").await;
    let clients = scene.client().in_both_protocols();
    let mut early = Vec::new();
    for _ in &clients {
        early.push(std::net::TcpStream::connect(scene.proxy.public()).unwrap());
    }
    // One that has made its handshake, and not asked yet.
    let mut sessions = Vec::new();
    for client in &clients {
        sessions.push(client.connect(scene.proxy.public()).await.unwrap());
    }
    let open = |metrics: &Metrics| metrics.sum("countersign_connections_open", &[]) == 4.0;
    scene.proxy.metrics_where("four connections", open).await;
    scene.proxy.terminate();
    scene.proxy.log_line("server.stopping", |_| true).await;
    for (client, connected) in clients.iter().zip(early) {
        sessions.push(client.connect(connected).await.unwrap());
    }
    for mut session in sessions {
        assert_eq!(session.send(get("/fast")).await.unwrap().status, 200);
    }
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_the_end() {
    let mut scene = Scene::new(
        "[listeners.public.limits]
        handshake_timeout = '60s'
        [listeners.local]
        bind = '127.0.0.1:0'
        protocols = ['h2', 'http/1.1']
        limits = { header_timeout = '60s' }",
    )
    .await;
    let mut silent = Vec::new();
    for listener in ["public", "local"] {
        silent.push(Raw::plain(scene.proxy.listener(listener)).await);
    }
    // Accepted by now, since the one that came later is served.
    for address in [scene.proxy.public(), scene.proxy.listener("local")] {
        let client = match address == scene.proxy.public() {
            true => scene.client(),
            false => Client::plaintext(&scene.pki),
        };
        assert_eq!(client.get(address, "/fast").await.unwrap().status, 200);
    }
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(0));
    for mut silent in silent {
        assert_eq!(silent.read_to_end().await, "");
    }
}

#[tokio::test]
async fn tunnel_is_cut_at_the_drain_deadline() {
    let mut scene = Scene::new("server.drain_timeout = '500ms'").await;
    let mut raw = scene.client().raw(scene.proxy.public()).await;
    raw.write("GET /tunnel HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(raw.read_head().await.status, 101);
    raw.write("echo").await;
    assert_eq!(raw.read_exactly(4).await, "echo");
    scene.proxy.terminate();
    scene.refuses_new_connections().await;
    raw.write("more").await;
    assert_eq!(raw.read_exactly(4).await, "more");
    assert_eq!(scene.proxy.exit_code().await, Some(3));
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn new_connections_are_served_through_the_drain_delay_though_it_is_not_ready() {
    let delay = "server.drain_timeout = '1m'\nserver.drain_delay = '3s'";
    let mut scene = Scene::new(delay).await;
    scene.proxy.terminate();
    let not_ready = async || scene.proxy.ask_admin("/readyz").await.0 == 503;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !not_ready().await {
        assert!(tokio::time::Instant::now() < deadline, "still ready");
    }
    let answer = scene.client().get(scene.proxy.public(), "/fast").await;
    assert_eq!(answer.unwrap().text(), "fast");
    scene.refuses_new_connections().await;
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn second_sigterm_ends_the_drain_delay_and_everything_else() {
    let mut scene = Scene::new("server.drain_timeout = '10m'\nserver.drain_delay = '9m'").await;
    let mut session = scene.client().connect(scene.proxy.public()).await.unwrap();
    let answer = tokio::spawn(session.begin(get("/slow")).await);
    scene.upstream.received(1).await;
    scene.proxy.terminate();
    scene
        .proxy
        .log_line("server.stopping", |line| line["drain_delay_ms"] == 540_000)
        .await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(3));
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn second_sigterm_ends_at_once() {
    let mut scene = Scene::new("").await;
    let mut session = scene.client().connect(scene.proxy.public()).await.unwrap();
    let answer = tokio::spawn(session.begin(get("/slow")).await);
    scene.upstream.received(1).await;
    scene.proxy.terminate();
    scene.refuses_new_connections().await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(3));
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn drain_deadline_cuts_what_is_left() {
    let mut scene = Scene::new("server.drain_timeout = '500ms'").await;
    let mut session = scene.client().connect(scene.proxy.public()).await.unwrap();
    let answer = tokio::spawn(session.begin(get("/slow")).await);
    scene.upstream.received(1).await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(3));
    assert!(answer.await.unwrap().is_err());
    let line = scene.proxy.access_line("/slow").await;
    assert_eq!(line["fault"], "proxy/response_head/cut", "{line}");
}

#[tokio::test]
async fn proxy_without_work_ends_with_code_0() {
    let mut scene = Scene::new("").await;
    scene.proxy.terminate();
    assert_eq!(scene.proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn unix_socket_is_served_and_taken_away_again() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream)
        .folder("sockets")
        .with("listeners.public.bind = 'unix:sockets/public.sock'");
    let quiet = setup.run("check").await;
    assert!(!quiet.expect_code(0).stdout.contains("warning"));
    let mut proxy = setup.start().await;
    let socket = proxy.path("sockets/public.sock");
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(client.get(socket.clone(), "/").await.unwrap().status, 200);
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn unix_socket_beside_files_stays_behind_and_is_said_to() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).with("listeners.public.bind = 'unix:public.sock'");
    let words = "has more in it than sockets";
    setup
        .run("check")
        .await
        .expect_code(0)
        .stdout
        .find(words)
        .unwrap();
    let mut proxy = setup.start().await;
    let is_it = |line: &serde_json::Value| line["message"].as_str().unwrap().contains(words);
    proxy.log_line("config.unusual", is_it).await;
    let socket = proxy.path("public.sock");
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    assert!(socket.exists());
    // And the next process takes its place.
    let again = proxy.killed_and_started_again("").await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(client.get(socket, "/").await.unwrap().status, 200);
    drop(again);
}

#[tokio::test]
async fn stale_unix_socket_of_a_killed_proxy_does_not_refuse_the_start() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).with("listeners.public.bind = 'unix:public.sock'");
    // Bound and left behind, as after SIGKILL.
    drop(std::os::unix::net::UnixListener::bind(setup.path("public.sock")).unwrap());
    let proxy = setup.start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(
        client
            .get(proxy.path("public.sock"), "/")
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn several_listeners_have_policies_of_their_own() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let more = "
        [listeners.open]
        bind = '127.0.0.1:0'
        protocols = ['http/1.1']
        tls = { certificates = [{ chain = 'proxy.pem', key = 'proxy.key' }], client_auth = 'none' }
        [listeners.local]
        bind = '127.0.0.1:0'
        protocols = ['http/1.1']";
    let proxy = Setup::new(&pki, &upstream).with(more).start().await;
    let anonymous = Client::new(&pki);
    assert_eq!(
        anonymous
            .get(proxy.listener("open"), "/")
            .await
            .unwrap()
            .status,
        200
    );
    let plaintext = Client::plaintext(&pki);
    assert_eq!(
        plaintext
            .get(proxy.listener("local"), "/")
            .await
            .unwrap()
            .status,
        200
    );
    anonymous.refusal(proxy.public()).await;
}

#[tokio::test]
async fn worker_that_cannot_start_ends_the_process_before_it_is_ready() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let setup = Setup::new(&pki, &upstream)
        .with("server.workers = 64")
        .after_shell("ulimit -n 64");
    let finished = setup.run_to_its_end().await;
    finished
        .expect_code(1)
        .expect_words(&["nothing was started"]);
    assert!(!finished.stderr.contains("server.started"), "{finished:#?}");
}

#[tokio::test]
async fn process_may_open_as_many_files_as_the_system_lets_it() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).after_shell("ulimit -Sn 200 && ulimit -Hn 3000");
    let proxy = setup.start().await;
    let limits = format!("/proc/{}/limits", proxy.id());
    let limits = std::fs::read_to_string(limits).unwrap();
    let open = limits.lines().find(|line| line.contains("open files"));
    let words: Vec<_> = open.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["3000", "3000"], "{limits}");
}
