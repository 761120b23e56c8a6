use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::metrics::MetricNames;
use super::super::page::{GenerationFacts, Overview};
use super::command::MAX_COMMANDS;
use super::socket::Stream;
use super::*;

mod program;

/// A program in which nothing is in force.
#[derive(Debug)]
struct Nothing;

impl Program for Nothing {
    fn overview(&self) -> Overview {
        Overview {
            generation: GenerationFacts {
                number: 1,
                published: SystemTime::now(),
                last_success: SystemTime::now(),
                last_failure: None,
                failing: false,
            },
            warnings: Vec::new(),
            listeners: Vec::new(),
            ends: Vec::new(),
            upstreams: Vec::new(),
            peers: Vec::new(),
            peers_connected: 0,
            peers_known: 0,
            sections: Vec::new(),
        }
    }
}

/// A running admin server.
struct Admin {
    address: AdminAddress,
    state: AdminState,
    /// What was handed to the program.
    commands: mpsc::Receiver<AdminCommand>,
    stop: watch::Sender<bool>,
    served: JoinHandle<Result<(), AdminSocketError>>,
}

impl Admin {
    fn start() -> Self {
        Self::start_at(&AdminAddress::Tcp("127.0.0.1:0".parse().expect("address")))
    }

    fn start_at(address: &AdminAddress) -> Self {
        let socket = AdminSocket::bind(address).expect("a free address");
        let address = socket.address().clone();
        let (sender, commands) = mpsc::channel(1);
        let state = AdminState {
            readiness: Readiness::starting(),
            refusals: Refusals::new(),
            metrics: Metrics::new(MetricNames {
                listeners: vec!["public".to_owned()],
                ..MetricNames::default()
            }),
            commands: sender,
            program: Rc::new(Nothing),
            drain: mpsc::channel(1).0,
            access: AdminAccess::default(),
            door: None,
            sections: Vec::new(),
        };
        let (stop, stopped) = watch::channel(false);
        let served = tokio::task::spawn_local(serve(socket, state.clone(), stopped));
        Self {
            address,
            state,
            commands,
            stop,
            served,
        }
    }

    async fn connect(&self) -> Stream {
        match &self.address {
            AdminAddress::Tcp(address) => tokio::net::TcpStream::connect(address)
                .await
                .map(Stream::Tcp)
                .expect("the server listens"),
            AdminAddress::Unix(path) => tokio::net::UnixStream::connect(path)
                .await
                .map(Stream::Unix)
                .expect("the server listens"),
        }
    }

    /// Sends a request and returns all that comes until the server closes.
    async fn ask(&self, line: &str) -> String {
        read_all(&mut self.begin(line, "").await).await
    }

    /// Sends a request with more fields, and after an empty line a body.
    async fn begin(&self, line: &str, more: &str) -> Stream {
        let mut stream = self.connect().await;
        let (fields, body) = more.split_once("\r\n\r\n").unwrap_or((more, ""));
        let fields: String = fields.lines().flat_map(|field| [field, "\r\n"]).collect();
        let request = format!("{line} HTTP/1.1\r\nHost: admin\r\n{fields}\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("written");
        stream
    }

    /// Sends a request that the program answers; returns what it was asked, and
    /// what came.
    async fn ask_program(&mut self, line: &str, answer: AdminAnswer) -> (AdminRequest, String) {
        let (stream, command) = self.reach_program(line, "").await;
        (
            command.request,
            answered(stream, command.answer, answer).await,
        )
    }

    /// Sends a request with more fields, and waits until it reaches the program.
    async fn reach_program(&mut self, line: &str, more: &str) -> (Stream, AdminCommand) {
        let stream = self.begin(line, more).await;
        (stream, self.commands.recv().await.expect("a server"))
    }

    /// Whether nothing waits for the program.
    fn has_asked_nothing(&mut self) -> bool {
        matches!(
            self.commands.try_recv(),
            Err(mpsc::error::TryRecvError::Empty)
        )
    }

    async fn stop(self) {
        self.stop.send(true).expect("the server listens");
        self.served.await.expect("no panic").expect("served");
    }
}

async fn read_all(stream: &mut Stream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// What comes when the program gives this answer.
async fn answered(
    mut stream: Stream,
    program: oneshot::Sender<AdminAnswer>,
    answer: AdminAnswer,
) -> String {
    program.send(answer).expect("somebody who waits");
    read_all(&mut stream).await
}

fn said(status: StatusCode, json: &str) -> AdminAnswer {
    AdminAnswer {
        status,
        json: json.to_owned(),
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer
        .split_once("\r\n\r\n")
        .map_or(answer, |(_, body)| body)
}

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime")
        .block_on(test);
}

/// Runs with a clock that jumps to the next deadline when nothing else is to do.
fn run_with_jumping_clock(test: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .expect("a runtime")
        .block_on(test);
}

#[test]
fn health_is_ok_while_the_process_lives_and_is_never_cached() {
    run(async {
        let admin = Admin::start();
        admin.state.readiness.draining();
        let answer = admin.ask("GET /healthz").await;
        assert_eq!(status(&answer), "200");
        assert_eq!(body(&answer), "ok\n");
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        admin.stop().await;
    });
}

#[test]
fn readiness_follows_the_stages_and_says_which() {
    run(async {
        let admin = Admin::start();
        let starting = admin.ask("GET /readyz").await;
        assert_eq!((status(&starting), body(&starting)), ("503", "starting\n"));
        admin.state.readiness.ready();
        let ready = admin.ask("GET /readyz?verbose").await;
        assert_eq!((status(&ready), body(&ready)), ("200", "ready\n"));
        admin.state.readiness.draining();
        let draining = admin.ask("GET /readyz").await;
        assert_eq!((status(&draining), body(&draining)), ("503", "draining\n"));
        admin.stop().await;
    });
}

#[test]
fn readiness_never_goes_back() {
    let readiness = Readiness::starting();
    assert_eq!(readiness.stage(), Stage::Starting);
    readiness.draining();
    readiness.ready();
    assert_eq!(readiness.stage(), Stage::Draining);
}

#[test]
fn metrics_are_served_with_the_type_that_scrapers_expect() {
    run(async {
        let admin = Admin::start();
        admin.state.metrics.listener(0).handshake_accepted(false);
        let answer = admin.ask("GET /metrics").await;
        assert_eq!(status(&answer), "200");
        assert!(
            answer.contains(&format!("content-type: {}\r\n", metrics::CONTENT_TYPE)),
            "{answer}"
        );
        assert!(
            answer.contains("{listener=\"public\",result=\"accepted\",reason=\"full\"} 1\n"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        admin.stop().await;
    });
}

#[test]
fn unknown_path_gets_404_with_what_there_is() {
    run(async {
        let admin = Admin::start();
        for path in ["/status", "/healthz/", "/HEALTHZ", "/metrics/../secret"] {
            let answer = admin.ask(&format!("GET {path}")).await;
            assert_eq!(status(&answer), "404", "{path}");
            assert_eq!(body(&answer), PATHS);
        }
        admin.stop().await;
    });
}

#[test]
fn method_that_a_path_does_not_take_gets_405_with_those_it_takes() {
    run(async {
        let mut admin = Admin::start();
        for (path, methods, allow) in [
            (
                "/healthz",
                &["POST", "PUT", "DELETE", "BREW"][..],
                "GET, HEAD",
            ),
            ("/readyz", &["POST"], "GET, HEAD"),
            ("/metrics", &["POST"], "GET, HEAD"),
            ("/trust", &["POST", "PUT"], "GET, HEAD"),
            ("/trust/peers", &["POST", "DELETE"], "GET, HEAD"),
            ("/reload", &["GET", "HEAD", "PUT", "OPTIONS"], "POST"),
            ("/trust/preview", &["GET", "HEAD", "PUT"], "POST"),
        ] {
            for method in methods {
                let answer = admin.ask(&format!("{method} {path}")).await;
                assert_eq!(status(&answer), "405", "{method} {path}");
                assert!(answer.contains(&format!("allow: {allow}\r\n")), "{answer}");
            }
        }
        assert!(admin.has_asked_nothing());
        admin.stop().await;
    });
}

#[test]
fn head_gets_what_get_gets_without_the_body() {
    run(async {
        let mut admin = Admin::start();
        let answer = admin.ask("HEAD /healthz").await;
        assert_eq!((status(&answer), body(&answer)), ("200", ""));
        assert!(answer.contains("content-length: 3\r\n"), "{answer}");
        let (asked, answer) = admin
            .ask_program("HEAD /trust", said(StatusCode::OK, "{}"))
            .await;
        assert_eq!(asked, AdminRequest::Trust);
        assert_eq!((status(&answer), body(&answer)), ("200", ""));
        assert!(answer.contains("content-length: 3\r\n"), "{answer}");
        admin.stop().await;
    });
}

#[test]
fn garbage_is_refused_and_the_server_lives_on() {
    run(async {
        let admin = Admin::start();
        let mut stream = admin.connect().await;
        stream
            .write_all(b"\x16\x03\x01\x02\0\x01\r\n\r\n")
            .await
            .expect("written");
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        admin.stop().await;
    });
}

#[test]
fn silent_connections_in_every_slot_are_dropped_at_the_header_deadline() {
    run_with_jumping_clock(async {
        let admin = Admin::start();
        let begun = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(admin.connect().await);
        }
        let answer = admin.ask("GET /healthz").await;
        assert_eq!(status(&answer), "200");
        let waited = begun.elapsed();
        assert!(
            waited >= HEADER_TIMEOUT,
            "no slot was free before: {waited:?}"
        );
        assert!(waited < CONNECTION_TIMEOUT, "{waited:?}");
        admin.stop().await;
    });
}

#[test]
fn silent_connection_does_not_hold_up_the_end() {
    run_with_jumping_clock(async {
        let admin = Admin::start();
        let silent = admin.connect().await;
        // An answer on a later connection means that the silent one was accepted.
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        let begun = Instant::now();
        admin.stop().await;
        assert!(
            begun.elapsed() < FAREWELL_TIMEOUT * 2,
            "{:?}",
            begun.elapsed()
        );
        drop(silent);
    });
}

#[test]
fn request_under_way_at_the_end_is_still_answered() {
    run(async {
        let admin = Admin::start();
        let mut stream = admin.connect().await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .expect("written");
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        admin.stop.send(true).expect("the server listens");
        tokio::task::yield_now().await;
        stream
            .write_all(b"Host: admin\r\n\r\n")
            .await
            .expect("written");
        assert_eq!(status(&read_all(&mut stream).await), "200");
        admin.served.await.expect("no panic").expect("served");
    });
}

#[test]
fn server_ends_when_nobody_is_left_to_stop_it() {
    run(async {
        let Admin { stop, served, .. } = Admin::start();
        drop(stop);
        served.await.expect("no panic").expect("served");
    });
}

#[test]
fn unix_socket_is_served_and_its_file_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    run(async {
        let admin = Admin::start_at(&AdminAddress::Unix(path.clone()));
        assert!(path.exists());
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        admin.stop().await;
        assert!(!path.exists());
    });
}

#[test]
fn socket_file_that_a_dead_process_left_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "std leaves the file");
    run(async {
        let admin = Admin::start_at(&AdminAddress::Unix(path));
        assert_eq!(status(&admin.ask("GET /healthz").await), "200");
        admin.stop().await;
    });
}

#[test]
fn socket_file_on_which_somebody_answers_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let refused = AdminSocket::bind(&AdminAddress::Unix(path.clone()));
    assert!(
        matches!(refused, Err(AdminSocketError::InUse { .. })),
        "{refused:?}"
    );
    std::os::unix::net::UnixStream::connect(&path).expect("the other still answers");
}

#[test]
fn file_that_is_not_a_socket_is_never_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious.txt");
    std::fs::write(&path, "data").expect("written");
    let refused = AdminSocket::bind(&AdminAddress::Unix(path.clone()));
    assert!(
        matches!(refused, Err(AdminSocketError::Bind { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "data");
}

#[test]
fn file_that_a_successor_put_in_place_survives_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let socket = AdminSocket::bind(&AdminAddress::Unix(path.clone())).expect("bound");
    // Renamed into place, so that the first file's inode is not used again.
    let other = folder.path().join("other.sock");
    let _successor = std::os::unix::net::UnixListener::bind(&other).expect("bound");
    std::fs::rename(&other, &path).expect("renamed");
    drop(socket);
    std::os::unix::net::UnixStream::connect(&path).expect("the successor answers");
}

#[test]
fn port_that_is_taken_is_refused_with_its_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = AdminAddress::Tcp(taken.local_addr().expect("address"));
    let refused = AdminSocket::bind(&address).expect_err("taken");
    assert!(
        refused.to_string().contains(&address.to_string()),
        "{refused}"
    );
}
