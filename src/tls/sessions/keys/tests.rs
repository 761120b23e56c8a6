use data_encoding::{BASE64, HEXLOWER};

use super::*;

/// Some hour, in seconds since 1970.
const NOW: u64 = 500_000 * HOUR;
const SCOPE: &[u8] = b"scope";

#[test]
fn ticket_opens_with_the_same_keys_for_the_same_scope_alone() {
    for keys in [TicketKeys::random(), shared(&[1])] {
        let ticket = sealed(&keys, NOW);
        assert_eq!(&**keys.open(NOW, SCOPE, &ticket).unwrap(), b"what is kept");
        assert!(keys.open(NOW, b"another", &ticket).is_none());
        assert!(keys.open(NOW, b"", &ticket).is_none());
        for others in [TicketKeys::random(), shared(&[2])] {
            assert!(others.open(NOW, SCOPE, &ticket).is_none());
        }
    }
}

#[test]
fn ticket_with_any_byte_changed_or_missing_does_not_open() {
    let keys = TicketKeys::random();
    let ticket = sealed(&keys, NOW);
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 0x10;
        assert!(keys.open(NOW, SCOPE, &changed).is_none(), "{at}");
        assert!(keys.open(NOW, SCOPE, &ticket[..at]).is_none(), "{at}");
    }
    assert!(
        keys.open(NOW, SCOPE, &[&ticket[..], &[0]].concat())
            .is_none()
    );
}

#[test]
fn ticket_names_its_key_and_shows_nothing_else() {
    let keys = TicketKeys::random();
    let (first, second) = (sealed(&keys, NOW), sealed(&keys, NOW));
    assert_eq!(first[..ID_LEN], second[..ID_LEN]);
    assert_ne!(first[ID_LEN..HEAD_LEN], second[ID_LEN..HEAD_LEN]);
    assert!(!first.windows(4).any(|part| part == b"what"));
}

#[test]
fn key_encrypts_for_an_hour_and_decrypts_for_the_lifetime_of_a_session() {
    for keys in [TicketKeys::random(), shared(&[1])] {
        keys.keep_for(Duration::from_secs(2 * HOUR));
        let first = sealed(&keys, NOW);
        let last = sealed(&keys, NOW + HOUR - 1);
        let next = sealed(&keys, NOW + HOUR);
        assert_eq!(first[..ID_LEN], last[..ID_LEN]);
        assert_ne!(first[..ID_LEN], next[..ID_LEN]);
        let end = NOW + 3 * HOUR;
        assert!(keys.open(end - 1, SCOPE, &last).is_some());
        assert!(keys.open(end, SCOPE, &last).is_none());
        assert!(keys.open(end, SCOPE, &next).is_some());
    }
}

#[test]
fn no_key_outlives_its_hour_by_more_than_a_day() {
    for keys in [TicketKeys::random(), shared(&[1])] {
        keys.keep_for(Duration::from_secs(100 * HOUR));
        // What was asked for once holds.
        keys.keep_for(Duration::from_secs(1));
        let ticket = sealed(&keys, NOW);
        assert!(keys.open(NOW + 25 * HOUR - 1, SCOPE, &ticket).is_some());
        assert!(keys.open(NOW + 25 * HOUR, SCOPE, &ticket).is_none());
    }
}

#[test]
fn random_key_that_was_forgotten_is_gone_for_good() {
    let keys = TicketKeys::random();
    let ticket = sealed(&keys, NOW);
    assert!(keys.open(NOW + 9 * HOUR, SCOPE, &ticket).is_none());
    assert!(keys.open(NOW, SCOPE, &ticket).is_none());
}

#[test]
fn instance_whose_clock_is_behind_opens_tickets_of_the_next_hour_and_none_beyond() {
    let (ahead, behind) = (shared(&[1]), shared(&[1]));
    let next = sealed(&ahead, NOW + HOUR);
    let beyond = sealed(&ahead, NOW + 2 * HOUR);
    assert!(behind.open(NOW, SCOPE, &next).is_some());
    assert!(behind.open(NOW, SCOPE, &beyond).is_none());
}

#[test]
fn clock_that_is_set_back_leaves_no_key_in_use_for_longer_than_its_hour() {
    let keys = TicketKeys::random();
    let early = sealed(&keys, NOW + 100 * HOUR);
    let now = sealed(&keys, NOW);
    let later = sealed(&keys, NOW + HOUR);
    assert_ne!(early[..ID_LEN], now[..ID_LEN]);
    assert_ne!(now[..ID_LEN], later[..ID_LEN]);
    assert!(keys.open(NOW, SCOPE, &early).is_none());
    // An hour that two threads read differently is not that.
    assert!(keys.open(NOW, SCOPE, &later).is_some());
    assert_eq!(sealed(&keys, NOW)[..ID_LEN], now[..ID_LEN]);
}

#[test]
fn first_secret_encrypts_and_all_decrypt() {
    let (old, both, new) = (shared(&[1]), shared(&[2, 1]), shared(&[2]));
    let before = sealed(&old, NOW);
    assert!(both.open(NOW, SCOPE, &before).is_some());
    let between = sealed(&both, NOW);
    assert!(new.open(NOW, SCOPE, &between).is_some());
    assert!(old.open(NOW, SCOPE, &between).is_none());
    assert!(new.open(NOW, SCOPE, &before).is_none());
}

#[test]
fn derived_keys_are_those_of_every_version_of_this_program() {
    // From `openssl kdf -keylen 48 -kdfopt digest:SHA256 -kdfopt hexkey:KEY
    // -kdfopt hexinfo:INFO HKDF`, with 48 times 01, and the purpose in
    // hexadecimal with 000000000007a120 behind it.
    let expected = "9734d063e558b1d128fc33f9531461ea";
    let ticket = sealed(&shared(&[1]), NOW);
    assert_eq!(HEXLOWER.encode(&ticket[..ID_LEN]), expected);
}

#[test]
fn what_is_too_long_for_a_ticket_is_not_sealed() {
    let keys = TicketKeys::random();
    let most = vec![0; MAX_TICKET - HEAD_LEN - TAG_LEN];
    let ticket = keys.seal(NOW, SCOPE, [&most, &[]]).unwrap();
    assert_eq!(ticket.len(), MAX_TICKET);
    assert!(keys.open(NOW, SCOPE, &ticket).is_some());
    assert!(keys.seal(NOW, SCOPE, [&most, &[0]]).is_none());
}

#[test]
fn keys_stay_the_same_value_until_their_source_changes() {
    let of = |content: &[u8], former| TicketKeys::shared(content, former).unwrap();
    let (first, second) = (BASE64.encode(&[1; 48]), BASE64.encode(&[2; 48]));
    let keys = of(first.as_bytes(), None);
    assert!(Arc::ptr_eq(&keys, &of(first.as_bytes(), Some(&keys))));
    assert!(!Arc::ptr_eq(&keys, &of(second.as_bytes(), Some(&keys))));
    let random = TicketKeys::random_or(Some(&keys));
    assert!(matches!(random.source, Source::Random));
    assert!(Arc::ptr_eq(&random, &TicketKeys::random_or(Some(&random))));
    assert!(!Arc::ptr_eq(&random, &of(first.as_bytes(), Some(&random))));
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let secret = BASE64.encode(b"0123456789abcdef0123456789abcdef");
    let keys = TicketKeys::shared(secret.as_bytes(), None).unwrap();
    sealed(&keys, NOW);
    assert_eq!(format!("{keys:?}"), "TicketKeys { source: \"shared\", .. }");
}

fn sealed(keys: &TicketKeys, now: u64) -> Vec<u8> {
    keys.seal(now, SCOPE, [b"what ", b"is kept"]).unwrap()
}

/// Keys of secrets that are each 48 times the same byte.
fn shared(bytes: &[u8]) -> TicketKeys {
    let lines: Vec<_> = bytes.iter().map(|b| BASE64.encode(&[*b; 48])).collect();
    let keys = TicketKeys::shared(lines.join("\n").as_bytes(), None).unwrap();
    Arc::into_inner(keys).unwrap()
}
