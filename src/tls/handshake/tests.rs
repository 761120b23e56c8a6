use rustls_pki_types::UnixTime;
use webpki::KeyUsage;

use super::super::diagnosis::Judge;
use super::super::testing::{Files, Leaf, listener};
use super::*;

#[tokio::test]
async fn peer_is_who_was_verified_if_the_library_says_so_too() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let another = files.clients.client("another");
    let record = || verified(&files, &leaf);
    let client = record().await.into_client(false, &leaf.chain).unwrap();
    let Client::Verified(peer) = client else {
        panic!("{client:?}");
    };
    let (peer, _, chain) = peer.attest();
    assert_eq!(peer.names().dns(), ["billing"]);
    assert_eq!(*chain, leaf.chain);
    for other in [
        &another.chain[..],
        &[],
        &[leaf.chain.clone(), another.chain.clone()].concat(),
    ] {
        record().await.into_client(false, other).unwrap_err();
    }
    // What was verified in this handshake says nothing of a resumed one.
    record().await.into_client(true, &leaf.chain).unwrap_err();
}

#[test]
fn peer_of_whom_nothing_is_known_is_anonymous_in_a_full_handshake_alone() {
    let leaf = Files::new().clients.client("billing");
    let nothing = Record::default;
    let client = nothing().into_client(false, &[]).unwrap();
    assert!(matches!(client, Client::Anonymous));
    nothing().into_client(false, &leaf.chain).unwrap_err();
    nothing().into_client(true, &[]).unwrap_err();
    nothing().into_client(true, &leaf.chain).unwrap_err();
}

#[tokio::test]
async fn client_that_is_not_accepted_is_nobody_and_its_chain_is_the_very_one_that_was_judged() {
    let files = Files::new();
    let leaf = super::super::testing::Authority::root("Stranger").client("billing");
    let another = files.clients.client("another");
    let record = || refused(&files, &leaf, false);
    let client = record().await.into_client(false, &leaf.chain).unwrap();
    let Client::NotAccepted(evidence) = client else {
        panic!("{client:?}");
    };
    assert_eq!(evidence.reason(), Some(Refusal::Untrusted));
    let diagnosis = evidence.diagnose().unwrap();
    assert_eq!(diagnosis.certificate.names, ["dns:billing"]);
    for other in [&another.chain[..], &[]] {
        record().await.into_client(false, other).unwrap_err();
    }
    record().await.into_client(true, &leaf.chain).unwrap_err();
    record().await.into_client(true, &[]).unwrap_err();
    // Nobody is both.
    let mut both = verified(&files, &another).await;
    both.objection = record().await.objection;
    both.into_client(false, &another.chain).unwrap_err();
}

#[tokio::test]
async fn refusal_is_completed_with_what_was_learnt() {
    let files = Files::new();
    let leaf = super::super::testing::Authority::root("Stranger").client("billing");
    for (said, ends, reason) in [
        // What the library says where the verifier has refused.
        (Refusal::BadSignature, true, Refusal::Untrusted),
        // Let in, and then without a proof of the key.
        (Refusal::BadSignature, false, Refusal::BadSignature),
        (Refusal::Timeout, true, Refusal::Timeout),
        (Refusal::Protocol, false, Refusal::Protocol),
    ] {
        let mut record = refused(&files, &leaf, ends).await;
        record.note_server_name(Some("a.test".to_owned()));
        let refused = record.complete(RefusedHandshake::early(said, "because"));
        assert_eq!(refused.reason, reason);
        assert_eq!(refused.server_name.as_deref(), Some("a.test"));
        let diagnosed = refused.evidence.diagnose().map(|found| found.reason);
        assert_eq!(diagnosed, (said != reason).then_some(reason));
        let certificate = refused.evidence.certificate().unwrap();
        assert_eq!(certificate.names, ["dns:billing"]);
    }
}

/// The record of a handshake in which a client was not accepted.
async fn refused(files: &Files, leaf: &Leaf, ends: bool) -> Record {
    let config = listener("", "public", "require", "clients", "");
    let bundle = files.material(&config).bundles.remove(0);
    let (own, intermediates) = leaf.chain.split_first().unwrap();
    let judge = Judge {
        bundle: &bundle,
        limits: &crate::config::Limits::defaults().chain,
        peers: None,
    };
    let judged = Objection::or_verdict(
        judge,
        (own, intermediates),
        UnixTime::now(),
        &mut 0,
        &|_, _| {},
    );
    let record = Record::new();
    recorded(Rc::clone(&record), async {
        note_presented(own, intermediates);
        note_objection(judged.unwrap_err(), ends);
    })
    .await;
    record.take()
}

/// The record of a handshake in which a client was verified.
async fn verified(files: &Files, leaf: &Leaf) -> Record {
    let config = listener("", "public", "require", "clients", "");
    let bundle = files.material(&config).bundles.remove(0);
    let usage = KeyUsage::client_auth();
    let (own, intermediates) = leaf.chain.split_first().unwrap();
    let verdict = bundle.verify(own, intermediates, usage, UnixTime::now());
    let record = Record::new();
    recorded(Rc::clone(&record), async {
        note_presented(own, intermediates);
        note_verified(CertificateNames::read(own).unwrap(), verdict.unwrap());
    })
    .await;
    record.take()
}
