use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Answers one request with these bytes and hangs up.
fn serve(answer: Vec<u8>) -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target {
        address: AdminAddress::Tcp(listener.local_addr().expect("address")),
        path: "/trust".to_owned(),
        tls: None,
    };
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"GET /trust HTTP/1.1\r\n"));
        // Whoever asked may have heard enough.
        stream.write_all(&answer).ok();
    });
    (target, server)
}

#[test]
fn whole_answer_is_read_however_long_and_nothing_beyond_it() {
    for length in [0, 1, 3_000_000] {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        answer.extend_from_slice(b"more");
        let (target, server) = serve(answer);
        let body = get(&target).expect("an answer");
        assert_eq!(body, vec![b'x'; length]);
        server.join().expect("served");
    }
}

#[test]
fn answer_that_is_not_whole_is_none() {
    let (target, _server) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec());
    let error = get(&target).expect_err("cut short");
    assert!(
        matches!(
            error,
            AskError::CutShort {
                got: 4,
                promised: 9,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn answer_without_a_bound_is_not_read() {
    for (head, is_large) in [
        (format!("Content-Length: {}", MAX_BODY + 1), true),
        ("Content-Length: 99999999999999999999".to_owned(), false),
        ("Content-Length: -1".to_owned(), false),
        ("Transfer-Encoding: chunked".to_owned(), false),
    ] {
        let (target, _server) = serve(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into());
        let error = get(&target).expect_err(&head);
        let fits = match error {
            AskError::TooLarge { .. } => is_large,
            AskError::Unbounded { .. } => !is_large,
            _ => false,
        };
        assert!(fits, "{head}: {error:?}");
    }
}

#[test]
fn head_without_an_end_is_given_up() {
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.resize(1_000_000, b'x');
    let (target, _server) = serve(endless);
    let error = get(&target).expect_err("endless");
    assert!(matches!(error, AskError::NotHttp { .. }), "{error:?}");
}

#[test]
fn refusal_is_told_with_its_first_line() {
    let (target, _server) = serve(b"HTTP/1.1 503 Busy\r\n\r\nask later\nmore".to_vec());
    let error = get(&target).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!("{target} answered 503: ask later")
    );
}

#[test]
fn address_needs_a_port_or_a_socket() {
    for (text, expected) in [
        ("127.0.0.1:9901", "http://127.0.0.1:9901/trust"),
        ("[::1]:9901", "http://[::1]:9901/trust"),
        ("unix:/run/admin.sock", "unix:/run/admin.sock /trust"),
    ] {
        let target = Target::from_address(text, "/trust").expect(text);
        assert_eq!(target.to_string(), expected);
    }
    for text in [
        "",
        "127.0.0.1",
        "unix:",
        "http://127.0.0.1:1",
        "[::1]",
        ":1:1",
    ] {
        let refused = Target::from_address(text, "/trust");
        assert!(
            matches!(refused, Err(TargetError::Host(..))),
            "{text}: {refused:?}"
        );
    }
}

#[test]
fn unspecified_address_is_taken_for_loopback_and_another_one_for_itself() {
    assert_eq!(reachable(Ipv4Addr::UNSPECIFIED.into()), Ipv4Addr::LOCALHOST);
    assert_eq!(reachable(Ipv6Addr::UNSPECIFIED.into()), Ipv6Addr::LOCALHOST);
    let other: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    assert_eq!(reachable(other), other);
}

#[test]
fn url_names_address_and_path() {
    for (url, address, path) in [
        ("http://127.0.0.1:9901", "127.0.0.1:9901", "/readyz"),
        ("http://127.0.0.1:9901/", "127.0.0.1:9901", "/readyz"),
        (
            "http://127.0.0.1:9901/healthz",
            "127.0.0.1:9901",
            "/healthz",
        ),
        ("http://127.0.0.1/healthz", "127.0.0.1:80", "/healthz"),
        ("http://[::1]:9901/a?b", "[::1]:9901", "/a?b"),
        ("http://[::1]", "[::1]:80", "/readyz"),
    ] {
        let expected = Target {
            address: AdminAddress::Tcp(address.parse().expect("address")),
            path: path.to_owned(),
            tls: None,
        };
        assert_eq!(Target::from_url(url, "/readyz").expect(url), expected);
    }
    let expected = Target {
        address: AdminAddress::Unix("/run/admin.sock".into()),
        path: "/readyz".to_owned(),
        tls: None,
    };
    let unix = Target::from_url("unix:/run/admin.sock", "/readyz");
    assert_eq!(unix.expect("unix"), expected);
}

#[test]
fn url_that_cannot_be_asked_is_refused() {
    for url in ["", "127.0.0.1:9901", "unix:"] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Form(_))),
            "{url}: {refused:?}"
        );
    }
    let secured = Target::from_url("https://127.0.0.1:9901", "/readyz");
    assert!(
        matches!(secured, Err(TargetError::Secured(_))),
        "{secured:?}"
    );
    for url in [
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://:1:1",
    ] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Host(..))),
            "{url}: {refused:?}"
        );
    }
    for url in [
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/a\r\nX: y",
        "http://127.0.0.1:1/é",
    ] {
        let refused = Target::from_url(url, "/readyz");
        assert!(
            matches!(refused, Err(TargetError::Path(_))),
            "{url}: {refused:?}"
        );
    }
}
