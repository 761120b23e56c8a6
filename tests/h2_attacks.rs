//! Attacks with frames of HTTP/2: whoever makes one is cut off, at a known cost,
//! and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::client::{Client, get};
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY,
    PRIORITY_UPDATE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, head_of, literal,
};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Reply, Upstream};

/// `ENHANCE_YOUR_CALM`.
const CALM: Option<u32> = Some(11);
/// What one attacker may make the process hold, in KiB.
const MEMORY: u64 = 48 * 1024;
/// What the process answers for ever must end within so many frames: the budget,
/// and as much again for its own answers.
const MOST_FRAMES: u32 = 5_000;

/// What is sent again and again, and its name.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

/// A proxy under attack, and somebody else who uses it.
struct Scene {
    proxy: Proxy,
    client: Client,
    upstream: Upstream,
    over: Arc<AtomicBool>,
    bystander: tokio::task::JoinHandle<u32>,
    memory: u64,
}

impl Scene {
    async fn start(upstream: Upstream, limits: &str) -> Self {
        let pki = Pki::new();
        let proxy = Setup::new(&pki, &upstream)
            .with(&format!("listeners.public.limits = {{ {limits} }}"))
            .start()
            .await;
        let client = Client::new(&pki).presenting(&pki.client());
        let over = Arc::new(AtomicBool::new(false));
        let mut session = client.connect(proxy.public()).await.unwrap();
        session.send(get("/bystander")).await.unwrap();
        let memory = proxy.resident();
        let bystander = tokio::spawn({
            let over = Arc::clone(&over);
            async move {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = session.send(get("/bystander")).await.unwrap();
                    assert_eq!(answer.status, 200);
                    count += 1;
                }
                count
            }
        });
        let client = client.h2();
        Self {
            proxy,
            client,
            upstream,
            over,
            bystander,
            memory,
        }
    }

    async fn attacker(&self) -> Frames {
        let raw = self.client.raw(self.proxy.public()).await;
        Frames::begin(raw, 65_535).await
    }

    /// The bystander was served all the time, and the memory is not used up.
    async fn survives(self, what: &str) -> Proxy {
        let grown = self.proxy.resident().saturating_sub(self.memory);
        self.over.store(true, Ordering::Relaxed);
        let served = self.bystander.await.unwrap();
        assert!(served > 0, "{what}: nobody else was served");
        assert!(grown < MEMORY, "{what}: {grown} KiB more");
        self.proxy
    }
}

/// Sends pieces until the server hangs up: how many it took, and why it left.
async fn until_cut_off(
    frames: &mut Frames,
    mut piece: impl FnMut(u32) -> Vec<u8>,
) -> (u32, Option<u32>) {
    const AT_ONCE: u32 = 50;
    let mut reason = None;
    for round in 0..1_000 {
        let first = round * AT_ONCE;
        let bytes = (first..first + AT_ONCE).flat_map(&mut piece).collect();
        let came = frames.settle(bytes).await;
        reason = came.iter().find_map(|frame| frame.goodbye()).or(reason);
        if came.last().is_none_or(|last| last.kind != PING) {
            return (first + AT_ONCE, reason);
        }
    }
    panic!("it would have gone on for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_cost_nothing_to_send_end_their_connection_and_no_other() {
    let scene = Scene::start(Upstream::start().await, "").await;
    let floods: [Flood; 7] = [
        ("PING", |_| frame(PING, 0, 0, &[1; 8])),
        ("PING ACK", |_| frame(PING, ACK, 0, &[1; 8])),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[])),
        ("INITIAL_WINDOW_SIZE", |number| {
            let window = (number % 2 * 10_000 + 1).to_be_bytes();
            frame(SETTINGS, 0, 0, &[&[0, 4][..], &window].concat())
        }),
        ("PRIORITY", |_| frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", |_| {
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        }),
        ("an unknown type", |_| frame(0xbb, 0xff, 7, b"?")),
    ];
    for (what, piece) in floods {
        let mut attacker = scene.attacker().await;
        let (taken, reason) = until_cut_off(&mut attacker, piece).await;
        assert_eq!(reason, CALM, "{what}");
        assert!((1_000..MOST_FRAMES).contains(&taken), "{what}: {taken}");
    }
    let line = scene.proxy.log_line("limit.struck", |_| true).await;
    assert_eq!(line["limit"], "max_control_frames", "{line}");
    let metrics = scene.proxy.metrics().await;
    let struck = metrics.sum("limits_struck_total", &["limit=\"max_control_frames\""]);
    assert_eq!(struck, 7.0);
    scene.survives("floods").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_reset_as_soon_as_they_are_begun_end_their_connection() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/slow" => Reply::never(),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::start(upstream.await, "").await;
    let head = head_of("GET", "/slow", &[]);
    let mut attacker = scene.attacker().await;
    let mut count = 0;
    let reason = loop {
        let stream = 2 * count + 1;
        // The request has begun before it is reset.
        let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        let mut came = attacker.settle(begin).await;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        came.extend(attacker.settle(reset).await);
        if came.last().is_none_or(|last| last.kind != PING) {
            break came.iter().find_map(|frame| frame.goodbye());
        }
        count += 1;
        assert!(count < 1_000, "it would have gone on for ever");
    };
    assert_eq!(reason, CALM);
    assert!(count > 100, "a client that changes its mind: {count}");
    scene.survives("rapid reset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_which_half_are_reset_are_served_for_ever() {
    let scene = Scene::start(Upstream::start().await, "max_control_frames = 100").await;
    let head = head_of("GET", "/", &[]);
    let mut caller = scene.attacker().await;
    for count in 0..300 {
        let stream = 4 * count + 1;
        let whole = END_HEADERS | END_STREAM;
        let mut two = frame(HEADERS, whole, stream, &head);
        two.extend(frame(HEADERS, whole, stream + 2, &head));
        caller.settle(two).await;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        let came = caller.settle(reset).await;
        assert!(
            came.iter().all(|frame| frame.goodbye().is_none()),
            "{count}"
        );
    }
    scene.survives("nothing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_the_server_is_made_to_send_end_the_connection() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/slow" => Reply::never(),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::start(upstream.await, "").await;
    let head = head_of("POST", "/slow", &[]);
    // CVE-2025-8671. The first is taken for the end at once.
    let ways: [(Flood, Option<u32>); 3] = [
        (
            ("a window that grows by nothing", |stream| {
                frame(WINDOW_UPDATE, 0, stream, &[0; 4])
            }),
            Some(1),
        ),
        (
            ("a window that grows too far", |stream| {
                frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])
            }),
            CALM,
        ),
        (
            ("a priority over itself", |stream| {
                let itself = [&stream.to_be_bytes()[..], &[1]].concat();
                frame(PRIORITY, 0, stream, &itself)
            }),
            CALM,
        ),
    ];
    for ((what, way), expected) in ways {
        let mut attacker = scene.attacker().await;
        let (taken, reason) = until_cut_off(&mut attacker, |number| {
            let stream = 2 * number + 1;
            let mut both = frame(HEADERS, END_HEADERS, stream, &head);
            both.extend(way(stream));
            both
        })
        .await;
        assert_eq!(reason, expected, "{what}");
        assert!(taken < 1_000, "{what}: {taken}");
    }
    scene.survives("made to reset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_blocks_without_end_or_measure_end_their_connection() {
    let scene = Scene::start(Upstream::start().await, "").await;
    let head = head_of("GET", "/", &[]);
    // One large field for the table, which others refer to (RFC 7541 §6.2.1, §6.1).
    let mut bomb = head.clone();
    bomb.extend(literal(&[("bomb", &"x".repeat(3_900))]));
    let at = head.len();
    bomb[at] = 0x40;
    bomb.extend([0xbe; 12_000]);
    let whole = END_HEADERS | END_STREAM;
    let mut endless = frame(HEADERS, END_STREAM, 1, &head);
    endless.extend((0..2_000).flat_map(|_| frame(CONTINUATION, 0, 1, &literal(&[("x", "y")]))));
    let mut empty = frame(HEADERS, END_STREAM, 1, &head);
    empty.extend((0..2_000).flat_map(|_| frame(CONTINUATION, 0, 1, &[])));
    let mut nothing = frame(HEADERS, END_HEADERS, 1, &head_of("POST", "/", &[]));
    nothing.extend((0..2_000).flat_map(|_| frame(DATA, 0, 1, &[])));
    for (what, bytes) in [
        (
            "a table that is referred to",
            frame(HEADERS, whole, 1, &bomb),
        ),
        ("fields without end", endless),
        ("pieces of nothing", empty),
        ("content of nothing", nothing),
    ] {
        let mut attacker = scene.attacker().await;
        attacker.write(&bytes).await;
        assert_eq!(attacker.goodbye().await, CALM, "{what}");
    }
    let proxy = scene.survives("header blocks").await;
    proxy
        .metrics_where("four strikes", |metrics| {
            let limit = "limit=\"max_control_frames\"";
            metrics.sum("limits_struck_total", &[limit]) == 4.0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_are_bounded_and_cut() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/large" => Reply::ok(&"x".repeat(4 << 20)),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::start(upstream.await, "body_timeout = '2s'").await;
    let raw = scene.client.raw(scene.proxy.public()).await;
    let mut attacker = Frames::begin(raw, 0).await;
    for count in 0..100 {
        attacker.get(2 * count + 1, "/large").await;
    }
    let begun = tokio::time::Instant::now();
    attacker.goodbye().await;
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    scene.survives("zero windows").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_are_never_finished_are_bounded_and_cut() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/slow" => Reply::ok("late"),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::start(upstream.await, "body_timeout = '2s'").await;
    let mut attacker = scene.attacker().await;
    let head = head_of("POST", "/slow", &[]);
    let mut statuses = 0;
    for count in 0..200 {
        attacker
            .send(HEADERS, END_HEADERS, 2 * count + 1, &head)
            .await;
        attacker.send(DATA, 0, 2 * count + 1, &[b'x'; 300]).await;
    }
    while statuses < 200 {
        let frame = attacker.next().await.expect("an answer for each");
        statuses += u32::from(frame.kind == HEADERS);
    }
    scene.survives("uploads without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_says_nothing_behind_its_preface_or_none_at_all_is_cut() {
    let scene = Scene::start(Upstream::start().await, "header_timeout = '1s'").await;
    for beginning in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    ] {
        let mut raw = scene.client.raw(scene.proxy.public()).await;
        raw.write(beginning).await;
        raw.read_to_end().await;
    }
    scene.survives("silence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    let upstream = Upstream::answering(|received| match received.path.as_str() {
        "/slow" => Reply::never(),
        _ => Reply::ok("hello"),
    });
    let scene = Scene::start(upstream.await, "max_concurrent_streams = 3").await;
    // It never acknowledges the settings that say so.
    let mut attacker = scene.attacker().await;
    for stream in [1, 3, 5, 7] {
        attacker.get(stream, "/slow").await;
    }
    let came = attacker.settle(Vec::new()).await;
    let refused: Vec<_> = came.iter().filter(|it| it.kind == RST_STREAM).collect();
    assert_eq!(refused.len(), 1, "{came:?}");
    assert_eq!(
        (refused[0].stream, &refused[0].payload[..]),
        (7, &[0, 0, 0, 7][..])
    );
    attacker.send(RST_STREAM, 0, 3, &[0, 0, 0, 8]).await;
    attacker.get(9, "/").await;
    loop {
        let frame = attacker.next().await.expect("the connection goes on");
        if frame.stream == 9 && frame.is_granted() == Some(true) {
            break;
        }
    }
    scene.survives("too many streams").await;
}

#[tokio::test]
async fn priorities_in_all_their_forms_change_nothing_and_the_field_is_passed_on() {
    let scene = Scene::start(Upstream::start().await, "").await;
    let mut caller = scene.attacker().await;
    let update = [&1_u32.to_be_bytes()[..], b"u=1, i"].concat();
    caller.send(PRIORITY_UPDATE, 0, 0, &update).await;
    caller.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 200]).await;
    // With a priority in the frame itself (RFC 9113 §6.2).
    let mut head = vec![0x80, 0, 0, 0, 16];
    head.extend(head_of("GET", "/prioritised", &[("priority", "u=2")]));
    caller
        .send(HEADERS, 0x20 | END_HEADERS | END_STREAM, 1, &head)
        .await;
    loop {
        let frame = caller.next().await.expect("an answer");
        if frame.is_granted() == Some(true) {
            break;
        }
    }
    let requests = scene.upstream.requests();
    let mine = requests
        .iter()
        .find(|it| it.path == "/prioritised")
        .unwrap();
    assert_eq!(mine.header("priority"), Some("u=2"));
}
