use std::sync::atomic::{AtomicU64, Ordering};

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

/// A certificate of countersign's own.
fn own(name: &str, index: usize, not_after: i64) -> CertificateExpiry {
    CertificateExpiry {
        kind: CertificateKind::Own,
        name: name.to_owned(),
        index,
        not_after,
    }
}

fn list(bundle: &str, index: usize, next_update: i64) -> RevocationListExpiry {
    RevocationListExpiry {
        bundle: bundle.to_owned(),
        index,
        next_update,
    }
}

/// Uses that a test sets; the last one is at the count, too.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Uses for Counted {
    fn handshakes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn last_handshake(&self) -> Option<i64> {
        match self.handshakes() {
            0 => None,
            count => i64::try_from(count).ok(),
        }
    }
}

fn anchor(index: usize, fingerprint: &str, uses: &Arc<Counted>) -> AnchorUse {
    AnchorUse {
        bundle: "partners".to_owned(),
        index,
        fingerprint: fingerprint.to_owned(),
        uses: Arc::clone(uses) as Arc<dyn Uses>,
    }
}

impl Health for bool {
    fn is_well(&self) -> bool {
        *self
    }

    fn left_alone_by(&self) -> usize {
        if *self { 0 } else { 2 }
    }
}

fn endpoints() -> Vec<EndpointHealth> {
    let endpoint = |(endpoint, well): (&str, bool)| EndpointHealth {
        upstream: "orders".to_owned(),
        endpoint: endpoint.to_owned(),
        is_probed: true,
        health: Arc::new(well),
    };
    [("http://a", true), ("unix:b", false)].map(endpoint).into()
}

/// So many days after 1970 began, in seconds.
fn at_days(days: i64) -> i64 {
    days * 86_400
}

/// A point in time, in seconds since 1970.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The lines of one family, without its description.
fn family(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = encoded(metrics);
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    lines.map(ToOwned::to_owned).collect()
}

fn encoded(metrics: &Metrics) -> String {
    metrics.encode().expect("a string takes everything")
}

/// What happens to listeners, routes and upstreams.
fn happen(metrics: &Metrics) -> [Present; 3] {
    let public = metrics.listener(0);
    public.connection_opened();
    public.connection_opened();
    public.connection_closed();
    public.handshake_accepted(false);
    public.handshake_accepted(true);
    public.handshake_refused("expired");
    public.not_tls("plain_http");
    let route = metrics.route(0);
    route.request(504, Some("upstream"), Duration::from_secs(2));
    let rule = metrics.route(0).rule("allow[0]");
    rule.decided(Decision::Permitted);
    rule.decided(Decision::Permitted);
    rule.decided(Decision::WouldAllow);
    metrics.route(0).rule("old").decided(Decision::WouldDeny);
    route.rule("none matched").decided(Decision::Denied);
    metrics.no_route().request(404, None, Duration::ZERO);
    metrics.upstream(0).connection("opened");
    metrics.upstream(0).request("session");
    metrics.upstream(0).repeated("session_lost");
    metrics.upstream(0).assertion_signed();
    let orders = metrics.upstream_of(0);
    let present = [
        orders.open_connection(),
        orders.open_connection(),
        orders.waiting_request(),
    ];
    drop(orders.kept_session());
    metrics.request_begun();
    metrics.request_begun();
    metrics.request_begun();
    route.sizes(70, 300);
    route.fault("upstream", "response_head", "response_timeout");
    public.certificate_accepted(at_days(3), at(0));
    assert_eq!(public.limit_struck("max_connections"), Some(0));
    assert_eq!(public.limit_struck("max_connections"), None);
    assert_eq!(metrics.upstream(0).limit_struck("max_connections"), Some(0));
    public.connection_withdrawn("revoked");
    public.connection_would_end("untrusted");
    for accepted in [true, false, true] {
        public.assertion_received(accepted);
    }
    present
}

/// Names, labels and types are what dashboards hold on to: a change here is a
/// change of behaviour.
#[test]
fn exposition_has_exactly_the_promised_names_types_and_labels() {
    let metrics = metrics();
    let _present = happen(&metrics);
    let pool = metrics.upstream(0).pool();
    pool.set(1);
    metrics.certificates(vec![
        own("public", 0, 1_800_000_000),
        CertificateExpiry {
            kind: CertificateKind::Anchor,
            ..own("partners", 1, 1_900_000_000)
        },
    ]);
    metrics.revocation_lists(vec![list("partners", 0, 1_850_000_000)]);
    let (used, unused) = (Arc::new(Counted(3.into())), Arc::default());
    metrics.anchors(vec![anchor(0, "ab12", &used), anchor(1, "cd34", &unused)]);
    let would_refuse = Arc::<ReasonCounts>::default();
    would_refuse.add("revoked");
    metrics.unenforced_lists(vec![UnenforcedLists {
        bundle: "partners".to_owned(),
        would_refuse,
    }]);
    metrics.endpoints(endpoints());
    metrics.reload(ReloadOutcome::HeldBack, at(1_600_000_000));
    metrics.reload(ReloadOutcome::Success, at(1_700_000_000));
    metrics.generation_published(7, at(1_700_000_001));
    metrics.include_peers(|| 5);
    let admin = metrics.admin();
    admin.handshake_accepted(true);
    admin.handshake_refused("untrusted");
    admin.not_tls("not_tls");
    metrics.confinement(vec![("landlock", true), ("seccomp", false)]);

    let seen: String = encoded(&metrics)
        .lines()
        .filter(|line| !line.starts_with("# HELP") && !line.contains("process_"))
        .flat_map(|line| [line, "\n"])
        .collect();
    if std::env::var_os("BLESS").is_some() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/telemetry/metrics/golden.txt"
        );
        let blessed = seen.replace(env!("CARGO_PKG_VERSION"), "{version}");
        std::fs::write(file, blessed).expect("the file can be written");
    }
    let golden = include_str!("golden.txt").replace("{version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen, golden, "\n--- seen\n{seen}\n--- golden\n{golden}");
}

#[test]
fn the_table_of_metrics_is_what_the_code_prints() {
    crate::telemetry::documents::golden_part("metrics", &table());
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
    let own = |metrics: &Metrics| {
        let text = encoded(metrics);
        let lines = text.lines().filter(|line| !line.contains("process_"));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let before = own(&metrics);
    metrics.listener(99).handshake_refused("expired");
    metrics.upstream(99).connection("opened");
    assert_eq!(own(&metrics), before);

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
fn certificate_given_twice_keeps_the_later_value_in_one_series() {
    let metrics = metrics();
    metrics.certificates(vec![own("public", 0, 1), own("public", 0, 2)]);
    assert_eq!(
        family(&metrics, EXPIRY),
        [format!(
            "{EXPIRY}{{kind=\"own\",name=\"public\",index=\"0\"}} 2"
        )]
    );
}

#[test]
fn certificates_of_the_former_generation_are_forgotten() {
    let metrics = metrics();
    metrics.certificates(vec![own("public", 0, 1), own("former", 0, 1)]);
    metrics.revocation_lists(vec![list("partners", 0, 1), list("former", 0, 1)]);
    metrics.anchors(vec![anchor(0, "former", &Arc::default())]);
    assert!(encoded(&metrics).contains("former\""));
    metrics.certificates(vec![own("public", 0, 3)]);
    metrics.revocation_lists(vec![list("partners", 0, 3)]);
    metrics.anchors(Vec::new());
    assert!(!encoded(&metrics).contains("former\""));
    assert_eq!(family(&metrics, EXPIRY).len(), 1);
    assert_eq!(
        family(&metrics, "countersign_crl_next_update_timestamp_seconds"),
        ["countersign_crl_next_update_timestamp_seconds{bundle=\"partners\",index=\"0\"} 3"]
    );
}

#[test]
fn use_of_an_anchor_is_seen_by_the_next_scrape() {
    let metrics = metrics();
    let uses = Arc::new(Counted::default());
    metrics.anchors(vec![anchor(0, "ab12", &uses)]);
    for count in [0, 9] {
        uses.0.store(count, Ordering::Relaxed);
        for name in [
            "countersign_anchor_handshakes_total",
            "countersign_anchor_last_handshake_timestamp_seconds",
        ] {
            assert_eq!(
                family(&metrics, name),
                [format!(
                    "{name}{{bundle=\"partners\",index=\"0\",fingerprint=\"ab12\"}} {count}"
                )]
            );
        }
    }
}

#[test]
fn next_generation_goes_on_counting_under_equal_names_at_other_indices() {
    let first = metrics();
    first.listener(0).connection_opened();
    first.route(0).request(200, None, Duration::ZERO);
    first.upstream(0).connection("opened");
    let second = first.with_names(MetricNames {
        listeners: names(&["internal", "public"]),
        routes: names(&["new", "api"]),
        upstreams: names(&["billing", "orders"]),
    });
    second.listener(1).connection_opened();
    second.route(1).request(200, None, Duration::ZERO);
    second.upstream(1).connection("opened");
    for view in [&first, &second] {
        let text = encoded(view);
        for line in [
            "countersign_connections_total{listener=\"public\"} 2\n",
            "countersign_connections_total{listener=\"internal\"} 0\n",
            "countersign_request_duration_seconds_count{route=\"api\"} 2\n",
            "countersign_request_duration_seconds_count{route=\"new\"} 0\n",
            "countersign_upstream_connections_total{upstream=\"orders\",result=\"opened\"} 2\n",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
        }
    }
}

#[test]
fn name_that_goes_and_comes_back_is_served_meanwhile_and_counts_on() {
    let first = metrics();
    first.listener(0).connection_opened();
    let second = first.with_names(MetricNames::default());
    assert_eq!(
        family(&second, "countersign_connections_open"),
        [
            "countersign_connections_open{listener=\"internal\"} 0",
            "countersign_connections_open{listener=\"public\"} 1"
        ]
    );
    let third = second.with_names(MetricNames {
        listeners: names(&["public"]),
        ..MetricNames::default()
    });
    third.listener(0).connection_opened();
    assert!(
        family(&first, "countersign_connections_open")
            .contains(&"countersign_connections_open{listener=\"public\"} 2".to_owned())
    );
}

#[test]
fn counters_that_are_held_outlive_the_view_they_came_from() {
    let first = metrics();
    let (listener, upstream) = (first.listener_of(0), first.upstream_of(0));
    let second = first.with_names(MetricNames::default());
    drop(first);
    listener.connection_withdrawn("revoked");
    upstream.connection("reused");
    let text = encoded(&second);
    for line in [
        "countersign_connections_withdrawn_total{listener=\"public\",reason=\"revoked\"} 1\n",
        "countersign_upstream_connections_total{upstream=\"orders\",result=\"reused\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn what_is_in_force_is_the_same_in_every_view() {
    let first = metrics();
    let second = first.with_names(MetricNames::default());
    second.generation_published(2, at(5));
    second.include_peers(|| 1);
    for view in [&first, &second] {
        assert_eq!(
            family(view, "countersign_generation"),
            ["countersign_generation 2"]
        );
        assert_eq!(
            family(view, "countersign_peers_known"),
            ["countersign_peers_known 1"]
        );
    }
}

/// Counts of success, failure and held back; last success, last failure, failing.
fn reloads(metrics: &Metrics) -> ([u64; 3], [f64; 2], bool) {
    let text = encoded(metrics);
    let value = |series: &str| -> f64 {
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{series}: {text}"))
    };
    let count = |result| value(&format!("countersign_reloads_total{{result=\"{result}\"}}")) as u64;
    let time = |which| {
        value(&format!(
            "countersign_reload_last_{which}_timestamp_seconds"
        ))
    };
    (
        ["success", "failure", "held_back"].map(count),
        ["success", "failure"].map(time),
        value("countersign_reload_failing") == 1.0,
    )
}

#[test]
fn reloads_are_counted_by_result_with_the_last_of_each_kind() {
    let metrics = metrics();
    assert_eq!(reloads(&metrics), ([0, 0, 0], [0.0, 0.0], false));
    metrics.generation_published(1, at(10));
    assert_eq!(reloads(&metrics), ([0, 0, 0], [10.0, 0.0], false));
    metrics.reload(ReloadOutcome::Failure, at(20));
    assert_eq!(reloads(&metrics), ([0, 1, 0], [10.0, 20.0], true));
    metrics.reload(ReloadOutcome::HeldBack, at(30));
    assert_eq!(reloads(&metrics), ([0, 1, 1], [10.0, 30.0], true));
    metrics.reload(ReloadOutcome::Success, at(40));
    assert_eq!(reloads(&metrics), ([1, 1, 1], [40.0, 30.0], false));
}

const EXPIRY: &str = "countersign_certificate_expiry_timestamp_seconds";
