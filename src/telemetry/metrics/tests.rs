use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn metrics() -> Arc<Metrics> {
    Metrics::new(MetricNames {
        listeners: names(&["public", "internal"]),
        routes: names(&["api"]),
        upstreams: names(&["orders"]),
    })
}

fn encoded(metrics: &Arc<Metrics>) -> String {
    metrics.encode().expect("a string takes everything")
}

/// Names, labels and types are what dashboards hold on to: a change here is a
/// change of behaviour.
#[test]
fn exposition_has_exactly_the_promised_names_types_and_labels() {
    let metrics = metrics();
    let public = metrics.listener(0);
    public.connection_opened();
    public.connection_opened();
    public.connection_closed();
    public.handshake_accepted(false);
    public.handshake_accepted(true);
    public.handshake_refused("expired");
    public.not_tls("plain_http");
    metrics
        .route(0)
        .request(504, Some("upstream"), Duration::from_secs(2));
    metrics.no_route().request(404, None, Duration::ZERO);
    metrics.upstream(0).connection("opened");
    metrics.certificate_expires(CertificateKind::Own, "public", 0, 1_800_000_000);
    metrics.certificate_expires(CertificateKind::Anchor, "partners", 1, 1_900_000_000);
    metrics.generation_published(7);

    let seen: String = encoded(&metrics)
        .lines()
        .filter(|line| !line.starts_with("# HELP") && !line.starts_with("process_start"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let golden = include_str!("golden.txt").replace("{version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen, golden, "\n--- seen\n{seen}\n--- golden\n{golden}");
}

#[test]
fn every_metric_has_a_help_text() {
    let text = encoded(&metrics());
    let described = |kind| text.lines().filter(|l| l.starts_with(kind)).count();
    assert_eq!(described("# HELP "), described("# TYPE "));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn process_start_is_now_for_a_process_that_starts_now() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let text = encoded(&metrics());
    let value: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("process_start_time_seconds "))
        .and_then(|value| value.parse().ok())
        .expect("a number");
    assert!((value - now.as_secs_f64()).abs() < 60.0, "{value}");
}

#[test]
fn routes_of_one_name_share_their_counters_and_make_one_series() {
    let metrics = Metrics::new(MetricNames {
        routes: names(&["api", "api", "none"]),
        ..MetricNames::default()
    });
    metrics.route(0).request(200, None, Duration::ZERO);
    metrics.route(1).request(200, None, Duration::ZERO);
    metrics.route(2).request(200, None, Duration::ZERO);
    metrics.no_route().request(200, None, Duration::ZERO);
    let text = encoded(&metrics);
    for route in ["api", "none"] {
        let series = format!(
            "countersign_requests_total{{route=\"{route}\",status_class=\"2xx\",fault_side=\"none\"}} "
        );
        assert_eq!(text.matches(&series).count(), 1, "{text}");
        assert!(text.contains(&format!("{series}2\n")), "{text}");
    }
}

#[test]
fn index_beyond_the_names_is_harmless_and_serves_no_new_series() {
    let metrics = metrics();
    let before = encoded(&metrics);
    metrics.listener(99).handshake_refused("expired");
    metrics.upstream(99).connection("opened");
    assert_eq!(encoded(&metrics), before);

    metrics.route(99).request(200, None, Duration::ZERO);
    assert!(encoded(&metrics).contains(
        "countersign_requests_total{route=\"none\",status_class=\"2xx\",fault_side=\"none\"} 1\n"
    ));
}

#[test]
fn name_with_quotes_and_newlines_stays_one_label() {
    let metrics = Metrics::new(MetricNames {
        upstreams: names(&["a\"b\\c\nd"]),
        ..MetricNames::default()
    });
    metrics.upstream(0).connection("opened");
    assert!(encoded(&metrics).contains(
        "countersign_upstream_connections_total{upstream=\"a\\\"b\\\\c\\nd\",result=\"opened\"} 1\n"
    ));
}

#[test]
fn certificate_noted_twice_keeps_the_later_value_in_one_series() {
    let metrics = metrics();
    metrics.certificate_expires(CertificateKind::Own, "public", 0, 1);
    metrics.certificate_expires(CertificateKind::Own, "public", 0, 2);
    let text = encoded(&metrics);
    let values: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("countersign_certificate_expiry_timestamp_seconds{"))
        .collect();
    assert_eq!(
        values,
        [
            "countersign_certificate_expiry_timestamp_seconds{kind=\"own\",name=\"public\",index=\"0\"} 2"
        ]
    );
}
