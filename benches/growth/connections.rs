//! More connections that are open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Extent;
use super::curve::Curve;
use super::load::{AT_ONE_TIME, Asks, Crowd, head};
use super::point::{Newcomers, cpu_of, setup};
use super::process::{held, raise_descriptor_limit};
use super::progress::progress;
use super::support::client::{Client, Session, get};
use super::support::pki::Pki;
use super::support::proxy::Proxy;
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// What either side needs beside the connections, of all sizes together.
const SPARE_DESCRIPTORS: usize = 3_000;

/// After it, what a connection needs for a request only is given back.
const AT_REST: Duration = Duration::from_secs(3);

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let mut extent = extent;
    let descriptors = raise_descriptor_limit();
    extent.largest = extent
        .largest
        .min(descriptors.saturating_sub(SPARE_DESCRIPTORS));
    let sizes = extent.sizes(&SIZES);
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let mut curve = Curve::of("connections", &sizes);
    let mut points = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        let proxy = setup(&pki, &upstream).start().await;
        let mut newcomers = Newcomers::below(pki.root(), &pki);
        let mut open = async |count| {
            let asks: Asks = Arc::new(|_| head("/", ""));
            Crowd::open(proxy.public(), count, asks, || newcomers.next()).await
        };
        let first = open(AT_ONE_TIME).await;
        let before = at_rest(&proxy).await;
        let crowd = open(*size).await;
        curve.memory(
            "memory of one, HTTP/1.1",
            place,
            each(&proxy, before, *size).await,
        );
        points.push((proxy, crowd, first));
    }
    for turn in turns("connections", extent.rounds, sizes.len()) {
        let (proxy, crowd, _) = &mut points[turn.place];
        let request = cpu_of(proxy, crowd.ask(extent.requests), extent.requests).await;
        if turn.counts {
            curve.time("CPU of a request", turn.place, request);
        }
    }
    drop(points);
    for (place, size) in sizes.iter().enumerate() {
        let proxy = setup(&pki, &upstream).start().await;
        let mut newcomers = Newcomers::below(pki.root(), &pki);
        let first = h2(&proxy, &mut newcomers, AT_ONE_TIME).await;
        let before = at_rest(&proxy).await;
        let sessions = h2(&proxy, &mut newcomers, *size).await;
        curve.memory(
            "memory of one, HTTP/2",
            place,
            each(&proxy, before, *size).await,
        );
        drop((first, sessions));
    }
    println!("### Open connections\n");
    println!(
        "Each has a certificate of its own. {AT_ONE_TIME} at a time are asked over HTTP/1.1, one after the other of all. The memory is what the process holds more than with {AT_ONE_TIME} others, divided by the connections, each of which has been asked once and is idle.\n"
    );
    println!("{curve}");
}

/// What one of `count` connections holds, in KiB.
async fn each(proxy: &Proxy, before: u64, count: usize) -> f64 {
    let more = u32::try_from(at_rest(proxy).await.saturating_sub(before)).unwrap();
    f64::from(more) / f64::from(u32::try_from(count).unwrap())
}

/// What the process holds when nothing is under way, in KiB.
async fn at_rest(proxy: &Proxy) -> u64 {
    sleep(AT_REST).await;
    held(proxy.id())
}

/// Opens this many connections of HTTP/2, each after a request.
async fn h2(proxy: &Proxy, newcomers: &mut Newcomers, count: usize) -> Vec<Session> {
    let target = proxy.public();
    let mut opening = JoinSet::new();
    let mut open = Vec::with_capacity(count);
    for number in 0..count {
        progress("connections of HTTP/2", number, count);
        if opening.len() >= AT_ONE_TIME {
            open.push(opening.join_next().await.unwrap().unwrap());
        }
        opening.spawn(asked_once(newcomers.next().h2(), target));
    }
    open.extend(opening.join_all().await);
    progress("connections of HTTP/2", count, count);
    open
}

async fn asked_once(client: Client, target: SocketAddr) -> Session {
    let mut session = client.connect(target).await.unwrap();
    assert_eq!(session.send(get("/")).await.unwrap().status, 200);
    session
}
