//! More certificates on a listener, chosen by the name that a client asks for.

use std::sync::Arc;

use super::Extent;
use super::curve::Curve;
use super::load::head;
use super::point::{Newcomers, Point, load, setup};
use super::process::held;
use super::progress::progress;
use super::support::client::Client;
use super::support::pki::{Leaf, PROXY_NAME, Pki};
use super::support::proxy::Setup;
use super::support::upstream::Upstream;
use super::turns::turns;

const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let sizes = extent.sizes(&SIZES);
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let leaves = leaves(&pki, *sizes.last().unwrap());
    let mut curve = Curve::of("certificates", &sizes);
    let mut points = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        let setup = with(setup(&pki, &upstream), &leaves[..*size]);
        curve.time("CPU to load", place, load(&setup));
        let newcomers = Newcomers::below(pki.root(), &pki);
        let point = Point::start(setup, newcomers, Arc::new(|_| head("/", ""))).await;
        points.push((point, Newcomers::below(pki.root(), &pki)));
    }
    let mut asked = 0;
    for turn in turns("names", extent.rounds, sizes.len()) {
        let (point, newcomers) = &mut points[turn.place];
        let mut asking = || {
            asked += 1;
            let name = name(sizes[turn.place] - 1 - asked % sizes[turn.place]);
            newcomers.next().sni(&name)
        };
        let clients: Vec<Client> = (0..extent.handshakes).map(|_| asking()).collect();
        let handshake = point.handshakes_of(clients).await;
        if turn.counts {
            curve.time("CPU of a full handshake", turn.place, handshake);
        }
    }
    for (place, (point, _)) in points.iter().enumerate() {
        let kibibytes = u32::try_from(held(point.proxy.id())).unwrap();
        curve.memory("memory", place, f64::from(kibibytes));
    }
    println!("### Certificates of a listener\n");
    println!(
        "Each handshake is that of a client whose certificate was never seen before, with one request, for one of the names after the other. To load is to read the config and all that it names. The memory is that of the whole process, after all handshakes.\n"
    );
    println!("{curve}");
}

/// The names of the certificates; the first one is what clients ask for who are
/// told nothing else.
fn name(number: usize) -> String {
    match number {
        0 => PROXY_NAME.to_owned(),
        other => format!("name-{other}.proxy.test"),
    }
}

fn leaves(pki: &Pki, count: usize) -> Vec<Leaf> {
    let leaves = (0..count).map(|number| {
        progress("making certificates", number + 1, count);
        pki.server(&name(number))
    });
    leaves.collect()
}

/// With these certificates on the listener.
fn with(setup: Setup, leaves: &[Leaf]) -> Setup {
    let mut setup = setup.folder("own");
    for (number, leaf) in leaves.iter().enumerate() {
        setup = setup.certificate(&format!("own/{number}"), leaf);
    }
    let chosen = (0..leaves.len())
        .map(|number| format!("{{ chain = 'own/{number}.pem', key = 'own/{number}.key' }}"));
    let chosen = chosen.collect::<Vec<_>>().join(", ");
    setup.with(&format!("listeners.public.tls.certificates = [{chosen}]"))
}
