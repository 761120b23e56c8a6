//! Which endpoint gets a request, and which is left alone.

use std::collections::BTreeSet;

use crate::support::client::{Client, get};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

/// A proxy of one worker before these endpoints.
async fn proxy(pki: &Pki, all: &[&Upstream], more: &str) -> Proxy {
    setup(pki, all, more)
        .with("server.workers = 1")
        .start()
        .await
}

fn setup(pki: &Pki, all: &[&Upstream], more: &str) -> Setup {
    let endpoints: Vec<_> = all.iter().map(|one| one.endpoint()).collect();
    Setup::new(pki, all[0])
        .with(&format!("upstreams.orders.endpoints = {endpoints:?}"))
        .with(&format!("[upstreams.orders]\n{more}"))
}

/// Upstreams that answer with this status.
async fn upstreams<const N: usize>(statuses: [u16; N]) -> Vec<Upstream> {
    let mut all = Vec::new();
    for status in statuses {
        all.push(Upstream::answering(move |_| Reply::ok("").status(status)).await);
    }
    all
}

/// The statuses of so many requests over one connection.
async fn statuses(pki: &Pki, proxy: &Proxy, requests: usize) -> Vec<u16> {
    let client = Client::new(pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let answer = session.send(get("/")).await.unwrap();
        statuses.push(answer.status.as_u16());
    }
    statuses
}

fn counts(all: &[Upstream]) -> Vec<usize> {
    all.iter().map(|one| one.requests().len()).collect()
}

#[tokio::test]
async fn round_robin_gives_each_endpoint_its_turn() {
    let pki = Pki::new();
    let all = upstreams([200, 200, 200]).await;
    let each: Vec<_> = all.iter().collect();
    let proxy = proxy(&pki, &each, "balance = 'round_robin'").await;
    for round in 1..=3 {
        assert_eq!(statuses(&pki, &proxy, 3).await, [200; 3]);
        assert_eq!(counts(&all), [round; 3]);
    }
}

/// The endpoint of each of some callers, who come several times, as whoever
/// looks at the endpoints sees it.
async fn homes(pki: &Pki, proxy: &Proxy, all: &[Upstream]) -> Vec<Vec<usize>> {
    let mut homes = Vec::new();
    for caller in 0..8 {
        let before = counts(all);
        let uri = format!("spiffe://test.example/caller-{caller}");
        for _ in 0..3 {
            // Another certificate of the same name, over a connection of its own.
            let leaf = pki.root().leaf().client().uri(&uri).issue();
            let client = Client::new(pki).presenting(&leaf);
            let answer = client.get(proxy.public(), "/").await.unwrap();
            assert_eq!(answer.status, 200);
        }
        let after = counts(all);
        let got = |index: &usize| after[*index] > before[*index];
        homes.push((0..all.len()).filter(got).collect());
    }
    homes
}

#[tokio::test]
async fn caller_has_an_endpoint_of_its_own_with_identity_hash_and_with_no_other_balance() {
    let pki = Pki::new();
    let mut all = upstreams([200, 200, 200]).await;
    let each: Vec<_> = all.iter().collect();
    // Two workers, which must agree.
    let by_identity = || setup(&pki, &each, "balance = 'identity_hash'");
    let first = by_identity().start().await;
    let found = homes(&pki, &first, &all).await;
    assert!(found.iter().all(|homes| homes.len() == 1), "{found:?}");
    let used: BTreeSet<_> = found.iter().flatten().copied().collect();
    assert!(used.len() > 1, "all callers have the same endpoint");
    let after_restart = by_identity().start().await;
    assert_eq!(homes(&pki, &after_restart, &all).await, found);

    let by_address = setup(&pki, &each, "balance = 'ip_hash'").start().await;
    let shared = homes(&pki, &by_address, &all).await;
    let shared: BTreeSet<_> = shared.into_iter().flatten().collect();
    assert_eq!(shared.len(), 1, "they have the same address");

    let in_turn = setup(&pki, &each, "balance = 'round_robin'").start().await;
    let spread = homes(&pki, &in_turn, &all).await;
    assert!(spread.iter().all(|homes| homes.len() > 1), "{spread:?}");

    // Only the callers of an endpoint that is gone move.
    let gone = *used.first().unwrap();
    let endpoints: Vec<_> = all.iter().map(|one| one.endpoint().to_owned()).collect();
    all.remove(gone);
    let kept: Vec<_> = (0..3).filter(|index| *index != gone).collect();
    let moved = homes(&pki, &first, &all).await;
    for (caller, (before, after)) in found.iter().zip(&moved).enumerate() {
        let after: Vec<_> = after.iter().map(|index| kept[*index]).collect();
        assert!(
            before[0] == gone || *before == after,
            "{caller}: {endpoints:?}"
        );
    }
}

/// Two failures are enough, and nobody comes back within the test.
const STRICT: &str = "balance = 'round_robin'
ejection = { consecutive_failures = 2, base = '10m', longest = '10m', failure_status = [503] }";

#[tokio::test]
async fn endpoint_that_fails_requests_in_a_row_is_left_alone() {
    let pki = Pki::new();
    let all = upstreams([503, 200]).await;
    let proxy = proxy(&pki, &[&all[0], &all[1]], STRICT).await;
    let found = statuses(&pki, &proxy, 20).await;
    assert_eq!(found.iter().filter(|status| **status == 503).count(), 2);
    assert_eq!(counts(&all), [2, 18]);
    let line = proxy.log_line("endpoint.ejected", |_| true).await;
    assert_eq!(line["endpoint"], all[0].endpoint());
    assert!(line["cause"].as_str().unwrap().contains("503"), "{line}");
}

#[tokio::test]
async fn answers_of_the_service_are_no_failures_unless_they_are_listed() {
    let pki = Pki::new();
    let all = upstreams([500, 200]).await;
    let proxy = proxy(&pki, &[&all[0], &all[1]], STRICT).await;
    statuses(&pki, &proxy, 20).await;
    assert_eq!(counts(&all), [10, 10]);
}

#[tokio::test]
async fn endpoint_that_does_not_answer_in_time_is_left_alone() {
    let pki = Pki::new();
    let silent = Upstream::answering(|_| Reply::never()).await;
    let good = Upstream::start().await;
    let more = format!("{STRICT}\nresponse_timeout = '500ms'");
    let proxy = proxy(&pki, &[&silent, &good], &more).await;
    let found = statuses(&pki, &proxy, 20).await;
    assert_eq!(found.iter().filter(|status| **status == 504).count(), 2);
    assert_eq!(silent.requests().len(), 2);
}

#[tokio::test]
async fn endpoint_that_was_left_alone_is_tried_again_and_takes_part_again() {
    let pki = Pki::new();
    let all = upstreams([200]).await;
    // Refuses its first three requests.
    let gate = std::sync::atomic::AtomicUsize::new(0);
    let ill = Upstream::answering(move |_| {
        let number = gate.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::ok("").status(if number < 3 { 503 } else { 200 })
    });
    let ill = ill.await;
    let more = "balance = 'round_robin'
        ejection = { consecutive_failures = 3, base = '300ms', failure_status = ['5xx'] }";
    let proxy = proxy(&pki, &[&all[0], &ill], more).await;
    statuses(&pki, &proxy, 6).await;
    proxy.log_line("endpoint.ejected", |_| true).await;
    while ill.requests().len() < 5 {
        assert_eq!(statuses(&pki, &proxy, 1).await, [200]);
    }
    let line = proxy.log_line("endpoint.back", |_| true).await;
    assert_eq!(line["endpoint"], ill.endpoint());
}

#[tokio::test]
async fn no_more_endpoints_are_left_alone_for_failures_than_their_share() {
    for (share, alone) in [("50%", 1), ("100%", 3), ("0%", 0)] {
        let pki = Pki::new();
        let all = upstreams([503, 503, 503]).await;
        let each: Vec<_> = all.iter().collect();
        let setup = setup(&pki, &each, STRICT).with("server.workers = 1");
        let max_share = format!("upstreams.orders.ejection.max_share = '{share}'");
        let proxy = setup.with(&max_share).start().await;
        statuses(&pki, &proxy, 30).await;
        let counts = counts(&all);
        assert_eq!(counts.iter().sum::<usize>(), 30, "{share}: {counts:?}");
        let ejected = proxy.logged("endpoint.ejected");
        assert_eq!(ejected.len(), alone, "{share}: {ejected:?}");
        if alone == 1 {
            assert!(counts.contains(&2), "{counts:?}");
        }
    }
}

#[tokio::test]
async fn endpoint_stays_left_alone_when_something_else_is_reloaded() {
    let pki = Pki::new();
    let all = upstreams([503, 200]).await;
    let proxy = proxy(&pki, &[&all[0], &all[1]], STRICT).await;
    statuses(&pki, &proxy, 10).await;
    assert_eq!(counts(&all)[0], 2);
    let change = "log.level = 'debug'";
    proxy.after(|proxy| proxy.configure(change)).await;
    statuses(&pki, &proxy, 10).await;
    assert_eq!(counts(&all), [2, 18]);
    // What is another upstream begins anew.
    let change = "upstreams.orders.idle_timeout = '29s'";
    proxy.after(|proxy| proxy.configure(change)).await;
    statuses(&pki, &proxy, 10).await;
    assert_eq!(counts(&all), [4, 26]);
}

#[tokio::test]
async fn endpoint_with_a_name_is_reached_at_whichever_of_its_addresses_answers() {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    // It may stand for ::1 as well, where nothing listens.
    let named = upstream.endpoint().replace("127.0.0.1", "localhost");
    let proxy = Setup::to(&pki, &named)
        .with("upstreams.orders.resolve_interval = '1s'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for _ in 0..6 {
        assert_eq!(client.get(proxy.public(), "/").await.unwrap().status, 200);
        upstream.hang_up().await;
    }
    let name = "http://does-not-exist.invalid";
    let lost = Setup::to(&pki, name)
        .with("upstreams.orders.outbound.identity_assertion = 'never'")
        .with("upstreams.orders.allow_plaintext = true");
    let lost = lost.start().await;
    assert_eq!(client.get(lost.public(), "/").await.unwrap().status, 502);
    let line = lost.log_line("endpoint.unresolved", |_| true).await;
    assert_eq!(line["endpoint"], name);
    assert!(!line["remedy"].as_str().unwrap().is_empty(), "{line}");
}
