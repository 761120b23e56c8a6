//! What a hostile client can hold, and for how long: each attack is cut off in
//! its time, costs a bounded amount of memory, and others are served meanwhile.

use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{Instant, interval};

use crate::support::body::Body;
use crate::support::client::{Client, get, post};
use crate::support::frames::Frames;
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Reply, Upstream};
use crate::support::{eventually, within};

/// In KiB: what an attack of this size may cost, buffers of the allocator included.
const BOUND: u64 = 48 * 1024;

/// A proxy under attack, and somebody else who uses it all the time.
struct Siege {
    pki: Pki,
    proxy: Proxy,
    before: u64,
}

impl Siege {
    /// `limits` are those of the listener, which the bystander uses, too.
    async fn begin(upstream: &Upstream, limits: &str) -> Self {
        let pki = Pki::new();
        let proxy = Setup::new(&pki, upstream)
            .with(&format!("listeners.public.limits = {{ {limits} }}"))
            .start()
            .await;
        let siege = Self {
            before: 0,
            pki,
            proxy,
        };
        siege.bystander_is_served().await;
        let before = siege.proxy.resident();
        Self { before, ..siege }
    }

    fn client(&self) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client())
    }

    async fn bystander_is_served(&self) {
        for client in self.client().in_both_protocols() {
            let answer = client.get(self.proxy.public(), "/bystander").await;
            assert_eq!(answer.unwrap().status, 200);
        }
    }

    /// Runs an attack to its end while the bystander is served, and sees that it
    /// ended within `time` and cost no more than there is.
    async fn stands(&self, time: Duration, attack: impl Future<Output = ()>) {
        let begun = Instant::now();
        let mut attack = std::pin::pin!(attack);
        let mut pace = interval(Duration::from_millis(100));
        let mut most = 0;
        loop {
            tokio::select! {
                () = &mut attack => break,
                _ = pace.tick() => {
                    self.bystander_is_served().await;
                    most = most.max(self.proxy.resident());
                }
            }
            assert!(begun.elapsed() < time, "not cut off in {time:?}");
        }
        self.bystander_is_served().await;
        let cost = most.saturating_sub(self.before);
        assert!(cost < BOUND, "{cost} KiB");
    }

    /// Stands while these connections are opened, and ends each of them.
    async fn cuts(&self, opened: impl Future<Output = Vec<Raw>>) {
        let attack = async {
            for mut raw in opened.await {
                raw.read_to_end().await;
            }
        };
        self.stands(Duration::from_secs(30), attack).await;
    }

    async fn struck(&self, limit: &str) {
        let line = self
            .proxy
            .log_line("limit.struck", |line| line["limit"] == limit)
            .await;
        assert_eq!(line["listener"], "public", "{line}");
        assert!(line["cause"].is_string() && line["remedy"].is_string());
        self.counted(limit).await;
    }

    async fn counted(&self, limit: &str) {
        let labels = [
            "listener=\"public\"".to_owned(),
            format!("limit=\"{limit}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        self.proxy
            .metrics_where("the strike", |metrics| {
                metrics.sum("countersign_limits_struck_total", &labels) > 0.0
            })
            .await;
    }
}

/// The beginning of a ClientHello of 512 bytes, as a record.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

#[tokio::test]
async fn half_a_hello_on_many_connections_is_cut_at_its_deadline() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "handshake_timeout = '2s'").await;
    let target = siege.proxy.public();
    siege
        .cuts(async {
            let mut all = Vec::new();
            for _ in 0..300 {
                let mut raw = Raw::plain(target).await;
                raw.write(HALF_A_HELLO).await;
                all.push(raw);
            }
            all
        })
        .await;
}

#[tokio::test]
async fn connections_without_a_byte_and_without_a_request_are_cut() {
    let upstream = Upstream::start().await;
    let limits = "handshake_timeout = '1s', header_timeout = '1s', idle_timeout = '1s'";
    let siege = Siege::begin(&upstream, limits).await;
    let target = siege.proxy.public();
    siege
        .cuts(async {
            let mut all = Vec::new();
            for _ in 0..100 {
                all.push(Raw::plain(target).await);
            }
            for client in siege.client().in_both_protocols() {
                for _ in 0..10 {
                    all.push(client.raw(target).await);
                }
            }
            all
        })
        .await;
}

#[tokio::test]
async fn source_with_as_many_handshakes_as_it_may_have_keeps_nobody_else_out() {
    let upstream = Upstream::start().await;
    let limits = "max_handshakes = 8, max_handshakes_per_source = 4, handshake_timeout = '30s'";
    let siege = Siege::begin(&upstream, limits).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut raw = from([127, 0, 0, 9], &siege).await.unwrap();
        raw.write(HALF_A_HELLO).await;
        held.push(raw);
    }
    // The accept loop has them when the next one is closed, at once.
    siege
        .stands(Duration::from_secs(20), async {
            for _ in 0..20 {
                let mut raw = from([127, 0, 0, 9], &siege).await.unwrap();
                assert_eq!(raw.read_to_end().await, "");
            }
        })
        .await;
    siege.struck("max_handshakes_per_source").await;
    // Once the others have ended, it has its turns again.
    drop(held);
    let client = siege.client();
    eventually_served(&client, &siege).await;
}

#[tokio::test]
async fn handshakes_beyond_those_of_all_wait_and_are_made() {
    let upstream = Upstream::start().await;
    let limits = "max_handshakes = 2, handshake_timeout = '1500ms'";
    let siege = Siege::begin(&upstream, limits).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut raw = Raw::plain(siege.proxy.public()).await;
        raw.write(HALF_A_HELLO).await;
        held.push(raw);
    }
    // Behind them in line.
    siege.bystander_is_served().await;
    siege.struck("max_handshakes").await;
}

#[tokio::test]
async fn source_with_as_many_connections_as_it_may_have_keeps_nobody_else_out() {
    let upstream = Upstream::start().await;
    let limits = "max_connections = 20, max_connections_per_source = 5";
    let siege = Siege::begin(&upstream, limits).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(from([127, 0, 0, 9], &siege).await.unwrap());
    }
    siege
        .stands(Duration::from_secs(20), async {
            for _ in 0..20 {
                let mut raw = from([127, 0, 0, 9], &siege).await.unwrap();
                assert_eq!(raw.read_to_end().await, "");
            }
        })
        .await;
    siege.struck("max_connections_per_source").await;
}

#[tokio::test]
async fn identity_with_as_many_connections_as_it_may_have_gets_no_other() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "max_connections_per_identity = 3").await;
    let greedy = siege.pki.client_as("spiffe://prod.example/greedy");
    let greedy = Client::new(&siege.pki).presenting(&greedy);
    for client in greedy.in_both_protocols() {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut session = client.connect(siege.proxy.public()).await.unwrap();
            assert_eq!(session.send(get("/held")).await.unwrap().status, 200);
            held.push(session);
        }
        siege
            .stands(Duration::from_secs(20), async {
                for _ in 0..5 {
                    assert!(client.get(siege.proxy.public(), "/more").await.is_err());
                }
            })
            .await;
        // Those that it had before go on, and once they end others may begin.
        for session in &mut held {
            assert_eq!(session.send(get("/held")).await.unwrap().status, 200);
        }
        drop(held);
        eventually_served(&client, &siege).await;
    }
    siege.struck("max_connections_per_identity").await;
    assert!(upstream.requests().iter().all(|got| got.path != "/more"));
}

#[tokio::test]
async fn body_that_is_said_to_be_too_large_is_refused_before_anything_goes_up() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "max_body_bytes = '1KiB'").await;
    for client in siege.client().in_both_protocols() {
        let target = siege.proxy.public();
        let fits = client.send(target, post("/fits", Body::full("x".repeat(1024))));
        assert_eq!(fits.await.unwrap().status, 200);
        let large = client.send(target, post("/large", Body::full("x".repeat(1025))));
        assert_eq!(large.await.unwrap().status, 413);
    }
    let line = siege.proxy.access_line("/large").await;
    assert_eq!(line["fault"], "downstream/request_head/body_too_large");
    siege.counted("max_body_bytes").await;
    assert!(upstream.requests().iter().all(|got| got.path != "/large"));
}

#[tokio::test]
async fn body_that_turns_out_to_be_too_large_is_cut() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "max_body_bytes = '1KiB'").await;
    for client in siege.client().in_both_protocols() {
        let (writer, body) = Body::streaming();
        let mut session = client.connect(siege.proxy.public()).await.unwrap();
        let answer = tokio::spawn(session.begin(post("/endless", body)).await);
        for _ in 0..5 {
            writer.piece("x".repeat(512));
        }
        match within("the end", answer).await.unwrap() {
            Ok(answer) => assert_eq!(answer.status(), 413),
            Err(cut) => println!("cut: {cut}"),
        }
    }
    let line = siege.proxy.access_line("/endless").await;
    assert_eq!(line["fault"], "downstream/request_body/body_too_large");
    assert_eq!(line["status"], 413);
}

#[tokio::test]
async fn body_that_drips_is_ended_and_one_that_keeps_to_the_rate_is_not() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "body_timeout = '2s', min_body_rate = '100B/s'").await;
    for client in siege.client().in_both_protocols() {
        let mut session = client.connect(siege.proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        let answer = session.begin(post("/drip", body)).await;
        let drip = async {
            let mut pace = interval(Duration::from_millis(300));
            loop {
                pace.tick().await;
                writer.piece("x");
            }
        };
        siege
            .stands(Duration::from_secs(15), async {
                tokio::select! {
                    () = drip => {}
                    answer = answer => match answer {
                        Ok(answer) => assert_eq!(answer.status(), 408),
                        Err(cut) => println!("cut: {cut}"),
                    },
                }
            })
            .await;
        let mut session = client.connect(siege.proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        let answer = tokio::spawn(session.begin(post("/steady", body)).await);
        let mut pace = interval(Duration::from_millis(300));
        for _ in 0..12 {
            pace.tick().await;
            writer.piece("x".repeat(100));
        }
        drop(writer);
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    let line = siege.proxy.access_line("/drip").await;
    assert_eq!(line["fault"], "downstream/request_body/body_too_slow");
    siege.counted("min_body_rate").await;
}

#[tokio::test]
async fn http2_response_that_is_taken_in_drips_is_cut() {
    let upstream = Upstream::answering(|got| match got.path.as_str() {
        "/large" => Reply::ok(&"x".repeat(100_000)),
        _ => Reply::ok("fine"),
    })
    .await;
    let siege = Siege::begin(&upstream, "body_timeout = '2s', min_body_rate = '100B/s'").await;
    let raw = siege.client().h2().raw(siege.proxy.public()).await;
    siege
        .stands(Duration::from_secs(15), async {
            let mut frames = Frames::begin(raw, 1).await;
            frames.get(1, "/large").await;
            let mut pace = interval(Duration::from_millis(300));
            loop {
                tokio::select! {
                    frame = frames.next() => if frame.is_none() { break },
                    _ = pace.tick() => frames.grant(1, 1).await,
                }
            }
        })
        .await;
    let line = siege.proxy.log_line("connection.fault", |_| true).await;
    assert_eq!(line["fault"], "downstream/response_body/body_too_slow");
    siege.counted("min_body_rate").await;
}

#[tokio::test]
async fn silent_service_is_waited_for_however_slow_bodies_may_be() {
    let (writer, body) = Body::streaming();
    let body = std::sync::Mutex::new(Some(body));
    let upstream = Upstream::answering(move |got| match got.path.as_str() {
        "/events" => Reply::body(body.lock().unwrap().take().unwrap()),
        _ => Reply::ok("fine"),
    })
    .await;
    let siege = Siege::begin(&upstream, "body_timeout = '2s', min_body_rate = '1MiB/s'").await;
    let mut raw = siege.client().raw(siege.proxy.public()).await;
    raw.write("GET /events HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    let mut pace = interval(Duration::from_millis(500));
    assert_eq!(raw.read_head().await.status, 200);
    // More than twice `body_timeout`.
    for _ in 0..10 {
        pace.tick().await;
        writer.piece("event");
        assert_eq!(raw.read_chunk().await.as_deref(), Some("event"));
    }
}

#[tokio::test]
async fn pipelined_requests_whose_responses_nobody_reads_end_and_cost_little() {
    let upstream = Upstream::answering(|got| match got.path.as_str() {
        "/large" => Reply::ok(&"x".repeat(1_000_000)),
        _ => Reply::ok("fine"),
    })
    .await;
    let siege = Siege::begin(&upstream, "body_timeout = '2s'").await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(siege.client().raw(siege.proxy.public()).await);
    }
    let requests = "GET /large HTTP/1.1\r\nHost: proxy.test\r\n\r\n".repeat(1000);
    siege
        .stands(Duration::from_secs(30), async {
            for raw in &mut all {
                let writing = raw.write(&requests);
                // It takes none of it any more.
                drop(tokio::time::timeout(Duration::from_millis(200), writing).await);
            }
            let faults = || {
                let lines = siege.proxy.logged("connection.fault");
                (lines.len() >= 8).then_some(lines)
            };
            for line in eventually("their ends", faults).await {
                assert_eq!(line["fault"], "downstream/response_body/body_timeout");
            }
        })
        .await;
}

#[tokio::test]
async fn last_request_of_a_connection_is_answered_and_says_so() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "max_requests_per_connection = 3").await;
    let mut raw = siege.client().raw(siege.proxy.public()).await;
    for count in 1..=3 {
        raw.write("GET /again HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
            .await;
        let answer = raw.read_response().await;
        assert_eq!(answer.status, 200);
        assert_eq!(!answer.values("connection").is_empty(), count == 3);
    }
    assert_eq!(raw.read_to_end().await, "");
    let mut session = siege
        .client()
        .h2()
        .connect(siege.proxy.public())
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(session.send(get("/again")).await.unwrap().status, 200);
    }
    eventually("the end", || session.is_closed().then_some(())).await;
    siege.struck("max_requests_per_connection").await;
}

#[tokio::test]
async fn head_with_too_many_fields_is_refused_in_both_protocols() {
    let upstream = Upstream::start().await;
    let siege = Siege::begin(&upstream, "max_fields = 20").await;
    for client in siege.client().in_both_protocols() {
        for (count, status) in [(10, 200), (25, 431)] {
            let mut request = get("/fields");
            for field in 0..count {
                let name = format!("x-{field}").parse::<http::HeaderName>().unwrap();
                request.headers_mut().insert(name, "x".parse().unwrap());
            }
            let answer = client.send(siege.proxy.public(), request).await;
            assert_eq!(answer.unwrap().status, status);
        }
    }
    siege.counted("max_fields").await;
}

#[tokio::test]
async fn silent_tunnel_ends_and_one_that_speaks_goes_on() {
    let upstream = Upstream::answering(|got| match got.path.as_str() {
        "/socket" => Reply::upgrade(),
        _ => Reply::ok("fine"),
    })
    .await;
    let siege = Siege::begin(&upstream, "tunnel_idle_timeout = '2s'").await;
    let mut raw = siege.client().raw(siege.proxy.public()).await;
    raw.write("GET /socket HTTP/1.1\r\nHost: proxy.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(raw.read_head().await.status, 101);
    let mut pace = interval(Duration::from_millis(500));
    for _ in 0..8 {
        pace.tick().await;
        raw.write("ping").await;
        assert_eq!(raw.read_exactly(4).await, "ping");
    }
    let begun = Instant::now();
    raw.read_to_end().await;
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let line = siege.proxy.access_line("/socket").await;
    assert_eq!(line["fault"], "proxy/response_body/tunnel_idle");
    siege.counted("tunnel_idle_timeout").await;
}

#[tokio::test]
async fn faults_of_one_source_have_a_few_lines_and_then_a_count() {
    let upstream = Upstream::start().await;
    let pki = Pki::new();
    let proxy = Setup::new(&pki, &upstream)
        .with("log.refusals_per_minute = 3")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    for _ in 0..10 {
        let mut raw = client.raw(proxy.public()).await;
        raw.write("no request\r\n\r\n").await;
        raw.read_to_end().await;
    }
    // All of them were counted.
    proxy
        .metrics_where("the faults", |metrics| {
            metrics.sum("countersign_requests_total", &["fault_side=\"downstream\""]) >= 10.0
        })
        .await;
    let lines = proxy.logged("connection.fault");
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

/// A connection from another address of this machine.
async fn from(address: [u8; 4], siege: &Siege) -> Option<Raw> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let stream = within("connecting", socket.connect(siege.proxy.public())).await;
    Some(Raw::over(Box::new(stream.ok()?)))
}

/// Until the places that were held are free again.
async fn eventually_served(client: &Client, siege: &Siege) {
    let mut pace = interval(Duration::from_millis(50));
    within("a free place", async {
        while client.get(siege.proxy.public(), "/again").await.is_err() {
            pace.tick().await;
        }
    })
    .await;
}
