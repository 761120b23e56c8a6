//! More trust anchors in a bundle.

use std::sync::Arc;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::point::{Newcomers, Point, setup};
use super::progress::progress;
use super::support::pki::{Authority, Pki};
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let sizes = extent.sizes(&SIZES);
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let upstream = Upstream::start().await;
    let others = others(sizes.last().unwrap() - 1);
    let mut points = Vec::new();
    for size in &sizes {
        let bundle = others[..size - 1].concat() + &partners.pem();
        let setup = setup(&pki, &upstream).file("clients.pem", &bundle);
        let newcomers = Newcomers::below(&partners, &pki);
        points.push(Point::start(setup, newcomers, Arc::new(|_| head("/", ""))).await);
    }
    let mut curve = Curve::of("anchors", &sizes);
    for turn in turns("anchors", extent.rounds, sizes.len()) {
        let point = &mut points[turn.place];
        let handshake = point.handshake(extent.handshakes).await;
        let request = point.request(extent.requests).await;
        if turn.counts {
            curve.time("CPU of a full handshake", turn.place, handshake);
            curve.time("CPU of a request", turn.place, request);
        }
    }
    println!("### Trust anchors\n");
    println!(
        "Each handshake is that of a client whose certificate was never seen before, with one request, below the last anchor of the file.\n"
    );
    println!("{curve}");
}

/// Anchors as PEM that nobody has a certificate of.
fn others(count: usize) -> Vec<String> {
    let others = (0..count).map(|number| {
        progress("making anchors", number + 1, count);
        Authority::root(&format!("Authority {number}")).pem()
    });
    others.collect()
}
