//! What is said of the metrics, and what is built on them, against the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use http::Method;
use regex::Regex;
use serde_json::Value;

use crate::support::body::Body;
use crate::support::client::{Client, HttpVersion, get, request, with};
use crate::support::pki::{Authority, Pki};
use crate::support::proxy::{Metrics, Setup};
use crate::support::upstream::{Gate, Reply, Upstream};

/// A metric as the table has it, or as it is served.
#[derive(Debug, Default, Eq, PartialEq)]
struct Described {
    kind: String,
    labels: BTreeSet<String>,
}

#[tokio::test]
async fn table_of_metrics_has_what_is_served_and_nothing_else() {
    let metrics = served().await;
    let table = table();
    let families = families(&metrics.0);
    let names = |all: &BTreeMap<String, Described>| all.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&table), names(&families));
    let mut with_series = 0;
    for (name, served) in &families {
        assert_eq!(table[name].kind, served.kind, "{name}");
        if !served.labels.is_empty() {
            with_series += 1;
            assert_eq!(table[name].labels, served.labels, "{name}");
        }
    }
    assert!(
        with_series > 20,
        "only {with_series} have series with labels"
    );
}

#[tokio::test]
async fn alerts_and_dashboard_name_only_metrics_labels_and_words_that_there_are() {
    let table = table();
    let alerts = text("alerts.yaml");
    let alerts: Vec<_> = expressions_in(&alerts);
    assert!(alerts.len() >= 20, "{}", alerts.len());
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    collect_expressions(&dashboard, &mut expressions);
    assert!(expressions.len() >= 40, "{}", expressions.len());
    for expression in alerts.iter().chain(&expressions) {
        check(expression, &table);
    }
}

#[test]
#[should_panic(expected = "there is no metric")]
fn expression_with_a_metric_that_there_is_not_is_found() {
    check("rate(countersign_handshake_total[5m]) > 1", &table());
}

#[test]
#[should_panic(expected = "has no label")]
fn expression_with_a_label_that_there_is_not_is_found() {
    let expression = "countersign_connections_open{upstream=\"orders\"} > 1";
    check(expression, &table());
}

#[test]
#[should_panic(expected = "is never")]
fn expression_with_a_word_that_there_is_not_is_found() {
    check(
        "countersign_handshakes_total{result=\"denied\"} > 1",
        &table(),
    );
}

#[tokio::test]
async fn connections_that_rest_are_told_from_those_in_use() {
    for protocol in [HttpVersion::Http1, HttpVersion::Http2] {
        let (pki, gate) = (Pki::new(), Gate::closed());
        let held = gate.clone();
        let upstream = Upstream::build(move |_| Reply::ok("hello").behind(&held));
        let (upstream, name) = match protocol {
            HttpVersion::Http1 => (upstream, "http/1.1"),
            HttpVersion::Http2 => (upstream.h2(), "h2"),
        };
        let upstream = upstream.start().await;
        let proxy = Setup::new(&pki, &upstream)
            .with("server.workers = 2")
            .with(&format!("upstreams.orders.protocol = '{name}'"))
            .with("upstreams.orders.idle_timeout = '10s'")
            .start()
            .await;
        let are = |in_use: f64, idle: f64| {
            move |metrics: &Metrics| {
                let of = |state| metrics.sum("upstream_connections_open", &[state]);
                (of("state=\"in_use\""), of("state=\"idle\"")) == (in_use, idle)
            }
        };
        proxy.metrics_where("none", are(0.0, 0.0)).await;
        let client = Client::new(&pki).presenting(&pki.client());
        let address = proxy.public();
        let asked = tokio::spawn(async move { client.get(address, "/").await });
        proxy.metrics_where("one in use", are(1.0, 0.0)).await;
        gate.open();
        assert_eq!(asked.await.unwrap().unwrap().status, 200, "{protocol:?}");
        proxy.metrics_where("one that rests", are(0.0, 1.0)).await;
        proxy.metrics_where("none any more", are(0.0, 0.0)).await;
    }
}

#[tokio::test]
async fn nothing_that_a_peer_sends_becomes_a_label() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|received| {
        let status = received.path.trim_start_matches("/made-up-").parse();
        Reply::ok("hello")
            .status(status.unwrap_or(200))
            .header("x-made-up", "made-up-answer")
    })
    .await;
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ name = 'all', upstream = 'orders' }]")
        .start()
        .await;
    let strangers = Authority::root("made-up-authority");
    let mut seen = Vec::new();
    for round in 0..2 {
        for one in [200, 210, 404, 590].map(|status| status + round) {
            let name = format!("spiffe://made-up.test/{one}");
            let client = Client::new(&pki).presenting(&pki.client_as(&name));
            let method = Method::from_bytes(format!("MADE-UP-{one}").as_bytes()).unwrap();
            let asked = request(method, &format!("/made-up-{one}"), Body::empty());
            let asked = with(asked, "host", &format!("made-up-{one}.test"));
            let asked = with(asked, &format!("x-made-up-{one}"), "made-up-value");
            client.send(proxy.public(), asked).await.unwrap();
            let stranger = strangers.leaf().client().uri(&name).issue();
            Client::new(&pki)
                .presenting(&stranger)
                .refusal(proxy.public())
                .await;
        }
        let all = f64::from(4 * (round + 1));
        let ended = |metrics: &Metrics| {
            metrics.sum("handshakes_total", &["result=\"refused\""]) == all
                && metrics.sum("countersign_requests_total", &[]) == all
        };
        let metrics = proxy.metrics_where("all of the round", ended).await;
        assert!(!metrics.0.contains("made-up"), "{}", metrics.0);
        assert!(!metrics.0.contains("MADE-UP"), "{}", metrics.0);
        let series = metrics.0.lines().filter(|line| !line.starts_with('#'));
        let series = series.filter_map(|line| line.rsplit_once(' '));
        seen.push(
            series
                .map(|(series, _)| series.to_owned())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(seen[0], seen[1], "others made new series");
}

/// The metrics of a proxy that has seen good and bad clients, requests and services.
async fn served() -> Metrics {
    let pki = Pki::new();
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/teapot" => Reply::ok("").status(418),
        _ => Reply::ok("hello"),
    })
    .await;
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ name = 'all', upstream = 'orders' }]")
        .with("upstreams.orders.health = { path = '/' }")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for path in ["/", "/teapot", "/%2e%2e"] {
        client.send(proxy.public(), get(path)).await.unwrap();
    }
    Client::new(&pki).refusal(proxy.public()).await;
    let all_ended = |metrics: &Metrics| {
        metrics.sum("countersign_requests_total", &[]) == 3.0
            && metrics.sum("countersign_requests_in_flight", &[]) == 0.0
            && metrics.sum("handshakes_total", &["result=\"refused\""]) == 1.0
    };
    let metrics = proxy.metrics_where("all requests", all_ended).await;
    let fault = [
        "route=\"none\"",
        "side=\"downstream\"",
        "phase=\"request_head\"",
        "kind=\"malformed\"",
    ];
    assert_eq!(metrics.sum("countersign_faults_total", &fault), 1.0);
    let sizes = metrics.sum("countersign_response_size_bytes_sum", &["route=\"all\""]);
    assert_eq!(sizes, 5.0);
    // Each of the three came over a connection of its own.
    let lifetimes = metrics.sum("client_certificate_remaining_seconds_count", &[]);
    assert_eq!(lifetimes, 3.0);
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(metrics.sum("process_open_fds", &[]) > 5.0);
    metrics
}

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/observability");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The table of the document.
fn table() -> BTreeMap<String, Described> {
    let text = text("README.md");
    let (_, rest) = text.split_once("<!-- metrics: begin").unwrap();
    let (part, _) = rest.split_once("<!-- metrics: end").unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        // Each label begins with its name in backticks.
        let labels = cells[3]
            .split("<br>")
            .filter_map(|label| label.split('`').nth(1));
        let described = Described {
            kind: cells[2].to_owned(),
            labels: labels.map(ToOwned::to_owned).collect(),
        };
        (cells[1].trim_matches('`').to_owned(), described)
    })
    .collect()
}

/// The words that the table says a label can be; `None`: it says none.
fn words(metric: &str, label: &str) -> Option<Vec<String>> {
    let text = text("README.md");
    let row = text
        .lines()
        .find(|line| line.starts_with(&format!("| `{metric}`")))?;
    let cell = row.split('|').nth(3)?;
    let described = cell
        .split("<br>")
        .find_map(|one| one.trim().strip_prefix(&format!("`{label}`:")))?;
    let words: Vec<_> = described.split('`').skip(1).step_by(2).collect();
    let words: Vec<_> = words.into_iter().map(ToOwned::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

/// What `/metrics` describes, under the names that the series have.
fn families(metrics: &str) -> BTreeMap<String, Described> {
    let mut all = BTreeMap::new();
    let (mut suffix, mut name) = ("", String::new());
    let label = Regex::new(r#"([a-z_]+)="(?:[^"\\]|\\.)*""#).unwrap();
    for line in metrics.lines() {
        if let Some(description) = line.strip_prefix("# TYPE ") {
            let (family, kind) = description.split_once(' ').unwrap();
            suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            name = format!("{family}{suffix}");
            let described = Described {
                kind: kind.to_owned(),
                labels: BTreeSet::new(),
            };
            assert!(
                all.insert(name.clone(), described).is_none(),
                "{name} twice"
            );
        } else if !line.starts_with('#') {
            assert!(
                line.starts_with(&name),
                "{line} belongs to no {name}{suffix}"
            );
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            let labels = label.captures_iter(labels).map(|found| found[1].to_owned());
            let labels = labels.filter(|label| label != "le");
            all.get_mut(&name).unwrap().labels.extend(labels);
        }
    }
    all
}

/// The expressions of the alerts, which stand in YAML.
fn expressions_in(alerts: &str) -> Vec<String> {
    let rules = alerts.split("      - alert: ").skip(1);
    rules
        .map(|rule| {
            let (_, rest) = rule.split_once("expr:").unwrap();
            let end = Regex::new(r"\n        (for|labels):").unwrap();
            rest[..end.find(rest).unwrap().start()].to_owned()
        })
        .collect()
}

fn collect_expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect_expressions(one, found)),
        Value::Object(all) => {
            for (key, one) in all {
                match one.as_str() {
                    Some(text) if key == "expr" || key == "query" => found.push(text.to_owned()),
                    _ => collect_expressions(one, found),
                }
            }
        }
        _ => {}
    }
}

/// Sees that an expression names only what there is.
#[track_caller]
fn check(expression: &str, table: &BTreeMap<String, Described>) {
    let series = Regex::new(r"\b((?:countersign|process)_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)""#).unwrap();
    let mut known: BTreeSet<&str> = ["job", "instance", "le"].into();
    for found in series.captures_iter(expression) {
        let name = &found[1];
        let described = table.get(name).or_else(|| {
            let family = ["_bucket", "_sum", "_count"];
            let family = family.iter().find_map(|end| name.strip_suffix(end));
            table.get(family?).filter(|one| one.kind == "histogram")
        });
        let described =
            described.unwrap_or_else(|| panic!("there is no metric {name}: {expression}"));
        known.extend(described.labels.iter().map(String::as_str));
        for matched in matcher.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
            let (label, value) = (&matched[1], &matched[2]);
            let has =
                described.labels.contains(label) || ["job", "instance", "le"].contains(&label);
            assert!(has, "{name} has no label {label}: {expression}");
            let is_plain = value
                .chars()
                .all(|one| one.is_ascii_lowercase() || one == '_');
            if let Some(words) = words(name, label).filter(|_| is_plain) {
                let is_known = words.iter().any(|word| word == value);
                assert!(is_known, "{label} of {name} is never {value}: {expression}");
            }
        }
    }
    let grouping = Regex::new(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)").unwrap();
    for found in grouping.captures_iter(expression) {
        for label in found[1].split(',').map(str::trim) {
            assert!(
                known.contains(label),
                "nothing has a label {label}: {expression}"
            );
        }
    }
}
