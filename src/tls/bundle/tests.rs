use std::sync::LazyLock;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use rcgen::{CrlScope, KeyUsagePurpose, SanType, SerialNumber};

use webpki::KeyUsage;

use super::*;
use crate::config::Files;
use crate::config::{CrlCheck, OnCrlFault, Share};
use crate::identity::CertificateNames;
use crate::telemetry::metrics::Uses;
use crate::tls::refusal::Refusal;
use crate::tls::revocation::Note;
use crate::tls::testing::lists::{
    Authority, TestBundle, TestList, authority, bundle_with, in_hours, is_in_hours, now, serial,
};

type Der = CertificateDer<'static>;

fn verify(bundle: &Bundle, leaf: &Der, intermediates: &[&Der]) -> Result<Verdict, webpki::Error> {
    let intermediates: Vec<_> = intermediates.iter().map(|der| (*der).clone()).collect();
    let verdict = bundle.verify(leaf, &intermediates, KeyUsage::client_auth(), now());
    verdict.map_err(Objection::into_path)
}

#[test]
fn verdict_holds_until_the_first_certificate_of_the_path_ends() {
    let root = authority("Root", 30);
    let lasting = authority("Lasting", 20).below(&root);
    let brief = authority("Brief", 10).below(&root);
    let bundle = bundle_with(&[&root.certificate]).load();
    for (issuer, hours, end) in [(&lasting, 15, 15), (&brief, 15, 10), (&lasting, 25, 20)] {
        let leaf = issuer.leaf(hours);
        let verdict = verify(&bundle, &leaf, &[&issuer.certificate]).unwrap();
        assert!(is_in_hours(verdict.good_until, end), "{end} h");
        assert_eq!(verdict.session_until, verdict.good_until);
    }
}

#[test]
fn intermediate_whose_names_nobody_could_use_is_no_obstacle() {
    let root = authority("Root", 30);
    let mut odd = authority("Odd", 20);
    odd.params.subject_alt_names = vec![SanType::URI("two words".try_into().unwrap())];
    let odd = odd.below(&root);
    assert!(CertificateNames::read(&odd.certificate).is_err());
    let bundle = bundle_with(&[&root.certificate]).load();
    verify(&bundle, &odd.leaf(10), &[&odd.certificate]).unwrap();
}

#[test]
fn anchor_outside_of_its_validity_ends_no_path() {
    let root = authority("Root", 5);
    let leaf = root.leaf(30);
    let bundle = bundle_with(&[&root.certificate]).load();
    verify(&bundle, &leaf, &[]).unwrap();
    let later = bundle.verify(&leaf, &[], KeyUsage::client_auth(), in_hours(6));
    assert!(
        matches!(
            later,
            Err(Objection::Path(webpki::Error::CertExpired { .. }))
        ),
        "{later:?}"
    );
    let before = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_000_000));
    let early = bundle.verify(&leaf, &[], KeyUsage::client_auth(), before);
    assert!(
        matches!(
            early,
            Err(Objection::Path(webpki::Error::CertNotValidYet { .. }))
        ),
        "{early:?}"
    );
}

#[test]
fn anchor_that_was_renewed_with_its_key_takes_over_from_the_expired_one() {
    let mut root = authority("Root", -1);
    let expired = root.certificate.clone();
    root.params.not_after = authority("", 30).params.not_after;
    let renewed = root
        .params
        .self_signed(root.issuer.key())
        .unwrap()
        .der()
        .clone();
    let leaf = root.leaf(10);
    let alone = bundle_with(&[&expired]).load();
    let fault = verify(&alone, &leaf, &[]);
    assert!(
        matches!(fault, Err(webpki::Error::CertExpired { .. })),
        "{fault:?}"
    );
    let both = bundle_with(&[&expired, &renewed]).load();
    let verdict = verify(&both, &leaf, &[]).unwrap();
    assert_eq!(*verdict.path.anchor(), Fingerprint::of(&renewed));
}

#[test]
fn path_with_a_revoked_certificate_is_passed_over_for_another() {
    let (one, other) = (authority("One", 30), authority("Other", 30));
    let mut between = authority("Between", 20);
    between.params.serial_number = Some(SerialNumber::from(77));
    let (by_one, by_other) = (between.signed_by(&one), between.signed_by(&other));
    let leaf = between.leaf(10);
    let bundle = |by_other_revoked: &[&Der]| {
        bundle_with(&[&one.certificate, &other.certificate])
            .list(&one.list(&[&by_one]))
            .list(&other.list(by_other_revoked))
            .list(&between.list(&[]))
            .load()
    };
    let verdict = verify(&bundle(&[]), &leaf, &[&by_one, &by_other]).unwrap();
    assert_eq!(*verdict.path.anchor(), Fingerprint::of(&other.certificate));
    let refused = verify(&bundle(&[&by_other]), &leaf, &[&by_one, &by_other]);
    assert_eq!(refused, Err(webpki::Error::CertRevoked));
    let without_detour = verify(&bundle(&[]), &leaf, &[&by_one]);
    assert_eq!(without_detour, Err(webpki::Error::CertRevoked));
}

#[test]
fn an_unchanged_list_and_the_use_of_an_anchor_are_carried_over() {
    let (root, other) = (authority("Root", 30), authority("Other", 30));
    let leaf = root.leaf(10);
    let mut files = bundle_with(&[&root.certificate, &other.certificate]).list(&root.list(&[]));
    let former = files.load();
    let verdict = verify(&former, &leaf, &[]).unwrap();
    former.note_use(&verdict.path, now());
    files.add(&other.list(&[]).der());
    let new = files.load_after(&former);
    let list_of = |bundle: &Bundle, who: &Authority| {
        let name = &bundle
            .anchor(&Fingerprint::of(&who.certificate))
            .unwrap()
            .issuer
            .name;
        let lists = bundle.revocation.lists();
        let held = lists.iter().find(|held| *held.list.issuer() == **name);
        held.map(|held| Arc::clone(&held.list))
    };
    let kept = list_of(&new, &root).unwrap();
    assert!(Arc::ptr_eq(&kept, &list_of(&former, &root).unwrap()));
    assert!(list_of(&former, &other).is_none() && list_of(&new, &other).is_some());
    let use_of = |bundle: &Bundle, who: &Authority| {
        let anchor = bundle.anchor(&Fingerprint::of(&who.certificate)).unwrap();
        (
            anchor.in_use.handshakes(),
            anchor.in_use.last_handshake().is_some(),
        )
    };
    assert_eq!(use_of(&new, &root), (1, true));
    assert_eq!(use_of(&new, &other), (0, false));
    new.note_use(&verdict.path, now());
    assert_eq!(use_of(&former, &root), (2, true));
}

#[test]
fn lists_are_told_as_an_operator_knows_them() {
    let root = authority("Root", 30);
    let files = bundle_with(&[&root.certificate]).list(&root.list(&[&root.leaf(1)]).issued(2));
    let lists: Vec<_> = files.load().revocation_lists().collect();
    let [list] = &lists[..] else {
        panic!("{lists:?}")
    };
    assert_eq!((list.issuer.as_str(), list.entries), ("CN=Root", 1));
    assert_eq!(list.number.as_deref(), Some("7"));
    assert!(is_in_hours(list.this_update, -2) && is_in_hours(list.next_update, 5));
    assert!(list.source.ends_with("0.crl"));
}

#[test]
fn list_of_a_stranger_in_an_anchors_name_refuses_the_bundle() {
    let (root, imposter) = (authority("Root", 30), authority("Root", 30));
    let refusal = bundle_with(&[&root.certificate])
        .list(&imposter.list(&[]))
        .refusal();
    assert!(
        refusal.contains("is not signed by CN=Root: its key is another"),
        "{refusal}"
    );
    // With both anchors it is the list of one of them, and the other has none.
    let both = bundle_with(&[&root.certificate, &imposter.certificate]);
    let bare = BundleWarning::AnchorWithoutList {
        subject: "CN=Root".to_owned(),
        enforced: true,
    };
    assert_eq!(both.list(&imposter.list(&[])).load().warnings(), [bare]);
}

#[test]
fn list_of_an_anchor_that_may_not_sign_lists_refuses_the_bundle() {
    for (usages, refused) in [
        (vec![KeyUsagePurpose::KeyCertSign], true),
        (
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            false,
        ),
    ] {
        let mut params = authority("Root", 30).params;
        params.key_usages = usages;
        let root = Authority::of(params);
        let files = bundle_with(&[&root.certificate]).list(&root.list(&[]));
        if refused {
            assert!(
                files.refusal().contains("lacks cRLSign"),
                "{}",
                files.refusal()
            );
        } else {
            files.load();
        }
    }
}

#[test]
fn list_that_covers_no_anchor_is_warned_about_and_in_force_below_an_intermediate() {
    let root = authority("Root", 30);
    let between = authority("Between", 20).below(&root);
    let leaf = between.leaf(10);
    let files = bundle_with(&[&root.certificate])
        .list(&root.list(&[]))
        .list(&between.list(&[&leaf]));
    let bundle = files.load();
    let [warning] = bundle.warnings() else {
        panic!("{:?}", bundle.warnings())
    };
    assert!(warning.to_string().contains("CN=Between"), "{warning}");
    assert!(
        warning
            .to_string()
            .contains("covers no anchor of the bundle"),
        "{warning}"
    );
    let revoked = verify(&bundle, &leaf, &[&between.certificate]);
    assert_eq!(revoked, Err(webpki::Error::CertRevoked));
    verify(&bundle, &between.leaf(10), &[&between.certificate]).unwrap();
}

#[test]
fn every_file_that_is_no_list_is_named() {
    let root = authority("Root", 30);
    let mut files = bundle_with(&[&root.certificate]);
    let whole = root.list(&[]).der();
    files.add(&whole[..whole.len() - 1]);
    files.add(&[0x30, 0x82, 0, 0]);
    files.add(&whole);
    assert_eq!(files.problems().len(), 2, "{}", files.refusal());
}

#[test]
fn what_a_bundle_lost_is_told() {
    let roots: Vec<_> = (0..4)
        .map(|n| authority(&format!("Root {n}"), 30))
        .collect();
    let [a, b, c, d] = &roots[..] else {
        unreachable!()
    };
    let renewed = authority("Root 1", 30);
    let former = bundle_with(&[
        &a.certificate,
        &b.certificate,
        &c.certificate,
        &d.certificate,
    ])
    .list(&a.list(&[]))
    .load();
    let new = bundle_with(&[&a.certificate, &renewed.certificate]).load();
    let lost = new.shrinkage_from(&former, now());
    assert_eq!(lost.dropped, ["CN=Root 2", "CN=Root 3"]);
    assert_eq!((lost.of, lost.percent(), lost.all_expired), (4, 50, false));
    assert_eq!(lost.uncovered, ["CN=Root 0"]);
    assert!(!lost.exceeds(Share::of_percent(50).unwrap()));
    assert!(lost.exceeds(Share::of_percent(49).unwrap()));
    let nothing = former.shrinkage_from(&former, now());
    assert_eq!((nothing.dropped.len(), nothing.uncovered.len()), (0, 0));
    assert!(!nothing.exceeds(Share::of_percent(0).unwrap()));
    assert!(new.shrinkage_from(&former, in_hours(31)).all_expired);
}

#[test]
fn a_path_that_stands_is_judged_without_a_look_at_the_chain() {
    let root = authority("Root", 30);
    let leaf = root.leaf(10);
    let files = bundle_with(&[&root.certificate]);
    let former = files.load();
    let verdict = verify(&former, &leaf, &[]).unwrap();
    let usage = KeyUsage::client_auth();
    // The chain is empty: whoever looked at it would refuse.
    let new = files.load();
    assert_eq!(
        new.judge(&[], &verdict.path, usage, now()),
        Ok(verdict.clone())
    );
    // Once something is in the way, the whole chain decides.
    let revoking = bundle_with(&[&root.certificate])
        .list(&root.list(&[&leaf]))
        .load();
    let judged = revoking.judge(std::slice::from_ref(&leaf), &verdict.path, usage, now());
    assert_eq!(judged, Err(webpki::Error::CertRevoked.into()));
    let elsewhere = bundle_with(&[&authority("Root", 30).certificate]).load();
    assert!(
        elsewhere
            .judge(&[leaf], &verdict.path, usage, now())
            .is_err()
    );
}

/// A world in which a leaf has two paths: by way of two anchors' certificates
/// for one intermediate.
struct World {
    anchors: [Authority; 2],
    /// Has the name of the first anchor, and another key.
    rekeyed: Authority,
    between: Authority,
    chain: Vec<Der>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let anchors = [authority("A", 30), authority("B", 4)];
    let between = authority("Between", 20);
    let chain = vec![
        between.leaf_at(10, &["http://x/"]),
        between.signed_by(&anchors[0]),
        between.signed_by(&anchors[1]),
    ];
    World {
        rekeyed: authority("A", 30),
        anchors,
        between,
        chain,
    }
});

/// One list of a bundle: whose, whether it revokes, for how long it is good, and of whom it speaks.
type ListChoice = (usize, bool, i64, usize);

fn files_of(
    anchors: &[bool; 3],
    lists: &[ListChoice],
    rules: (CrlCheck, OnCrlFault, OnCrlFault),
) -> TestBundle {
    let world = &*WORLD;
    let all = [&world.anchors[0], &world.anchors[1], &world.rekeyed];
    let chosen = all.iter().zip(anchors).filter(|(_, chosen)| **chosen);
    let chosen: Vec<_> = chosen.map(|(anchor, _)| &anchor.certificate).collect();
    let mut files = bundle_with(&chosen)
        .check(rules.0)
        .missing(rules.1)
        .stale(rules.2);
    for (whose, revokes, due, scope) in lists {
        let issuer = [&world.anchors[0], &world.anchors[1], &world.between][whose % 3];
        let revoked: Vec<_> = world.chain.iter().filter(|_| *revokes).collect();
        let list = issuer.list(&revoked).due(*due);
        let list = match scope {
            0 | 1 => list,
            2 => list.at("http://x/", None),
            3 => list.at("http://y/", Some(CrlScope::UserCertsOnly)),
            _ => list.at("http://x/", Some(CrlScope::CaCertsOnly)),
        };
        files.add(&list.der());
    }
    files
}

/// The search for a path grows with the number of certificates of one name much
/// faster than that number.
#[test]
fn chain_of_more_certificates_than_anybody_needs_is_not_looked_at() {
    let root = authority("Root", 30);
    let bundle = bundle_with(&[&root.certificate]).load();
    let junk: Vec<_> = (0..6).map(|_| authority("Root", 30).certificate).collect();
    let leaf = root.leaf(10);
    let chain: Vec<_> = junk.iter().collect();
    verify(&bundle, &leaf, &chain[..5]).unwrap();
    let refused = verify(&bundle, &leaf, &chain);
    assert_eq!(refused, Err(webpki::Error::MaximumPathDepthExceeded));
}

#[test]
fn lists_that_are_gone_or_older_are_told_also_of_intermediates() {
    let root = authority("Root", 30);
    let between = authority("Between", 20).below(&root);
    let now = bundle_with(&[&root.certificate])
        .list(&root.list(&[]).issued(2))
        .list(&between.list(&[]).issued(2))
        .load();
    let told = |bundle: Bundle| {
        let lost = bundle.shrinkage_from(&now, UnixTime::now());
        (lost.uncovered, lost.older)
    };
    let with = |list: &TestList<'_>| {
        bundle_with(&[&root.certificate])
            .list(&root.list(&[]).issued(1))
            .list(list)
            .load()
    };
    let name = || vec!["CN=Between".to_owned()];
    let newer = with(&between.list(&[]).issued(1));
    assert_eq!(told(newer), (vec![], vec![]));
    let older = with(&between.list(&[]).issued(3));
    assert_eq!(told(older), (vec![], name()));
    let without = bundle_with(&[&root.certificate])
        .list(&root.list(&[]).issued(1))
        .load();
    assert_eq!(told(without), (name(), vec![]));
}

fn rule() -> impl Strategy<Value = OnCrlFault> {
    prop_oneof![
        Just(OnCrlFault::Reject),
        Just(OnCrlFault::Allow),
        Just(OnCrlFault::Log)
    ]
}

proptest! {
    /// Whatever was changed between two bundles.
    #[test]
    fn judging_by_difference_says_what_verifying_says(
        former in any::<[bool; 2]>(),
        anchors in any::<[bool; 3]>(),
        lists in prop::collection::vec((0..3_usize, any::<bool>(), -2..8_i64, 0..5_usize), 0..5),
        check in prop_oneof![Just(CrlCheck::Chain), Just(CrlCheck::Leaf)],
        missing in rule(),
        stale in rule(),
        later in 0..12_u64,
    ) {
        let world = &*WORLD;
        let usage = KeyUsage::client_auth();
        let before = files_of(&[former[0], former[1], false], &[], (check, missing, stale)).load();
        // A list in an anchor's name by another key refuses the bundle.
        let Ok(bundle) = Bundle::load(&files_of(&anchors, &lists, (check, missing, stale)).config, &Files::new(), None) else {
            return Ok(());
        };
        let Ok(verdict) = before.verify(&world.chain[0], &world.chain[1..], usage, now()) else {
            return Ok(());
        };
        let at = in_hours(later);
        let verified = bundle.verify(&world.chain[0], &world.chain[1..], usage, at);
        let judged = bundle.judge(&world.chain, &verdict.path, usage, at);
        prop_assert_eq!(judged.as_ref().err(), verified.as_ref().err());
        if let (Ok(judged), Ok(verified)) = (judged, verified) {
            // Where two paths stand, either will do.
            if judged.path == verified.path {
                prop_assert_eq!(judged, verified);
            }
        }
    }
}

#[test]
fn leaf_of_a_world_can_be_revoked_at_all() {
    let world = &*WORLD;
    assert_ne!(serial(&world.chain[0]), serial(&world.chain[1]));
    let lists = [(0, false, 5, 0), (2, true, 5, 2)];
    let rules = (CrlCheck::Chain, OnCrlFault::Reject, OnCrlFault::Reject);
    let bundle = files_of(&[true, false, false], &lists, rules).load();
    let verdict = verify(&bundle, &world.chain[0], &[&world.chain[1]]);
    assert_eq!(verdict, Err(webpki::Error::CertRevoked));
}

#[test]
fn lists_that_are_not_enforced_say_whom_they_would_refuse_and_refuse_nobody() {
    let root = authority("Root", 30);
    let (revoked, clear) = (root.leaf(10), root.leaf(10));
    let files = |enforce| {
        let mut files = bundle_with(&[&root.certificate]).list(&root.list(&[&revoked]));
        files.config.enforce_crl = enforce;
        files
    };
    let (shadow, enforced) = (files(false).load(), files(true).load());
    let refused = verify(&enforced, &revoked, &[]);
    assert_eq!(refused, Err(webpki::Error::CertRevoked));

    let verdict = verify(&shadow, &revoked, &[]).unwrap();
    assert_eq!(verdict.would_refuse(), Some(Refusal::Revoked));
    let [Note::WouldRefuse { cause, .. }] = &verdict.notes[..] else {
        panic!("{:?}", verdict.notes)
    };
    assert!(cause.contains("on the revocation list of") && cause.contains("trust.test"));
    let usage = KeyUsage::client_auth();
    let chain = std::slice::from_ref(&revoked);
    let judged = shadow.judge(chain, &verdict.path, usage, now());
    assert_eq!(judged, Ok(verdict.clone()));
    // The other way round the path that was found does not stand any more.
    let judged = enforced.judge(chain, &verdict.path, usage, now());
    assert_eq!(judged, Err(webpki::Error::CertRevoked.into()));

    let verdict = verify(&shadow, &clear, &[]).unwrap();
    assert_eq!((verdict.would_refuse(), verdict.notes.len()), (None, 0));
    // What is wrong beside the lists is refused as ever.
    let stranger = authority("Root", 30).leaf(10);
    assert!(verify(&shadow, &stranger, &[]).is_err());
    assert!(verify(&shadow, &root.leaf(-1), &[]).is_err());
}

#[test]
fn stale_and_missing_lists_that_are_not_enforced_are_noted_as_the_reason() {
    let (root, other) = (authority("Root", 30), authority("Other", 30));
    let leaf = root.leaf(10);
    for list in [root.list(&[]).due(-1), other.list(&[])] {
        let mut files = bundle_with(&[&root.certificate, &other.certificate]).list(&list);
        assert!(verify(&files.load(), &leaf, &[]).is_err());
        files.config.enforce_crl = false;
        let verdict = verify(&files.load(), &leaf, &[]).unwrap();
        assert_eq!(verdict.would_refuse(), Some(Refusal::RevocationUnknown));
    }
}

#[test]
fn path_that_the_lists_clear_is_found_though_they_are_not_enforced() {
    let (one, two) = (authority("One", 30), authority("Two", 30));
    let between = authority("Between", 30);
    let (by_one, by_two) = (between.signed_by(&one), between.signed_by(&two));
    let leaf = between.leaf(10);
    let anchors = [&one.certificate, &two.certificate];
    for (revoked, clear) in [(&by_one, &two), (&by_two, &one)] {
        let issuer = if revoked == &by_one { &one } else { &two };
        let mut files = bundle_with(&anchors)
            .list(&issuer.list(&[revoked]))
            .list(&clear.list(&[]))
            .list(&between.list(&[]));
        files.config.enforce_crl = false;
        let verdict = verify(&files.load(), &leaf, &[&by_one, &by_two]).unwrap();
        assert_eq!(verdict.would_refuse(), None);
        let fingerprint = Fingerprint::of(&clear.certificate);
        assert_eq!(*verdict.path.anchor(), fingerprint);
    }
}
