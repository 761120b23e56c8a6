use proptest::prelude::{any, prop, proptest};
use rcgen::{CrlScope, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use webpki::{Error, KeyUsage};

use super::list::ListError;
use super::*;
use crate::identity::der::{self, tag};
use crate::tls::bundle::{Bundle, Objection, Verdict};
use crate::tls::testing::lists::{
    Authority, TestBundle, authority, bundle_with, is_in_hours, now, serial,
};

type Der = CertificateDer<'static>;

fn verify(bundle: &Bundle, leaf: &Der, intermediates: &[&Der]) -> Result<Verdict, Error> {
    let intermediates: Vec<_> = intermediates.iter().map(|der| (*der).clone()).collect();
    let verdict = bundle.verify(leaf, &intermediates, KeyUsage::client_auth(), now());
    verdict.map_err(Objection::into_path)
}

/// A root and an intermediate below it, each of which has a leaf.
struct Pki {
    root: Authority,
    between: Authority,
    leaf: Der,
}

fn pki() -> Pki {
    let root = authority("Root", 30);
    let between = authority("Between", 20).below(&root);
    Pki {
        leaf: between.leaf(10),
        root,
        between,
    }
}

impl Pki {
    fn files(&self) -> TestBundle {
        bundle_with(&[&self.root.certificate])
    }

    fn verify(&self, files: &TestBundle) -> Result<Verdict, Error> {
        verify(&files.load(), &self.leaf, &[&self.between.certificate])
    }
}

#[test]
fn whoever_is_on_a_list_is_refused_and_nobody_else() {
    let Pki {
        root,
        between,
        leaf,
    } = &pki();
    let another = between.leaf(10);
    let files = bundle_with(&[&root.certificate]).list(&root.list(&[]));
    let bundle = files.list(&between.list(&[leaf])).load();
    let path = [&between.certificate];
    assert_eq!(verify(&bundle, leaf, &path), Err(Error::CertRevoked));
    verify(&bundle, &another, &path).unwrap();
}

#[test]
fn without_lists_nothing_is_checked() {
    let pki = pki();
    let verdict = pki.verify(&pki.files()).unwrap();
    assert_eq!(verdict.session_until, verdict.good_until);
}

#[test]
fn revoked_intermediate_counts_unless_the_leaf_alone_is_checked() {
    let pki = pki();
    let lists = |files: TestBundle| {
        files
            .list(&pki.root.list(&[&pki.between.certificate]))
            .list(&pki.between.list(&[]))
    };
    let chain = lists(pki.files());
    assert_eq!(pki.verify(&chain), Err(Error::CertRevoked));
    pki.verify(&chain.check(CrlCheck::Leaf)).unwrap();
    let revoked_leaf = pki.files().list(&pki.between.list(&[&pki.leaf]));
    let refused = pki.verify(&revoked_leaf.check(CrlCheck::Leaf));
    assert_eq!(refused, Err(Error::CertRevoked));
}

#[test]
fn issuer_without_a_list_is_met_as_the_bundle_says() {
    let pki = pki();
    for rule in [OnCrlFault::Reject, OnCrlFault::Allow, OnCrlFault::Log] {
        let files = pki.files().list(&pki.root.list(&[])).missing(rule);
        let verdict = pki.verify(&files);
        let expected = Note::MissingList {
            issuer: "CN=Between".to_owned(),
        };
        match rule {
            OnCrlFault::Reject => assert_eq!(verdict, Err(Error::UnknownRevocationStatus)),
            OnCrlFault::Allow => assert_eq!(verdict.unwrap().notes, []),
            OnCrlFault::Log => assert_eq!(verdict.unwrap().notes, [expected]),
        }
        // With the list all three agree.
        let whole = files.list(&pki.between.list(&[]));
        assert_eq!(pki.verify(&whole).unwrap().notes, []);
    }
}

#[test]
fn stale_list_is_met_as_the_bundle_says() {
    let pki = pki();
    for rule in [OnCrlFault::Reject, OnCrlFault::Allow, OnCrlFault::Log] {
        let files = pki.files().list(&pki.root.list(&[])).stale(rule);
        let stale = pki.between.list(&[]).due(-1);
        let verdict = pki.verify(&files.list(&stale));
        match rule {
            OnCrlFault::Reject => {
                assert!(
                    matches!(verdict, Err(Error::CrlExpired { .. })),
                    "{verdict:?}"
                );
            }
            OnCrlFault::Allow => assert_eq!(verdict.unwrap().notes, []),
            OnCrlFault::Log => {
                let notes = verdict.unwrap().notes;
                let [
                    Note::StaleList {
                        issuer,
                        next_update,
                    },
                ] = &notes[..]
                else {
                    panic!("{notes:?}")
                };
                assert!(issuer == "CN=Between" && is_in_hours(*next_update, -1));
            }
        }
        let files = pki.files().list(&pki.root.list(&[])).stale(rule);
        pki.verify(&files.list(&pki.between.list(&[]))).unwrap();
    }
}

#[test]
fn stale_list_still_revokes_whatever_the_bundle_says() {
    let pki = pki();
    for rule in [OnCrlFault::Reject, OnCrlFault::Allow, OnCrlFault::Log] {
        let files = pki.files().stale(rule).missing(rule);
        let files = files.list(&pki.between.list(&[&pki.leaf]).due(-1));
        assert_eq!(pki.verify(&files), Err(Error::CertRevoked));
    }
}

#[test]
fn session_ends_with_the_first_list_that_must_not_be_stale() {
    let pki = pki();
    let lists = |rule| {
        let files = pki.files().stale(rule).list(&pki.root.list(&[]).due(3));
        files.list(&pki.between.list(&[]).due(2))
    };
    let verdict = pki.verify(&lists(OnCrlFault::Reject)).unwrap();
    assert!(is_in_hours(verdict.session_until, 2) && is_in_hours(verdict.good_until, 10));
    for rule in [OnCrlFault::Allow, OnCrlFault::Log] {
        let verdict = pki.verify(&lists(rule)).unwrap();
        assert_eq!(verdict.session_until, verdict.good_until);
    }
}

#[test]
fn list_of_an_authority_says_nothing_of_one_with_its_name_and_another_key() {
    let (old, new) = (authority("Root", 30), authority("Root", 30));
    let leaves = (old.leaf(10), new.leaf(10));
    // The old list names both serial numbers.
    let files = bundle_with(&[&old.certificate, &new.certificate]);
    let files = files.list(&old.list(&[&leaves.0, &leaves.1]));
    let bundle = files.load();
    assert_eq!(verify(&bundle, &leaves.0, &[]), Err(Error::CertRevoked));
    let of_new = verify(&bundle, &leaves.1, &[]);
    assert_eq!(of_new, Err(Error::UnknownRevocationStatus));
    verify(&files.missing(OnCrlFault::Allow).load(), &leaves.1, &[]).unwrap();
    let both = bundle_with(&[&old.certificate, &new.certificate])
        .list(&old.list(&[]))
        .list(&new.list(&[&leaves.1]))
        .load();
    verify(&both, &leaves.0, &[]).unwrap();
    assert_eq!(verify(&both, &leaves.1, &[]), Err(Error::CertRevoked));
}

#[test]
fn list_that_an_intermediate_may_not_sign_clears_nobody_and_revokes_all_the_same() {
    let root = authority("Root", 30);
    for (usage, may) in [
        (KeyUsagePurpose::CrlSign, true),
        (KeyUsagePurpose::DigitalSignature, false),
    ] {
        let mut params = authority("Between", 20).params;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, usage];
        let between = Authority::of(params).below(&root);
        let (leaf, revoked) = (between.leaf(10), between.leaf(10));
        let files = bundle_with(&[&root.certificate]).list(&root.list(&[]));
        let files = files.list(&between.list(&[&revoked]));
        let path = [&between.certificate];
        let verdict = verify(&files.load(), &leaf, &path);
        assert_eq!(verdict.err(), (!may).then_some(Error::IssuerNotCrlSigner));
        let bundle = files.missing(OnCrlFault::Allow).load();
        verify(&bundle, &leaf, &path).unwrap();
        assert_eq!(verify(&bundle, &revoked, &path), Err(Error::CertRevoked));
    }
}

#[test]
fn newest_list_of_a_scope_counts() {
    let root = authority("Root", 30);
    let leaf = root.leaf(10);
    let lists = [root.list(&[&leaf]).issued(20), root.list(&[]).issued(10)];
    let released = bundle_with(&[&root.certificate])
        .list(&lists[0])
        .list(&lists[1]);
    verify(&released.load(), &leaf, &[]).unwrap();
    let lists = [root.list(&[&leaf]).issued(10), root.list(&[]).issued(20)];
    let revoked = bundle_with(&[&root.certificate])
        .list(&lists[0])
        .list(&lists[1]);
    assert_eq!(verify(&revoked.load(), &leaf, &[]), Err(Error::CertRevoked));
    // Of two of the same second, the higher number.
    let lists = [
        root.list(&[&leaf]).number(&[9]),
        root.list(&[]).number(&[1, 0]),
    ];
    let numbered = bundle_with(&[&root.certificate])
        .list(&lists[0])
        .list(&lists[1]);
    verify(&numbered.load(), &leaf, &[]).unwrap();
}

#[test]
fn stale_list_beside_a_current_one_does_no_harm() {
    let root = authority("Root", 30);
    let leaf = root.leaf(10);
    let stale = root.list(&[]).issued(50).due(-1);
    let files = bundle_with(&[&root.certificate]).list(&stale);
    let refused = verify(&files.load(), &leaf, &[]);
    assert!(
        matches!(refused, Err(Error::CrlExpired { .. })),
        "{refused:?}"
    );
    verify(&files.list(&root.list(&[]).issued(1)).load(), &leaf, &[]).unwrap();
}

#[test]
fn list_for_some_certificates_clears_no_others() {
    let pki = pki();
    for (scope, cleared) in [
        (None, true),
        (Some(CrlScope::CaCertsOnly), true),
        (Some(CrlScope::UserCertsOnly), false),
    ] {
        let files = pki.files().list(&pki.between.list(&[]));
        let files = files.list(&pki.root.list(&[]).at("http://root/", scope));
        let expected = (!cleared).then_some(Error::UnknownRevocationStatus);
        assert_eq!(pki.verify(&files).err(), expected, "{scope:?}");
    }
}

#[test]
fn certificate_is_looked_up_in_the_part_that_its_distribution_point_names() {
    let root = authority("Root", 30);
    let leaf = root.leaf_at(10, &["http://other/", "http://part/1"]);
    for (uri, revoked, expected) in [
        ("http://part/1", false, None),
        ("http://part/1", true, Some(Error::CertRevoked)),
        ("http://part/2", false, Some(Error::UnknownRevocationStatus)),
        ("http://part/2", true, Some(Error::UnknownRevocationStatus)),
    ] {
        let listed: Vec<_> = Some(&leaf).filter(|_| revoked).into_iter().collect();
        let files = bundle_with(&[&root.certificate]).list(&root.list(&listed).at(uri, None));
        let verdict = verify(&files.load(), &leaf, &[]);
        assert_eq!(verdict.err(), expected, "{uri}, revoked: {revoked}");
    }
    // Each part counts, though one is newer.
    let files = bundle_with(&[&root.certificate])
        .list(&root.list(&[&leaf]).at("http://part/1", None).issued(9))
        .list(&root.list(&[]).at("http://part/2", None).issued(1));
    let plain = files.list(&root.list(&[]).issued(1));
    assert_eq!(verify(&plain.load(), &leaf, &[]), Err(Error::CertRevoked));
}

#[test]
fn signature_is_verified_once_for_each_key() {
    let (root, other) = (authority("Root", 30), authority("Root", 30));
    let list = RevocationList::read(&root.list(&[]).der()).unwrap();
    let key = |of: &Authority| {
        let bundle = bundle_with(&[&of.certificate]).load();
        Arc::clone(&bundle.anchors()[0].issuer)
    };
    let algorithms = rustls::crypto::aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all;
    let (root, other) = (key(&root), key(&other));
    assert_eq!(list.signature_by(&root.key, algorithms), Signature::Good);
    assert_eq!(
        list.signature_by(&other.key, algorithms),
        Signature::Another
    );
    // Without algorithms nothing could be verified: these are remembered.
    assert_eq!(list.signature_by(&root.key, &[]), Signature::Good);
    assert_eq!(list.signature_by(&other.key, &[]), Signature::Another);
    for unknown in 0..100_u8 {
        let outcome = list.signature_by(&SigningKey::new(&[unknown]), algorithms);
        assert_eq!(outcome, Signature::Another);
    }
    // The others have not crowded the good one out.
    assert_eq!(list.signature_by(&root.key, &[]), Signature::Good);
    assert_eq!(list.signature_by(&other.key, &[]), Signature::Unsupported);
}

#[test]
fn list_that_was_tampered_with_is_signed_by_nobody() {
    let root = authority("Root", 30);
    let leaf = root.leaf(10);
    let mut der = root.list(&[&leaf]).der();
    let wanted = serial(&leaf);
    let wanted = &wanted[1..];
    let at = der
        .windows(wanted.len())
        .position(|part| part == wanted)
        .unwrap();
    der[at] ^= 1;
    let mut files = bundle_with(&[&root.certificate]);
    files.add(&der);
    assert!(
        files.refusal().contains("is not signed by CN=Root"),
        "{}",
        files.refusal()
    );
}

#[test]
fn list_signed_with_an_algorithm_that_is_not_accepted_is_told_as_such() {
    // ecdsa-with-SHA256 (1.2.840.10045.4.3.2) becomes ecdsa-with-SHA1 (1.2.840.10045.4.1).
    const SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    const OTHER: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1];
    let root = authority("Root", 30);
    let mut der = root.list(&[]).der();
    let places = der.windows(SHA256.len()).enumerate();
    let places: Vec<_> = places
        .filter(|(_, part)| *part == SHA256)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at..at + OTHER.len()].copy_from_slice(OTHER);
    }
    let mut files = bundle_with(&[&root.certificate]);
    files.add(&der);
    assert!(files.refusal().contains("SHA-256"), "{}", files.refusal());
}

/// A list whose signed part has other fields; its signature is of no matter to the reader.
fn with_fields(list: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let parts = split(list);
    let mut fields = split(&parts[0]);
    change(&mut fields);
    let signed = der::with_header(tag::SEQUENCE, &fields.concat());
    der::with_header(
        tag::SEQUENCE,
        &[signed, parts[1].clone(), parts[2].clone()].concat(),
    )
}

fn split(sequence: &[u8]) -> Vec<Vec<u8>> {
    let contents = der::only(sequence, tag::SEQUENCE).unwrap().contents;
    der::elements(contents)
        .map(|element| element.unwrap().raw.to_vec())
        .collect()
}

#[test]
fn list_says_of_itself_what_it_says() {
    let root = authority("Root", 30);
    let der = root.list(&[]).issued(3).due(4).der();
    let list = RevocationList::read(&with_fields(&der, |_| {})).unwrap();
    assert_eq!((list.issuer_text(), list.entries()), ("CN=Root", 0));
    assert!(is_in_hours(list.this_update(), -3) && is_in_hours(list.next_update(), 4));
    let debug = format!("{list:?}");
    assert!(debug.contains("CN=Root") && debug.len() < 300, "{debug}");
}

#[test]
fn numbers_are_decimal_as_long_as_they_are_numbers_for_people() {
    let root = authority("Root", 30);
    for (number, text) in [
        (&[0][..], "0"),
        (&[0x10, 0], "4096"),
        (&[0xff; 16], "340282366920938463463374607431768211455"),
        (&[1; 20], "0x0101010101010101010101010101010101010101"),
    ] {
        let list = RevocationList::read(&root.list(&[]).number(number).der()).unwrap();
        assert_eq!(list.number().as_deref(), Some(text));
    }
}

#[test]
fn list_that_does_not_say_when_the_next_is_due_is_refused() {
    let der = authority("Root", 30).list(&[]).der();
    let endless = with_fields(&der, |fields| drop(fields.remove(4)));
    assert_eq!(
        RevocationList::read(&endless).err(),
        Some(ListError::NoNextUpdate)
    );
}

#[test]
fn list_of_version_1_is_refused() {
    let der = authority("Root", 30).list(&[]).der();
    let first = with_fields(&der, |fields| drop(fields.remove(0)));
    assert!(matches!(
        RevocationList::read(&first),
        Err(ListError::Unsupported(_))
    ));
}

#[test]
fn list_with_a_critical_extension_that_is_not_understood_is_refused() {
    let der = authority("Root", 30).list(&[]).der();
    for (critical, refused) in [(true, true), (false, false)] {
        let extended = with_fields(&der, |fields| {
            let all = der::only(fields.last().unwrap(), 0xa0)
                .unwrap()
                .contents
                .to_vec();
            let mut extensions = split(&all);
            let truth: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
            let new = [&[0x06, 2, 0x2a, 3][..], truth, &[0x04, 2, 5, 0]].concat();
            extensions.push(der::with_header(tag::SEQUENCE, &new));
            let all = der::with_header(tag::SEQUENCE, &extensions.concat());
            *fields.last_mut().unwrap() = der::with_header(0xa0, &all);
        });
        let read = RevocationList::read(&extended);
        let expected = ListError::Unsupported(Error::UnsupportedCriticalExtension);
        assert_eq!(read.err(), refused.then_some(expected));
    }
}

#[test]
fn list_with_an_entry_that_is_broken_is_refused() {
    let root = authority("Root", 30);
    let leaf = root.leaf(10);
    let der = root.list(&[&leaf]).der();
    let broken = with_fields(&der, |fields| {
        let mut entries = split(&fields[5]);
        entries.push(vec![0x30, 0]);
        fields[5] = der::with_header(tag::SEQUENCE, &entries.concat());
    });
    assert!(matches!(
        RevocationList::read(&broken),
        Err(ListError::Unsupported(_))
    ));
}

#[test]
fn of_many_entries_each_is_found() {
    let root = authority("Root", 30);
    let entry = |number: u32| {
        let serial = der::with_header(tag::INTEGER, &(0x0100_0000 | number).to_be_bytes());
        let time = [&[0x17, 13][..], b"260101000000Z"].concat();
        der::with_header(tag::SEQUENCE, &[serial, time].concat())
    };
    let der = with_fields(&root.list(&[]).der(), |fields| {
        let entries: Vec<_> = (0..20_000).step_by(2).map(entry).collect();
        fields.insert(5, der::with_header(tag::SEQUENCE, &entries.concat()));
    });
    let list = RevocationList::read(&der).unwrap();
    assert_eq!(list.entries(), 10_000);
    for number in 0..20_000_u32 {
        let named = list.names(&(0x0100_0000 | number).to_be_bytes());
        assert_eq!(named, number % 2 == 0, "{number}");
    }
}

proptest! {
    #[test]
    fn garbage_is_no_list(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert!(RevocationList::read(&bytes).is_err());
    }

    #[test]
    fn damaged_list_panics_nobody(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static LIST: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let root = authority("Root", 30);
            root.list(&[&root.leaf(10)]).at("http://x/", Some(CrlScope::UserCertsOnly)).der()
        });
        let mut der = LIST.clone();
        let at = at.index(der.len());
        der[at] = byte;
        if let Ok(list) = RevocationList::read(&der) {
            let _ = (list.number(), list.names(&[1]), format!("{list:?}"));
            let _ = list.signature_by(&SigningKey::new(&der), &[]);
        }
    }

    #[test]
    fn garbage_leads_to_no_list_or_to_some(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = distribution_points(&bytes);
        drop(scope::Scope::read(&bytes));
    }
}
