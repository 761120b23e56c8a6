//! A service that speaks HTTP/1.0 and nothing newer.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

use std::sync::{Arc, Mutex};

/// What came in, a connection at a time: heads and bodies as they stood.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// A service that reads a request as HTTP/1.0 has it, writes `reply`, and goes
/// on with the next request if `stays`.
async fn old(reply: &'static str, stays: bool) -> (Upstream, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let script = move |mut raw: Raw, number| {
        let seen = Arc::clone(&kept);
        async move {
            loop {
                let mut request = raw.read_until("\r\n\r\n").await;
                let length = request.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    let is_it = name.eq_ignore_ascii_case("content-length");
                    is_it.then(|| value.trim().parse::<usize>().unwrap())
                });
                request += &raw.read_exactly(length.unwrap_or(0)).await;
                seen.lock().unwrap().push((number, request));
                raw.write(reply).await;
                if !stays {
                    return raw.finish().await;
                }
            }
        }
    };
    (Upstream::scripted(script).await, seen)
}

async fn start(upstream: &Upstream, protocol: &str) -> (Client, Proxy) {
    let pki = Pki::new();
    let protocol = format!("upstreams.orders.protocol = '{protocol}'");
    let setup = Setup::new(&pki, upstream).with("server.workers = 1");
    let proxy = setup.with(&protocol).start().await;
    (Client::new(&pki).presenting(&pki.client()), proxy)
}

const ENDS_BY_CLOSE: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end";
const STAYS: &str = "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello";

/// Sends each request over one connection; returns the answers.
async fn sent(client: &Client, proxy: &Proxy, requests: &[&str]) -> Vec<(u16, String)> {
    let mut raw = client.raw(proxy.public()).await;
    let mut answers = Vec::new();
    for request in requests {
        raw.write(request).await;
        let mut answer = raw.read_response().await;
        while answer.status == 100 {
            answer = raw.read_response().await;
        }
        answers.push((answer.status, answer.body));
    }
    answers
}

const GET: &str = "GET /x?y HTTP/1.1\r\nHost: proxy.test\r\nTE: trailers\r\nConnection: te\r\n\r\n";
const POST: &str =
    "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

#[tokio::test]
async fn requests_go_up_as_http_1_0_and_the_end_of_the_connection_is_the_end_of_the_response() {
    let (upstream, seen) = old(ENDS_BY_CLOSE, false).await;
    let (client, proxy) = start(&upstream, "http/1.0").await;
    let answers = sent(&client, &proxy, &[GET, GET]).await;
    let whole = (200, "until the end".to_owned());
    assert_eq!(answers, [whole.clone(), whole]);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].0, seen[1].0, "one connection for each");
    let head = seen[0].1.to_ascii_lowercase();
    assert!(head.starts_with("get /x?y http/1.0\r\n"), "{head}");
    assert!(head.contains("\r\nhost: proxy.test\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
    for newer in ["transfer-encoding", "\r\nte:", "upgrade", "expect"] {
        assert!(!head.contains(newer), "{newer}: {head}");
    }
}

#[tokio::test]
async fn connection_serves_again_only_where_the_service_says_so() {
    for (reply, stays, connections) in [
        (STAYS, true, 1),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, 3),
        // Newer than what it was asked in, it still has not said so.
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, 3),
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            true,
            1,
        ),
    ] {
        let (upstream, seen) = old(reply, stays).await;
        let (client, proxy) = start(&upstream, "http/1.0").await;
        let answers = sent(&client, &proxy, &[GET, GET, GET]).await;
        assert!(
            answers
                .iter()
                .all(|(status, body)| (*status, body.as_str()) == (200, "hello"))
        );
        let seen = seen.lock().unwrap().clone();
        let mut numbers: Vec<_> = seen.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), connections, "{reply}");
        let all_old = seen
            .iter()
            .all(|(_, head)| head.starts_with("GET /x?y HTTP/1.0\r\n"));
        assert!(all_old, "{seen:?}");
    }
}

#[tokio::test]
async fn body_with_a_length_goes_up_and_one_without_gets_411() {
    let (upstream, seen) = old(STAYS, true).await;
    let (client, proxy) = start(&upstream, "http/1.0").await;
    let answers = sent(&client, &proxy, &[GET, POST]).await;
    assert_eq!(answers[1], (200, "hello".to_owned()));
    let request = seen.lock().unwrap()[1].1.clone();
    assert!(request.ends_with("\r\n\r\nbody"), "{request}");
    assert!(
        !request.to_ascii_lowercase().contains("expect"),
        "{request}"
    );

    let answers = sent(&client, &proxy, &[CHUNKED]).await;
    assert_eq!(answers[0].0, 411);
    let line = proxy.access_line_where(|line| line["status"] == 411).await;
    assert_eq!(line["fault"], "downstream/request_head/length_required");
    assert_eq!(seen.lock().unwrap().len(), 2, "nothing of it went up");
}

#[tokio::test]
async fn body_without_a_length_goes_up_whole_after_a_response_of_http_1_0() {
    // A service that is spoken to in HTTP/1.1 and answers in HTTP/1.0.
    let upstream = Upstream::scripted(|mut raw: Raw, _| async move {
        loop {
            let head = raw.read_until("\r\n\r\n").await;
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            let mut body = String::new();
            while chunked && let Some(chunk) = raw.read_chunk().await {
                body += &chunk;
            }
            let length = body.len();
            raw.write(format!(
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        }
    })
    .await;
    let (client, proxy) = start(&upstream, "http/1.1").await;
    let answers = sent(&client, &proxy, &[CHUNKED, CHUNKED, CHUNKED]).await;
    assert!(
        answers.iter().all(|(_, body)| body == "body"),
        "{answers:?}"
    );
}

#[tokio::test]
async fn body_that_is_held_whole_goes_up_with_its_length_and_without_its_trailers() {
    let (upstream, seen) = old(STAYS, true).await;
    let pki = Pki::new();
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'http/1.0'")
        .with("upstreams.orders.buffer_request = '1MiB'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let trailed = CHUNKED.replace("0\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n");
    for (index, request) in [CHUNKED, &trailed].into_iter().enumerate() {
        let answers = sent(&client, &proxy, &[request]).await;
        assert_eq!(answers[0].0, 200, "{request}");
        let seen = seen.lock().unwrap()[index].1.to_ascii_lowercase();
        assert!(seen.contains("\r\ncontent-length: 4\r\n"), "{seen}");
        assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
        assert!(
            !seen.contains("chunked") && !seen.contains("x-sum"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn probes_are_requests_of_http_1_0_too() {
    let (upstream, seen) = old(ENDS_BY_CLOSE, false).await;
    let pki = Pki::new();
    let _proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'http/1.0'")
        .with("upstreams.orders.health = { path = '/well', interval = '200ms' }")
        .start()
        .await;
    let probe = eventually("a probe came", || seen.lock().unwrap().first().cloned()).await;
    assert!(probe.1.starts_with("GET /well HTTP/1.0\r\n"), "{}", probe.1);
}
