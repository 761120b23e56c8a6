//! Messages that are held, so that slow clients do not hold the service.

use http::{HeaderMap, HeaderValue, Method};
use tokio::task::JoinHandle;

use crate::support::body::{Body, BodyWriter};
use crate::support::client::{Client, get, next_piece, post, request};
use crate::support::eventually;
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::scene::Scene;
use crate::support::upstream::{Received, Reply, Upstream};

/// A proxy with one worker, and these options of the upstream.
async fn scene(upstream: Upstream, options: &[&str]) -> Scene {
    Scene::start(Pki::new(), upstream, |setup| with(setup, options)).await
}

fn with(setup: Setup, options: &[&str]) -> Setup {
    let setup = setup.with("server.workers = 1");
    options.iter().fold(setup, |setup, option| {
        setup.with(&format!("upstreams.orders.{option}"))
    })
}

const ONE_AT_A_TIME: [&str; 2] = ["max_connections = 1", "queue_timeout = '1s'"];

/// Sends a body whose end is held back; returns what came of a request meanwhile,
/// and the upload.
async fn upload_beside_a_request(scene: &Scene, client: &Client, held: bool) -> (u16, Received) {
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    let (writer, body) = Body::streaming();
    writer.piece("one, ");
    let upload = tokio::spawn(session.begin(post("/upload", body)).await);
    if !held {
        eventually("the upload", || {
            (scene.upstream.connections() == 1).then_some(())
        })
        .await;
    }
    let other = Client::new(&scene.pki);
    let meanwhile = other.get(scene.proxy.public(), "/").await.unwrap().status;
    writer.piece("two");
    drop(writer);
    assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    assert_eq!(scene.upstream.connections(), 1);
    let requests = scene.upstream.requests();
    let upload = requests.into_iter().find(|one| one.path == "/upload");
    (meanwhile.as_u16(), upload.unwrap())
}

#[tokio::test]
async fn slow_upload_takes_no_connection_until_it_is_whole_and_goes_up_with_its_length() {
    for http2 in [false, true] {
        let options = [&ONE_AT_A_TIME[..], &["buffer_request = '1MiB'"]].concat();
        let scene = scene(Upstream::start().await, &options).await;
        let clients = Client::new(&scene.pki).in_both_protocols();
        let client = &clients[usize::from(http2)];
        let (meanwhile, upload) = upload_beside_a_request(&scene, client, true).await;
        assert_eq!(meanwhile, 200);
        assert_eq!(upload.header("content-length"), Some("8"));
        assert_eq!(upload.header("transfer-encoding"), None);
        assert_eq!(upload.body, "one, two");
    }
}

#[tokio::test]
async fn slow_upload_that_is_not_held_takes_a_connection_and_goes_up_chunked() {
    let scene = scene(Upstream::start().await, &ONE_AT_A_TIME).await;
    let client = Client::new(&scene.pki);
    let (meanwhile, upload) = upload_beside_a_request(&scene, &client, false).await;
    assert_eq!(meanwhile, 503);
    assert_eq!(upload.header("transfer-encoding"), Some("chunked"));
    assert_eq!(upload.header("content-length"), None);
}

#[tokio::test]
async fn upload_that_does_not_fit_goes_on_as_it_comes() {
    let upstream = Upstream::answering(|_| Reply::echo()).await;
    let scene = scene(upstream, &["buffer_request = '1KiB'"]).await;
    for client in Client::new(&scene.pki).in_both_protocols() {
        let mut session = client.connect(scene.proxy.public()).await.unwrap();
        let (writer, body) = Body::streaming();
        writer.piece("a".repeat(700));
        writer.piece("b".repeat(700));
        let (answer, mut echo) = session.open(post("/", body)).await.unwrap();
        assert_eq!(answer.status, 200);
        let mut text = Vec::new();
        while text.len() < 1400 {
            text.extend(next_piece(&mut echo).await.unwrap());
        }
        writer.piece("c");
        drop(writer);
        text.extend(next_piece(&mut echo).await.unwrap());
        assert_eq!(
            text,
            ["a".repeat(700), "b".repeat(700), "c".to_owned()]
                .concat()
                .as_bytes()
        );
    }
}

/// A body whose length is not told.
fn of_unknown_length(content: String) -> Body {
    let (writer, body) = Body::streaming();
    writer.piece(content);
    body
}

#[tokio::test]
async fn body_without_a_length_that_does_not_fit_is_refused_where_a_length_is_required() {
    let options = ["require_length = true", "buffer_request = '1KiB'"];
    let scene = scene(Upstream::start().await, &options).await;
    for client in Client::new(&scene.pki).in_both_protocols() {
        let address = scene.proxy.public();
        let large = post("/large", of_unknown_length("x".repeat(3000)));
        assert_eq!(client.send(address, large).await.unwrap().status, 411);
        assert!(
            scene
                .upstream
                .requests()
                .iter()
                .all(|one| one.path != "/large")
        );
        let small = post("/small", of_unknown_length("x".repeat(1000)));
        assert_eq!(client.send(address, small).await.unwrap().status, 200);
        let known = post("/known", Body::full("x".repeat(3000)));
        assert_eq!(client.send(address, known).await.unwrap().status, 200);
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["path"] == "/large")
        .await;
    assert_eq!(line["fault"], "downstream/request_body/length_required");
    for received in scene.upstream.requests() {
        assert_eq!(
            received.header("transfer-encoding"),
            None,
            "{}",
            received.path
        );
        let length = received.body.len().to_string();
        assert_eq!(received.header("content-length"), Some(&*length));
    }
}

#[tokio::test]
async fn body_without_a_length_is_refused_where_a_length_is_required_and_nothing_is_held() {
    let scene = scene(Upstream::start().await, &["require_length = true"]).await;
    let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
    let unknown = post("/", of_unknown_length("x".to_owned()));
    assert_eq!(client.send(address, unknown).await.unwrap().status, 411);
    let known = post("/", Body::full("x"));
    assert_eq!(client.send(address, known).await.unwrap().status, 200);
    assert_eq!(client.get(address, "/").await.unwrap().status, 200);
    assert_eq!(scene.upstream.requests().len(), 2);
}

#[tokio::test]
async fn trailers_of_a_body_that_is_held_go_up_with_it() {
    let scene = scene(Upstream::start().await, &["buffer_request = '1MiB'"]).await;
    let client = Client::new(&scene.pki).h2();
    let (writer, body) = Body::streaming();
    writer.piece("content");
    writer.trailers(HeaderMap::from_iter([(
        "x-sum".parse().unwrap(),
        HeaderValue::from_static("1"),
    )]));
    let asked = crate::support::client::with(post("/", body), "trailer", "x-sum");
    let answer = client.send(scene.proxy.public(), asked).await.unwrap();
    assert_eq!(answer.status, 200);
    let received = scene.upstream.only_request();
    assert_eq!(received.body, "content");
    assert_eq!(received.trailers["x-sum"], "1");
}

/// Begins an upload that takes most of a mebibyte, and does not end it.
async fn begin_upload(scene: &Scene) -> (BodyWriter, JoinHandle<u16>) {
    let client = Client::new(&scene.pki);
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    let (writer, body) = Body::streaming();
    writer.piece("x".repeat(900 * 1024));
    let answer = session.begin(post("/slow", body)).await;
    let upload = tokio::spawn(async move {
        let status = answer.await.unwrap().status();
        drop(session);
        status.as_u16()
    });
    (writer, upload)
}

#[tokio::test]
async fn body_that_finds_no_memory_gets_503_until_another_is_done() {
    let options = ["buffer_request = '1MiB'", "buffer_memory = '1MiB'"];
    let scene = scene(Upstream::start().await, &options).await;
    let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
    let (mut writer, mut upload) = begin_upload(&scene).await;
    let mut refused = false;
    while !refused {
        // Whichever comes later finds no room.
        if upload.is_finished() {
            (writer, upload) = begin_upload(&scene).await;
        }
        let large = post("/large", Body::full("x".repeat(300 * 1024)));
        let status = client.send(address, large).await.unwrap().status;
        assert!([200, 503].contains(&status.as_u16()));
        refused = status == 503 && !upload.is_finished();
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["status"] == 503)
        .await;
    assert_eq!(line["fault"], "proxy/request_body/overloaded", "{line}");
    let metrics = scene.proxy.metrics().await;
    assert!(metrics.sum("upstream_limits_struck", &["limit=\"buffer_memory\""]) >= 1.0);
    assert_eq!(client.get(address, "/").await.unwrap().status, 200);
    drop(writer);
    assert_eq!(upload.await.unwrap(), 200);
    let large = post("/large", Body::full("x".repeat(300 * 1024)));
    assert_eq!(client.send(address, large).await.unwrap().status, 200);
}

#[tokio::test]
async fn one_connection_holds_only_a_part_of_the_memory() {
    let options = ["buffer_request = '1MiB'", "buffer_memory = '8MiB'"];
    let scene = scene(Upstream::start().await, &options).await;
    let greedy = Client::new(&scene.pki).h2();
    let mut greedy = greedy.connect(scene.proxy.public()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        let (writer, body) = Body::streaming();
        writer.piece("x".repeat(700 * 1024));
        let upload = tokio::spawn(greedy.begin(post("/greedy", body)).await);
        held.push((writer, upload));
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["status"] == 503)
        .await;
    assert!(line["cause"].as_str().unwrap().contains("buffer_memory"));
    let client = Client::new(&scene.pki);
    let asked = post("/modest", Body::full("x".repeat(700 * 1024)));
    let answer = client.send(scene.proxy.public(), asked).await.unwrap();
    assert_eq!(answer.status, 200);
    let mut statuses = Vec::new();
    for (writer, upload) in held {
        drop(writer);
        statuses.push(upload.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

/// Answers the first request of its first connection alone, and hangs up on the second.
async fn service_that_hangs_up() -> Upstream {
    Upstream::scripted(|mut raw, number| async move {
        const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        raw.read_until("\r\n\r\n").await;
        if number == 0 {
            raw.write(ANSWER).await;
            raw.read_until("content").await;
            return;
        }
        raw.read_until("content").await;
        raw.write(ANSWER).await;
    })
    .await
}

#[tokio::test]
async fn body_that_is_held_whole_is_sent_again_when_a_kept_connection_was_closed_under_it() {
    for (options, status) in [(&["buffer_request = '1MiB'"][..], 200), (&[], 502)] {
        let scene = scene(service_that_hangs_up().await, options).await;
        let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
        assert_eq!(client.get(address, "/").await.unwrap().status, 200);
        let put = request(Method::PUT, "/", Body::full("content"));
        assert_eq!(client.send(address, put).await.unwrap().status, status);
    }
}

const LARGE: usize = 32 * 1024 * 1024;

/// A client that reads nothing but the head of a large answer, beside another
/// request; returns the status of that, and reads the rest then.
async fn slow_reader_beside_a_request(options: &[&str]) -> u16 {
    let content = bytes::Bytes::from(vec![b'x'; LARGE]);
    let upstream = Upstream::answering(move |request| {
        if request.path == "/large" {
            Reply::body(Body::full(content.clone()))
        } else {
            Reply::ok("done")
        }
    })
    .await;
    let scene = scene(upstream, &[&ONE_AT_A_TIME[..], options].concat()).await;
    let mut slow = Client::new(&scene.pki).raw(scene.proxy.public()).await;
    slow.write("GET /large HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        .await;
    assert_eq!(slow.read_head().await.status, 200);
    let client = Client::new(&scene.pki);
    let meanwhile = client.get(scene.proxy.public(), "/").await.unwrap().status;
    let text = slow.read_exactly(LARGE).await;
    assert_eq!(text.len(), LARGE);
    assert!(text.bytes().all(|byte| byte == b'x'));
    meanwhile.as_u16()
}

#[tokio::test]
async fn slow_reader_does_not_hold_the_connection_where_its_answer_is_read_ahead() {
    let options = ["buffer_response = '64MiB'", "buffer_memory = '160MiB'"];
    assert_eq!(slow_reader_beside_a_request(&options).await, 200);
}

#[tokio::test]
async fn slow_reader_holds_the_connection_where_nothing_is_read_ahead_or_too_little() {
    assert_eq!(slow_reader_beside_a_request(&[]).await, 503);
    let little = ["buffer_response = '64KiB'"];
    assert_eq!(slow_reader_beside_a_request(&little).await, 503);
    let short = ["buffer_response = '1MiB'", "buffer_memory = '1MiB'"];
    assert_eq!(slow_reader_beside_a_request(&short).await, 503);
}

#[tokio::test]
async fn each_piece_of_an_answer_that_is_read_ahead_passes_at_once() {
    let (writer, body) = Body::streaming();
    let body = std::sync::Mutex::new(Some(body));
    let upstream =
        Upstream::answering(move |_| Reply::body(body.lock().unwrap().take().unwrap())).await;
    let scene = scene(upstream, &["buffer_response = '64KiB'"]).await;
    let client = Client::new(&scene.pki);
    let mut session = client.connect(scene.proxy.public()).await.unwrap();
    writer.piece("data: 0\n\n");
    let (_, mut events) = session.open(get("/events")).await.unwrap();
    for number in 0..20 {
        let event = next_piece(&mut events).await.unwrap();
        assert_eq!(event, format!("data: {number}\n\n"));
        writer.piece(format!("data: {}\n\n", number + 1));
    }
    drop(writer);
    assert_eq!(next_piece(&mut events).await.unwrap(), "data: 20\n\n");
    assert!(next_piece(&mut events).await.is_none());
    let line = scene.proxy.access_line("/events").await;
    assert!(line["fault"].is_null(), "{line}");
}

#[tokio::test]
async fn answer_that_breaks_off_while_it_is_read_ahead_is_not_taken_for_whole() {
    let upstream = Upstream::scripted(|mut raw, _| async move {
        raw.read_until("\r\n\r\n").await;
        raw.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            .await;
        raw.write("3\r\ntwo\r\n").await;
    })
    .await;
    let scene = scene(upstream, &["buffer_response = '64KiB'"]).await;
    for client in Client::new(&scene.pki).in_both_protocols() {
        let answer = client.get(scene.proxy.public(), "/").await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let line = scene
        .proxy
        .access_line_where(|line| line["path"] == "/")
        .await;
    assert_eq!(
        line["fault"], "upstream/response_body/upstream_lost",
        "{line}"
    );
}
