use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::telemetry::admin::AdminAddress;

fn at(address: AdminAddress) -> Target {
    let path = READINESS.to_owned();
    Target {
        address,
        path,
        tls: None,
    }
}

fn tcp(address: SocketAddr) -> Target {
    at(AdminAddress::Tcp(address))
}

fn unix(path: &Path) -> Target {
    at(AdminAddress::Unix(path.to_owned()))
}

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
    let target = tcp(listener.local_addr().expect("address"));
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
        matches!(error, AskError::Status { status: 503, .. }),
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
        assert!(matches!(error, AskError::NotHttp { .. }), "{error:?}");
    }
}

#[test]
fn port_where_nobody_listens_is_unreachable() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any_port.into()).expect("a port");
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    let target = tcp(address.expect("address"));
    let error = healthcheck(&target).expect_err("nobody");
    assert!(matches!(error, AskError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&target.to_string()), "{error}");
}

#[test]
fn server_that_never_answers_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = tcp(listener.local_addr().expect("address"));
    let begun = Instant::now();
    let error = healthcheck(&target).expect_err("silent");
    assert!(matches!(error, AskError::Unreachable { .. }), "{error:?}");
    assert!(begun.elapsed() >= TIMEOUT - Duration::from_millis(50));
    assert!(begun.elapsed() < TIMEOUT * 3);
    drop(listener);
}

#[test]
fn server_that_answers_200_and_stays_open_is_healthy_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = tcp(listener.local_addr().expect("address"));
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
    let AdminAddress::Tcp(mut address) = target.address else {
        panic!("a TCP target");
    };
    address.set_ip(Ipv4Addr::UNSPECIFIED.into());
    healthcheck(&tcp(address)).expect("ready");
    server.join().expect("served");
}

#[test]
fn unix_socket_is_asked_and_a_missing_one_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let server = answer_once(move || listener.accept().expect("a client").0, READY);
    healthcheck(&unix(&path)).expect("ready");
    server.join().expect("served");

    let missing = unix(&folder.path().join("missing.sock"));
    let error = healthcheck(&missing).expect_err("missing");
    assert!(matches!(error, AskError::Unreachable { .. }), "{error:?}");
}
