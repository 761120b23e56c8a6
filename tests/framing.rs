//! Messages whose ends two parties could place differently: raw bytes in,
//! refused, and nothing of them reaches the upstream.

use crate::support::client::Client;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

/// What a smuggler would send behind the first request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n";

async fn caller(upstream: &Upstream) -> (Proxy, Raw) {
    let pki = Pki::new();
    let proxy = Setup::new(&pki, upstream).start().await;
    let raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    (proxy, raw)
}

/// The request is answered with `status`, the connection ends, nothing that
/// came behind it is read as a request, and the upstream hears nothing.
async fn refuses(bytes: &str, status: u16) {
    let upstream = Upstream::unreachable().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write(format!("{bytes}{SMUGGLED}")).await;
    assert_eq!(raw.read_response().await.status, status, "{bytes:?}");
    assert_eq!(
        raw.read_to_end().await,
        "",
        "{bytes:?}: the connection ends"
    );
}

#[tokio::test]
async fn content_length_beside_transfer_encoding_is_refused() {
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    )
    .await;
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    )
    .await;
}

#[tokio::test]
async fn differing_content_lengths_are_refused() {
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        400,
    )
    .await;
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 4, 5\r\n\r\nabcd",
        400,
    )
    .await;
}

#[tokio::test]
async fn content_length_that_is_no_number_is_refused() {
    for length in ["+4", "-4", "0x4", "4 4", "", "99999999999999999999999"] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: {length}\r\n\r\nabcd");
        refuses(&head, 400).await;
    }
}

#[tokio::test]
async fn transfer_encoding_that_does_not_end_in_chunked_is_refused() {
    for coding in [
        "identity",
        "chunked, identity",
        "xchunked",
        "chunked, chunked",
        "gzip",
    ] {
        let upstream = Upstream::unreachable().await;
        let (_proxy, mut raw) = caller(&upstream).await;
        raw.write(format!(
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{SMUGGLED}"
        ))
        .await;
        let status = raw.read_response().await.status;
        assert!(matches!(status, 400 | 501), "{coding}: {status}");
        assert_eq!(raw.read_to_end().await, "", "{coding}: the connection ends");
    }
}

#[tokio::test]
async fn request_with_two_hosts_is_refused() {
    turns_away(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nHost: proxy.test\r\n\r\n",
        &[400],
    )
    .await;
    turns_away(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nhost: other.test\r\n\r\n",
        &[400],
    )
    .await;
}

#[tokio::test]
async fn request_without_host_is_refused() {
    turns_away("GET / HTTP/1.1\r\n\r\n", &[400]).await;
}

#[tokio::test]
async fn host_that_is_no_host_is_refused() {
    let hosts = [
        "",
        "proxy.test/path",
        "user@proxy.test",
        "proxy.test:port",
        "a b",
        "proxy.test,other.test",
        "[::1",
    ];
    for host in hosts {
        turns_away(
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            &[400, 421],
        )
        .await;
    }
}

/// The end of the request is clear, so the connection may go on; the upstream
/// hears nothing of it.
async fn turns_away(bytes: &str, statuses: &[u16]) {
    let upstream = Upstream::unreachable().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write(bytes).await;
    let status = raw.read_response().await.status;
    assert!(statuses.contains(&status), "{bytes:?}: {status}");
}

#[tokio::test]
async fn absolute_target_that_contradicts_host_never_counts_as_the_host_field() {
    let upstream = Upstream::start().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write("GET http://elsewhere.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    // RFC 9112 §3.2.2: the target counts; refusing the contradiction is right too.
    let status = raw.read_response().await.status;
    assert!(matches!(status, 400 | 421), "{status}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn white_space_before_the_colon_is_refused() {
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nContent-Length : 4\r\n\r\nabcd",
        400,
    )
    .await;
    refuses(
        "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    )
    .await;
}

#[tokio::test]
async fn folded_field_is_refused() {
    refuses(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-A: one\r\n two\r\n\r\n",
        400,
    )
    .await;
}

#[tokio::test]
async fn control_characters_in_a_head_are_refused() {
    refuses(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-A: a\0b\r\n\r\n",
        400,
    )
    .await;
    refuses(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-A: a\rX-B: b\r\n\r\n",
        400,
    )
    .await;
    refuses("GET /a\u{1}b HTTP/1.1\r\nHost: proxy.test\r\n\r\n", 400).await;
}

#[tokio::test]
async fn nonsense_instead_of_a_request_line_is_refused() {
    for line in [
        "GET",
        "GET /",
        "GET / HTTP/9.9",
        "G@T / HTTP/1.1",
        " / HTTP/1.1",
        "GET  / HTTP/1.1 x",
    ] {
        let upstream = Upstream::unreachable().await;
        let (_proxy, mut raw) = caller(&upstream).await;
        raw.write(format!("{line}\r\nHost: proxy.test\r\n\r\n"))
            .await;
        let status = raw.read_response().await.status;
        assert!(matches!(status, 400 | 505), "{line:?}: {status}");
    }
}

#[tokio::test]
async fn head_over_the_limit_is_refused() {
    let upstream = Upstream::unreachable().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    let long = "x".repeat(64 * 1024);
    raw.write(format!(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-Long: {long}\r\n\r\n"
    ))
    .await;
    assert_eq!(raw.read_response().await.status, 431);
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn http2_head_over_the_limit_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client()).h2();
    let many = (0..40).fold(crate::support::client::get("/"), |request, number| {
        crate::support::client::with(request, &format!("x-long-{number}"), &"x".repeat(1024))
    });
    let answer = client.send(proxy.public(), many).await.unwrap();
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn chunk_size_that_is_none_never_completes_a_request() {
    for chunk in [
        "x\r\nab",
        "-1\r\nab",
        "1;\n\r\nab",
        "ffffffffffffffffff\r\nab",
        "2\r\nabc\r\n",
    ] {
        let upstream = Upstream::start().await;
        let (_proxy, mut raw) = caller(&upstream).await;
        raw.write(format!(
            "POST / HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\n0\r\n\r\n{SMUGGLED}"
        ))
        .await;
        let answer = raw.read_to_end().await;
        assert!(!answer.contains(" 200 "), "{chunk:?}: {answer}");
        let requests = upstream.requests();
        assert!(
            requests.iter().all(|received| received.path != "/smuggled"),
            "{chunk:?}"
        );
        assert!(
            requests.iter().all(|received| received.body.is_empty()),
            "{chunk:?}: taken for whole"
        );
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::start().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write(
        "POST /1 HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: proxy.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    )
    .await;
    for _ in 0..3 {
        assert_eq!(raw.read_response().await.status, 200);
    }
    let paths: Vec<_> = upstream
        .requests()
        .iter()
        .map(|received| received.path.clone())
        .collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
    assert_eq!(upstream.requests()[1].body, "two");
}

#[tokio::test]
async fn http_1_0_caller_gets_an_answer_without_chunks_and_the_connection_ends() {
    let upstream = Upstream::answering(|_| crate::support::upstream::Reply::echo()).await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write("POST / HTTP/1.0\r\nHost: proxy.test\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let answer = raw.read_head().await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.values("transfer-encoding").is_empty(),
        "{}",
        answer.head
    );
    assert_eq!(raw.read_to_end().await, "hello");
}

#[tokio::test]
async fn connect_does_not_make_a_tunnel() {
    let upstream = Upstream::unreachable().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    raw.write("CONNECT proxy.test:443 HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let status = raw.read_response().await.status;
    assert!(
        matches!(status, 400 | 403 | 404 | 405 | 421 | 501),
        "{status}"
    );
}

#[tokio::test]
async fn head_that_comes_byte_by_byte_is_the_same_head() {
    let upstream = Upstream::start().await;
    let (_proxy, mut raw) = caller(&upstream).await;
    let head = "GET / HTTP/1.1\r\nHost: proxy.test\r\nX-Note: Content-Length: 5\r\n\r\n";
    for byte in head.bytes() {
        raw.write([byte]).await;
    }
    raw.write(SMUGGLED).await;
    for _ in 0..2 {
        assert_eq!(raw.read_response().await.status, 200);
    }
}
