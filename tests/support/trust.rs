//! What the log and the metrics tell of open connections, and a handshake that
//! stops half-way.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::Target;
use super::eventually;
use super::proxy::{Metrics, Proxy};

/// How many open connections were withdrawn for this reason; `""` is any.
pub(crate) fn withdrawn(metrics: &Metrics, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}");
    metrics.sum("connections_withdrawn_total", &[&label])
}

/// How many connections are open on a listener.
pub(crate) fn open(metrics: &Metrics, listener: &str) -> f64 {
    let label = format!("listener=\"{listener}\"");
    metrics.sum("countersign_connections_open", &[&label])
}

/// Waits until exactly so many connections are open on a listener.
pub(crate) async fn open_are(proxy: &Proxy, listener: &str, count: usize) {
    let what = format!("{count} open connections on {listener}");
    let count = f64::from(u32::try_from(count).unwrap());
    let fits = |metrics: &Metrics| (open(metrics, listener) - count).abs() < 0.5;
    proxy.metrics_where(&what, fits).await;
}

/// A wire to the proxy that holds back what the client says after the server's
/// first answer: half of a handshake.
pub(crate) struct HeldWire {
    address: std::net::SocketAddr,
    answered: Arc<Notify>,
    release: Arc<Notify>,
}

impl HeldWire {
    /// A wire for one connection to `target`. With `from_the_start` not even the
    /// client's first word goes through.
    pub(crate) async fn to(target: impl Into<Target>, from_the_start: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (answered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let wire = Self {
            address: listener.local_addr().unwrap(),
            answered: Arc::clone(&answered),
            release: Arc::clone(&release),
        };
        let target = target.into();
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = target.open().await.unwrap();
            let ((mut said, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), split(server));
            let down = async {
                if from_the_start {
                    answered.notify_one();
                } else {
                    let mut first = vec![0; 16 * 1024];
                    let count = from_server.read(&mut first).await.unwrap();
                    to_client.write_all(&first[..count]).await.unwrap();
                    answered.notify_one();
                }
                // Whoever hangs up ends the wire.
                drop(copy(&mut from_server, &mut to_client).await);
                drop(to_client.shutdown().await);
            };
            let up = async {
                if !from_the_start {
                    hello(&mut said, &mut to_server).await;
                }
                release.notified().await;
                drop(copy(&mut said, &mut to_server).await);
                drop(to_server.shutdown().await);
            };
            tokio::join!(down, up);
        });
        wire
    }

    /// Where the client connects.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Waits until the server has answered the client's first word, or, when
    /// that is held back, until the connection is there.
    pub(crate) async fn is_half_way(&self) {
        super::within("the server's half of a handshake", self.answered.notified()).await;
    }

    /// Lets everything through from now on.
    pub(crate) fn release(&self) {
        self.release.notify_one();
    }
}

/// Passes on one TLS record: the ClientHello, and nothing after it.
async fn hello(said: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin)) {
    let mut record = vec![0; 5];
    said.read_exact(&mut record).await.unwrap();
    let length = usize::from(record[3]) << 8 | usize::from(record[4]);
    record.resize(5 + length, 0);
    said.read_exact(&mut record[5..]).await.unwrap();
    to.write_all(&record).await.unwrap();
    to.flush().await.unwrap();
}

/// The diagnostics of an event that fit, once there are so many.
pub(crate) async fn lines(
    proxy: &Proxy,
    event: &str,
    count: usize,
    fits: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    eventually(&format!("{count} times {event}"), || {
        let mut all = proxy.logged(event);
        all.retain(|line| fits(line));
        (all.len() >= count).then_some(all)
    })
    .await
}
