//! What a route permits each caller: how many requests, of which size, in which
//! time; and routes that answer by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, get, next_piece, post, request};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Gate, Reply, Upstream};
use crate::support::{eventually, within};

const WEB: &str = "spiffe://prod.example/web";

/// A proxy with these routes, in front of an upstream that says hello.
async fn with_routes(pki: &Pki, upstream: &Upstream, routes: &str) -> Proxy {
    let setup = Setup::new(pki, upstream).with(&format!("routes = [{routes}]"));
    setup.start().await
}

/// How often each status came, of so many requests that each has a connection
/// of its own.
async fn statuses(client: &Client, proxy: &Proxy, times: usize) -> BTreeMap<u16, usize> {
    let mut all = BTreeMap::new();
    for _ in 0..times {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        *all.entry(answer.status.as_u16()).or_default() += 1;
    }
    all
}

#[tokio::test]
async fn caller_beyond_its_rate_gets_429_in_both_protocols_and_another_is_served() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ name = 'api', rate = '1/h', burst = 4, upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    // Over connections that two workers share.
    for client in client.in_both_protocols() {
        let sent = statuses(&client, &proxy, 2).await;
        assert_eq!(sent, BTreeMap::from([(200, 2)]));
    }
    for client in client.in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        for _ in 0..2 {
            let answer = session.send(get("/more")).await.unwrap();
            assert_eq!(answer.status, 429);
            let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((3500..=3600).contains(&wait), "{wait}");
        }
        assert!(!session.is_closed(), "the connection goes on");
    }
    let line = proxy.access_line_where(|line| line["status"] == 429).await;
    assert_eq!(line["fault"], "proxy/policy/rate_exceeded");
    assert_eq!(
        line["cause"],
        "the caller's identity has used up its 1/h with bursts of 4 on this route"
    );
    let other = Client::new(&pki).presenting(&pki.client_as(WEB));
    assert_eq!(
        statuses(&other, &proxy, 2).await,
        BTreeMap::from([(200, 2)])
    );
    assert_eq!(upstream.requests().len(), 6);
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("limits_struck_total", &["limit=\"rate\""]), 4.0);
}

#[tokio::test]
async fn rate_by_source_is_that_of_all_callers_of_an_address() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ rate = '1/h', burst = 2, rate_per = 'source', upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    for (name, status) in [("a", 200), ("b", 200), ("c", 429)] {
        let leaf = pki.client_as(&format!("spiffe://prod.example/{name}"));
        let client = Client::new(&pki).presenting(&leaf);
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn what_is_refused_for_another_reason_uses_up_nothing() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ rate = '1/h', max_body_bytes = '3B', deny = [{ methods = ['DELETE'] }], upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    for _ in 0..3 {
        let asked = request(Method::DELETE, "/", Body::empty());
        let denied = client.send(proxy.public(), asked).await.unwrap();
        assert_eq!(denied.status, 403);
        let asked = post("/", Body::full("four"));
        let too_large = client.send(proxy.public(), asked).await.unwrap();
        assert_eq!(too_large.status, 413);
    }
    let sent = statuses(&client, &proxy, 2).await;
    assert_eq!(sent, BTreeMap::from([(200, 1), (429, 1)]));
}

#[tokio::test]
async fn rate_holds_on_a_route_whose_policy_is_not_enforced() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ rate = '1/h', enforce = false, allow = [{ dns = 'nobody.example' }], upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    let sent = statuses(&client, &proxy, 2).await;
    assert_eq!(sent, BTreeMap::from([(200, 1), (429, 1)]));
}

#[tokio::test]
async fn caller_that_waits_as_it_was_told_is_served_again() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ rate = '1/s', upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    let refused = session.send(get("/")).await.unwrap();
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn reload_forgets_what_was_used_up_only_where_the_rate_has_changed() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = |rate: &str| format!("routes = [{{ rate = '{rate}', upstream = 'orders' }}]");
    let proxy = Setup::new(&pki, &upstream)
        .with(&route("1/h"))
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let sent = statuses(&client, &proxy, 2).await;
    assert_eq!(sent, BTreeMap::from([(200, 1), (429, 1)]));
    let change = "upstreams.orders.response_timeout = '10s'";
    proxy.after(|proxy| proxy.configure(change)).await;
    assert_eq!(
        statuses(&client, &proxy, 1).await,
        BTreeMap::from([(429, 1)])
    );
    proxy.after(|proxy| proxy.configure(&route("2/h"))).await;
    let sent = statuses(&client, &proxy, 2).await;
    assert_eq!(sent, BTreeMap::from([(200, 1), (429, 1)]));
}

#[tokio::test]
async fn body_that_says_it_is_too_large_gets_413_and_the_upstream_sees_nothing() {
    let (pki, upstream) = (Pki::new(), Upstream::answering(|_| Reply::echo()).await);
    let route = "{ max_body_bytes = '1KiB', upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    for client in client.in_both_protocols() {
        let asked = post("/fits", Body::full("x".repeat(1024)));
        let answer = client.send(proxy.public(), asked).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 1024));
        let asked = post("/large", Body::full("x".repeat(1025)));
        let answer = client.send(proxy.public(), asked).await.unwrap();
        assert_eq!(answer.status, 413);
    }
    assert!(upstream.requests().iter().all(|it| it.path == "/fits"));
    let line = proxy
        .access_line_where(|line| line["path"] == "/large")
        .await;
    assert_eq!(line["fault"], "downstream/request_head/body_too_large");
    let metrics = proxy.metrics().await;
    let struck = metrics.sum("limits_struck_total", &["limit=\"max_body_bytes\""]);
    assert_eq!(struck, 2.0);
}

#[tokio::test]
async fn body_that_turns_out_too_large_is_cut_off_and_never_taken_for_whole() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let route = "{ max_body_bytes = '1KiB', upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    for (path, client) in ["/one", "/two"].into_iter().zip(client.in_both_protocols()) {
        let (writer, body) = Body::streaming();
        let mut session = client.connect(proxy.public()).await.unwrap();
        let answer = tokio::spawn(session.begin(post(path, body)).await);
        writer.piece("x".repeat(1024));
        writer.piece("x");
        let answer = within("the refusal", answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 413);
        drop(writer);
        let line = proxy.access_line(path).await;
        assert_eq!(line["fault"], "downstream/request_body/body_too_large");
    }
    // It saw that they began, and never an end.
    assert!(
        upstream
            .requests()
            .iter()
            .all(|asked| asked.body.is_empty())
    );
    // What fits goes up in pieces as well.
    let (writer, body) = Body::streaming();
    let mut session = client.connect(proxy.public()).await.unwrap();
    let answer = tokio::spawn(session.begin(post("/fits", body)).await);
    writer.piece("x".repeat(1024));
    drop(writer);
    let answer = within("the answer", answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn body_that_turns_out_too_large_when_its_response_has_begun_cuts_that() {
    let (pki, upstream) = (Pki::new(), Upstream::answering(|_| Reply::echo()).await);
    let route = "{ max_body_bytes = '1KiB', upstream = 'orders' }";
    let proxy = with_routes(&pki, &upstream, route).await;
    let client = Client::new(&pki).presenting(&pki.client());
    for (path, client) in ["/one", "/two"].into_iter().zip(client.in_both_protocols()) {
        let (writer, body) = Body::streaming();
        writer.piece("x".repeat(1024));
        let mut session = client.connect(proxy.public()).await.unwrap();
        let (answer, mut body) = session.open(post(path, body)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(next_piece(&mut body).await.is_some());
        writer.piece("x");
        let rest = within("its end", body.collect()).await;
        assert!(rest.is_err(), "a part was taken for the whole");
        let line = proxy.access_line(path).await;
        assert_eq!(line["fault"], "downstream/response_body/body_too_large");
    }
    let metrics = proxy.metrics().await;
    let struck = metrics.sum("limits_struck_total", &["limit=\"max_body_bytes\""]);
    assert_eq!(struck, 2.0);
}

/// Begins to ask, and lets the test go on.
fn under_way(client: &Client, proxy: &Proxy, path: &'static str) -> JoinHandle<Answer> {
    let (client, address) = (client.clone(), proxy.public());
    tokio::spawn(async move { client.get(address, path).await.unwrap() })
}

#[tokio::test]
async fn route_gives_its_upstream_more_time_than_the_others_do() {
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |_| Reply::ok("late").behind(&held)).await;
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.response_timeout = '300ms'")
        .with("routes = [{ path = '/report', response_timeout = '60s', upstream = 'orders' }, { upstream = 'orders' }]")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let report = under_way(&client, &proxy, "/report");
    upstream.received(1).await;
    let answer = client.get(proxy.public(), "/").await.unwrap();
    assert_eq!(answer.status, 504);
    gate.open();
    let report = report.await.unwrap();
    assert_eq!((report.status.as_u16(), report.text()), (200, "late"));
}

#[tokio::test]
async fn stream_with_long_silences_goes_on_where_its_route_says_so() {
    let (pki, open) = (Pki::new(), std::sync::Mutex::new(Vec::new()));
    let open = std::sync::Arc::new(open);
    let writers = std::sync::Arc::clone(&open);
    let upstream = Upstream::answering(move |asked| {
        let (writer, body) = Body::streaming();
        writer.piece("first");
        writers.lock().unwrap().push((asked.path.clone(), writer));
        Reply::body(body)
    })
    .await;
    let proxy = Setup::new(&pki, &upstream)
        .with("listeners.public.limits.body_timeout = '300ms'")
        .with("routes = [{ path = '/events', body_timeout = '60s', upstream = 'orders' }, { upstream = 'orders' }]")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let events = under_way(&client, &proxy, "/events");
    upstream.received(1).await;
    assert!(client.get(proxy.public(), "/other").await.is_err());
    let line = proxy.access_line("/other").await;
    assert_eq!(line["fault"], "upstream/response_body/body_timeout");
    let mut writers = std::mem::take(&mut *open.lock().unwrap());
    writers.retain(|(path, _)| path == "/events");
    let (_, writer) = writers.pop().unwrap();
    writer.piece(" and last");
    drop(writer);
    assert_eq!(events.await.unwrap().text(), "first and last");
}

#[tokio::test]
async fn route_in_maintenance_answers_by_itself_those_who_are_permitted() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let route = format!(
        "{{ maintenance = 'Back at six.', maintenance_retry_after = '10m', allow = [{{ uri = '{WEB}' }}], upstream = 'orders' }}"
    );
    let proxy = with_routes(&pki, &upstream, &route).await;
    let web = Client::new(&pki).presenting(&pki.client_as(WEB));
    for client in web.in_both_protocols() {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("600"));
        assert!(
            answer.text().ends_with("\nBack at six.\n"),
            "{}",
            answer.text()
        );
    }
    let line = proxy.access_line_where(|line| line["status"] == 503).await;
    assert_eq!(line["fault"], "proxy/policy/maintenance");
    let stranger = Client::new(&pki).presenting(&pki.client());
    let answer = stranger.get(proxy.public(), "/").await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(!answer.text().contains("Back at six"), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn maintenance_begins_and_ends_on_connections_that_are_open() {
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |asked| match asked.path.as_str() {
        "/held" => Reply::ok("finished").behind(&held),
        _ => Reply::ok("hello"),
    })
    .await;
    let route = |now: bool| format!("routes = [{{ maintenance = {now}, upstream = 'orders' }}]");
    let proxy = Setup::new(&pki, &upstream)
        .with(&route(false))
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let held = tokio::spawn({
        let (client, address) = (client.clone(), proxy.public());
        async move { client.get(address, "/held").await.unwrap() }
    });
    upstream.received(1).await;
    for client in client.in_both_protocols() {
        let mut session = client.connect(proxy.public()).await.unwrap();
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
        proxy.after(|proxy| proxy.configure(&route(true))).await;
        let answer = session.send(get("/")).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, Some("60"))
        );
        proxy.after(|proxy| proxy.configure(&route(false))).await;
        assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    }
    gate.open();
    assert_eq!(held.await.unwrap().text(), "finished");
}

#[tokio::test]
async fn process_beyond_its_memory_takes_no_new_work_and_finishes_what_it_has() {
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |asked| match asked.path.as_str() {
        "/held" => Reply::ok("finished").behind(&held),
        _ => Reply::ok("hello"),
    })
    .await;
    let proxy = Setup::new(&pki, &upstream)
        .with("server.max_memory = '1GiB'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut session = client.connect(proxy.public()).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    let held = tokio::spawn({
        let (client, address) = (client.clone(), proxy.public());
        async move { client.get(address, "/held").await.unwrap() }
    });
    upstream.received(2).await;
    // What callers of four hundred routes have used up takes 100 MiB.
    let many = (0..400).map(|n| format!("{{ path = '/r{n}', rate = '1/s', upstream = 'orders' }}"));
    let many = many.collect::<Vec<_>>().join(",");
    let change =
        format!("server.max_memory = '64MiB'\nroutes = [{many}, {{ upstream = 'orders' }}]");
    proxy.after(|proxy| proxy.configure(&change)).await;
    proxy.log_line("memory.short", |_| true).await;

    let answer = session.send(get("/refused")).await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    let line = proxy.access_line("/refused").await;
    assert_eq!(line["fault"], "proxy/request_head/overloaded");
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("memory_short", &[]), 1.0);
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e8);
    assert_eq!(proxy.ask_admin("/healthz").await.0, 200);
    gate.open();
    assert_eq!(held.await.unwrap().text(), "finished");
    let waiting = tokio::spawn({
        let (client, address) = (client.clone(), proxy.public());
        async move {
            loop {
                // One may have come before the accept loop knew.
                match client.get(address, "/waits").await {
                    Ok(answer) if answer.status == 200 => break,
                    other => drop(other),
                }
            }
        }
    });
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
    assert!(!waiting.is_finished());

    let change = "server.max_memory = '4GiB'";
    proxy.after(|proxy| proxy.configure(change)).await;
    proxy.log_line("memory.enough", |_| true).await;
    within("the one who waited", waiting).await.unwrap();
    eventually("all were counted", || {
        (upstream.requests().len() == 3).then_some(())
    })
    .await;
}
