//! Messages that RFC 9113 §8 calls malformed: each is refused, nothing of it
//! reaches the service, and the other streams of the connection go on.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, head_of, literal,
};
use crate::support::pki::Pki;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Arrival, Gate, Reply, Upstream};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// What became of a message that stood between two good ones.
#[derive(Debug)]
enum Outcome {
    /// Its stream was reset.
    Reset,
    /// Its connection was ended.
    Ended,
    /// It was answered, with this head.
    Answered(Vec<u8>),
}

struct Scene {
    proxy: Proxy,
    upstream: Upstream,
    client: Client,
    gate: Gate,
}

impl Scene {
    async fn start() -> Self {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::answering(move |received| match received.path.as_str() {
            "/held" => Reply::ok("held").behind(&held),
            _ => Reply::ok("hello"),
        })
        .await;
        let pki = Pki::new();
        let proxy = Setup::new(&pki, &upstream).start().await;
        let client = Client::new(&pki).presenting(&pki.client()).h2();
        Self {
            proxy,
            upstream,
            client,
            gate,
        }
    }

    async fn caller(&self) -> Frames {
        let raw = self.client.raw(self.proxy.public()).await;
        Frames::begin(raw, 65_535).await
    }

    /// Sends frames of stream 3 while a request on stream 1 is under way, and
    /// then asks on stream 5: both are answered whatever becomes of stream 3.
    async fn outcome(&self, what: &str, frames: &[(u8, u8, Vec<u8>)]) -> Outcome {
        let mut caller = self.caller().await;
        caller.get(1, "/held").await;
        for (kind, flags, payload) in frames {
            caller.send(*kind, *flags, 3, payload).await;
        }
        let mut outcome = None;
        let mut answered = 0;
        while outcome.is_none() {
            let Some(frame) = caller.next().await else {
                return Outcome::Ended;
            };
            outcome = match frame.kind {
                RST_STREAM if frame.stream == 3 => Some(Outcome::Reset),
                HEADERS if frame.stream == 3 => Some(Outcome::Answered(frame.payload)),
                // Where the gate is open already.
                HEADERS => {
                    answered += 1;
                    None
                }
                _ => None,
            };
        }
        caller.get(5, "/next").await;
        self.gate.open();
        while answered < 2 {
            let frame = caller.next().await;
            let frame = frame.unwrap_or_else(|| panic!("{what}: the connection ended"));
            if frame.kind == HEADERS && frame.stream != 3 {
                assert_eq!(frame.payload[0], 0x88, "{what}: {frame:?}");
                answered += 1;
            }
        }
        outcome.unwrap()
    }

    /// What went up of them before they were known to be malformed has broken
    /// off: the service takes none for a request.
    async fn lies_broke_off(&self) {
        eventually("the end of what is malformed", || {
            let requests = self.upstream.requests();
            let mut lies = requests.iter().filter(|request| request.path == "/lie");
            lies.all(|lie| {
                assert_ne!(lie.arrival, Arrival::Whole, "{lie:?}");
                lie.arrival == Arrival::BrokenOff
            })
            .then_some(())
        })
        .await;
    }

    /// It is refused alone, and the service sees nothing of it.
    async fn refuses(&self, what: &str, frames: &[(u8, u8, Vec<u8>)]) {
        let outcome = self.outcome(what, frames).await;
        assert!(!matches!(outcome, Outcome::Ended), "{what}: the end of all");
        self.is_refusal(what, &outcome);
    }

    /// It is refused, and its connection may end with it: what cannot be a field
    /// at all the library takes for a fault of the connection (RFC 9113 §5.4.1).
    async fn refuses_perhaps_all(&self, what: &str, frames: &[(u8, u8, Vec<u8>)]) {
        let outcome = self.outcome(what, frames).await;
        self.is_refusal(what, &outcome);
    }

    /// It ends alone and not in success, and what went up of it before the lie
    /// was known broke off.
    async fn breaks_off(&self, what: &str, frames: &[(u8, u8, Vec<u8>)]) {
        match self.outcome(what, frames).await {
            Outcome::Reset => {}
            Outcome::Ended => panic!("{what}: the connection ended"),
            Outcome::Answered(head) => assert_ne!(head[0], 0x88, "{what}"),
        }
        self.lies_broke_off().await;
    }

    fn is_refusal(&self, what: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Reset | Outcome::Ended => {}
            Outcome::Answered(head) => {
                // `:status: 400` of the static table, or the literal "421", "404"
                // or "501" in Huffman's code (RFC 7541 appendices A and B).
                let refused = [0x8c, 0x8d, 0x48].contains(&head[0]);
                assert!(refused, "{what}: {head:x?}");
            }
        }
        for received in self.upstream.requests() {
            let good = ["/held", "/next"].contains(&received.path.as_str());
            assert!(good, "{what}: {received:?}");
        }
    }
}

fn fields(fields: &[(&str, &str)]) -> Vec<(u8, u8, Vec<u8>)> {
    vec![(HEADERS, WHOLE, literal(fields))]
}

fn request_with(more: &[(&str, &str)]) -> Vec<(u8, u8, Vec<u8>)> {
    vec![(HEADERS, WHOLE, head_of("GET", "/bad", more))]
}

#[tokio::test]
async fn fields_that_belong_to_one_connection_are_refused() {
    let scene = Scene::start().await;
    for field in [
        ("connection", "close"),
        ("connection", "x-other"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", ""),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ] {
        scene
            .refuses(&format!("{field:?}"), &request_with(&[field]))
            .await;
    }
}

#[tokio::test]
async fn names_and_values_that_are_none_are_refused() {
    let scene = Scene::start().await;
    for name in [
        "X-Upper", "x a", "x:a", "", "x\0", "x\r\ny", "x\u{7f}", "x\u{e4}",
    ] {
        let what = format!("the name {name:?}");
        scene
            .refuses_perhaps_all(&what, &request_with(&[(name, "a")]))
            .await;
    }
    for field in [
        ("x", "a\r\ny: z"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a "),
        ("x", "\ta"),
        ("x", "a\t"),
        ("content-length", "-1"),
        ("content-length", "+0"),
        ("content-length", "0, 0"),
        ("content-length", ""),
        ("content-length", "99999999999999999999999"),
    ] {
        scene
            .refuses_perhaps_all(&format!("{field:?}"), &request_with(&[field]))
            .await;
    }
}

#[tokio::test]
async fn pseudo_fields_that_are_missing_repeated_unknown_or_late_are_refused() {
    let scene = Scene::start().await;
    let [method, scheme, authority, path] = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "proxy.test"),
        (":path", "/bad"),
    ];
    const UNKNOWN: [&str; 2] = [":unknown", ""];
    let plain = ("x", "y");
    for bad in [
        &[scheme, authority, path][..],
        &[method, authority, path],
        &[method, scheme, authority],
        &[method, scheme, path],
        &[],
        &[plain],
        &[method, method, scheme, authority, path],
        &[method, scheme, scheme, authority, path],
        &[method, scheme, authority, authority, path],
        &[method, scheme, authority, path, path],
        &[method, scheme, authority, path, (":unknown", "x")],
        &[method, scheme, authority, path, (":status", "200")],
        &[method, scheme, authority, path, (":protocol", "websocket")],
        &[method, scheme, authority, path, ("", "x")],
        &[method, scheme, authority, plain, path],
        &[plain, method, scheme, authority, path],
    ] {
        let what = format!("{bad:?}");
        if bad.iter().any(|(name, _)| UNKNOWN.contains(name)) {
            scene.refuses_perhaps_all(&what, &fields(bad)).await;
        } else {
            scene.refuses(&what, &fields(bad)).await;
        }
    }
}

#[tokio::test]
async fn pseudo_fields_that_say_nothing_or_two_things_are_refused() {
    let scene = Scene::start().await;
    let request = |method, scheme, authority, path| {
        [
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
        ]
    };
    let host = "proxy.test";
    for (bad, more) in [
        (request("", "https", host, "/bad"), None),
        (request("G ET", "https", host, "/bad"), None),
        (request("GET\r\nX: y", "https", host, "/bad"), None),
        (request("GET", "", host, "/bad"), None),
        (request("GET", "ht tp", host, "/bad"), None),
        (request("GET", "javascript", host, "/bad"), None),
        (request("GET", "https", "", "/bad"), None),
        (request("GET", "https", "user@proxy.test", "/bad"), None),
        (request("GET", "https", "proxy.test/x", "/bad"), None),
        (
            request("GET", "https", "proxy.test, other.test", "/bad"),
            None,
        ),
        (request("GET", "https", "proxy.test:99999", "/bad"), None),
        (request("GET", "https", "proxy.test ", "/bad"), None),
        (request("GET", "https", host, ""), None),
        (request("GET", "https", host, "bad"), None),
        (request("GET", "https", host, "*"), None),
        (
            request("GET", "https", host, "https://proxy.test/bad"),
            None,
        ),
        (request("GET", "https", host, "/b ad"), None),
        (request("GET", "https", host, "/bad\r\n"), None),
        (request("GET", "https", host, "/bad\0"), None),
        (
            request("GET", "https", host, "/bad"),
            Some(("host", "other.test")),
        ),
        (request("GET", "https", host, "/bad"), Some(("host", ""))),
        (
            request("GET", "https", host, "/bad"),
            Some(("host", "proxy.test:444")),
        ),
        (request("CONNECT", "https", host, "/bad"), None),
        (request("TRACE", "https", host, "/bad"), None),
    ] {
        let mut all = bad.to_vec();
        all.extend(more);
        scene
            .refuses_perhaps_all(&format!("{all:?}"), &fields(&all))
            .await;
    }
}

#[tokio::test]
async fn connect_in_forms_that_ask_for_no_websocket_is_refused() {
    let scene = Scene::start().await;
    let connect = [(":method", "CONNECT"), (":authority", "proxy.test:443")];
    scene.refuses("CONNECT", &fields(&connect)).await;
    let half = [
        (":method", "CONNECT"),
        (":authority", "proxy.test"),
        (":protocol", "websocket"),
    ];
    scene
        .refuses("half an extended CONNECT", &fields(&half))
        .await;
}

#[tokio::test]
async fn content_that_is_longer_or_shorter_than_its_length_never_completes_a_request() {
    let scene = Scene::start().await;
    let head = |length| head_of("POST", "/lie", &[("content-length", length)]);
    let nothing = |length| vec![(HEADERS, WHOLE, head(length))];
    let content = |length, pieces: &[&str]| {
        let mut frames = vec![(HEADERS, END_HEADERS, head(length))];
        frames.extend(
            pieces
                .iter()
                .map(|piece| (DATA, 0, piece.as_bytes().to_vec())),
        );
        if let Some(last) = frames.last_mut() {
            last.1 = END_STREAM;
        }
        frames
    };
    let with_trailers = {
        let mut frames = content("10", &["short"]);
        frames[1].1 = 0;
        frames.push((HEADERS, WHOLE, literal(&[("x", "y")])));
        frames
    };
    for (what, frames) in [
        ("none", nothing("5")),
        ("short", content("10", &["short"])),
        ("short, with trailers", with_trailers),
        ("long", content("3", &["too long"])),
        ("long in its last piece", content("5", &["short", "!"])),
        ("any for none", content("0", &["x"])),
    ] {
        scene.breaks_off(what, &frames).await;
    }
}

#[tokio::test]
async fn trailers_that_are_malformed_break_their_request_off() {
    let scene = Scene::start().await;
    for (what, trailers, flags) in [
        ("a field of the connection", ("connection", "x"), WHOLE),
        ("a coding", ("transfer-encoding", "chunked"), WHOLE),
        ("no end", ("x", "y"), END_HEADERS),
    ] {
        scene
            .breaks_off(what, &with_trailers(&[trailers], flags))
            .await;
    }
}

#[tokio::test]
async fn pseudo_fields_in_trailers_reach_nobody() {
    let scene = Scene::start().await;
    for (what, trailers) in [
        ("a path", &[(":path", "/again")][..]),
        ("a status", &[(":status", "200")]),
        ("a method", &[(":method", "DELETE"), ("x", "y")]),
    ] {
        // The library leaves them out and goes on.
        scene.outcome(what, &with_trailers(trailers, WHOLE)).await;
    }
    for received in scene.upstream.requests() {
        assert!(["/held", "/next", "/lie"].contains(&&*received.path));
        assert!(["GET", "POST"].contains(&received.method.as_str()));
        let names: Vec<_> = received.trailers.keys().map(|name| name.as_str()).collect();
        assert!(names.is_empty() || names == ["x"], "{received:?}");
    }
}

/// An upload that ends with these fields.
fn with_trailers(trailers: &[(&str, &str)], flags: u8) -> Vec<(u8, u8, Vec<u8>)> {
    vec![
        (HEADERS, END_HEADERS, head_of("POST", "/lie", &[])),
        (DATA, 0, b"content".to_vec()),
        (HEADERS, flags, literal(trailers)),
    ]
}

#[tokio::test]
async fn fragment_of_a_path_is_left_out_of_what_is_judged_and_of_what_goes_up() {
    let scene = Scene::start().await;
    let frames = vec![(HEADERS, WHOLE, head_of("GET", "/next#fragment", &[]))];
    scene.outcome("a fragment", &frames).await;
    let requests = scene.upstream.requests();
    assert!(
        requests.iter().all(|it| !it.path.contains('#')),
        "{requests:?}"
    );
}

#[tokio::test]
async fn messages_that_come_near_to_being_malformed_are_served() {
    let scene = Scene::start().await;
    let good: [&[(&str, &str)]; 5] = [
        &[("te", "trailers")],
        &[("host", "proxy.test")],
        &[("host", "PROXY.test")],
        &[("x", "")],
        &[("cookie", "a=1"), ("cookie", "b=2")],
    ];
    for more in good {
        let frames = vec![(HEADERS, WHOLE, head_of("GET", "/good", more))];
        match scene.outcome("good", &frames).await {
            Outcome::Answered(head) => assert_eq!(head[0], 0x88, "{more:?}"),
            other => panic!("{more:?}: {other:?}"),
        }
    }
    let upload = vec![
        (
            HEADERS,
            END_HEADERS,
            head_of("POST", "/good", &[("content-length", "5")]),
        ),
        (DATA, 0, b"wh".to_vec()),
        (DATA, 0, b"ole".to_vec()),
        (HEADERS, WHOLE, literal(&[("x-checksum", "1")])),
    ];
    let outcome = scene.outcome("upload", &upload).await;
    assert!(matches!(outcome, Outcome::Answered(head) if head[0] == 0x88));
    eventually("all of them", || {
        let requests = scene.upstream.requests();
        let good = requests.iter().filter(|it| it.path == "/good");
        (good.count() == 6).then_some(())
    })
    .await;
}
