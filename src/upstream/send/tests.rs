//! What becomes of connections and requests when an upstream is retired, or the
//! address that they lead to is gone.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, UPGRADE};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::Upstream;
use crate::config::{self, Files};
use crate::policy::{self, Facts};
use crate::telemetry::{MetricNames, Metrics};
use crate::upstream::testing::{
    Pieces, Service, eventually, in_both_protocols, on_a_worker, plan_of,
};
use crate::upstream::{Answer, Plan, SendFault, SendFaultKind, UpstreamRequest, load};

/// An upstream whose only endpoint is `service`.
fn upstream_at(service: &Service, protocol: &str) -> Upstream<Pieces> {
    let config = config_of(service.address, protocol);
    let plan = load(&config, &Files::new(), None, &[]).unwrap().remove(0);
    let metrics = Metrics::new(MetricNames::default());
    Upstream::new(plan, metrics.upstream_of(0))
}

fn config_of(address: SocketAddr, protocol: &str) -> config::Config {
    let text = format!(
        r#"
        [listeners.local]
        bind = "127.0.0.1:0"
        [[routes]]
        upstream = "orders"
        [upstreams.orders]
        endpoints = ["http://{address}"]
        protocol = "{protocol}"
        "#
    );
    config::parse(&text, Path::new("config.toml"))
        .finish(Vec::new())
        .unwrap()
}

/// A request as it goes up in `protocol`.
fn request(protocol: &str, path: &str, body: Pieces) -> UpstreamRequest<Pieces> {
    let config = config_of("127.0.0.1:1".parse().unwrap(), protocol);
    let permit = policy::decide(&config.routes()[0], &Facts::default()).unwrap();
    let upgrade = path == "/switch";
    let mut request = Request::builder().method("POST");
    if upgrade {
        request = request
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "echo");
    } else if body.is_end_stream() {
        request = request.method("GET");
    }
    let request = if protocol == "h2" {
        request.uri(format!("http://orders.test{path}"))
    } else {
        request.uri(path).header("host", "orders.test")
    };
    UpstreamRequest::new(permit, request.body(body).unwrap(), upgrade)
}

async fn send(
    upstream: &Upstream<Pieces>,
    path: &str,
    body: Pieces,
) -> Result<Answer<Pieces>, SendFault> {
    let protocol = match upstream.plan().protocol() {
        config::Protocol::Http1 => "http/1.1",
        config::Protocol::Http2 => "h2",
    };
    upstream
        .send(request(protocol, path, body), Instant::now())
        .await
}

/// The body of the answer to a request without one.
async fn get(upstream: &Upstream<Pieces>, path: &str) -> Bytes {
    body_of(send(upstream, path, Pieces::default()).await).await
}

async fn body_of(answer: Result<Answer<Pieces>, SendFault>) -> Bytes {
    let body = answer.unwrap().response.into_body();
    body.collect().await.unwrap().to_bytes()
}

#[test]
fn upstream_that_is_not_retired_keeps_its_connection_for_the_next_request() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        for _ in 0..3 {
            assert_eq!(get(&upstream, "/").await, "done");
        }
        assert_eq!((service.seen.opened.get(), service.seen.open.get()), (1, 1));
    });
}

#[test]
fn resting_connection_of_a_retired_upstream_is_closed_at_once() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        get(&upstream, "/").await;
        assert_eq!(service.seen.open.get(), 1);
        upstream.retire();
        service.sees_no_connection().await;
    });
}

#[test]
fn response_under_way_in_retirement_is_finished_and_then_its_connection_is_closed() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        let answer = send(&upstream, "/long", Pieces::default()).await;
        upstream.retire();
        // Nothing has ended it meanwhile.
        assert_eq!(get(&upstream, "/").await, "done");
        assert_eq!(
            (service.seen.opened.get(), service.seen.requests.get()),
            (2, 2)
        );
        service.release();
        assert_eq!(body_of(answer).await, "begun, ended");
        service.sees_no_connection().await;
    });
}

#[test]
fn request_that_waits_for_its_response_in_retirement_is_answered() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        let retire = async {
            service.sees_requests(1).await;
            upstream.retire();
            service.release();
        };
        let (body, ()) = tokio::join!(get(&upstream, "/held"), retire);
        assert_eq!(body, "done");
        service.sees_no_connection().await;
        assert_eq!(service.seen.opened.get(), 1);
    });
}

#[test]
fn upload_that_outlives_its_response_goes_on_in_retirement() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        let (pieces, body) = Pieces::channel();
        pieces.send("first, ".into()).unwrap();
        assert_eq!(
            body_of(send(&upstream, "/upload", body).await).await,
            "done"
        );
        upstream.retire();
        // Whatever retirement does at once, it has done when this is answered.
        get(&upstream, "/").await;
        pieces.send("last".into()).unwrap();
        drop(pieces);
        eventually("the upload", || {
            *service.seen.uploaded.borrow() == b"first, last"
        })
        .await;
        service.sees_no_connection().await;
    });
}

#[test]
fn request_in_retirement_is_still_sent_again_when_its_connection_was_lost() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        get(&upstream, "/").await;
        let retire = async {
            service.sees_requests(2).await;
            upstream.retire();
            service.release();
        };
        let (answer, ()) = tokio::join!(send(&upstream, "/lost", Pieces::default()), retire);
        if protocol == "h2" {
            // Its service resets the stream, which is an answer and no loss.
            answer.unwrap_err();
        } else {
            assert_eq!(body_of(answer).await, "done");
            assert_eq!(
                (service.seen.opened.get(), service.seen.requests.get()),
                (2, 3)
            );
        }
        service.sees_no_connection().await;
    });
}

#[test]
fn requests_that_wait_for_one_http2_connection_share_it_in_retirement() {
    on_a_worker(async {
        let service = Service::start("h2").await;
        let upstream = Rc::new(upstream_at(&service, "h2"));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let upstream = Rc::clone(&upstream);
                spawn_local(async move { get(&upstream, "/").await })
            })
            .collect();
        // Each has begun, and none has its connection yet.
        while upstream.endpoints[0].in_flight() < waiting.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(service.seen.requests.get(), 0);
        upstream.retire();
        for request in waiting {
            assert_eq!(request.await.unwrap(), "done");
        }
        service.sees_no_connection().await;
        assert_eq!(service.seen.opened.get(), 1);
    });
}

#[test]
fn tunnel_goes_on_in_retirement() {
    on_a_worker(async {
        let service = Service::start("http/1.1").await;
        let upstream = upstream_at(&service, "http/1.1");
        let answer = send(&upstream, "/switch", Pieces::default()).await.unwrap();
        assert_eq!(answer.response.status(), 101);
        upstream.retire();
        let upgraded = hyper::upgrade::on(answer.response).await.unwrap();
        let mut tunnel = TokioIo::new(upgraded);
        tunnel.write_all(b"echo").await.unwrap();
        let mut echo = [0; 4];
        tunnel.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"echo");
    });
}

#[test]
fn retired_upstream_leaves_nothing_behind() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = upstream_at(&service, protocol);
        get(&upstream, "/").await;
        let endpoint = Rc::downgrade(&upstream.endpoints[0]);
        let plan = Arc::downgrade(upstream.plan());
        upstream.retire();
        drop(upstream);
        eventually("the end of what cares for the endpoint", || {
            endpoint.strong_count() == 0
        })
        .await;
        assert_eq!(plan.strong_count(), 0);
    });
}

/// An upstream whose only endpoint is a name that stands for `service`.
fn named_upstream(service: &Service, protocol: &str) -> Upstream<Pieces> {
    let endpoint = format!("http://localhost:{}", service.address.port());
    let plan = plan_of(&[&endpoint], &format!("protocol = \"{protocol}\""));
    stands_for(&plan, service.address);
    let metrics = Metrics::new(MetricNames::default());
    Upstream::new(plan, metrics.upstream_of(0))
}

/// As if the resolver had said so.
fn stands_for(plan: &Plan, address: SocketAddr) {
    let addresses = plan.standings()[0].addresses().unwrap();
    addresses.learn(vec![address], Instant::now());
}

/// Where nothing listens.
fn elsewhere(service: &Service) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 77], service.address.port()))
}

#[test]
fn connection_to_an_address_that_is_gone_is_closed_at_the_next_request() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = named_upstream(&service, protocol);
        for _ in 0..2 {
            assert_eq!(get(&upstream, "/").await, "done");
            // The same answer again is no change.
            stands_for(upstream.plan(), service.address);
        }
        assert_eq!((service.seen.opened.get(), service.seen.open.get()), (1, 1));
        stands_for(upstream.plan(), elsewhere(&service));
        let refused = send(&upstream, "/", Pieces::default()).await.unwrap_err();
        assert_eq!(refused.kind, SendFaultKind::ConnectRefused);
        service.sees_no_connection().await;
        assert_eq!(service.seen.requests.get(), 2);
    });
}

#[test]
fn response_under_way_from_an_address_that_is_gone_is_finished() {
    in_both_protocols(|protocol| async move {
        let service = Service::start(protocol).await;
        let upstream = named_upstream(&service, protocol);
        let answer = send(&upstream, "/long", Pieces::default()).await;
        stands_for(upstream.plan(), elsewhere(&service));
        let refused = send(&upstream, "/", Pieces::default()).await.unwrap_err();
        assert_eq!(refused.kind, SendFaultKind::ConnectRefused);
        service.release();
        assert_eq!(body_of(answer).await, "begun, ended");
        service.sees_no_connection().await;
    });
}
