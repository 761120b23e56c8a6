//! What ties requests to others: the context of traces, ids, and spans.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use crate::support::client::{Client, get, with};
use crate::support::eventually;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRUSTING: &str = "listeners.public.trusted_proxies = ['127.0.0.0/8']";

/// What the service is told in these fields, where a caller sends those.
async fn told(config: &[&str], sent: &[(&str, &str)], asked: &[&str]) -> Vec<Option<String>> {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let setup = Setup::new(&pki, &upstream);
    let proxy = config
        .iter()
        .fold(setup, |setup, one| setup.with(one))
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let request = sent.iter().fold(get("/"), |request, (name, value)| {
        with(request, name, value)
    });
    client.send(proxy.public(), request).await.unwrap();
    let received = upstream.only_request();
    let field = |name: &&str| {
        let values = received.values(name);
        assert!(values.len() < 2, "{name}: {values:?}");
        values.first().map(|value| (*value).to_owned())
    };
    asked.iter().map(field).collect()
}

#[tokio::test]
async fn fields_of_traces_pass_untouched_unless_the_config_says_otherwise() {
    let sent = [("traceparent", "anything"), ("tracestate", "a=1")];
    let told = told(&[], &sent, &["traceparent", "tracestate", "x-request-id"]).await;
    let expected = ["anything", "a=1"].map(|it| Some(it.to_owned()));
    assert_eq!(told[..2], expected);
    assert_eq!(told[2], None);
}

#[tokio::test]
async fn trace_of_a_believed_sender_goes_on_and_that_of_another_does_not() {
    let sent = [("traceparent", SENT), ("tracestate", "a=1,b=2")];
    let asked = ["traceparent", "tracestate"];
    let trace = "trace = {}";
    let believed = told(&[trace, TRUSTING], &sent, &asked).await;
    assert_eq!(believed, [SENT, "a=1,b=2"].map(|it| Some(it.to_owned())));
    let joined = told(&["trace.context = 'join'"], &sent, &asked).await;
    assert_eq!(joined, believed);

    let others = told(&[trace], &sent, &asked).await;
    let begun = others[0].as_deref().unwrap();
    assert_eq!(begun.len(), SENT.len());
    assert!(
        begun.starts_with("00-") && begun.ends_with("-01"),
        "{begun}"
    );
    assert!(!begun.contains("4bf92f35"), "{begun}");
    assert_eq!(others[1], None);
}

#[tokio::test]
async fn malformed_context_begins_a_new_trace() {
    let sent = [("traceparent", "00-BAD"), ("tracestate", "a=1")];
    let asked = ["traceparent", "tracestate"];
    let told = told(&["trace.context = 'join'"], &sent, &asked).await;
    assert_eq!(told[0].as_ref().map(String::len), Some(SENT.len()));
    assert_eq!(told[1], None);
}

#[tokio::test]
async fn context_survives_a_connection_line_that_names_it() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("trace.context = 'join'")
        .with("log.request_id_header = 'X-Request-Id'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let mut raw = client.raw(proxy.public()).await;
    raw.write(format!(
        "GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: traceparent, x-request-id\r\ntraceparent: {SENT}\r\n\r\n"
    ))
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let received = upstream.only_request();
    assert_eq!(received.header("traceparent"), Some(SENT));
    assert!(received.header("x-request-id").is_some());
}

#[tokio::test]
async fn service_is_told_the_id_that_the_log_has() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("log.request_id_header = 'X-Request-Id'")
        .with("trace = {}")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    let forged = with(get("/forged"), "x-request-id", "mine");
    let forged = with(forged, "x_request_id", "mine");
    client.send(proxy.public(), forged).await.unwrap();
    let line = proxy.access_line("/forged").await;
    let received = upstream.only_request();
    assert_eq!(
        received.values("x-request-id"),
        [line["request_id"].as_str().unwrap()]
    );
    assert_eq!(received.header("x_request_id"), None);
    assert!(line.get("given_id").is_none(), "{line}");
    let parent = received.header("traceparent").unwrap();
    assert!(
        parent.contains(line["trace_id"].as_str().unwrap()),
        "{line}"
    );
}

#[tokio::test]
async fn id_of_a_believed_sender_goes_up_if_it_is_one() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("log.request_id_header = 'X-Request-Id'")
        .with(TRUSTING)
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for (path, id, goes_up) in [
        ("/good", "3f2a-17.b", true),
        ("/quotes", "a\"b", false),
        ("/empty", "", false),
    ] {
        let request = with(get(path), "x-request-id", id);
        client.send(proxy.public(), request).await.unwrap();
        let line = proxy.access_line(path).await;
        let requests = upstream.requests();
        let told = requests.last().unwrap().header("x-request-id").unwrap();
        let own = line["request_id"].as_str().unwrap();
        assert_eq!(told, if goes_up { id } else { own });
        assert_eq!(line["given_id"].as_str(), goes_up.then_some(id), "{line}");
    }
}

/// The spans of this kind that a collector has.
fn spans_of(collector: &Upstream, kind: SpanKind) -> Vec<Span> {
    let mut all = spans(collector);
    all.retain(|span| span.kind() == kind);
    all
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// What whoever stands under a span is told.
fn context_of(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// The spans that a collector has, of all requests to it.
fn spans(collector: &Upstream) -> Vec<Span> {
    let mut all = Vec::new();
    for request in collector.requests() {
        assert_eq!(
            (request.method.as_str(), &*request.path),
            ("POST", "/v1/traces")
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/x-protobuf")
        );
        let export = ExportTraceServiceRequest::decode(request.body).unwrap();
        for resource in export.resource_spans {
            let name = &resource.resource.unwrap().attributes[0];
            assert_eq!(name.key, "service.name");
            let edge = Any::StringValue("edge".to_owned());
            assert_eq!(name.value.as_ref().unwrap().value, Some(edge));
            all.extend(
                resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans),
            );
        }
    }
    all.sort_by_key(|span| span.start_time_unix_nano);
    all
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let value = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        text(pair.value.as_ref().unwrap().value.as_ref().unwrap())
    };
    let all = span.attributes.iter();
    all.map(|pair| (pair.key.as_str(), value(pair))).collect()
}

async fn traced(pki: &Pki, upstream: &Upstream, collector: &str, more: &str) -> Proxy {
    Setup::new(pki, upstream)
        .with(&format!("upstreams.collector.endpoints = ['{collector}']"))
        .with("upstreams.collector.outbound.identity_assertion = 'never'")
        .with("trace = { context = 'join', upstream = 'collector', service_name = 'edge' }")
        .with("routes = [{ name = 'all', upstream = 'orders' }]")
        .with(more)
        .start()
        .await
}

#[tokio::test]
async fn collector_is_told_of_requests_and_services_are_told_of_the_spans() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/broken" => Reply::ok("").status(500),
        _ => Reply::ok("hello"),
    })
    .await;
    let collector = Upstream::start().await;
    let proxy = traced(&pki, &upstream, collector.endpoint(), "log.access = false").await;
    let client = Client::new(&pki).presenting(&pki.client_as("spiffe://prod.example/web"));
    let request = with(get("/seen?token=hidden"), "traceparent", SENT);
    client.send(proxy.public(), request).await.unwrap();
    client.get(proxy.public(), "/broken").await.unwrap();
    let unrecorded = SENT.replace("-01", "-00");
    let unrecorded = with(get("/unrecorded"), "traceparent", &unrecorded);
    client.send(proxy.public(), unrecorded).await.unwrap();

    eventually("spans", || (spans(&collector).len() >= 4).then_some(())).await;
    let all = spans_of(&collector, SpanKind::Server);
    let [seen, broken] = &all[..] else {
        panic!("{all:#?}");
    };
    let attempts = spans_of(&collector, SpanKind::Client);
    let [attempt, _] = &attempts[..] else {
        panic!("{attempts:#?}");
    };
    assert_eq!(hex(&seen.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&seen.parent_span_id), "00f067aa0ba902b7");
    let requests = upstream.requests();
    let told = |index: usize| requests[index].header("traceparent").unwrap();
    assert_eq!(told(0), context_of(attempt));
    assert_eq!(attempt.parent_span_id, seen.span_id);
    assert!(attempt.start_time_unix_nano < attempt.end_time_unix_nano);
    assert_eq!(told(2), SENT.replace("-01", "-00"));
    assert_eq!(seen.name, "GET all");
    assert!(seen.start_time_unix_nano < seen.end_time_unix_nano);
    let said = attributes(seen);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/seen"),
        ("http.response.status_code", "200"),
        ("countersign.peer", "spiffe://prod.example/web"),
        ("countersign.listener", "public"),
        ("countersign.upstream", "orders"),
        ("countersign.asserted", "assertion"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{said:#?}");
    }
    let told = format!("{all:?}{attempts:?}");
    assert!(!told.contains("hidden"), "no query: {told}");
    assert!(seen.status.is_none() && broken.status.is_some());
    assert!(broken.parent_span_id.is_empty());
    let exported = |metrics: &crate::support::proxy::Metrics| {
        metrics.sum("countersign_spans_total", &["result=\"exported\""]) == 4.0
    };
    proxy.metrics_where("four spans", exported).await;
}

#[tokio::test]
async fn each_attempt_is_told_of_and_the_service_stands_under_its_own() {
    let pki = Pki::new();
    let fails = AtomicBool::new(true);
    let upstream = Upstream::answering(move |_| match fails.swap(false, Ordering::SeqCst) {
        true => Reply::ok("").status(503),
        false => Reply::ok("done"),
    })
    .await;
    let (nobody, collector) = (Upstream::refused_endpoint().await, Upstream::start().await);
    let options = format!(
        "server.workers = 1
        [upstreams.orders]
        endpoints = ['{nobody}', '{}']
        balance = 'round_robin'
        retry_on = ['503']",
        upstream.endpoint()
    );
    let proxy = traced(&pki, &upstream, collector.endpoint(), &options).await;
    let client = Client::new(&pki).presenting(&pki.client());
    let answer = client.get(proxy.public(), "/twice?token=hidden").await;
    assert_eq!(answer.unwrap().status, 200);
    eventually("spans", || (spans(&collector).len() >= 4).then_some(())).await;
    let request = spans_of(&collector, SpanKind::Server).remove(0);
    let attempts = spans_of(&collector, SpanKind::Client);
    let said: Vec<_> = attempts.iter().map(attributes).collect();
    assert_eq!(said.len(), 3, "{attempts:#?}");
    let mut errors = Vec::new();
    for (count, (attempt, said)) in attempts.iter().zip(&said).enumerate() {
        assert_eq!(attempt.trace_id, request.trace_id);
        assert_eq!(attempt.parent_span_id, request.span_id);
        assert_eq!(attempt.name, "GET");
        let resent = said.get("http.request.resend_count").cloned();
        assert_eq!(resent, (count > 0).then(|| count.to_string()), "{said:#?}");
        assert_eq!(said["http.request.method"], "GET");
        assert_eq!(said["server.address"], "127.0.0.1");
        let endpoint = &said["countersign.endpoint"];
        assert!(endpoint.ends_with(&format!(":{}", said["server.port"])));
        assert_eq!(said["url.full"], format!("{endpoint}/twice"));
        assert_eq!(attempt.status.is_some(), said.contains_key("error.type"));
        errors.push(said.get("error.type").cloned().unwrap_or_default());
    }
    errors.sort_unstable();
    assert_eq!(errors, ["", "503", "connect_refused"]);
    // Each request of the service's own stands under the attempt that brought it.
    let answered = said.iter().zip(&attempts);
    let answered = answered.filter(|(said, _)| said.contains_key("http.response.status_code"));
    let expected: Vec<_> = answered.map(|(_, attempt)| context_of(attempt)).collect();
    let received = upstream.requests();
    let told = received.iter().map(|one| one.header("traceparent"));
    assert_eq!(told.collect::<Option<Vec<_>>>().unwrap(), expected);
}

#[tokio::test]
async fn attempt_that_is_given_up_is_told_of_and_one_of_no_trace_is_not() {
    let (pki, collector) = (Pki::new(), Upstream::start().await);
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/never" => Reply::never(),
        _ => Reply::ok("hello"),
    })
    .await;
    let proxy = traced(&pki, &upstream, collector.endpoint(), "").await;
    let client = Client::new(&pki).presenting(&pki.client());
    let unrecorded = SENT.replace("-01", "-00");
    let unrecorded = with(get("/unrecorded"), "traceparent", &unrecorded);
    client.send(proxy.public(), unrecorded).await.unwrap();
    let address = proxy.public();
    let waits = tokio::spawn(async move { client.get(address, "/never").await });
    upstream.received(2).await;
    waits.abort();
    eventually("spans", || (spans(&collector).len() >= 2).then_some(())).await;
    let attempts = spans_of(&collector, SpanKind::Client);
    assert_eq!(attempts.len(), 1, "{attempts:#?}");
    assert_eq!(attributes(&attempts[0])["error.type"], "abandoned");
    assert_eq!(spans(&collector).len(), 2);
}

#[tokio::test]
async fn last_spans_are_handed_over_at_the_end() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let collector = Upstream::start().await;
    let mut proxy = traced(&pki, &upstream, collector.endpoint(), "").await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.get(proxy.public(), "/last").await.unwrap();
    proxy.terminate();
    assert_eq!(proxy.exit_code().await, Some(0));
    let all = spans(&collector);
    assert_eq!(all.len(), 2, "{all:#?}");
}

#[tokio::test]
async fn collector_that_is_not_there_is_said_once_and_delays_nobody() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let nobody = Upstream::refused_endpoint().await;
    let proxy = traced(&pki, &upstream, &nobody, "").await;
    let client = Client::new(&pki).presenting(&pki.client());
    for _ in 0..3 {
        let answer = client.get(proxy.public(), "/").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let line = proxy.log_line("trace.export_failed", |_| true).await;
    assert_eq!(line["upstream"], "collector", "{line}");
    let refused = |metrics: &crate::support::proxy::Metrics| {
        metrics.sum("countersign_spans_total", &["result=\"refused\""]) == 6.0
    };
    proxy
        .metrics_where("spans that are given up", refused)
        .await;
    assert_eq!(proxy.logged("trace.export_failed").len(), 1);
}
