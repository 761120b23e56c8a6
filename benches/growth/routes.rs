//! More routes.

use std::sync::Arc;
use std::time::Duration;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::point::{Newcomers, Point, cpu_of, load, setup};
use super::support::pki::Pki;
use super::support::proxy::Proxy;
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];

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
            curve.time("CPU to load", turn.place, load);
            curve.time("CPU of a reload", turn.place, reload);
        }
    }
    println!("### Routes\n");
    println!(
        "Each request takes the last route. To load is to read the config and all that it names; a reload puts in force that a timeout of the upstream is another.\n"
    );
    println!("{curve}");
}

fn routes(count: usize) -> String {
    let routes =
        (0..count).map(|number| format!("{{ path = '/route-{number}/', upstream = 'orders' }}"));
    format!("routes = [{}]", routes.collect::<Vec<_>>().join(", "))
}

/// The processor time of putting a change in force, from the change of the config
/// on; `number`: that of the change.
async fn reload(proxy: &Proxy, number: usize) -> Duration {
    let timeout = 7_000 + number;
    let change = format!("upstreams.orders.connect_timeout = '{timeout}ms'");
    let in_force = async {
        proxy.after(|proxy| proxy.configure(&change)).await;
    };
    cpu_of(proxy, in_force, 1).await
}
