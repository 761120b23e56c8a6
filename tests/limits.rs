//! What a caller cannot hold on to, and what the machine running out does.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::interval;

use crate::support::body::Body;
use crate::support::client::{Client, Session, get, post};
use crate::support::frames::Frames;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Gate, Reply, Upstream};
use crate::support::{eventually, within};

async fn with_limits(upstream: &Upstream, limits: &str) -> (Proxy, Client) {
    let pki = Pki::new();
    let proxy = Setup::new(&pki, upstream)
        .with(&format!("listeners.public.limits = {{ {limits} }}"))
        .start()
        .await;
    (proxy, Client::new(&pki).presenting(&pki.client()))
}

#[tokio::test]
async fn head_that_does_not_end_is_cut_at_its_deadline() {
    let upstream = Upstream::unreachable().await;
    let (proxy, client) = with_limits(&upstream, "header_timeout = '500ms'").await;
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\nX-Never: ")
        .await;
    let answer = raw.read_to_end().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let upstream = Upstream::start().await;
    let (proxy, client) = with_limits(&upstream, "idle_timeout = '1s'").await;
    for client in client.in_both_protocols() {
        let mut session: Session = client.connect(proxy.public()).await.unwrap();
        session.send(get("/")).await.unwrap();
        eventually("the end of an idle connection", || {
            session.is_closed().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn busy_connection_is_not_idle() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::answering(move |received| match received.path.as_str() {
        "/slow" => Reply::ok("slow").behind(&held),
        _ => Reply::ok("fast"),
    })
    .await;
    let (proxy, client) = with_limits(&upstream, "idle_timeout = '1s', body_timeout = '20s'").await;
    for (count, client) in client.in_both_protocols().into_iter().enumerate() {
        let mut busy = client.connect(proxy.public()).await.unwrap();
        let mut idle = client.connect(proxy.public()).await.unwrap();
        let answer = tokio::spawn(busy.begin(get("/slow")).await);
        upstream.received(2 * count + 1).await;
        // The time is measured by a connection that does get closed.
        idle.send(get("/fast")).await.unwrap();
        eventually("the end of the idle one", || idle.is_closed().then_some(())).await;
        if count == 0 {
            assert!(!answer.is_finished());
        }
        gate.open();
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn request_body_that_stops_coming_is_given_up() {
    let upstream = Upstream::start().await;
    let (proxy, client) = with_limits(&upstream, "body_timeout = '300ms'").await;
    for client in client.in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        writer.piece("half");
        match session.send(post("/stalled", body)).await {
            Ok(answer) => assert_eq!(answer.status, 408),
            Err(refusal) => println!("cut: {refusal:?}"),
        }
        drop(writer);
    }
    let line = proxy.access_line("/stalled").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("downstream/"),
        "{line}"
    );
}

#[tokio::test]
async fn response_body_that_stops_coming_is_given_up() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
        raw.read_to_end().await;
    })
    .await;
    let (proxy, client) = with_limits(&upstream, "body_timeout = '300ms'").await;
    for client in client.in_both_protocols() {
        assert!(client.get(proxy.public(), "/stalled").await.is_err());
    }
    let line = proxy.access_line("/stalled").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("upstream/"),
        "{line}"
    );
}

#[tokio::test]
async fn connection_beyond_the_limit_waits_for_a_slot() {
    let upstream = Upstream::start().await;
    let (proxy, client) = with_limits(&upstream, "max_connections = 1").await;
    let mut first = client.connect(proxy.public()).await.unwrap();
    first.send(get("/first")).await.unwrap();
    let second = tokio::spawn({
        let (client, address) = (client.clone(), proxy.public());
        async move { client.get(address, "/second").await.unwrap().status }
    });
    // Served while the second one waits.
    for _ in 0..10 {
        first.send(get("/first")).await.unwrap();
    }
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap(), 200);
}

#[tokio::test]
async fn full_listener_says_so_once_and_not_for_every_connection() {
    let upstream = Upstream::start().await;
    let (proxy, client) = with_limits(&upstream, "max_connections = 1").await;
    for _ in 0..20 {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let lines = proxy.logged("listener.full");
    // A slow machine may see a second one, ten seconds later.
    assert!((1..=2).contains(&lines.len()), "{lines:#?}");
}

#[tokio::test]
async fn accept_loop_survives_a_full_descriptor_table() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream).after_shell("ulimit -n 64");
    let proxy = setup.start().await;
    let mut flood = Vec::new();
    for _ in 0..150 {
        flood.push(Raw::plain(proxy.public()).await);
    }
    // Nearly full at least: a proxy may keep a few descriptors back.
    eventually("a full table", || (proxy.descriptors() >= 56).then_some(())).await;
    drop(flood);
    // Those that have waited in the kernel come first, and may fill it once more:
    // whoever comes then is closed.
    let client = Client::new(&pki).presenting(&pki.client());
    let served = async {
        loop {
            if let Ok(answer) = client.get(proxy.public(), "/").await {
                return answer;
            }
        }
    };
    let answer = within("an answer", served).await;
    assert_eq!(answer.status, 200);
    let noise = proxy.diagnostics().len();
    assert!(noise < 400, "{noise} lines: an error storm");
}

#[tokio::test]
async fn http2_client_that_gives_no_room_for_its_response_is_cut() {
    let upstream = Upstream::answering(|_| Reply::ok(&"x".repeat(100_000))).await;
    let (proxy, client) = with_limits(&upstream, "body_timeout = '1s'").await;
    for (count, window) in [0, 10].into_iter().enumerate() {
        let raw = client.clone().h2().raw(proxy.public()).await;
        let mut frames = Frames::begin(raw, window).await;
        for stream in [1, 3, 5] {
            frames.get(stream, "/").await;
        }
        // It reads, and so the socket takes all there is.
        while frames.next().await.is_some() {}
        let lines = eventually("the line that says so", || {
            Some(proxy.logged("connection.fault")).filter(|lines| lines.len() > count)
        })
        .await;
        assert_eq!(
            lines[count]["fault"],
            "downstream/response_body/body_timeout"
        );
    }
}

#[tokio::test]
async fn http2_client_that_reads_slowly_gets_it_all() {
    const PIECE: u32 = 1000;
    let upstream = Upstream::answering(|_| Reply::ok(&"x".repeat(30_000))).await;
    let (proxy, client) = with_limits(&upstream, "body_timeout = '1s'").await;
    let raw = client.h2().raw(proxy.public()).await;
    let mut frames = Frames::begin(raw, 0).await;
    frames.get(1, "/").await;
    // Three seconds in all.
    let mut pace = interval(Duration::from_millis(100));
    let mut read = 0;
    while read < 30_000 {
        pace.tick().await;
        frames.grant(1, PIECE).await;
        read += frames.next_data().await.length;
    }
}

#[tokio::test]
async fn head_that_was_begun_behind_another_request_has_a_deadline() {
    let upstream = Upstream::start().await;
    let (proxy, client) = with_limits(&upstream, "header_timeout = '500ms'").await;
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\nGET /never HTTP/1.1\r\nHo")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    raw.read_to_end().await;
    let line = proxy.log_line("connection.fault", |_| true).await;
    assert_eq!(line["fault"], "downstream/request_head/header_timeout");
}

#[tokio::test]
async fn denied_upload_gets_its_answer_though_it_was_sent_whole() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ upstream = 'orders', allow = [{ uri = 'spiffe://prod.example/*' }] }]")
        .with("listeners.local = { bind = '127.0.0.1:0', protocols = ['http/1.1'] }")
        .start()
        .await;
    let upload = "x".repeat(1_000_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    );
    for _ in 0..10 {
        // With little room of its own, so that it sends while it is answered.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
        let connecting = socket.connect(proxy.listener("local"));
        let mut stream = connecting.await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        within("the upload", stream.write_all(upload.as_bytes()))
            .await
            .unwrap();
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}
