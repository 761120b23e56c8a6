use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Version};
use hyper::body::Body;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::tls::{Socket, Stream};
use crate::upstream::BoxError;
use crate::upstream::h1::{H1, Unanswered};
use crate::upstream::owner::Owner;

/// A body in pieces, with fields behind it.
#[derive(Debug, Default)]
struct Pieces {
    left: std::collections::VecDeque<Frame<Bytes>>,
    held_back: bool,
}

impl Pieces {
    fn of(pieces: &[&'static str]) -> Self {
        let data = |piece: &&'static str| Frame::data(Bytes::from_static(piece.as_bytes()));
        Self {
            left: pieces.iter().map(data).collect(),
            held_back: false,
        }
    }

    fn then(mut self, name: &'static str, value: &'static str) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, HeaderValue::from_static(value));
        self.left.push_back(Frame::trailers(trailers));
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.held_back {
            return Poll::Pending;
        }
        Poll::Ready(self.left.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }
}

impl UploadBody for Pieces {
    fn again(&self) -> Option<Self> {
        None
    }

    fn go_on(&mut self) {
        self.held_back = false;
    }
}

/// A connection and the service at its other end.
async fn connected() -> (Wire<Pieces>, UnixStream) {
    let (ours, theirs) = ends().await;
    (Wire::new(ours), theirs)
}

async fn ends() -> (Placed, UnixStream) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service");
    let listener = UnixListener::bind(&path).unwrap();
    let (ours, theirs) = tokio::join!(UnixStream::connect(&path), listener.accept());
    let stream = Stream::Plain(Socket::Unix(ours.unwrap()));
    (Placed::new(stream, None), theirs.unwrap().0)
}

fn request(method: Method, fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = "/a?b=c".parse().unwrap();
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        request
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
    request
}

/// What a service receives of a request.
async fn sent(request: &Request<()>, body: Pieces) -> Result<String, LinkFault> {
    let (mut wire, mut service) = connected().await;
    wire.begin(request, Tracked::new(body))?;
    poll_fn(|cx| wire.poll_upload(cx)).await?;
    assert!(wire.is_sent());
    drop(wire);
    let mut received = String::new();
    AsyncReadExt::read_to_string(&mut service, &mut received)
        .await
        .unwrap();
    Ok(received)
}

/// A response as it was taken: status, body, trailers; and whether another
/// request may follow.
type Taken = (u16, Vec<u8>, Option<HeaderMap>, bool);

/// What is made of the bytes of a service, which come in pieces of `size`, and
/// then end.
async fn taken(method: Method, bytes: &[u8], size: usize) -> Result<Taken, LinkFault> {
    let (mut wire, mut service) = connected().await;
    wire.begin(
        &request(method, &[("host", "a.test")]),
        Tracked::new(Pieces::default()),
    )?;
    let answer = async {
        let mut fields = HeaderMap::new();
        let head = poll_fn(|cx| wire.poll_head(&mut fields, cx)).await?;
        let (mut body, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| wire.poll_body(cx)).await {
            match frame?.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((head.status().as_u16(), body, trailers, wire.is_at_rest()))
    };
    let serve = async {
        for piece in bytes.chunks(size.max(1)) {
            if service.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        service.shutdown().await.ok();
        service
    };
    tokio::join!(answer, serve).0
}

async fn whole(bytes: &str) -> Result<Taken, LinkFault> {
    taken(Method::GET, bytes.as_bytes(), usize::MAX).await
}

/// The rule that a response breaks.
async fn broken(bytes: &str) -> String {
    whole(bytes).await.unwrap_err().to_string()
}

#[tokio::test]
async fn request_is_written_from_its_parsed_form() {
    let get = request(
        Method::GET,
        &[("host", "a.test"), ("x-a", "1"), ("x-a", "2")],
    );
    let written = sent(&get, Pieces::default()).await.unwrap();
    assert_eq!(
        written,
        "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
    );
}

#[tokio::test]
async fn target_without_a_path_goes_up_with_one() {
    for (target, line) in [
        ("http://a.test?b=c", "GET /?b=c HTTP/1.1\r\n"),
        ("/", "GET / HTTP/1.1\r\n"),
        ("/?", "GET /? HTTP/1.1\r\n"),
        ("*", "GET * HTTP/1.1\r\n"),
    ] {
        let mut get = request(Method::GET, &[]);
        *get.uri_mut() = target.parse().unwrap();
        let written = sent(&get, Pieces::default()).await.unwrap();
        assert!(written.starts_with(line), "{written}");
    }
}

#[tokio::test]
async fn body_goes_up_by_its_length_or_in_chunks_and_never_both() {
    let sized = request(Method::POST, &[("content-length", "5")]);
    let written = sent(&sized, Pieces::of(&["hel", "lo"])).await.unwrap();
    assert!(
        written.ends_with("content-length: 5\r\n\r\nhello"),
        "{written}"
    );
    let chunked = request(Method::GET, &[("transfer-encoding", "gzip, chunked")]);
    let written = sent(&chunked, Pieces::of(&["hel", "", "lo"]))
        .await
        .unwrap();
    let end = "\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    assert!(written.ends_with(end), "{written}");
    assert!(!written.contains("gzip"), "{written}");
}

#[tokio::test]
async fn large_pieces_go_up_whole() {
    let large: &'static str = Box::leak("x".repeat(300_000).into_boxed_str());
    let chunked = request(Method::PUT, &[]);
    let (mut wire, mut service) = connected().await;
    wire.begin(&chunked, Tracked::new(Pieces::of(&[large, "end"])))
        .unwrap();
    let send = poll_fn(|cx| wire.poll_upload(cx));
    let receive = async {
        let mut received = String::new();
        while !received.ends_with("0\r\n\r\n") {
            let mut piece = vec![0; 65_536];
            let read = AsyncReadExt::read(&mut service, &mut piece).await.unwrap();
            received.push_str(str::from_utf8(&piece[..read]).unwrap());
        }
        received
    };
    let (outcome, received) = tokio::join!(send, receive);
    outcome.unwrap();
    let end = format!("\r\n\r\n493e0\r\n{large}\r\n3\r\nend\r\n0\r\n\r\n");
    assert!(received.ends_with(&end));
}

#[tokio::test]
async fn pieces_that_go_together_keep_their_order_however_slowly_they_are_taken() {
    // Each other than those beside it, small ones among large ones, more than go together.
    let sizes = [
        16_384, 5, 16_384, 2_000, 1, 16_384, 70_000, 1_024, 1_025, 16_384, 3,
    ];
    let pieces: Vec<&'static str> = sizes
        .iter()
        .zip('a'..)
        .map(|(size, letter)| &*Box::leak(letter.to_string().repeat(*size).into_boxed_str()))
        .collect();
    let whole = pieces.concat();
    let length: &'static str = Box::leak(whole.len().to_string().into_boxed_str());
    for fields in [&[("content-length", length)][..], &[]] {
        let (mut wire, mut service) = connected().await;
        wire.begin(
            &request(Method::PUT, fields),
            Tracked::new(Pieces::of(&pieces)),
        )
        .unwrap();
        let send = async {
            poll_fn(|cx| wire.poll_upload(cx)).await.unwrap();
            assert!(wire.is_sent());
            drop(wire);
        };
        let receive = async {
            let mut received = String::new();
            let mut piece = [0; 777];
            loop {
                match AsyncReadExt::read(&mut service, &mut piece).await.unwrap() {
                    0 => return received,
                    read => received.push_str(str::from_utf8(&piece[..read]).unwrap()),
                }
            }
        };
        let ((), received) = tokio::join!(send, receive);
        let (_, body) = received.split_once("\r\n\r\n").unwrap();
        if fields.is_empty() {
            let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len());
            let chunks: String = pieces.iter().map(chunk).collect();
            assert!(body == format!("{chunks}0\r\n\r\n"));
        } else {
            assert!(body == whole);
        }
    }
}

#[tokio::test]
async fn body_that_is_not_as_long_as_its_head_says_does_not_go_up() {
    for (length, pieces) in [
        ("4", &["hello"][..]),
        ("6", &["hello"]),
        ("0", &["hello"]),
        ("5", &[]),
    ] {
        let request = request(Method::POST, &[("content-length", length)]);
        let fault = sent(&request, Pieces::of(pieces)).await.unwrap_err();
        assert!(fault.is_of_upload(), "{length}: {fault}");
    }
    let twice = request(
        Method::POST,
        &[("content-length", "5"), ("content-length", "5")],
    );
    assert!(sent(&twice, Pieces::of(&["hello"])).await.is_err());
    let mut old = request(Method::POST, &[]);
    *old.version_mut() = Version::HTTP_10;
    assert!(sent(&old, Pieces::of(&["hello"])).await.is_err());
}

#[tokio::test]
async fn announced_trailers_go_up_and_others_do_not() {
    let announced = request(Method::POST, &[("trailer", "x-sum, Content-Length")]);
    let pieces = || Pieces::of(&["a"]);
    let written = sent(&announced, pieces().then("x-sum", "1")).await.unwrap();
    assert!(
        written.ends_with("\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{written}"
    );
    for (name, value) in [("x-other", "1"), ("content-length", "1")] {
        let written = sent(&announced, pieces().then(name, value)).await.unwrap();
        assert!(written.ends_with("\r\n1\r\na\r\n0\r\n\r\n"), "{written}");
    }
}

#[tokio::test]
async fn body_that_is_kept_back_goes_up_when_the_service_wants_it() {
    let (mut wire, mut service) = connected().await;
    let body = Pieces {
        held_back: true,
        ..Pieces::of(&["hello"])
    };
    let post = request(
        Method::POST,
        &[("content-length", "5"), ("expect", "100-continue")],
    );
    wire.begin(&post, Tracked::new(body)).unwrap();
    let serve = async {
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n") {
            AsyncReadExt::read_buf(&mut service, &mut received)
                .await
                .unwrap();
        }
        service
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .unwrap();
        while !received.ends_with(b"hello") {
            AsyncReadExt::read_buf(&mut service, &mut received)
                .await
                .unwrap();
        }
        service
            .write_all(b"HTTP/1.1 204 Yes\r\n\r\n")
            .await
            .unwrap();
    };
    let mut fields = HeaderMap::new();
    let answer = poll_fn(|cx| wire.poll_head(&mut fields, cx));
    let (answer, ()) = tokio::join!(answer, serve);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let reason = answer.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"Yes");
    assert!(wire.is_at_rest());
}

#[tokio::test]
async fn response_ends_where_its_head_says() {
    let of_ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    for (rest, body, is_kept) in [
        ("content-length: 5\r\n\r\nhello", "hello", true),
        ("content-length: 0\r\n\r\n", "", true),
        (
            "content-length: 5\r\nconnection: x, Close\r\n\r\nhello",
            "hello",
            false,
        ),
        (
            "Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhe\r\n3 \r\nllo\r\n0\r\n\r\n",
            "hello",
            true,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
            "",
            false,
        ),
        ("\r\nhello", "hello", false),
        // What comes behind it is nobody's.
        (
            "content-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
            "hello",
            false,
        ),
    ] {
        let (status, received, _, kept) = whole(&of_ok(rest)).await.unwrap();
        let received = String::from_utf8(received).unwrap();
        assert_eq!((status, &*received, kept), (200, body, is_kept), "{rest}");
    }
}

#[tokio::test]
async fn response_without_a_body_has_none_whatever_its_head_says() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let (_, body, _, kept) = taken(Method::HEAD, head, 99).await.unwrap();
    assert_eq!((body.len(), kept), (0, true));
    for (head, is_kept) in [
        ("304 Not Modified\r\ntransfer-encoding: chunked", true),
        ("204 No Content\r\ncontent-length: 0", true),
        // Others might take what follows for its body.
        ("204 No Content\r\ncontent-length: 5", false),
        ("204 No Content\r\ntransfer-encoding: chunked", false),
    ] {
        let (_, body, _, kept) = whole(&format!("HTTP/1.1 {head}\r\n\r\n")).await.unwrap();
        assert_eq!((body.len(), kept), (0, is_kept), "{head}");
    }
}

#[tokio::test]
async fn connection_is_kept_as_its_version_has_it() {
    for (head, is_kept) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        (
            "HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n",
            false,
        ),
        // It was asked in HTTP/1.1.
        (
            "HTTP/1.0 204 No Content\r\nconnection: keep-alive\r\n\r\n",
            false,
        ),
    ] {
        assert_eq!(whole(head).await.unwrap().3, is_kept, "{head}");
    }
    let parsed = |version| Parsed {
        status: StatusCode::OK,
        version,
        reason: None,
    };
    let mut fields = HeaderMap::new();
    let kept = |fields: &HeaderMap| {
        let head = parsed(Version::HTTP_10);
        response_head::Stated::of(&head, fields).is_kept(Version::HTTP_10)
    };
    assert!(!kept(&fields));
    fields.insert("connection", HeaderValue::from_static("Keep-Alive"));
    assert!(kept(&fields));
}

#[tokio::test]
async fn trailers_are_told() {
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n";
    let (_, body, trailers, kept) = whole(response).await.unwrap();
    assert_eq!((&*body, kept), (&b"a"[..], true));
    assert_eq!(trailers.unwrap()["x-sum"], "1");
}

#[tokio::test]
async fn interim_responses_are_passed_over_and_a_change_of_protocol_is_refused() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let (status, ..) = whole(&format!("{early}HTTP/1.1 204 No Content\r\n\r\n"))
        .await
        .unwrap();
    assert_eq!(status, 204);
    let change = broken("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await;
    assert!(change.contains("change of protocol"), "{change}");
    assert!(whole(early).await.unwrap_err().is_close());
}

#[tokio::test]
async fn response_that_can_be_read_in_two_ways_is_malformed() {
    let lines = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello");
    for (response, rule) in [
        (
            lines("content-length: 5\r\ncontent-length: 5\r\n"),
            "one number",
        ),
        (lines("content-length: 5, 5\r\n"), "one number"),
        (lines("content-length: +5\r\n"), "one number"),
        (lines("content-length:\r\n"), "one number"),
        (
            lines("content-length: 99999999999999999999\r\n"),
            "one number",
        ),
        (lines("transfer-encoding: gzip\r\n"), "one `chunked`"),
        (
            lines("transfer-encoding: chunked, chunked\r\n"),
            "one `chunked`",
        ),
        (
            lines("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
            "one `chunked`",
        ),
        (lines("x-a : 1\r\n"), "legal name"),
        (lines("x-a: 1\r\n  folded\r\n"), "legal name"),
        (lines("x-a: \u{1}\r\n"), "illegal value"),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "in HTTP/1.0",
        ),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), "HTTP/1.1 or HTTP/1.0"),
        ("HTTP/1.1 2000 OK\r\n\r\n".to_owned(), "status"),
        ("hello\r\n\r\n".to_owned(), "HTTP/1.1 or HTTP/1.0"),
    ] {
        let told = broken(&response).await;
        assert!(told.contains(rule), "{response:?}: {told}");
    }
}

#[tokio::test]
async fn head_has_a_bound() {
    let fields = |count: usize| "x-a: 1\r\n".repeat(count);
    let with = |fields: &str| format!("HTTP/1.1 204 No Content\r\n{fields}\r\n");
    assert!(whole(&with(&fields(256))).await.is_ok());
    let many = broken(&with(&fields(257))).await;
    assert!(many.contains("256 fields"), "{many}");
    let long = |length: usize| format!("x-a: {}\r\n", "a".repeat(length));
    assert!(whole(&with(&long(250_000))).await.is_ok());
    let large = broken(&with(&long(263_000))).await;
    assert!(large.contains("256 KiB"), "{large}");
    let endless = broken(&format!("HTTP/1.1 204 No Content\r\n{}", long(263_000))).await;
    assert!(endless.contains("256 KiB"), "{endless}");
}

#[tokio::test]
async fn chunks_that_are_none_are_malformed() {
    let chunked =
        |chunks: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let extensions = format!("1;{}\r\na\r\n", "e".repeat(9_000)).repeat(2);
    let trailers = format!("0\r\nx-a: {}", "a".repeat(17_000));
    for (chunks, rule) in [
        ("\r\n", "without a size"),
        ("g\r\n", "without a size"),
        ("+1\r\na\r\n", "without a size"),
        ("0x1\r\na\r\n", "without a size"),
        ("1 1\r\na\r\n", "without a size"),
        ("11111111111111111\r\n", "without a size"),
        ("1\na\n", "CR LF"),
        ("1\r\nab\r\n", "longer than it says"),
        ("0\r\nx a\r\n\r\n", "trailers"),
        (&*extensions, "chunk extensions"),
        (&*trailers, "16 KiB of trailers"),
        (&*"1".repeat(17_000), "more than 16 KiB"),
        ("00000000000000001\r\na\r\n", "without a size"),
    ] {
        let told = broken(&chunked(chunks)).await;
        assert!(
            told.contains(rule),
            "{:?}: {told}",
            &chunks[..chunks.len().min(40)]
        );
    }
}

#[tokio::test]
async fn response_that_breaks_off_is_not_whole() {
    for response in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhell",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    ] {
        let fault = whole(response).await.unwrap_err();
        assert!(fault.is_close(), "{response:?}: {fault}");
    }
}

#[tokio::test]
async fn what_a_service_says_unasked_ends_its_rest() {
    let (mut wire, mut service) = connected().await;
    assert!(poll_fn(|cx| Poll::Ready(wire.rests_on(cx))).await);
    service.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    while poll_fn(|cx| Poll::Ready(wire.rests_on(cx))).await {
        tokio::task::yield_now().await;
    }
    assert!(!wire.is_at_rest());
}

#[tokio::test]
async fn early_answer_counts_though_the_service_takes_no_more() {
    let (mut wire, mut service) = connected().await;
    let large: &'static str = Box::leak("x".repeat(4_000_000).into_boxed_str());
    let post = request(Method::POST, &[("content-length", "4000000")]);
    wire.begin(&post, Tracked::new(Pieces::of(&[large])))
        .unwrap();
    let serve = async {
        service.readable().await.unwrap();
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
        service.write_all(answer).await.unwrap();
        drop(service);
    };
    let mut fields = HeaderMap::new();
    let answer = poll_fn(|cx| wire.poll_head(&mut fields, cx));
    let (head, ()) = tokio::join!(answer, serve);
    assert_eq!(head.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!wire.is_at_rest());
}

/// Its body has been taken from in part, and part of it may have been sent.
#[tokio::test]
async fn request_that_was_given_to_a_dead_connection_is_not_given_back() {
    for fields in [&[][..], &[("content-length", "5")]] {
        let (stream, service) = ends().await;
        let connection = H1::<Pieces>::begin(stream, Owner::Shared);
        assert!(connection.rest());
        drop(service);
        let body = Tracked::new(Pieces::of(&["hello"]));
        let request = Box::new(request(Method::POST, fields).map(|()| body));
        let limit = Duration::from_secs(10);
        let answer = connection.exchange(request, false, limit).await;
        assert!(matches!(answer, Err(Unanswered::Lost(fault, None)) if fault.is_close()));
    }
}

#[tokio::test]
async fn connection_that_was_closed_while_it_rested_takes_no_request() {
    let (stream, service) = ends().await;
    let connection = H1::<Pieces>::begin(stream, Owner::Shared);
    assert!(connection.rest());
    drop(service);
    while connection.look().await {
        tokio::task::yield_now().await;
    }
    let body = Tracked::new(Pieces::of(&["hello"]));
    let request = Box::new(request(Method::POST, &[]).map(|()| body));
    let answer = connection.exchange(request, false, Duration::MAX).await;
    let Err(Unanswered::Unsent(request, _)) = answer else {
        panic!("it was sent");
    };
    assert!(!request.body().is_end_stream());
}

#[test]
fn what_tls_says_is_no_fault_of_the_message() {
    let broken = |cause| LinkFault::Broken(cause);
    let alert = io::Error::new(io::ErrorKind::InvalidData, "received fatal alert");
    assert!(!broken(alert).is_malformed());
    let prelude = crate::upstream::prelude::Prelude::default();
    prelude.begin();
    assert!(broken(prelude.came(usize::MAX - 1).unwrap_err()).is_malformed());
}

#[tokio::test]
async fn long_head_is_whole_however_its_bytes_are_cut() {
    let fields = format!("x-a: {}\r\n", "a".repeat(90)).repeat(99);
    for end in ["\r\n\r\n", "\n\n", "\r\n\n", "\n\r\n"] {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2{end}hi");
        for size in [1, 2, 7, 4_096, usize::MAX] {
            let taken = taken(Method::GET, response.as_bytes(), size).await;
            assert_eq!(taken.unwrap().1, b"hi", "{end:?} in pieces of {size}");
        }
    }
}

#[tokio::test]
async fn what_is_read_at_once_fits_what_comes() {
    let (mut wire, _service) = connected().await;
    for _ in 0..9 {
        wire.fit(wire.read_size, wire.read_size);
    }
    assert_eq!(wire.read_size, LARGEST_READ);
    for _ in 0..9 {
        wire.fit(1, wire.read_size);
    }
    assert_eq!(wire.read_size, FIRST_READ);
}

#[tokio::test]
async fn response_to_a_request_that_breaks_off_is_void_for_whoever_reads_it() {
    let (mut wire, mut service) = connected().await;
    let post = request(Method::POST, &[("content-length", "6")]);
    let body = Pieces {
        held_back: true,
        ..Pieces::of(&["short"])
    };
    wire.begin(&post, Tracked::new(body)).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe";
    service.write_all(answer).await.unwrap();
    let mut fields = HeaderMap::new();
    let head = poll_fn(|cx| wire.poll_head(&mut fields, cx)).await;
    assert_eq!(head.unwrap().status(), StatusCode::OK);
    let wire = std::cell::RefCell::new(wire);
    let read = async {
        let piece = poll_fn(|cx| wire.borrow_mut().poll_body(cx)).await;
        assert!(piece.unwrap().is_ok());
        poll_fn(|cx| wire.borrow_mut().poll_body(cx)).await
    };
    let send = async {
        tokio::task::yield_now().await;
        wire.borrow_mut().writing.go_on();
        poll_fn(|cx| wire.borrow_mut().poll_upload(cx)).await
    };
    let (read, sent) = tokio::join!(read, send);
    assert!(sent.unwrap_err().is_of_upload());
    assert!(read.unwrap().unwrap_err().is_close());
}

/// Bytes that have something of a response.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        Just("HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        Just("transfer-encoding: chunked\r\n".to_owned()),
        (0..9_u8).prop_map(|length| format!("content-length: {length}\r\n")),
        (0..20_u8).prop_map(|size| format!("{size:x}\r\n")),
        Just("\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        "[a-f0-9;: \r\n]{0,6}",
    ];
    let text = prop::collection::vec(parts, 0..12);
    text.prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn response_is_the_same_however_its_bytes_are_cut(bytes in responses(), size in 1..7_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (at_once, cut) = runtime.block_on(async {
            (taken(Method::GET, &bytes, usize::MAX).await, taken(Method::GET, &bytes, size).await)
        });
        match (at_once, cut) {
            (Ok(mut at_once), Ok(mut cut)) => {
                // Whether what follows has come yet depends on the cut.
                (at_once.3, cut.3) = (true, true);
                prop_assert_eq!(at_once, cut);
            }
            (Err(at_once), Err(cut)) => {
                prop_assert_eq!(at_once.is_malformed(), cut.is_malformed());
            }
            (at_once, cut) => prop_assert!(false, "{at_once:?}, {cut:?}"),
        }
    }
}
