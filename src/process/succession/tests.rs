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
    let talk = std::thread::spawn(move || welcome.say(old, READY_WITHIN));
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
        assert!(welcome.say(old, READY_WITHIN).is_err(), "{words:?}");
    }
    let (old, mut new) = pair();
    let welcome = Welcome::new(&ServiceManager::default(), None, sockets().0);
    let talk = std::thread::spawn(move || welcome.say(old, READY_WITHIN));
    Welcome::hear(&mut new).unwrap();
    drop(new);
    assert!(talk.join().unwrap().is_err(), "it was never ready");
}

#[test]
fn successor_that_is_ready_too_late_is_told_why_it_does_not_serve() {
    let (old, mut new) = pair();
    let welcome = Welcome::new(&ServiceManager::default(), None, sockets().0);
    let talk = std::thread::spawn(move || welcome.say(old, Duration::from_millis(20)));
    Welcome::hear(&mut new).unwrap();
    let cause = talk.join().unwrap().unwrap_err().to_string();
    assert!(cause.contains("did not serve within"), "{cause}");
    let Verdict::GoesOn(told) = Predecessor { lines: new }.served() else {
        panic!("it is refused");
    };
    assert_eq!(told, cause);
}

#[test]
fn refusal_is_heard_also_where_it_was_said_before_anything_was_asked() {
    let (old, mut new) = pair();
    conversation::refuse(old, io::Error::other("for a reason"));
    let cause = Welcome::hear(&mut new).unwrap_err();
    assert_eq!(cause.to_string(), "for a reason");
}

#[test]
fn predecessor_that_is_gone_is_told_from_one_that_goes_on_and_one_that_lets_go() {
    for (says, goes_on, lets_go) in [
        (None, false, false),
        (Some("refused for\ta reason"), true, false),
        (Some("yours"), false, true),
        (Some("anything"), false, false),
    ] {
        let (mut old, new) = pair();
        if let Some(says) = says {
            old.say(says).unwrap();
        }
        drop(old);
        let verdict = Predecessor { lines: new }.served();
        let (goes, lets) = match &verdict {
            Verdict::GoesOn(cause) => (cause == "for a reason", false),
            Verdict::LetGo => (false, true),
            Verdict::Silent(_) => (false, false),
        };
        assert_eq!((goes, lets), (goes_on, lets_go), "{says:?}: {verdict:?}");
    }
}

/// What a successor hears that comes while the sockets take so long to be known.
async fn heard_after(time: Duration) -> Result<Predecessor, TakeOverError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upgrade");
    let files = SocketFiles::default();
    let socket = UpgradeSocket::open(&path, &Inherited::default(), &files).unwrap();
    let (over, is_over) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut host = Host::default();
        let heard = host.take_over(&path);
        over.send(heard.map(|()| host.predecessor.take().unwrap()))
    });
    let manager = ServiceManager::default();
    let slow = async || {
        tokio::time::sleep(time).await;
        Ok(Inherited::default())
    };
    tokio::select! {
        heir = socket.heir((&manager, &files), None, slow) => panic!("nobody serves: {heir:?}"),
        heard = is_over => heard.unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn successor_waits_for_a_reload_and_is_told_where_that_does_not_end() {
    assert!(heard_after(Duration::from_secs(20)).await.is_ok());
    let Err(TakeOverError::Refused { cause }) = heard_after(Duration::from_secs(60)).await else {
        panic!("it is told");
    };
    assert!(cause.contains("a reload is under way"), "{cause}");
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
