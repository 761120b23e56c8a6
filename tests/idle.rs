//! Connections on which nothing is asked for a while, and which hold next to
//! nothing then.

use std::time::{Duration, Instant};

use crate::support::client::{Client, Session, get};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;
use crate::support::within;

const ASKED: &str = "GET /asked HTTP/1.1\r\nHost: proxy.test\r\n\r\n";

async fn scene(limits: &str) -> (Proxy, Client, Upstream) {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with(&format!("listeners.public.limits = {{ {limits} }}"))
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    (proxy, client, upstream)
}

/// So much time passes that a connection on which nothing is asked is known to be
/// one, and has given back what it does not need; another one is served meanwhile.
async fn time_passes(other: &mut Session) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(200) {
        assert_eq!(other.send(get("/other")).await.unwrap().status, 200);
    }
}

async fn is_served(raw: &mut Raw) {
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn connection_that_was_idle_is_served_as_before() {
    let (proxy, client, _upstream) = scene("").await;
    let mut other = client.connect(proxy.public()).await.unwrap();
    let versions = client.in_every_version();
    for client in versions.into_iter().filter(|client| !client.speaks_h2()) {
        let mut raw = client.raw(proxy.public()).await;
        time_passes(&mut other).await;
        raw.write(ASKED).await;
        is_served(&mut raw).await;
        time_passes(&mut other).await;
        // A head that comes slowly …
        let (first, rest) = ASKED.split_at(5);
        raw.write(first).await;
        time_passes(&mut other).await;
        raw.write(rest).await;
        is_served(&mut raw).await;
        time_passes(&mut other).await;
        // … several at once, and the beginning of one more.
        raw.write(format!("{ASKED}{ASKED}{first}")).await;
        is_served(&mut raw).await;
        is_served(&mut raw).await;
        time_passes(&mut other).await;
        raw.write(rest).await;
        is_served(&mut raw).await;
    }
}

#[tokio::test]
async fn client_that_goes_while_idle_gives_back_its_slot() {
    let (proxy, client, _upstream) = scene("max_connections = 2").await;
    let mut other = client.connect(proxy.public()).await.unwrap();
    for client in [client.clone(), client.clone().resuming()] {
        let mut raw = client.raw(proxy.public()).await;
        raw.write(ASKED).await;
        is_served(&mut raw).await;
        time_passes(&mut other).await;
        // Without a word, as a client that crashes.
        drop(raw);
    }
    let answer = within("the slot", client.get(proxy.public(), "/next")).await;
    assert_eq!(answer.unwrap().status, 200);
}
