//! What becomes of requests when trust is withdrawn and when generations change.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn as client;
use hyper::server::conn as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use super::Proxy;
use crate::config::{self, Files, ListenerId};
use crate::proxy::exchange::Exchange;
use crate::proxy::{Caller, Downstream, Fault, Kind, Phase, Side, Site};
use crate::telemetry::{AccessLog, MetricNames, Metrics, Refusals};
use crate::upstream::testing::{Service, eventually, in_both_protocols, on_a_worker};
use crate::upstream::{Local, Plan, load};

/// A generation with an upstream for each name, for requests to `NAME.test`.
/// Those with a plan of a former generation keep it.
fn site(number: u64, upstreams: &[(&str, &Service, Option<&Arc<Plan>>)]) -> Arc<Site> {
    let mut text = "[listeners.local]\nbind = \"127.0.0.1:0\"\n".to_owned();
    for (name, service, _) in upstreams {
        text += &format!(
            "[[routes]]\nhost = \"{name}.test\"\nupstream = \"{name}\"\n[upstreams.{name}]\nendpoints = [\"http://{}\"]\n",
            service.address
        );
    }
    let config = config::parse(&text, Path::new("config.toml"))
        .finish(Vec::new())
        .unwrap();
    let loaded = load(&config, &Files::new(), None, &[]).unwrap();
    let plans = loaded
        .into_iter()
        .zip(upstreams)
        .map(|(plan, (_, _, former))| former.cloned().unwrap_or(plan))
        .collect();
    let metrics = Metrics::new(MetricNames {
        upstreams: upstreams
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .collect(),
        ..MetricNames::default()
    });
    Arc::new(Site::new(
        number,
        Arc::new(config),
        plans,
        (vec![None], Vec::new(), vec![None]),
        (metrics, Refusals::new()),
    ))
}

fn proxy(site: Arc<Site>, former: Option<&Proxy>) -> Rc<Proxy> {
    Proxy::new(site, &AccessLog::disabled(), former)
}

/// A generation whose only upstream is `a`.
fn proxy_to(service: &Service) -> Rc<Proxy> {
    proxy(site(1, &[("a", service, None)]), None)
}

/// The client's side of a connection.
struct Client {
    downstream: Rc<Downstream>,
    /// What the next request is served by.
    caller: Rc<RefCell<Rc<Caller>>>,
    sender: Sender,
}

enum Sender {
    Http1(client::http1::SendRequest<Empty<Bytes>>),
    Http2(client::http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    async fn connect(proxy: &Rc<Proxy>, protocol: &str) -> Self {
        let http2 = protocol == "h2";
        let downstream = Downstream::plaintext(None, http2);
        let caller = Caller::new(proxy, ListenerId(0), Rc::clone(&downstream), None);
        let caller = Rc::new(RefCell::new(caller));
        let (near, far) = tokio::io::duplex(64 * 1024);
        let service = service_fn({
            let caller = Rc::clone(&caller);
            move |request| {
                let handling = Rc::clone(&caller.borrow()).handle(request, None);
                async { Ok::<_, Infallible>(handling.await) }
            }
        });
        let (near, far) = (TokioIo::new(near), TokioIo::new(far));
        let sender = if http2 {
            spawn_local(server::http2::Builder::new(Local).serve_connection(far, service));
            let (sender, connection) = client::http2::handshake(Local, near).await.unwrap();
            spawn_local(connection);
            Sender::Http2(sender)
        } else {
            spawn_local(server::http1::Builder::new().serve_connection(far, service));
            let (sender, connection) = client::http1::handshake(near).await.unwrap();
            spawn_local(connection);
            Sender::Http1(sender)
        };
        Self {
            downstream,
            caller,
            sender,
        }
    }

    /// The connection goes on under another generation.
    fn comes_under(&self, proxy: &Rc<Proxy>) {
        let caller = Caller::new(proxy, ListenerId(0), Rc::clone(&self.downstream), None);
        self.caller.replace(caller);
    }

    /// The head of the response to a request to `HOST/PATH`.
    async fn begin(&mut self, host: &str, path: &str) -> Response<Incoming> {
        let request = Request::builder();
        match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(path).header(HOST, host);
                sender.ready().await.unwrap();
                sender
                    .send_request(request.body(Empty::new()).unwrap())
                    .await
            }
            Sender::Http2(sender) => {
                let request = request.uri(format!("http://{host}{path}"));
                sender
                    .send_request(request.body(Empty::new()).unwrap())
                    .await
            }
        }
        .unwrap()
    }

    async fn get(&mut self, host: &str, path: &str) -> (StatusCode, String) {
        let response = self.begin(host, path).await;
        (response.status(), text_of(response).await)
    }
}

async fn text_of(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

#[test]
fn connection_in_good_standing_is_served() {
    in_both_protocols(|protocol| async move {
        let service = Service::start("http/1.1").await;
        let mut client = Client::connect(&proxy_to(&service), protocol).await;
        for _ in 0..2 {
            let response = client.begin("a.test", "/").await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers().get(CONNECTION), None);
            assert_eq!(text_of(response).await, "done");
        }
    });
}

#[test]
fn new_request_on_a_withdrawn_connection_is_refused_and_ends_it() {
    in_both_protocols(|protocol| async move {
        let service = Service::start("http/1.1").await;
        let mut client = Client::connect(&proxy_to(&service), protocol).await;
        client.downstream.withdraw("its authority was removed");
        // Whether there is a route for it is nothing that it is told.
        let hosts = ["unknown.test", "a.test"];
        let hosts = hosts.iter().take(if protocol == "h2" { 2 } else { 1 });
        for host in hosts {
            let response = client.begin(host, "/").await;
            assert_eq!(response.status(), 403);
            let close = response.headers().get(CONNECTION).cloned();
            assert_eq!(close.is_some_and(|it| it == "close"), protocol != "h2");
            let text = text_of(response).await;
            assert!(text.starts_with("403 Forbidden\nreference: "), "{text}");
            assert!(!text.contains("authority"), "{text}");
        }
        assert_eq!(service.seen.opened.get(), 0);
    });
}

#[test]
fn request_under_way_when_trust_is_withdrawn_is_finished() {
    in_both_protocols(|protocol| async move {
        let service = Service::start("http/1.1").await;
        let mut client = Client::connect(&proxy_to(&service), protocol).await;
        let downstream = Rc::clone(&client.downstream);
        let withdraw = async {
            service.sees_requests(1).await;
            downstream.withdraw("its authority was removed");
            service.release();
        };
        let (answer, ()) = tokio::join!(client.get("a.test", "/held"), withdraw);
        assert_eq!(answer, (StatusCode::OK, "done".to_owned()));
        assert_eq!(client.get("a.test", "/").await.0, 403);
        assert_eq!(service.seen.requests.get(), 1);
    });
}

#[test]
fn unchanged_upstream_keeps_its_connections_and_counters_and_the_others_are_retired() {
    on_a_worker(async {
        let services = [
            Service::start("http/1.1").await,
            Service::start("http/1.1").await,
            Service::start("http/1.1").await,
        ];
        let [changed, kept, removed] = &services;
        let first = site(
            1,
            &[
                ("changed", changed, None),
                ("kept", kept, None),
                ("removed", removed, None),
            ],
        );
        let former = proxy(Arc::clone(&first), None);
        let mut client = Client::connect(&former, "http/1.1").await;
        for host in ["changed.test", "kept.test", "removed.test"] {
            assert_eq!(client.get(host, "/").await.1, "done");
        }
        let plan = first.plans().get(1);
        let second = site(2, &[("kept", kept, plan), ("changed", changed, None)]);
        let next = proxy(second, Some(&former));
        client.comes_under(&next);
        changed.sees_no_connection().await;
        removed.sees_no_connection().await;
        for host in ["changed.test", "kept.test"] {
            assert_eq!(client.get(host, "/").await.1, "done");
        }
        let opened = services.each_ref().map(|service| service.seen.opened.get());
        assert_eq!(opened, [2, 1, 1]);
        // It has another place now, and is counted under its name all the same.
        let counted = former.ledger.metrics.encode().unwrap();
        let count = |result, number| {
            let ends = format!("result=\"{result}\"}} {number}");
            let line = |line: &&str| line.contains("upstream=\"kept\"") && line.ends_with(&ends);
            assert!(counted.lines().any(|it| line(&it)), "{ends} in {counted}");
        };
        count("opened", 1);
        count("reused", 1);
    });
}

#[test]
fn request_belongs_to_the_generation_it_began_under_and_holds_nothing_of_it_after_its_head() {
    in_both_protocols(|protocol| async move {
        let service = Service::start("http/1.1").await;
        let other = Service::start("http/1.1").await;
        let former = proxy_to(&service);
        let mut client = Client::connect(&former, protocol).await;
        let response = client.begin("a.test", "/long").await;
        let next = proxy(site(2, &[("b", &other, None)]), Some(&former));
        client.comes_under(&next);
        let site = Arc::downgrade(former.site());
        drop(former);
        eventually("the end of the former generation", || {
            site.strong_count() == 0
        })
        .await;
        service.release();
        assert_eq!(text_of(response).await, "begun, ended");
        assert_eq!(client.get("a.test", "/").await.0, 404);
        assert_eq!(client.get("b.test", "/").await.0, 200);
        service.sees_no_connection().await;
    });
}

/// The fault of a request that is given up in this state of things.
fn fault_of_abandoned(service: &Service, state: impl FnOnce(&Downstream, &Proxy)) -> Fault {
    let former = proxy_to(service);
    let downstream = Downstream::plaintext(None, false);
    let caller = Caller::new(&former, ListenerId(0), Rc::clone(&downstream), None);
    let (head, ()) = Request::new(()).into_parts();
    let exchange = Exchange::begin(&caller, &head);
    state(
        &downstream,
        &proxy(site(2, &[("a", service, None)]), Some(&former)),
    );
    exchange.abandoned().unwrap()
}

#[test]
fn request_that_is_given_up_says_who_ended_it() {
    on_a_worker(async {
        let service = Service::start("http/1.1").await;
        let cut = |cause| Fault::new(Side::Proxy, Phase::ResponseHead, Kind::Cut, cause);
        let gone = fault_of_abandoned(&service, |_, _| {});
        assert_eq!((gone.side, gone.kind), (Side::Downstream, Kind::ClientGone));
        let gone = fault_of_abandoned(&service, |downstream, _| downstream.withdraw("revoked"));
        assert_eq!((gone.side, gone.kind), (Side::Downstream, Kind::ClientGone));
        let ended = fault_of_abandoned(&service, |downstream, _| downstream.cut("revoked"));
        assert_eq!(ended, cut("revoked"));
        // The end of the process is the end of all generations.
        let ended = fault_of_abandoned(&service, |_, next| next.cut());
        assert_eq!((ended.side, ended.kind), (Side::Proxy, Kind::Cut));
        assert!(ended.cause.starts_with("countersign was told to end"));
    });
}
