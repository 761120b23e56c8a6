//! What an operator sees of generations, and how one asks for the next.

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::proxy::{Metrics, Proxy};
use super::raw::Raw;

/// The number of the generation in force.
pub(crate) async fn generation(proxy: &Proxy) -> u64 {
    let trust = trust(proxy).await;
    let told = trust["generation"].as_u64().unwrap();
    let counted = proxy.metrics().await.sum("countersign_generation", &[]);
    // Two answers: another generation may have come between them.
    assert!(counted >= told as f64, "{counted} is before {told}");
    told
}

/// Waits until it is this number, which must not be passed over.
pub(crate) async fn generation_becomes(proxy: &Proxy, number: u64) {
    proxy
        .log_line("generation.published", |line| line["generation"] == number)
        .await;
    assert_eq!(generation(proxy).await, number);
}

/// `GET /trust`.
pub(crate) async fn trust(proxy: &Proxy) -> Value {
    let (status, text) = proxy.ask_admin("/trust").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// `POST /reload`: the status, and what came of it.
pub(crate) async fn reload(proxy: &Proxy) -> (u16, Value) {
    let mut raw = Raw::plain(proxy.admin()).await;
    raw.write(
        "POST /reload HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    let answer = raw.read_response().await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Sends SIGHUP.
pub(crate) fn hang_up(proxy: &Proxy) {
    kill_process(proxy.pid(), Signal::HUP).expect("the proxy runs");
}

/// How many reloads have ended so: `success`, `failure` or `held_back`.
pub(crate) fn counted(metrics: &Metrics, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    metrics.sum("countersign_reloads_total", &[&label])
}

/// Whether what is on disk is not in force, as the metrics have it.
pub(crate) fn is_failing(metrics: &Metrics) -> bool {
    metrics.sum("countersign_reload_failing", &[]) == 1.0
}
