//! What a very long revocation list costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::generation::{Prepared, prepare};
use countersign::tls::Bundle;
use rustls_pki_types::UnixTime;
use webpki::KeyUsage;

use super::Extent;
use super::long_list::list;
use super::numbers::Short;
use super::process::memory;
use super::progress::progress;
use super::support::pki::{Authority, Leaf, Pki};
use super::support::proxy::Setup;
use super::support::upstream::Upstream;

/// How often a chain is judged to see what once costs.
const JUDGEMENTS: u32 = 200_000;

/// Measures and prints.
pub(crate) async fn measure(extent: Extent) {
    let partners = Authority::root("Partners");
    let caller = partners
        .leaf()
        .client()
        .uri("spiffe://partner.example/caller")
        .issue();
    progress("making the list", 0, 1);
    let (short, long) = (partners.crl(&[]), list(&partners, extent.entries));
    progress("making the list", 1, 1);
    println!(
        "A revocation list of {} entries, {} MiB as PEM:",
        extent.entries,
        long.len() / (1024 * 1024)
    );

    let (_, without) = load(&partners, &short);
    let (prepared, with) = load(&partners, &long);
    println!(
        "  a start loads everything in {}, without the list in {}",
        Short(Some(with)),
        Short(Some(without))
    );
    let (empty, _) = load(&partners, &short);
    let (with, without) = (judgement(&prepared, &caller), judgement(&empty, &caller));
    println!(
        "  judging a chain again takes {}, with an empty list {}: a look-up takes {}",
        Short(Some(with)),
        Short(Some(without)),
        Short(Some(with.saturating_sub(without)))
    );
    drop((prepared, empty));
    in_the_program(&partners, &short, &long).await;
    println!();
}

async fn in_the_program(partners: &Authority, short: &str, long: &str) {
    let upstream = Upstream::start().await;
    let proxy = setup(&Pki::new(), partners, short, upstream.endpoint())
        .start()
        .await;
    let (before, _) = memory(proxy.id());
    let begun = Instant::now();
    proxy
        .after(|proxy| proxy.rename_over("clients.crl", long))
        .await;
    let in_force = begun.elapsed();
    let (after, most) = memory(proxy.id());
    println!(
        "  in the running program it is in force {} after it came; {before} MiB resident before, {after} MiB after, {most} MiB at most",
        Short(Some(in_force)),
    );
    proxy
        .after(|proxy| proxy.rename_over("clients.crl", &format!("{long}{short}")))
        .await;
    let (again, most) = memory(proxy.id());
    println!("  after the next change of its file: {again} MiB, {most} MiB at most");
}

/// Loads in this process what the program would; returns how long that took.
fn load(partners: &Authority, crl: &str) -> (Prepared, Duration) {
    let setup = setup(&Pki::new(), partners, crl, "http://127.0.0.1:1");
    let config = setup.write();
    let begun = Instant::now();
    let prepared = prepare(&config).unwrap();
    (prepared, begun.elapsed())
}

fn setup(pki: &Pki, partners: &Authority, crl: &str, endpoint: &str) -> Setup {
    Setup::to(pki, endpoint)
        .file("clients.pem", &partners.pem())
        .file("clients.crl", crl)
        .with("trust.clients.crl = ['clients.crl']")
}

/// What it takes to judge a chain by difference, of which a look-up is a part.
fn judgement(prepared: &Prepared, caller: &Leaf) -> Duration {
    let bundle: &Bundle = &prepared.loaded().material().bundles[0];
    let (chain, now) = (caller.chain(), UnixTime::now());
    let usage = KeyUsage::client_auth;
    let path = bundle.verify(&chain[0], &[], usage(), now).unwrap().path;
    let begun = Instant::now();
    for _ in 0..JUDGEMENTS {
        let verdict = bundle.judge(black_box(&chain), &path, usage(), now);
        assert!(black_box(verdict).is_ok());
    }
    begun.elapsed() / JUDGEMENTS
}
