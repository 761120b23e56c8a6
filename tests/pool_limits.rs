//! What a service is given at one time, and what becomes of those who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::support::client::{Answer, Client, Session, get};
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::scene::Scene;
use crate::support::upstream::{Gate, Reply, Upstream};

const STRUCK: &str = "upstream_limits_struck";

/// A proxy with two workers, and these options of the upstream.
async fn scene(upstream: Upstream, options: &str) -> Scene {
    Scene::start(Pki::new(), upstream, |setup| limited(setup, options)).await
}

fn limited(setup: Setup, options: &str) -> Setup {
    let options = options.split(", ").filter(|option| !option.is_empty());
    options.fold(setup.with("server.workers = 2"), |setup, option| {
        setup.with(&format!("upstreams.orders.{option}"))
    })
}

/// Asks for a path from a connection of its own.
fn ask(scene: &Scene, path: &str) -> JoinHandle<u16> {
    let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
    let path = path.to_owned();
    tokio::spawn(async move { client.get(address, &path).await.unwrap().status.as_u16() })
}

/// Waits until a request waits for its turn.
async fn somebody_waits(scene: &Scene) {
    let limit = |line: &serde_json::Value| {
        line["limit"] == "max_connections" || line["limit"] == "max_requests"
    };
    let line = scene.proxy.log_line("limit.struck", limit).await;
    assert_eq!(line["upstream"], "orders", "{line}");
}

async fn struck(scene: &Scene, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    scene.proxy.metrics().await.sum(STRUCK, &[&label])
}

async fn is_overloaded(scene: &Scene, path: &str, limit: &str) {
    let line = scene.proxy.access_line(path).await;
    assert_eq!(line["fault"], "proxy/connect/overloaded", "{line}");
    assert!(line["cause"].as_str().unwrap().contains(limit), "{line}");
    assert!(struck(scene, limit).await > 0.0);
}

/// What a service with two threads has seen.
#[derive(Default)]
struct Seen {
    /// Connections that no thread had come free for.
    beyond: AtomicUsize,
    /// Requests at work …
    busy: AtomicUsize,
    /// … and the most of them at one time.
    most: AtomicUsize,
}

impl Seen {
    fn beyond(&self) -> usize {
        self.beyond.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// A service with a thread for each connection, and not more than two of them.
async fn service_with_two_threads() -> (Upstream, Arc<Seen>) {
    let seen: Arc<Seen> = Arc::default();
    let (service, threads) = (Arc::clone(&seen), Arc::new(Semaphore::new(2)));
    let upstream = Upstream::scripted(move |mut raw, _| {
        let (seen, threads) = (Arc::clone(&service), Arc::clone(&threads));
        async move {
            // The end of another may be known a moment later. They are taken in
            // their order: one that was given up meanwhile passes its thread on.
            let thread = timeout(Duration::from_secs(1), threads.acquire()).await;
            if thread.is_err() {
                seen.beyond.fetch_add(1, Ordering::SeqCst);
            }
            while raw.read_bytes(1).await.is_some() {
                raw.read_until("\r\n\r\n").await;
                let now = seen.busy.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most.fetch_max(now, Ordering::SeqCst);
                // Its work.
                sleep(Duration::from_millis(5)).await;
                seen.busy.fetch_sub(1, Ordering::SeqCst);
                raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await;
    (upstream, seen)
}

async fn fifty_callers(scene: &Scene) {
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
        callers.spawn(async move {
            let mut session = client.connect(address).await.unwrap();
            for _ in 0..4 {
                assert_eq!(session.send(get("/")).await.unwrap().status, 200);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
}

#[tokio::test]
async fn service_with_two_threads_sees_two_connections_of_fifty_callers() {
    let (upstream, seen) = service_with_two_threads().await;
    let options = "max_connections = 2, queue_timeout = '20s'";
    let scene = scene(upstream, options).await;
    fifty_callers(&scene).await;
    assert_eq!((seen.beyond(), seen.most()), (0, 2));
}

#[tokio::test]
async fn requests_that_are_given_up_at_any_time_leave_no_place_taken() {
    let (upstream, seen) = service_with_two_threads().await;
    let options = "max_connections = 2, queue_timeout = '20s'";
    let scene = scene(upstream, options).await;
    for round in 0..8 {
        let asked: Vec<_> = (0..20).map(|_| ask(&scene, "/")).collect();
        // Some wait, some are under way, some have not begun.
        sleep(Duration::from_millis(round * 5)).await;
        for asked in asked {
            asked.abort();
        }
    }
    fifty_callers(&scene).await;
    assert_eq!((seen.beyond(), seen.most()), (0, 2));
}

#[tokio::test]
async fn service_without_a_limit_sees_more_connections() {
    let (upstream, seen) = service_with_two_threads().await;
    let scene = scene(upstream, "").await;
    fifty_callers(&scene).await;
    assert!(seen.most() > 2);
}

#[tokio::test]
async fn connection_that_rests_on_one_worker_gives_way_to_a_request_on_another() {
    let scene = scene(Upstream::start().await, "max_connections = 1").await;
    for _ in 0..12 {
        assert_eq!(ask(&scene, "/").await.unwrap(), 200);
    }
    assert!(scene.upstream.connections() > 1, "both workers had one");
    assert_eq!(struck(&scene, "queue_timeout").await, 0.0);
}

#[tokio::test]
async fn slow_service_is_shared_by_all_workers_in_turn() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        while raw.read_bytes(1).await.is_some() {
            raw.read_until("\r\n\r\n").await;
            sleep(Duration::from_millis(300)).await;
            raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    // Enough for three, and not for nine.
    let options = "max_connections = 1, queue_timeout = '2s'";
    let scene = scene(upstream, options).await;
    // Dealt out in turn: the second is alone on its worker.
    let client = Client::new(&scene.pki);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(client.connect(scene.proxy.public()).await.unwrap());
    }
    let mut alone = sessions.remove(1);
    let mut others = JoinSet::new();
    for mut session in sessions {
        others.spawn(async move {
            loop {
                assert_eq!(session.send(get("/")).await.unwrap().status, 200);
            }
        });
    }
    somebody_waits(&scene).await;
    for _ in 0..3 {
        assert_eq!(alone.send(get("/alone")).await.unwrap().status, 200);
    }
    assert_eq!(struck(&scene, "queue_timeout").await, 0.0);
}

#[tokio::test]
async fn connection_that_rests_for_one_identity_gives_way_to_another() {
    let pki = Pki::new();
    let scene = Scene::start(pki, Upstream::start().await, |setup| {
        limited(setup, "max_connections = 1")
            .with("server.workers = 1")
            .with("upstreams.orders.outbound.pool_per = 'identity'")
    })
    .await;
    for caller in ["a", "b", "a"] {
        let client = scene.caller(&format!("spiffe://prod.test/{caller}"));
        assert_eq!(scene.status(&client, None).await, 200);
    }
    assert_eq!(scene.upstream.connections(), 3);
}

/// A service that answers `/held` only when the gate is open.
async fn held_service(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::answering(move |request| {
        let reply = Reply::ok("done");
        if request.path.starts_with("/held") {
            reply.behind(&gate)
        } else {
            reply
        }
    })
    .await
}

#[tokio::test]
async fn request_beyond_the_queue_gets_503_at_once_and_those_in_it_their_turn() {
    let gate = Gate::closed();
    let upstream = held_service(&gate).await;
    let scene = scene(upstream, "max_connections = 1, max_queue = 1").await;
    let first = ask(&scene, "/held/1");
    scene.upstream.received(1).await;
    let second = ask(&scene, "/held/2");
    somebody_waits(&scene).await;
    assert_eq!(ask(&scene, "/3").await.unwrap(), 503);
    is_overloaded(&scene, "/3", "max_queue").await;
    gate.open();
    assert_eq!(
        (first.await.unwrap(), second.await.unwrap()),
        (200, 200),
        "those in the queue"
    );
    assert_eq!(scene.upstream.requests().len(), 2);
}

#[tokio::test]
async fn request_whose_turn_does_not_come_in_time_gets_503_and_the_service_never_sees_it() {
    let gate = Gate::closed();
    let upstream = held_service(&gate).await;
    let options = "max_connections = 1, queue_timeout = '200ms'";
    let scene = scene(upstream, options).await;
    let first = ask(&scene, "/held");
    scene.upstream.received(1).await;
    assert_eq!(ask(&scene, "/late").await.unwrap(), 503);
    is_overloaded(&scene, "/late", "queue_timeout").await;
    gate.open();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(ask(&scene, "/next").await.unwrap(), 200);
    let paths: Vec<_> = scene
        .upstream
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(paths, ["/held", "/next"]);
}

#[tokio::test]
async fn request_that_is_given_up_in_the_queue_takes_nobodys_turn() {
    let gate = Gate::closed();
    let upstream = held_service(&gate).await;
    let scene = scene(upstream, "max_connections = 1, max_queue = 1").await;
    let first = ask(&scene, "/held/1");
    scene.upstream.received(1).await;
    let second = ask(&scene, "/2");
    somebody_waits(&scene).await;
    second.abort();
    let line = scene.proxy.access_line("/2").await;
    assert_eq!(line["fault"], "downstream/response_head/client_gone");
    let third = ask(&scene, "/3");
    // There was one seat in the queue, and it is free again.
    let waits = scene.proxy.metrics_where("who waits", |metrics| {
        metrics.sum(STRUCK, &["limit=\"max_connections\""]) == 2.0
    });
    waits.await;
    gate.open();
    assert_eq!((first.await.unwrap(), third.await.unwrap()), (200, 200));
    assert_eq!(scene.upstream.requests().len(), 2);
}

#[tokio::test]
async fn tunnel_holds_its_place_until_it_ends() {
    let upstream = Upstream::answering(|request| {
        if request.path == "/ws" {
            Reply::upgrade().header("upgrade", "websocket")
        } else {
            Reply::ok("done")
        }
    })
    .await;
    let options = "max_connections = 1, queue_timeout = '200ms'";
    let scene = scene(upstream, options).await;
    let mut tunnel = Client::new(&scene.pki).raw(scene.proxy.public()).await;
    tunnel
        .write("GET /ws HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(tunnel.read_head().await.status, 101);
    assert_eq!(ask(&scene, "/late").await.unwrap(), 503);
    drop(tunnel);
    scene.proxy.access_line("/ws").await;
    assert_eq!(ask(&scene, "/next").await.unwrap(), 200);
}

#[tokio::test]
async fn requests_over_http2_are_counted_and_share_a_connection() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::build(move |_| Reply::ok("done").behind(&held));
    let options = "protocol = 'h2', max_requests = 2";
    let pki = Pki::new();
    let scene = Scene::start(pki, upstream.h2().start().await, |setup| {
        limited(setup, options).with("server.workers = 1")
    })
    .await;
    let asked: Vec<_> = (0..6)
        .map(|number| ask(&scene, &format!("/{number}")))
        .collect();
    scene.upstream.received(2).await;
    let waits = scene.proxy.metrics_where("who waits", |metrics| {
        metrics.sum(STRUCK, &["limit=\"max_requests\""]) == 4.0
    });
    waits.await;
    assert_eq!(scene.upstream.requests().len(), 2);
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(scene.upstream.connections(), 1);
}

#[tokio::test]
async fn endpoint_with_a_free_place_is_asked_before_anybody_waits() {
    let gate = Gate::closed();
    let (one, other) = (held_service(&gate).await, held_service(&gate).await);
    let endpoints = format!("endpoints = ['{}', '{}']", one.endpoint(), other.endpoint());
    let pki = Pki::new();
    let scene = Scene::start(pki, one, |setup| {
        setup
            .with("server.workers = 2")
            .with(&format!("upstreams.orders.{endpoints}"))
            .with("upstreams.orders.max_connections = 1")
    })
    .await;
    let asked = [ask(&scene, "/held/1"), ask(&scene, "/held/2")];
    scene.upstream.received(1).await;
    other.received(1).await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(struck(&scene, "max_connections").await, 0.0);
}

#[tokio::test]
async fn connections_of_the_former_generation_count_in_the_next() {
    let gate = Gate::closed();
    let upstream = held_service(&gate).await;
    let options = "max_connections = 1, queue_timeout = '200ms'";
    let scene = scene(upstream, options).await;
    let mut session: Session = Client::new(&scene.pki)
        .connect(scene.proxy.public())
        .await
        .unwrap();
    let first = session.begin(get("/held")).await;
    scene.upstream.received(1).await;
    let change = "upstreams.orders.queue_timeout = '201ms'";
    scene.proxy.after(|proxy| proxy.configure(change)).await;
    assert_eq!(ask(&scene, "/late").await.unwrap(), 503);
    gate.open();
    let answer: http::StatusCode = first.await.unwrap().status();
    assert_eq!(answer, 200);
    assert_eq!(ask(&scene, "/next").await.unwrap(), 200);
}

#[tokio::test]
async fn caller_that_is_turned_away_is_told_no_more_than_a_reference() {
    let gate = Gate::closed();
    let upstream = held_service(&gate).await;
    let options = "max_connections = 1, queue_timeout = '100ms'";
    let scene = scene(upstream, options).await;
    let first = ask(&scene, "/held");
    scene.upstream.received(1).await;
    let client = Client::new(&scene.pki);
    let answer: Answer = client.get(scene.proxy.public(), "/late").await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("reference: "), "{}", answer.text());
    assert!(!answer.text().contains("max_connections"));
    gate.open();
    assert_eq!(first.await.unwrap(), 200);
}
