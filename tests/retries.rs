//! Which requests are sent again, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use crate::support::body::Body;
use crate::support::client::{Client, get, post, request};
use crate::support::frames::{Frames, HEADERS};
use crate::support::pki::Pki;
use crate::support::proxy::Setup;
use crate::support::scene::Scene;
use crate::support::upstream::{Reply, Upstream};

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

/// Answers with 503, and with 200 after `failures` of them.
async fn failing(failures: usize) -> Upstream {
    let left = AtomicUsize::new(failures);
    Upstream::answering(move |_| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        match fails {
            Ok(_) => Reply::ok("try again").status(503),
            Err(_) => Reply::ok("done"),
        }
    })
    .await
}

async fn send(scene: &Scene, method: Method, content: &'static str) -> u16 {
    let asked = request(method, "/", Body::full(content));
    let client = Client::new(&scene.pki);
    let answer = client.send(scene.proxy.public(), asked).await.unwrap();
    answer.status.as_u16()
}

#[tokio::test]
async fn request_that_fails_with_a_status_of_the_list_is_sent_again() {
    let scene = scene(failing(1).await, &["retry_on = ['503']"]).await;
    assert_eq!(send(&scene, Method::GET, "").await, 200);
    assert_eq!(scene.upstream.requests().len(), 2);
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.sum("upstream", &["cause=\"status\""]), 1.0);
}

#[tokio::test]
async fn request_that_fails_is_not_sent_again_unless_the_config_says_so() {
    for options in [&[][..], &["retry_on = ['502', '504', 'lost']"]] {
        let scene = scene(failing(1).await, options).await;
        assert_eq!(send(&scene, Method::GET, "").await, 503);
        assert_eq!(scene.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn request_that_means_another_thing_when_it_comes_twice_is_not_sent_again() {
    let held = ["retry_on = ['503']", "buffer_request = '1MiB'"];
    for (method, content, options, status) in [
        (Method::POST, "", &held[..], 503),
        (Method::POST, "content", &held, 503),
        (Method::PATCH, "content", &held, 503),
        // Its body is gone, or is there.
        (Method::PUT, "content", &held[..1], 503),
        (Method::PUT, "content", &held, 200),
        (Method::DELETE, "", &held[..1], 200),
    ] {
        let scene = scene(failing(1).await, options).await;
        assert_eq!(
            send(&scene, method.clone(), content).await,
            status,
            "{method} {options:?}"
        );
        for received in scene.upstream.requests() {
            assert_eq!(received.body, content);
        }
    }
}

#[tokio::test]
async fn request_is_sent_again_so_often_and_then_the_answer_goes_down() {
    let options = ["retry_on = ['503']", "retries = 3", "retry_budget = '100%'"];
    let scene = scene(failing(100).await, &options).await;
    // What is saved up for the others.
    for _ in 0..2 {
        assert_eq!(send(&scene, Method::POST, "").await, 503);
        assert_eq!(send(&scene, Method::HEAD, "").await, 503);
    }
    let before = scene.upstream.requests().len();
    let client = Client::new(&scene.pki);
    let answer = client.get(scene.proxy.public(), "/last").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "try again"));
    let last = scene.upstream.requests().len() - before;
    assert!((2..=4).contains(&last), "{last}");
}

#[tokio::test]
async fn outage_is_not_multiplied_by_requests_that_are_sent_again() {
    let options = ["retry_on = ['503']", "retries = 5", "retry_budget = '10%'"];
    let scene = scene(failing(1000).await, &options).await;
    let began = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(send(&scene, Method::GET, "").await, 503);
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let again = scene.upstream.requests().len() - 50;
    // A tenth, and one each second.
    assert!((5..=5 + 2 + seconds).contains(&again), "{again}");
    let line = scene
        .proxy
        .log_line("limit.struck", |line| line["limit"] == "retry_budget");
    assert_eq!(line.await["upstream"], "orders");
    let metrics = scene.proxy.metrics().await;
    assert!(metrics.sum("upstream_limits_struck", &["limit=\"retry_budget\""]) >= 40.0);
}

#[tokio::test]
async fn request_that_is_sent_again_goes_to_another_endpoint() {
    let (bad, good) = (failing(1000).await, Upstream::start().await);
    let endpoints = format!("endpoints = ['{}', '{}']", bad.endpoint(), good.endpoint());
    let options = [&*endpoints, "retry_on = ['503']", "retry_budget = '100%'"];
    let scene = scene(bad, &options).await;
    for _ in 0..6 {
        assert_eq!(send(&scene, Method::GET, "").await, 200);
    }
    assert_eq!(good.requests().len(), 6);
    assert!(!scene.upstream.requests().is_empty());
}

#[tokio::test]
async fn request_on_a_new_connection_that_ends_is_sent_again_only_where_the_config_says_so() {
    for (options, status) in [(&["retry_on = ['lost']"][..], 200), (&[], 502)] {
        let upstream = Upstream::scripted(|mut raw, number| async move {
            raw.read_until("\r\n\r\n").await;
            if number > 0 {
                raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        })
        .await;
        let scene = scene(upstream, options).await;
        assert_eq!(send(&scene, Method::GET, "").await, status);
    }
}

/// Requests over HTTP/2 to a service whose first connection takes only the first
/// of three, and answers it when it has said so.
async fn service_that_gives_up(refuses: bool) -> (Upstream, Arc<AtomicUsize>) {
    let answered: Arc<AtomicUsize> = Arc::default();
    let count = Arc::clone(&answered);
    let upstream = Upstream::scripted(move |raw, number| {
        let answered = Arc::clone(&count);
        async move {
            let mut frames = Frames::accept(raw).await;
            let mut streams = Vec::new();
            while let Some(frame) = frames.next().await {
                if frame.kind != HEADERS {
                    continue;
                }
                streams.push(frame.stream);
                if number > 0 {
                    answered.fetch_add(1, Ordering::SeqCst);
                    frames.answer(frame.stream).await;
                } else if streams.len() == 3 {
                    if refuses {
                        frames.refuse(streams[1]).await;
                        frames.refuse(streams[2]).await;
                    } else {
                        frames.go_away(streams[0]).await;
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                    frames.answer(streams[0]).await;
                }
            }
        }
    })
    .await;
    (upstream, answered)
}

#[tokio::test]
async fn requests_that_an_http2_service_has_not_processed_are_sent_again_on_one_new_connection() {
    for refuses in [false, true] {
        let (upstream, answered) = service_that_gives_up(refuses).await;
        let options = ["protocol = 'h2'", "buffer_request = '1MiB'"];
        let scene = scene(upstream, &options).await;
        let asked: Vec<_> = ["", "content", ""]
            .into_iter()
            .map(|content| {
                let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
                let asked = match content {
                    "" => get("/"),
                    content => post("/", Body::full(content)),
                };
                tokio::spawn(async move { client.send(address, asked).await.unwrap().status })
            })
            .collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), 200);
        }
        assert_eq!(answered.load(Ordering::SeqCst), 3, "each of them once");
        assert_eq!(scene.upstream.connections(), 2);
    }
}

#[tokio::test]
async fn request_whose_body_is_gone_is_not_sent_again_to_an_http2_service() {
    let (upstream, _) = service_that_gives_up(true).await;
    let scene = scene(upstream, &["protocol = 'h2'"]).await;
    let mut statuses = Vec::new();
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let (client, address) = (Client::new(&scene.pki), scene.proxy.public());
            let asked = post("/", Body::full("content"));
            tokio::spawn(async move { client.send(address, asked).await.unwrap().status.as_u16() })
        })
        .collect();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502, 502]);
}
