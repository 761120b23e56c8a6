//! Judging the chain of a client: in full, and by the path that was found once.

use std::hint::black_box;

use countersign::tls::{Bundle, Objection, Verdict};
use rcgen::SerialNumber;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::Part;
use super::pki::{Authority, Leaf, Pki};
use super::scene::Scene;

/// Entries of the long revocation list.
const ENTRIES: u64 = 100_000;

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    let (root, leaf, revoked) = (pki.root(), pki.client(), pki.client());
    let below = root.intermediate("Issuing").leaf().client().issue();
    let number = u64::from_str_radix(&revoked.serial(), 16).unwrap();
    let listed = (1..ENTRIES).map(serial).chain([number.into()]);
    let scenes = (
        Scene::new(&pki),
        Scene::with_list(&pki, &root.crl(&[])),
        Scene::with_list(&pki, &root.crl_naming(listed)),
    );
    let (open, empty, long) = (scenes.0.bundle(), scenes.1.bundle(), scenes.2.bundle());

    for (bundle, leaf, case) in [
        (open, &leaf, "a leaf"),
        (open, &below, "a leaf below an intermediate"),
        (empty, &leaf, "a leaf, an empty revocation list"),
        (long, &leaf, "a leaf, a revocation list of 100,000 entries"),
    ] {
        in_full(part, &format!("in full: {case}"), (bundle, leaf), good);
        let known = (open, leaf);
        by_path(part, &format!("by its path: {case}"), known, bundle, good);
    }
    let stranger = Authority::root("Other").leaf().client().issue();
    let case = "in full: a stranger's leaf is refused";
    in_full(part, case, (open, &stranger), |verdict| {
        verdict == Err(webpki::Error::UnknownIssuer.into())
    });
    let case = "by its path: one of 100,000 revoked leaves is refused";
    by_path(part, case, (open, &revoked), long, |verdict| {
        verdict == Err(webpki::Error::CertRevoked.into())
    });
}

type Judged = Result<Verdict, Objection>;

fn good(verdict: Judged) -> bool {
    verdict.is_ok_and(|verdict| verdict.notes.is_empty())
}

fn in_full(
    part: &mut Part<'_>,
    case: &str,
    (bundle, leaf): (&Bundle, &Leaf),
    is_right: impl FnOnce(Judged) -> bool,
) {
    let chain = leaf.chain();
    part.time(case, || verify(bundle, black_box(&chain)), is_right);
}

/// Times what `bundle` makes of the path that another one, `known`, has found.
fn by_path(
    part: &mut Part<'_>,
    case: &str,
    (known, leaf): (&Bundle, &Leaf),
    bundle: &Bundle,
    is_right: impl FnOnce(Judged) -> bool,
) {
    let chain = leaf.chain();
    let path = verify(known, &chain).expect("its chain is good").path;
    let judge = || {
        let usage = KeyUsage::client_auth();
        bundle.judge(black_box(&chain), &path, usage, UnixTime::now())
    };
    part.time(case, judge, is_right);
}

fn verify(bundle: &Bundle, chain: &[CertificateDer<'_>]) -> Judged {
    let (leaf, intermediates) = chain.split_first().expect("there is a leaf");
    let usage = KeyUsage::client_auth();
    bundle.verify(leaf, intermediates, usage, UnixTime::now())
}

/// One of many, spread over all of their range, and the same in each run.
fn serial(number: u64) -> SerialNumber {
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1).into()
}
