use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use super::*;

/// Answers one connection with these bytes and returns the request's head.
fn answer_once<S: Read + Write + Send + 'static>(
    accept: impl FnOnce() -> S + Send + 'static,
    answer: &'static [u8],
) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut stream = accept();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        stream.write_all(answer).expect("written");
        String::from_utf8(head).expect("text")
    })
}

fn serve(answer: &'static [u8]) -> (Target, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::tcp(listener.local_addr().expect("address"));
    let server = answer_once(move || listener.accept().expect("a client").0, answer);
    (target, server)
}

const READY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";

#[test]
fn ready_server_is_healthy_and_was_asked_for_readiness() {
    let (target, server) = serve(READY);
    healthcheck(&target).expect("ready");
    let head = server.join().expect("served");
    assert!(head.starts_with("GET /readyz HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
}

#[test]
fn draining_server_is_unhealthy_and_the_error_says_what_it_answered() {
    let (target, _server) =
        serve(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\ndraining\x1b[2J\nmore");
    let error = healthcheck(&target).expect_err("draining");
    assert!(
        matches!(error, HealthcheckError::NotReady { status: 503, .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("{target} answered 503: draining\\u{{1b}}[2J")
    );
}

#[test]
fn answer_that_is_not_http_is_unhealthy() {
    for answer in [
        &b""[..],
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK",
        b"\xff\xfe\r\n\r\n",
    ] {
        let (target, _server) = serve(answer);
        let error = healthcheck(&target).expect_err("not HTTP");
        assert!(
            matches!(error, HealthcheckError::NotHttp { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn port_where_nobody_listens_is_unreachable() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any_port.into()).expect("a port");
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    let target = Target::tcp(address.expect("address"));
    let error = healthcheck(&target).expect_err("nobody");
    assert!(
        matches!(error, HealthcheckError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&target.to_string()), "{error}");
}

#[test]
fn server_that_never_answers_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::tcp(listener.local_addr().expect("address"));
    let begun = Instant::now();
    let error = healthcheck(&target).expect_err("silent");
    assert!(
        matches!(error, HealthcheckError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(begun.elapsed() >= TIMEOUT - Duration::from_millis(50));
    assert!(begun.elapsed() < TIMEOUT * 3);
    drop(listener);
}

#[test]
fn server_that_answers_200_and_stays_open_is_healthy_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::tcp(listener.local_addr().expect("address"));
    let (keep, kept) = std::sync::mpsc::channel();
    let server = answer_once(
        move || {
            let stream = listener.accept().expect("a client").0;
            keep.send(stream.try_clone().expect("a clone"))
                .expect("kept");
            stream
        },
        READY,
    );
    healthcheck(&target).expect("ready");
    server.join().expect("served");
    drop(kept);
}

#[test]
fn unspecified_address_is_asked_on_loopback() {
    let (target, server) = serve(READY);
    let Target::Tcp { mut address, path } = target else {
        panic!("a TCP target");
    };
    address.set_ip(Ipv4Addr::UNSPECIFIED.into());
    healthcheck(&Target::Tcp { address, path }).expect("ready");
    server.join().expect("served");
    assert_eq!(reachable(Ipv6Addr::UNSPECIFIED.into()), Ipv6Addr::LOCALHOST);
    let other: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    assert_eq!(reachable(other), other);
}

#[test]
fn unix_socket_is_asked_and_a_missing_one_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let server = answer_once(move || listener.accept().expect("a client").0, READY);
    healthcheck(&Target::unix(&path)).expect("ready");
    server.join().expect("served");

    let missing = Target::unix(&folder.path().join("missing.sock"));
    let error = healthcheck(&missing).expect_err("missing");
    assert!(
        matches!(error, HealthcheckError::Unreachable { .. }),
        "{error:?}"
    );
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
        let expected = Target::Tcp {
            address: address.parse().expect("address"),
            path: path.to_owned(),
        };
        assert_eq!(Target::from_url(url).expect(url), expected);
    }
    assert_eq!(
        Target::from_url("unix:/run/admin.sock").expect("unix"),
        Target::unix(Path::new("/run/admin.sock"))
    );
}

#[test]
fn url_that_cannot_be_asked_is_refused() {
    for url in ["", "127.0.0.1:9901", "https://127.0.0.1:9901", "unix:"] {
        let refused = Target::from_url(url);
        assert!(
            matches!(refused, Err(TargetError::Form(_))),
            "{url}: {refused:?}"
        );
    }
    for url in [
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://:1:1",
    ] {
        let refused = Target::from_url(url);
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
        let refused = Target::from_url(url);
        assert!(
            matches!(refused, Err(TargetError::Path(_))),
            "{url}: {refused:?}"
        );
    }
}
