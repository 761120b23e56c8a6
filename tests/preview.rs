//! Who would be refused by new files: `countersign trust preview`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::{Client, Session, get};
use crate::support::command::{Finished, countersign};
use crate::support::pki::{Authority, Leaf, Pki};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// A proxy that trusts two authorities, with a peer of each: one is connected,
/// the other has left.
struct Scene {
    pki: Pki,
    second: Authority,
    connected: Leaf,
    seen: Leaf,
    upstream: Upstream,
    proxy: Proxy,
    _session: Session,
}

impl Scene {
    async fn new() -> Self {
        let (pki, upstream) = (Pki::new(), Upstream::start().await);
        let second = Authority::root("Second Root");
        let proxy = Setup::new(&pki, &upstream)
            .file("second.pem", &second.pem())
            .with("trust.clients.ca = ['clients.pem', 'second.pem']")
            .start()
            .await;
        let seen = second
            .leaf()
            .client()
            .common_name("old")
            .uri("spiffe://prod.example/old")
            .issue();
        let client = Client::new(&pki).presenting(&seen);
        client.get(proxy.public(), "/").await.unwrap();
        let connected = pki.client();
        let client = Client::new(&pki).presenting(&connected);
        let mut session = client.connect(proxy.public()).await.unwrap();
        session.send(get("/")).await.unwrap();
        has_left(&proxy, "spiffe://prod.example/old").await;
        Self {
            pki,
            second,
            connected,
            seen,
            upstream,
            proxy,
            _session: session,
        }
    }

    /// New files, in a folder of their own, in which these are trusted.
    fn new_files(&self, trusted: &[&Authority]) -> Setup {
        let ca: String = trusted.iter().map(|authority| authority.pem()).collect();
        Setup::new(&self.pki, &self.upstream).file("clients.pem", &ca)
    }

    async fn preview(&self, new: &Setup, more: &[&str]) -> Finished {
        preview(&new.write(), self.proxy.admin(), more).await
    }
}

async fn has_left(proxy: &Proxy, peer: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let peers = proxy.peers().await;
        let left = |known: &Value| known["peer"] == peer && known["connections"] == 0;
        if peers.iter().any(left) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{peers:#?}");
    }
}

async fn preview(config: &Path, admin: SocketAddr, more: &[&str]) -> Finished {
    let admin = admin.to_string();
    let config = config.to_str().unwrap();
    let mut arguments = vec!["trust", "preview", "--config", config, "--admin", &admin];
    arguments.extend(more);
    countersign(&arguments).await
}

/// The lines that begin so, without their indentation.
fn lines<'a>(finished: &'a Finished, beginning: &str) -> Vec<&'a str> {
    let lines = finished.stdout.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with(beginning)).collect()
}

fn last_line(finished: &Finished) -> &str {
    finished.stdout.lines().last().unwrap_or_default()
}

#[tokio::test]
async fn nobody_is_refused_where_everybodys_authority_stays() {
    let scene = Scene::new().await;
    let third = Authority::root("Third Root");
    let new = scene.new_files(&[scene.pki.root(), &scene.second, &third]);
    let finished = scene.preview(&new, &[]).await;
    finished.expect_code(0);
    assert_eq!(
        last_line(&finished),
        "2 peers known, 2 stay, 0 would be refused, 0 of them connected now"
    );
    assert_eq!(lines(&finished, "refused").len(), 0, "{finished:?}");
    let [added] = lines(&finished, "trust clients: adds")[..] else {
        panic!("{finished:?}");
    };
    assert!(added.contains("anchor \"CN=Third Root\""), "{added}");
    let stay = "trust clients: 2 anchors and 0 revocation lists stay";
    assert_eq!(lines(&finished, stay).len(), 1, "{finished:?}");
}

#[tokio::test]
async fn connected_peer_and_one_seen_earlier_are_refused_when_their_authorities_go() {
    let scene = Scene::new().await;
    let new = scene.new_files(&[&Authority::root("Third Root")]);
    let finished = scene.preview(&new, &[]).await;
    finished.expect_code(4);
    let [first, then] = lines(&finished, "refused: ")[..] else {
        panic!("{finished:?}");
    };
    for (line, leaf, words) in [
        (
            first,
            &scene.connected,
            [
                "spiffe://prod.example/billing",
                "\"CN=billing\"",
                "1 open connection,",
            ],
        ),
        (
            then,
            &scene.seen,
            [
                "spiffe://prod.example/old",
                "\"CN=old\"",
                "0 open connections,",
            ],
        ),
    ] {
        for word in words {
            assert!(line.contains(word), "{word} is missing in {line}");
        }
        assert!(line.contains(&leaf.fingerprint()), "{line}");
        assert!(
            line.contains(
                "untrusted, the chain that was presented leads to no authority of trust.clients: "
            ),
            "{line}"
        );
    }
    assert_eq!(
        last_line(&finished),
        "2 peers known, 0 stay, 2 would be refused, 1 of them connected now"
    );
    // The files are as they were, and so is what is in force.
    let (_, trust) = scene.proxy.ask_admin("/trust").await;
    assert!(trust.contains("\"generation\":1"), "{trust}");
}

#[tokio::test]
async fn one_of_two_is_refused_when_one_authority_goes() {
    let scene = Scene::new().await;
    for (kept, gone, now) in [
        (scene.pki.root(), "CN=Second Root", 0),
        (&scene.second, "CN=Countersign Test Root", 1),
    ] {
        let new = scene.new_files(&[kept]);
        let finished = scene.preview(&new, &[]).await;
        finished.expect_code(4);
        assert_eq!(
            last_line(&finished),
            format!("2 peers known, 1 stay, 1 would be refused, {now} of them connected now")
        );
        let trust = scene.proxy.trust().await;
        let anchors = trust["bundles"][0]["anchors"].as_array().unwrap();
        let anchor = anchors.iter().find(|anchor| anchor["subject"] == gone);
        let expected = format!(
            "trust clients: removes anchor \"{gone}\", fingerprint {}, 1 handshake rested on it, at {}",
            anchor.unwrap()["fingerprint"].as_str().unwrap(),
            anchor.unwrap()["last_handshake"].as_str().unwrap(),
        );
        assert_eq!(lines(&finished, "trust clients: removes"), [expected]);
        // Half of the anchors is not more than half.
        let held = lines(&finished, "trust clients: would be held back");
        assert_eq!(held.len(), 0, "{held:?}");
    }
}

#[tokio::test]
async fn bundle_that_would_be_held_back_is_told_with_what_confirms_it() {
    let scene = Scene::new().await;
    let held_back = "trust clients: would be held back";
    let new = scene.new_files(&[&Authority::root("Third Root")]);
    let finished = scene.preview(&new, &[]).await;
    let [line] = lines(&finished, held_back)[..] else {
        panic!("{finished:?}");
    };
    assert!(line.contains("drops 2 of its 2 anchors"), "{line}");
    assert!(
        line.contains("POST /reload?accept_shrink=clients"),
        "{line}"
    );
    let new = new.with("trust.clients.max_shrink = '100%'");
    let finished = scene.preview(&new, &[]).await;
    assert_eq!(lines(&finished, held_back).len(), 0, "{finished:?}");
}

#[tokio::test]
async fn bundle_that_loses_the_list_of_an_anchor_would_be_held_back() {
    let (pki, upstream) = (Pki::new(), Upstream::unreachable().await);
    let stranger = Authority::root("Stranger");
    let list = pki.root().crl(&[]);
    let setup = || {
        let setup = Setup::new(&pki, &upstream).file("root.crl", &list);
        setup.with("trust.clients.crl = ['root.crl']")
    };
    let proxy = setup().start().await;
    let held_back = "trust clients: would be held back: the revocation list of \"CN=Countersign Test Root\" is gone";
    let other = setup().file("root.crl", &stranger.crl(&[]));
    let without = setup().without("trust.clients.crl");
    for (new, is_held, removed) in [(setup(), 0, 0), (other, 1, 1), (without, 0, 1)] {
        let finished = preview(&new.write(), proxy.admin(), &[]).await;
        finished.expect_code(0);
        assert_eq!(lines(&finished, held_back).len(), is_held, "{finished:?}");
        let lists = lines(&finished, "trust clients: removes revocation list 1 of ");
        assert_eq!(lists.len(), removed, "{finished:?}");
    }
}

#[tokio::test]
async fn peer_that_a_new_list_names_is_refused_as_revoked() {
    let scene = Scene::new().await;
    let new = scene
        .new_files(&[scene.pki.root(), &scene.second])
        .file("root.crl", &scene.pki.root().crl(&[&scene.connected]))
        .file("second.crl", &scene.second.crl(&[]))
        .with("trust.clients.crl = ['root.crl', 'second.crl']");
    let finished = scene.preview(&new, &[]).await;
    finished.expect_code(4);
    let [line] = lines(&finished, "refused: ")[..] else {
        panic!("{finished:?}");
    };
    assert!(
        line.contains("CN=billing") && line.contains(": revoked, "),
        "{line}"
    );
    let added = lines(&finished, "trust clients: adds revocation list 1 of ");
    assert_eq!(added.len(), 2, "{finished:?}");
    assert!(
        added
            .iter()
            .any(|line| line.ends_with("1 revoked certificate")),
        "{added:?}"
    );
}

#[tokio::test]
async fn peers_of_a_bundle_that_goes_are_refused() {
    let scene = Scene::new().await;
    let new = scene
        .new_files(&[scene.pki.root()])
        .without("trust.clients")
        .with("trust.callers.ca = ['clients.pem']\nlisteners.public.tls.trust = 'callers'");
    let finished = scene.preview(&new, &[]).await;
    finished.expect_code(4);
    for line in ["trust callers: is new", "trust clients: is gone"] {
        assert_eq!(lines(&finished, line).len(), 1, "{line}: {finished:?}");
    }
    let refused = lines(&finished, "refused: ");
    assert_eq!(refused.len(), 2);
    for line in refused {
        assert!(
            line.ends_with("no_bundle, there is no trust.clients any more"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn program_gets_one_json_document() {
    let scene = Scene::new().await;
    let new = scene.new_files(&[scene.pki.root()]);
    let finished = scene.preview(&new, &["--json"]).await;
    finished.expect_code(4);
    let document: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(document["known"], 2);
    assert_eq!(document["staying"], 1);
    assert_eq!(document["refused_connected"], 0);
    assert_eq!(document["refused"].as_array().unwrap().len(), 1);
    let refused = &document["refused"][0];
    assert_eq!(refused["peer"], "spiffe://prod.example/old");
    assert_eq!(refused["fingerprint"], scene.seen.fingerprint());
    assert_eq!(refused["reason"], "untrusted");
    assert_eq!(document["bundles"][0]["anchors_kept"], 1);
    let removed = &document["bundles"][0]["anchors_removed"][0];
    assert_eq!(removed["subject"], "CN=Second Root");
    assert_eq!(removed["handshakes"], 1);
}

#[tokio::test]
async fn admin_address_is_that_of_the_new_config_unless_another_is_given() {
    let (pki, upstream) = (Pki::new(), Upstream::start().await);
    let proxy = Setup::new(&pki, &upstream)
        .with("admin.bind = 'unix:admin.sock'")
        .start()
        .await;
    let client = Client::new(&pki).presenting(&pki.client());
    client.get(proxy.public(), "/").await.unwrap();
    let config = proxy.path("countersign.toml");
    let config = config.to_str().unwrap();
    let by_config = countersign(&["trust", "preview", "--config", config]).await;
    by_config.expect_code(0);
    let socket = format!("unix:{}", proxy.path("admin.sock").display());
    // Where this one would be asked, nobody can say.
    let folder = Setup::new(&pki, &upstream);
    let another = folder.write();
    let another = another.to_str().unwrap();
    let by_option = ["trust", "preview", "--config", another, "--admin", &socket];
    let by_option = countersign(&by_option).await;
    by_option.expect_code(0);
    for finished in [by_config, by_option] {
        assert!(
            last_line(&finished).starts_with("1 peer known, 1 stay, 0 "),
            "{finished:?}"
        );
    }
}

#[tokio::test]
async fn new_files_that_are_wrong_are_told_before_anybody_is_asked() {
    let pki = Pki::new();
    let new = Setup::to(&pki, "http://127.0.0.1:1").file("clients.pem", "garbage");
    // Nobody listens there.
    let finished = preview(&new.write(), nowhere(), &[]).await;
    finished
        .expect_code(2)
        .expect_words(&["trust.clients", "clients.pem"]);
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn countersign_that_does_not_answer_leaves_the_question_open() {
    let pki = Pki::new();
    let new = Setup::to(&pki, "http://127.0.0.1:1");
    let finished = preview(&new.write(), nowhere(), &[]).await;
    finished
        .expect_code(1)
        .expect_words(&["gave no answer", "the files are in order"]);
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn config_that_does_not_say_where_to_ask_needs_the_option() {
    let pki = Pki::new();
    let new = || Setup::to(&pki, "http://127.0.0.1:1");
    for (new, word) in [
        (new(), "port 0"),
        (new().without("admin"), "no [admin] table"),
    ] {
        let config = new.write();
        let arguments = ["trust", "preview", "--config", config.to_str().unwrap()];
        let finished = countersign(&arguments).await;
        finished.expect_code(2).expect_words(&[word, "--admin"]);
        let mut arguments = arguments.to_vec();
        arguments.extend(["--admin", "nonsense"]);
        let finished = countersign(&arguments).await;
        finished
            .expect_code(2)
            .expect_words(&["--admin", "unix:PATH"]);
    }
}

#[tokio::test]
async fn chain_that_cannot_be_judged_is_a_line_and_no_good_news() {
    let pki = Pki::new();
    let new = Setup::to(&pki, "http://127.0.0.1:1");
    let config = new.write();
    for (chain, cause) in [
        (json!(["!"]), "not base64"),
        (json!([]), "no certificate"),
        (json!(null), "no chain"),
        (json!([7]), "not base64"),
    ] {
        let admin = pretending(&[&trust(), &peers(&chain)]);
        let finished = preview(&config, admin, &[]).await;
        finished.expect_code(1);
        let [line] = lines(&finished, "cannot be judged: ")[..] else {
            panic!("{finished:?}");
        };
        assert!(line.contains(cause), "{line}");
        // Whatever it is called, it does not move the cursor.
        assert!(line.contains("a\\u{1b}[2Jb"), "{line}");
        assert!(!finished.stdout.contains('\u{1b}'), "{finished:?}");
        assert_eq!(
            last_line(&finished),
            "1 peer known, 0 stay, 0 would be refused, 0 of them connected now, 1 cannot be judged"
        );
    }
    // Base64 of no certificate is judged, as a listener would judge it.
    let admin = pretending(&[&trust(), &peers(&json!(["AAAA"]))]);
    let finished = preview(&config, admin, &[]).await;
    finished.expect_code(4);
    let [line] = lines(&finished, "refused: ")[..] else {
        panic!("{finished:?}");
    };
    assert!(line.contains(": malformed, "), "{line}");
}

#[tokio::test]
async fn answer_that_is_not_countersigns_is_refused() {
    let pki = Pki::new();
    let new = Setup::to(&pki, "http://127.0.0.1:1");
    let config = new.write();
    let good = peers(&json!(["AAAA"]));
    for answers in [
        ["hello", &good],
        ["{}", &good],
        [&trust(), "{}"],
        [&trust(), "[1, 2"],
        [&trust(), "{\"peers\":[{}]}"],
        [&trust().replace("[]", "[{\"name\":\"clients\"}]"), &good],
        [&trust(), &"[".repeat(100_000)],
    ] {
        let admin = pretending(&answers);
        let finished = preview(&config, admin, &[]).await;
        finished
            .expect_code(1)
            .expect_words(&["not one of countersign's"]);
    }
}

fn trust() -> String {
    json!({ "generation": 1, "bundles": [] }).to_string()
}

fn peers(chain: &Value) -> String {
    let peer = json!({
        "peer": "a\u{1b}[2Jb",
        "subject": "",
        "bundle": "clients",
        "connections": 0,
        "last_seen_unix": i64::MIN,
        "chain": chain,
    });
    json!({ "peers": [peer] }).to_string()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// An admin address that gives these answers, one after the other.
fn pretending(answers: &[&str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let length = answer.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}"
            )
            .unwrap();
        }
    });
    address
}
