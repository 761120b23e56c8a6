//! More entries in a revocation list.

use std::sync::Arc;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::long_list::list;
use super::point::{Newcomers, Point, setup};
use super::progress::progress;
use super::support::pki::{Authority, Pki};
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 4] = [0, 100, 10_000, 1_000_000];

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let sizes = extent.sizes(&SIZES);
    let (pki, partners) = (Pki::new(), Authority::root("Partners"));
    let upstream = Upstream::start().await;
    let mut points = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        progress("making lists", place + 1, sizes.len());
        let entries = u64::try_from(*size).unwrap();
        let setup = setup(&pki, &upstream)
            .file("clients.pem", &partners.pem())
            .file("clients.crl", &list(&partners, entries))
            .with("trust.clients.crl = ['clients.crl']");
        let newcomers = Newcomers::below(&partners, &pki);
        points.push(Point::start(setup, newcomers, Arc::new(|_| head("/", ""))).await);
    }
    let mut curve = Curve::of("entries", &sizes);
    for turn in turns("revocation", extent.rounds, sizes.len()) {
        let point = &mut points[turn.place];
        let handshake = point.handshake(extent.handshakes).await;
        let request = point.request(extent.requests).await;
        if turn.counts {
            curve.time("CPU of a full handshake", turn.place, handshake);
            curve.time("CPU of a request", turn.place, request);
        }
    }
    println!("### Entries of a revocation list\n");
    println!(
        "Each handshake is that of a client whose certificate was never seen before, with one request; the list does not name it.\n"
    );
    println!("{curve}");
}
