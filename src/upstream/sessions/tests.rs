//! Whose sessions are kept, for how long, and what leaves countersign of them.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::config::SessionLost;

const ALICE: SessionKey = key(1, 0);
const BOB: SessionKey = key(2, 0);

const fn key(caller: u8, purpose: u8) -> SessionKey {
    SessionKey {
        caller: [caller; 32],
        purpose: [purpose; 32],
    }
}

fn sessions(most: usize) -> Sessions {
    let settings = StatefulSessions {
        cookies: vec!["SID".to_owned(), "SID2".to_owned()],
        lost: vec![SessionLost {
            status: 302,
            location: Some("/login".to_owned()),
        }],
        lifetime: Duration::from_secs(60),
        most: NonZeroUsize::new(most).unwrap(),
        per: SessionPer::Certificate,
    };
    Sessions::new(settings, &Arc::default())
}

/// What goes down of these cookies, which the service sets for `key`.
fn given(
    sessions: &Sessions,
    key: Option<&SessionKey>,
    cookies: &[&str],
    now: Instant,
) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        headers.append(
            SET_COOKIE,
            HeaderValue::from_bytes(cookie.as_bytes()).unwrap(),
        );
    }
    sessions.keep(key, "/app/page", &mut headers, now);
    let left = headers.get_all(SET_COOKIE).iter();
    left.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
        .collect()
}

fn sent(sessions: &Sessions, key: &SessionKey, path: &str, now: Instant) -> Option<String> {
    let mut headers = HeaderMap::new();
    sessions.resume(key, path, &mut headers, now)?;
    Some(headers[COOKIE].to_str().unwrap().to_owned())
}

fn kept(sessions: &Sessions) -> usize {
    let kept = sessions.kept.borrow();
    assert_eq!(kept.by_key.len(), kept.by_turn.len());
    let of_callers: BTreeSet<_> = kept.by_caller.values().flatten().collect();
    assert!(of_callers.into_iter().eq(kept.by_turn.keys()));
    assert!(kept.by_caller.values().all(|turns| !turns.is_empty()));
    kept.by_key.len()
}

#[test]
fn session_is_kept_for_the_one_it_was_given_to_and_never_goes_down() {
    let (sessions, now) = (sessions(10), Instant::now());
    let set = ["SID=a; Path=/; HttpOnly", "theme=dark"];
    assert_eq!(given(&sessions, Some(&ALICE), &set, now), ["theme=dark"]);
    assert_eq!(sent(&sessions, &ALICE, "/", now).as_deref(), Some("SID=a"));
    assert_eq!(sent(&sessions, &BOB, "/", now), None);
    assert!(sessions.has(&ALICE) && !sessions.has(&BOB));
}

#[test]
fn session_for_nobody_is_kept_for_nobody_and_does_not_go_down_either() {
    let (sessions, now) = (sessions(10), Instant::now());
    assert!(given(&sessions, None, &["SID=a; Path=/"], now).is_empty());
    assert_eq!(kept(&sessions), 0);
}

#[test]
fn session_cookie_that_is_oddly_written_does_not_go_down() {
    for odd in [
        "SID=a; Max-Age=\u{e4}",
        "SID=a; Max-Age=soon; Path=\u{e4}",
        " SID = a ;;; Path",
        "SID",
        "SID=",
        "SID2=a; Max-Age=99999999999999999999",
    ] {
        let (sessions, now) = (sessions(10), Instant::now());
        assert!(
            given(&sessions, Some(&ALICE), &[odd], now).is_empty(),
            "{odd}"
        );
    }
}

#[test]
fn lost_session_is_forgotten_and_its_successor_is_not() {
    let (sessions, now) = (sessions(10), Instant::now());
    given(&sessions, Some(&ALICE), &["SID=a; Path=/"], now);
    let resume = || sessions.resume(&ALICE, "/", &mut HeaderMap::new(), now);
    let first = resume().unwrap();
    assert_eq!(resume(), Some(first));
    given(&sessions, Some(&ALICE), &["SID=b; Path=/"], now);
    let second = resume().unwrap();
    sessions.forget(&ALICE, first);
    assert_eq!(resume(), Some(second));
    sessions.forget(&ALICE, second);
    assert_eq!(resume(), None);
    assert_eq!(kept(&sessions), 0);
}

#[test]
fn cookie_goes_where_its_path_says_and_as_long_as_it_lives() {
    let (sessions, now) = (sessions(10), Instant::now());
    given(&sessions, Some(&ALICE), &["SID=a"], now);
    let at = |path, now| sent(&sessions, &ALICE, path, now);
    assert_eq!(at("/app", now).as_deref(), Some("SID=a"));
    assert_eq!(at("/application", now), None);
    given(&sessions, Some(&ALICE), &["SID2=b; Path=/; Max-Age=5"], now);
    assert_eq!(at("/app/x", now).as_deref(), Some("SID=a; SID2=b"));
    let later = now + Duration::from_secs(6);
    assert_eq!(at("/app/x", later).as_deref(), Some("SID=a"));
    assert_eq!(at("/app/x", later + Duration::from_secs(61)), None);
}

#[test]
fn cookie_that_the_service_ends_is_gone() {
    for end in [
        "SID=; Path=/app",
        "SID=x; Path=/app; Max-Age=0",
        "SID=x; path=/app; max-age=-1",
        "SID=x; path=/app; max-age=-99999999999999999999",
    ] {
        let (sessions, now) = (sessions(10), Instant::now());
        given(&sessions, Some(&ALICE), &["SID=a; Path=/app"], now);
        given(&sessions, Some(&ALICE), &[end], now);
        assert_eq!(kept(&sessions), 0, "{end}");
    }
    let (sessions, now) = (sessions(10), Instant::now());
    for none in ["SID=a; Path=/; Max-Age=never", "SID=b; Path=/; Max-Age="] {
        given(&sessions, Some(&ALICE), &[none], now);
        assert_eq!(kept(&sessions), 1, "{none}");
    }
}

#[test]
fn caller_that_makes_up_hosts_ends_its_own_sessions_and_nobody_elses() {
    let (sessions, now) = (sessions(1_000), Instant::now());
    given(&sessions, Some(&BOB), &["SID=b; Path=/"], now);
    for host in 0..100 {
        given(&sessions, Some(&key(1, host)), &["SID=a; Path=/"], now);
        assert!(
            sent(&sessions, &key(1, 0), "/", now).is_some(),
            "it is used"
        );
    }
    assert_eq!(kept(&sessions), MOST_PER_CALLER + 1);
    assert!(sent(&sessions, &key(1, 99), "/", now).is_some());
    assert_eq!(sent(&sessions, &key(1, 1), "/", now), None);
    assert!(sent(&sessions, &BOB, "/", now).is_some());
}

#[test]
fn beyond_the_most_the_least_recently_used_goes_first() {
    let (sessions, now) = (sessions(2), Instant::now());
    given(&sessions, Some(&ALICE), &["SID=a; Path=/"], now);
    given(&sessions, Some(&BOB), &["SID=b; Path=/"], now);
    assert!(sent(&sessions, &ALICE, "/", now).is_some());
    given(&sessions, Some(&key(3, 0)), &["SID=c; Path=/"], now);
    assert!(sent(&sessions, &ALICE, "/", now).is_some());
    assert_eq!(sent(&sessions, &BOB, "/", now), None);
    assert_eq!(kept(&sessions), 2);
}

#[test]
fn sessions_that_nobody_has_used_for_long_make_room_when_another_comes() {
    let (sessions, now) = (sessions(10), Instant::now());
    given(&sessions, Some(&ALICE), &["SID=a; Path=/"], now);
    let later = now + Duration::from_secs(59);
    given(&sessions, Some(&BOB), &["SID=b; Path=/"], later);
    assert_eq!(kept(&sessions), 2);
    given(
        &sessions,
        Some(&key(3, 0)),
        &["SID=c; Path=/"],
        later + Duration::from_secs(1),
    );
    assert_eq!(kept(&sessions), 2);
    assert!(sessions.has(&BOB) && !sessions.has(&ALICE));
}

#[test]
fn session_of_too_many_bytes_is_not_kept() {
    let (sessions, now) = (sessions(10), Instant::now());
    let of = |bytes: usize| format!("SID={}; Path=/", "x".repeat(bytes));
    let name_and_path = "SID/".len();
    given(
        &sessions,
        Some(&ALICE),
        &[&of(MOST_BYTES - name_and_path)],
        now,
    );
    assert_eq!(kept(&sessions), 1);
    given(
        &sessions,
        Some(&ALICE),
        &[&of(MOST_BYTES - name_and_path + 1)],
        now,
    );
    assert_eq!(kept(&sessions), 0);
}

#[test]
fn session_cookies_that_a_caller_sends_are_taken_out_and_others_stay() {
    let sessions = sessions(2);
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, "a=1; SID=stolen; b=2".parse().unwrap());
    headers.append(COOKIE, "SID2=stolen".parse().unwrap());
    headers.append(COOKIE, "c=3, SID=stolen;d=4".parse().unwrap());
    sessions.strip_request(&mut headers);
    let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
    assert_eq!(left, ["a=1; b=2", "d=4"]);
}

#[test]
fn session_cookies_that_only_some_services_would_find_are_taken_out() {
    for hidden in [
        "a=1 SID=stolen",
        "a=\"1\"\tSID = stolen",
        "\"SID\"=stolen",
        "\u{a0}SID=stolen",
        "SID\u{3000}=stolen",
        "a=1\u{85}SID=stolen",
    ] {
        let mut headers = HeaderMap::new();
        let cookie = HeaderValue::from_bytes(format!("{hidden}; b=2").as_bytes());
        headers.append(COOKIE, cookie.unwrap());
        sessions(2).strip_request(&mut headers);
        assert_eq!(headers[COOKIE], "b=2", "{hidden}");
    }
}

#[test]
fn session_goes_up_beside_the_cookies_of_the_caller_and_in_no_log() {
    let (sessions, now) = (sessions(2), Instant::now());
    given(&sessions, Some(&ALICE), &["SID=a; Path=/"], now);
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, "a=1".parse().unwrap());
    assert!(sessions.resume(&ALICE, "/", &mut headers, now).is_some());
    assert_eq!(headers[COOKIE], "a=1; SID=a");
    assert!(headers[COOKIE].is_sensitive());
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, "a=1".parse().unwrap());
    headers.append(COOKIE, "b=2".parse().unwrap());
    assert!(sessions.resume(&ALICE, "/", &mut headers, now).is_some());
    assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
    assert_eq!(headers[COOKIE], "a=1; b=2; SID=a");
    assert!(!format!("{sessions:?}").contains("[97]"), "{sessions:?}");
}

#[test]
fn what_says_that_a_session_is_lost_is_401_and_what_the_config_names() {
    let sessions = sessions(2);
    let lost = |status: u16, location: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, location.parse().unwrap());
        }
        sessions.is_lost(StatusCode::from_u16(status).unwrap(), &headers)
    };
    assert!(lost(401, None));
    assert!(lost(302, Some("/login?back=/x")));
    assert!(lost(302, Some("https://service.test/login")));
    assert!(lost(302, Some("//service.test/login")));
    assert!(!lost(302, Some("/home")));
    assert!(!lost(302, Some("https://login")));
    assert!(!lost(302, None));
    assert!(!lost(303, Some("/login")));
    assert!(!lost(403, None));
}

proptest! {
    #[test]
    fn whatever_a_caller_sends_no_session_of_its_own_is_left(
        parts in proptest::collection::vec("(SID|SID2|a|, ?SID|=|;|,| |\"|x){1,6}", 0..6)
    ) {
        let sessions = sessions(2);
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, parts.join("; ").parse().unwrap());
        sessions.strip_request(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().cloned().collect();
        for cookie in left.iter().flat_map(|value| value.as_bytes().split(|b| b";, \"".contains(b))) {
            let (name, _) = split_pair(cookie);
            prop_assert!(name != b"SID" && name != b"SID2", "{:?}", left);
        }
        sessions.strip_request(&mut headers);
        prop_assert!(headers.get_all(COOKIE).iter().eq(&left));
    }

    #[test]
    fn whatever_the_service_sets_no_session_goes_down(
        attributes in "[ -~]{0,40}", value in "[!-~&&[^;]]{0,10}"
    ) {
        let (sessions, now) = (sessions(2), Instant::now());
        let set = [&*format!("SID={value};{attributes}"), "other=1"];
        prop_assert_eq!(given(&sessions, Some(&ALICE), &set, now), ["other=1"]);
    }
}
