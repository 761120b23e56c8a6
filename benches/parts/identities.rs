//! Reading who a certificate says that it is of.

use std::hint::black_box;

use countersign::identity::CertificateNames;
use rcgen::DnType;

use super::Part;
use super::pki::{CLIENT_URI, Leaf, Pki};

/// Alternative names of one certificate.
const NAMES: usize = 100;
/// Attributes of one subject.
const ATTRIBUTES: u64 = 50;

pub(crate) fn benchmarks(part: &mut Part<'_>) {
    let pki = Pki::new();
    let read = |leaf: &Leaf| {
        let certificate = leaf.chain().swap_remove(0);
        move || CertificateNames::read(black_box(&certificate)).unwrap()
    };

    part.time("a SPIFFE leaf", read(&pki.client()), |names| {
        names.uri() == [CLIENT_URI]
    });
    let many = (0..NAMES).fold(pki.root().leaf().client(), |leaf, number| {
        leaf.dns(&format!("Service-{number}.prod.example"))
    });
    part.time("a leaf with 100 names", read(&many.issue()), |names| {
        names.dns().len() == NAMES && names.dns()[7] == "service-7.prod.example"
    });
    let large = (0..ATTRIBUTES).fold(pki.root().leaf().client(), |leaf, number| {
        let kind = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 55_555, number]);
        leaf.subject(kind, "Entwicklung, Prüfung + Betrieb")
    });
    let large = large.common_name("caller").issue();
    part.time("a leaf with a large subject", read(&large), |names| {
        names.subject().len() > 2_000 && names.subject().contains("CN=caller")
    });
}
