//! What a hostile caller or a hostile upstream tries, and does not get.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::client::{Client, get, post};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, head_of, literal,
};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};
use crate::support::{body::Body, eventually, within};

async fn scene(upstream: &Upstream, limits: &str) -> (Proxy, Client) {
    let pki = Pki::new();
    let proxy = Setup::new(&pki, upstream)
        .with(&format!("listeners.public.limits = {{ {limits} }}"))
        .start()
        .await;
    (proxy, Client::new(&pki).presenting(&pki.client()))
}

#[tokio::test]
async fn http2_caller_that_opens_no_window_does_not_hold_the_upstream_for_ever() {
    let upstream = Upstream::answering(|_| Reply::ok(&"x".repeat(1 << 20))).await;
    let (proxy, client) = scene(&upstream, "body_timeout = '500ms'").await;
    let mut raw = client.h2().raw(proxy.public()).await;
    raw.write(PREFACE).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    raw.write(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    let head = head_of("POST", "/unread", &[]);
    raw.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
        .await;
    let line = proxy.access_line("/unread").await;
    assert_eq!(
        line["fault"], "downstream/response_body/client_gone",
        "{line}"
    );
}

#[tokio::test]
async fn http2_content_that_contradicts_its_length_never_completes_a_request() {
    let upstream = Upstream::start().await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for (number, (length, data)) in [("10", "short"), ("3", "too long"), ("10", "")]
        .into_iter()
        .enumerate()
    {
        let mut raw = client.clone().h2().raw(proxy.public()).await;
        raw.write(PREFACE).await;
        raw.write(frame(SETTINGS, 0, 0, &[])).await;
        let head = head_of("POST", "/lie", &[("content-length", length)]);
        if data.is_empty() {
            raw.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
                .await;
        } else {
            raw.write(frame(HEADERS, END_HEADERS, 1, &head)).await;
            raw.write(frame(DATA, END_STREAM, 1, data.as_bytes())).await;
        }
        // What comes next from anybody is not taken for its rest.
        let answer = client
            .get(proxy.public(), &format!("/next-{number}"))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{length} {data}");
        drop(raw);
    }
    for received in upstream.requests() {
        if received.path == "/lie" {
            assert_eq!(received.body, "", "taken for whole: {received:?}");
        }
    }
}

#[tokio::test]
async fn http2_fields_that_belong_to_http1_or_break_its_lines_are_refused() {
    let upstream = Upstream::start().await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "x"),
        ("x-a", "b\r\nx-forwarded-client-cert: forged"),
        ("x-a", "b\nx: y"),
        ("x-a", "b\0"),
        ("x-a\r\nb", "c"),
        ("x a", "c"),
        ("X-Upper", "c"),
        (":path", "/again"),
        (":authority", "again"),
        ("host", "elsewhere.test"),
        ("content-length", "+5"),
        ("content-length", "5, 5"),
    ] {
        let mut raw = client.clone().h2().raw(proxy.public()).await;
        raw.write(PREFACE).await;
        raw.write(frame(SETTINGS, 0, 0, &[])).await;
        let head = head_of("POST", "/bad", &[(name, value)]);
        raw.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
            .await;
        let next = head_of("POST", "/good", &[]);
        raw.write(frame(HEADERS, END_HEADERS | END_STREAM, 3, &next))
            .await;
        let answer = client.get(proxy.public(), "/next").await.unwrap();
        assert_eq!(answer.status, 200);
        let bad: Vec<_> = upstream
            .requests()
            .into_iter()
            .filter(|r| r.path == "/bad" || r.path == "/again")
            .collect();
        assert!(bad.is_empty(), "{name:?}: {value:?}: {bad:?}");
    }
}

#[tokio::test]
async fn upstream_that_answers_early_and_stops_reading_costs_no_descriptor() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        loop {
            let head = raw.read_until("\r\n\r\n").await;
            raw.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                .await;
            if head.starts_with("POST") {
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    let pki = Pki::new();
    let proxy = Setup::new(&pki, &upstream)
        .with(
            "upstreams.orders.response_timeout = '1s'\nlisteners.public.limits.body_timeout = '1s'",
        )
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.get(proxy.public(), "/").await.unwrap();
    let before = proxy.descriptors();
    for _ in 0..10 {
        let (writer, body) = Body::streaming();
        for _ in 0..200 {
            writer.piece("x".repeat(64 * 1024));
        }
        let answer = client.send(proxy.public(), post("/", body)).await;
        assert_eq!(answer.unwrap().status, 413);
        drop(writer);
    }
    eventually("descriptors back", || {
        (proxy.descriptors() <= before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn upstream_that_never_ends_its_interim_answers_is_a_gateway_timeout() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        for _ in 0..100_000 {
            raw.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(10))
                .await;
            // Without end, but no flood: that is another matter.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let pki = Pki::new();
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.response_timeout = '500ms'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for client in client.in_both_protocols() {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert!(
            matches!(answer.status.as_u16(), 502 | 504),
            "{}",
            answer.status
        );
    }
}

#[tokio::test]
async fn second_answer_of_an_upstream_answers_nobody() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").await;
        raw.read_to_end().await;
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for _ in 0..20 {
        match client.get(proxy.public(), "/").await {
            Ok(answer) if answer.status == 200 => assert_eq!(answer.text(), "ok"),
            other => println!("refused: {other:?}"),
        }
    }
}

#[tokio::test]
async fn upstream_that_dies_at_any_byte_is_a_bad_gateway_or_a_broken_answer() {
    const ANSWER: &str =
        "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let upstream = Upstream::scripted(|mut raw, number| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(&ANSWER[..number % ANSWER.len()]).await;
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for _ in 0..ANSWER.len() {
        match client.get(proxy.public(), "/").await {
            Ok(answer) => assert_ne!(answer.status, 200, "taken for whole"),
            Err(refusal) => println!("broken off: {refusal:?}"),
        }
    }
}

#[tokio::test]
async fn protocol_change_that_nobody_asked_for_is_a_bad_gateway() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        raw.read_to_end().await;
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '1s', idle_timeout = '1s'").await;
    for client in client.in_both_protocols() {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 502);
    }
    proxy
        .metrics_where("no open connection", |m| {
            m.sum("countersign_connections_open", &[]) == 0.0
        })
        .await;
}

#[tokio::test]
async fn refused_request_with_content_does_not_leave_its_content_as_a_request() {
    let upstream = Upstream::start().await;
    let pki = Pki::new();
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ path = '/closed', allow = [{ dns = 'nobody.test' }], upstream = 'orders' }, { upstream = 'orders' }]")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let inner = "GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n";
    for framing in [
        format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
            inner.len()
        ),
        format!(
            "Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        format!("Content-Length: {}\r\n\r\n{inner}", 1 << 20),
    ] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(format!("POST /closed HTTP/1.1\r\nHost: proxy.test\r\n{framing}GET /after HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n\r\n")).await;
        let first = raw.read_response().await;
        assert_eq!(first.status, 403, "{first:?}");
        raw.finish().await;
        raw.read_to_end().await;
        let paths: Vec<_> = upstream.requests().iter().map(|r| r.path.clone()).collect();
        assert!(!paths.contains(&"/smuggled".to_owned()), "{paths:?}");
    }
}

#[tokio::test]
async fn half_closed_and_vanished_callers_free_their_slots() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/never" => Reply::never(),
        _ => Reply::ok("x"),
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '500ms', idle_timeout = '500ms', header_timeout = '500ms', handshake_timeout = '500ms', max_connections = 20").await;
    let mut held = Vec::new();
    for number in 0..20 {
        let mut raw = if number % 2 == 0 {
            client.raw(proxy.public()).await
        } else {
            Raw::plain(proxy.public()).await
        };
        if number % 4 == 0 {
            raw.write("POST /x HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
        }
        if number % 3 == 0 {
            raw.finish().await;
        }
        held.push(raw);
    }
    let answer = client.get(proxy.public(), "/").await.unwrap();
    assert_eq!(answer.status, 200);
    proxy
        .metrics_where("no open connection", |m| {
            m.sum("countersign_connections_open", &[]) == 0.0
        })
        .await;
    drop(held);
}

#[tokio::test]
async fn answer_that_says_its_length_in_two_ways_is_settled_or_refused() {
    const CHUNKS: &str = "\r\n5\r\nhello\r\n0\r\n\r\n";
    const ANSWERS: [(&str, &str, bool); 8] = [
        ("Content-Length: 5\r\n", "\r\nhello", true),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            CHUNKS,
            true,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 30\r\n",
            CHUNKS,
            true,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 3\r\n",
            "\r\nhello",
            false,
        ),
        ("Content-Length: 5, 5\r\n", "\r\nhello", false),
        ("Transfer-Encoding: gzip, chunked\r\n", CHUNKS, false),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            "\r\nhello",
            false,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            CHUNKS,
            false,
        ),
    ];
    let upstream = Upstream::scripted(|mut raw, _| async move {
        let head = raw.read_until("\r\n\r\n").await;
        let number: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let (fields, content, _) = ANSWERS[number];
        raw.write(format!("HTTP/1.1 200 OK\r\n{fields}{content}"))
            .await;
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for client in client.in_both_protocols() {
        for (number, (fields, _, passes)) in ANSWERS.into_iter().enumerate() {
            let path = format!("/{number}");
            let answer = client.get(proxy.public(), &path).await.unwrap();
            if passes {
                assert_eq!(answer.text(), "hello", "{fields:?}");
            } else {
                assert_eq!(answer.status, 502, "{fields:?}");
            }
        }
    }
}

#[tokio::test]
async fn identity_in_no_form_of_a_raw_head_or_trailer_reaches_the_upstream() {
    let upstream = Upstream::answering(|received| {
        if received.headers.contains_key("upgrade") {
            return Reply::upgrade();
        }
        Reply::ok("hello")
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for (fields, status) in [
        ("X-Forwarded-Client-Cert : forged", 400),
        ("X-Forwarded-Client-Cert\t: forged", 400),
        ("\u{a0}X-Forwarded-Client-Cert: forged", 400),
        ("X-Forwarded-Client-Cert\0: forged", 400),
        ("X\u{2010}Forwarded-Client-Cert: forged", 400),
        (":X-Forwarded-Client-Cert: forged", 400),
        ("X-Forwarded-Client-Cert:\r\n forged", 400),
        ("X-A: a\r\n\tX-Forwarded-Client-Cert: forged", 400),
        ("X-A: a\rX-Forwarded-Client-Cert: forged", 400),
        ("X-A: a\nX-Forwarded-Client-Cert: forged", 400),
        ("X'Forwarded`Client|Cert: forged", 200),
        (
            "x-forwarded-client-cert: forged\r\nX-Forwarded-Client-Cert: forged",
            200,
        ),
        (
            "Connection: x-forwarded-client-cert\r\nX-Forwarded-Client-Cert: forged",
            200,
        ),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nX_Forwarded_Client_Cert: forged",
            101,
        ),
        (
            "Trailer: X-Forwarded-Client-Cert, X.Forwarded.Client.Cert, Host, Cookie, Authorization\r\n\
             Transfer-Encoding: chunked\r\n\r\n0;X-Forwarded-Client-Cert=forged\r\n\
             X-Forwarded-Client-Cert: forged\r\nX.Forwarded.Client.Cert: forged\r\n\
             Host: forged\r\nCookie: forged\r\nAuthorization: forged",
            200,
        ),
    ] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(format!(
            "GET / HTTP/1.1\r\nHost: proxy.test\r\n{fields}\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.read_head().await.status, status, "{fields:?}");
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 5);
    for received in &requests {
        let fields = received.headers.iter().chain(&received.trailers);
        let forged: Vec<_> = fields.filter(|(_, value)| *value == "forged").collect();
        assert!(forged.is_empty(), "{forged:?}");
        assert!(received.header("x-forwarded-client-cert").is_some());
    }
}

#[tokio::test]
async fn upgrade_to_another_protocol_is_no_tunnel() {
    let upstream = Upstream::start().await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    for protocol in ["h2c", "websocket, h2c", "TLS/1.0", "WebSocket/13"] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(format!(
            "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade, http2-settings\r\n\
             Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.read_response().await.status, 200, "{protocol}");
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 4);
    for received in requests {
        assert!(received.values("upgrade").is_empty());
        assert!(received.values("http2-settings").is_empty());
    }
}

#[tokio::test]
async fn flood_of_resets_or_endless_heads_ends_its_connection_and_no_other() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/slow" => Reply::never(),
        _ => Reply::ok("hello"),
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    let mut other = client.clone().h2().connect(proxy.public()).await.unwrap();
    let head = head_of("POST", "/slow", &[]);
    let resets = (0..2000_u32).flat_map(|number| {
        let stream = number * 2 + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        both.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        both
    });
    let mut endless = frame(HEADERS, 0, 1, &head);
    endless.extend((0..5000).flat_map(|_| frame(CONTINUATION, 0, 1, &literal(&[("x", "y")]))));
    for flood in [resets.collect(), endless] {
        let mut raw = client.clone().h2().raw(proxy.public()).await;
        raw.write(PREFACE).await;
        raw.write(frame(SETTINGS, 0, 0, &[])).await;
        raw.write(flood).await;
        raw.read_to_end().await;
    }
    assert_eq!(other.send(get("/")).await.unwrap().status, 200);
    drop(other);
    proxy
        .metrics_where("no open connection", |metrics| {
            metrics.sum("countersign_connections_open", &[]) == 0.0
        })
        .await;
}

#[tokio::test]
async fn http2_caller_that_vanishes_gives_its_upstream_connections_back() {
    let upstream = Upstream::answering(|_| Reply::never()).await;
    let (proxy, client) = scene(&upstream, "body_timeout = '20s'").await;
    let before = proxy.descriptors();
    let mut raw = client.h2().raw(proxy.public()).await;
    raw.write(PREFACE).await;
    raw.write(frame(SETTINGS, 0, 0, &[])).await;
    for number in 0..50_u32 {
        let head = head_of("POST", "/slow", &[]);
        let flags = END_HEADERS | END_STREAM;
        raw.write(frame(HEADERS, flags, number * 2 + 1, &head))
            .await;
    }
    upstream.received(50).await;
    assert!(proxy.descriptors() >= before + 50);
    drop(raw);
    eventually("descriptors back", || {
        (proxy.descriptors() <= before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn http1_caller_that_takes_nothing_of_its_answer_is_cut() {
    let upstream = Upstream::answering(|_| Reply::ok(&"x".repeat(32 << 20))).await;
    let (proxy, client) = scene(&upstream, "body_timeout = '500ms'").await;
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET /unread HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let line = proxy.access_line("/unread").await;
    assert_eq!(
        line["fault"], "downstream/response_body/client_gone",
        "{line}"
    );
    drop(raw);
}

#[tokio::test]
async fn http2_caller_that_reads_slowly_is_not_cut() {
    const STEP: usize = 1024;
    let upstream = Upstream::answering(|_| Reply::ok(&"x".repeat(100 * STEP))).await;
    let (proxy, client) = scene(&upstream, "body_timeout = '1s'").await;
    let mut raw = client.h2().raw(proxy.public()).await;
    raw.write(PREFACE).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 1024, opened again by each step.
    raw.write(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 4, 0])).await;
    let head = head_of("POST", "/slow", &[]);
    let flags = END_HEADERS | END_STREAM;
    raw.write(frame(HEADERS, flags, 1, &head)).await;
    let mut steps = tokio::time::interval(std::time::Duration::from_millis(40));
    for _ in 0..100 {
        // The whole takes four times the limit.
        steps.tick().await;
        for stream in [0, 1] {
            let more = frame(WINDOW_UPDATE, 0, stream, &[0, 0, 4, 0]);
            raw.write(more).await;
        }
    }
    let line = proxy.access_line("/slow").await;
    assert!(line["fault"].is_null(), "{line}");
}

#[tokio::test]
async fn dead_upstream_is_told_of_once_and_not_for_every_request() {
    let pki = Pki::new();
    let setup = Setup::to(&pki, &Upstream::refused_endpoint().await);
    let proxy = setup.with("server.workers = 1").start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    for _ in 0..50 {
        assert_eq!(session.send(get("/")).await.unwrap().status, 502);
    }
    let told = proxy.logged("endpoint.ejected").len();
    assert!((1..10).contains(&told), "{told} lines");
}

#[tokio::test]
async fn caller_that_vanishes_without_a_word_is_looked_for() {
    let upstream = Upstream::start().await;
    let (proxy, client) = scene(&upstream, "body_timeout = '5s'").await;
    let mut session = client.connect(proxy.public()).await.unwrap();
    session.send(get("/")).await.unwrap();
    let port = format!(":{:04X}", proxy.public().port());
    eventually("a keep-alive timer", || {
        // proc(5): the local address, the remote one, the state (01 is
        // established), the queues, the timer (02 is keep-alive).
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = table.lines().find(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[1].ends_with(&port) && columns[3] == "01" && columns[5].starts_with("02:")
        });
        ours.map(drop)
    })
    .await;
}

#[tokio::test]
async fn tunnels_that_end_in_any_way_free_their_slot() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/tunnel" => Reply::upgrade(),
        _ => Reply::ok("hello"),
    })
    .await;
    let (proxy, client) = scene(&upstream, "max_connections = 8").await;
    let before = proxy.descriptors();
    let mut half_closed = Vec::new();
    for number in 0..16 {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(
            "GET /tunnel HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        )
        .await;
        match number % 3 {
            // Gone before the answer, after it, and half.
            0 => drop(raw),
            1 => assert_eq!(raw.read_head().await.status, 101),
            _ => {
                raw.finish().await;
                half_closed.push(raw);
            }
        }
    }
    upstream.hang_up().await;
    proxy
        .metrics_where("no open connection", |metrics| {
            metrics.sum("countersign_connections_open", &[]) == 0.0
        })
        .await;
    eventually("descriptors back", || {
        (proxy.descriptors() <= before + 1).then_some(())
    })
    .await;
    assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn tunnel_whose_client_has_gone_ends_though_the_service_is_silent() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\n\r\n",
        )
        .await;
        std::future::pending::<()>().await;
    })
    .await;
    let (proxy, client) = scene(&upstream, "body_timeout = '500ms'").await;
    let open = "GET /tunnel HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
    let mut quiet = client.raw(proxy.public()).await;
    quiet.write(open).await;
    assert_eq!(quiet.read_head().await.status, 101);
    for closes in [true, false] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(open).await;
        assert_eq!(raw.read_head().await.status, 101);
        if closes {
            raw.finish().await;
        }
    }
    // A tunnel in which nobody speaks is no reason to end it.
    proxy
        .metrics_where("the quiet one alone", |metrics| {
            metrics.sum("countersign_connections_open", &[]) == 1.0
        })
        .await;
    drop(quiet);
}

#[tokio::test]
async fn service_that_sends_nothing_but_interim_responses_is_answered_for_and_holds_up_nobody() {
    let begun = Arc::new(Notify::new());
    let flooding = Arc::clone(&begun);
    let upstream = Upstream::scripted(move |mut raw, _| {
        let begun = Arc::clone(&flooding);
        async move {
            if raw.read_until("\r\n\r\n").await.contains("/flood") {
                let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
                begun.notify_one();
                for _ in 0..200 {
                    raw.write(&hints).await;
                }
            } else {
                let hint = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                raw.write(format!("{hint}{answer}")).await;
            }
        }
    })
    .await;
    let pki = Pki::new();
    let setup = Setup::new(&pki, &upstream).with("server.workers = 1");
    let setup = setup.with("upstreams.orders.response_timeout = '60s'");
    let (proxy, client) = (
        setup.start().await,
        Client::new(&pki).presenting(&pki.client()),
    );
    let flood = client.get(proxy.public(), "/flood");
    let other = async {
        within("the flood", begun.notified()).await;
        client.get(proxy.public(), "/other").await
    };
    let both = async { tokio::join!(flood, other) };
    let (flood, other) = both.await;
    assert_eq!(flood.unwrap().status, 502);
    assert_eq!(other.unwrap().status, 200);
    let line = proxy.access_line("/flood").await;
    assert!(
        line["cause"].as_str().unwrap().contains("interim"),
        "{line}"
    );
}
