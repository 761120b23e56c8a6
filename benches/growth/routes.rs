//! More routes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::generation::prepare;
use tokio::time::sleep;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::point::{Newcomers, Point, setup, turns};
use super::support::pki::Pki;
use super::support::proxy::{Proxy, Setup};
use super::support::upstream::Upstream;

const SIZES: [usize; 3] = [1, 100, 10_000];

/// After it the process has seen a change on disk by itself, too, and found
/// that it is in force.
const SEEN: Duration = Duration::from_secs(1);

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let sizes = extent.sizes(&SIZES);
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let (mut points, mut aside) = (Vec::new(), Vec::new());
    for size in &sizes {
        let setup = || setup(&pki, &upstream).with(&routes(*size));
        let last = format!("/route-{}/", size - 1);
        let newcomers = Newcomers::below(pki.root(), &pki);
        points.push(Point::start(setup(), newcomers, Arc::new(move |_| head(&last, ""))).await);
        aside.push(setup());
    }
    let mut curve = Curve::of("routes", &sizes);
    for (number, turn) in turns("routes", extent.rounds, sizes.len()).enumerate() {
        let point = &mut points[turn.place];
        let request = point.request(extent.requests).await;
        let (load, reload) = (load(&aside[turn.place]), reload(&point.proxy, number).await);
        if turn.counts {
            curve.time("CPU of a request", turn.place, request);
            curve.time("time to load", turn.place, load);
            curve.time("time to reload", turn.place, reload);
        }
    }
    println!("### Routes\n");
    println!(
        "Each request takes the last route. To load is to read the config and all that it names; to reload is `POST /reload` after another setting has changed.\n"
    );
    println!("{curve}");
}

fn routes(count: usize) -> String {
    let routes =
        (0..count).map(|number| format!("{{ path = '/route-{number}/', upstream = 'orders' }}"));
    format!("routes = [{}]", routes.collect::<Vec<_>>().join(", "))
}

/// How long it takes to load what a start would.
fn load(setup: &Setup) -> Duration {
    let config = setup.write();
    let begun = Instant::now();
    drop(prepare(&config).unwrap());
    begun.elapsed()
}

/// How long it takes to put a change in force; `number`: that of the change.
async fn reload(proxy: &Proxy, number: usize) -> Duration {
    let timeout = 5_000 + number;
    proxy.configure(&format!("upstreams.orders.connect_timeout = '{timeout}ms'"));
    let begun = Instant::now();
    let (status, outcome) = proxy.reload().await;
    let taken = begun.elapsed();
    assert_eq!(
        (status, outcome["outcome"].as_str()),
        (200, Some("published")),
        "{outcome}"
    );
    sleep(SEEN).await;
    taken
}
