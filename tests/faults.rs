//! A failed request: what the caller is told, and what the operator is told.

use http::Method;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, get, request, with};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

#[tokio::test]
async fn caller_of_no_route_gets_a_reference_that_the_log_has_too() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ path = '/api', upstream = 'orders' }]")
        .start()
        .await;
    refers(&pki, &proxy, 404, "proxy").await;
}

#[tokio::test]
async fn refused_caller_gets_a_reference_that_the_log_has_too() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let routes = "routes = [{ allow = [{ dns = 'nobody.example' }], upstream = 'orders' }]";
    let proxy = Setup::new(&pki, &upstream).with(routes).start().await;
    let (_, line) = refers(&pki, &proxy, 403, "").await;
    assert!(
        line["rule"].as_str().is_some_and(|rule| !rule.is_empty()),
        "{line}"
    );
}

#[tokio::test]
async fn refused_head_is_answered_without_a_body_in_both_protocols() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let routes = "routes = [{ path = '/api', upstream = 'orders' }]";
    let proxy = Setup::new(&pki, &upstream).with(routes).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    for client in client.in_both_protocols() {
        let mut lengths = Vec::new();
        for method in [Method::HEAD, Method::GET] {
            let asked = request(method.clone(), "/", Body::empty());
            let answer = client.send(proxy.public(), asked).await.unwrap();
            assert_eq!(answer.status, 404);
            assert_eq!(answer.body.is_empty(), method == Method::HEAD);
            lengths.push(answer.header("content-length").unwrap().to_owned());
        }
        assert_eq!(lengths[0], lengths[1], "of what GET would get");
    }
}

#[tokio::test]
async fn caller_of_a_dead_upstream_gets_a_reference_and_not_the_cause() {
    let pki = Pki::new();
    let dead = Upstream::refused_endpoint().await;
    let proxy = Setup::to(&pki, &dead).start().await;
    let (answer, line) = refers(&pki, &proxy, 502, "upstream").await;
    let address = dead.trim_start_matches("http://");
    assert!(
        line.to_string().contains(address),
        "the log names the endpoint: {line}"
    );
    assert!(
        !answer.text().contains(address),
        "the answer does not: {}",
        answer.text()
    );
    assert!(
        !answer.text().contains("orders"),
        "nor the upstream: {}",
        answer.text()
    );
}

#[tokio::test]
async fn caller_of_a_silent_upstream_gets_a_reference_that_the_log_has_too() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| Reply::never()).await;
    let setup = Setup::new(&pki, &upstream).with("upstreams.orders.response_timeout = '200ms'");
    let proxy = setup.start().await;
    refers(&pki, &proxy, 504, "upstream").await;
}

#[tokio::test]
async fn caller_with_a_foreign_authority_gets_a_reference_that_the_log_has_too() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let answer = client
        .send(proxy.public(), with(get("/"), "host", "foreign.test"))
        .await
        .unwrap();
    assert_eq!(answer.status, 421);
    let line = proxy.access_line("/").await;
    assert_eq!(line["host"], "foreign.test");
    assert!(
        answer.text().contains(line["request_id"].as_str().unwrap()),
        "{}",
        answer.text()
    );
}

/// Asks once over each protocol; returns the last answer and its access line.
async fn refers(pki: &Pki, proxy: &Proxy, status: u16, side: &str) -> (Answer, Value) {
    let mut last = None;
    let client = Client::new(pki).presenting(&pki.client());
    for (path, client) in ["/first", "/second"]
        .into_iter()
        .zip(client.in_both_protocols())
    {
        let answer = client.get(proxy.public(), path).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        let line = proxy.access_line(path).await;
        let reference = line["request_id"].as_str().unwrap();
        assert!(
            !reference.is_empty() && answer.text().contains(reference),
            "{reference}: {}",
            answer.text()
        );
        assert!(answer.text().len() < 300, "short: {}", answer.text());
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with("text/plain")
        );
        assert_eq!(line["status"], status);
        let fault = line["fault"]
            .as_str()
            .unwrap_or_else(|| panic!("no fault in {line}"));
        assert_eq!(fault.split('/').count(), 3, "side/phase/kind: {fault}");
        assert!(fault.starts_with(side), "{fault}");
        assert!(
            line["cause"]
                .as_str()
                .is_some_and(|cause| !cause.is_empty()),
            "{line}"
        );
        last = Some((answer, line));
    }
    last.unwrap()
}

#[tokio::test]
async fn references_are_never_given_twice() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut references = std::collections::HashSet::new();
    for number in 0..20 {
        let path = format!("/{number}");
        client.get(proxy.public(), &path).await.unwrap();
        let line = proxy.access_line(&path).await;
        references.insert(line["request_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(references.len(), 20);
}

#[tokio::test]
async fn served_request_has_one_access_line_with_everything_about_it() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ name = 'all', upstream = 'orders' }]")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.h2().get(proxy.public(), "/served").await.unwrap();
    let line = proxy.access_line("/served").await;
    let expected = [
        ("listener", "public"),
        ("method", "GET"),
        ("host", "proxy.test"),
        ("route", "all"),
        ("upstream", "orders"),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!(
        (&line["status"], &line["bytes_sent"]),
        (&200.into(), &5.into()),
        "{line}"
    );
    assert!(line["peer"].as_str().unwrap().contains("billing"), "{line}");
    assert!(
        line["client"].as_str().unwrap().starts_with("127.0.0.1"),
        "{line}"
    );
    assert!(line["protocol"].as_str().unwrap().contains('2'), "{line}");
    assert!(line["duration_ms"].is_number(), "{line}");
    assert!(line.get("fault").is_none_or(Value::is_null), "{line}");
    assert!(
        line.as_object()
            .unwrap()
            .values()
            .all(|value| !value.is_object() && !value.is_array()),
        "flat: {line}"
    );
}

#[tokio::test]
async fn access_line_cannot_be_forged_by_a_path() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    let path = r#"/x"},{"event":"request.end","status":999"#;
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n\r\n"))
        .await;
    let answer = raw.read_response().await;
    if answer.status == 200 {
        let line = proxy.access_line(path).await;
        assert_eq!(line["status"], 200);
    }
    assert_ne!(answer.status, 999);
}

#[tokio::test]
async fn caller_that_goes_away_is_the_one_who_ended_it() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|_| Reply::never()).await;
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Client::new(&pki)
        .presenting(&pki.client())
        .raw(proxy.public())
        .await;
    raw.write("GET /gone HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    upstream.received(1).await;
    drop(raw);
    let line = proxy.access_line("/gone").await;
    assert!(
        line["fault"].as_str().unwrap().starts_with("downstream/"),
        "{line}"
    );
}

/// The library lets go of a response at its length, before it hears of its end.
#[tokio::test]
async fn response_that_is_whole_by_its_length_is_nobodys_fault_though_its_end_is_late() {
    let pki = Pki::new();
    let (unended, mut written) = unbounded_channel();
    let upstream = Upstream::build(move |_| {
        let (writer, body) = Body::streaming();
        writer.piece("hello");
        unended.send(writer).unwrap();
        Reply::body(body).header("content-length", "5")
    });
    let upstream = upstream.h2().start().await;
    let proxy = Setup::new(&pki, &upstream)
        .with("upstreams.orders.protocol = 'h2'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let answer = client.get(proxy.public(), "/whole").await.unwrap();
    assert_eq!(answer.text(), "hello");
    let line = proxy.access_line("/whole").await;
    assert_eq!(line["fault"], Value::Null, "{line}");
    drop(written.recv().await.unwrap());
}
