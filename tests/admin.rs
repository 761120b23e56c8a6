//! Health, readiness and metrics on an address of their own.

use crate::support::client::{Client, get};
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::raw::Raw;
use crate::support::upstream::{Gate, Reply, Upstream};

#[tokio::test]
async fn running_proxy_is_healthy_and_ready() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    assert_eq!(proxy.ask_admin("/healthz").await.0, 200);
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
    assert_eq!(proxy.ask_admin("/elsewhere").await.0, 404);
}

#[tokio::test]
async fn draining_proxy_is_healthy_and_not_ready() {
    let (pki, gate) = (Pki::new(), Gate::closed());
    let held = gate.clone();
    let upstream = Upstream::answering(move |_| Reply::ok("hello").behind(&held)).await;
    let mut proxy = Setup::new(&pki, &upstream).start().await;
    let mut session = Client::new(&pki)
        .presenting(&pki.client())
        .connect(proxy.public())
        .await
        .unwrap();
    let answer = tokio::spawn(session.begin(get("/")).await);
    upstream.received(1).await;
    proxy.terminate();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while proxy.ask_admin("/readyz").await.0 != 503 {
        assert!(tokio::time::Instant::now() < deadline, "still ready");
    }
    assert_eq!(proxy.ask_admin("/healthz").await.0, 200);
    gate.open();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_status_class() {
    let pki = Pki::new();
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/teapot" => Reply::ok("").status(418),
        _ => Reply::ok("hello"),
    })
    .await;
    let proxy = Setup::new(&pki, &upstream)
        .with("routes = [{ name = 'all', upstream = 'orders' }]")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for path in ["/", "/", "/teapot"] {
        client.get(proxy.public(), path).await.unwrap();
    }
    let counted = |class: &str| {
        let class = class.to_owned();
        move |metrics: &crate::support::proxy::Metrics| {
            metrics.sum("requests", &["route=\"all\"", &class])
        }
    };
    let (good, bad) = (counted("\"2xx\""), counted("\"4xx\""));
    proxy
        .metrics_where("three requests", |metrics| {
            good(metrics) == 2.0 && bad(metrics) == 1.0
        })
        .await;
}

#[tokio::test]
async fn metrics_count_handshakes_by_result_and_reason() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    Client::new(&pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/")
        .await
        .unwrap();
    Client::new(&pki).refusal(proxy.public()).await;
    let fits = |metrics: &crate::support::proxy::Metrics| {
        let refused = metrics.sum(
            "handshake",
            &["reason=\"no_certificate\"", "listener=\"public\""],
        );
        let all: f64 = metrics.sum("handshakes_total", &["listener=\"public\""]);
        refused == 1.0 && all == 2.0
    };
    proxy.metrics_where("one of each", fits).await;
}

#[tokio::test]
async fn metrics_follow_open_connections_back_to_none() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let open = |count: f64| {
        move |metrics: &crate::support::proxy::Metrics| {
            metrics.sum("countersign_connections_open", &["listener=\"public\""]) == count
        }
    };
    let client = Client::new(&pki).presenting(&pki.client());
    let mut first = client.connect(proxy.public()).await.unwrap();
    let mut second = client.connect(proxy.public()).await.unwrap();
    first.send(get("/")).await.unwrap();
    second.send(get("/")).await.unwrap();
    proxy.metrics_where("two open connections", open(2.0)).await;
    drop((first, second));
    proxy.metrics_where("no open connection", open(0.0)).await;
}

#[tokio::test]
async fn metrics_hold_durations_and_certificate_expiry() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    Client::new(&pki)
        .presenting(&pki.client())
        .get(proxy.public(), "/")
        .await
        .unwrap();
    let metrics = proxy
        .metrics_where("a duration", |metrics| {
            metrics.sum("duration_seconds_count", &[]) >= 1.0
        })
        .await;
    assert!(metrics.sum("duration_seconds_bucket", &["le=\"+Inf\""]) >= 1.0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let expiries = metrics
        .0
        .lines()
        .filter(|line| line.contains("certificate") && !line.starts_with('#'));
    let expiries: Vec<f64> = expiries
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect();
    assert!(
        expiries.iter().any(|expiry| *expiry > now),
        "seconds since 1970: {expiries:?}"
    );
}

#[tokio::test]
async fn metrics_explain_themselves() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let mut raw = Raw::plain(proxy.admin()).await;
    raw.write("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        .await;
    let answer = raw.read_response().await;
    let kind = answer.values("content-type").join("");
    assert!(
        kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"),
        "{kind}"
    );
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(
            name.starts_with("countersign_") || name.starts_with("process_"),
            "{line}"
        );
        let family = ["_bucket", "_sum", "_count", "_total", "_info"]
            .iter()
            .fold(name, |name, end| name.trim_end_matches(end));
        assert!(
            answer.body.contains(&format!("# HELP {family}")),
            "{name} has no HELP"
        );
        assert!(
            answer.body.contains(&format!("# TYPE {family}")),
            "{name} has no TYPE"
        );
    }
}

#[tokio::test]
async fn admin_is_not_served_on_a_listener() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream).start().await;
    let client = Client::new(&pki).presenting(&pki.client());
    assert_eq!(
        client.get(proxy.public(), "/metrics").await.unwrap().text(),
        "hello"
    );
    assert_eq!(upstream.only_request().path, "/metrics");
}

#[tokio::test]
async fn admin_answers_on_a_unix_socket() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("admin.bind = 'unix:admin.sock'")
        .start()
        .await;
    let mut raw = Raw::plain(proxy.path("admin.sock")).await;
    raw.write("GET /healthz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
}
