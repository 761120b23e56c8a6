use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::super::testing::{Files, Leaf, listener};
use super::*;
use crate::tls::refusal::Refusal;

const MINUTE: u64 = 60;

#[tokio::test]
async fn session_comes_back_as_it_was_with_a_claim_for_its_chain() {
    let files = Files::new();
    let leaf = files.clients.intermediate("Below").client("billing");
    let room = Room::new(&files, "require", "8h");
    let (library, mut full) = (library(&leaf.chain), room.verified(&leaf).await);
    let ticket = room.issue(&mut full, &library, 0).unwrap();

    let mut record = Record::default();
    assert_eq!(room.resume(&mut record, &ticket, 0).unwrap(), library);
    let claimed = record.sessions.into_claimed_peer().unwrap().unwrap();
    assert_eq!(claimed.chain, leaf.chain);
    assert_eq!(claimed.names.dns(), ["billing"]);
}

#[tokio::test]
async fn chain_counts_only_if_the_librarys_own_bytes_contain_it() {
    let files = Files::new();
    let leaf = files.clients.intermediate("Below").client("billing");
    let another = files.clients.client("another");
    let room = Room::new(&files, "want", "8h");
    let reversed: Vec<_> = leaf.chain.iter().rev().cloned().collect();
    let mut cut = library(&leaf.chain);
    cut.truncate(cut.len() - 20);
    for foreign in [
        library(&another.chain),
        library(&leaf.chain[1..]),
        library(&leaf.chain[..1]),
        library(&reversed),
        library(&[]),
        cut,
    ] {
        let mut record = room.verified(&leaf).await;
        assert!(room.issue(&mut record, &foreign, 0).is_none());
    }
    let mut record = room.verified(&leaf).await;
    assert!(room.issue(&mut record, &library(&leaf.chain), 0).is_some());
}

#[tokio::test]
async fn claim_that_the_library_did_not_use_is_no_part_of_the_next_session() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "want", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();

    let mut record = Record::default();
    room.resume(&mut record, &ticket, 0).unwrap();
    let next = room.issue(&mut record, &library(&[]), MINUTE).unwrap();

    let mut record = Record::default();
    room.resume(&mut record, &next, MINUTE).unwrap();
    let claim = record.sessions.claim.as_ref().unwrap();
    assert!(claim.peer.is_none());
    assert_eq!(claim.lineage.since, room.begin + MINUTE);
}

#[tokio::test]
async fn claim_goes_with_the_next_ticket_that_is_offered() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "want", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    let mut record = Record::default();
    room.resume(&mut record, &ticket, 0).unwrap();
    assert!(record.sessions.claim.is_some());
    let declined = room.resume(&mut record, b"garbage", 0).unwrap_err();
    assert!(matches!(declined, Declined::NotOurs));
    assert!(record.sessions.claim.is_none());
}

#[tokio::test]
async fn ticket_with_any_byte_changed_is_declined_and_claims_nothing() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "require", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    for at in 0..ticket.len() {
        let (mut changed, mut record) = (ticket.clone(), Record::default());
        changed[at] = changed[at].wrapping_add(1);
        let declined = room.resume(&mut record, &changed, 0).unwrap_err();
        assert!(matches!(declined, Declined::NotOurs), "{at}");
        assert!(record.sessions.claim.is_none());
    }
}

#[tokio::test]
async fn renewal_never_prolongs_a_lineage() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    for (chain, client_auth) in [(&leaf.chain[..], "require"), (&[], "want")] {
        let room = Room::new(&files, client_auth, "30m");
        let library = library(chain);
        let mut record = match chain {
            [] => Record::default(),
            _ => room.verified(&leaf).await,
        };
        let mut ticket = room.issue(&mut record, &library, 0).unwrap();
        for minute in 1..30 {
            let mut record = Record::default();
            let now = minute * MINUTE + 59;
            room.resume(&mut record, &ticket, now).unwrap();
            ticket = room.issue(&mut record, &library, now).unwrap();
        }
        let mut record = Record::default();
        let declined = room.resume(&mut record, &ticket, 30 * MINUTE);
        assert!(matches!(declined.unwrap_err(), Declined::Ended));
    }
}

#[tokio::test]
async fn shorter_lifetime_counts_for_sessions_that_began_before_it() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let mut room = Room::new(&files, "require", "30m");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    room.sessions.lifetime = 10 * MINUTE;
    let at = |now| room.resume(&mut Record::default(), &ticket, now);
    at(10 * MINUTE - 1).unwrap();
    assert!(matches!(at(10 * MINUTE).unwrap_err(), Declined::Ended));
}

#[tokio::test]
async fn lineage_ends_with_the_chain_it_rests_on() {
    let files = Files::new();
    let brief = Duration::from_secs(10 * MINUTE);
    let leaf = files.clients.client_for("billing", brief);
    let room = Room::new(&files, "require", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    assert!(full.sessions.left.unwrap() <= 10 * MINUTE);
    let at = |now| room.resume(&mut Record::default(), &ticket, now);
    at(9 * MINUTE).unwrap();
    at(11 * MINUTE).unwrap_err();
}

#[tokio::test]
async fn chain_that_is_not_valid_any_more_is_declined() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "require", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    files.write(
        "clients.pem",
        &super::super::testing::Authority::root("Another").pem(),
    );
    let later = Room {
        begin: room.begin,
        ..Room::with(&files, "require", "8h", &room.sessions.keys)
    };
    let mut record = Record::default();
    let declined = later.resume(&mut record, &ticket, 0).unwrap_err();
    let Declined::Chain(objection) = declined else {
        panic!("{declined}");
    };
    assert_eq!(objection.reason(), Refusal::Untrusted);
    assert!(record.sessions.claim.is_none());
}

#[tokio::test]
async fn no_more_than_two_chains_are_verified_in_one_handshake() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "require", "8h");
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library(&leaf.chain), 0).unwrap();
    let mut record = Record::default();
    for _ in 0..2 {
        room.resume(&mut record, &ticket, 0).unwrap();
    }
    let declined = room.resume(&mut record, &ticket, 0).unwrap_err();
    assert!(matches!(declined, Declined::TooMany));
}

#[tokio::test]
async fn resumed_session_gets_one_ticket_and_a_new_one_as_many_as_are_asked_for() {
    let files = Files::new();
    let leaf = files.clients.client("billing");
    let room = Room::new(&files, "require", "8h");
    let library = library(&leaf.chain);
    let mut full = room.verified(&leaf).await;
    let ticket = room.issue(&mut full, &library, 0).unwrap();
    assert!(room.issue(&mut full, &library, 0).is_some());
    let mut resumed = Record::default();
    room.resume(&mut resumed, &ticket, 0).unwrap();
    assert!(room.issue(&mut resumed, &library, 0).is_some());
    assert!(room.issue(&mut resumed, &library, 0).is_none());
}

#[test]
fn anonymous_session_has_no_place_where_a_certificate_is_required() {
    let files = Files::new();
    let open = Room::new(&files, "want", "8h");
    let ticket = open.issue(&mut Record::default(), &library(&[]), 0);
    let ticket = ticket.unwrap();
    let mut closed = Room {
        begin: open.begin,
        ..Room::with(&files, "require", "8h", &open.sessions.keys)
    };
    assert!(
        closed
            .issue(&mut Record::default(), &library(&[]), 0)
            .is_none()
    );
    let declined = closed.resume(&mut Record::default(), &ticket, 0);
    assert!(matches!(declined.unwrap_err(), Declined::NotOurs));
    // Not even if the scope were no obstacle.
    closed.sessions.scope = open.sessions.scope.clone();
    let declined = closed.resume(&mut Record::default(), &ticket, 0);
    assert!(matches!(declined.unwrap_err(), Declined::Anonymous));
}

#[test]
fn ticket_is_for_one_server_name_or_for_none() {
    let files = Files::new();
    let room = Room::new(&files, "want", "8h");
    let names = [None, Some(""), Some("a.test"), Some("b.test")];
    let asking = |name: Option<&str>| {
        let mut record = Record::default();
        record.note_server_name(name.map(str::to_owned));
        record
    };
    for name in names {
        let ticket = room.issue(&mut asking(name), &library(&[]), 0).unwrap();
        for other in names {
            let opened = room.resume(&mut asking(other), &ticket, 0);
            assert_eq!(opened.is_ok(), name == other, "{name:?}, {other:?}");
        }
    }
}

#[test]
fn policies_that_differ_have_scopes_that_differ() {
    let files = Files::new();
    let bundle = |name: &str| {
        let config = listener("", "l", "want", name, "");
        files.material(&config).bundles.remove(0)
    };
    let (c, bc) = (bundle("c"), bundle("bc"));
    let mut scopes = vec![
        scope("a", ClientAuth::None, None),
        scope("ab", ClientAuth::None, None),
        scope("a", ClientAuth::Want, Some(&c)),
        scope("a", ClientAuth::Require, Some(&c)),
        scope("ab", ClientAuth::Want, Some(&c)),
        scope("a", ClientAuth::Want, Some(&bc)),
    ];
    assert_eq!(scope("a", ClientAuth::None, None), scopes[0]);
    let all = scopes.len();
    scopes.sort();
    scopes.dedup();
    assert_eq!(scopes.len(), all);
}

#[tokio::test]
async fn client_is_told_how_long_its_ticket_can_be_used() {
    let files = Files::new();
    let room = Room::new(&files, "want", "30m");
    let hint = |record: Record, seconds| async move {
        let room = Room::new(&Files::new(), "want", seconds);
        let record = Rc::new(std::cell::RefCell::new(record));
        handshake::recorded(record, async { room.sessions.lifetime() }).await
    };
    let mut record = Record::default();
    let ticket = room.issue(&mut record, &library(&[]), 0).unwrap();
    assert_eq!(hint(record, "30m").await, 1800);
    let mut record = Record::default();
    room.resume(&mut record, &ticket, 20 * MINUTE).unwrap();
    room.issue(&mut record, &library(&[]), 20 * MINUTE).unwrap();
    assert_eq!(hint(record, "30m").await, 600);
    assert_eq!(hint(Record::default(), "24h").await, 86_400);
}

proptest! {
    #[test]
    fn garbage_is_declined(mut garbage in proptest::collection::vec(any::<u8>(), 0..300), own in any::<bool>()) {
        let room = room();
        if own {
            // As far as the key's id goes it is a ticket of ours.
            let ticket = room.issue(&mut Record::default(), &library(&[]), 0).unwrap();
            let known = garbage.len().min(16);
            garbage[..known].copy_from_slice(&ticket[..known]);
        }
        let declined = room.resume(&mut Record::default(), &garbage, 0);
        prop_assert!(matches!(declined.unwrap_err(), Declined::NotOurs));
    }

    #[test]
    fn content_of_any_bytes_is_read_or_not_and_never_beyond_them(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let length = bytes.len();
        if let Some(content) = Content::read(Zeroizing::new(bytes)) {
            let library = content.chain.iter().map(|der| der.len()).max();
            prop_assert!(library.unwrap_or(0) <= length);
            prop_assert!(content.into_library().len() < length);
        }
    }

    #[test]
    fn content_comes_back_as_it_was(
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5),
        between in proptest::collection::vec(any::<u8>(), 0..9),
        since: u64,
        until: u64,
    ) {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let mut library = between.clone();
        for der in &chain {
            library.extend_from_slice(der);
            library.extend_from_slice(&between);
        }
        let lineage = Lineage { since, until };
        let trailer = content::trailer(&library, &chain, lineage).unwrap();
        let plain = [&library[..], &trailer].concat();
        let content = Content::read(Zeroizing::new(plain)).unwrap();
        prop_assert_eq!(content.lineage, lineage);
        prop_assert_eq!(&content.chain, &chain);
        prop_assert_eq!(content.into_library(), library);
    }
}

thread_local! {
    static ROOM: Room = Room::new(&Files::new(), "want", "8h");
}

/// One for many cases.
fn room() -> Room {
    ROOM.with(|room| Room {
        sessions: Sessions {
            keys: Arc::clone(&room.sessions.keys),
            scope: room.sessions.scope.clone(),
            trust: room.sessions.trust.clone(),
            ..room.sessions
        },
        begin: room.begin,
    })
}

/// The sessions of a listener, from a moment on.
struct Room {
    sessions: Sessions,
    /// In seconds since 1970.
    begin: u64,
}

impl Room {
    fn new(files: &Files, client_auth: &str, lifetime: &str) -> Self {
        Self::with(files, client_auth, lifetime, &Arc::default())
    }

    fn with(files: &Files, client_auth: &str, lifetime: &str, keys: &Arc<TicketKeys>) -> Self {
        let lifetime = format!("session_lifetime = '{lifetime}'");
        let text = listener("", "public", client_auth, "clients", &lifetime);
        let trust = Trust {
            bundle: files.material(&text).bundles.remove(0),
            required: client_auth == "require",
            limits: crate::config::Limits::defaults().chain,
            peers: Arc::default(),
        };
        let config = files.config(&text);
        let tls = config.listeners()[0].tls.as_ref().unwrap();
        Self {
            sessions: Sessions::new(
                keys,
                "public",
                tls,
                (tls.client_auth, Some(Arc::new(trust))),
            ),
            begin: UnixTime::now().as_secs(),
        }
    }

    /// The record of a full handshake in which a client was verified.
    async fn verified(&self, leaf: &Leaf) -> Record {
        let verified = self
            .sessions
            .verify(leaf.chain.clone(), self.at(0), &mut 0)
            .unwrap();
        let (leaf, intermediates) = verified.chain.split_first().unwrap();
        let record = Record::new();
        handshake::recorded(Rc::clone(&record), async {
            handshake::note_presented(leaf, intermediates);
            handshake::note_verified(verified.names.clone(), verified.verdict.clone());
        })
        .await;
        record.take()
    }

    fn issue(&self, record: &mut Record, library: &[u8], later: u64) -> Option<Vec<u8>> {
        self.sessions.issue(record, library, self.at(later))
    }

    fn resume(&self, record: &mut Record, ticket: &[u8], later: u64) -> Result<Vec<u8>, Declined> {
        self.sessions.resume(record, ticket, self.at(later))
    }

    /// So many seconds after the beginning.
    fn at(&self, later: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.begin + later))
    }
}

/// Bytes as the TLS library might make them of a session.
fn library(chain: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut bytes = b"\x01\x06a.test, and secrets".to_vec();
    for der in chain {
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes.extend_from_slice(der);
    }
    bytes.extend_from_slice(b"the end");
    bytes
}
