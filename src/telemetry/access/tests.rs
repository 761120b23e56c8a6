use std::net::SocketAddr;
use std::time::{Instant, UNIX_EPOCH};

use super::super::line::tests::outside_of_quotes;
use super::super::reference::ReferenceIds;
use super::super::writer::tests::Page;
use super::*;

/// A request that went well; tests change one thing.
pub(super) fn record<'a>(client: &'a dyn Display) -> AccessRecord<'a> {
    AccessRecord {
        request_id: ReferenceIds::new().next(),
        given_id: None,
        trace: None,
        span: None,
        listener: "public",
        via: None,
        client,
        peer: Some("spiffe://prod.example/web"),
        spoken_for: None,
        method: "GET",
        host: Some("orders.example.com"),
        path: "/api/orders?limit=1",
        protocol: "HTTP/2",
        status: 200,
        route: Some("api"),
        upstream: Some("orders"),
        endpoint: Some("https://10.0.0.5:8443"),
        rule: Some("allow[0]"),
        would_allow: None,
        would_deny: None,
        bytes_received: 0,
        bytes_sent: 512,
        duration: Duration::from_micros(1_234),
        generation: 7,
        fault: None,
        cause: None,
        remedy: None,
        asserted: Some("assertion"),
    }
}

fn line(format: Format, record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    record.append(&mut out, format, UNIX_EPOCH);
    String::from_utf8(out).expect("lines are UTF-8")
}

#[test]
fn request_is_one_line_of_text_in_a_fixed_order() {
    let client: SocketAddr = "[2001:db8::1]:4711".parse().expect("address");
    let record = record(&client);
    assert_eq!(
        line(Format::Text, &record),
        format!(
            "1970-01-01T00:00:00.000Z level=INFO event=request.end listener=public \
             client=[2001:db8::1]:4711 peer=\"spiffe://prod.example/web\" method=GET \
             host=\"orders.example.com\" path=\"/api/orders?limit=1\" protocol=HTTP/2 status=200 \
             route=api upstream=orders endpoint=https://10.0.0.5:8443 rule=\"allow[0]\" \
             asserted=\"assertion\" fault=- cause=- bytes_received=0 bytes_sent=512 \
             duration_ms=1.234 request_id={} generation=7\n",
            record.request_id
        )
    );
}

#[test]
fn caller_for_whom_the_peer_speaks_stands_behind_the_peer() {
    let client: SocketAddr = "[2001:db8::1]:4711".parse().expect("address");
    let record = AccessRecord {
        spoken_for: Some("spiffe://prod.example/a\nb"),
        ..record(&client)
    };
    let line = line(Format::Text, &record);
    let expected = "peer=\"spiffe://prod.example/web\" for=\"spiffe://prod.example/a\\nb\" method=";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn request_is_one_flat_json_object() {
    let fault = "upstream/response_head/timeout";
    let record = AccessRecord {
        status: 504,
        peer: None,
        fault: Some(&fault),
        ..record(&"127.0.0.1:4711")
    };
    let text = line(Format::Json, &record);
    let object: serde_json::Value = serde_json::from_str(&text).expect(&text);
    assert_eq!(object["event"], "request.end");
    assert_eq!(object["client"], "127.0.0.1:4711");
    assert_eq!(object["peer"], serde_json::Value::Null);
    assert_eq!(object["status"], 504);
    assert_eq!(object["duration_ms"], 1.234);
    assert_eq!(object["fault"], fault);
    assert_eq!(object["request_id"], record.request_id.to_string());
    assert!(
        object
            .as_object()
            .expect("object")
            .values()
            .all(|v| !v.is_object())
    );
}

#[test]
fn anonymous_request_without_a_route_has_a_dash_for_what_is_absent() {
    let text = line(
        Format::Text,
        &AccessRecord {
            peer: None,
            host: None,
            route: None,
            upstream: None,
            endpoint: None,
            rule: None,
            asserted: None,
            ..record(&"unix")
        },
    );
    for key in [
        "peer", "host", "route", "upstream", "endpoint", "rule", "asserted",
    ] {
        assert!(text.contains(&format!(" {key}=- ")), "{key}: {text}");
    }
}

#[test]
fn hostile_bytes_in_every_field_stay_in_their_quotes() {
    let hostile = "\" status=200 fault=-\r\n1970 event=request.end \x1b]0;owned\x07 \\é\u{85}\0-";
    let record = AccessRecord {
        request_id: ReferenceIds::new().next(),
        given_id: None,
        trace: None,
        span: None,
        listener: hostile,
        client: &hostile,
        via: None,
        peer: Some(hostile),
        spoken_for: Some(hostile),
        method: hostile,
        host: Some(hostile),
        path: hostile,
        protocol: hostile,
        status: 400,
        route: Some(hostile),
        upstream: Some(hostile),
        endpoint: Some(hostile),
        rule: Some(hostile),
        would_allow: Some(hostile),
        would_deny: Some((hostile, hostile)),
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        generation: 1,
        fault: Some(&hostile),
        cause: Some(hostile),
        remedy: Some(hostile),
        asserted: Some(hostile),
    };
    let text = line(Format::Text, &record);
    assert!(
        text.trim_end_matches('\n')
            .bytes()
            .all(|b| matches!(b, b' '..=b'~'))
    );
    let outside = outside_of_quotes(&text);
    assert_eq!(outside.matches("status=").count(), 1, "{text}");
    assert_eq!(outside.matches("event=").count(), 1, "{text}");
    assert!(outside.contains("status=400"), "{text}");

    let text = line(Format::Json, &record);
    assert!(
        text.trim_end_matches('\n')
            .bytes()
            .all(|b| matches!(b, b' '..=b'~'))
    );
    let object: serde_json::Value = serde_json::from_str(&text).expect(&text);
    for key in ["listener", "client", "peer", "path", "fault", "asserted"] {
        assert_eq!(object[key], hostile);
    }
    assert_eq!(object["status"], 400);
}

#[test]
fn path_is_cut_at_its_limit_with_a_mark_and_not_before() {
    for (length, marked) in [(PATH_LIMIT, false), (PATH_LIMIT + 1, true)] {
        let path = "/".repeat(length);
        let text = line(
            Format::Text,
            &AccessRecord {
                path: &path,
                ..record(&"c")
            },
        );
        let cut = format!("path=\"{}…\"", "/".repeat(PATH_LIMIT));
        assert_eq!(text.contains(&cut), marked);
        assert_eq!(text.contains(&path), !marked);
    }
}

#[test]
fn recorded_line_appears_while_the_worker_is_idle() {
    let page = Page::default();
    let (log, _guard) = AccessLog::start_to(page.clone(), Format::Text).expect("a thread");
    let begun = Instant::now();
    log.for_worker().record(&record(&"c"));
    page.wait_for(|text| text.ends_with('\n'));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn lines_of_all_workers_are_written_before_the_guard_is_gone() {
    let page = Page::default();
    let (log, guard) = AccessLog::start_to(page.clone(), Format::Json).expect("a thread");
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let log = log.for_worker();
            std::thread::spawn(move || (0..100).for_each(|_| log.record(&record(&"c"))))
        })
        .collect();
    for worker in workers {
        worker.join().expect("a worker");
    }
    drop(guard);
    let text = page.text();
    assert_eq!(text.lines().count(), 300);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    assert_eq!(log.dropped(), 0);
}

/// Fails the test when somebody formats it.
struct Untouchable;

impl Display for Untouchable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a disabled log formats nothing");
    }
}

#[test]
fn disabled_log_does_not_even_look_at_the_record() {
    let (started, _guard) = AccessLog::start(Format::Text, false).expect("a thread");
    for log in [
        started.for_worker(),
        AccessLog::disabled().for_worker(),
        AccessLog::disabled().with(Format::Text, true),
    ] {
        assert!(!log.is_enabled());
        log.record(&record(&Untouchable));
        assert_eq!(log.dropped(), 0);
    }
}

#[test]
fn next_generation_enables_changes_and_disables_the_log_of_a_worker() {
    let page = Page::default();
    let (log, guard) = AccessLog::start_to(page.clone(), Format::Text).expect("a thread");
    let worker = log.with(Format::Text, false).for_worker();
    let [second, third, fourth] = [
        worker.with(Format::Text, true),
        worker.with(Format::Json, true),
        worker.with(Format::Json, false),
    ];
    worker.record(&record(&Untouchable));
    second.record(&record(&"second"));
    third.record(&record(&"third"));
    fourth.record(&record(&Untouchable));
    // A request that began under a former generation is recorded as that wants it.
    second.record(&record(&"late"));
    assert_eq!(
        [&worker, &second, &third, &fourth].map(AccessLog::is_enabled),
        [false, true, true, false]
    );
    drop(guard);
    let text = page.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains(" client=second "), "{text}");
    assert!(lines[1].contains("\"client\":\"third\""), "{text}");
    assert!(lines[2].contains(" client=late "), "{text}");
}

#[test]
fn view_of_a_generation_shares_the_buffer_of_its_worker() {
    let (log, _guard) = AccessLog::start_to(io::sink(), Format::Text).expect("a thread");
    let lane_of = |log: &AccessLog| Arc::as_ptr(&log.running.as_ref().expect("running").lane);
    let worker = log.for_worker();
    assert_eq!(lane_of(&worker), lane_of(&worker.with(Format::Json, true)));
    assert_ne!(lane_of(&worker), lane_of(&log));
}
