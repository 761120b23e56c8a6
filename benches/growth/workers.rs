//! More workers.

use std::sync::Arc;
use std::time::Instant;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::point::{Newcomers, Point, setup};
use super::support::pki::Pki;
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 2] = [1, 2];

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let mut points = Vec::new();
    for size in SIZES {
        let setup = setup(&pki, &upstream).with(&format!("server.workers = {size}"));
        let newcomers = Newcomers::below(pki.root(), &pki);
        points.push(Point::start(setup, newcomers, Arc::new(|_| head("/", ""))).await);
    }
    let mut curve = Curve::of("workers", &SIZES);
    for turn in turns("workers", extent.rounds, SIZES.len()) {
        let begun = Instant::now();
        let request = points[turn.place].request(extent.requests).await;
        let taken = begun.elapsed().as_secs_f64();
        if turn.counts {
            curve.time("CPU of a request", turn.place, request);
            let requests = u32::try_from(extent.requests).unwrap();
            curve.rate("requests", turn.place, f64::from(requests) / taken);
        }
    }
    println!("### Workers\n");
    println!(
        "Clients and service run on the same machine: where it has no processors left for them, they bound the rate.\n"
    );
    println!("{curve}");
}
