//! Sessions that the service opens: whom they are kept for, what leaves
//! countersign of them, and what becomes of requests whose session is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use crate::support::body::Body;
use crate::support::client::{Answer, Client, HttpVersion, get, post, with};
use crate::support::pki::{Leaf, PROXY_NAME, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::raw::Raw;
use crate::support::upstream::{Received, Reply, Upstream};
use crate::support::within;

const ALICE: &str = "spiffe://prod.example/alice";
const BOB: &str = "spiffe://prod.example/bob";
const TOKEN: &str = "Bearer planted";

/// What a service knows that opens a session for everybody who authenticates.
#[derive(Clone, Default)]
struct Memory {
    /// Whose a session is, by its number.
    sessions: Arc<Mutex<HashMap<u64, String>>>,
    /// Whose it was, when it is known no more.
    issued: Arc<Mutex<HashMap<u64, String>>>,
    opened: Arc<AtomicU64>,
    /// How it says that it does not know who is calling.
    refusing: Option<fn() -> Reply>,
}

impl Memory {
    /// A service that refuses in this way.
    fn refusing(refusing: fn() -> Reply) -> Self {
        Self {
            refusing: Some(refusing),
            ..Self::default()
        }
    }

    /// Answers with the name that the session stands for. It opens sessions for
    /// strangers too, which are good for nothing.
    fn answer(&self, request: &Received) -> Reply {
        let known = session_of(request).and_then(|number| self.owner(number));
        if let Some(owner) = known {
            return Reply::ok(&owner).header("x-by", "session");
        }
        if request.header("authorization").is_none() {
            let refusing = self
                .refusing
                .unwrap_or(|| Reply::ok("who is it?").status(401));
            let refused = refusing();
            return refused.header("set-cookie", "SID=0; Path=/");
        }
        let caller = asserted(request);
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        for known in [&self.sessions, &self.issued] {
            known.lock().unwrap().insert(number, caller.clone());
        }
        let reply = match request.header("upgrade") {
            Some(_) => Reply::upgrade(),
            None => Reply::ok(&caller),
        };
        reply
            .header("set-cookie", &format!("SID={number}; Path=/; HttpOnly"))
            .header("set-cookie", "theme=dark")
            .header("x-by", "credential")
    }

    fn owner(&self, number: u64) -> Option<String> {
        self.sessions.lock().unwrap().get(&number).cloned()
    }

    fn forget_all(&self) {
        self.sessions.lock().unwrap().clear();
    }

    /// Forgets every third one, and others each time.
    fn forget_some(&self, turn: u64) {
        let mut sessions = self.sessions.lock().unwrap();
        sessions.retain(|number, _| !(number + turn).is_multiple_of(3));
    }
}

/// The URI in `X-Forwarded-Client-Cert`, or nothing.
fn asserted(request: &Received) -> String {
    let field = request.header("x-forwarded-client-cert").unwrap_or("");
    let uri = field.split(';').find_map(|pair| pair.strip_prefix("URI="));
    uri.unwrap_or("nobody").to_owned()
}

/// The session that a request comes with. Fails the test if there are several.
fn session_of(request: &Received) -> Option<u64> {
    let cookies = request.values("cookie").join("; ");
    let mut found = cookies
        .split("; ")
        .filter_map(|pair| pair.strip_prefix("SID="));
    let session = found.next()?.parse().expect("a number");
    assert_eq!(found.next(), None, "{cookies}");
    Some(session)
}

struct Scene {
    pki: Pki,
    memory: Memory,
    proxy: Proxy,
    upstream: Upstream,
}

impl Scene {
    /// A service that is sent a token, or else the session that it has opened.
    async fn start() -> Self {
        Self::with(Memory::default(), "").await
    }

    /// With more settings under `upstreams.orders.outbound`.
    async fn with(memory: Memory, outbound: &str) -> Self {
        Self::speaking(HttpVersion::Http1, memory, |setup, _| {
            setup.with(&format!("[upstreams.orders.outbound]\n{outbound}"))
        })
        .await
    }

    /// One worker, so that a session is known to every request.
    async fn speaking(
        protocol: HttpVersion,
        memory: Memory,
        change: impl FnOnce(Setup, &Pki) -> Setup,
    ) -> Self {
        let service = memory.clone();
        let upstream = Upstream::build(move |request| service.answer(request));
        let (upstream, name) = match protocol {
            HttpVersion::Http1 => (upstream, "http/1.1"),
            HttpVersion::Http2 => (upstream.h2(), "h2"),
        };
        let (pki, upstream) = (Pki::new(), upstream.start().await);
        let setup = Setup::new(&pki, &upstream)
            .file("token", "planted")
            .with("server.workers = 1\nlisteners.public.tls.client_auth = 'want'")
            .with(&format!("upstreams.orders.protocol = '{name}'"))
            .with(
                "[upstreams.orders.outbound]
                session_cookies = ['SID']
                credential = { source = 'bearer', token_file = 'token' }",
            );
        Self {
            proxy: change(setup, &pki).start().await,
            pki,
            memory,
            upstream,
        }
    }

    fn caller(&self, uri: &str) -> Client {
        Client::new(&self.pki).presenting(&self.pki.client_as(uri))
    }

    async fn send(&self, client: &Client, request: http::Request<Body>) -> Answer {
        let answer = client.send(self.proxy.public(), request).await.unwrap();
        let fields = format!("{:?}", answer.headers);
        assert!(!fields.contains("SID"), "a session went down: {fields}");
        answer
    }

    /// By what the service took the caller for whom.
    async fn by(&self, client: &Client) -> (String, String) {
        let answer = self.send(client, get("/")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let by = answer.header("x-by").unwrap();
        (by.to_owned(), answer.text().to_owned())
    }

    /// What the service has got to know callers by, request by request.
    fn means(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        let means = requests.iter().map(|request| {
            let session = session_of(request).map(|number| number.to_string());
            let credential = request.header("authorization").map(str::to_owned);
            let both: Vec<_> = session.into_iter().chain(credential).collect();
            both.join(" and ")
        });
        means.collect()
    }

    /// The requests so far, as method, means and the length of the content.
    fn lengths(&self) -> Vec<(String, usize)> {
        let bodies = self.upstream.requests().into_iter().map(|it| it.body.len());
        self.means().into_iter().zip(bodies).collect()
    }
}

fn by(means: &str, whom: &str) -> (String, String) {
    (means.to_owned(), whom.to_owned())
}

fn sent(means: &str, length: usize) -> (String, usize) {
    (means.to_owned(), length)
}

const BOTH: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

#[tokio::test]
async fn session_takes_the_place_of_the_credential_for_the_same_certificate_alone() {
    for protocol in BOTH {
        let scene = Scene::speaking(protocol, Memory::default(), |setup, _| setup).await;
        let (alice, bob) = (scene.caller(ALICE), scene.caller(BOB));
        assert_eq!(scene.by(&alice).await, by("credential", ALICE));
        for alice in alice.in_both_protocols() {
            assert_eq!(scene.by(&alice).await, by("session", ALICE));
        }
        assert_eq!(scene.by(&bob).await, by("credential", BOB));
        assert_eq!(scene.by(&bob).await, by("session", BOB));
        // Another certificate of the same name.
        let renewed = scene.caller(ALICE);
        assert_eq!(scene.by(&renewed).await, by("credential", ALICE));
        assert_eq!(scene.means(), [TOKEN, "1", "1", TOKEN, "2", TOKEN]);
    }
}

#[tokio::test]
async fn session_per_name_outlives_a_renewal_and_serves_no_other_name_and_no_other_anchor() {
    for protocol in BOTH {
        let mut namesake = None;
        let scene = Scene::speaking(protocol, Memory::default(), |setup, pki| {
            let other = namesake.insert(pki.root().same_name_other_key());
            setup.file("other.pem", &other.pem()).with(
                "trust.clients.ca = ['clients.pem', 'other.pem']\n\
                 upstreams.orders.outbound.session_per = 'name'",
            )
        })
        .await;
        assert_eq!(
            scene.by(&scene.caller(ALICE)).await,
            by("credential", ALICE)
        );
        for renewed in scene.caller(ALICE).in_both_protocols() {
            assert_eq!(scene.by(&renewed).await, by("session", ALICE));
        }
        assert_eq!(scene.by(&scene.caller(BOB)).await, by("credential", BOB));
        let leaf = scene.pki.root().leaf().client().uri(ALICE);
        let more = leaf.common_name("billing").dns("more.example").issue();
        let more = Client::new(&scene.pki).presenting(&more);
        assert_eq!(scene.by(&more).await, by("credential", ALICE));
        // All names are the same, and that of the anchor.
        let leaf = namesake.unwrap().leaf().client().common_name("billing");
        let elsewhere = Client::new(&scene.pki).presenting(&leaf.uri(ALICE).issue());
        assert_eq!(scene.by(&elsewhere).await, by("credential", ALICE));
        assert_eq!(scene.by(&elsewhere).await, by("session", ALICE));
        assert_eq!(
            scene.means(),
            [TOKEN, "1", "1", TOKEN, TOKEN, TOKEN, "4"],
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn certificates_of_one_name_that_have_credentials_of_their_own_share_no_session() {
    let mut leaves = Vec::new();
    let scene = Scene::speaking(HttpVersion::Http1, Memory::default(), |setup, pki| {
        leaves = (0..2).map(|_| pki.client_as(ALICE)).collect();
        let entry = |(number, leaf): (usize, &Leaf)| {
            let fingerprint = leaf.fingerprint();
            format!("[[callers]]\nfingerprint = '{fingerprint}'\ntoken = 'own-{number}'\n")
        };
        let callers: String = leaves.iter().enumerate().map(entry).collect();
        let setup = setup.without("upstreams.orders.outbound.credential");
        setup.file("callers.toml", &callers).with(
            "[upstreams.orders.outbound]\nsession_per = 'name'\n\
             credential = { source = 'per_caller', file = 'callers.toml' }",
        )
    })
    .await;
    for leaf in leaves.iter().chain(&leaves) {
        let client = Client::new(&scene.pki).presenting(leaf);
        assert_eq!(scene.by(&client).await.1, ALICE);
    }
    assert_eq!(scene.means(), ["Bearer own-0", "Bearer own-1", "1", "2"]);
}

#[tokio::test]
async fn other_cookies_pass_both_ways_and_a_session_from_a_caller_does_not() {
    let scene = Scene::start().await;
    scene.by(&scene.caller(ALICE)).await;
    let bob = scene.caller(BOB);
    for client in bob.in_both_protocols() {
        let request = with(get("/"), "cookie", "a=1; SID=1; b=2");
        let request = with(request, "cookie", "SID=1");
        let answer = scene.send(&client, request).await;
        assert_eq!(answer.text(), BOB);
    }
    let requests = scene.upstream.requests();
    let cookies: Vec<_> = requests.iter().map(|it| it.values("cookie")).collect();
    assert_eq!(cookies[1..], [vec!["a=1; b=2"], vec!["a=1; b=2; SID=2"]]);
    let answer = scene.send(&scene.caller(BOB), get("/")).await;
    assert_eq!(answer.header("set-cookie"), Some("theme=dark"));
}

#[tokio::test]
async fn anonymous_callers_have_no_sessions() {
    let scene = Scene::start().await;
    let anonymous = Client::new(&scene.pki);
    for client in anonymous.in_both_protocols() {
        for _ in 0..2 {
            assert_eq!(scene.by(&client).await, by("credential", "nobody"));
        }
    }
    assert_eq!(scene.means(), [TOKEN; 4]);
}

#[tokio::test]
async fn session_of_one_host_is_none_of_another() {
    let scene = Scene::speaking(HttpVersion::Http1, Memory::default(), |setup, pki| {
        let names = pki.root().leaf().server().dns(PROXY_NAME).dns("other.test");
        setup.certificate("proxy", &names.issue())
    })
    .await;
    let alice = scene.caller(ALICE);
    for host in [PROXY_NAME, "other.test", PROXY_NAME, "OTHER.test"] {
        let request = with(get("/"), "host", host);
        assert_eq!(scene.send(&alice, request).await.text(), ALICE);
    }
    assert_eq!(scene.means(), [TOKEN, TOKEN, "1", "2"]);
}

#[tokio::test]
async fn lost_session_is_opened_again_and_the_caller_notices_nothing() {
    for protocol in BOTH {
        let scene = Scene::speaking(protocol, Memory::default(), |setup, _| setup).await;
        for client in scene.caller(ALICE).in_both_protocols() {
            scene.by(&client).await;
            for length in [0, 1, 64 * 1024] {
                scene.memory.forget_all();
                let before = scene.lengths().len();
                let body = Body::full(vec![b'x'; length]);
                let answer = scene.send(&client, post("/", body)).await;
                assert_eq!((answer.status.as_u16(), answer.text()), (200, ALICE));
                let number = scene.memory.opened.load(Ordering::Relaxed) - 1;
                let both = [sent(&number.to_string(), length), sent(TOKEN, length)];
                assert_eq!(scene.lengths()[before..], both, "{protocol:?}");
            }
            assert_eq!(scene.by(&client).await, by("session", ALICE));
        }
        let metrics = scene.proxy.metrics().await;
        let lost = ["upstream=\"orders\"", "cause=\"session_lost\""];
        let repeated = metrics.sum("countersign_upstream_requests_repeated_total", &lost);
        assert!((repeated - 6.0).abs() < f64::EPSILON, "{repeated}");
    }
}

#[tokio::test]
async fn request_too_long_to_be_sent_again_fails_and_the_next_one_does_not() {
    let scene = Scene::with(Memory::default(), "replay_limit = '1KiB'").await;
    for client in scene.caller(ALICE).in_both_protocols() {
        scene.by(&client).await;
        scene.memory.forget_all();
        let body = Body::full(vec![b'x'; 1025]);
        assert_eq!(scene.send(&client, post("/long", body)).await.status, 502);
        assert_eq!(scene.by(&client).await, by("credential", ALICE));
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["path"] == "/long")
        .await;
    assert_eq!(
        line["fault"], "upstream/response_head/session_lost",
        "{line}"
    );
    assert!(
        line["cause"].as_str().unwrap().contains("replay_limit"),
        "{line}"
    );
}

#[tokio::test]
async fn what_the_client_has_yet_to_send_follows_what_is_sent_again() {
    for protocol in BOTH {
        let memory = Memory::refusing(|| Reply::ok("who is it?").status(401).at_once());
        let limit =
            |setup: Setup, _: &Pki| setup.with("upstreams.orders.outbound.replay_limit = '1KiB'");
        let scene = Scene::speaking(protocol, memory, limit).await;
        for client in scene.caller(ALICE).in_both_protocols() {
            scene.by(&client).await;
            scene.memory.forget_all();
            let before = scene.upstream.requests().len();
            let mut session = client.connect(scene.proxy.public()).await.unwrap();
            let (writer, body) = Body::streaming();
            writer.piece("first, ");
            let answer = session.begin(post("/", body)).await;
            let answer = tokio::spawn(answer);
            scene.upstream.received(before + 2).await;
            writer.piece("then more than is kept: ");
            writer.piece(vec![b'x'; 2048]);
            drop(writer);
            let answer = within("the answer", answer).await.unwrap().unwrap();
            assert_eq!(answer.status(), 200);
            let whole = scene.upstream.requests()[before + 1].body.clone();
            let expected = format!("first, then more than is kept: {}", "x".repeat(2048));
            assert_eq!(whole, expected, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn client_that_waits_for_100_continue_sends_its_body_to_the_second_attempt() {
    let memory = Memory::refusing(|| Reply::ok("who is it?").status(401).at_once());
    let scene = Scene::with(memory, "").await;
    let alice = scene.caller(ALICE);
    scene.by(&alice).await;
    scene.memory.forget_all();
    let mut raw: Raw = alice.raw(scene.proxy.public()).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {PROXY_NAME}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    );
    raw.write(head).await;
    assert_eq!(raw.read_response().await.status, 100);
    raw.write("hello").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ALICE));
    assert_eq!(scene.lengths()[1..], [sent("1", 0), sent(TOKEN, 5)]);
}

#[tokio::test]
async fn trailers_are_sent_again_too() {
    let scene = Scene::speaking(HttpVersion::Http2, Memory::default(), |setup, _| setup).await;
    let alice = scene.caller(ALICE).h2();
    scene.by(&alice).await;
    scene.memory.forget_all();
    let (writer, body) = Body::streaming();
    writer.piece("content");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    writer.trailers(trailers);
    assert_eq!(scene.send(&alice, post("/", body)).await.status, 200);
    for request in &scene.upstream.requests()[1..] {
        assert_eq!(request.body, "content");
        assert_eq!(request.trailers["x-sum"], "1");
    }
    assert_eq!(scene.means()[1..], ["1", TOKEN]);
}

#[tokio::test]
async fn redirect_to_a_login_page_is_a_lost_session_where_the_config_says_so() {
    let login = || {
        Reply::ok("")
            .status(302)
            .header("location", "/login?back=/")
    };
    for (lost, answer) in [("['302 /login']", 200), ("['302 /start']", 302)] {
        let lost = format!("session_lost = {lost}");
        let scene = Scene::with(Memory::refusing(login), &lost).await;
        let alice = scene.caller(ALICE);
        scene.by(&alice).await;
        scene.memory.forget_all();
        assert_eq!(scene.send(&alice, get("/")).await.status, answer);
    }
    // 401 says so in any case.
    let scene = Scene::with(Memory::default(), "session_lost = ['302 /login']").await;
    let alice = scene.caller(ALICE);
    scene.by(&alice).await;
    scene.memory.forget_all();
    assert_eq!(scene.by(&alice).await, by("credential", ALICE));
}

#[tokio::test]
async fn websocket_whose_session_is_lost_is_opened_all_the_same() {
    let scene = Scene::start().await;
    let alice = scene.caller(ALICE);
    scene.by(&alice).await;
    scene.memory.forget_all();
    let mut raw: Raw = alice.raw(scene.proxy.public()).await;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {PROXY_NAME}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    raw.write(head).await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert!(!answer.head.contains("SID"), "{}", answer.head);
    raw.write("ping").await;
    assert_eq!(raw.read_exactly(4).await, "ping");
    assert_eq!(scene.means()[1..], ["1", TOKEN]);
}

#[tokio::test]
async fn without_retry_the_failure_goes_down_and_the_session_is_forgotten() {
    for (mode, status) in [("supported", 401), ("required", 502)] {
        let outbound = format!("authentication_retry = false\nbasic_authentication = '{mode}'");
        let scene = Scene::with(Memory::default(), &outbound).await;
        let alice = scene.caller(ALICE);
        scene.by(&alice).await;
        scene.memory.forget_all();
        assert_eq!(scene.send(&alice, get("/")).await.status, status);
        assert_eq!(scene.by(&alice).await, by("credential", ALICE));
        assert_eq!(scene.means(), [TOKEN, "1", TOKEN]);
    }
}

#[tokio::test]
async fn session_least_recently_used_makes_room_for_another() {
    let scene = Scene::with(Memory::default(), "max_sessions = 1").await;
    let (alice, bob) = (scene.caller(ALICE), scene.caller(BOB));
    for _ in 0..2 {
        assert_eq!(scene.by(&alice).await, by("credential", ALICE));
        assert_eq!(scene.by(&alice).await, by("session", ALICE));
        assert_eq!(scene.by(&bob).await, by("credential", BOB));
    }
}

#[tokio::test]
async fn session_of_a_forwarded_credential_is_none_of_another_one() {
    let scene = Scene::speaking(HttpVersion::Http1, Memory::default(), |setup, _| {
        let setup = setup.without("upstreams.orders.outbound.credential");
        setup.with("upstreams.orders.outbound.identity_assertion = 'never'")
    })
    .await;
    let alice = scene.caller(ALICE);
    for own in [
        Some("Bearer a"),
        Some("Bearer a"),
        Some("Bearer b"),
        None,
        None,
    ] {
        let request = match own {
            Some(own) => with(get("/"), "authorization", own),
            None => get("/"),
        };
        let status = scene.send(&alice, request).await.status;
        // A stranger's session is not kept.
        assert_eq!(status, if own.is_some() { 200 } else { 401 });
    }
    assert_eq!(scene.means(), ["Bearer a", "1", "Bearer b", "", ""]);
    let line = scene
        .proxy
        .access_line_where(|line| line["asserted"] == "session")
        .await;
    assert_eq!(line["status"], 200, "{line}");
}

/// Hundreds of identities through one upstream, each on connections of its own,
/// while the service forgets sessions at random.
#[tokio::test]
async fn no_answer_and_no_session_reaches_another_identity() {
    for protocol in BOTH {
        let memory = Memory::default();
        let scene = Scene::speaking(protocol, memory, |setup, _| {
            setup.with("upstreams.orders.outbound.pool_per = 'identity'\nserver.workers = 2")
        })
        .await;
        let callers: Vec<_> = (0..IDENTITIES)
            .map(|number| format!("spiffe://prod.example/{number}"))
            .map(|uri| (scene.caller(&uri), uri))
            .collect();
        let mut under_way = tokio::task::JoinSet::new();
        for (client, uri) in callers {
            for client in client.in_both_protocols() {
                let (uri, public) = (uri.clone(), scene.proxy.public());
                let memory = scene.memory.clone();
                under_way.spawn(async move {
                    let mut session = client.connect(public).await.unwrap();
                    for turn in 0..REQUESTS {
                        let body = Body::full(uri.clone());
                        let answer = session.send(post("/", body));
                        let answer = within("an answer", answer).await.unwrap();
                        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*uri));
                        assert!(!format!("{:?}", answer.headers).contains("SID"));
                        memory.forget_some(turn);
                    }
                });
            }
        }
        // No limit for all of them together: each has its own.
        while let Some(ended) = under_way.join_next().await {
            ended.unwrap();
        }
        let mut owners = HashMap::new();
        let mut by_session = 0;
        for request in scene.upstream.requests() {
            let caller = asserted(&request);
            assert_eq!(request.body, caller, "the body of somebody else");
            let owner = owners
                .entry(request.connection)
                .or_insert_with(|| caller.clone());
            assert_eq!(*owner, caller, "two identities on one connection");
            if let Some(number) = session_of(&request) {
                by_session += 1;
                let issued = scene.memory.issued.lock().unwrap();
                assert_eq!(issued[&number], caller, "the session of somebody else");
            }
        }
        assert!(
            by_session > IDENTITIES,
            "{by_session} requests with a session"
        );
        let opened = scene.memory.opened.load(Ordering::Relaxed);
        assert!(opened > IDENTITIES * 2, "no session was lost: {opened}");
    }
}

const IDENTITIES: u64 = 200;
const REQUESTS: u64 = 6;

#[tokio::test]
async fn sessions_outlast_generations_that_leave_their_upstream_as_it_is() {
    let scene = Scene::start().await;
    let alice = scene.caller(ALICE);
    scene.by(&alice).await;
    let generation = async |number: u64| {
        let published = |line: &serde_json::Value| line["generation"] == number;
        scene
            .proxy
            .log_line("generation.published", published)
            .await;
    };
    let config = scene.proxy.path("countersign.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let changed = text.replace("15s", "16s");
    assert_ne!(changed, text);
    std::fs::write(&config, changed).unwrap();
    generation(2).await;
    assert_eq!(scene.by(&alice).await, by("session", ALICE));
    // Another credential is another start.
    std::fs::write(scene.proxy.path("token"), "planted anew").unwrap();
    generation(3).await;
    assert_eq!(scene.by(&alice).await, by("credential", ALICE));
    assert_eq!(scene.means(), [TOKEN, "1", "Bearer planted anew"]);
}
