//! What dies: the service in each phase of a request, countersign itself under
//! load, and the table of descriptors. Nobody is given a part for the whole, and
//! what comes next works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::sync::Notify;

use crate::support::body::Body;
use crate::support::client::{Client, get, post};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};
use crate::support::{Target, eventually, within};

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// An HTTP/1.1 service that dies behind these bytes, when it is asked for `/dies`.
async fn dying_behind(bytes: &'static str) -> Upstream {
    Upstream::scripted(move |mut raw, _| async move {
        loop {
            let head = raw.read_until("\r\n\r\n").await;
            if head.starts_with("GET /dies") {
                return raw.write(bytes).await;
            }
            raw.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                .await;
        }
    })
    .await
}

/// A proxy of its own before this service, for a client in each protocol.
async fn before(upstream: &Upstream) -> [(Proxy, Client); 2] {
    let pki = Pki::new();
    let client = Client::new(&pki).presenting(&pki.client());
    let proxy = || Setup::new(&pki, upstream).start();
    let [http1, http2] = client.in_both_protocols();
    [(proxy().await, http1), (proxy().await, http2)]
}

/// The line of the only request for `/dies`.
async fn epitaph(proxy: &Proxy) -> Value {
    proxy.access_line("/dies").await
}

#[tokio::test]
async fn upstream_that_dies_before_its_head_is_whole_is_502_and_the_connection_goes_on() {
    for bytes in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cu",
    ] {
        let upstream = dying_behind(bytes).await;
        for (proxy, client) in before(&upstream).await {
            let mut session = client.connect(proxy.public()).await.unwrap();
            assert_eq!(session.send(get("/before")).await.unwrap().status, 200);
            let answer = session.send(get("/dies")).await.unwrap();
            assert_eq!(answer.status, 502, "{bytes:?}");
            let line = epitaph(&proxy).await;
            assert_eq!(
                line["fault"], "upstream/response_head/upstream_lost",
                "{line}"
            );
            assert_eq!(session.send(get("/after")).await.unwrap().text(), "hello");
        }
    }
}

#[tokio::test]
async fn upstream_that_dies_in_its_body_ends_in_a_cut_and_never_in_a_whole_response() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nnine byte",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n",
    ] {
        let upstream = dying_behind(bytes).await;
        for (proxy, client) in before(&upstream).await {
            let mut session = client.connect(proxy.public()).await.unwrap();
            assert!(session.send(get("/dies")).await.is_err(), "{bytes:?}");
            let line = epitaph(&proxy).await;
            assert_eq!(
                line["fault"], "upstream/response_body/upstream_lost",
                "{line}"
            );
            // Over HTTP/1.1 nothing but the end of the connection tells of it.
            if !client.speaks_h2() {
                eventually("its end", || session.is_closed().then_some(())).await;
                session = client.connect(proxy.public()).await.unwrap();
            }
            assert_eq!(session.send(get("/after")).await.unwrap().text(), "hello");
        }
    }
}

/// An HTTP/1.1 service that answers `/dies` with these bytes, and dies when it
/// is told to.
async fn dying_at(moment: &Arc<Notify>, bytes: &'static str) -> Upstream {
    let moment = Arc::clone(moment);
    Upstream::scripted(move |mut raw, _| {
        let moment = Arc::clone(&moment);
        async move {
            let head = raw.read_until("\r\n\r\n").await;
            if head.starts_with("GET /dies") {
                raw.write(bytes).await;
                moment.notified().await;
            } else {
                raw.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                    .await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn cut_is_seen_on_the_wire_as_one() {
    let (pki, moment) = (Pki::new(), Arc::new(Notify::new()));
    let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n";
    let upstream = dying_at(&moment, part).await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET /dies HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(raw.read_head().await.status, 200);
    assert_eq!(raw.read_until("four\r\n").await, "4\r\nfour\r\n");
    moment.notify_one();
    // Without the chunk that ends a body.
    assert_eq!(raw.read_to_end().await, "");
    assert_eq!(
        epitaph(&proxy).await["fault"],
        "upstream/response_body/upstream_lost"
    );
}

#[tokio::test]
async fn http2_upstream_that_dies_is_502_before_its_head_and_a_cut_after_it() {
    let pki = Pki::new();
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writers = Arc::clone(&held);
    let upstream = Upstream::build(move |asked| match asked.path.as_str() {
        "/head" => Reply::never(),
        "/body" => {
            let (writer, body) = Body::streaming();
            writer.piece("a part");
            writers.lock().unwrap().push(writer);
            Reply::body(body)
        }
        _ => Reply::ok("hello"),
    });
    let upstream = upstream.h2().start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'h2'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut count = 0;
    for client in client.in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        // Whatever may be done twice would be sent again.
        let head = tokio::spawn(session.begin(post("/head", Body::empty())).await);
        upstream.received(count + 1).await;
        upstream.hang_up().await;
        let answer = within("the answer", head).await.unwrap().unwrap();
        assert_eq!(answer.status(), 502);
        drop(answer);
        let mut session = client.connect(proxy.public()).await.unwrap();
        let (answer, body) = session.open(get("/body")).await.unwrap();
        assert_eq!(answer.status, 200);
        upstream.hang_up().await;
        let whole = within("its end", http_body_util::BodyExt::collect(body)).await;
        assert!(whole.is_err(), "a part was taken for the whole");
        let answer = client.get(proxy.public(), "/after").await.unwrap();
        assert_eq!(answer.text(), "hello");
        count += 3;
        upstream.received(count).await;
    }
    for (path, fault) in [
        ("/head", "upstream/response_head/upstream_lost"),
        ("/body", "upstream/response_body/upstream_lost"),
    ] {
        assert_eq!(proxy.access_line(path).await["fault"], fault);
    }
}

#[tokio::test]
async fn upstream_that_dies_in_an_upgrade_ends_the_tunnel_and_its_line_is_written() {
    let (pki, moment) = (Pki::new(), Arc::new(Notify::new()));
    let changed = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbegun";
    let upstream = dying_at(&moment, changed).await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(UPGRADE.replace("/chat", "/dies")).await;
    assert_eq!(raw.read_head().await.status, 101);
    assert_eq!(raw.read_exactly(5).await, "begun");
    moment.notify_one();
    assert_eq!(raw.read_to_end().await, "");
    drop(raw);
    let line = epitaph(&proxy).await;
    assert_eq!(
        (&line["status"], &line["bytes_sent"]),
        (&101.into(), &5.into())
    );
    let answer = client.get(proxy.public(), "/after").await.unwrap();
    assert_eq!(answer.text(), "hello");
}

#[tokio::test]
async fn upstream_that_breaks_a_tunnel_off_is_whose_fault_it_was() {
    let pki = Pki::new();
    // It leaves most of what it is sent unread, so its end is a reset.
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        raw.read_exactly(1).await;
    })
    .await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(UPGRADE).await;
    assert_eq!(raw.read_head().await.status, 101);
    raw.write("x".repeat(64 * 1024)).await;
    let line = proxy.access_line("/chat").await;
    assert_eq!(line["fault"], "upstream/response_body/upstream_lost");
    drop(raw);
}

#[tokio::test]
async fn upstream_that_dies_before_it_changes_its_protocol_is_502_and_the_connection_goes_on() {
    let pki = Pki::new();
    let upstream = Upstream::scripted(|mut raw, _| async move {
        let head = raw.read_until("\r\n\r\n").await;
        if !head.starts_with("GET /chat") {
            raw.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                .await;
        }
    })
    .await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(UPGRADE).await;
    assert_eq!(raw.read_response().await.status, 502);
    let line = proxy.access_line("/chat").await;
    assert_eq!(line["fault"], "upstream/response_head/upstream_lost");
    raw.write("GET /after HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.body, "hello");
}

/// Asks again and again, on a new connection after each failure, until it is
/// told to stop; counts what was answered.
async fn load(client: Client, target: Target, answered: Arc<AtomicUsize>) {
    loop {
        let Ok(mut session) = client.connect(target.clone()).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while let Ok(answer) = session.send(get("/load")).await {
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn proxy_that_is_killed_under_load_serves_again_at_the_same_addresses() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("listeners.local = { bind = 'unix:local.socket' }")
        .with("admin.bind = 'unix:admin.socket'")
        .start()
        .await;
    let (tcp, unix) = (proxy.public(), proxy.path("local.socket"));
    let client = Client::new(&pki).presenting(&pki.client());
    let local = Client::plaintext(&pki);
    let answered: [Arc<AtomicUsize>; 3] = Default::default();
    let clients = [
        (client.clone(), Target::from(tcp)),
        (client.h2(), Target::from(tcp)),
        (local, Target::from(unix)),
    ];
    let mut under_load = tokio::task::JoinSet::new();
    for ((client, target), answered) in clients.into_iter().zip(&answered) {
        under_load.spawn(load(client, target, Arc::clone(answered)));
    }
    let all_are_answered = async || {
        let before = answered
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        eventually("answers for each", || {
            let mut all = answered.iter().zip(before);
            let more = all.all(|(count, before)| count.load(Ordering::Relaxed) > before + 10);
            more.then_some(())
        })
        .await;
    };
    all_are_answered().await;
    let mut proxy = proxy;
    for _ in 0..2 {
        proxy = proxy
            .killed_and_started_again(&format!("listeners.public.bind = '{tcp}'"))
            .await;
        all_are_answered().await;
    }
    assert!(
        under_load.try_join_next().is_none(),
        "nobody got a wrong answer"
    );
    let mut admin = Raw::plain(proxy.path("admin.socket")).await;
    admin
        .write("GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n")
        .await;
    assert_eq!(admin.read_response().await.status, 200);
}

#[tokio::test]
async fn proxy_without_descriptors_goes_on_answers_its_admin_and_recovers() {
    let pki = Pki::new();
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("server.workers = 1")
        .with("routes = [{ path = '/other', upstream = 'other' }, { upstream = 'orders' }]")
        .with(&format!(
            "upstreams.other.endpoints = ['{}']",
            other.endpoint()
        ))
        .with("upstreams.other.outbound.identity_assertion = 'supported'")
        .after_shell("ulimit -n 64")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(Raw::plain(proxy.public()).await);
    }
    proxy.log_line("accept.failed", |_| true).await;
    for _ in 0..10 {
        assert_eq!(proxy.ask_admin("/healthz").await.0, 200);
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    }
    // There is no connection to this one yet, and none can be made.
    let answer = session.send(get("/other")).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, Some("1"))
    );
    let line = proxy.access_line("/other").await;
    assert_eq!(line["fault"], "proxy/connect/exhausted");
    drop(flood);
    // By itself, in the time of a pause.
    let served = async {
        while !matches!(client.get(proxy.public(), "/other").await, Ok(answer) if answer.status == 200)
        {
        }
    };
    within("its recovery", served).await;
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
}
