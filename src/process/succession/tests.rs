use std::net::TcpListener;

use super::*;

fn sockets() -> (Inherited, std::net::SocketAddr) {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let mut sockets = Inherited::default();
    sockets.add("https".to_owned(), Listening::of(listening.into()).unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Listening::of(other.into()).unwrap();
    sockets.add_bound("public", &Bind::Tcp(address), other);
    (sockets, address)
}

fn pair() -> (Lines, Lines) {
    let (one, other) = UnixStream::pair().unwrap();
    let lines = |stream| Lines::of(stream, ANSWER_WITHIN).unwrap();
    (lines(one), lines(other))
}

#[test]
fn successor_is_given_every_socket_under_its_name_and_whom_it_reports_to() {
    let (sockets, address) = sockets();
    let (old, mut new) = pair();
    let welcome = Welcome {
        manager: Some("@manager".to_owned()),
        watchdog: Some(Duration::from_secs(3)),
        sockets,
    };
    let talk = std::thread::spawn(move || welcome.say(old));
    let heard = Welcome::hear(&mut new).unwrap();
    assert_eq!(heard.manager.as_deref(), Some("@manager"));
    assert_eq!(heard.watchdog, Some(Duration::from_secs(3)));
    let Listening::Tcp(https) = heard.sockets.named("https").unwrap() else {
        panic!("it is TCP");
    };
    assert_eq!(https.local_addr().unwrap(), address);
    let bound = heard.sockets.of_predecessor("public", &Bind::Tcp(address));
    assert!(bound.unwrap().is_ok());
    let other = Bind::Tcp("127.0.0.1:1".parse().unwrap());
    assert!(heard.sockets.of_predecessor("public", &other).is_none());
    new.say("ready").unwrap();
    let mut old = talk.join().unwrap().unwrap();
    old.say("yours").unwrap();
    new.expect("yours").unwrap();
}

#[test]
fn successor_that_goes_away_or_says_something_else_is_not_the_heir() {
    for words in [
        None,
        Some("take-over 2"),
        Some("take-over 1\nnext"),
        Some(""),
    ] {
        let (old, mut new) = pair();
        let welcome = Welcome::new(&ServiceManager::default(), None, sockets().0);
        if let Some(words) = words {
            new.say(words).unwrap();
        }
        drop(new);
        assert!(welcome.say(old).is_err(), "{words:?}");
    }
    let (old, mut new) = pair();
    let welcome = Welcome::new(&ServiceManager::default(), None, sockets().0);
    let talk = std::thread::spawn(move || welcome.say(old));
    Welcome::hear(&mut new).unwrap();
    drop(new);
    assert!(talk.join().unwrap().is_err(), "it was never ready");
}

#[test]
fn predecessor_that_says_something_else_is_not_believed() {
    for head in ["", "null", "{}", "{\"sockets\": -1}", "{\"sockets\": 5000}"] {
        let (mut old, mut new) = pair();
        old.say(head).unwrap();
        assert!(Welcome::hear(&mut new).is_err(), "{head}");
    }
}

#[tokio::test]
async fn socket_for_successors_is_for_the_same_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upgrade");
    let inherited = Inherited::default();
    let files = SocketFiles::default();
    let socket = UpgradeSocket::open(&path, &inherited, &files).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = UpgradeSocket::open(&path, &inherited, &files).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    drop(socket);
    assert!(!path.exists());
}
