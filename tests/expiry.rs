//! What becomes of open connections when their peer's certificate expires.

use std::time::Duration;

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::pki::{CLIENT_URI, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

/// Long enough for a handshake and a request.
const SOON: Duration = Duration::from_secs(4);

async fn scene() -> (Proxy, Client, Upstream) {
    let pki = Pki::new();
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/tunnel" => Reply::upgrade(),
        _ => Reply::ok("hello"),
    })
    .await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let leaf = pki.root().leaf().client().uri(CLIENT_URI);
    let client = Client::new(&pki).presenting(&leaf.expiring_in(SOON).issue());
    (proxy, client, upstream)
}

async fn lines_that_say_so(proxy: &Proxy, count: usize) {
    let lines = eventually("the lines that say why", || {
        Some(proxy.logged("connection.fault")).filter(|lines| lines.len() >= count)
    })
    .await;
    assert_eq!(lines.len(), count, "{lines:#?}");
    for line in lines {
        assert_eq!(line["fault"], "downstream/connection/certificate_expired");
        assert!(
            line["peer"].as_str().unwrap().contains(CLIENT_URI),
            "{line}"
        );
    }
}

#[tokio::test]
async fn open_connections_end_with_their_peers_certificate_and_the_log_says_so() {
    let (proxy, client, _upstream) = scene().await;
    let mut sessions = Vec::new();
    for client in client.in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        sessions.push(session);
    }
    for session in sessions {
        eventually("the end of the connection", || {
            session.is_closed().then_some(())
        })
        .await;
    }
    lines_that_say_so(&proxy, 2).await;
}

#[tokio::test]
async fn tunnel_ends_with_its_peers_certificate_and_the_log_says_so() {
    let (proxy, client, _upstream) = scene().await;
    let mut raw = client.raw(proxy.public()).await;
    raw.write("GET /tunnel HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(raw.read_head().await.status, 101);
    raw.write("echo").await;
    assert_eq!(raw.read_exactly(4).await, "echo");
    assert_eq!(raw.read_to_end().await, "");
    lines_that_say_so(&proxy, 1).await;
}
