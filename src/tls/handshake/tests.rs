use rustls_pki_types::UnixTime;
use webpki::KeyUsage;

use super::super::testing::{Files, Leaf, listener};
use super::*;

#[tokio::test]
async fn peer_is_who_was_verified_if_the_library_says_so_too() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let another = files.clients.client("another");
    let record = || verified(&files, &leaf);
    let peer = record().await.into_peer(false, &leaf.chain).unwrap();
    let (peer, _, chain) = peer.unwrap().attest();
    assert_eq!(peer.names().dns(), ["billing"]);
    assert_eq!(*chain, leaf.chain);
    for other in [
        &another.chain[..],
        &[],
        &[leaf.chain.clone(), another.chain.clone()].concat(),
    ] {
        record().await.into_peer(false, other).unwrap_err();
    }
    // What was verified in this handshake says nothing of a resumed one.
    record().await.into_peer(true, &leaf.chain).unwrap_err();
}

#[test]
fn peer_of_whom_nothing_is_known_is_anonymous_in_a_full_handshake_alone() {
    let leaf = Files::new().clients.client("billing");
    let nothing = Record::default;
    assert!(nothing().into_peer(false, &[]).unwrap().is_none());
    nothing().into_peer(false, &leaf.chain).unwrap_err();
    nothing().into_peer(true, &[]).unwrap_err();
    nothing().into_peer(true, &leaf.chain).unwrap_err();
}

#[tokio::test]
async fn refusal_is_completed_with_what_was_learnt() {
    let leaf = Files::new().clients.client("billing");
    for (reason, cause) in [
        (Refusal::Expired, "because"),
        (Refusal::Timeout, "too late"),
    ] {
        let record = Record::new();
        recorded(Rc::clone(&record), async {
            note_presented(&leaf.chain[0], &[]);
            note_objection(&"because", None);
        })
        .await;
        let mut record = record.take();
        record.note_server_name(Some("a.test".to_owned()));
        let refused = record.complete(RefusedHandshake::early(reason, "too late"));
        assert_eq!(refused.cause, cause);
        assert_eq!(refused.server_name.as_deref(), Some("a.test"));
        assert_eq!(refused.presented.unwrap().dns(), ["billing"]);
    }
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
