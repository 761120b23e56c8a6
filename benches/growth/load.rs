//! Clients that ask, a few at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::progress::progress;
use super::support::client::Client;
use super::support::raw::Raw;

/// How many requests, or handshakes, are under way at one time: no more than
/// the smallest size of anything has connections, so that all sizes are asked
/// in the same way.
pub(crate) const AT_ONE_TIME: usize = 10;

/// A request for `path` with these fields, each with its line end.
pub(crate) fn head(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\n{fields}\r\n")
}

/// Makes a request from its number.
pub(crate) type Asks = Arc<dyn Fn(usize) -> String + Send + Sync>;

/// Connections that are open, and are asked in turns.
pub(crate) struct Crowd {
    lanes: Vec<Lane>,
    asks: Asks,
    /// How many requests have been sent since all were open.
    sent: usize,
}

/// Connections of which one at a time is asked.
#[derive(Default)]
struct Lane {
    connections: Vec<Raw>,
    next: usize,
}

impl Crowd {
    /// Opens this many connections, each by a client of its own and after a request.
    pub(crate) async fn open(
        target: SocketAddr,
        count: usize,
        asks: Asks,
        mut client: impl FnMut() -> Client,
    ) -> Self {
        let mut opening = JoinSet::new();
        let mut open = Vec::with_capacity(count);
        for number in 0..count {
            progress("connections", number, count);
            if opening.len() >= AT_ONE_TIME {
                open.push(opening.join_next().await.unwrap().unwrap());
            }
            opening.spawn(opened_by(client(), target, asks(number)));
        }
        open.extend(opening.join_all().await);
        progress("connections", count, count);
        let mut lanes: Vec<Lane> = (0..AT_ONE_TIME).map(|_| Lane::default()).collect();
        for (number, raw) in open.into_iter().enumerate() {
            lanes[number % AT_ONE_TIME].connections.push(raw);
        }
        Self {
            lanes,
            asks,
            sent: 0,
        }
    }

    /// Sends this many requests.
    pub(crate) async fn ask(&mut self, count: usize) {
        let mut asking = JoinSet::new();
        for (at, lane) in std::mem::take(&mut self.lanes).into_iter().enumerate() {
            let numbers = (self.sent + at..self.sent + count).step_by(AT_ONE_TIME);
            asking.spawn(lane.ask(numbers, Arc::clone(&self.asks)));
        }
        self.lanes = asking.join_all().await;
        self.sent += count;
    }
}

impl Lane {
    async fn ask(mut self, numbers: impl Iterator<Item = usize>, asks: Asks) -> Self {
        let count = self.connections.len();
        for number in numbers {
            answered(&mut self.connections[self.next % count], &asks(number)).await;
            self.next += 1;
        }
        self
    }
}

/// Lets each of these clients connect, ask once and leave.
pub(crate) async fn visit(target: SocketAddr, clients: Vec<Client>) {
    let mut visiting = JoinSet::new();
    for client in clients {
        if visiting.len() >= AT_ONE_TIME {
            visiting.join_next().await.unwrap().unwrap();
        }
        let request = head("/", "Connection: close\r\n");
        visiting.spawn(async move {
            let mut raw = opened_by(client, target, request).await;
            raw.read_to_end().await;
        });
    }
    visiting.join_all().await;
}

async fn opened_by(client: Client, target: SocketAddr, request: String) -> Raw {
    let mut raw = client.raw(target).await;
    answered(&mut raw, &request).await;
    raw
}

async fn answered(raw: &mut Raw, request: &str) {
    raw.write(request).await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 200, "{}", answer.head);
}
